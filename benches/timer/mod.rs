//! The benches' timer: medians and percentiles of many runs, in microseconds.
#![allow(dead_code)] // each bench uses a part
use mvae_fast::backend::team::{Team, pieces};
use mvae_fast::backend::vector::{self, AdamStep};
use std::time::Instant;

/// Runs before the first that counts.
pub const WARM_UP: usize = 5;

/// Times of one thing, in microseconds.
#[derive(Debug, Default, Clone)]
pub struct Times(Vec<f64>);

impl Times {
    /// Runs and times `f` once.
    pub fn time(&mut self, f: impl FnOnce()) {
        let start = Instant::now();
        f();
        self.0.push(start.elapsed().as_secs_f64() * 1e6);
    }

    /// The time that this share of the runs stayed below: 0.5 is the median, 0 the least.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * share).round() as usize]
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The same runs, each of `parts` equal parts, as times of one part.
    pub fn divided(mut self, parts: usize) -> Times {
        self.0.iter_mut().for_each(|time| *time /= parts as f64);
        self
    }

    /// `median us (10th percentile .. 90th percentile)`.
    pub fn summary(&self) -> String {
        format!("{:9.1} us ({:.1} .. {:.1})", self.median(), self.quantile(0.1), self.quantile(0.9))
    }
}

/// Times of `runs` calls of each; the calls alternate, so that what else the machine does meets all alike.
pub fn alternate<const N: usize>(runs: usize, mut calls: [&mut dyn FnMut(); N]) -> [Times; N] {
    let mut times = [(); N].map(|()| Times::default());
    for _ in 0..WARM_UP {
        calls.iter_mut().for_each(|call| call());
    }
    for _ in 0..runs {
        calls.iter_mut().zip(&mut times).for_each(|(call, times)| times.time(call));
    }
    times
}

/// What the times were taken on, and how busy it was: with a load near the number of cores they mean little.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown");
    format!("{}, {cores} cores, load of the last minute {load}", model.map_or("unknown processor", |(_, name)| name))
}

/// The words of the command line that are no flags (cargo adds `--bench`).
pub fn words() -> Vec<String> {
    std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect()
}

/// Whether the command line has this flag.
pub fn flag(name: &str) -> bool {
    std::env::args().skip(1).any(|arg| arg == name)
}

/// Parameters of the full-size mixture model.
pub const PARAMETERS: usize = 1_696_072;

/// Adam over as many parameters, shared out over the team.
pub fn adam(team: &Team) -> impl FnMut() {
    const PIECE: usize = 16 * 1024;
    let step = AdamStep { beta1: 0.9, beta2: 0.999, step_size: 1e-4, inv_sqrt_bias2: 1.0, eps: 1e-8 };
    let [mut p, g] = [(); 2].map(|()| (0..PARAMETERS).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect::<Vec<f32>>());
    let (mut m, mut v) = (vec![0f32; PARAMETERS], vec![0f32; PARAMETERS]);
    let mut squares = vec![0f64; PARAMETERS.div_ceil(PIECE)];
    move || {
        let data = (pieces(&mut p, PIECE), pieces(&mut m, PIECE), pieces(&mut v, PIECE), pieces(&mut squares, 1));
        team.each(data, |i, (p, m, v, squares)| {
            squares[0] = vector::adam(p, &g[i * PIECE..][..p.len()], m, v, step);
        })
    }
}

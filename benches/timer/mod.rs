//! The benches' timer: medians and percentiles of many runs, in microseconds.
#![allow(dead_code)] // each bench uses a part
use clap::Parser;
use mvae_fast::Result;
use mvae_fast::backend::{self, Backend, Device, Engine, Memory};
use mvae_fast::cpu::gemm::{Matrix, MatsMut, product};
use mvae_fast::cpu::team::{Team, pieces};
use mvae_fast::cpu::vector::{self, AdamStep};
use mvae_fast::plan::{Plan, Precision};
use std::time::{Duration, Instant};

/// Number of runs before the first that counts.
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

    /// Adds a time that was measured otherwise.
    pub fn add(&mut self, us: f64) {
        self.0.push(us);
    }

    /// Number of times.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The time below which this share of the runs stayed: 0.5 gives the median, 0 the least.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * share).round() as usize]
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Times of one part, if each run has `parts` equal parts.
    pub fn divided(mut self, parts: usize) -> Times {
        self.0.iter_mut().for_each(|time| *time /= parts as f64);
        self
    }

    /// `median us (10th percentile .. 90th percentile)`.
    pub fn summary(&self) -> String {
        format!("{:9.1} us ({:.1} .. {:.1})", self.median(), self.quantile(0.1), self.quantile(0.9))
    }
}

/// Times of `runs` calls of each function. The calls alternate, so that other work of the machine
/// affects all alike.
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

/// Times of the calls of a plan, one by one, `runs` times; `begin` is called before each run with
/// its number.
///
/// The calls run one after the other, as in a step. With several `together`, as on a GPU, all runs
/// of a call come before the next call: a graph is made of each call, and it is kept only until a
/// few others were made.
pub fn calls(
    plan: Plan,
    memory: &mut Memory,
    (runs, together): (usize, usize),
    mut begin: impl FnMut(&mut Memory, usize) -> Result<()>,
) -> Result<Vec<(Plan, Times)>> {
    let mut calls: Vec<(Plan, Times)> = plan.one_by_one().map(|call| (call, Times::default())).collect();
    let us = |memory: &mut Memory, call: &Plan| -> Result<f64> {
        let backend = memory.backend();
        Ok(backend.seconds(&mut || memory.repeat(call, together))? * 1e6 / together as f64)
    };
    if together == 1 {
        for run in 0..runs {
            begin(memory, run)?;
            for (call, times) in &mut calls {
                times.add(us(memory, call)?);
            }
        }
        return Ok(calls);
    }
    for (call, times) in &mut calls {
        begin(memory, 0)?;
        us(memory, call)?; // makes the graph
        for run in 0..runs {
            begin(memory, run)?;
            times.add(us(memory, call)?);
        }
    }
    Ok(calls)
}

/// The kernels of these calls: the number of calls of each and the sum of their medians, the
/// longest first.
pub fn by_kernel(calls: &[(Plan, Times)]) -> Vec<(&str, usize, f64)> {
    let mut kernels: Vec<(&str, usize, f64)> = Vec::new();
    for (plan, times) in calls {
        let kernel = plan.calls()[0].kernel();
        match kernels.iter_mut().find(|(name, ..)| *name == kernel) {
            Some((_, count, total)) => (*count, *total) = (*count + 1, *total + times.median()),
            None => kernels.push((kernel, 1, times.median())),
        }
    }
    kernels.sort_by(|a, b| b.2.total_cmp(&a.2));
    kernels
}

/// Prints the kernels of these calls.
pub fn print_kernels(calls: &[(Plan, Times)]) {
    let kernels = by_kernel(calls);
    let sum: f64 = kernels.iter().map(|(.., total)| total).sum();
    println!("  by kernel, of {sum:.1} us when summed call by call:");
    for (kernel, count, total) in kernels {
        println!("  {total:9.1} us {:5.1} % {kernel} ({count})", 100.0 * total / sum);
    }
}

/// The machine that the times were taken on, and how busy it was: with a load near the number of
/// cores they mean little.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown");
    format!("{}, {cores} cores, load of the last minute {load}", model.map_or("unknown processor", |(_, name)| name))
}

/// The options of a bench: `[WORDS] [--device cpu|simt|cuda] [--engine E] [--precision P] [--roof
/// GFLOPS,GBS] [--json]`.
#[derive(Debug, Parser)]
pub struct Options {
    /// Names of things to time, and numbers of threads.
    pub words: Vec<String>,
    /// The device.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// The way in which a CUDA device gets its calls.
    #[arg(long, default_value = "auto")]
    pub engine: Engine,
    /// The precision of matrix products.
    #[arg(long)]
    pub precision: Option<Precision>,
    /// Best rates of the device, GFLOP/s and GB/s; measured here on a cpu.
    #[arg(long)]
    pub roof: Option<String>,
    /// Print one line of JSON for each result.
    #[arg(long)]
    pub json: bool,
    /// Take this many steps twice and compare every bit, instead of times.
    #[arg(long)]
    pub soak: Option<usize>,
    /// A tiny model, to rehearse.
    #[arg(long)]
    pub small: bool,
    /// Ignored: cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// The words that are not numbers.
    pub fn names(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).filter(|word| word.parse::<usize>().is_err()).collect()
    }

    /// Backends to time, with their numbers of threads. On a cpu there is one for each number among
    /// the words; without numbers, for 1 and 2 threads.
    pub fn backends(&self) -> Result<Vec<(usize, Box<dyn Backend>)>> {
        let mut threads: Vec<usize> = self.words.iter().flat_map(|word| word.parse()).collect();
        match self.device {
            Device::Auto | Device::Cpu if threads.is_empty() => threads = vec![1, 2],
            Device::Auto | Device::Cpu => {}
            _ => threads = vec![1],
        }
        let open = |n| Ok((n, backend::open(self.device, self.precision, self.engine, n, 1)?));
        threads.into_iter().map(open).collect()
    }

    /// Number of runs that are timed as one: on a GPU a launch alone takes longer than most
    /// operations.
    pub fn together(&self) -> usize {
        if self.on_gpu() { 20 } else { 1 }
    }

    /// True for a GPU, whose clock is low until it has worked for a while.
    pub fn on_gpu(&self) -> bool {
        matches!(self.device, Device::Cuda(_))
    }

    /// Least time to run before the first run that counts.
    pub fn warm_up(&self) -> Duration {
        if self.on_gpu() && !self.small { Duration::from_millis(700) } else { Duration::ZERO }
    }

    /// True if a call by itself takes the time that it takes in a step. On a GPU only a graph does;
    /// other engines launch or prepare calls meanwhile.
    pub fn times_calls(&self) -> bool {
        !self.on_gpu() || matches!(self.engine, Engine::Auto | Engine::Graph)
    }

    /// The roofs, GFLOP/s and GB/s, if they are known.
    pub fn roofs(&self, threads: usize) -> Option<(f64, f64)> {
        match (&self.roof, self.device) {
            (Some(text), _) => text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?))),
            (None, Device::Auto | Device::Cpu) => Some(cpu_roofs(threads)),
            _ => None,
        }
    }
}

/// A large product's GFLOP/s, and a copy's GB/s (bytes read and written) where no cache helps.
fn cpu_roofs(threads: usize) -> (f64, f64) {
    const N: usize = 1024;
    const LARGE: usize = 16 << 20;
    let team = Team::new(threads);
    let (a, mut c) = (vec![0.5f32; N * N], vec![0f32; N * N]);
    let mut multiply =
        || product(&team, MatsMut::one(&mut c, N, N, N), false, Matrix::new(&a, N, N, N), Matrix::new(&a, N, N, N));
    let (from, mut to) = (vec![1f32; LARGE], vec![0f32; LARGE]);
    let mut copy = || {
        team.each(pieces(&mut to, 1 << 18), |task, to| to.copy_from_slice(&from[task << 18..][..to.len()]));
    };
    let [products, copies] = alternate(8, [&mut multiply, &mut copy]);
    (2.0 * (N * N * N) as f64 / products.median() / 1e3, 8.0 * LARGE as f64 / copies.median() / 1e3)
}

/// The words of the command line that are no flags (cargo adds `--bench`).
pub fn words() -> Vec<String> {
    std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect()
}

/// True if the command line has this flag.
pub fn flag(name: &str) -> bool {
    std::env::args().skip(1).any(|arg| arg == name)
}

/// Parameters of the full-size mixture model.
pub const PARAMETERS: usize = 1_696_072;

/// Adam over this many parameters, shared out over the team.
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

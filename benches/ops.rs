//! A bench of any operation by name: `cargo bench --bench ops [-- NAME] [THREADS] [--device cuda
//! ...]`. It runs all sizes of the operation's cases, f32, on any backend (see [`timer::Options`]).
//!
//! Times are medians (10th to 90th percentile) by the device's own clock. GFLOP/s count the matrix
//! products; GB/s assume that each tensor is moved once. The last figure is the larger share of the
//! two roofs. It is above 100 % where a cache feeds what a large copy cannot.
use clap::Parser;
use mvae_fast::Result;
use mvae_fast::backend::{Backend, Memory};
use mvae_fast::ops::case::{Case, cases};
use mvae_fast::plan::Plan;
use mvae_fast::plan::arena::Arena;
use serde_json::json;
use std::cell::Cell;
use std::time::{Duration, Instant};
use timer::{Options, Times};

mod timer;

const RUNS: usize = 200;
/// Time of warming up: long enough for the operating system to give each thread a core.
const WARM_UP: Duration = Duration::from_millis(20);

/// A backend and the settings of its measurements.
struct Bench<'a> {
    options: &'a Options,
    backend: &'a dyn Backend,
    threads: usize,
    roofs: Option<(f64, f64)>,
    /// True once something was run.
    is_warm: Cell<bool>,
}

impl Bench<'_> {
    fn case(&self, case: &Case<f32>) -> Result<()> {
        let mut arena = Arena::default();
        let built = (case.build)(&mut arena)?;
        let mut memory = Memory::new(self.backend, arena)?;
        memory.fill(&built.contents(1))?;
        let [forward, backward] = built.bytes();
        self.time(case, "forward", &mut memory, &built.forward, case.flops[0], forward)?;
        if built.backward.calls().is_empty() {
            return Ok(());
        }
        self.time(case, "backward", &mut memory, &built.backward, case.flops[1], backward)
    }

    fn time(
        &self,
        case: &Case<f32>,
        direction: &str,
        memory: &mut Memory,
        plan: &Plan,
        flops: f64,
        bytes: usize,
    ) -> Result<()> {
        let mut times = Times::default();
        let (start, together) = (Instant::now(), self.options.together());
        let warm_up = if self.is_warm.replace(true) { WARM_UP } else { WARM_UP.max(self.options.warm_up()) };
        while start.elapsed() < warm_up {
            self.backend.seconds(&mut || memory.repeat(plan, together))?;
        }
        for _ in 0..if self.options.small { 2 } else { RUNS } {
            times.add(self.backend.seconds(&mut || memory.repeat(plan, together))? * 1e6 / together as f64);
        }
        let (gflops, gbs) = (flops / times.median() / 1e3, bytes as f64 / times.median() / 1e3);
        let share = self.roofs.map(|(product, copy)| 100.0 * (gflops / product).max(gbs / copy));
        if self.options.json {
            let [p10, median, p90] = [0.1, 0.5, 0.9].map(|share| times.quantile(share));
            let line = json!({
                "bench": "ops", "device": self.backend.describe(), "op": case.op, "sizes": case.sizes,
                "direction": direction, "us_p10": p10, "us_median": median, "us_p90": p90, "gflops": gflops, "gbs": gbs,
                "roof_percent": share,
            });
            println!("{line}");
            return Ok(());
        }
        let name = format!("{} {}", case.op, case.sizes);
        print!("{name:50} {direction:8} {}t {}", self.threads, times.summary());
        if flops > 0.0 {
            print!("  {gflops:6.1} GFLOP/s");
        }
        println!("  {gbs:6.1} GB/s{}", share.map(|share| format!("  {share:3.0} % of the roof")).unwrap_or_default());
        Ok(())
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    if !options.json {
        println!("{}\n", timer::machine());
    }
    let (names, backends) = (options.names(), options.backends()?);
    let benches: Vec<Bench> = backends
        .iter()
        .map(|(threads, backend)| {
            let (threads, backend) = (*threads, backend.as_ref());
            let is_warm = Cell::new(false);
            Bench { options: &options, backend, threads, roofs: options.roofs(threads), is_warm }
        })
        .collect();
    for bench in benches.iter().filter(|_| !options.json) {
        let roofs =
            bench.roofs.map_or("not known".into(), |(flops, bytes)| format!("{flops:.0} GFLOP/s, {bytes:.0} GB/s"));
        println!("{}, roofs {roofs}", bench.backend.describe());
    }
    for case in cases::<f32>() {
        // The odd sizes are for tests; timed when asked for by name.
        let wanted = if names.is_empty() { case.full } else { names.iter().any(|name| case.op.contains(name)) };
        for bench in benches.iter().filter(|_| wanted) {
            bench.case(&case)?;
        }
    }
    Ok(())
}

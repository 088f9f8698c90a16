//! Any operation by name: `cargo bench --bench ops [-- NAME] [THREADS]`; all sizes of its cases, f32, on the CPU.
//!
//! Medians (10th .. 90th percentile); GFLOP/s of the matrix products; GB/s if each tensor were moved once.
use mvae_fast::Result;
use mvae_fast::arena::Arena;
use mvae_fast::backend::{Memory, cpu::Cpu};
use mvae_fast::ops::case::{Case, cases};
use mvae_fast::plan::Plan;
use std::time::{Duration, Instant};
use timer::Times;

mod timer;

const RUNS: usize = 200;
/// Long enough for the operating system to give each thread a core.
const WARM_UP: Duration = Duration::from_millis(20);
/// Runs of what takes no time.
const MOST_WARM_UP: usize = 10_000;

fn bench(case: &Case<f32>, threads: usize, backend: &Cpu) -> Result<()> {
    let mut arena = Arena::default();
    let built = (case.build)(&mut arena)?;
    let mut memory = Memory::new(backend, arena)?;
    built.fill(&mut memory, 1)?;
    let [forward, backward] = built.bytes();
    time(case, "forward", threads, &mut memory, &built.forward, case.flops[0], forward)?;
    if built.backward.calls().is_empty() {
        return Ok(());
    }
    time(case, "backward", threads, &mut memory, &built.backward, case.flops[1], backward)
}

fn time(
    case: &Case<f32>,
    direction: &str,
    threads: usize,
    memory: &mut Memory,
    plan: &Plan,
    flops: f64,
    bytes: usize,
) -> Result<()> {
    let mut times = Times::default();
    let start = Instant::now();
    for _ in 0..MOST_WARM_UP {
        memory.run(plan)?;
        if start.elapsed() > WARM_UP {
            break;
        }
    }
    for _ in 0..RUNS {
        let mut result = Ok(());
        times.time(|| result = memory.run(plan));
        result?;
    }
    let median = times.median();
    let name = format!("{} {}", case.op, case.sizes);
    print!("{name:50} {direction:8} {threads}t {}", times.summary());
    if flops > 0.0 {
        print!("  {:6.1} GFLOP/s", flops / median / 1e3);
    }
    println!("  {:6.1} GB/s", bytes as f64 / median / 1e3);
    Ok(())
}

fn main() -> Result<()> {
    println!("{}\n", timer::machine());
    let words = timer::words();
    let (threads, names): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.parse::<usize>().is_ok());
    let mut threads: Vec<usize> = threads.iter().flat_map(|word| word.parse()).collect();
    if threads.is_empty() {
        threads = vec![1, 2];
    }
    let backends: Vec<(usize, Cpu)> = threads.into_iter().map(|n| (n, Cpu::new(n))).collect();
    for case in cases::<f32>() {
        // The odd sizes are for tests; timed when asked for by name.
        let wanted =
            if names.is_empty() { case.full } else { names.iter().any(|name| case.op.contains(name.as_str())) };
        for (threads, backend) in backends.iter().filter(|_| wanted) {
            bench(&case, *threads, backend)?;
        }
    }
    Ok(())
}

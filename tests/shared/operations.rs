//! Helpers of the tests of operations.
#![allow(dead_code)] // each test uses a part
use mvae_fast::backend::{Memory, cpu::Cpu};
use mvae_fast::check::gradcheck::operation;
use mvae_fast::check::report::Deviations;
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::case::{cases, normals};
use mvae_fast::philox::{Purpose, Stream};
use mvae_fast::plan::Plan;
use mvae_fast::plan::arena::{Arena, Mat};

/// Compares the gradients of all cases of an operation with central differences, for three seeds.
pub fn gradients(op: &str) {
    let backend = Cpu::new(1);
    let mut found = 0;
    for case in cases::<f64>().iter().filter(|case| case.op == op) {
        for seed in 1..=3 {
            for row in operation(case, &backend, seed).unwrap() {
                assert!(!row.failed(), "seed {seed}: {row:?}");
                found += row.entries;
            }
        }
    }
    assert!(found > 0, "{op} has no case with a gradient");
}

/// Fails with the table of the report when a gradient is wrong.
pub fn verdict(report: &Deviations) {
    assert!(report.verdict().is_ok(), "{report}");
}

/// The memory of an arena on one thread.
pub fn memory(arena: Arena) -> Memory<'static> {
    memory_on(arena, 1)
}

/// The memory of an arena on a team of `threads` threads.
pub fn memory_on(arena: Arena, threads: usize) -> Memory<'static> {
    Memory::new(Box::leak(Box::new(Cpu::new(threads))), arena).unwrap()
}

/// Builds, checks and runs a plan.
pub fn run(memory: &mut Memory, build: impl FnOnce(&mut Plan)) {
    let mut plan = Plan::default();
    build(&mut plan);
    memory.run(&plan).unwrap();
}

/// `n` standard normal numbers.
pub fn numbers(seed: u64, n: usize) -> Vec<f64> {
    normals(Stream::new(seed, Purpose::Check, 0), n)
}

/// Writes standard normal numbers, and returns them.
pub fn fill(memory: &mut Memory, mat: Mat<f64>, seed: u64) -> Vec<f64> {
    let values = numbers(seed, mat.len());
    memory.write(mat, &values).unwrap();
    values
}

/// A step state that only selects the random numbers.
pub fn state(seed: u64, step: u64) -> StepState {
    StepState { seed, step, kl_scale: 1.0, ..StepState::default() }
}

/// Fails where two lists differ by more than `tolerance`.
#[track_caller]
pub fn close(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance, "entry {i}: {got}, expected {want}");
    }
}

//! The engine that runs a plan as one launch, on the host: the bits of call by call, on any number of blocks, and every barrier
//! needed.
#![cfg(unix)]
use clap::ValueEnum;
use mvae_fast::backend::persistent::{THREADS, phases, waits};
use mvae_fast::backend::{Memory, cpu::Cpu, simt::Simt};
use mvae_fast::config::Variant;
use mvae_fast::gradcheck::ModelCheck;
use mvae_fast::plan::{Grid, Precision};
use steps::{MINIBATCHES, ROLLOUT, Run};

mod steps;

/// Parameters, moments and sums after a rollout and a step.
fn state(variant: Variant, backend: Simt) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<u64>) {
    after(&[ROLLOUT, 1], variant, backend)
}

/// The same after launches of so many steps.
fn after(launches: &[usize], variant: Variant, backend: Simt) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<u64>) {
    let mut run = Run::<f32>::on(variant, |arena| Memory::new(Box::leak(Box::new(backend)), arena).unwrap());
    let start = run.state();
    launches.iter().for_each(|&steps| run.steps(steps));
    let end = run.state();
    assert!(start.0 != end.0 && end.0.iter().all(|x| x.is_finite()), "{variant:?}: nothing moved");
    end
}

/// Call by call, with as many threads a block: sums over a block have the same order.
fn call_by_call(variant: Variant, precision: Precision) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<u64>) {
    state(variant, Simt::new(1).at(precision).on_grid(Grid { blocks: 5, threads: THREADS }))
}

#[test]
fn one_launch_gives_the_bits_of_call_by_call() {
    for &variant in Variant::value_variants() {
        for precision in [Precision::Fp32, Precision::Bf16x3] {
            let want = call_by_call(variant, precision);
            let got = state(variant, Simt::new(2).at(precision).persistent(3));
            assert!(want == got, "{variant:?}, {precision}");
        }
    }
}

/// The phases of a step at full size, which docs/benchmarks.md tells: `cargo test --test persistent phases -- --nocapture`.
#[test]
fn phases_of_a_step() {
    let ModelCheck { model, .. } = ModelCheck::full(Variant::Mixture);
    let run = Run::<f32>::of(&model, |arena| Memory::new(Box::leak(Box::new(Cpu::new(1))), arena).unwrap());
    let calls = run.step.plan.calls();
    let phases = phases(calls);
    for (i, phase) in phases.iter().enumerate() {
        let calls = phase.iter().map(|&call| {
            let layer = run.parameters.layer(&calls[call]).map_or(String::new(), |layer| format!(" ({layer})"));
            format!("`{}`{layer}", calls[call].kernel())
        });
        println!("{}. {}", i + 1, calls.collect::<Vec<_>>().join(", "));
    }
    // The next step begins while the last sums are made.
    let waits = waits(calls, &phases);
    assert_eq!((phases.len(), waits.iter().filter(|&&waits| waits).count()), (27, 26));
}

#[test]
fn every_barrier_is_needed() {
    let step = |backend: Simt| {
        let memory = |arena| Memory::new(Box::leak(Box::new(backend)), arena).unwrap();
        let mut run = Run::<f32>::on(Variant::Mixture, memory);
        let phases = phases(run.step.plan.calls()).len();
        run.steps(1);
        let (parameters, _, _, sums) = run.state();
        let bits = (parameters.iter().map(|x| x.to_bits()).collect::<Vec<u32>>(), sums);
        (phases, bits)
    };
    // Tiles of tensor cores, which are small: what one block does alone needs no barrier.
    let persistent = |seed| Simt::new(seed).at(Precision::Bf16x3).persistent(8);
    let (phases, want) = step(persistent(1));
    let missed = |barrier: &usize| (1..=9).any(|seed| step(persistent(seed).without_barrier(*barrier)).1 != want);
    let unneeded: Vec<usize> = (0..phases - 1).filter(|barrier| !missed(barrier)).collect();
    assert!(unneeded.is_empty(), "{unneeded:?} of {phases} phases");
}

#[test]
fn an_epoch_is_one_launch() {
    let (steps, simt) = (MINIBATCHES * ROLLOUT, || Simt::new(4).at(Precision::Bf16x3));
    let want =
        after(&[1; MINIBATCHES * ROLLOUT], Variant::Mixture, simt().on_grid(Grid { blocks: 5, threads: THREADS }));
    assert!(want == after(&[steps], Variant::Mixture, simt().persistent(3)));
}

#[test]
fn on_any_number_of_blocks() {
    let want = call_by_call(Variant::Mixture, Precision::Bf16x3);
    for blocks in [1, 8, 132] {
        let got = state(Variant::Mixture, Simt::new(3).at(Precision::Bf16x3).persistent(blocks));
        assert!(want == got, "{blocks} blocks");
    }
}

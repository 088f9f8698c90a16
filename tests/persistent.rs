//! The engine that runs a plan as one launch, on the host: the bits of call by call, on any number of blocks, and every barrier
//! needed.
#![cfg(unix)]
use clap::ValueEnum;
use mvae_fast::backend::persistent::{THREADS, phases};
use mvae_fast::backend::{Memory, simt::Simt};
use mvae_fast::config::Variant;
use mvae_fast::plan::{Grid, Precision};
use steps::{ROLLOUT, Run};

mod steps;

/// Parameters, moments and sums after a rollout and a step.
fn state(variant: Variant, backend: Simt) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<u64>) {
    let mut run = Run::<f32>::on(variant, |arena| Memory::new(Box::leak(Box::new(backend)), arena).unwrap());
    let start = run.state();
    [ROLLOUT, 1].into_iter().for_each(|steps| run.steps(steps));
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
    // The gradients by way of mu and logvar add up tile by tile, and a tile of both is the same block's.
    assert_eq!(unneeded, [26], "of {phases} phases");
}

#[test]
fn on_any_number_of_blocks() {
    let want = call_by_call(Variant::Mixture, Precision::Bf16x3);
    for blocks in [1, 8, 132] {
        let got = state(Variant::Mixture, Simt::new(3).at(Precision::Bf16x3).persistent(blocks));
        assert!(want == got, "{blocks} blocks");
    }
}

//! Dependencies of the nodes of a graph: each waits for all that it has to, and for nothing that
//! follows from the rest.
use crate::steps::{BATCH, Run};
use clap::ValueEnum;
use mvae_fast::config::Variant;
use mvae_fast::plan::dependencies::{dependencies, longest_chain};

const REPETITIONS: usize = 4;

/// For each node, the nodes that it comes after, by what they wait for.
fn all_before(waits: &[Vec<usize>]) -> Vec<Vec<bool>> {
    let mut before: Vec<Vec<bool>> = Vec::new();
    for own in waits {
        let mut all = vec![false; waits.len()];
        for &earlier in own {
            all[earlier] = true;
            all.iter_mut().zip(&before[earlier]).for_each(|(all, &before)| *all |= before);
        }
        before.push(all);
    }
    before
}

#[test]
fn conflicts_are_waited_for_in_every_model() {
    for &variant in Variant::value_variants() {
        let run = Run::<f32>::full(variant, BATCH);
        let calls = run.step.plan.calls();
        let waits = dependencies(calls, REPETITIONS);
        assert_eq!(waits.len(), REPETITIONS * calls.len());
        let before = all_before(&waits);
        let mut free = 0;
        for node in 0..waits.len() {
            for earlier in 0..node {
                let (a, b) = (&calls[earlier % calls.len()], &calls[node % calls.len()]);
                assert!(!a.conflicts(b) || before[node][earlier], "{variant:?}: {} before {}", a.kernel(), b.kernel());
                free += usize::from(!before[node][earlier]);
            }
        }
        assert!(free > waits.len(), "{variant:?}: there are calls that do not wait for one another");
    }
}

#[test]
fn nothing_is_waited_for_that_another_waits_for() {
    let run = Run::<f32>::full(Variant::Mixture, BATCH);
    let waits = dependencies(run.step.plan.calls(), REPETITIONS);
    let before = all_before(&waits);
    for own in &waits {
        for &earlier in own {
            assert!(own.iter().all(|&other| !before[other][earlier]), "{own:?}: {earlier}");
        }
    }
}

#[test]
fn a_single_repetition_waits_for_no_other() {
    let run = Run::<f32>::full(Variant::Vq, BATCH);
    let calls = run.step.plan.calls();
    let (once, often) = (dependencies(calls, 1), dependencies(calls, 3));
    assert!(once[..] == often[..calls.len()] && once[0].is_empty() && !often[calls.len()].is_empty());
    assert!(dependencies(calls, 0).is_empty());
}

#[test]
fn each_of_the_longest_chain_waits_for_the_one_before() {
    for &variant in Variant::value_variants() {
        let run = Run::<f32>::full(variant, BATCH);
        let calls = run.step.plan.calls();
        // Times that are all different.
        let times: Vec<f64> = (0..calls.len()).map(|i| 1.0 + (i * i % 101) as f64 / 101.0).collect();
        let chain = longest_chain(calls, &times);
        let (n, waits) = (calls.len(), dependencies(calls, 2));
        let follows = |before: usize, call: usize| waits[n + call].iter().any(|&earlier| earlier % n == before);
        let pairs = chain.calls.iter().zip(chain.calls.iter().cycle().skip(1));
        for (&before, &call) in pairs {
            assert!(follows(before, call), "{variant:?}: {call} does not wait for {before}");
        }
        assert!(chain.time < times.iter().sum(), "{variant:?}: calls run side by side");
        // As nodes end when each starts as early as it can.
        let mut ends: Vec<f64> = Vec::new();
        for (node, waits) in dependencies(calls, 20).iter().enumerate() {
            ends.push(waits.iter().map(|&i| ends[i]).fold(0.0, f64::max) + times[node % n]);
        }
        let end = |times: usize| ends[..times * n].iter().copied().fold(0.0, f64::max);
        assert!((end(20) - end(19) - chain.time).abs() < 1e-9, "{variant:?}: {}", chain.time);
    }
}

//! Dependencies between the calls of a plan that repeats: a graph of the plan is made of them.
use crate::plan::Call;

/// The earlier nodes that each node waits for, where a node is a call in one of `times`
/// repetitions, one after another. A node waits for those that write what it touches, or touch what
/// it writes. It does not wait for a node that another of them waits for.
pub fn dependencies(calls: &[Call], times: usize) -> Vec<Vec<usize>> {
    let n = calls.len();
    let conflicts: Vec<Vec<bool>> = calls.iter().map(|a| calls.iter().map(|b| a.conflicts(b)).collect()).collect();
    // From the second repetition on all are alike. Of two calls that conflict, one writes; it waits
    // for itself in the repetition before, and with that for all earlier ones.
    let mut waits: Vec<Vec<usize>> = Vec::new();
    let mut after: Vec<Vec<bool>> = Vec::new();
    for node in 0..n * times.min(2) {
        let (repetition, call) = (node / n, node % n);
        let mut before = vec![false; 2 * n];
        let mut kept = Vec::new();
        for earlier in (0..node).rev() {
            let other = earlier % n;
            let recent = earlier / n == repetition || other >= call;
            if recent && conflicts[other][call] && !before[earlier] {
                before[earlier] = true;
                before.iter_mut().zip(&after[earlier]).for_each(|(before, &after)| *before |= after);
                kept.push(earlier);
            }
        }
        waits.push(kept);
        after.push(before);
    }
    for node in waits.len()..n * times {
        waits.push(waits[node - n].iter().map(|earlier| earlier + n).collect());
    }
    waits
}

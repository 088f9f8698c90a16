//! Dependencies between the calls of a plan that repeats: a graph of the plan is made of them.
//! The longest chain of them decides how long a repetition takes.
use super::call::Call;

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
        let mut first_hand = Vec::new();
        for earlier in (0..node).rev() {
            let other = earlier % n;
            let recent = earlier / n == repetition || other >= call;
            if recent && conflicts[other][call] && !before[earlier] {
                before[earlier] = true;
                before.iter_mut().zip(&after[earlier]).for_each(|(before, &after)| *before |= after);
                first_hand.push(earlier);
            }
        }
        waits.push(first_hand);
        after.push(before);
    }
    for node in waits.len()..n * times {
        waits.push(waits[node - n].iter().map(|earlier| earlier + n).collect());
    }
    waits
}

/// Repetitions after which a graph has settled: each takes as long as the one before.
const SETTLED: usize = 6;

/// Calls of which each waits for the one before it, and the first for the last of an earlier
/// repetition.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// The calls, by their place in the plan.
    pub calls: Vec<usize>,
    /// The time that it takes for each repetition.
    pub time: f64,
}

/// The chain that decides how long a repetition takes, where calls take these times and run beside
/// all that they do not wait for.
pub fn longest_chain(calls: &[Call], times: &[f64]) -> Chain {
    let n = calls.len();
    // The end of each node, and the last of the nodes that it waited for.
    let mut ends: Vec<(f64, Option<usize>)> = Vec::new();
    for (node, waits) in dependencies(calls, 2 * SETTLED).into_iter().enumerate() {
        let last = waits.into_iter().max_by(|&a, &b| ends[a].0.total_cmp(&ends[b].0));
        ends.push((last.map_or(0.0, |last| ends[last].0) + times[node % n], last));
    }
    let last = (0..ends.len()).max_by(|&a, &b| ends[a].0.total_cmp(&ends[b].0));
    let way = std::iter::successors(last, |&node| ends[node].1).skip_while(|node| node / n >= SETTLED);
    let way: Vec<usize> = way.collect();
    // The way back from the end, until it comes to a call for the second time.
    let again = way.iter().enumerate().find_map(|(end, node)| {
        let start = way[..end].iter().position(|other| other % n == node % n)?;
        Some((start..end, way[start] / n - node / n))
    });
    let (chain, repetitions) = again.unwrap_or((0..way.len(), SETTLED));
    let mut chain: Vec<usize> = way[chain].iter().rev().map(|node| node % n).collect();
    let time = chain.iter().map(|&call| times[call]).sum::<f64>() / repetitions as f64;
    let first = chain.iter().enumerate().min_by_key(|(_, call)| **call).map_or(0, |(at, _)| at);
    chain.rotate_left(first);
    Chain { calls: chain, time }
}

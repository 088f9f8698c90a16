//! The first stage: calls cut into parts, and the pairs of parts that conflict.
use super::part::Part;
use crate::plan::{Call, Precision, conflict};
use std::ops::Range;

/// Most pieces that a call in shares is cut into, beyond those that its neighbours in the plan ask
/// for.
const PIECES: u32 = 24;
/// Number of shares below which a part of their own is not worth it.
const FEW: usize = 8;

/// Two parts of which the second has to come after the first.
pub(crate) struct Conflict {
    /// The number of the first.
    pub from: usize,
    /// The number of the second.
    pub to: usize,
    /// The phases that lie between them: 0 where the same blocks run one after the other.
    apart: i32,
}

/// The parts of a plan's calls.
pub(crate) struct Cut<'a> {
    /// The plan's calls.
    pub calls: &'a [Call],
    /// Number of blocks that run them.
    pub blocks: u32,
    /// All parts, in the order of the plan.
    pub parts: Vec<Part>,
    /// Number of tiles, or shares, of each part.
    pub tiles: Vec<u32>,
    /// For each part, the first that must have the same blocks: both add to the same tiles, or go
    /// on with the same shares. Mostly it is the part itself.
    pub blocks_of: Vec<usize>,
    /// For each part, those that write the weights of its product, if its tiles may find them
    /// fetched; empty for other parts.
    pub writers: Vec<Vec<usize>>,
    /// The pairs that conflict.
    pub conflicts: Vec<Conflict>,
}

impl<'a> Cut<'a> {
    /// Cuts calls into parts for this many blocks.
    pub fn new(calls: &'a [Call], precision: Precision, blocks: u32) -> Self {
        let pieces = (0..calls.len()).flat_map(|call| pieces(calls, call, blocks).into_iter().map(move |s| (call, s)));
        let parts = pieces.enumerate().map(|(number, (call, shares))| Part { number, call, shares });
        let parts: Vec<Part> = parts.collect();
        let mut blocks_of = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let first = parts[..i].iter().position(|earlier| part.goes_on(earlier, calls));
            blocks_of.push(first.map_or(i, |first| blocks_of[first]));
        }
        let apart = |(one, other): (&Part, &Part)| {
            let together = blocks_of[one.number] == blocks_of[other.number] && one.goes_on(other, calls);
            let conflict = Conflict { from: one.number, to: other.number, apart: i32::from(!together) };
            one.conflicts(other, calls).then_some(conflict)
        };
        let conflicts = parts.iter().flat_map(|one| parts.iter().map(move |other| (one, other))).filter_map(apart);
        Cut {
            conflicts: conflicts.collect(),
            tiles: parts.iter().map(|part| part.tiles(calls, precision)).collect(),
            writers: parts.iter().map(|part| writers(calls, precision, &parts, part)).collect(),
            calls,
            blocks,
            blocks_of,
            parts,
        }
    }

    /// The call of a part.
    pub fn call(&self, part: &Part) -> &'a Call {
        &self.calls[part.call]
    }

    /// The least number of phases between two parts that conflict, if neither floats and a
    /// repetition has `count` phases. A part that is later in the plan runs so many after the
    /// other. One that is earlier runs after the other in the next repetition. So do parts of one
    /// call, which may run side by side.
    pub fn way(&self, &Conflict { from, to, apart }: &Conflict, count: usize) -> i32 {
        if from >= to || self.parts[from].call == self.parts[to].call { 1 - count as i32 } else { apart }
    }
}

/// The parts that write the weights of a part's product, if its tiles may find these fetched.
fn writers(calls: &[Call], precision: Precision, parts: &[Part], of: &Part) -> Vec<usize> {
    if precision == Precision::Fp32 || calls[of.call].product().is_none_or(|product| product.weights == 0) {
        return Vec::new();
    }
    let writes = |part: &&Part| *part != of && conflict(of.touched(calls, true), || part.touched(calls, false));
    parts.iter().filter(writes).map(|part| part.number).collect()
}

/// Cuts the shares of a call. All shares of a piece wait for the same calls, and no piece gives a
/// block much more to do than others.
fn pieces(calls: &[Call], call: usize, blocks: u32) -> Vec<Range<u32>> {
    let of = |call, shares| Part { number: 0, call, shares };
    let Some(shares) = calls[call].shares() else { return vec![Range::default()] };
    let others = |share: u32| -> Vec<bool> {
        let share = of(call, share..share + 1);
        (0..calls.len()).map(|other| other != call && share.conflicts(&of(other, 0..0), calls)).collect()
    };
    // Runs of neighbours that conflict with the same calls. A run joins the one before if either
    // has few shares.
    let mut runs: Vec<Range<u32>> = Vec::new();
    let mut before = Vec::new();
    for share in 0..shares {
        let now = others(share);
        match runs.last_mut().filter(|_| before == now) {
            Some(run) => run.end += 1,
            None => runs.push(share..share + 1),
        }
        before = now;
    }
    let mut merged: Vec<Range<u32>> = Vec::new();
    for run in runs {
        match merged.last_mut().filter(|before| run.len().min(before.len()) < FEW) {
            Some(before) => before.end = run.end,
            None => merged.push(run),
        }
    }
    // A piece has one share for each block, or a few more.
    let most = blocks.max(shares.div_ceil(PIECES));
    let mut pieces = Vec::new();
    for mut run in merged {
        while !run.is_empty() {
            let end = if (run.len() as u32) < most + FEW as u32 { run.end } else { run.start + most };
            pieces.push(run.start..end);
            run.start = end;
        }
    }
    pieces
}

//! When the calls of a plan that repeats run, in one launch whose blocks wait for one another: in which phase, and what floats past
//! its end.
//!
//! At the end of a phase a block says that it is there, and waits until all are. What nobody needs right away *floats*: blocks do it
//! in between, and it is done when the next phase ends. A repetition starts every `count` phases, the fewest that let each number be
//! written and read in order; a call in a later phase belongs to a repetition that began earlier, so that the end of one step runs
//! beside the start of the next.
use crate::plan::{Call, Precision, Product};
use std::cmp::Reverse;
use std::ops::Range;

/// Pieces into which a call in shares is cut at most, beyond what its neighbours in the plan ask for.
const PIECES: u32 = 24;
/// Shares that are not worth a part of their own.
const FEW: usize = 8;
/// No way from one part to another.
const NONE: i32 = i32::MIN / 2;

/// A call, or some of its shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place in the plan.
    pub call: usize,
    /// The shares, where it has any: see [`Call::shares`].
    pub shares: Range<u32>,
    /// The phase, counted from the start of a repetition.
    pub phase: usize,
    /// How many repetitions have begun since that to which it belongs.
    pub late: usize,
    /// Whether it floats past the end of that phase.
    pub floats: bool,
    /// The block that has the first tile or share, the next one the second.
    pub first_block: u32,
    /// Whether a block says after it that it is at the end of the phase.
    pub arrives: bool,
    /// Whether a block waits after it until all are there.
    pub waits: bool,
    /// The first part, in the order of the plan, that adds to the same tiles, which have to be the same blocks'.
    pub tiles_of: Option<usize>,
}

/// What [`phases`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phases {
    /// Phases from the start of a repetition to the start of the next; each has a part that does not float past it.
    pub count: usize,
    /// In the order in which every block goes through them.
    pub parts: Vec<Part>,
}

/// When to run these calls, again and again, on so many blocks.
///
/// A call waits for an earlier one that writes what it touches, or touches what it writes; but not where both add to the same
/// tiles, which are the same blocks'. What its argument struct holds counts as touched, so calls leave out what they do not
/// need.
pub fn phases(calls: &[Call], precision: Precision, blocks: u32) -> Phases {
    let mut parts: Vec<Part> = (0..calls.len()).flat_map(|call| cut(calls, call, blocks)).collect();
    for i in 0..parts.len() {
        parts[i].tiles_of = (0..i).find(|&j| parts[j].tiles_of.is_none() && same_tiles(calls, &parts[i], &parts[j]));
    }
    let tiles = |part: &Part| {
        let call = &calls[part.call];
        call.shares().map_or(call.variant(precision).1.blocks, |_| part.shares.len() as u32)
    };
    let tiles: Vec<u32> = parts.iter().map(tiles).collect();
    let count = place(&mut parts, calls, &tiles, blocks);
    share_out(&mut parts, count, &tiles, blocks);
    for part in &mut parts {
        (part.late, part.phase) = (part.phase / count, part.phase % count);
    }
    parts.sort_by_key(|part| (part.phase, part.floats));
    for phase in parts.chunk_by_mut(|a, b| a.phase == b.phase) {
        // A phase in which all floats ends when all is done.
        let at_once = phase.iter().filter(|part| !part.floats).count();
        let last = phase.len() - 1;
        phase[if at_once == 0 { last } else { at_once - 1 }].arrives = true;
        phase[last].waits = true;
    }
    Phases { count, parts }
}

/// Gives each part its phase, counted from the start of its repetition, and says which float; the number of phases.
fn place(parts: &mut [Part], calls: &[Call], tiles: &[u32], blocks: u32) -> usize {
    let conflicts: Vec<Vec<bool>> =
        parts.iter().map(|a| parts.iter().map(|b| conflict(calls, a, b)).collect()).collect();
    let mut order = Order::fewest_phases(parts, &conflicts);
    let mut largest: Vec<usize> = (0..parts.len()).collect();
    largest.sort_by_key(|&i| Reverse(tiles[i]));
    largest.into_iter().for_each(|i| parts[i].floats = order.lengthen(i));

    // What does not float runs as soon as it can, and so does what keeps few blocks busy; the rest where they have the least to do.
    let mut busy = vec![0; order.count];
    let (floating, mut placed): (Vec<usize>, Vec<usize>) = (0..parts.len()).partition(|&i| parts[i].floats);
    for &i in &placed {
        parts[i].phase = (0..parts.len()).map(|j| order.after(j, i)).fold(0, i32::max) as usize;
        busy[parts[i].phase % order.count] += tiles[i];
    }
    for i in floating {
        let phase = |j: usize| parts[j].phase as i32;
        let first = placed.iter().map(|&j| phase(j) + order.after(j, i)).fold(0, i32::max) as usize;
        let last = placed.iter().map(|&j| phase(j) - order.after(i, j)).fold(i32::MAX, i32::min) as usize;
        let phases = first..=if tiles[i] < blocks / 4 { first } else { last.min(first + order.count - 1) };
        let phase = phases.min_by_key(|&phase| busy[phase % order.count]).expect("there is a phase for each");
        parts[i].phase = phase;
        busy[phase % order.count] += tiles[i];
        placed.push(i);
    }
    order.count
}

/// Gives each part its first block: the next one that has nothing to do in that phase.
fn share_out(parts: &mut [Part], count: usize, tiles: &[u32], blocks: u32) {
    let mut next = vec![0; count];
    for floats in [false, true] {
        for (part, tiles) in
            parts.iter_mut().zip(tiles).filter(|(part, _)| part.floats == floats && part.tiles_of.is_none())
        {
            let next = &mut next[part.phase % count];
            part.first_block = *next;
            *next = (*next + tiles) % blocks;
        }
    }
    // Parts that add to the same tiles have the same blocks, each of which runs them in order.
    for i in 0..parts.len() {
        parts[i].first_block = parts[parts[i].tiles_of.unwrap_or(i)].first_block;
    }
}

/// How many phases later, at least, a part runs than another: the longest ways between them, of steps "after that".
struct Order {
    count: usize,
    parts: usize,
    ways: Vec<i32>,
}

impl Order {
    /// With the fewest phases a repetition, none of whose parts floats.
    fn fewest_phases(parts: &[Part], conflicts: &[Vec<bool>]) -> Self {
        let (mut low, mut high) = (1, parts.len().max(1) + 1);
        while low < high {
            let count = (low + high) / 2;
            match Order::new(count, parts, conflicts) {
                Some(_) => high = count,
                None => low = count + 1,
            }
        }
        Order::new(low, parts, conflicts).expect("one after another is a way")
    }

    /// None where so few phases are too few.
    fn new(count: usize, parts: &[Part], conflicts: &[Vec<bool>]) -> Option<Self> {
        let n = parts.len();
        let mut ways = vec![NONE; n * n];
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter(|&(i, j)| conflicts[i][j]) {
            let together = parts[j].tiles_of.is_some_and(|first| i == first || parts[i].tiles_of == Some(first));
            // The later one in the plan comes after; the earlier one comes after in the next repetition.
            ways[i * n + j] = if i >= j { 1 - count as i32 } else { i32::from(!together) };
        }
        for k in 0..n {
            for i in (0..n).filter(|&i| i != k) {
                let to = ways[i * n + k];
                if to == NONE {
                    continue;
                }
                for j in 0..n {
                    if ways[k * n + j] != NONE {
                        ways[i * n + j] = ways[i * n + j].max(to + ways[k * n + j]);
                    }
                }
                if ways[i * n + i] > 0 {
                    return None;
                }
            }
        }
        (0..n).all(|i| ways[i * n + i] <= 0).then_some(Order { count, parts: n, ways })
    }

    /// How many phases part j comes after part i, at least; [`NONE`] where it need not.
    fn after(&self, i: usize, j: usize) -> i32 {
        self.ways[i * self.parts + j]
    }

    /// Has whoever waits for part i wait for one phase more, if there are enough phases for that; whether there are.
    fn lengthen(&mut self, i: usize) -> bool {
        let n = self.parts;
        if self.after(i, i) == 0 {
            return false;
        }
        let longer = |way: i32| if way == NONE { NONE } else { way + 1 };
        let from_it: Vec<i32> = (0..n).map(|j| longer(self.after(i, j))).collect();
        for a in 0..n {
            let to = if a == i { 0 } else { self.after(a, i) };
            for b in (0..n).filter(|&b| to != NONE && from_it[b] != NONE) {
                let way = &mut self.ways[a * n + b];
                *way = (*way).max(to + from_it[b]);
            }
        }
        true
    }
}

/// A call as parts each of which waits for the same calls, and gives no block much more to do than others.
fn cut(calls: &[Call], call: usize, blocks: u32) -> Vec<Part> {
    let part = |shares| Part {
        call,
        shares,
        phase: 0,
        late: 0,
        floats: false,
        first_block: 0,
        arrives: false,
        waits: false,
        tiles_of: None,
    };
    let Some(shares) = calls[call].shares() else { return vec![part(0..0)] };
    let others = |share: u32| -> Vec<bool> {
        let share = part(share..share + 1);
        (0..calls.len())
            .map(|other| other != call && conflict(calls, &share, &Part { call: other, ..part(0..0) }))
            .collect()
    };
    // Neighbours that conflict with the same calls; few that lie between two such runs go with the first.
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
    // A share a block, on those that are not busy with what does not float.
    let most = (blocks - blocks / 4).max(shares.div_ceil(PIECES));
    let pieces =
        |run: Range<u32>| run.clone().step_by(most as usize).map(move |first| first..run.end.min(first + most));
    merged.into_iter().flat_map(pieces).map(part).collect()
}

/// The bytes that a part touches, and whether it writes them.
fn touched<'a>(calls: &'a [Call], part: &Part) -> impl Iterator<Item = (Range<usize>, bool)> + 'a {
    calls[part.call].touched(part.shares.clone())
}

/// Whether one of two parts writes what the other touches.
fn conflict(calls: &[Call], one: &Part, other: &Part) -> bool {
    touched(calls, one).any(|(a, writes)| {
        touched(calls, other).any(|(b, also)| (writes || also) && a.start < b.end && b.start < a.end)
    })
}

/// Whether two products, one of which writes what the other touches, only write, and that to the same tiles.
fn same_tiles(calls: &[Call], one: &Part, other: &Part) -> bool {
    let (a, b) = (&calls[one.call], &calls[other.call]);
    let outputs = |call: &Call| call.written().map(|field| field.bytes.clone()).collect::<Vec<_>>();
    let reads = |a: &Call, b: &Call| {
        let read = b.kernel_fields().filter(|f| b.output(f).is_none());
        read.into_iter().any(|f| a.written().any(|w| w.bytes.start < f.bytes.end && f.bytes.start < w.bytes.end))
    };
    a.kernel() == b.kernel()
        && a.product().is_some()
        && a.product().map(tiling) == b.product().map(tiling)
        && outputs(a) == outputs(b)
        && !reads(a, b)
        && !reads(b, a)
}

/// What decides which numbers are a tile's.
fn tiling(product: Product) -> Product {
    Product { depth: 0, ..product }
}

//! When the calls of a plan that repeats run, in one launch whose blocks wait for one another: in which phase, and what floats past
//! its end.
//!
//! At the end of a phase a block says that it is there, and waits until all are. What nobody needs right away *floats*: blocks do it
//! in between, and it is done when the next phase ends. A repetition starts every `count` phases, the fewest that let each number be
//! written and read in order; a call in a later phase belongs to a repetition that began earlier, so that the end of one step runs
//! beside the start of the next.
//!
//! Weights of a product are *fetched* while its block waits for the phase before to end, to shared memory that it keeps, if they
//! already are what the product needs.
use crate::plan::{Call, Field, Precision, Product, conflict};
use std::cmp::Reverse;
use std::ops::Range;

/// Pieces into which a call in shares is cut at most, beyond what its neighbours in the plan ask for.
const PIECES: u32 = 24;
/// Shares that are not worth a part of their own.
const FEW: usize = 8;
/// The weights of a product: see [`Product::weights`].
const WEIGHTS: &str = "w";
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
    /// Of a product whose weights are fetched in the phase before: their place in the memory that a block keeps, in numbers.
    pub kept: Option<usize>,
    /// Whether this is not the product but that fetching.
    pub fetches: bool,
    /// The first part, in the order of the plan, with which it has to have the same blocks: it adds to the same tiles, or goes on
    /// with the same shares.
    pub blocks_of: Option<usize>,
}

/// What [`phases`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phases {
    /// Phases from the start of a repetition to the start of the next; each has a part that does not float past it.
    pub count: usize,
    /// In the order in which every block goes through them.
    pub parts: Vec<Part>,
    /// Bytes of shared memory that a block keeps.
    pub kept: usize,
}

/// When to run these calls, again and again, on so many blocks, each of which may keep so many bytes of shared memory.
///
/// A call waits for an earlier one that writes what it touches, or touches what it writes; but not where both add to the same
/// tiles, or meet share by share, which are the same blocks'. What its argument struct holds counts as touched, so calls leave out what they do not
/// need.
pub fn phases(calls: &[Call], precision: Precision, blocks: u32, most_kept: usize) -> Phases {
    let mut parts: Vec<Part> = (0..calls.len()).flat_map(|call| cut(calls, call, blocks)).collect();
    for i in 0..parts.len() {
        let first = (0..i).find(|&j| goes_on(calls, &parts[i], &parts[j]));
        parts[i].blocks_of = first.map(|j| parts[j].blocks_of.unwrap_or(j));
    }
    let tiles = |part: &Part| {
        let call = &calls[part.call];
        call.shares().map_or(call.variant(precision).1.blocks, |_| part.shares.len() as u32)
    };
    let tiles: Vec<u32> = parts.iter().map(tiles).collect();
    let fits = |i: usize| calls[parts[i].call].product().is_some_and(|p| size_of::<f32>() * p.kept() <= most_kept);
    let writers = |i| if fits(i) { who_writes_weights(calls, precision, &parts, i) } else { Vec::new() };
    let weights: Vec<Vec<usize>> = (0..parts.len()).map(writers).collect();
    let count = place(&mut parts, calls, &tiles, blocks, &weights);
    share_out(&mut parts, count, &tiles, blocks);
    let kept = fetch(&mut parts, calls, count, &weights, most_kept);
    for part in &mut parts {
        (part.late, part.phase) = (part.phase / count, part.phase % count);
    }
    parts.sort_by_key(|part| (part.phase, part.floats, !part.fetches));
    for phase in parts.chunk_by_mut(|a, b| a.phase == b.phase) {
        // A phase in which all floats ends when all is done.
        let at_once = phase.iter().filter(|part| !part.floats).count();
        let last = phase.len() - 1;
        phase[if at_once == 0 { last } else { at_once - 1 }].arrives = true;
        phase[last].waits = true;
    }
    Phases { count, parts, kept }
}

/// Gives each part its phase, counted from the start of its repetition, and says which float; the number of phases.
fn place(parts: &mut [Part], calls: &[Call], tiles: &[u32], blocks: u32, weights: &[Vec<usize>]) -> usize {
    let n = parts.len();
    let own = |i: usize| parts[i].blocks_of.unwrap_or(i);
    // How many phases the second of two parts comes after the first; 0 where the same blocks run one after the other.
    let apart = |(i, j): (usize, usize)| {
        let together = own(i) == own(j) && goes_on(calls, &parts[i], &parts[j]);
        parts[i].conflicts(&parts[j], calls).then_some((i, j, i32::from(!together)))
    };
    let conflicts: Vec<(usize, usize, i32)> =
        (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter_map(apart).collect();
    let mut order = Order::fewest_phases(parts, &conflicts);
    let mut largest: Vec<usize> = (0..parts.len()).collect();
    largest.sort_by_key(|&i| Reverse(tiles[i]));
    largest.iter().for_each(|&i| parts[i].floats = order.lengthen(i));
    for &i in largest.iter().filter(|&&i| !parts[i].floats) {
        order.write_early(parts, &weights[i], i);
    }

    // What does not float runs as soon as it can, and so does what keeps few blocks busy; the rest where they have the least to do.
    let mut busy = vec![0; order.count];
    let (floating, mut placed): (Vec<usize>, Vec<usize>) = (0..parts.len()).partition(|&i| parts[i].floats);
    for &i in &placed {
        parts[i].phase = (0..parts.len()).map(|j| order.after(j, i)).fold(0, i32::max) as usize;
        busy[parts[i].phase % order.count] += tiles[i];
    }
    for i in floating {
        let phase = |j: usize| parts[j].phase as i32;
        let first = placed.iter().map(|&j| phase(j) + order.after(j, i)).fold(0, i32::max);
        let last = placed.iter().map(|&j| phase(j) - order.after(i, j)).fold(i32::MAX, i32::min);
        assert!(first <= last, "the ways between parts leave each a phase");
        let [first, last] = [first, last].map(|phase| phase as usize);
        let phases = first..=if tiles[i] < blocks / 4 { first } else { last.min(first + order.count - 1) };
        let phase = phases.min_by_key(|&phase| busy[phase % order.count]).expect("there is a phase for each");
        parts[i].phase = phase;
        busy[phase % order.count] += tiles[i];
        placed.push(i);
    }
    order.count
}

/// The parts that write the weights of a product which may be fetched; none for other parts.
fn who_writes_weights(calls: &[Call], precision: Precision, parts: &[Part], i: usize) -> Vec<usize> {
    let Some(weights) = weights(&calls[parts[i].call], precision) else { return Vec::new() };
    let writes = |part: &Part| {
        part.touched(calls).any(|(b, writes)| writes && b.start < weights.bytes.end && weights.bytes.start < b.end)
    };
    (0..parts.len()).filter(|&j| writes(&parts[j])).collect()
}

/// The weights of a product, if tiles may find them in the memory that their blocks keep.
fn weights(call: &Call, precision: Precision) -> Option<&Field> {
    let product = call.product().filter(|product| precision != Precision::Fp32 && product.weights > 0);
    product.and_then(|_| call.kernel_fields().find(|field| field.name == WEIGHTS))
}

/// How many phases at least have to be between the starts of a part that writes weights and of the product that has them fetched.
fn fetched_after(writer: &Part, product: &Part, count: usize) -> i32 {
    2 + i32::from(writer.floats) - if writer.call < product.call { 0 } else { count as i32 }
}

/// Adds what fetches the weights of products that do not float, where they are written early enough and there is room in the
/// memory that a block keeps; how many bytes of it are used. Once a block has come to the end of a phase, it needs what it
/// kept for that no more.
fn fetch(parts: &mut Vec<Part>, calls: &[Call], count: usize, writers: &[Vec<usize>], most_kept: usize) -> usize {
    let mut used = 0;
    for phase in 0..count {
        let mut place = 0;
        for i in 0..writers.len() {
            let part = &parts[i];
            let phases_after = |j: usize| part.phase as i32 - parts[j].phase as i32;
            let early = |&j: &usize| phases_after(j) >= fetched_after(&parts[j], part, count);
            let numbers = calls[part.call].product().map_or(0, |product| product.kept());
            let fits = size_of::<f32>() * (place + numbers) <= most_kept;
            let here = part.phase > 0 && part.phase % count == phase && !part.floats;
            if here && fits && !writers[i].is_empty() && writers[i].iter().all(early) {
                parts[i].kept = Some(place);
                let product = parts[i].clone();
                parts.push(Part { phase: product.phase - 1, floats: true, fetches: true, ..product });
                place += numbers;
            }
        }
        used = used.max(size_of::<f32>() * place);
    }
    used
}

/// Gives each part its first block: the next one that has nothing to do in that phase.
fn share_out(parts: &mut [Part], count: usize, tiles: &[u32], blocks: u32) {
    let mut next = vec![0; count];
    for floats in [false, true] {
        for (part, tiles) in
            parts.iter_mut().zip(tiles).filter(|(part, _)| part.floats == floats && part.blocks_of.is_none())
        {
            let next = &mut next[part.phase % count];
            part.first_block = *next;
            *next = (*next + tiles) % blocks;
        }
    }
    // Each of the blocks that parts have in common runs them in order.
    for i in 0..parts.len() {
        parts[i].first_block = parts[parts[i].blocks_of.unwrap_or(i)].first_block;
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
    fn fewest_phases(parts: &[Part], conflicts: &[(usize, usize, i32)]) -> Self {
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
    fn new(count: usize, parts: &[Part], conflicts: &[(usize, usize, i32)]) -> Option<Self> {
        let n = parts.len();
        let mut ways = vec![NONE; n * n];
        for &(i, j, apart) in conflicts {
            // The later one in the plan comes after; the earlier one comes after in the next repetition, and so do parts of one call,
            // which may run side by side.
            ways[i * n + j] = if i >= j || parts[i].call == parts[j].call { 1 - count as i32 } else { apart };
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
        let on = (0..n).map(|j| self.after(i, j)).collect();
        self.lead(i, 1, on);
        true
    }

    /// Has the parts that write the weights of a product do it a phase before they would have to, if there are enough phases for
    /// that, so that they can be fetched.
    fn write_early(&mut self, parts: &[Part], writers: &[usize], product: usize) {
        let before = self.ways.clone();
        for &writer in writers {
            let way = fetched_after(&parts[writer], &parts[product], self.count);
            if self.after(product, writer) + way > 0 {
                self.ways = before;
                return;
            }
            let on = (0..self.parts).map(|j| if j == product { 0 } else { self.after(product, j) }).collect();
            self.lead(writer, way, on);
        }
    }

    /// Adds the ways that lead to part i and from there, by a step of so many phases, `on` to each part.
    fn lead(&mut self, i: usize, step: i32, on: Vec<i32>) {
        let n = self.parts;
        for a in 0..n {
            let to = if a == i { 0 } else { self.after(a, i) };
            for b in (0..n).filter(|&b| to != NONE && on[b] != NONE) {
                let way = &mut self.ways[a * n + b];
                *way = (*way).max(to + step + on[b]);
            }
        }
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
        kept: None,
        fetches: false,
        blocks_of: None,
    };
    let Some(shares) = calls[call].shares() else { return vec![part(0..0)] };
    let others = |share: u32| -> Vec<bool> {
        let share = part(share..share + 1);
        (0..calls.len())
            .map(|other| other != call && share.conflicts(&Part { call: other, ..part(0..0) }, calls))
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

impl Part {
    /// The bytes that it touches, and whether it writes them.
    pub fn touched<'a>(&self, calls: &'a [Call]) -> impl Iterator<Item = (Range<usize>, bool)> + 'a {
        let (call, fetches) = (&calls[self.call], self.fetches);
        let fields = call.kernel_fields().zip(call.touched(self.shares.clone()));
        fields.filter(move |(field, _)| !fetches || field.name == WEIGHTS).map(|(_, touched)| touched)
    }

    /// Whether one of two parts writes what the other touches.
    pub fn conflicts(&self, other: &Part, calls: &[Call]) -> bool {
        conflict(self.touched(calls), || other.touched(calls))
    }
}

/// Whether parts of which one touches what the other writes need no barrier between them, as the same blocks run both, in order.
fn goes_on(calls: &[Call], one: &Part, other: &Part) -> bool {
    same_tiles(calls, one, other) || share_by_share(calls, one, other)
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

/// Whether two calls meet only share by share: whatever one writes and the other touches is cut into shares alike in both, and
/// these parts begin with the same share.
fn share_by_share(calls: &[Call], one: &Part, other: &Part) -> bool {
    let (a, b) = (&calls[one.call], &calls[other.call]);
    let writes = |call: &Call, field| call.output(field).is_some();
    let shared: Vec<_> = a
        .kernel_fields()
        .flat_map(|x| b.kernel_fields().map(move |y| (x, y)))
        .filter(|(x, y)| x.bytes.start < y.bytes.end && y.bytes.start < x.bytes.end)
        .filter(|(x, y)| writes(a, x) || writes(b, y))
        .collect();
    let each = |(x, y): &(&Field, &Field)| {
        x.bytes == y.bytes && a.bytes_of_share(x).is_some() && a.bytes_of_share(x) == b.bytes_of_share(y)
    };
    one.shares.start == other.shares.start && !shared.is_empty() && shared.iter().all(each)
}

/// What decides which numbers are a tile's.
fn tiling(product: Product) -> Product {
    Product { depth: 0, ..product }
}

//! The phases of a plan that repeats in one launch, whose blocks wait for one another: in which
//! phase each call runs, and which calls float past its end.
//!
//! At the end of a phase a block says that it is there, and waits until all are. Calls that nobody
//! needs right away *float*: blocks run them in between, and they are done when the next phase
//! ends.
//!
//! A repetition starts every `count` phases, the fewest that let each number be written and read in
//! order. A call in a later phase belongs to a repetition that began earlier, so that the end of
//! one step runs beside the start of the next.
//!
//! A block *fetches* the weights of a product while it waits for the phase before to end, if they
//! already are what the product needs. They go to shared memory that the block keeps. What a share
//! of a call keeps for itself from one repetition to the next *stays* there.
//!
//! Many orders are right; a search finds one with the least modelled time.
pub mod estimate;

use crate::philox::{Purpose, Stream, unit};
use crate::plan::{Call, Field, Precision, Product, conflict};
use estimate::Cost;
use std::ops::Range;

/// Most pieces that a call in shares is cut into, beyond those that its neighbours in the plan ask
/// for.
const PIECES: u32 = 24;
/// Number of shares below which a part of their own is not worth it.
const FEW: usize = 8;
/// The weights of a product, and those of a twin: see [`Product::weights`].
const WEIGHTS: [&str; 2] = ["w", "w2"];
/// Number of moves that the search tries.
const ATTEMPTS: u32 = 10_000;
/// First temperature of the search: the modelled microseconds by which a step may, in the mean, get
/// worse.
const WARM: f64 = 0.2;
/// The length of a way that does not exist.
const NONE: i32 = i32::MIN / 2;

/// A call, or some of its shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The place of the call in the plan.
    pub call: usize,
    /// The shares, if the call has any: see [`Call::shares`].
    pub shares: Range<u32>,
    /// The phase, counted from the start of a repetition.
    pub phase: usize,
    /// Number of repetitions that have begun since the one that the part belongs to.
    pub late: usize,
    /// True if the part floats past the end of that phase.
    pub floats: bool,
    /// The block that has the first tile or share; the next one has the second.
    pub first_block: u32,
    /// True if a block says after this part that it is at the end of the phase.
    pub arrives: bool,
    /// True if a block waits after this part until all blocks are at the end of the phase.
    pub waits: bool,
    /// The place of a product's weights in the memory that a block keeps, in numbers, if they are
    /// fetched in the phase before.
    pub kept: Option<usize>,
    /// True if the part does not compute its product but only fetches the weights.
    pub fetches: bool,
    /// For each block, 1 + the place, in numbers, in the memory that it keeps, of what its first
    /// share has there from one repetition to the next; 0: nothing. Empty if no block has anything
    /// there.
    pub resident: Vec<u32>,
    /// The part's place in the order of the plan; a part that fetches has that of its product.
    pub number: usize,
    /// The first part, in the order of the plan, that must have the same blocks as this one: both
    /// add to the same tiles, or go on with the same shares.
    pub blocks_of: Option<usize>,
}

/// The phases of a plan, as [`phases`] finds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phases {
    /// Phases from the start of a repetition to the start of the next; each has a part that does
    /// not float past it.
    pub count: usize,
    /// The parts, in the order in which every block goes through them.
    pub parts: Vec<Part>,
    /// Bytes of shared memory that a block keeps.
    pub kept: usize,
}

/// Finds the phases of calls that repeat, on `blocks` blocks, each of which may keep `most_kept`
/// bytes of shared memory.
///
/// A call waits for an earlier one that writes what it touches, or touches what it writes. It does
/// not wait where both add to the same tiles, or meet share by share: the same blocks run both. All
/// that its argument struct holds counts as touched, so calls leave out what they do not need.
pub fn phases(calls: &[Call], precision: Precision, blocks: u32, most_kept: usize) -> Phases {
    if calls.is_empty() {
        return Phases { count: 0, parts: Vec::new(), kept: 0 };
    }
    let mut parts: Vec<Part> = (0..calls.len()).flat_map(|call| cut(calls, call, blocks)).collect();
    for i in 0..parts.len() {
        parts[i].number = i;
        let first = (0..i).find(|&j| goes_on(calls, &parts[i], &parts[j]));
        parts[i].blocks_of = first.map(|j| parts[j].blocks_of.unwrap_or(j));
    }
    let tiles: Vec<u32> = parts.iter().map(|part| tiles(&calls[part.call], part, precision)).collect();
    let writers = |i| who_writes_weights(calls, precision, &parts, i);
    let weights: Vec<Vec<usize>> = (0..parts.len()).map(writers).collect();
    let conflicts = conflicts(&parts, calls);
    let count = place(&mut parts, &conflicts);
    let (most_fetched, share) = shared_between(&parts, calls, &tiles, blocks, most_kept);
    let costs: Vec<Cost> = parts.iter().map(|part| Cost::of(&calls[part.call], part, precision, share)).collect();
    let finished = |parts: &[Part]| finish(parts.to_vec(), calls, count, &tiles, blocks, &weights, most_fetched);
    let time = |parts: &[Part]| {
        let phases = finished(parts);
        if phases.is_whole() { phases.estimate(&costs, blocks)[0] } else { f64::INFINITY }
    };
    improve(&mut parts, &conflicts, count, &time);
    let mut phases = finished(&parts);
    assert!(phases.is_whole(), "barriers lie between phases of which each has a part");
    stay(&mut phases, calls, &tiles, blocks, most_kept);
    phases
}

/// Number of tiles, or shares, of a part.
fn tiles(call: &Call, part: &Part, precision: Precision) -> u32 {
    call.shares().map_or(call.variant(precision).1.blocks, |_| part.shares.len() as u32)
}

/// Divides the memory that a block may keep. Returns the bytes for fetched weights, and the share,
/// about, of what could stay that has room beside them. Fetched weights get what is left by all
/// that could stay, but enough for the largest.
fn shared_between(parts: &[Part], calls: &[Call], tiles: &[u32], blocks: u32, most_kept: usize) -> (usize, f64) {
    let bytes = |part: &Part| size_of::<f32>() * calls[part.call].resident() * tiles[part.number] as usize;
    // Some blocks have one share more than others.
    let largest = parts.iter().map(|part| size_of::<f32>() * calls[part.call].resident()).max().unwrap_or(0);
    let stays = parts.iter().map(bytes).sum::<usize>().div_ceil(blocks as usize) + 2 * largest;
    let products = calls.iter().filter_map(Call::product).map(|product| size_of::<f32>() * product.kept());
    let fetched = products.max().unwrap_or(0).min(most_kept).max(most_kept.saturating_sub(stays));
    (fetched, ((most_kept - fetched) as f64 / stays as f64).min(1.0))
}

impl Phases {
    /// True if each phase has a part that does not float past it.
    pub fn is_whole(&self) -> bool {
        (0..self.count).all(|phase| self.parts.iter().any(|part| part.phase == phase && !part.floats))
    }

    /// Microseconds of a step, and those of them in which an average block has nothing to do: **a
    /// model**, see `phases/estimate.rs`.
    pub fn modelled(&self, calls: &[Call], precision: Precision, blocks: u32) -> [f64; 2] {
        estimate::step(&self.costs(calls, precision, blocks), blocks)
    }

    /// The parts with their modelled costs.
    pub fn costs(&self, calls: &[Call], precision: Precision, blocks: u32) -> Vec<(&Part, Cost)> {
        let share = |part: &Part| {
            let tiles = tiles(&calls[part.call], part, precision);
            part.stays_on() as f64 / tiles.min(blocks) as f64
        };
        let cost = |part: &Part| Cost::of(&calls[part.call], part, precision, share(part));
        self.parts.iter().map(|part| (part, cost(part))).collect()
    }

    /// The phases in which what floats takes no time: the least that a step takes.
    pub fn without_floating(&self) -> Self {
        let mut alone = self.clone();
        alone.parts.retain(|part| part.arrives || !part.floats);
        alone.parts.iter_mut().for_each(|part| part.waits = part.arrives);
        alone
    }

    /// The modelled microseconds as in [`Phases::modelled`], with the costs of the parts before the
    /// parts that fetch were added, in the order that they had then.
    fn estimate(&self, costs: &[Cost], blocks: u32) -> [f64; 2] {
        estimate::step(&self.parts.iter().map(|part| (part, costs[part.number])).collect::<Vec<_>>(), blocks)
    }
}

/// Completes parts that have their phases: gives each its first block, adds the parts that fetch,
/// and brings all into the order in which they run.
fn finish(
    mut parts: Vec<Part>,
    calls: &[Call],
    count: usize,
    tiles: &[u32],
    blocks: u32,
    weights: &[Vec<usize>],
    most_fetched: usize,
) -> Phases {
    share_out(&mut parts, count, tiles, blocks);
    let kept = fetch(&mut parts, calls, count, weights, most_fetched);
    for part in &mut parts {
        (part.late, part.phase) = (part.phase / count, part.phase % count);
    }
    parts.sort_by_key(|part| (part.phase, part.floats, !part.fetches));
    for phase in parts.chunk_by_mut(|a, b| a.phase == b.phase) {
        // If all parts of a phase float, the phase ends when all are done.
        let at_once = phase.iter().filter(|part| !part.floats).count();
        let last = phase.len() - 1;
        phase[if at_once == 0 { last } else { at_once - 1 }].arrives = true;
        phase[last].waits = true;
    }
    Phases { count, parts, kept }
}

/// The pairs of parts of which the second has to come after the first, and by how many phases: 0
/// where the same blocks run one after the other.
fn conflicts(parts: &[Part], calls: &[Call]) -> Vec<(usize, usize, i32)> {
    let (n, own) = (parts.len(), |i: usize| parts[i].blocks_of.unwrap_or(i));
    let apart = |(i, j): (usize, usize)| {
        let together = own(i) == own(j) && goes_on(calls, &parts[i], &parts[j]);
        parts[i].conflicts(&parts[j], calls).then_some((i, j, i32::from(!together)))
    };
    (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter_map(apart).collect()
}

/// The least number of phases from part i to part j, if neither floats. If j is later in the plan,
/// it runs `apart` phases after i. If j is earlier, it runs after i in the next repetition. So do
/// parts of one call, which may run side by side.
fn way(parts: &[Part], count: usize, (i, j, apart): (usize, usize, i32)) -> i32 {
    if i >= j || parts[i].call == parts[j].call { 1 - count as i32 } else { apart }
}

/// Moves parts, one at a time and at random, to where a step takes less time. At first it also
/// accepts places where the step takes somewhat more: simulated annealing (Kirkpatrick, Gelatt,
/// Vecchi, "Optimization by Simulated Annealing", Science 1983).
fn improve(parts: &mut [Part], conflicts: &[(usize, usize, i32)], count: usize, time: &dyn Fn(&[Part]) -> f64) {
    let stream = Stream::new(0, Purpose::Check, 0);
    let mut now = time(parts);
    let (mut best, mut where_best) = (now, parts.to_vec());
    for attempt in 0..ATTEMPTS {
        let [which, to, floats, more] = stream.block(attempt);
        let (i, floats) = (which as usize % parts.len(), floats % 2 == 1);
        let phases = places(parts, conflicts, count, i, floats);
        if phases.is_empty() {
            continue;
        }
        let before = (parts[i].phase, parts[i].floats);
        (parts[i].phase, parts[i].floats) = (phases.start + to as usize % phases.len(), floats);
        let with = time(parts);
        let temperature = WARM * (1.0 - f64::from(attempt) / f64::from(ATTEMPTS));
        if with < now - temperature * unit(more).ln() {
            now = with;
        } else {
            (parts[i].phase, parts[i].floats) = before;
        }
        if now < best {
            (best, where_best) = (now, parts.to_vec());
        }
    }
    parts.clone_from_slice(&where_best);
}

/// The phases to which a part may move if no other does: after the parts that it must follow,
/// before the parts that must follow it.
fn places(parts: &[Part], conflicts: &[(usize, usize, i32)], count: usize, i: usize, floats: bool) -> Range<usize> {
    let (mut first, mut last) = (0, 2 * count as i32 - 1);
    for &(from, to, apart) in conflicts.iter().filter(|&&(from, to, _)| from == i || to == i) {
        let way = way(parts, count, (from, to, apart));
        if from == to {
            last = if way + i32::from(floats) > 0 { -1 } else { last };
        } else if from == i {
            last = last.min(parts[to].phase as i32 - way - i32::from(floats));
        } else {
            first = first.max(parts[from].phase as i32 + way + i32::from(parts[from].floats));
        }
    }
    if first > last { 0..0 } else { first as usize..last as usize + 1 }
}

/// Gives each part the first phase that it may have, if none floats, counted from the start of its
/// repetition. Returns the number of phases of a repetition, the fewest.
fn place(parts: &mut [Part], conflicts: &[(usize, usize, i32)]) -> usize {
    let order = Order::fewest_phases(parts, conflicts);
    for i in 0..parts.len() {
        parts[i].phase = (0..parts.len()).map(|j| order.after(j, i)).fold(0, i32::max) as usize;
    }
    order.count
}

/// The parts that write the weights of a product, if its tiles may find them in the memory that
/// their blocks keep; empty for other parts.
fn who_writes_weights(calls: &[Call], precision: Precision, parts: &[Part], i: usize) -> Vec<usize> {
    let call = &calls[parts[i].call];
    if precision == Precision::Fp32 || call.product().is_none_or(|product| product.weights == 0) {
        return Vec::new();
    }
    let fetching = Part { fetches: true, ..parts[i].clone() };
    (0..parts.len()).filter(|&j| j != i && fetching.conflicts(&parts[j], calls)).collect()
}

/// The least number of phases from a part that writes weights to the product that has them fetched.
fn fetched_after(writer: &Part, product: &Part, count: usize) -> i32 {
    2 + i32::from(writer.floats) - if writer.call < product.call { 0 } else { count as i32 }
}

/// Adds the parts that fetch the weights of products that do not float, if the weights are written
/// early enough and there is room in the memory that a block keeps. Returns the bytes used. Once a
/// block has come to the end of a phase, it no longer needs what it kept for that phase.
fn fetch(parts: &mut Vec<Part>, calls: &[Call], count: usize, writers: &[Vec<usize>], most_fetched: usize) -> usize {
    let mut used = 0;
    for phase in 0..count {
        let mut place = 0;
        for i in 0..writers.len() {
            let part = &parts[i];
            let phases_after = |j: usize| part.phase as i32 - parts[j].phase as i32;
            let early = |&j: &usize| phases_after(j) >= fetched_after(&parts[j], part, count);
            let numbers = calls[part.call].product().map_or(0, |product| product.kept());
            let fits = size_of::<f32>() * (place + numbers) <= most_fetched;
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

/// Gives the numbers that shares keep from one repetition to the next their places behind the
/// fetched weights, as long as there is room.
fn stay(phases: &mut Phases, calls: &[Call], tiles: &[u32], blocks: u32, most_kept: usize) {
    let mut used = vec![phases.kept / size_of::<f32>(); blocks as usize];
    for part in phases.parts.iter_mut().filter(|part| calls[part.call].resident() > 0) {
        let of_block = |block: u32| {
            let rank = (block + blocks - part.first_block) % blocks;
            let own = (tiles[part.number] + blocks - 1).saturating_sub(rank) / blocks;
            let (place, numbers) = (&mut used[block as usize], own as usize * calls[part.call].resident());
            let fits = own > 0 && size_of::<f32>() * (*place + numbers) <= most_kept;
            let first = if fits { *place as u32 + 1 } else { 0 };
            *place += if fits { numbers } else { 0 };
            first
        };
        part.resident = (0..blocks).map(of_block).collect();
    }
    phases.kept = size_of::<f32>() * used.into_iter().max().unwrap_or(0);
}

/// Gives each part its first block: the one after the last block of the part before it in that
/// phase.
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
    // Parts that need the same blocks have the same first block: each block runs them in order.
    for i in 0..parts.len() {
        parts[i].first_block = parts[parts[i].blocks_of.unwrap_or(i)].first_block;
    }
}

/// The order of parts: the least number of phases by which one part runs after another, for all
/// pairs. These are the longest ways over the pairs that conflict.
struct Order {
    count: usize,
    parts: usize,
    ways: Vec<i32>,
}

impl Order {
    /// The order with the fewest phases a repetition, if no part floats.
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

    /// The order with `count` phases a repetition; `None` if these are too few.
    fn new(count: usize, parts: &[Part], conflicts: &[(usize, usize, i32)]) -> Option<Self> {
        let n = parts.len();
        let mut ways = vec![NONE; n * n];
        for &(i, j, apart) in conflicts {
            ways[i * n + j] = way(parts, count, (i, j, apart));
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

    /// The least number of phases that part j comes after part i; [`NONE`] where it need not.
    fn after(&self, i: usize, j: usize) -> i32 {
        self.ways[i * self.parts + j]
    }
}

/// Cuts a call into parts. All shares of a part wait for the same calls, and no part gives a block
/// much more to do than others.
fn cut(calls: &[Call], call: usize, blocks: u32) -> Vec<Part> {
    let part = |shares| Part::of(call, shares);
    let Some(shares) = calls[call].shares() else { return vec![part(0..0)] };
    let others = |share: u32| -> Vec<bool> {
        let share = part(share..share + 1);
        (0..calls.len()).map(|other| other != call && share.conflicts(&Part::of(other, 0..0), calls)).collect()
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
    // A part has one share for each block, or a few more.
    let most = blocks.max(shares.div_ceil(PIECES));
    let mut parts = Vec::new();
    for run in merged {
        let mut first = run.start;
        while first < run.end {
            let end = if run.end - first < most + FEW as u32 { run.end } else { first + most };
            parts.push(part(first..end));
            first = end;
        }
    }
    parts
}

impl Part {
    /// These shares of the call at this place of the plan, in the first phase.
    fn of(call: usize, shares: Range<u32>) -> Self {
        Part {
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
            resident: Vec::new(),
            number: 0,
            blocks_of: None,
        }
    }

    /// Number of blocks in whose memory its numbers stay from one repetition to the next.
    pub fn stays_on(&self) -> usize {
        self.resident.iter().filter(|&&place| place > 0).count()
    }

    /// The bytes that the part touches, and whether it writes them.
    pub fn touched<'a>(&self, calls: &'a [Call]) -> impl Iterator<Item = (Range<usize>, bool)> + 'a {
        let (call, fetches) = (&calls[self.call], self.fetches);
        let fields = call.kernel_fields().zip(call.touched(self.shares.clone()));
        fields.filter(move |(field, _)| !fetches || WEIGHTS.contains(&field.name)).map(|(_, touched)| touched)
    }

    /// True if one of two parts writes what the other touches.
    pub fn conflicts(&self, other: &Part, calls: &[Call]) -> bool {
        conflict(self.touched(calls), || other.touched(calls))
    }
}

/// True if two parts, one of which touches what the other writes, need no barrier between them: the
/// same blocks run both, in order.
fn goes_on(calls: &[Call], one: &Part, other: &Part) -> bool {
    same_tiles(calls, one, other) || share_by_share(calls, one, other)
}

/// True if two products, one of which touches what the other writes, meet only in their outputs,
/// which they write in the same tiles.
fn same_tiles(calls: &[Call], one: &Part, other: &Part) -> bool {
    let (a, b) = (&calls[one.call], &calls[other.call]);
    let outputs = |call: &Call| call.written().map(|field| field.bytes.clone()).collect::<Vec<_>>();
    let reads = |a: &Call, b: &Call| {
        let read = b.kernel_fields().filter(|f| b.output(f).is_none());
        read.into_iter().any(|f| a.written().any(|w| w.bytes.start < f.bytes.end && f.bytes.start < w.bytes.end))
    };
    one.call != other.call
        && a.kernel() == b.kernel()
        && a.product().is_some()
        && a.product().map(tiling) == b.product().map(tiling)
        && outputs(a) == outputs(b)
        && !reads(a, b)
        && !reads(b, a)
}

/// True if two calls meet only share by share. Whatever one writes and the other touches is cut
/// into shares alike in both, and these parts begin with the same share.
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

/// The fields of a product that decide which numbers belong to a tile: all but the depth.
fn tiling(product: Product) -> Product {
    Product { depth: 0, ..product }
}

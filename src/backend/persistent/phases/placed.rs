//! The third stage: each part on its blocks, and the weights that are fetched for it.
use super::cut::Cut;
use super::ordered::{Ordered, When};
use crate::plan::Call;

/// The memory that a block may keep, divided.
pub(crate) struct Room {
    /// Bytes for fetched weights.
    pub fetched: usize,
    /// The share, about, of what could be resident that has room beside them.
    pub resident: f64,
}

impl Room {
    /// Divides `most_kept` bytes. Fetched weights get what is left by all that could be resident,
    /// but enough for the largest.
    pub fn new(cut: &Cut, most_kept: usize) -> Self {
        let of_share = || cut.parts.iter().map(|part| size_of::<f32>() * cut.call(part).resident());
        let all: usize = of_share().zip(&cut.tiles).map(|(bytes, &tiles)| bytes * tiles as usize).sum();
        // Some blocks have one share more than others.
        let resident = all.div_ceil(cut.blocks as usize) + 2 * of_share().max().unwrap_or(0);
        let products = cut.calls.iter().filter_map(Call::product).map(|product| size_of::<f32>() * product.fetched());
        let fetched = products.max().unwrap_or(0).min(most_kept).max(most_kept.saturating_sub(resident));
        Room { fetched, resident: ((most_kept - fetched) as f64 / resident as f64).min(1.0) }
    }
}

/// The blocks of all parts.
pub(crate) struct Placed<'a> {
    /// The parts and their phases.
    pub ordered: &'a Ordered<'a>,
    /// For each part, the block that has the first tile or share; the next one has the second.
    pub first_block: Vec<u32>,
    /// For each part, the place of its product's weights in the memory that a block keeps, in
    /// numbers, if they are fetched.
    pub fetched: Vec<Option<usize>>,
    /// Bytes that a block keeps of fetched weights.
    pub kept: usize,
}

impl<'a> Placed<'a> {
    /// Places parts that have their phases; fetched weights take at most this many bytes.
    pub fn new(ordered: &'a Ordered, most_fetched: usize) -> Self {
        let (fetched, kept) = fetched(ordered, most_fetched);
        Placed { ordered, first_block: first_blocks(ordered), fetched, kept }
    }
}

/// Gives each part its first block: the one after the last block of the part before it in that
/// phase.
fn first_blocks(Ordered { cut, count, when }: &Ordered) -> Vec<u32> {
    let (mut next, mut first) = (vec![0; *count], vec![0; when.len()]);
    for floats in [false, true] {
        for i in (0..when.len()).filter(|&i| when[i].floats == floats && cut.blocks_of[i] == i) {
            let next = &mut next[when[i].phase % count];
            first[i] = *next;
            *next = (*next + cut.tiles[i]) % cut.blocks;
        }
    }
    // Parts that need the same blocks have the same first block: each block runs them in order.
    cut.blocks_of.iter().map(|&of| first[of]).collect()
}

/// The places of the weights that are fetched, in numbers, and the bytes that they take. Weights
/// are fetched if their product does not float, if they are written early enough, and if there is
/// room. Once a block has come to the end of a phase, it no longer needs what it kept for that
/// phase.
fn fetched(Ordered { cut, count, when }: &Ordered, most: usize) -> (Vec<Option<usize>>, usize) {
    let (mut fetched, mut used) = (vec![None; when.len()], 0);
    for phase in 0..*count {
        let mut place = 0;
        for (i, part) in cut.parts.iter().enumerate() {
            let early = |&writer: &usize| {
                let in_plan = if cut.parts[writer].call < part.call { 0 } else { *count };
                let When { phase, floats } = when[writer];
                when[i].phase + in_plan >= phase + 2 + usize::from(floats)
            };
            let numbers = cut.call(part).product().map_or(0, |product| product.fetched());
            let fits = size_of::<f32>() * (place + numbers) <= most;
            let here = when[i].phase > 0 && when[i].phase % count == phase && !when[i].floats;
            if here && fits && !cut.writers[i].is_empty() && cut.writers[i].iter().all(early) {
                fetched[i] = Some(place);
                place += numbers;
            }
        }
        used = used.max(size_of::<f32>() * place);
    }
    (fetched, used)
}

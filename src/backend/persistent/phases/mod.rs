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
//! of a call has there from one repetition to the next is *resident*.
//!
//! Calls become rows in stages, each a type made of the one before: `Cut` into parts, `Ordered` in
//! phases, `Placed` on blocks, and [`Row`]s. Many orders are right; a search finds one with the
//! least modelled time.
mod cut;
pub mod estimate;
mod ordered;
mod part;
mod placed;
mod row;

pub use part::Part;
pub use row::Row;

use crate::plan::{Call, Precision};
use cut::Cut;
use estimate::Cost;
use ordered::Ordered;
use placed::{Placed, Room};

/// The phases of a plan, as [`phases`] finds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phases {
    /// Phases from the start of a repetition to the start of the next; each has a row that does not
    /// float past it.
    pub count: usize,
    /// The rows, in the order in which every block goes through them.
    pub rows: Vec<Row>,
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
        return Phases { count: 0, rows: Vec::new(), kept: 0 };
    }
    let cut = Cut::new(calls, precision, blocks);
    let room = Room::new(&cut, most_kept);
    let costs: Vec<Cost> = cut.parts.iter().map(|part| Cost::of(calls, part, precision, room.resident)).collect();
    let placed = |ordered: &Ordered| Phases::of(&Placed::new(ordered, room.fetched));
    let ordered = Ordered::new(&cut).improved(&|ordered| {
        let Phases { rows, .. } = match placed(ordered) {
            whole if whole.is_whole() => whole,
            _ => return f64::INFINITY,
        };
        estimate::step(&rows.iter().map(|row| (row, costs[row.part.number])).collect::<Vec<_>>(), blocks)[0]
    });
    let mut phases = placed(&ordered);
    assert!(phases.is_whole(), "barriers lie between phases of which each has a row");
    phases.stay(&cut, most_kept);
    phases
}

impl Phases {
    /// The phases of parts that have their blocks; nothing is resident yet.
    fn of(placed: &Placed) -> Self {
        Phases { count: placed.ordered.count, rows: Row::all(placed), kept: placed.kept }
    }

    /// Gives the numbers that shares keep from one repetition to the next their places behind the
    /// fetched weights, as long as there is room.
    fn stay(&mut self, cut: &Cut, most_kept: usize) {
        let blocks = cut.blocks;
        let mut used = vec![self.kept / size_of::<f32>(); blocks as usize];
        for row in self.rows.iter_mut().filter(|row| cut.call(&row.part).resident() > 0) {
            let of_block = |block: u32| {
                let rank = (block + blocks - row.first_block) % blocks;
                let own = (cut.tiles[row.part.number] + blocks - 1).saturating_sub(rank) / blocks;
                let (place, numbers) = (&mut used[block as usize], own as usize * cut.call(&row.part).resident());
                let fits = own > 0 && size_of::<f32>() * (*place + numbers) <= most_kept;
                let first = if fits { *place as u32 + 1 } else { 0 };
                *place += if fits { numbers } else { 0 };
                first
            };
            row.resident = (0..blocks).map(of_block).collect();
        }
        self.kept = size_of::<f32>() * used.into_iter().max().unwrap_or(0);
    }

    /// True if each phase has a row that does not float past it.
    pub fn is_whole(&self) -> bool {
        (0..self.count).all(|phase| self.rows.iter().any(|row| row.phase == phase && !row.floats))
    }

    /// Microseconds of a step, and those of them in which an average block has nothing to do: **a
    /// model**, see `phases/estimate.rs`.
    pub fn modelled(&self, calls: &[Call], precision: Precision, blocks: u32) -> [f64; 2] {
        estimate::step(&self.costs(calls, precision, blocks), blocks)
    }

    /// The rows with their modelled costs.
    pub fn costs(&self, calls: &[Call], precision: Precision, blocks: u32) -> Vec<(&Row, Cost)> {
        let resident = |row: &Row| row.resident_on() as f64 / row.part.tiles(calls, precision).min(blocks) as f64;
        self.rows.iter().map(|row| (row, Cost::of(calls, &row.part, precision, resident(row)))).collect()
    }

    /// The phases in which what floats takes no time: the least that a step takes.
    pub(crate) fn without_floating(&self) -> Self {
        let mut alone = self.clone();
        alone.rows.retain(|row| row.arrives || !row.floats);
        alone.rows.iter_mut().for_each(|row| row.waits = row.arrives);
        alone
    }
}

//! The last stage: rows, in the order in which every block goes through them.
use super::part::Part;
use super::placed::Placed;
use crate::plan::{Call, conflict};

/// A part as every block comes to it in a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The part.
    pub part: Part,
    /// The phase of the round.
    pub phase: usize,
    /// Number of repetitions that have begun since the one that the part belongs to.
    pub late: usize,
    /// True if the part floats past the end of that phase.
    pub floats: bool,
    /// The block that has the first tile or share; the next one has the second.
    pub first_block: u32,
    /// True if a block says after this row that it is at the end of the phase.
    pub arrives: bool,
    /// True if a block waits after this row until all blocks are at the end of the phase.
    pub waits: bool,
    /// The place of a product's weights in the memory that a block keeps, in numbers, if they are
    /// fetched in the phase before.
    pub fetched: Option<usize>,
    /// True if the row does not compute its product but only fetches the weights.
    pub fetches: bool,
    /// For each block, 1 + the place, in numbers, in the memory that it keeps, of what is resident
    /// of its first share; 0: nothing. Empty if no block has anything there.
    pub resident: Vec<u32>,
}

impl Row {
    /// The rows of parts that have their blocks: one for each part, and one for each whose weights
    /// are fetched.
    pub(super) fn all(placed: &Placed) -> Vec<Row> {
        let (count, cut) = (placed.ordered.count, placed.ordered.cut);
        let row = |part: &Part, fetches: bool| {
            let (i, when) = (part.number, placed.ordered.when[part.number]);
            let phase = when.phase - usize::from(fetches);
            Row {
                part: part.clone(),
                phase: phase % count,
                late: phase / count,
                floats: when.floats || fetches,
                first_block: placed.first_block[i],
                arrives: false,
                waits: false,
                fetched: placed.fetched[i],
                fetches,
                resident: Vec::new(),
            }
        };
        let fetching = cut.parts.iter().filter(|part| placed.fetched[part.number].is_some());
        let mut rows: Vec<Row> =
            cut.parts.iter().map(|part| row(part, false)).chain(fetching.map(|part| row(part, true))).collect();
        rows.sort_by_key(|row| (row.phase, row.floats, !row.fetches));
        for phase in rows.chunk_by_mut(|a, b| a.phase == b.phase) {
            // If all rows of a phase float, the phase ends when all are done.
            let at_once = phase.iter().filter(|row| !row.floats).count();
            let last = phase.len() - 1;
            phase[if at_once == 0 { last } else { at_once - 1 }].arrives = true;
            phase[last].waits = true;
        }
        rows
    }

    /// Number of blocks in whose memory its numbers are resident.
    pub(crate) fn resident_on(&self) -> usize {
        self.resident.iter().filter(|&&place| place > 0).count()
    }

    /// True if one of two rows writes what the other touches.
    pub fn conflicts(&self, other: &Row, calls: &[Call]) -> bool {
        conflict(self.part.touched(calls, self.fetches), || other.part.touched(calls, other.fetches))
    }
}

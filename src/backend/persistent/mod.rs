//! Plans as one launch: the data that the kernel `run_plan` (`kernels/run_plan.cu`) reads.
pub mod phases;

use crate::backend::persistent::phases::{Phases, Row};
use crate::plan::{Call, Place, Precision};
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};

/// The kernels that `run_plan` runs; the index of a kernel here is its number.
const KERNELS: &[&str] = include!(concat!(env!("OUT_DIR"), "/kernel_numbers.rs"));

/// Threads of a block.
pub const THREADS: u32 = 256;
/// Most bytes that a block keeps on an H100 or H200, beside 48 KB.
pub const KEPT: usize = 179 << 10;

/// The name of the kernel that runs plans in this precision, and of its module.
pub fn kernel(precision: Precision) -> &'static str {
    match precision {
        Precision::Fp32 => "run_plan",
        Precision::Bf16x3 => "run_plan_bf16x3",
    }
}

/// Flags in `then` of an [`Own`], as in `kernels/run_plan.cu`. After a call with `ARRIVES` a block
/// says that it has come to the end of a phase; after one with `WAITS` it waits until all blocks
/// have. `ENDS_ROUND` marks a block's last call of a round.
const ARRIVES: u32 = 1;
const WAITS: u32 = 2;
const ENDS_ROUND: u32 = 4;

/// A call as the kernel sees it; `PlanCall` in `kernels/run_plan.cu`.
#[repr(C, align(16))]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct PlanCall {
    kernel: u32,
    /// The block that has the first share.
    first_block: u32,
    /// The shares `first..end` of `shares`.
    first: u32,
    end: u32,
    shares: u32,
    /// The number of repetitions that have begun since the one that the call belongs to.
    late: u32,
    /// 1: it only begins to fetch its weights.
    fetches: u32,
    /// 1 + the place of its weights, in numbers, in the memory that the block keeps; 0: not there.
    fetched: u32,
    /// Numbers of that memory that a share has from one repetition to the next, if any.
    stays: u32,
    pad: [u32; 3],
    args: [u64; 32],
}

/// A call that a block goes through; `Own` in `kernels/run_plan.cu`.
#[repr(C, align(16))]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Own {
    /// Its place among [`Table::calls`].
    row: u32,
    /// 1 + the place, in the memory that the block keeps, of the numbers that its first share has
    /// there from one repetition to the next; 0: none.
    resident: u32,
    /// Flags of the block's part in the end of a phase after it: `ARRIVES`, then `WAITS`; and
    /// `ENDS_ROUND`.
    then: u32,
    /// The place in [`Table::own`] of the call that follows.
    next: u32,
}

/// Arguments of `run_plan`; `RunPlan` in `kernels/run_plan.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct RunPlan {
    /// Address of the calls.
    pub calls: u64,
    /// Address of the count of arrivals of blocks at the end of a phase.
    pub arrived: u64,
    /// Address of [`Table::own`].
    pub own: u64,
    /// Address of [`Table::begins`].
    pub begins: u64,
    /// Number of calls.
    pub n: u32,
    /// Number of repetitions.
    pub times: u32,
    /// Number of times that the blocks go through all calls: more than repetitions, as some calls
    /// are late.
    pub rounds: u32,
    /// The value of the count before this launch.
    pub before: u32,
}

/// The fields of the structs that the kernel is given, by the structs' names there.
pub fn places() -> [(&'static str, Vec<Place>); 3] {
    let call =
        crate::places!(PlanCall: kernel, first_block, first, end, shares, late, fetches, fetched, stays, pad, args);
    let plan = crate::places!(RunPlan: calls, arrived, own, begins, n, times, rounds, before);
    [("PlanCall", call), ("Own", crate::places!(Own: row, resident, then, next)), ("RunPlan", plan)]
}

/// A plan as a table of calls.
pub struct Table {
    /// The calls, in the order in which blocks go through them, round after round.
    pub calls: Vec<PlanCall>,
    /// The calls that the first block goes through, then those of the next one, and so on.
    pub own: Vec<Own>,
    /// For each block, the place of its first call in `own`.
    pub begins: Vec<u32>,
    /// Number of times in a round that all blocks wait for one another.
    pub barriers: u32,
    /// Bytes of shared memory that a block keeps.
    pub kept: usize,
    /// Number of rounds beyond repetitions.
    late: u32,
}

impl Table {
    /// The table of a plan's calls in these phases and this precision, over the arena at the
    /// address `arena`, for this many blocks.
    ///
    /// Errors: an operation that has no kernel.
    pub fn new(phases: &Phases, calls: &[Call], precision: Precision, arena: usize, blocks: u32) -> Result<Self> {
        let rows = &phases.rows;
        let table: Vec<_> = rows
            .iter()
            .map(|row| plan_call(&calls[row.part.call], row, precision, arena, blocks))
            .collect::<Result<_>>()?;
        let (mut own, mut begins) = (Vec::new(), Vec::new());
        for block in 0..blocks {
            begins.push(own.len() as u32);
            own.extend(own_calls(&table, rows, block, blocks, own.len() as u32));
        }
        Ok(Table {
            calls: table,
            own,
            begins,
            barriers: rows.iter().filter(|row| row.waits).count() as u32,
            kept: phases.kept,
            late: rows.iter().map(|row| row.late).max().unwrap_or(0) as u32,
        })
    }

    /// The kernel of each row, and how many rounds late it is.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.calls.iter().map(|call| (KERNELS[call.kernel as usize], call.late))
    }

    /// The arguments with which the kernel runs this table `times` times. The table's calls,
    /// `own` and `begins` lie at these addresses.
    pub fn arguments(&self, [calls, own, begins]: [u64; 3], arrived: u64, times: usize, before: u32) -> RunPlan {
        let times = times as u32;
        RunPlan { calls, arrived, own, begins, n: self.calls.len() as u32, times, rounds: times + self.late, before }
    }
}

/// The calls that a block, of `blocks`, goes through: those in which it has a share. After another
/// call it says and waits for nothing; it does so after its own before that, if that is the same.
/// The first gets the place `begin` among those of all blocks.
fn own_calls(table: &[PlanCall], rows: &[Row], block: u32, blocks: u32, begin: u32) -> Vec<Own> {
    let mut own: Vec<Own> = Vec::new();
    for (i, (call, row)) in table.iter().zip(rows).enumerate() {
        let then = u32::from(row.arrives) * ARRIVES + u32::from(row.waits) * WAITS;
        let has_share = (block + blocks - call.first_block) % blocks < call.end - call.first;
        match own.last_mut().filter(|last| last.then & WAITS == 0 || then & ARRIVES == 0) {
            _ if !has_share && then == 0 => (),
            Some(last) if !has_share => last.then |= then,
            _ => {
                let resident = row.resident.get(block as usize).copied().unwrap_or(0);
                own.push(Own { row: i as u32, resident, then, next: begin + own.len() as u32 + 1 });
            }
        }
    }
    if let Some(last) = own.last_mut() {
        (last.then, last.next) = (last.then | ENDS_ROUND, begin);
    }
    own
}

/// A row as the kernel reads it, over the arena at this address.
fn plan_call(call: &Call, row: &Row, precision: Precision, arena: usize, blocks: u32) -> Result<PlanCall> {
    let name = call.kernel();
    let kernel = KERNELS.binary_search(&name).map_err(|_| Error::Device(format!("there is no kernel {name} yet")))?;
    // A call without shares has a grid of no more blocks than there are: each does its part of all
    // the work.
    let all = call.shares().unwrap_or(call.variant(precision).1.blocks.min(blocks));
    let shares = if call.shares().is_some() { row.part.shares.clone() } else { 0..all };
    Ok(PlanCall {
        kernel: kernel as u32,
        first_block: row.first_block,
        first: shares.start,
        end: shares.end,
        shares: all,
        late: row.late as u32,
        fetches: u32::from(row.fetches),
        fetched: row.fetched.map_or(0, |place| place as u32 + 1),
        stays: call.resident() as u32,
        pad: [0; 3],
        args: call.args_at(arena),
    })
}

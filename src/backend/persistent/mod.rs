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

/// Flags in `then` of a [`PlanCall`], as in `kernels/run_plan.cu`. After a call with `ARRIVES` a
/// block says that it has come to the end of a phase; after one with `WAITS` it waits until all
/// blocks have. A call with `FETCHES_WEIGHTS` only begins to fetch its weights.
const ARRIVES: u32 = 1;
const WAITS: u32 = 2;
const FETCHES_WEIGHTS: u32 = 4;

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
    then: u32,
    /// 1 + the place of its weights, in numbers, in the memory that the block keeps; 0: not there.
    fetched: u32,
    /// Numbers of that memory that a share has from one repetition to the next, if any.
    stays: u32,
    pad: [u32; 3],
    args: [u64; 32],
}

/// Arguments of `run_plan`; `RunPlan` in `kernels/run_plan.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct RunPlan {
    /// Address of the calls.
    pub calls: u64,
    /// Address of the count of arrivals of blocks at the end of a phase.
    pub arrived: u64,
    /// Address of [`Table::resident`].
    pub resident: u64,
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
pub fn places() -> [(&'static str, Vec<Place>); 2] {
    let call = crate::places!(PlanCall: kernel, first_block, first, end, shares, late, then, fetched, stays, pad, args);
    [("PlanCall", call), ("RunPlan", crate::places!(RunPlan: calls, arrived, resident, n, times, rounds, before))]
}

/// A plan as a table of calls.
pub struct Table {
    /// The calls, in the order in which all blocks go through them, round after round.
    pub calls: Vec<PlanCall>,
    /// For each call and block, 1 + the place, in the memory that the block keeps, of the numbers
    /// that its first share has there from one repetition to the next; 0: none.
    pub resident: Vec<u32>,
    /// Number of times in a round that all blocks wait for one another.
    pub barriers: u32,
    /// Bytes of shared memory that a block keeps.
    pub kept: usize,
    /// Number of rounds beyond repetitions.
    late: u32,
}

impl Table {
    /// The table of a plan's calls in these phases, over the arena at the address `arena`, for this
    /// many blocks.
    ///
    /// Errors: an operation that has no kernel.
    pub fn new(phases: &Phases, calls: &[Call], arena: usize, blocks: u32) -> Result<Self> {
        let rows = &phases.rows;
        Ok(Table {
            calls: rows
                .iter()
                .map(|row| plan_call(&calls[row.part.call], row, arena, blocks))
                .collect::<Result<_>>()?,
            resident: rows.iter().flat_map(|row| resident(row, blocks)).collect(),
            barriers: rows.iter().filter(|row| row.waits).count() as u32,
            kept: phases.kept,
            late: rows.iter().map(|row| row.late).max().unwrap_or(0) as u32,
        })
    }

    /// The kernel of each row, and how many rounds late it is.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.calls.iter().map(|call| (KERNELS[call.kernel as usize], call.late))
    }

    /// The arguments with which the kernel runs this table `times` times. The table's calls and
    /// `resident` lie at these two addresses.
    pub fn arguments(&self, [calls, resident]: [u64; 2], arrived: u64, times: usize, before: u32) -> RunPlan {
        let times = times as u32;
        RunPlan { calls, arrived, resident, n: self.calls.len() as u32, times, rounds: times + self.late, before }
    }
}

/// For each block, the entry of [`Table::resident`] for this row.
fn resident(row: &Row, blocks: u32) -> Vec<u32> {
    if row.resident.is_empty() { vec![0; blocks as usize] } else { row.resident.clone() }
}

/// A row as the kernel reads it, over the arena at this address.
fn plan_call(call: &Call, row: &Row, arena: usize, blocks: u32) -> Result<PlanCall> {
    let name = call.kernel();
    let kernel = KERNELS.binary_search(&name).map_err(|_| Error::Device(format!("there is no kernel {name} yet")))?;
    // For a call without shares, the number of blocks of a grid: each block does its part of all
    // the work.
    let all = call.shares().unwrap_or(blocks);
    let shares = if call.shares().is_some() { row.part.shares.clone() } else { 0..blocks };
    Ok(PlanCall {
        kernel: kernel as u32,
        first_block: row.first_block,
        first: shares.start,
        end: shares.end,
        shares: all,
        late: row.late as u32,
        then: u32::from(row.arrives) * ARRIVES
            + u32::from(row.waits) * WAITS
            + u32::from(row.fetches) * FETCHES_WEIGHTS,
        fetched: row.fetched.map_or(0, |place| place as u32 + 1),
        stays: call.resident() as u32,
        pad: [0; 3],
        args: call.args_at(arena),
    })
}

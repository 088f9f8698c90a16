//! Plans as one launch: what the kernel `run_plan` (`kernels/run_plan.cu`) reads.
pub mod phases;

use crate::backend::persistent::phases::{Part, Phases};
use crate::plan::{Call, Place, Precision};
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};

/// The kernels that `run_plan` runs; the place of one is its number.
const KERNELS: &[&str] = include!(concat!(env!("OUT_DIR"), "/kernel_numbers.rs"));

/// Threads of a block.
pub const THREADS: u32 = 256;

/// The kernel that runs plans in this precision; so is its module called.
pub fn kernel(precision: Precision) -> &'static str {
    match precision {
        Precision::Fp32 => "run_plan",
        Precision::Bf16x3 => "run_plan_bf16x3",
    }
}

/// What follows a call: its block says that it has come to the end of a phase, or waits until all
/// have; or that all it does is to begin to fetch its weights. As in `kernels/run_plan.cu`.
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
    /// How many repetitions after the one that its place in the table belongs to.
    late: u32,
    then: u32,
    /// 1 and the place of its weights in the memory that the block keeps, in numbers; 0: not there.
    kept: u32,
    /// Numbers of that memory which a share has from one repetition to the next, if it has any.
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
    /// Address of the count of blocks that came to the end of a phase.
    pub arrived: u64,
    /// Address of [`Table::resident`].
    pub resident: u64,
    /// Calls.
    pub n: u32,
    /// Repetitions.
    pub times: u32,
    /// How often the blocks go through all calls: more often, as some calls are late.
    pub rounds: u32,
    /// The count before this launch.
    pub before: u32,
}

/// The fields of the structs that the kernel is given, by the structs' names there.
pub fn places() -> [(&'static str, Vec<Place>); 2] {
    let call = crate::places!(PlanCall: kernel, first_block, first, end, shares, late, then, kept, stays, pad, args);
    [("PlanCall", call), ("RunPlan", crate::places!(RunPlan: calls, arrived, resident, n, times, rounds, before))]
}

/// A plan as a table of calls.
pub struct Table {
    /// In the order in which all blocks go through them, round after round.
    pub calls: Vec<PlanCall>,
    /// Of each call for each block 1 and the place, in the memory that the block keeps, of what its
    /// first share has there from one repetition to the next; 0: nothing.
    pub resident: Vec<u32>,
    /// How often in a round all blocks wait for one another.
    pub barriers: u32,
    /// Bytes of shared memory that a block keeps.
    pub kept: usize,
    /// Rounds beyond repetitions.
    late: u32,
}

impl Table {
    /// The calls of a plan in these phases, over the arena at the address `arena`, for this many
    /// blocks.
    ///
    /// Errors: an operation that has no kernel.
    pub fn new(phases: &Phases, calls: &[Call], arena: usize, blocks: u32) -> Result<Self> {
        let parts = &phases.parts;
        Ok(Table {
            calls: parts.iter().map(|part| row(&calls[part.call], part, arena, blocks)).collect::<Result<_>>()?,
            resident: parts.iter().flat_map(|part| resident(part, blocks)).collect(),
            barriers: parts.iter().filter(|part| part.waits).count() as u32,
            kept: phases.kept,
            late: parts.iter().map(|part| part.late).max().unwrap_or(0) as u32,
        })
    }

    /// The kernel of each row, and how many rounds late it is.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.calls.iter().map(|call| (KERNELS[call.kernel as usize], call.late))
    }

    /// What the kernel is given to run this table, whose calls and `resident` lie at these
    /// addresses, `times` times.
    pub fn arguments(&self, [calls, resident]: [u64; 2], arrived: u64, times: usize, before: u32) -> RunPlan {
        let times = times as u32;
        RunPlan { calls, arrived, resident, n: self.calls.len() as u32, times, rounds: times + self.late, before }
    }
}

/// Of each block 1 and the place of what its first share of the part has in its memory from one
/// repetition to the next, or 0.
fn resident(part: &Part, blocks: u32) -> Vec<u32> {
    if part.resident.is_empty() { vec![0; blocks as usize] } else { part.resident.clone() }
}

/// A part of the plan, over the arena at this address.
fn row(call: &Call, part: &Part, arena: usize, blocks: u32) -> Result<PlanCall> {
    let name = call.kernel();
    let kernel = KERNELS.binary_search(&name).map_err(|_| Error::Device(format!("there is no kernel {name} yet")))?;
    // Of a call without shares each block does what it does on a grid of so many.
    let all = call.shares().unwrap_or(blocks);
    let shares = if call.shares().is_some() { part.shares.clone() } else { 0..blocks };
    Ok(PlanCall {
        kernel: kernel as u32,
        first_block: part.first_block,
        first: shares.start,
        end: shares.end,
        shares: all,
        late: part.late as u32,
        then: u32::from(part.arrives) * ARRIVES
            + u32::from(part.waits) * WAITS
            + u32::from(part.fetches) * FETCHES_WEIGHTS,
        kept: part.kept.map_or(0, |place| place as u32 + 1),
        stays: call.stays() as u32,
        pad: [0; 3],
        args: call.args_at(arena),
    })
}

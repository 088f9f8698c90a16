//! Plans as one launch: what the kernel `run_plan` (`kernels/run_plan.cu`) reads, and which calls it may run side by side.
use crate::plan::{Call, Precision, Product};
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};
use std::borrow::Cow;

/// The kernels that `run_plan` runs; the place of one is its number.
const KERNELS: &[&str] = include!(concat!(env!("OUT_DIR"), "/kernel_numbers.rs"));

/// Threads of a block.
pub const THREADS: u32 = 256;

/// The kernel that runs plans in this precision.
pub fn kernel(precision: Precision) -> Cow<'static, str> {
    match precision {
        Precision::Fp32 => "run_plan".into(),
        _ => format!("run_plan_{precision}").into(),
    }
}

/// A call as the kernel sees it; `PlanCall` in `kernels/run_plan.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct PlanCall {
    kernel: u32,
    first: u32,
    /// Whether all blocks wait for one another after it.
    pub(crate) ends_phase: u32,
    pad: u32,
    args: [u64; 32],
}

/// Arguments of `run_plan`; `RunPlan` in `kernels/run_plan.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct RunPlan {
    /// Address of the calls.
    pub calls: u64,
    /// Address of the count of blocks that came to a barrier.
    pub arrived: u64,
    /// Calls.
    pub n: u32,
    /// Repetitions.
    pub times: u32,
    /// The count before this launch.
    pub before: u32,
    /// Nothing.
    pub pad: u32,
}

/// The calls of a plan, phase by phase, over the arena at the address `arena`, for this many blocks.
///
/// Errors: an operation that has no kernel.
pub fn calls(calls: &[Call], precision: Precision, arena: usize, blocks: u32) -> Result<Vec<PlanCall>> {
    let (mut table, phases) = (Vec::with_capacity(calls.len()), phases(calls));
    for (phase, waits) in phases.iter().zip(waits(calls, &phases)) {
        let (mut next_first, mut firsts) = (0, Vec::with_capacity(phase.len()));
        for (at, &i) in phase.iter().enumerate() {
            let (call, ends_phase) = (&calls[i], u32::from(waits && Some(&i) == phase.last()));
            // Calls that add to the same tiles have the same blocks, each of which runs them in order.
            let before = phase[..at].iter().position(|&j| conflict(call, &calls[j]));
            let first = before.map_or(next_first, |before| firsts[before]);
            firsts.push(first);
            let name = call.kernel();
            let kernel =
                KERNELS.binary_search(&name).map_err(|_| Error::Device(format!("there is no kernel {name} yet")))?;
            table.push(PlanCall {
                kernel: kernel as u32,
                first: first % blocks,
                ends_phase,
                pad: 0,
                args: call.args_at(arena),
            });
            if before.is_none() {
                next_first += call.variant(precision).1.blocks;
            }
        }
    }
    Ok(table)
}

/// Calls that may run side by side, phase after phase: each as soon as all that it waits for are done.
///
/// A call waits for an earlier one that writes what it touches, or touches what it writes; but not where both add to the same
/// tiles, which are the same blocks'. What its argument struct holds counts as touched, so calls leave out what they do not
/// need.
pub fn phases(calls: &[Call]) -> Vec<Vec<usize>> {
    let mut phases: Vec<Vec<usize>> = Vec::new();
    let mut phase_of = Vec::with_capacity(calls.len());
    for (i, call) in calls.iter().enumerate() {
        let waits = (0..i).filter(|&j| conflict(call, &calls[j]));
        let phase = waits.map(|j| phase_of[j] + usize::from(!same_tiles(call, &calls[j]))).max().unwrap_or(0);
        phase_of.push(phase);
        if phase == phases.len() {
            phases.push(Vec::new());
        }
        phases[phase].push(i);
    }
    phases
}

/// After which phases all blocks wait for one another. Phases follow one another because they have to, but the first of a
/// repetition may not have to wait for the last.
pub fn waits(calls: &[Call], phases: &[Vec<usize>]) -> Vec<bool> {
    let next = phases.iter().cycle().skip(1);
    let conflicts = |(phase, next): (&Vec<usize>, &Vec<usize>)| {
        next.iter().any(|&i| phase.iter().any(|&j| conflict(&calls[i], &calls[j])))
    };
    phases.iter().zip(next).map(conflicts).collect()
}

/// Whether two products, one of which writes what the other touches, only write, and that to the same tiles.
fn same_tiles(one: &Call, other: &Call) -> bool {
    let outputs = |call: &Call| call.written().map(|field| field.bytes.clone()).collect::<Vec<_>>();
    let reads = |a: &Call, b: &Call| {
        let read = b.kernel_fields().filter(|f| b.output(f).is_none());
        read.into_iter().any(|f| a.written().any(|w| w.bytes.start < f.bytes.end && f.bytes.start < w.bytes.end))
    };
    one.kernel() == other.kernel()
        && one.product().is_some()
        && one.product().map(tiling) == other.product().map(tiling)
        && outputs(one) == outputs(other)
        && !reads(one, other)
        && !reads(other, one)
}

/// What decides which numbers are a tile's.
fn tiling(product: Product) -> Product {
    Product { depth: 0, ..product }
}

/// Whether one of two calls writes what the other touches.
fn conflict(one: &Call, other: &Call) -> bool {
    let writes = |a: &Call, b: &Call| {
        a.written().any(|w| b.kernel_fields().any(|f| w.bytes.start < f.bytes.end && f.bytes.start < w.bytes.end))
    };
    writes(one, other) || writes(other, one)
}

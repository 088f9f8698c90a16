//! Plans that repeat, as one launch of the kernel `run_plan` (`kernels/run_plan.cu`). It runs a
//! block on each multiprocessor; all blocks run at the same time and wait for one another between
//! the phases of a step.
use super::open::{self, Module};
use super::timeline::{self, Asked, Noted};
use super::{Block, Cuda};
use crate::backend::persistent;
use crate::backend::persistent::phases::phases;
use crate::plan::Plan;
use crate::{Error, Result};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUfunction_attribute_enum as Of};
use std::ffi::c_void;
use std::path::{Path, PathBuf};

/// Number of tables that are kept: the same as for graphs.
const MOST: usize = super::graph::MOST;

/// The table of a plan's calls, on the device.
struct Table {
    plan: u64,
    arena: usize,
    calls: Block,
    table: persistent::Table,
}

/// The kernel `run_plan` with its counters and tables, ready to be launched.
pub(crate) struct Launcher {
    module: Module,
    function: sys::CUfunction,
    /// Number of blocks of a launch: one a multiprocessor, or one on each of a share of them.
    blocks: u32,
    /// Bytes of shared memory that a block may keep in addition to the kernel's own.
    most_kept: usize,
    /// The count of arrivals of blocks at barriers, in all launches.
    arrived: Block,
    /// The value of `arrived` once all launches so far are done.
    count: u32,
    /// The tables that are kept; the latest used is the last.
    tables: Vec<Table>,
    timeline: Option<PathBuf>,
}

impl Launcher {
    /// The module that holds the kernel.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The file for the timeline that the kernel records, if one was asked for.
    pub fn timeline(&self) -> Option<&Path> {
        self.timeline.as_deref()
    }

    /// The rows of the table that was launched last, each with its kernel and how many rounds late
    /// it is, and the number of blocks.
    pub fn latest(&self) -> Option<Noted> {
        self.tables.last().map(|table| (table.table.rows().collect(), self.blocks as usize))
    }

    /// Restricts later launches to one of `parts` equal parts of the multiprocessors.
    pub fn share(&mut self, parts: usize) {
        self.blocks = (self.blocks / parts as u32).max(1);
    }
}

// SAFETY: as for `Cuda`, which owns it.
unsafe impl Send for Launcher {}

impl Cuda {
    /// Makes the launcher of this device. Errors ([`Error::Device`]): the device cannot run that
    /// many blocks at the same time.
    pub(super) fn launcher(&self) -> Result<Launcher> {
        let fault = |e| self.fault("looking at the device", e);
        let blocks = self.device.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT).map_err(fault)? as u32;
        let together = self.device.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH).map_err(fault)? != 0;
        let kernel = persistent::kernel(self.precision);
        let (module, timeline) = match timeline::asked()? {
            None => (open::load(self.number, kernel, self.capability)?, None),
            Some(Asked { image, file }) => {
                (open::load_image(self.number, kernel, self.capability, "sm_timeline", &image)?, Some(file))
            }
        };
        let function = self.function_of(&module, kernel)?;
        let most =
            self.device.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN).map_err(fault)?;
        // SAFETY: the function exists.
        let own =
            unsafe { result::function::get_function_attribute(function, Of::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES) };
        let kept = (most - own.map_err(fault)?).max(0);
        // SAFETY: as above.
        let (set, fit) = unsafe {
            let which = Of::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let set = result::function::set_function_attribute(function, which, kept);
            let threads = persistent::THREADS as i32;
            (set, result::occupancy::max_active_block_per_multiprocessor(function, threads, kept as usize))
        };
        set.map_err(fault)?;
        if !together || fit.map_err(fault)? < 1 {
            return Err(Error::Device(format!(
                "cuda:{}: {} cannot run a block of {} threads on each multiprocessor at once, as engine persistent needs; \
                 pass --engine graph",
                self.number,
                self.name,
                persistent::THREADS
            )));
        }
        let (arrived, most_kept) = (self.block(size_of::<u32>())?, kept as usize);
        Ok(Launcher { module, function, blocks, most_kept, arrived, count: 0, tables: Vec::new(), timeline })
    }

    /// Launches a plan that runs `times` times over the arena at this address.
    pub(super) fn launch_plan(&self, launcher: &mut Launcher, plan: &Plan, times: usize, arena: usize) -> Result<()> {
        let tables = &mut launcher.tables;
        let table = match tables.iter().position(|table| table.plan == plan.id() && table.arena == arena) {
            Some(at) => tables.remove(at),
            None => {
                if tables.len() == MOST {
                    self.wait("making a table of calls")?;
                    tables.remove(0);
                }
                self.table(plan, arena, launcher.blocks, launcher.most_kept)?
            }
        };
        let calls = table.calls.address;
        let own = calls + size_of_val(&table.table.calls[..]) as u64;
        let begins = own + size_of_val(&table.table.own[..]) as u64;
        let args = table.table.arguments([calls, own, begins], launcher.arrived.address, times, launcher.count);
        let kept = table.table.kept as u32;
        let barriers = table.table.barriers.wrapping_mul(args.rounds);
        tables.push(table);
        let parameters = &mut [(&raw const args).cast_mut().cast::<c_void>()];
        let (blocks, threads) = ((launcher.blocks, 1, 1), (persistent::THREADS, 1, 1));
        // SAFETY: the kernel takes one such struct. The calls, the count and the arena outlive the
        // launch, as they are freed in order.
        unsafe {
            result::launch_cooperative_kernel(launcher.function, blocks, threads, kept, self.stream.0, parameters)
        }
        .map_err(|e| self.fault("launching a plan", e))?;
        launcher.count = launcher.count.wrapping_add(barriers.wrapping_mul(launcher.blocks));
        Ok(())
    }

    fn table(&self, plan: &Plan, arena: usize, blocks: u32, most_kept: usize) -> Result<Table> {
        let phases = phases(plan.calls(), self.precision, blocks, most_kept);
        let table = persistent::Table::new(&phases, plan.calls(), self.precision, arena, blocks)?;
        let persistent::Table { calls, own, begins, .. } = &table;
        let bytes: [&[u8]; 3] = [bytemuck::cast_slice(calls), bytemuck::cast_slice(own), bytemuck::cast_slice(begins)];
        let bytes = bytes.concat();
        let calls = self.block(bytes.len())?;
        // SAFETY: as long as the allocation; the copy is over before `bytes` goes.
        unsafe { result::memcpy_htod_async(calls.address, &bytes, self.stream.0) }
            .map_err(|e| self.fault("copying a table of calls", e))?;
        self.wait("copying a table of calls")?;
        Ok(Table { plan: plan.id(), arena, calls, table })
    }
}

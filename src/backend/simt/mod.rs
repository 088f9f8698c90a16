//! Runs the CUDA kernels on this machine, thread by thread: the sources under `kernels/`, compiled
//! as C++, one coroutine a thread, with the real blocks and barriers.
//!
//! It is made to find mistakes. Threads resume in an order shuffled anew at every turn, and a block
//! runs to its end before the next one starts, so a missing barrier gives a wrong number. A barrier
//! that some threads do not reach is an error with kernel, block and thread.
//!
//! Every tensor of a call is a copy between guard words. Outputs that are to be overwritten start
//! as poison. Tensors that a call did not declare as outputs must stay as they were.
#![allow(unsafe_code)]
mod launch;

use crate::backend::cpu::Cpu;
use crate::backend::persistent::phases::{Phases, phases};
use crate::backend::persistent::{self, RunPlan, Table};
use crate::backend::{Backend, Buffer};
use crate::ops::world::composed::program::{Drawn, Program, Sight, Term};
use crate::philox::{Purpose, Stream};
use crate::plan::state::StepState;
use crate::plan::{Call, Grid, Place, Plan, Precision};
use crate::{Error, Result};
use launch::{Launch, Slab, WARP, Where};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A kernel compiled for the host.
struct Kernel {
    run: unsafe extern "C" fn(*const u8, *const Where, *mut u8),
    /// Bytes of its arguments, bytes of its shared memory, most threads of a block, and 1 if its
    /// blocks wait for one another.
    layout: &'static [u64; 4],
    /// The name of its argument struct.
    arguments: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/simt_kernels.rs"));

/// Number of guard bytes before and behind every tensor and every block's shared memory.
const GUARD: usize = 256;
/// The value of a guard byte; guard bytes are no numbers as floats.
const GUARD_BYTE: u8 = 0xFF;
/// The bits of an output that is to be overwritten: a NaN as f32 and, twice, as f64.
const POISON: u32 = 0x7FED_5EED;

/// The fields of a struct of this name in the kernels' sources; `None` if Rust has no such struct.
pub fn places(name: &str) -> Option<Vec<Place>> {
    let (_, names, places) = STRUCTS.iter().find(|(of, ..)| *of == name)?;
    let field =
        |(name, [at, bytes]): (&&'static str, &[u64; 2])| Place { name, at: *at as usize, bytes: *bytes as usize };
    Some(names.iter().zip(places()).map(field).collect())
}

/// The names of the structs that the kernels' sources and Rust share.
pub fn structs() -> impl Iterator<Item = &'static str> {
    STRUCTS.iter().map(|(name, ..)| *name)
}

/// The name of a kernel's argument struct.
pub fn arguments(kernel: &str) -> Option<&'static str> {
    Some(find(kernel)?.arguments)
}

/// The shared structs that are not the arguments of an operation's kernels, with their fields in
/// Rust.
pub fn shared() -> Vec<(&'static str, Vec<Place>)> {
    let state = crate::places!(
        StepState: step_size, inv_sqrt_bias2, kl_scale, seed, step, minibatch, rollout_step, student, pad
    );
    let of_program = [
        ("Program", crate::places!(Program: drawn, turn, ahead, goal, sights, terms, pad, sight, term)),
        ("Drawn", crate::places!(Drawn: from, span, levels, every, slot, pad)),
        ("Sight", crate::places!(Sight: kind, ahead)),
        ("Term", crate::places!(Term: weight, at, kind, shape)),
    ];
    let others = [("StepState", state), ("Where", Where::places())];
    others.into_iter().chain(of_program).chain(persistent::places()).collect()
}

/// Memory with guard bytes around it.
struct Guarded {
    words: Vec<u64>,
    bytes: usize,
}

impl Guarded {
    fn new(bytes: usize) -> Self {
        let words = vec![u64::from_ne_bytes([GUARD_BYTE; 8]); bytes.div_ceil(8) + 2 * GUARD / 8 + GUARD / 8];
        Guarded { words, bytes }.guarded(true)
    }

    /// Offset of the contents, whose address is a multiple of [`GUARD`].
    fn start(&self) -> usize {
        let address = self.words.as_ptr() as usize;
        (address + GUARD).next_multiple_of(GUARD) - address
    }

    fn contents(&mut self) -> &mut [u8] {
        let (start, bytes) = (self.start(), self.bytes);
        &mut bytemuck::cast_slice_mut(&mut self.words)[start..start + bytes]
    }

    fn poison(&mut self) {
        let poison = POISON.to_ne_bytes();
        self.contents().iter_mut().enumerate().for_each(|(i, byte)| *byte = poison[i % 4]);
    }

    /// True if nothing was written beside the contents.
    fn intact(&self) -> bool {
        let (all, start) = (bytemuck::cast_slice::<u64, u8>(&self.words), self.start());
        all[..start].iter().chain(&all[start + self.bytes..]).all(|&byte| byte == GUARD_BYTE)
    }

    /// Under the address sanitizer, forbids (or allows) access to the guard words.
    fn guarded(self, _forbidden: bool) -> Self {
        #[cfg(feature = "simt-asan")]
        self.sanitize(_forbidden);
        self
    }

    #[cfg(feature = "simt-asan")]
    fn sanitize(&self, forbidden: bool) {
        unsafe extern "C" {
            fn __asan_poison_memory_region(address: *const u8, bytes: usize);
            fn __asan_unpoison_memory_region(address: *const u8, bytes: usize);
        }
        let (first, start, bytes) = (self.words.as_ptr().cast::<u8>(), self.start(), 8 * self.words.len());
        let change = if forbidden { __asan_poison_memory_region } else { __asan_unpoison_memory_region };
        // SAFETY: both regions are inside the allocation.
        unsafe {
            change(first, start);
            change(first.add(start + self.bytes), bytes - start - self.bytes);
        }
    }
}

#[cfg(feature = "simt-asan")]
impl Drop for Guarded {
    fn drop(&mut self) {
        self.sanitize(false);
    }
}

/// The backend that runs kernels on the host.
pub struct Simt {
    memory: Cpu,
    precision: Precision,
    seed: u64,
    grid: Option<Grid>,
    /// Number of blocks, if a plan that repeats is one launch.
    together: Option<u32>,
    /// Bytes of shared memory that each block may keep.
    most_kept: usize,
    /// Phases to use in place of the right ones, for tests.
    phases: Option<Phases>,
    /// The number of the plan that ran last, and its phases.
    found: Mutex<Option<(u64, Phases)>>,
    launches: AtomicU64,
    slab: Mutex<Slab>,
}

impl Simt {
    /// A backend whose threads resume in the orders that `seed` gives.
    pub fn new(seed: u64) -> Self {
        let (memory, precision) = (Cpu::new(1), Precision::Fp32);
        Simt {
            memory,
            precision,
            seed,
            grid: None,
            together: None,
            most_kept: persistent::KEPT,
            phases: None,
            found: Mutex::default(),
            launches: AtomicU64::new(0),
            slab: Mutex::default(),
        }
    }

    /// This backend with matrix products in this precision.
    pub fn at(self, precision: Precision) -> Self {
        Simt { precision, ..self }
    }

    /// This backend with all kernels on this grid instead of their own: a kernel has to be right on
    /// any. A block never has more threads than its kernel allows.
    pub fn on_grid(self, grid: Grid) -> Self {
        assert!(grid.blocks > 0 && grid.threads > 0 && (grid.threads as usize).is_multiple_of(WARP), "{grid:?}");
        Simt { grid: Some(grid), ..self }
    }

    /// This backend with plans that repeat as one launch of this many blocks, as the engine
    /// `persistent` has them.
    pub fn persistent(self, blocks: u32) -> Self {
        assert!(blocks > 0);
        Simt { together: Some(blocks), ..self }
    }

    /// This backend with at most `bytes` bytes of shared memory that each block keeps.
    pub fn keeping(self, bytes: usize) -> Self {
        Simt { most_kept: bytes, ..self }
    }

    /// This backend with these phases: to show that others are wrong.
    pub fn in_phases(self, phases: Phases) -> Self {
        Simt { phases: Some(phases), ..self }
    }

    fn call(&self, call: &Call, arena: &mut Buffer) -> Result<()> {
        let (name, own_grid) = call.variant(self.precision);
        let kernel = find(&name).ok_or_else(|| Error::Device(format!("simt: there is no kernel {name} yet")))?;
        let fault = |what: String| Error::Device(format!("simt: {name}: {what}"));
        let [_, _, most, _] = *kernel.layout;
        let (theirs, ours) = (places(kernel.arguments).unwrap_or_default(), call.places());
        if let Some(field) = ours.iter().find(|field| !theirs.contains(field)) {
            return Err(fault(format!("{field:?} of its operation is not in its arguments, {theirs:?}")));
        }
        let mut grid = self.grid.unwrap_or(own_grid);
        grid.threads = grid.threads.min(most as u32);

        let mut tensors = Vec::new();
        let mut args: Vec<u64> = vec![0; call.args().len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut args)[..call.args().len()].copy_from_slice(call.args());
        for (field, pointer) in call.fields().iter().zip(&mut args) {
            if *pointer == 0 {
                continue;
            }
            let mut copy = Guarded::new(field.bytes.len());
            if call.output(field).is_some_and(|output| output.whole) {
                copy.poison();
            } else {
                self.memory.read(arena, field.bytes.start, copy.contents())?;
            }
            *pointer = copy.contents().as_mut_ptr() as u64;
            tensors.push((field, copy));
        }

        self.launch(kernel, args.as_ptr().cast(), grid, 0).map_err(fault)?;

        for (field, copy) in &mut tensors {
            let name = field.name;
            if !copy.intact() {
                return Err(fault(format!("writes outside of {name}")));
            }
            match call.output(field) {
                Some(output) => {
                    let poison = POISON.to_ne_bytes();
                    let unwritten = |element: &[u8]| element.iter().enumerate().all(|(i, &byte)| byte == poison[i % 4]);
                    if output.whole
                        && let Some(i) = copy.contents().chunks_exact(field.element).position(unwritten)
                    {
                        return Err(fault(format!("element {i} of {name} is not written, or copied from what is not")));
                    }
                    self.memory.write(arena, field.bytes.start, copy.contents())?;
                }
                None => {
                    let mut before = vec![0; field.bytes.len()];
                    self.memory.read(arena, field.bytes.start, &mut before)?;
                    if *copy.contents() != *before {
                        return Err(fault(format!("writes {name}, which it is not to write")));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Simt {
    /// Runs a kernel over its grid, each of whose blocks keeps `kept` bytes. Errors: what a thread
    /// did wrong.
    fn launch(&self, kernel: Kernel, args: *const u8, grid: Grid, kept: usize) -> std::result::Result<(), String> {
        let order = Stream::new(self.seed, Purpose::Check, self.launches.fetch_add(1, Ordering::Relaxed));
        let [_, shared, _, together] = *kernel.layout;
        let mut slab = self.slab.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Launch { kernel, args, grid, shared: shared as usize, kept, order }.run(&mut slab, together == 1)
    }

    /// Runs these calls `times` times over a copy of the arena between guard words, as one launch.
    fn run_plan(&self, table: &Table, times: usize, arena: &mut Guarded, blocks: u32) -> Result<()> {
        let name = persistent::kernel(self.precision);
        let kernel = find(name).expect("it is among the kernels");
        let mut arrived = 0u32;
        let addresses = [table.calls.as_ptr() as u64, table.own.as_ptr() as u64, table.begins.as_ptr() as u64];
        let args = table.arguments(addresses, &raw mut arrived as u64, times, 0);
        assert_eq!(kernel.layout[0] as usize, size_of::<RunPlan>(), "the same struct on both sides");
        let fault = |what| Error::Device(format!("simt: {name}: {what}"));
        let grid = Grid { blocks, threads: persistent::THREADS };
        self.launch(kernel, bytemuck::bytes_of(&args).as_ptr(), grid, table.kept).map_err(fault)?;
        if arena.intact() { Ok(()) } else { Err(fault("writes outside of the arena".into())) }
    }
}

impl Backend for Simt {
    fn describe(&self) -> String {
        format!("simt (kernels on the host, {})", self.precision)
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        self.memory.alloc(bytes)
    }

    fn write(&self, to: &mut Buffer, at: usize, from: &[u8]) -> Result<()> {
        self.memory.write(to, at, from)
    }

    fn read(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<()> {
        self.memory.read(from, at, to)
    }

    unsafe fn run(&self, calls: &[Call], arena: &mut Buffer) -> Result<()> {
        calls.iter().try_for_each(|call| self.call(call, arena))
    }

    unsafe fn repeat(&self, plan: &Plan, times: usize, arena: &mut Buffer) -> Result<()> {
        let Some(blocks) = self.together else {
            return (0..times).flat_map(|_| plan.calls()).try_for_each(|call| self.call(call, arena));
        };
        let mut copy = Guarded::new(arena.bytes);
        self.memory.read(arena, 0, copy.contents())?;
        let address = copy.contents().as_mut_ptr() as usize;
        let calls = plan.calls();
        let mut found = self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if found.as_ref().is_none_or(|(id, _)| *id != plan.id()) {
            let new = || phases(calls, self.precision, blocks, self.most_kept);
            *found = Some((plan.id(), self.phases.clone().unwrap_or_else(new)));
        }
        let (_, phases) = found.as_ref().expect("as put there");
        let table = Table::new(phases, calls, self.precision, address, blocks)?;
        self.run_plan(&table, times, &mut copy, blocks)?;
        self.memory.write(arena, 0, copy.contents())
    }

    fn is_one_launch(&self) -> bool {
        self.together.is_some()
    }
}

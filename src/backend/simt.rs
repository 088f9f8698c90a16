//! Runs the CUDA kernels on this machine, thread by thread: the sources under `kernels/`, compiled as C++, one coroutine a
//! thread, with the real blocks and barriers.
//!
//! It is made to find mistakes. Threads resume in an order shuffled anew at every turn, and a block runs to its end before
//! the next one starts, so that a missing barrier is a wrong number; a barrier that some threads do not reach is an error
//! with kernel, block and thread. Every tensor of a call is a copy between guard words, outputs that are to be overwritten
//! start as poison, and what a call did not say it writes must stay as it was.
#![allow(unsafe_code)]
use super::cpu::Cpu;
use super::persistent::{self, RunPlan, Table};
use super::phases::{Phases, phases};
use super::{Backend, Buffer};
use crate::philox::{Purpose, Stream};
use crate::plan::{Call, Grid, Plan, Precision};
use crate::{Error, Result};
use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a thread is; `Where` in `kernels/simt.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Where {
    block: u32,
    blocks: u32,
    thread: u32,
    threads: u32,
}

/// A kernel compiled for the host.
struct Kernel {
    run: unsafe extern "C" fn(*const u8, *const Where, *mut u8),
    /// Bytes of its arguments, bytes of its shared memory, most threads of a block, whether its blocks wait for one another.
    layout: &'static [u64; 4],
}

include!(concat!(env!("OUT_DIR"), "/simt_kernels.rs"));

/// Threads of a warp.
const WARP: usize = 32;
/// Words that a lane can show the others.
const LANE_WORDS: usize = 3;
/// What a thread waits for besides its warp (0) and block (1): for nothing, being slow; for a count of blocks; and, in vain, when it
/// used an address which is no multiple of what it has to be (in place of the line).
const DAWDLES: u32 = 2;
const COUNT: u32 = 3;
const MISALIGNED: u32 = 4;
/// Bytes of a thread's stack.
const STACK: usize = if cfg!(feature = "simt-asan") { 64 << 10 } else { 16 << 10 };
/// Words at the end of every stack that no thread may reach.
const CANARY: [u64; 8] = [0x5AFE_57AC_C0DE_F00D; 8];
/// Bytes before and behind every tensor and every block's shared memory.
const GUARD: usize = 256;
/// What they hold: as floats, not numbers.
const GUARD_BYTE: u8 = 0xFF;
/// What an output holds that is to be overwritten; a NaN as f32 and, twice, as f64.
const POISON: u32 = 0x7FED_5EED;

/// What a suspended thread waits for, at this line.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wait {
    what: u32,
    line: u32,
}

/// The coroutines of a launch, as kernels reach them.
struct Running {
    /// Of each thread of the live blocks.
    yielders: RefCell<Vec<*const Yielder<(), Wait>>>,
    /// For exchanges, two by turns: [`LANE_WORDS`] words a thread.
    lanes: RefCell<[Vec<u64>; 2]>,
    /// Whose turn it is, of each thread.
    turns: RefCell<Vec<bool>>,
    /// Copies to shared memory that each thread has started.
    copies: RefCell<Vec<Copies>>,
    /// When those happen.
    order: Stream,
    /// The counts that each thread waits for last: where, and how much.
    counts: RefCell<Vec<(*const u32, u32)>>,
    /// The thread that runs.
    current: Cell<usize>,
    threads: usize,
}

thread_local! {
    static RUNNING: Cell<*const Running> = const { Cell::new(ptr::null()) };
}

/// The launch this thread is in.
fn running<'a>() -> &'a Running {
    // SAFETY: only kernels ask, and they run inside `Launch::run`, which keeps it alive.
    unsafe { &*RUNNING.get() }
}

#[unsafe(no_mangle)]
extern "C" fn simt_wait(what: u32, line: u32) {
    let running = running();
    let yielder = running.yielders.borrow()[running.current.get()];
    // SAFETY: a thread sets its yielder when it starts, and it lives as long as the thread.
    unsafe { &*yielder }.suspend(Wait { what, line });
}

#[unsafe(no_mangle)]
extern "C" fn simt_arrive(arrived: *mut u32, for_block: u32, line: u32) {
    // SAFETY: the kernel's count; one thread runs at a time.
    unsafe { *arrived = (*arrived).wrapping_add(for_block) };
    simt_wait(DAWDLES, line);
}

#[unsafe(no_mangle)]
extern "C" fn simt_wait_for(arrived: *const u32, all: u32, line: u32) {
    let running = running();
    running.counts.borrow_mut()[running.current.get()] = (arrived, all);
    simt_wait(COUNT, line);
}

#[unsafe(no_mangle)]
extern "C" fn simt_lane() -> u32 {
    (running().current.get() % running().threads % WARP) as u32
}

#[unsafe(no_mangle)]
extern "C" fn simt_lanes() -> *mut u64 {
    let running = running();
    let turn = &mut running.turns.borrow_mut()[running.current.get()];
    *turn = !*turn;
    // A warp's threads are neighbours: blocks are multiples of a warp.
    &raw mut running.lanes.borrow_mut()[usize::from(*turn)][running.current.get() / WARP * WARP * LANE_WORDS]
}

/// A copy to shared memory; `Copy` in `kernels/simt.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Copy {
    to: *mut u8,
    from: *const u8,
    bytes: u64,
}

/// The copies of a thread that have not happened yet.
#[derive(Debug, Default)]
struct Copies {
    /// In the order of their start, each with the number of its group.
    late: VecDeque<(u64, Copy)>,
    /// How many there have been.
    started: u64,
    /// Groups that are closed.
    closed: u64,
}

#[unsafe(no_mangle)]
extern "C" fn simt_copy(copy: &Copy) -> u32 {
    let running = running();
    let copies = &mut running.copies.borrow_mut()[running.current.get()];
    copies.started += 1;
    let now = running.order.bits(running.current.get() + copies.started as usize * running.threads) & 1;
    if now == 0 {
        copies.late.push_back((copies.closed, *copy));
    }
    now
}

#[unsafe(no_mangle)]
extern "C" fn simt_close() {
    let running = running();
    running.copies.borrow_mut()[running.current.get()].closed += 1;
}

#[unsafe(no_mangle)]
extern "C" fn simt_due(newest: u32, copy: &mut Copy) -> u32 {
    let running = running();
    let copies = &mut running.copies.borrow_mut()[running.current.get()];
    let Some(&(_, due)) = copies.late.front().filter(|(group, _)| group + u64::from(newest) < copies.closed) else {
        return 0;
    };
    copies.late.pop_front();
    *copy = due;
    1
}

#[unsafe(no_mangle)]
extern "C" fn simt_misaligned(bytes: u64) {
    let running = running();
    let yielder = running.yielders.borrow()[running.current.get()];
    // SAFETY: as in `simt_wait`. A thread that waits for this is never resumed.
    unsafe { &*yielder }.suspend(Wait { what: MISALIGNED, line: bytes as u32 });
}

/// Memory of words with guard words around it.
struct Guarded {
    words: Vec<u64>,
    bytes: usize,
}

impl Guarded {
    fn new(bytes: usize) -> Self {
        let words = vec![u64::from_ne_bytes([GUARD_BYTE; 8]); bytes.div_ceil(8) + 2 * GUARD / 8 + GUARD / 8];
        Guarded { words, bytes }.guarded(true)
    }

    /// Where the contents start: on a multiple of [`GUARD`].
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

    /// Whether nobody wrote beside the contents.
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

/// One thread's part of the slab of stacks.
struct Slot {
    base: StackPointer,
    limit: StackPointer,
}

// SAFETY: the slab outlives the coroutines. There is no guard page, thousands of which would exceed what the kernel maps:
// kernels have no recursion, and a canary at the limit is checked after each launch.
unsafe impl Stack for Slot {
    fn base(&self) -> StackPointer {
        self.base
    }
    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// Stacks for the threads that run at the same time.
#[derive(Default)]
struct Slab {
    words: Vec<u128>,
}

impl Slab {
    const WORDS: usize = STACK / size_of::<u128>();

    fn slots(&mut self, threads: usize) -> Vec<Slot> {
        if self.words.len() < threads * Self::WORDS {
            self.words = vec![0; threads * Self::WORDS];
        }
        let base = self.words.as_mut_ptr() as usize;
        (0..threads)
            .map(|i| {
                let limit = base + i * STACK;
                let word = i * Self::WORDS;
                bytemuck::cast_slice_mut(&mut self.words[word..word + 4]).copy_from_slice(&CANARY);
                let pointer = |at| StackPointer::new(at).expect("allocated memory is not at 0");
                Slot { base: pointer(limit + STACK), limit: pointer(limit) }
            })
            .collect()
    }

    /// The first thread whose stack was too short.
    fn overrun(&self, threads: usize) -> Option<usize> {
        (0..threads).find(|i| {
            let word = i * Self::WORDS;
            bytemuck::cast_slice::<u128, u64>(&self.words[word..word + 4]) != CANARY
        })
    }
}

/// Runs kernels on the host.
pub struct Simt {
    memory: Cpu,
    precision: Precision,
    seed: u64,
    grid: Option<Grid>,
    /// Blocks of the one launch that a plan is, where it is one.
    together: Option<u32>,
    /// Its phases, where they are not what they should be.
    phases: Option<Phases>,
    launches: AtomicU64,
    slab: Mutex<Slab>,
}

impl Simt {
    /// Threads resume in the orders that `seed` gives.
    pub fn new(seed: u64) -> Self {
        let (memory, precision) = (Cpu::new(1), Precision::Fp32);
        Simt {
            memory,
            precision,
            seed,
            grid: None,
            together: None,
            phases: None,
            launches: AtomicU64::new(0),
            slab: Mutex::default(),
        }
    }

    /// Matrix products in this precision.
    pub fn at(self, precision: Precision) -> Self {
        Simt { precision, ..self }
    }

    /// All kernels on this grid instead of their own: a kernel has to be right on any. Blocks of more threads than a kernel
    /// allows have as many as it does.
    pub fn on_grid(self, grid: Grid) -> Self {
        assert!(grid.blocks > 0 && grid.threads > 0 && (grid.threads as usize).is_multiple_of(WARP), "{grid:?}");
        Simt { grid: Some(grid), ..self }
    }

    /// Plans that repeat as one launch of this many blocks, as the engine `persistent` has them.
    pub fn persistent(self, blocks: u32) -> Self {
        assert!(blocks > 0);
        Simt { together: Some(blocks), ..self }
    }

    /// The same in these phases: to show that others are wrong.
    pub fn in_phases(self, phases: Phases) -> Self {
        Simt { phases: Some(phases), ..self }
    }

    fn call(&self, call: &Call, arena: &mut Buffer) -> Result<()> {
        let (name, own_grid) = call.variant(self.precision);
        let kernel = find(&name).ok_or_else(|| Error::Device(format!("simt: there is no kernel {name} yet")))?;
        let fault = |what: String| Error::Device(format!("simt: {name}: {what}"));
        let [arguments, _, most, _] = *kernel.layout;
        if arguments as usize != call.args().len() {
            let size = call.args().len();
            return Err(fault(format!("its arguments have {arguments} bytes, those of its operation {size}")));
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

        self.launch(kernel, args.as_ptr().cast(), grid).map_err(fault)?;

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
    /// Runs a kernel over its grid. Errors: what a thread did wrong.
    fn launch(&self, kernel: Kernel, args: *const u8, grid: Grid) -> std::result::Result<(), String> {
        let order = Stream::new(self.seed, Purpose::Check, self.launches.fetch_add(1, Ordering::Relaxed));
        let [_, shared, _, together] = *kernel.layout;
        let mut slab = self.slab.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Launch { kernel, args, grid, shared: shared as usize, order }.run(&mut slab, together == 1)
    }

    /// Runs these calls `times` times over a copy of the arena between guard words, as one launch.
    fn run_plan(&self, table: &Table, times: usize, arena: &mut Guarded, blocks: u32) -> Result<()> {
        let name = persistent::kernel(self.precision);
        let kernel = find(&name).expect("it is among the kernels");
        let mut arrived = 0u32;
        let args = table.arguments(table.calls.as_ptr() as u64, &raw mut arrived as u64, times, 0);
        assert_eq!(kernel.layout[0] as usize, size_of::<RunPlan>(), "the same struct on both sides");
        let fault = |what| Error::Device(format!("simt: {name}: {what}"));
        let grid = Grid { blocks, threads: persistent::THREADS };
        self.launch(kernel, bytemuck::bytes_of(&args).as_ptr(), grid).map_err(fault)?;
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
        let phases = self.phases.clone().unwrap_or_else(|| phases(calls, self.precision, blocks));
        let table = Table::new(&phases, calls, address, blocks)?;
        self.run_plan(&table, times, &mut copy, blocks)?;
        self.memory.write(arena, 0, copy.contents())
    }

    fn is_one_launch(&self) -> bool {
        self.together.is_some()
    }
}

/// One kernel over its grid.
struct Launch {
    kernel: Kernel,
    args: *const u8,
    grid: Grid,
    /// Bytes of a block's shared memory.
    shared: usize,
    order: Stream,
}

/// Where a thread is between two turns.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Ready,
    Waits(Wait),
    Done,
}

impl Launch {
    /// Runs all blocks, one after another in any order, or all at once. Errors: what a thread did wrong.
    fn run(&self, slab: &mut Slab, together: bool) -> std::result::Result<(), String> {
        let mut turn = 0;
        let mut shuffled = |n: usize| {
            let order = Stream::numbered(u64::from(self.order.bits(turn)), Purpose::Check as u32, turn as u64);
            turn += 1;
            order.permutation(n)
        };
        let blocks = shuffled(self.grid.blocks as usize);
        if together {
            return self.blocks(&blocks, slab, &mut shuffled);
        }
        blocks.iter().try_for_each(|&block| self.blocks(&[block], slab, &mut shuffled))
    }

    /// Runs these blocks, which may wait for one another.
    fn blocks(
        &self,
        blocks: &[u32],
        slab: &mut Slab,
        shuffled: &mut dyn FnMut(usize) -> Vec<u32>,
    ) -> std::result::Result<(), String> {
        let size = self.grid.threads as usize;
        let count = blocks.len() * size;
        let mut shared: Vec<Guarded> = blocks.iter().map(|_| Guarded::new(self.shared)).collect();
        shared.iter_mut().for_each(|block| block.contents().fill(GUARD_BYTE));
        let running = Running {
            yielders: RefCell::new(vec![ptr::null(); count]),
            lanes: RefCell::new([(); 2].map(|()| vec![0; count * LANE_WORDS])),
            turns: RefCell::new(vec![false; count]),
            copies: RefCell::new((0..count).map(|_| Copies::default()).collect()),
            order: self.order,
            counts: RefCell::new(vec![(ptr::null(), 0); count]),
            current: Cell::new(0),
            threads: size,
        };
        RUNNING.set(&running);

        let mut threads: Vec<_> = slab
            .slots(count)
            .into_iter()
            .enumerate()
            .map(|(i, stack)| {
                let (run, args) = (self.kernel.run, self.args as usize);
                let (block, thread) = (blocks[i / size], (i % size) as u32);
                let at = Where { block, blocks: self.grid.blocks, thread, threads: self.grid.threads };
                let shared = shared[i / size].contents().as_mut_ptr() as usize;
                Coroutine::with_stack(stack, move |yielder: &Yielder<(), Wait>, ()| {
                    running_thread(i, yielder);
                    // SAFETY: the arguments are those of this kernel, and hold addresses of copies of its tensors.
                    unsafe { run(args as *const u8, &at, shared as *mut u8) };
                })
            })
            .collect();

        let mut states = vec![State::Ready; count];
        let verdict = loop {
            let mut moved = false;
            for block in shuffled(blocks.len()) {
                let own = block as usize * size..(block as usize + 1) * size;
                // A block that has said that it is there may be slow to go on.
                let dawdles = |state: &State| matches!(state, State::Waits(Wait { what: DAWDLES, .. }));
                if states[own.clone()].iter().any(dawdles) {
                    moved = true;
                    if shuffled(2)[0] == 0 {
                        continue;
                    }
                    states[own.clone()]
                        .iter_mut()
                        .filter(|state| dawdles(state))
                        .for_each(|state| *state = State::Ready);
                }
                // As far ahead of the others as it can go alone.
                loop {
                    let counted = reached(&mut states[own.clone()], &running.counts.borrow()[own.clone()]);
                    let states = &mut states[own.clone()];
                    let released = release(states, WARP, 0) | release(states, size, 1);
                    if !(counted | released | states.contains(&State::Ready)) {
                        break;
                    }
                    moved = true;
                    for i in shuffled(size) {
                        let i = i as usize;
                        if states[i] != State::Ready {
                            continue;
                        }
                        running.current.set(own.start + i);
                        states[i] = match threads[own.start + i].resume(()) {
                            CoroutineResult::Yield(wait) => State::Waits(wait),
                            CoroutineResult::Return(()) => State::Done,
                        };
                    }
                }
            }
            if states.iter().all(|state| *state == State::Done) {
                break Ok(());
            }
            if !moved {
                break Err(stuck(&states, blocks, size));
            }
        };
        for thread in &mut threads {
            if !thread.done() {
                // SAFETY: a kernel's frames own nothing.
                unsafe { thread.force_reset() };
            }
        }
        RUNNING.set(ptr::null());
        verdict?;
        if let Some(i) = shared.iter().position(|block| !block.intact()) {
            return Err(format!("block {} writes outside of its shared memory", blocks[i]));
        }
        match slab.overrun(count) {
            Some(i) => {
                Err(format!("block {}, thread {} needs more than {STACK} bytes of stack", blocks[i / size], i % size))
            }
            None => Ok(()),
        }
    }
}

/// Lets go on all groups of this many threads that wait for one another, for `what`, at one line; whether there are any.
fn release(states: &mut [State], group: usize, what: u32) -> bool {
    let mut moved = false;
    for group in states.chunks_mut(group) {
        if let State::Waits(wait) = group[0]
            && wait.what == what
            && group.iter().all(|state| *state == group[0])
        {
            group.fill(State::Ready);
            moved = true;
        }
    }
    moved
}

/// Lets go on all threads whose count is reached; whether there are any.
fn reached(states: &mut [State], counts: &[(*const u32, u32)]) -> bool {
    let mut moved = false;
    for (state, (arrived, all)) in states.iter_mut().zip(counts) {
        // SAFETY: a thread that waits for a count has said which, and the launch keeps it.
        if matches!(state, State::Waits(Wait { what: COUNT, .. }))
            && unsafe { arrived.read() }.wrapping_sub(*all) as i32 >= 0
        {
            *state = State::Ready;
            moved = true;
        }
    }
    moved
}

/// Notes how to suspend a thread.
fn running_thread(i: usize, yielder: &Yielder<(), Wait>) {
    running().yielders.borrow_mut()[i] = yielder;
}

/// What to say when nobody can go on: some wait for others that wait elsewhere or are done.
fn stuck(states: &[State], blocks: &[u32], size: usize) -> String {
    let name = |i: usize| format!("block {}, thread {}", blocks[i / size], i % size);
    let misaligned = |state: &State| matches!(state, State::Waits(Wait { what: MISALIGNED, .. }));
    if let Some(i) = states.iter().position(misaligned)
        && let State::Waits(Wait { line: bytes, .. }) = states[i]
    {
        return format!("{} moves {bytes} bytes at an address that is no multiple of {bytes}", name(i));
    }
    let place = |state: State| match state {
        State::Waits(Wait { what, line }) => {
            format!("waits for its {} at line {line}", ["warp", "block", "grid", "grid"][what.min(COUNT) as usize])
        }
        _ => "has returned".to_owned(),
    };
    let waits = states.iter().position(|state| matches!(state, State::Waits(_))).unwrap_or(0);
    let State::Waits(wait) = states[waits] else { return "no thread can go on".into() };
    let group = [WARP, size, states.len(), states.len()][wait.what.min(COUNT) as usize];
    let first = waits / group * group;
    let other = (first..first + group).find(|&i| states[i] != states[waits]);
    let other = other.map_or("nobody comes".into(), |i| format!("{} {}", name(i), place(states[i])));
    format!("{} {}, while {other}", name(waits), place(states[waits]))
}

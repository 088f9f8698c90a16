//! One launch on this machine. Each thread is a coroutine, which is suspended where the kernel
//! waits; the code here decides which one goes on when.
use super::{GUARD_BYTE, Guarded, Kernel};
use crate::philox::{Purpose, Stream};
use crate::plan::{Grid, Place};
use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr;

/// Threads of a warp.
pub(crate) const WARP: usize = 32;
/// Number of words that a lane can show the others.
const LANE_WORDS: usize = 3;
/// Codes of what a thread waits for; 0 is its warp and 1 its block. `DAWDLES`: for nothing, as its
/// block is slow. `COUNT`: for a count of blocks. `MISALIGNED`: in vain, as it used an address that
/// is no multiple of what it has to be; that number stands in place of the line.
const DAWDLES: u32 = 2;
const COUNT: u32 = 3;
const MISALIGNED: u32 = 4;
/// Bytes of a thread's stack.
const STACK: usize = if cfg!(feature = "simt-asan") { 64 << 10 } else { 16 << 10 };
/// Words at the end of every stack, which no thread may reach.
const CANARY: [u64; 8] = [0x5AFE_57AC_C0DE_F00D; 8];

/// The place of a thread; `Where` in `kernels/simt.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Where {
    block: u32,
    blocks: u32,
    thread: u32,
    threads: u32,
    weights: u32,
    fetched: u32,
    resident: u32,
    repetition: u32,
}

impl Where {
    /// Its fields.
    pub fn places() -> Vec<Place> {
        crate::places!(Where: block, blocks, thread, threads, weights, fetched, resident, repetition)
    }
}

/// A suspended thread's wait: what for, and at which line.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wait {
    what: u32,
    line: u32,
}

/// The coroutines of a launch, as kernels reach them.
struct Running {
    /// The yielder of each thread of the live blocks.
    yielders: RefCell<Vec<*const Yielder<(), Wait>>>,
    /// Two buffers for exchanges, used by turns: [`LANE_WORDS`] words a thread.
    lanes: RefCell<[Vec<u64>; 2]>,
    /// For each thread, which of the two buffers it used last.
    turns: RefCell<Vec<bool>>,
    /// Copies to shared memory that each thread has started.
    copies: RefCell<Vec<Copies>>,
    /// Random numbers that decide when copies happen.
    order: Stream,
    /// The count that each thread waited for last: its address, and the number to reach.
    counts: RefCell<Vec<(*const u32, u32)>>,
    /// Addresses of the shared memory that each block keeps.
    kept: Vec<*mut u8>,
    /// The thread that runs.
    current: Cell<usize>,
    threads: usize,
}

thread_local! {
    static RUNNING: Cell<*const Running> = const { Cell::new(ptr::null()) };
}

/// The launch that this thread runs.
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
extern "C" fn simt_kept() -> *mut u8 {
    running().kept[running().current.get() / running().threads]
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
    /// The copies in the order of their start, each with the number of its group.
    late: VecDeque<(u64, Copy)>,
    /// Number of copies so far.
    started: u64,
    /// Number of groups that are closed.
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

/// One thread's part of the slab of stacks.
struct Slot {
    base: StackPointer,
    limit: StackPointer,
}

// SAFETY: the slab outlives the coroutines. There are no guard pages: thousands of them would
// exceed what the operating system maps. Kernels have no recursion, and a canary at the limit is
// checked after each launch.
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
pub(crate) struct Slab {
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

    /// The first thread that needed more than its stack.
    fn overrun(&self, threads: usize) -> Option<usize> {
        (0..threads).find(|i| {
            let word = i * Self::WORDS;
            bytemuck::cast_slice::<u128, u64>(&self.words[word..word + 4]) != CANARY
        })
    }
}

/// One kernel over its grid.
pub(crate) struct Launch {
    pub kernel: Kernel,
    pub args: *const u8,
    pub grid: Grid,
    /// Bytes of a block's shared memory.
    pub shared: usize,
    /// Bytes of shared memory that a block keeps in addition.
    pub kept: usize,
    pub order: Stream,
}

/// The state of a thread between two turns.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Ready,
    Waits(Wait),
    Done,
}

impl Launch {
    /// Runs all blocks, one after another in random order, or all together. Errors: what a thread
    /// did wrong.
    pub fn run(&self, slab: &mut Slab, together: bool) -> std::result::Result<(), String> {
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
        let memory = |bytes| -> Vec<Guarded> { blocks.iter().map(|_| Guarded::new(bytes)).collect() };
        let [mut shared, mut kept] = [self.shared, self.kept].map(memory);
        shared.iter_mut().chain(&mut kept).for_each(|memory| memory.contents().fill(GUARD_BYTE));
        let running = Running {
            yielders: RefCell::new(vec![ptr::null(); count]),
            lanes: RefCell::new([(); 2].map(|()| vec![0; count * LANE_WORDS])),
            turns: RefCell::new(vec![false; count]),
            copies: RefCell::new((0..count).map(|_| Copies::default()).collect()),
            order: self.order,
            counts: RefCell::new(vec![(ptr::null(), 0); count]),
            kept: kept.iter_mut().map(|memory| memory.contents().as_mut_ptr()).collect(),
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
                let (blocks, threads) = (self.grid.blocks, self.grid.threads);
                let at = Where { block, blocks, thread, threads, weights: 0, fetched: 0, resident: 0, repetition: 0 };
                let shared = shared[i / size].contents().as_mut_ptr() as usize;
                Coroutine::with_stack(stack, move |yielder: &Yielder<(), Wait>, ()| {
                    running_thread(i, yielder);
                    // SAFETY: the arguments are those of this kernel, and hold addresses of copies
                    // of its tensors.
                    unsafe { run(args as *const u8, &at, shared as *mut u8) };
                })
            })
            .collect();

        let mut states = vec![State::Ready; count];
        let verdict = loop {
            let mut moved = false;
            for block in shuffled(blocks.len()) {
                let own = block as usize * size..(block as usize + 1) * size;
                // A block that has said that it is at a barrier may be slow to go on.
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
                // The block runs as far ahead of the others as it can alone.
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
        let intact = |memory: (&Guarded, &Guarded)| memory.0.intact() && memory.1.intact();
        if let Some(i) = shared.iter().zip(&kept).position(|memory| !intact(memory)) {
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

/// Makes ready all groups of `group` threads that wait for one another, for `what`, at one line;
/// returns whether there are any.
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

/// Makes ready all threads whose count is reached; returns whether there are any.
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

/// Records how to suspend a thread.
fn running_thread(i: usize, yielder: &Yielder<(), Wait>) {
    running().yielders.borrow_mut()[i] = yielder;
}

/// The message when no thread can go on: some wait for others that wait elsewhere or are done.
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

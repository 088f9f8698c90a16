//! A fixed team of threads that shares out the tasks of one short region after another.
//!
//! A region costs about a microsecond: members spin for the next one before they sleep. Each thread
//! has a share of the tasks, the same in every region with as many tasks. What it reads and writes
//! is therefore still in a cache near its core. Once its share is done, it helps the others.
//!
//! Tasks are claimed one at a time, so a member that the operating system has taken off its core
//! delays only the task it holds. A task must compute the same whoever runs it; then results do not
//! depend on the number of threads.
#![allow(unsafe_code)]
use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time that an idle member looks for work before it sleeps.
const AWAKE: Duration = Duration::from_micros(500);
/// Time that the caller spins for the last tasks before it offers its core to the members that hold
/// them.
const PATIENT: Duration = Duration::from_micros(50);

/// A value in a cache line of its own, so that members polling it do not slow the writers of
/// another.
#[repr(align(128))]
struct Line<T>(T);

/// A region: the closure of `Team::run`, its lifetime erased, and its number of tasks.
#[derive(Clone, Copy)]
struct Region {
    task: *const (dyn Fn(usize) + Sync),
    tasks: usize,
}

struct Shared {
    /// Number of unclaimed tasks in each thread's share, the caller's first. Lowering a number from
    /// n claims the n-th task from the share's end.
    unclaimed: Vec<Line<AtomicUsize>>,
    /// Number of the region's tasks that have ended.
    ended: Line<AtomicUsize>,
    region: UnsafeCell<Region>,
    /// The first panic of the region.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// True for each member that sleeps.
    asleep: Vec<AtomicBool>,
    closing: AtomicBool,
}

// SAFETY: `region` is written only by the caller that holds `Team::busy`, while no task is claimed
// or claimable. It is read only after a claim, which acquires what the caller released into
// `unclaimed`. Everything else is Sync by itself.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `region` is followed only while the caller of `run`, which owns the
// closure, waits; the closure is Sync.
unsafe impl Send for Shared {}

impl Shared {
    /// The first task of a thread's share of `tasks` tasks. The share ends where the next one
    /// begins.
    fn share(&self, thread: usize, tasks: usize) -> usize {
        thread * tasks / self.unclaimed.len()
    }

    /// Claims and runs tasks until none is left, first those of this thread's own share.
    fn work(&self, thread: usize) {
        let threads = self.unclaimed.len();
        (thread..thread + threads).for_each(|thread| self.work_on(thread % threads));
    }

    /// Claims and runs tasks of a thread's share until none is left.
    fn work_on(&self, thread: usize) {
        let unclaimed = &self.unclaimed[thread].0;
        let mut left = unclaimed.load(Acquire);
        while left != 0 {
            match unclaimed.compare_exchange_weak(left, left - 1, Acquire, Acquire) {
                Err(now) => left = now,
                Ok(_) => {
                    // SAFETY: the claim just made is not yet counted in `ended`, so the caller
                    // still waits. The region is not replaced and its closure still lives.
                    let (region, task) = unsafe {
                        let region = *self.region.get();
                        (region, &*region.task)
                    };
                    let index = self.share(thread + 1, region.tasks) - left;
                    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| task(index))) {
                        self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
                    }
                    self.ended.0.fetch_add(1, Release);
                    left = unclaimed.load(Acquire);
                }
            }
        }
    }

    /// Runs a member of the team until the team closes: works, spins, sleeps.
    fn serve(&self, member: usize) {
        let none_left = || self.unclaimed.iter().all(|unclaimed| unclaimed.0.load(SeqCst) == 0);
        let idle = || none_left() && !self.closing.load(SeqCst);
        while !self.closing.load(Relaxed) {
            self.work(member + 1);
            if spin_while(idle, AWAKE) {
                self.asleep[member].store(true, SeqCst);
                while idle() && self.asleep[member].load(SeqCst) {
                    std::thread::park();
                }
                self.asleep[member].store(false, SeqCst);
            }
        }
    }
}

/// Spins while `busy` for at most `limit`; returns whether it still is. Yielding the core instead
/// would lose it for milliseconds to any process that wants it.
fn spin_while(busy: impl Fn() -> bool, limit: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        for _ in 0..64 {
            if !busy() {
                return false;
            }
            spin_loop();
        }
    }
    busy()
}

/// A fixed team of threads; the caller of [`Team::run`] is one of them.
pub struct Team {
    shared: Arc<Shared>,
    members: Vec<JoinHandle<()>>,
    /// Held by the caller whose region runs.
    busy: AtomicBool,
}

impl Team {
    /// A team of `threads` (at least 1), the caller included: `threads - 1` are started, fewer when
    /// the system refuses.
    pub fn new(threads: usize) -> Self {
        let nothing: &'static (dyn Fn(usize) + Sync) = &|_| ();
        let shared = Arc::new(Shared {
            unclaimed: (0..threads.max(1)).map(|_| Line(AtomicUsize::new(0))).collect(),
            ended: Line(AtomicUsize::new(0)),
            region: UnsafeCell::new(Region { task: nothing, tasks: 0 }),
            panic: Mutex::new(None),
            asleep: (1..threads).map(|_| AtomicBool::new(false)).collect(),
            closing: AtomicBool::new(false),
        });
        let start = |member| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("team-{member}")).spawn(move || shared.serve(member)).ok()
        };
        let members = (0..threads.saturating_sub(1)).map_while(start).collect();
        Team { shared, members, busy: AtomicBool::new(false) }
    }

    /// Number of threads, the caller included.
    pub fn threads(&self) -> usize {
        self.members.len() + 1
    }

    /// Runs `task(0)`, ..., `task(tasks - 1)`, each once, in any order, and returns when all have
    /// ended. The caller runs them all itself if it calls from inside a task, or while another
    /// thread's region runs.
    ///
    /// # Panics
    /// With the first panic of a task, when no task runs any more.
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        if tasks < 2 || self.members.is_empty() || self.busy.swap(true, Acquire) {
            return (0..tasks).for_each(task);
        }
        let task: &(dyn Fn(usize) + Sync) = &task;
        // SAFETY: only the lifetime changes. This function does not return before every claimed
        // task has ended, and none can be claimed afterwards.
        let task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
        let shared = &*self.shared;
        // SAFETY: `busy` is held and the last region has ended, so nobody reads `region` until the
        // store to `unclaimed`.
        unsafe { *shared.region.get() = Region { task, tasks } };
        shared.ended.0.store(0, Relaxed);
        for (thread, unclaimed) in shared.unclaimed.iter().enumerate() {
            unclaimed.0.store(shared.share(thread + 1, tasks) - shared.share(thread, tasks), SeqCst);
        }
        for (member, asleep) in self.members.iter().zip(&shared.asleep).take(tasks - 1) {
            if asleep.load(SeqCst) && asleep.swap(false, SeqCst) {
                member.thread().unpark();
            }
        }
        shared.work(0);
        let running = || shared.ended.0.load(Acquire) != tasks;
        if spin_while(running, PATIENT) {
            // A member that holds a task may be waiting for this core.
            while running() {
                std::thread::yield_now();
            }
        }
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.busy.store(false, Release);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    /// Runs `task(i, piece i)` for every piece of `data`: one [`pieces`] or a tuple of them, cut
    /// into equally many.
    pub fn each<P: Split>(&self, data: P, task: impl Fn(usize, P::Piece) + Sync) {
        // SAFETY: `run` hands out each index once, and `data` stays borrowed until it returns.
        self.run(data.count(), |i| task(i, unsafe { data.piece(i) }));
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.closing.store(true, SeqCst);
        for member in self.members.drain(..) {
            member.thread().unpark();
            // A member catches its tasks' panics, so joining cannot fail.
            let _ = member.join();
        }
    }
}

/// Data that is cut into pieces, one for each task.
///
/// # Safety
/// Pieces of different indices must not overlap.
pub unsafe trait Split: Sync {
    /// The part of the data that one task gets.
    type Piece: Send;
    /// Number of pieces.
    fn count(&self) -> usize;
    /// The piece `i`.
    ///
    /// # Safety
    /// `i < count()`; each `i` at most once while the data is borrowed.
    unsafe fn piece(&self, i: usize) -> Self::Piece;
}

/// A slice cut into groups of `group` elements, and each group into pieces of `size`; the last
/// piece of each group may be shorter. See [`pieces`].
pub struct Pieces<'a, T> {
    data: *mut T,
    len: usize,
    group: usize,
    size: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}

/// `data` cut into pieces of `size` (at least 1) elements; the last may be shorter.
pub fn pieces<T>(data: &mut [T], size: usize) -> Pieces<'_, T> {
    pieces_in(data, data.len().max(1), size)
}

/// `data` cut into groups of `group` (at least 1) elements, and each group into pieces of `size`
/// (at least 1). The length of `data` is a multiple of `group`; the last piece of each group may be
/// shorter.
pub(crate) fn pieces_in<T>(data: &mut [T], group: usize, size: usize) -> Pieces<'_, T> {
    assert!(size > 0, "pieces of no elements");
    assert!(data.len().is_multiple_of(group), "groups of {group} in {} elements", data.len());
    Pieces { data: data.as_mut_ptr(), len: data.len(), group, size, slice: std::marker::PhantomData }
}

// SAFETY: a shared `Pieces` gives out only disjoint `&mut [T]`, each to one task.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

// SAFETY: the pieces of a group are the elements `i * size .. min((i + 1) * size, group)` of it.
unsafe impl<'a, T: Send> Split for Pieces<'a, T> {
    type Piece = &'a mut [T];
    fn count(&self) -> usize {
        self.len / self.group * self.group.div_ceil(self.size)
    }
    unsafe fn piece(&self, i: usize) -> &'a mut [T] {
        let of_group = self.group.div_ceil(self.size);
        let (group, start) = (i / of_group, i % of_group * self.size);
        // SAFETY: inside the slice that `self` borrows for 'a; disjoint from every other piece, and
        // asked for once.
        unsafe {
            std::slice::from_raw_parts_mut(self.data.add(group * self.group + start), self.size.min(self.group - start))
        }
    }
}

macro_rules! split_tuple {
    ($($part:ident $i:tt),*) => {
        // SAFETY: the parts' pieces do not overlap, and the parts borrow different data.
        unsafe impl<$($part: Split),*> Split for ($($part,)*) {
            type Piece = ($($part::Piece,)*);
            fn count(&self) -> usize {
                let counts = [$(self.$i.count()),*];
                assert!(counts.iter().all(|&n| n == counts[0]), "cut into different numbers of pieces: {counts:?}");
                counts[0]
            }
            unsafe fn piece(&self, i: usize) -> Self::Piece {
                // SAFETY: passed on to the caller.
                unsafe { ($(self.$i.piece(i),)*) }
            }
        }
    };
}
split_tuple!(A 0, B 1);
split_tuple!(A 0, B 1, C 2);
split_tuple!(A 0, B 1, C 2, D 3);
split_tuple!(A 0, B 1, C 2, D 3, E 4);

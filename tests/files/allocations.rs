//! An allocator that remembers how much memory was requested. It shows when a reader believes the
//! sizes in a damaged file.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// Bytes of the largest allocation of any thread since [`forget`].
static ANYWHERE: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count of the bytes that each thread holds and requests.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn asked(bytes: usize) {
    ANYWHERE.fetch_max(bytes, Ordering::Relaxed);
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

fn count(bytes: isize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        asked(layout.size());
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        asked(layout.size());
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        asked(size);
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The result of `work`, and the peak of its memory in bytes beyond what this thread held before.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (result, (PEAK.get() - before) as usize)
}

/// Bytes of the largest allocation of this thread so far.
pub fn largest() -> usize {
    LARGEST.get()
}

/// Bytes of the largest allocation of any thread since [`forget`].
pub fn largest_anywhere() -> usize {
    ANYWHERE.load(Ordering::Relaxed)
}

/// Resets the largest allocation of any thread.
pub fn forget() {
    ANYWHERE.store(0, Ordering::Relaxed);
}

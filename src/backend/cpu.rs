//! The CPU backend: each call's Rust body, over a fixed team of threads.
#![allow(unsafe_code)]
use crate::backend::{Backend, Buffer};
use crate::cpu::team::Team;
use crate::plan::Call;
use crate::plan::arena::ALIGN;
use crate::{Error, Result, host::memory};
use std::alloc::{Layout, alloc, dealloc};

/// Runs calls on this machine's cores.
pub struct Cpu {
    team: Team,
}

impl Cpu {
    /// `threads` threads; 0 = all cores.
    pub fn new(threads: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Cpu { team: Team::new(if threads == 0 { cores } else { threads }) }
    }
}

/// Aligned memory that frees itself.
struct Block {
    address: *mut u8,
    layout: Layout,
}

// SAFETY: a block is plain memory with one owner.
unsafe impl Send for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `alloc`.
        unsafe { dealloc(self.address, self.layout) }
    }
}

impl Backend for Cpu {
    fn describe(&self) -> String {
        let n = self.team.threads();
        format!("cpu ({n} thread{})", if n == 1 { "" } else { "s" })
    }

    fn threads(&self) -> usize {
        self.team.threads()
    }

    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        let short =
            || Error::Device(format!("cpu: cannot allocate {bytes} bytes; use a smaller model, batch or data set"));
        let layout = Layout::from_size_align(bytes.max(1), ALIGN).map_err(|_| short())?;
        memory::require(layout.size() as u64, |words| {
            Error::Usage(format!("this takes {words}; use a smaller model, batch or data set"))
        })?;
        // SAFETY: the layout has a size above zero.
        let address = unsafe { alloc(layout) };
        if address.is_null() {
            return Err(short());
        }
        // Written at once: memory that no one has written to yet still counts as free.
        // SAFETY: exactly the bytes that were allocated.
        unsafe { address.write_bytes(0, layout.size()) };
        Ok(Buffer { address: address as usize, bytes, _owner: Box::new(Block { address, layout }) })
    }

    fn write(&self, to: &mut Buffer, at: usize, from: &[u8]) -> Result<()> {
        let start = to.range(at, from.len());
        // SAFETY: inside the allocation, which `to` borrows mutably.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), start as *mut u8, from.len()) };
        Ok(())
    }

    fn read(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<()> {
        let start = from.range(at, to.len());
        // SAFETY: inside the allocation.
        unsafe { std::ptr::copy_nonoverlapping(start as *const u8, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    unsafe fn run(&self, calls: &[Call], arena: &mut Buffer) -> Result<()> {
        for call in calls {
            // SAFETY: the caller's.
            unsafe { call.run(arena.address as *mut u8, &self.team) };
        }
        Ok(())
    }
}

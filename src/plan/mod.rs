//! A training step written down: a [`Plan`] is a list of [`Call`]s, each a kernel's name, its
//! arguments and its CPU body.
//!
//! Operations append calls; a backend runs them and knows no operation by name. Addresses and
//! shapes are fixed when the plan is built; what changes from step to step is read from the arena
//! (see [`state::StepState`]).
pub mod arena;
mod args;
mod call;
pub mod contents;
pub mod dependencies;
mod gradients;
mod grid;
pub mod state;

pub(crate) use args::overlap;
pub use args::{Base, Field, KernelArgs, Place, Ptr, bytes_of, size};
pub(crate) use call::conflict;
pub use call::{Call, Output};
pub use gradients::Gradients;
pub use grid::{Grid, Grids, MAX_BLOCKS, Precision, Product};

use crate::plan::arena::{Arena, Mat};
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that no plan has had.
fn new_id() -> u64 {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    GIVEN.fetch_add(1, Ordering::Relaxed) + 1
}

/// Calls in the order in which they run.
#[derive(Default)]
pub struct Plan {
    calls: Vec<Call>,
    /// A number that no plan of other calls has; 0 = no calls.
    id: u64,
    /// The book of gradients.
    pub gradients: Gradients,
    /// The memory whose layout the calls have been checked against; 0 = none.
    checked: AtomicU64,
}

impl Plan {
    /// The calls.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// A number by which a backend recognises what it has prepared: no plan of other calls has it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Splits the plan into plans of one call each.
    pub fn one_by_one(self) -> impl Iterator<Item = Plan> {
        self.calls.into_iter().map(|call| Plan { calls: vec![call], id: new_id(), ..Plan::default() })
    }

    /// Appends a call.
    pub fn push(&mut self, call: Call) {
        self.checked = AtomicU64::default();
        self.id = new_id();
        self.calls.push(call);
    }

    /// True if the call that makes `output` is the first that reads `value`.
    pub(crate) fn is_first_reader<T>(&self, output: Mat<T>, value: Mat<T>) -> bool {
        let [output, value] = [output, value].map(|mat| mat.bytes());
        let reads = |call: &&Call| call.fields().iter().any(|f| call.output(f).is_none() && overlap(&f.bytes, &value));
        let first = self.calls.iter().find(reads);
        first.is_some_and(|call| call.written().any(|field| overlap(&field.bytes, &output)))
    }

    /// Checks the calls against the arena of this memory, unless that has been done. Panics as
    /// [`Plan::check`].
    pub(crate) fn check_once(&self, memory: u64, arena: &Arena) {
        if self.checked.load(Ordering::Relaxed) != memory {
            self.check(arena);
            self.checked.store(memory, Ordering::Relaxed);
        }
    }

    /// Checks that every argument lies inside one tensor of the arena and that none that may be
    /// written overlaps another.
    ///
    /// # Panics
    /// When one does not: a bug of the operation that made the call.
    pub fn check(&self, arena: &Arena) {
        for call in &self.calls {
            let kernel = call.kernel();
            let present: Vec<&Field> = call.fields().iter().filter(|f| !f.bytes.is_empty()).collect();
            for (i, a) in present.iter().enumerate() {
                assert!(arena.holds(&a.bytes), "{kernel}: {} reaches outside its tensor", a.name);
                assert!(a.bytes.start % a.align == 0, "{kernel}: {} is not aligned", a.name);
                for b in present[..i].iter().filter(|b| a.writable || b.writable) {
                    assert!(!overlap(&a.bytes, &b.bytes), "{kernel}: {} and {} overlap", a.name, b.name);
                }
            }
        }
    }
}

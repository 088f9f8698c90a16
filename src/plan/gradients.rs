//! The book of a plan's gradients, which is kept while backward calls are appended.
use crate::cpu::activation::Activation;
use crate::plan::arena::{Mat, Var};
use std::collections::{BTreeMap, BTreeSet};

/// The gradients that calls have written so far, and the activations behind them.
#[derive(Default)]
pub struct Gradients {
    /// Gradients that have been written, by place: the next writer adds.
    written: BTreeSet<usize>,
    /// Values that an activation has made, by place and length.
    activations: BTreeMap<(usize, usize), Activation>,
    /// Gradients, by place and length, that are those before the activation once written.
    pulled_back: BTreeSet<(usize, usize)>,
}

impl Gradients {
    /// 1 if the gradient at this place has to be added to, 0 if it has to be overwritten: the first
    /// writer overwrites.
    ///
    /// # Panics
    /// When the gradient is already the one before the activation: calls go backward in another
    /// order than that in which they went forward.
    pub(crate) fn accumulate<T>(&mut self, grad: Mat<T>) -> u32 {
        assert!(!self.is_pulled_back(grad), "a gradient was finished before all its parts were there");
        u32::from(!grad.is_none() && !self.written.insert(grad.offset()))
    }

    /// Records that an activation has made `value`.
    pub(crate) fn activated<T>(&mut self, value: Mat<T>, act: Activation) {
        if act != Activation::None {
            self.activations.insert((value.offset(), value.len()), act);
        }
    }

    /// The activation by whose derivative the next writer of `input`'s gradient multiplies it: that
    /// which made `input`. All parts of the gradient have to be there then, so the next writer has
    /// to be the last. It is if its layer was the first to read the value
    /// ([`Plan::is_first_reader`](super::Plan::is_first_reader)). Otherwise returns
    /// [`Activation::None`].
    pub(crate) fn pull_back<T>(&mut self, input: Var<T>, is_first_reader: bool) -> Activation {
        let act = self.activations.get(&(input.value.offset(), input.value.len()));
        let Some(&act) = act.filter(|_| is_first_reader && !input.grad.is_none()) else {
            return Activation::None;
        };
        self.pulled_back.insert((input.grad.offset(), input.grad.len()));
        act
    }

    /// True if a gradient is already the one before the activation.
    pub(crate) fn is_pulled_back<T>(&self, grad: Mat<T>) -> bool {
        self.pulled_back.contains(&(grad.offset(), grad.len()))
    }
}

//! Gate logits to gate weights: g_e = exp(x_e) / sum_k exp(x_k), row by row.
use super::{Operation, expect};
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::Var;
use crate::plan::{Call, Grid, Output, Plan, size};

crate::kernel_args! {
    reads {
        /// [B, E] logits.
        x: T [b * e],
    }
    writes {
        /// [B, E] rows sum to 1.
        y: T [b * e],
        /// [B, E].
        dy: T [b * e],
        /// [B, E].
        dx: T [b * e],
    }
    sizes {
        /// Samples.
        b,
        /// Entries of a row.
        e,
    }
}

/// The operation.
pub struct Softmax<T> {
    x: Var<T>,
    y: Var<T>,
}

impl<T: Real> Softmax<T> {
    /// The softmax of logits `x` into `y`. Errors: shapes that do not fit.
    pub fn new(x: Var<T>, y: Var<T>) -> Result<Self> {
        expect("softmax", "columns", y.cols(), x.cols(), "as many weights as logits")?;
        expect("softmax", "rows", y.rows(), x.rows(), "one a sample")?;
        Ok(Softmax { x, y })
    }

    fn args(&self) -> Args<T> {
        Args {
            x: self.x.value.into(),
            y: self.y.value.into(),
            dy: self.y.grad.into(),
            dx: self.x.grad.into(),
            b: size(self.x.rows()),
            e: size(self.x.cols()),
            scalar: Default::default(),
        }
    }
}

impl<T: Real> Operation for Softmax<T> {
    fn forward(&self, plan: &mut Plan) {
        plan.push(Call::new(
            "softmax_forward",
            Grid::elements(self.x.rows(), 64),
            &[Output::whole("y")],
            self.args(),
            cpu::forward::<T>,
        ));
    }

    fn backward(&self, plan: &mut Plan) {
        assert_eq!(plan.gradients.accumulate(self.x.grad), 0, "logits have one reader");
        plan.push(Call::new(
            "softmax_backward",
            Grid::elements(self.x.rows(), 64),
            &[Output::whole("dx")],
            self.args(),
            cpu::backward::<T>,
        ));
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// y_e = exp(x_e - max x) / sum
    pub fn forward<T: Real>(v: View<'_, T>, _: &Team) {
        weights(v.x, v.e, v.y);
    }

    /// dx_e = y_e (dy_e - sum_k y_k dy_k)
    pub fn backward<T: Real>(v: View<'_, T>, _: &Team) {
        v.dx.copy_from_slice(v.dy);
        pull_back(v.y, v.dx, v.e);
    }

    /// y of rows of `e` logits.
    pub(in crate::ops) fn weights<T: Real>(x: &[T], e: usize, y: &mut [T]) {
        for (x, y) in x.chunks_exact(e).zip(y.chunks_exact_mut(e)) {
            let top = x.iter().copied().fold(T::neg_infinity(), T::max);
            let mut sum = T::zero();
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - top).exp();
                sum += *y;
            }
            y.iter_mut().for_each(|y| *y /= sum);
        }
    }

    /// The gradient of rows of `e` weights becomes that of their logits.
    pub(in crate::ops) fn pull_back<T: Real>(y: &[T], d: &mut [T], e: usize) {
        for (y, d) in y.chunks_exact(e).zip(d.chunks_exact_mut(e)) {
            let mean = y.iter().zip(&*d).map(|(&y, &d)| y * d).sum::<T>();
            d.iter_mut().zip(y).for_each(|(d, &y)| *d = y * (*d - mean));
        }
    }
}

//! The scale and shift of each feature, y = scale x + shift: it normalises poses and takes
//! normalisation back.
use super::{ROWS, expect};
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

crate::kernel_args! {
    reads {
        /// Frames of F features.
        x: T [n * f],
        /// \[F\].
        scale: T [f],
        /// \[F\].
        shift: T [f],
    }
    writes {
        /// Frames of F features.
        y: T [n * f],
    }
    sizes {
        /// Frames.
        n,
        /// Features.
        f,
    }
}

/// Appends y = scale x + shift; rows of `x` and `y` may hold several frames. Errors: shapes that do
/// not fit.
pub fn push<T: Real>(plan: &mut Plan, x: Mat<T>, scale: Mat<T>, shift: Mat<T>, y: Mat<T>) -> Result<()> {
    let f = scale.len();
    expect("rescale", "shift", shift.len(), f, "one a feature")?;
    expect("rescale", "y", y.len(), x.len(), "as many as x")?;
    expect("rescale", "columns of x", x.cols() % f, 0, "whole frames")?;
    let args = Args {
        x: x.into(),
        scale: scale.into(),
        shift: shift.into(),
        y: y.into(),
        n: size(x.len() / f),
        f: size(f),
        scalar: Default::default(),
    };
    plan.push(Call::new("rescale", Grid::elements(x.len(), 256), &[Output::whole("y")], args, cpu::rescale::<T>));
    Ok(())
}

/// The definition.
pub mod cpu {
    use super::*;

    /// y = scale x + shift
    pub(crate) fn rescale<T: Real>(v: View<'_, T>, team: &Team) {
        let (x, scale, shift, f) = (v.x, v.scale, v.shift, v.f);
        team.each(pieces(v.y, ROWS * f), |task, y| {
            for (y, x) in y.chunks_exact_mut(f).zip(x[task * ROWS * f..].chunks_exact(f)) {
                for (((y, &x), &scale), &shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                    *y = scale * x + shift;
                }
            }
        });
    }
}

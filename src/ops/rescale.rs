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

/// Arguments of `rescale_backward`.
pub mod back {
    crate::kernel_args! {
        reads {
            /// Gradients of frames of F features.
            dy: T [n * f],
            /// \[F\].
            scale: T [f],
        }
        writes {
            /// Gradients of frames of F features.
            dx: T [n * f],
        }
        sizes {
            /// Frames.
            n,
            /// Features.
            f,
            /// 1: dx is added to.
            add,
            /// Keeps the number of sizes even.
            pad,
        }
    }
}

/// Appends dx = scale dy, or with `add` dx += scale dy. Errors: shapes that do not fit.
pub fn backward<T: Real>(plan: &mut Plan, dy: Mat<T>, scale: Mat<T>, add: bool, dx: Mat<T>) -> Result<()> {
    let f = scale.len();
    expect("rescale", "dx", dx.len(), dy.len(), "as many as dy")?;
    expect("rescale", "columns of dy", dy.cols() % f, 0, "whole frames")?;
    let args = back::Args {
        dy: dy.into(),
        scale: scale.into(),
        dx: dx.into(),
        n: size(dy.len() / f),
        f: size(f),
        add: u32::from(add),
        pad: 0,
        scalar: Default::default(),
    };
    let (grid, writes) = (Grid::elements(dy.len(), 256), [Output::sum("dx", u32::from(add))]);
    plan.push(Call::new("rescale_backward", grid, &writes, args, cpu::backward::<T>));
    Ok(())
}

/// The definition.
pub mod cpu {
    use super::*;

    /// dx (+)= scale dy
    pub(crate) fn backward<T: Real>(v: back::View<'_, T>, _: &Team) {
        for (dx, dy) in v.dx.chunks_exact_mut(v.f).zip(v.dy.chunks_exact(v.f)) {
            for ((dx, &dy), &scale) in dx.iter_mut().zip(dy).zip(v.scale) {
                *dx = scale * dy + if v.add == 1 { *dx } else { T::zero() };
            }
        }
    }

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

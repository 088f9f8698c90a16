//! Pairs of numbers as vectors of the plane: the direction stays, and a length r becomes `gain`
//! ln(1 + r). A policy can then see near points as well as far ones.
use super::expect;
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

crate::kernel_args! {
    reads {}
    writes {
        /// [B, D].
        x: T [b * d],
    }
    numbers {
        /// Factor of all vectors.
        gain,
    }
    sizes {
        /// Rows.
        b,
        /// Columns.
        d,
        /// Column of the first pair; all that follow are pairs.
        first,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// Appends the change of `x` in place, from column `first` on, by `gain`. Errors: shapes that do
/// not fit.
pub fn push<T: Real>(plan: &mut Plan, x: Mat<T>, first: usize, gain: f64) -> Result<()> {
    expect("log_length", "columns of pairs", (x.cols() - first) % 2, 0, "two a pair")?;
    let (b, d, first, scalar) = (size(x.rows()), size(x.cols()), size(first), Default::default());
    let args = Args { x: x.into(), gain, b, d, first, pad: 0, scalar };
    plan.push(Call::new("log_length", Grid::elements(x.rows(), 128), &[Output::part("x")], args, cpu::log_length::<T>));
    Ok(())
}

/// Arguments of `log_length_backward`.
pub mod back {
    crate::kernel_args! {
        reads {
            /// [B, D] the changed pairs.
            y: T [b * d],
        }
        writes {
            /// [B, D] gradient of y, which becomes that of the pairs before the change.
            dy: T [b * d],
        }
        numbers {
            /// Factor of all vectors.
            gain,
        }
        sizes {
            /// Rows.
            b,
            /// Columns.
            d,
            /// Column of the first pair.
            first,
            /// Keeps the number of sizes even.
            pad,
        }
    }
}

/// Appends the change of the gradient `dy` of `y`, which [`push`] has made, to that of what it was
/// made of. Errors: shapes that do not fit.
pub fn backward<T: Real>(plan: &mut Plan, y: Mat<T>, first: usize, gain: f64, dy: Mat<T>) -> Result<()> {
    expect("log_length", "gradient", dy.len(), y.len(), "as many as y")?;
    let (b, d, first, scalar) = (size(y.rows()), size(y.cols()), size(first), Default::default());
    let args = back::Args { y: y.into(), dy: dy.into(), gain, b, d, first, pad: 0, scalar };
    let (grid, writes) = (Grid::elements(y.rows(), 128), [Output::part("dy")]);
    plan.push(Call::new("log_length_backward", grid, &writes, args, cpu::backward::<T>));
    Ok(())
}

/// The definition.
pub mod cpu {
    use super::*;

    /// With the old length r = exp(|y| / gain) - 1 and u = y / |y|: dx = f dy + (gain / (1 + r) -
    /// f) (u · dy) u, where f = |y| / r
    pub(crate) fn backward<T: Real>(v: back::View<'_, T>, _: &Team) {
        let gain = T::of(v.gain);
        for (y, dy) in v.y.chunks_exact(v.d).zip(v.dy.chunks_exact_mut(v.d)) {
            for (y, dy) in y[v.first..].chunks_exact(2).zip(dy[v.first..].chunks_exact_mut(2)) {
                let length = (y[0] * y[0] + y[1] * y[1]).sqrt();
                let old = (length / gain).exp_m1();
                let (across, along) = match old > T::zero() {
                    true => (length / old, gain / (T::one() + old)),
                    false => (gain, gain),
                };
                let part = match length > T::zero() {
                    true => (along - across) * (y[0] * dy[0] + y[1] * dy[1]) / (length * length),
                    false => T::zero(),
                };
                dy.iter_mut().zip(y).for_each(|(dy, &y)| *dy = across * *dy + part * y);
            }
        }
    }

    /// x <- gain x ln(1 + |x|) / |x|, pair by pair
    pub(crate) fn log_length<T: Real>(v: View<'_, T>, _: &Team) {
        let gain = T::of(v.gain);
        for row in v.x.chunks_exact_mut(v.d) {
            for pair in row[v.first..].chunks_exact_mut(2) {
                let length = (pair[0] * pair[0] + pair[1] * pair[1]).sqrt();
                let factor = if length > T::zero() { gain * length.ln_1p() / length } else { gain };
                pair.iter_mut().for_each(|x| *x *= factor);
            }
        }
    }
}

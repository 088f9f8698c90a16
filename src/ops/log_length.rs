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

/// The definition.
pub mod cpu {
    use super::*;

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

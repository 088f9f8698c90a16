//! The gradient's norm over all parameters, and the gradient scaled down where that is above a
//! limit: g <- g min(1, limit / (norm + 1e-6)).
use super::expect;
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::cpu::vector;
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

/// Number of parameters over which one partial sum of squares runs.
pub const CHUNK: usize = 16384;

crate::kernel_args! {
    reads {}
    writes {
        /// \[n\] gradient.
        grad: T [n],
        /// Sum of the squared gradient over each [`CHUNK`], before it is scaled.
        squares: f64 [n.div_ceil(CHUNK)],
    }
    numbers {
        /// Largest norm.
        limit,
    }
    sizes {
        /// Parameters.
        n,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// Appends both calls. Errors: shapes that do not fit.
pub fn push<T: Real>(plan: &mut Plan, grad: Mat<T>, squares: Mat<f64>, limit: f64) -> Result<()> {
    let chunks = grad.len().div_ceil(CHUNK);
    expect("clip_grad", "squares", squares.len(), chunks, "one a chunk of parameters")?;
    let (n, scalar) = (size(grad.len()), Default::default());
    let args = Args::<T> { grad: grad.into(), squares: squares.into(), limit, n, pad: 0, scalar };
    let grid = Grid::items(chunks, 1024);
    plan.push(Call::new("clip_grad_squares", grid, &[Output::whole("squares")], args, cpu::squares::<T>));
    plan.push(Call::new("clip_grad_scale", grid, &[Output::part("grad")], args, cpu::scale::<T>));
    Ok(())
}

/// The norm of a gradient from its partial sums of squares.
pub fn norm(squares: &[f64]) -> f64 {
    squares.iter().sum::<f64>().sqrt()
}

/// The definition.
pub mod cpu {
    use super::*;

    /// squares
    pub fn squares<T: Real>(v: View<'_, T>, team: &Team) {
        let grad = &*v.grad;
        team.each(pieces(v.squares, 1), |task, square| {
            square[0] = vector::sum_of_squares(&grad[task * CHUNK..][..CHUNK.min(grad.len() - task * CHUNK)]);
        });
    }

    /// grad scaled
    pub fn scale<T: Real>(v: View<'_, T>, team: &Team) {
        let factor = T::of((v.limit / (norm(v.squares) + 1e-6)).min(1.0));
        team.each(pieces(v.grad, CHUNK), |_, grad| grad.iter_mut().for_each(|g| *g *= factor));
    }
}

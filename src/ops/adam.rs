//! Adam over a range of parameters (Kingma and Ba, 2015), with the gradient's norm on the way.
use super::begin_step::StepState;
use super::recon_loss::{LOSSES, slot};
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::cpu::vector::{self, AdamStep};
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

/// Number of parameters that a block of a kernel updates; one partial sum of squares runs over
/// them.
pub const CHUNK: usize = 2048;
/// Number of parameters that one task of the CPU updates.
pub const TASK: usize = 8 * CHUNK;

crate::kernel_args! {
    reads {
        /// \[n\] gradient.
        grad: T [n],
        /// The current step: step size and bias correction.
        state: StepState [1],
        /// The losses: see [`slot`]. Nothing is updated once a loss was not finite.
        losses: f64 [LOSSES],
    }
    writes {
        /// \[n\] parameters.
        param: T [n],
        /// \[n\] first moment.
        m: T [n],
        /// \[n\] second moment.
        v: T [n],
        /// Sum of the squared gradient over each [`CHUNK`].
        squares: f64 [n.div_ceil(CHUNK)],
    }
    numbers {
        /// Decay of the first moment.
        beta1,
        /// Decay of the second moment.
        beta2,
        /// Added to the root of the second moment.
        eps,
    }
    sizes {
        /// Parameters.
        n,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// The tensors of [`push`]; the first four have one length.
#[allow(missing_docs)]
pub struct Adam<T> {
    pub param: Mat<T>,
    pub grad: Mat<T>,
    pub m: Mat<T>,
    pub v: Mat<T>,
    pub squares: Mat<f64>,
    pub state: Mat<StepState>,
    pub losses: Mat<f64>,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
}

/// Appends the update.
pub fn push<T: Real>(plan: &mut Plan, a: &Adam<T>) {
    let args = Args {
        grad: a.grad.into(),
        state: a.state.into(),
        losses: a.losses.into(),
        param: a.param.into(),
        m: a.m.into(),
        v: a.v.into(),
        squares: a.squares.into(),
        beta1: a.beta1,
        beta2: a.beta2,
        eps: a.eps,
        n: size(a.param.len()),
        pad: 0,
        scalar: Default::default(),
    };
    plan.push(
        Call::new(
            "adam",
            Grid::items(a.param.len().div_ceil(CHUNK), 256),
            &[Output::part("param"), Output::part("m"), Output::part("v"), Output::part("squares")],
            args,
            cpu::adam::<T>,
        )
        .in_shares(&[("grad", CHUNK), ("param", CHUNK), ("m", CHUNK), ("v", CHUNK), ("squares", 1)]),
    );
}

/// The definition.
pub mod cpu {
    use super::*;

    /// m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, param -= step_size m / (sqrt(v)
    /// inv_sqrt_bias2 + eps)
    pub fn adam<T: Real>(v: View<'_, T>, team: &Team) {
        if slot::stands_still(v.losses) {
            return;
        }
        let (grad, state) = (v.grad, v.state[0]);
        let (beta1, beta2, eps) = (v.beta1, v.beta2, v.eps);
        let step = AdamStep { beta1, beta2, step_size: state.step_size, inv_sqrt_bias2: state.inv_sqrt_bias2, eps };
        let outputs = (pieces(v.param, TASK), pieces(v.m, TASK), pieces(v.v, TASK), pieces(v.squares, TASK / CHUNK));
        team.each(outputs, |task, (param, m, v, squares)| {
            let moments = m.chunks_mut(CHUNK).zip(v.chunks_mut(CHUNK));
            let chunks = param.chunks_mut(CHUNK).zip(grad[task * TASK..].chunks(CHUNK)).zip(moments);
            for (square, ((param, grad), (m, v))) in squares.iter_mut().zip(chunks) {
                *square = vector::adam(param, &grad[..param.len()], m, v, step);
            }
        });
    }
}

/// Adam's part of the state of optimizer step `step` (from 1): step size and bias correction.
pub fn adam_state(learning_rate: f64, [beta1, beta2]: [f64; 2], step: u64) -> StepState {
    let power = |beta: f64| beta.powf(step as f64);
    StepState {
        step_size: learning_rate / (1.0 - power(beta1)),
        inv_sqrt_bias2: 1.0 / (1.0 - power(beta2)).sqrt(),
        kl_scale: 1.0,
        step,
        ..StepState::default()
    }
}

//! The weight of the KL in the loss, step by step, and the total loss.
//!
//! There are three rules:
//!
//! - The weight is fixed.
//! - It follows the running reconstruction error, as in the calibrated Gaussian decoder of Rybkin,
//!   Daniilidis and Levine, "Simple and Effective VAE Training with Calibrated Decoders", ICML
//!   2021. With residual variance v, the weight of a mean KL against a mean squared error is 2 v L
//!   / (K F).
//! - It is steered so that the KL comes out at a target.
use super::begin_step::StepState;
use super::recon_loss::{LOSSES, slot};
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan};

/// The rule that gives the weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// This weight.
    Fixed(f64),
    /// `units` times the running reconstruction loss, at least `floor`.
    Auto {
        /// 2 L / (K F).
        units: f64,
        /// Smallest weight.
        floor: f64,
    },
    /// From `start`, up while the KL is above `kl`, down while it is below.
    Target {
        /// Nats a latent dimension.
        kl: f64,
        /// First weight.
        start: f64,
    },
}

/// Length of the controller's memory: \[0\] steps seen, \[1\] running reconstruction loss, \[2\]
/// weight.
pub const CONTROLLER: usize = 4;
/// Share of the past in the running reconstruction loss: it remembers about a thousand steps.
const MEMORY: f64 = 0.999;
/// Rate at which the weight follows the KL: a KL of twice the target doubles the weight in about
/// 350 steps.
const GAIN: f64 = 0.002;

crate::kernel_args! {
    reads {
        /// The current step: warm-up factor and step.
        state: StepState [1],
    }
    writes {
        /// See [`slot`].
        losses: f64 [LOSSES],
        /// See [`CONTROLLER`].
        controller: f64 [CONTROLLER],
        /// Copy of the state, for an update that may go on while the next step has begun; absent
        /// where nobody needs it.
        kept_state: StepState [1],
        /// Copy of the losses, as `kept_state`.
        kept_losses: f64 [LOSSES],
    }
    numbers {
        /// Fixed: weight. Auto: units. Target: KL.
        a,
        /// Auto: floor. Target: first weight.
        c,
    }
    sizes {
        /// 0 fixed, 1 auto, 2 target.
        rule,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// The tensors of [`push`].
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy)]
pub struct KlWeight {
    pub state: Mat<StepState>,
    pub losses: Mat<f64>,
    pub controller: Mat<f64>,
    /// Copies of the first two; may be absent.
    pub kept: (Mat<StepState>, Mat<f64>),
    pub rule: Rule,
}

/// Appends the call that computes weight and total loss; it stands between all losses and the first
/// gradient.
pub fn push<T: Real>(plan: &mut Plan, k: &KlWeight) {
    let (number, a, c) = match k.rule {
        Rule::Fixed(weight) => (0, weight, 0.0),
        Rule::Auto { units, floor } => (1, units, floor),
        Rule::Target { kl, start } => (2, kl, start),
    };
    let args = Args::<T> {
        state: k.state.into(),
        losses: k.losses.into(),
        controller: k.controller.into(),
        kept_state: k.kept.0.into(),
        kept_losses: k.kept.1.into(),
        a,
        c,
        rule: number,
        pad: 0,
        scalar: Default::default(),
    };
    plan.push(Call::new(
        "kl_weight",
        Grid::one(32),
        &["losses", "controller", "kept_state", "kept_losses"].map(Output::part),
        args,
        cpu::kl_weight::<T>,
    ));
}

/// The definition.
pub mod cpu {
    use super::*;

    /// losses\[WEIGHT\], losses\[TOTAL\] and, once, losses\[NONFINITE_STEP\]
    pub fn kl_weight<T: Real>(v: View<'_, T>, _: &Team) {
        let (state, losses, memory) = (&v.state[0], v.losses, v.controller);
        let first = memory[0] == 0.0;
        memory[0] += 1.0;
        memory[1] = if first { losses[slot::RECON] } else { MEMORY * memory[1] + (1.0 - MEMORY) * losses[slot::RECON] };
        memory[2] = match v.rule {
            0 => v.a,
            1 => (v.a * memory[1]).max(v.c),
            _ if first => v.c,
            _ => (memory[2] * (GAIN * (losses[slot::KL] / v.a - 1.0).min(1.0)).exp()).clamp(1e-8, 1e3),
        };
        losses[slot::WEIGHT] = state.kl_scale * memory[2];
        losses[slot::TOTAL] = losses[slot::RECON] + losses[slot::WEIGHT] * losses[slot::REGULARIZER];
        if !losses[slot::TOTAL].is_finite() && losses[slot::NONFINITE_STEP] == 0.0 {
            losses[slot::NONFINITE_STEP] = state.step as f64;
        }
        v.kept_state.iter_mut().for_each(|kept| *kept = *state);
        v.kept_losses.iter_mut().zip(losses).for_each(|(kept, loss)| *kept = *loss);
    }
}

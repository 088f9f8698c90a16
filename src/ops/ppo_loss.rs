//! The clipped loss of proximal policy optimization (Schulman et al. 2017), with the error of the
//! critic. With r = exp(log pi(action) - old log-density) the loss is
//!
//! ```text
//! -mean min(r A, clip(r, 1 - clip, 1 + clip) A) - entropy_weight entropy
//!     + mean_weight mean |policy's mean|^2 + WEIGHT mean (R - V)^2
//! ```
use super::gaussian_action::{deviations, log_prob};
use super::{Operation, begin_step::StepState, expect};
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::{Mat, Var};
use crate::plan::{Call, Grid, Output, Plan, size};

/// Places in the buffer of losses. Places that [`crate::ops::recon_loss::slot`] also has mean the
/// same to Adam, and the total is made from the same places.
pub mod slot {
    use crate::ops::recon_loss::slot;
    /// The actor's loss: -mean min(r A, clip(r) A), less the weighted entropy, plus the weighted
    /// squares.
    pub const POLICY: usize = slot::RECON;
    /// mean |policy's mean|^2.
    pub(crate) const SQUARE: usize = 1;
    /// Entropy of the policy, nats.
    pub const ENTROPY: usize = 2;
    /// mean (R - V)^2.
    pub const VALUE: usize = slot::REGULARIZER;
    /// Weight of the value loss, written by the host.
    pub const WEIGHT: usize = slot::WEIGHT;
    /// The whole loss.
    pub const TOTAL: usize = slot::TOTAL;
    /// The first optimizer step whose loss was not finite.
    pub const NONFINITE_STEP: usize = slot::NONFINITE_STEP;
    /// Share of samples whose ratio is clipped.
    pub const CLIPPED: usize = 7;
    /// KL of the policy from the one that acted, nats: mean of r - 1 - ln r (Schulman,
    /// "Approximating KL divergence", 2020).
    pub const KL: usize = 8;
}
use super::recon_loss::LOSSES;

crate::kernel_args! {
    reads {
        /// The current step.
        state: StepState [1],
        /// [B, A].
        mean: T [b * a],
        /// \[A\].
        logstd: T [a],
        /// \[B\].
        value: T [b],
        /// [B, A] actions taken.
        action: T [b * a],
        /// \[B\] their log-density when they were taken.
        old_log_prob: T [b],
        /// \[B\] R.
        returns: T [b],
        /// \[B\] A, normalised.
        advantages: T [b],
    }
    writes {
        /// \[B\] r.
        ratio: T [b],
        /// See [`slot`].
        losses: f64 [LOSSES],
        /// [B, A].
        dmean: T [b * a],
        /// \[A\].
        dlogstd: T [a],
        /// \[B\].
        dvalue: T [b],
    }
    numbers {
        /// Largest distance of the ratio from 1.
        clip,
        /// Weight of the entropy.
        entropy_weight,
        /// Weight of the squares of the policy's mean.
        mean_weight,
    }
    sizes {
        /// Samples.
        b,
        /// Entries of an action.
        a,
    }
}

/// Actions and what came of them, a row a sample.
#[allow(missing_docs)]
#[derive(Clone, Copy)]
pub struct Samples<T> {
    pub action: Mat<T>,
    pub old_log_prob: Mat<T>,
    pub returns: Mat<T>,
    pub advantages: Mat<T>,
}

/// The operation.
#[allow(missing_docs)]
pub struct PpoLoss<T> {
    pub state: Mat<StepState>,
    pub mean: Var<T>,
    pub logstd: Var<T>,
    pub value: Var<T>,
    pub samples: Samples<T>,
    /// [B, 1] for the ratios.
    pub ratio: Mat<T>,
    pub losses: Mat<f64>,
    pub clip: f64,
    pub entropy_weight: f64,
    /// Weight of the squares of the policy's mean.
    pub mean_weight: f64,
}

impl<T: Real> PpoLoss<T> {
    /// The operation when its shapes fit. Errors: they do not.
    pub fn check(self) -> Result<Self> {
        let b = self.mean.rows();
        expect("ppo_loss", "logstd", self.logstd.value.len(), self.mean.cols(), "one an entry of the action")?;
        expect("ppo_loss", "action", self.samples.action.len(), self.mean.value.len(), "as many as means")?;
        for (what, len) in [
            ("value", self.value.value.len()),
            ("old_log_prob", self.samples.old_log_prob.len()),
            ("returns", self.samples.returns.len()),
            ("advantages", self.samples.advantages.len()),
            ("ratio", self.ratio.len()),
        ] {
            expect("ppo_loss", what, len, b, "one a sample")?;
        }
        Ok(self)
    }

    fn args(&self) -> Args<T> {
        Args {
            state: self.state.into(),
            mean: self.mean.value.into(),
            logstd: self.logstd.value.into(),
            value: self.value.value.into(),
            action: self.samples.action.into(),
            old_log_prob: self.samples.old_log_prob.into(),
            returns: self.samples.returns.into(),
            advantages: self.samples.advantages.into(),
            ratio: self.ratio.into(),
            losses: self.losses.into(),
            dmean: self.mean.grad.into(),
            dlogstd: self.logstd.grad.into(),
            dvalue: self.value.grad.into(),
            clip: self.clip,
            entropy_weight: self.entropy_weight,
            mean_weight: self.mean_weight,
            b: size(self.mean.rows()),
            a: size(self.mean.cols()),
            scalar: Default::default(),
        }
    }
}

impl<T: Real> Operation for PpoLoss<T> {
    fn forward(&self, plan: &mut Plan) {
        let writes = [Output::whole("ratio"), Output::part("losses")];
        plan.push(Call::new("ppo_loss_forward", Grid::one(1024), &writes, self.args(), cpu::forward::<T>));
    }

    fn backward(&self, plan: &mut Plan) {
        for grad in [self.mean.grad, self.logstd.grad, self.value.grad] {
            assert_eq!(plan.gradients.accumulate(grad), 0, "a policy's outputs have one reader");
        }
        let writes = [Output::whole("dmean"), Output::whole("dlogstd"), Output::whole("dvalue")];
        plan.push(Call::new(
            "ppo_loss_backward",
            Grid::items(self.mean.cols(), 256),
            &writes,
            self.args(),
            cpu::backward::<T>,
        ));
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// r A and clip(r) A
    fn surrogates<T: Real>(ratio: T, advantage: T, clip: f64) -> (T, T) {
        let (low, high) = (T::of(1.0 - clip), T::of(1.0 + clip));
        let clipped = if ratio < low {
            low
        } else if ratio > high {
            high
        } else {
            ratio
        };
        (ratio * advantage, clipped * advantage)
    }

    /// ratios and losses
    pub fn forward<T: Real>(v: View<'_, T>, _: &Team) {
        let std = deviations(v.logstd);
        let [mut action_loss, mut value_loss, mut outside, mut kl, mut square] = [0.0; 5];
        for row in 0..v.b {
            let at = row * v.a..(row + 1) * v.a;
            square += v.mean[at.clone()].iter().map(|mean| mean.f64() * mean.f64()).sum::<f64>();
            let log_ratio = log_prob(&v.action[at.clone()], &v.mean[at], v.logstd, &std) - v.old_log_prob[row];
            let ratio = log_ratio.exp();
            let (free, clipped) = surrogates(ratio, v.advantages[row], v.clip);
            let off = (v.returns[row] - v.value[row]).f64();
            v.ratio[row] = ratio;
            // Not min(): a NaN must stay one.
            action_loss -= if clipped < free { clipped } else { free }.f64();
            value_loss += off * off;
            kl += ratio.f64() - 1.0 - log_ratio.f64();
            outside += f64::from(u8::from((ratio.f64() - 1.0).abs() > v.clip));
        }
        let b = v.b as f64;
        let entropy = v.logstd.iter().map(|x| 0.5 + 0.5 * std::f64::consts::TAU.ln() + x.f64()).sum::<f64>();
        v.losses[slot::KL] = kl / b;
        v.losses[slot::ENTROPY] = entropy;
        v.losses[slot::VALUE] = value_loss / b;
        v.losses[slot::CLIPPED] = outside / b;
        v.losses[slot::SQUARE] = square / b;
        v.losses[slot::POLICY] = action_loss / b - v.entropy_weight * entropy + v.mean_weight * square / b;
        v.losses[slot::TOTAL] = v.losses[slot::POLICY] + v.losses[slot::WEIGHT] * v.losses[slot::VALUE];
        if !v.losses[slot::TOTAL].is_finite() && v.losses[slot::NONFINITE_STEP] == 0.0 {
            v.losses[slot::NONFINITE_STEP] = v.state[0].step as f64;
        }
    }

    /// With g_b = -r_b A_b / B, or 0 where the clip holds the ratio, dmean = g (action - mean) /
    /// std^2 + 2 mean_weight mean / B.
    ///
    /// dlogstd = sum_b g ((action - mean)^2 / std^2 - 1) - entropy_weight, dvalue = 2 WEIGHT (V -
    /// R) / B.
    pub fn backward<T: Real>(v: View<'_, T>, _: &Team) {
        v.dlogstd.fill(T::of(-v.entropy_weight));
        let std = deviations(v.logstd);
        let b = T::of(v.b as f64);
        let [weight, pull] = [v.losses[slot::WEIGHT], v.mean_weight].map(|weight| T::of(2.0 * weight / v.b as f64));
        for row in 0..v.b {
            let (free, clipped) = surrogates(v.ratio[row], v.advantages[row], v.clip);
            let g = if free <= clipped { -free / b } else { T::zero() };
            let at = row * v.a..(row + 1) * v.a;
            let entries = v.action[at.clone()].iter().zip(&v.mean[at.clone()]).zip(&std);
            let gradients = v.dmean[at].iter_mut().zip(v.dlogstd.iter_mut());
            for (((&action, &mean), &std), (dmean, dlogstd)) in entries.zip(gradients) {
                let off = (action - mean) / std;
                *dmean = g * off / std + pull * mean;
                *dlogstd += g * (off * off - T::one());
            }
            v.dvalue[row] = weight * (v.value[row] - v.returns[row]);
        }
    }
}

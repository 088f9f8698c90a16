//! Reconstruction loss: the mean over samples, future frames and features of (prediction -
//! truth)^2. The layer that makes the prediction writes its gradient: see `toward` of
//! [`Linear`](super::linear::Linear::toward) and
//! [`BlendLinear`](super::blend_linear::BlendLinear::toward).
use super::{Operation, expect};
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::cpu::vector;
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

/// Entries of the buffer of losses, [`LOSSES`] f64 numbers, that a step fills.
pub mod slot {
    /// Reconstruction loss.
    pub const RECON: usize = 0;
    /// KL, nats a latent dimension (vq: codebook loss).
    pub const KL: usize = 1;
    /// Perplexity of the codebook.
    pub const PERPLEXITY: usize = 2;
    /// The term that the KL weight multiplies: the KL with its free bits (vq: codebook loss).
    pub const REGULARIZER: usize = 3;
    /// The KL weight of this step.
    pub const WEIGHT: usize = 4;
    /// Reconstruction + weight * regularizer.
    pub const TOTAL: usize = 5;
    /// First step whose total was not finite; 0 = none. From then on a step repeats that one and
    /// changes nothing that lasts: parameters, codes, moments, the step's window and its state stay
    /// as they are.
    pub const NONFINITE_STEP: usize = 6;

    /// True once a loss was not finite; `losses` may be absent.
    pub fn stands_still(losses: &[f64]) -> bool {
        losses.get(NONFINITE_STEP).is_some_and(|&step| step != 0.0)
    }
}
/// Length of the buffer of losses.
pub const LOSSES: usize = 9;

crate::kernel_args! {
    reads {
        /// [B, X] predicted.
        y: T [b * x],
        /// [B, X] true.
        truth: T [b * x],
    }
    writes {
        /// See [`slot`].
        losses: f64 [LOSSES],
    }
    sizes {
        /// Samples.
        b,
        /// Future frames times features.
        x,
    }
}

/// The operation.
pub struct ReconLoss<T> {
    y: Mat<T>,
    truth: Mat<T>,
    losses: Mat<f64>,
}

impl<T: Real> ReconLoss<T> {
    /// The loss of predictions `y` against `truth`. Errors: shapes that do not fit.
    pub fn new(y: Mat<T>, truth: Mat<T>, losses: Mat<f64>) -> Result<Self> {
        expect("recon_loss", "columns of y", y.cols(), truth.cols(), "future frames * frame size")?;
        expect("recon_loss", "rows of y", y.rows(), truth.rows(), "one a sample")?;
        Ok(ReconLoss { y, truth, losses })
    }

    fn args(&self) -> Args<T> {
        Args {
            y: self.y.into(),
            truth: self.truth.into(),
            losses: self.losses.into(),
            b: size(self.y.rows()),
            x: size(self.y.cols()),
            scalar: Default::default(),
        }
    }
}

impl<T: Real> Operation for ReconLoss<T> {
    fn forward(&self, plan: &mut Plan) {
        plan.push(Call::new(
            "recon_loss_forward",
            Grid::one(1024),
            &[Output::part("losses")],
            self.args(),
            cpu::forward::<T>,
        ));
    }

    fn backward(&self, _: &mut Plan) {}
}

/// The definition.
pub mod cpu {
    use super::*;

    /// losses\[RECON\] = mean (y - truth)^2
    pub fn forward<T: Real>(v: View<'_, T>, _: &Team) {
        let rows = v.y.chunks_exact(v.x).zip(v.truth.chunks_exact(v.x));
        let sum: f64 = rows.map(|(y, t)| vector::squared_distance(y, t).f64()).sum();
        v.losses[slot::RECON] = sum / (v.b * v.x) as f64;
    }
}

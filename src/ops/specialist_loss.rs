//! Loss of separate experts, one of which predicts. With m_be the mean squared error of expert e on
//! sample b, and g the gate, loss = -mean_b log sum_e g_be exp(-m_be / 2). It is computed as a
//! log-sum-exp, so that large errors do not underflow.
use super::recon_loss::{LOSSES, slot};
use super::{Operation, expect};
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::cpu::vector;
use crate::plan::arena::{Arena, Mat, Var};
use crate::plan::{Call, Grid, Output, Plan, size};

crate::kernel_args! {
    reads {
        /// [E, B, X] predictions of all experts.
        each: T [e * b * x],
        /// [B, E].
        gate: T [b * e],
        /// [B, X].
        truth: T [b * x],
        /// \[B\] the expert that predicts.
        pick: u32 [b],
    }
    writes {
        /// [B, X] prediction of the expert picked.
        y: T [b * x],
        /// [B, E] exp(-m_be / 2) / sum_k g_bk exp(-m_bk / 2).
        ratio: T [b * e],
        /// See [`slot`].
        losses: f64 [LOSSES],
        /// [E, B, X].
        deach: T [e * b * x],
        /// [B, E].
        dgate: T [b * e],
    }
    sizes {
        /// Samples.
        b,
        /// Future frames times features.
        x,
        /// Experts.
        e,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// The operation.
pub struct SpecialistLoss<T> {
    each: Var<T>,
    gate: Var<T>,
    truth: Mat<T>,
    pick: Mat<u32>,
    y: Mat<T>,
    ratio: Mat<T>,
    losses: Mat<f64>,
}

impl<T: Real> SpecialistLoss<T> {
    /// The loss, with `each` as [E * B, X]. Errors: shapes that do not fit.
    pub fn new(
        arena: &mut Arena,
        each: Var<T>,
        gate: Var<T>,
        truth: Mat<T>,
        pick: Mat<u32>,
        y: Mat<T>,
        losses: Mat<f64>,
    ) -> Result<Self> {
        expect("specialist_loss", "rows of each", each.rows(), gate.value.len(), "experts * samples")?;
        expect("specialist_loss", "columns of each", each.cols(), truth.cols(), "future frames * frame size")?;
        expect("specialist_loss", "rows of truth", truth.rows(), gate.rows(), "one a sample")?;
        expect("specialist_loss", "y", y.len(), truth.len(), "[samples, future frames * frame size]")?;
        expect("specialist_loss", "pick", pick.len(), gate.rows(), "one a sample")?;
        let ratio = arena.mat(gate.rows(), gate.cols());
        Ok(SpecialistLoss { each, gate, truth, pick, y, ratio, losses })
    }

    fn args(&self) -> Args<T> {
        Args {
            each: self.each.value.into(),
            gate: self.gate.value.into(),
            truth: self.truth.into(),
            pick: self.pick.into(),
            y: self.y.into(),
            ratio: self.ratio.into(),
            losses: self.losses.into(),
            deach: self.each.grad.into(),
            dgate: self.gate.grad.into(),
            b: size(self.gate.rows()),
            x: size(self.truth.cols()),
            e: size(self.gate.cols()),
            pad: 0,
            scalar: Default::default(),
        }
    }

    /// Appends the call that copies the picked expert's prediction to y.
    pub fn predict(&self, plan: &mut Plan) {
        plan.push(Call::new(
            "specialist_predict",
            Grid::items(self.y.rows(), 256),
            &[Output::whole("y")],
            self.args(),
            cpu::predict::<T>,
        ));
    }
}

impl<T: Real> Operation for SpecialistLoss<T> {
    fn forward(&self, plan: &mut Plan) {
        plan.push(Call::new(
            "specialist_loss_forward",
            Grid::one(1024),
            &[Output::whole("ratio"), Output::part("losses")],
            self.args(),
            cpu::forward::<T>,
        ));
    }

    fn backward(&self, plan: &mut Plan) {
        // The experts' predictions are parts of one tensor; each part's gradient has this one
        // writer.
        assert_eq!(
            plan.gradients.accumulate(self.each.grad) + plan.gradients.accumulate(self.gate.grad),
            0,
            "one reader"
        );
        plan.push(Call::new(
            "specialist_loss_backward",
            Grid::items(self.each.rows(), 256),
            &[Output::whole("deach"), Output::whole("dgate")],
            self.args(),
            cpu::backward::<T>,
        ));
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// y = the prediction of the expert picked
    pub fn predict<T: Real>(v: View<'_, T>, _: &Team) {
        for (row, (y, &pick)) in v.y.chunks_exact_mut(v.x).zip(v.pick).enumerate() {
            y.copy_from_slice(&v.each[(pick as usize * v.b + row) * v.x..][..v.x]);
        }
    }

    /// losses\[RECON\] = -mean log sum_e g_e exp(-m_e / 2)
    pub fn forward<T: Real>(v: View<'_, T>, _: &Team) {
        let View { b, x, e, .. } = v;
        let mut sum = 0.0;
        for row in 0..b {
            let truth = &v.truth[row * x..][..x];
            let (ratio, gate) = (&mut v.ratio[row * e..][..e], &v.gate[row * e..][..e]);
            for (expert, ratio) in ratio.iter_mut().enumerate() {
                let y = &v.each[(expert * b + row) * x..][..x];
                *ratio = T::of(-0.5 / x as f64) * vector::squared_distance(y, truth);
            }
            // Only experts the gate gives weight to may set the scale, or all others could
            // underflow.
            let logs = ratio.iter().zip(gate).map(|(&r, &g)| r + g.ln());
            let top = logs.clone().fold(T::neg_infinity(), T::max);
            let log_sum = top + logs.map(|l| (l - top).exp()).sum::<T>().ln();
            // An expert without weight may be better than all others by any factor; its share, g
            // times ratio, stays 0.
            ratio.iter_mut().for_each(|r| *r = (*r - log_sum).exp().min(T::max_value()));
            sum -= log_sum.f64();
        }
        v.losses[slot::RECON] = sum / b as f64;
    }

    /// dgate_e = -ratio_e / B, deach_e = g_e ratio_e (each_e - truth) / (B X)
    pub fn backward<T: Real>(v: View<'_, T>, _: &Team) {
        let View { b, x, e, .. } = v;
        let share = T::of(1.0 / b as f64);
        for row in 0..b {
            let truth = &v.truth[row * x..][..x];
            for expert in 0..e {
                let ratio = v.ratio[row * e + expert];
                v.dgate[row * e + expert] = -ratio * share;
                let scale = v.gate[row * e + expert] * ratio * share / T::of(x as f64);
                let at = (expert * b + row) * x;
                vector::scaled_difference(&mut v.deach[at..][..x], scale, &v.each[at..][..x], truth);
            }
        }
    }
}

//! The next step's condition and truth. At the start of a rollout the condition is the frames
//! before it. Later it is the last condition shifted by one, with the last prediction (student) or
//! the last true frame (teacher) in front; no gradient flows through. Once a loss was not finite,
//! both stay as they are: the step that made it repeats from the same start.
use super::begin_step::StepState;
use super::recon_loss::{LOSSES, slot};
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

crate::kernel_args! {
    reads {
        /// [N, F] normalised frames.
        data: T [n * f],
        /// [M, B] first condition frame of each sample of each mini-batch.
        starts: u32 [m * b],
        /// The states of the steps to come.
        schedule: StepState [entries],
        /// \[0\] is the next entry of the schedule.
        cursor: u32 [2],
        /// [B, K F] the last step's prediction.
        prediction: T [b * k * f],
        /// The losses: see [`slot`]; absent where there are none.
        losses: f64 [LOSSES],
    }
    writes {
        /// [B, C F] newest first.
        condition: T [b * c * f],
        /// [B, K F] oldest first.
        truth: T [b * k * f],
    }
    sizes {
        /// Frames.
        n,
        /// Frame size.
        f,
        /// Mini-batches.
        m,
        /// Samples.
        b,
        /// Condition frames.
        c,
        /// Future predictions.
        k,
        /// Entries of the schedule.
        entries,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// The tensors of [`push`].
#[allow(missing_docs)]
pub struct Window<T> {
    pub data: Mat<T>,
    pub starts: Mat<u32>,
    pub schedule: Mat<StepState>,
    pub cursor: Mat<u32>,
    pub prediction: Mat<T>,
    pub losses: Mat<f64>,
    pub condition: Mat<T>,
    pub truth: Mat<T>,
}

/// Appends the call that fills condition and truth of the schedule's next entry, which is to be
/// made current afterwards.
pub fn push<T: Real>(plan: &mut Plan, w: &Window<T>) {
    let f = w.data.cols();
    let args = Args {
        data: w.data.into(),
        starts: w.starts.into(),
        schedule: w.schedule.into(),
        cursor: w.cursor.into(),
        prediction: w.prediction.into(),
        losses: w.losses.into(),
        condition: w.condition.into(),
        truth: w.truth.into(),
        n: size(w.data.rows()),
        f: size(f),
        m: size(w.starts.rows()),
        b: size(w.truth.rows()),
        c: size(w.condition.cols() / f),
        k: size(w.truth.cols() / f),
        entries: size(w.schedule.len()),
        pad: 0,
        scalar: Default::default(),
    };
    plan.push(Call::new(
        "window",
        Grid::elements(w.truth.rows() * f, 256),
        &[Output::part("condition"), Output::part("truth")],
        args,
        cpu::window::<T>,
    ));
}

/// The definition.
pub mod cpu {
    use super::*;

    /// The condition and truth of the next step. Beyond the end of the data (walks that have no
    /// truth) its last frame is used.
    pub fn window<T: Real>(v: View<'_, T>, _: &Team) {
        if slot::stands_still(v.losses) {
            return;
        }
        let View { f, b, c, k, .. } = v;
        let state = v.schedule[v.cursor[0] as usize];
        let starts = &v.starts[state.minibatch as usize * b..][..b];
        for (row, &start) in starts.iter().enumerate() {
            let condition = &mut v.condition[row * c * f..][..c * f];
            let truth = &mut v.truth[row * k * f..][..k * f];
            let frame = |i: usize| &v.data[i.min(v.n - 1) * f..][..f];
            if state.rollout_step == 0 {
                for (j, to) in condition.chunks_exact_mut(f).enumerate() {
                    to.copy_from_slice(frame(start as usize + c - 1 - j));
                }
            } else {
                condition.copy_within(..(c - 1) * f, f);
                let newest = if state.student == 1 { &v.prediction[row * k * f..][..f] } else { &truth[..f] };
                condition[..f].copy_from_slice(newest);
            }
            for (j, to) in truth.chunks_exact_mut(f).enumerate() {
                to.copy_from_slice(frame(start as usize + c + state.rollout_step as usize + j));
            }
        }
    }
}

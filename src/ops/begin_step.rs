//! The state that changes from step to step. The host writes a schedule of [`StepState`]s; this
//! operation makes the next one current. Once a loss was not finite, the step that made it stays
//! current, so that whatever runs afterwards repeats that step.
use super::recon_loss::{LOSSES, slot};
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::Mat;
pub use crate::plan::state::StepState;
use crate::plan::{Call, Grid, Output, Plan, size};

crate::kernel_args! {
    reads {
        /// The states of the steps to come.
        schedule: StepState [n],
        /// The losses: see [`slot`]; absent where there are none.
        losses: f64 [LOSSES],
    }
    writes {
        /// \[0\] is the next entry of the schedule.
        cursor: u32 [2],
        /// The current step.
        state: StepState [1],
    }
    sizes {
        /// Entries of the schedule.
        n,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// Appends the call that makes the schedule's next entry current.
pub fn push<T: Real>(
    plan: &mut Plan,
    schedule: Mat<StepState>,
    losses: Mat<f64>,
    cursor: Mat<u32>,
    state: Mat<StepState>,
) {
    let args = Args::<T> {
        schedule: schedule.into(),
        losses: losses.into(),
        cursor: cursor.into(),
        state: state.into(),
        n: size(schedule.len()),
        pad: 0,
        scalar: Default::default(),
    };
    plan.push(Call::new(
        "begin_step",
        Grid::one(32),
        &[Output::part("cursor"), Output::part("state")],
        args,
        cpu::begin_step::<T>,
    ));
}

/// The definition.
pub mod cpu {
    use super::*;

    /// state = schedule\[cursor\], cursor += 1; nothing once a loss was not finite
    pub fn begin_step<T: Real>(v: View<'_, T>, _: &Team) {
        if slot::stands_still(v.losses) {
            return;
        }
        v.state[0] = v.schedule[v.cursor[0] as usize];
        v.cursor[0] += 1;
    }
}

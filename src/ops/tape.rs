//! A tape of a rollout: each step writes tensors down, and a pass backward takes them up again in
//! the opposite order. Row `minibatch` of the current step's state belongs to that step.
use super::begin_step::StepState;
use super::expect;
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::plan::arena::{Arena, Mat};
use crate::plan::{Call, Grid, Output, Plan, size};

/// Numbers that one task of the CPU copies.
const TASK: usize = 1 << 14;

crate::kernel_args! {
    reads {
        /// `minibatch` is the row of the tape.
        state: StepState [1],
        /// \[N\], or in `load` [T, N].
        x: T [if load == 1 { t * n } else { n }],
    }
    writes {
        /// [T, N], or in `load` \[N\].
        y: T [if load == 1 { n } else { t * n }],
    }
    sizes {
        /// Rows of the tape.
        t,
        /// Numbers of a row.
        n,
        /// 1: a row of the tape is taken up; 0: it is written down.
        load,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// A tensor [P, N] and its tape [T P, N].
#[derive(Clone, Copy)]
pub struct Tape<T> {
    /// The tensor of the current step.
    pub now: Mat<T>,
    /// Its values in all steps.
    pub all: Mat<T>,
}

impl<T: Real> Tape<T> {
    /// A tape of T = `steps` rows for a tensor.
    pub fn new(arena: &mut Arena, now: Mat<T>, steps: usize) -> Self {
        Tape { now, all: arena.mat(steps * now.rows(), now.cols()) }
    }

    /// A tape that is there already. Errors: it has no whole number of rows.
    pub fn of(now: Mat<T>, all: Mat<T>) -> Result<Self> {
        expect("tape", "rows", all.len() % now.len(), 0, "one a step")?;
        Ok(Tape { now, all })
    }

    /// Appends the call that writes the tensor down.
    pub fn store(&self, plan: &mut Plan, state: Mat<StepState>) {
        self.push(plan, state, false);
    }

    /// Appends the call that takes it up again.
    pub fn load(&self, plan: &mut Plan, state: Mat<StepState>) {
        self.push(plan, state, true);
    }

    fn push(&self, plan: &mut Plan, state: Mat<StepState>, load: bool) {
        let (x, y) = if load { (self.all, self.now) } else { (self.now, self.all) };
        let args = Args {
            state: state.into(),
            x: x.into(),
            y: y.into(),
            t: size(self.all.len() / self.now.len()),
            n: size(self.now.len()),
            load: u32::from(load),
            pad: 0,
            scalar: Default::default(),
        };
        let output = if load { Output::whole("y") } else { Output::part("y") };
        plan.push(Call::new("tape", Grid::elements(self.now.len(), 256), &[output], args, cpu::copy::<T>));
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// y\[row\] = x, or in `load` y = x\[row\]
    pub fn copy<T: Real>(v: View<'_, T>, team: &Team) {
        let row = v.state[0].minibatch as usize * v.n;
        let (x, y) = match v.load {
            1 => (&v.x[row..][..v.n], v.y),
            _ => (v.x, &mut v.y[row..][..v.n]),
        };
        team.each(pieces(y, TASK), |task, y| y.copy_from_slice(&x[task * TASK..][..y.len()]));
    }
}

//! Experience of characters, kept for learning. Each step is written into its row of a rollout
//! (`store`); a mini-batch is picked from all rows in a given order (`gather`).
use super::advantage::OUTCOME;
use super::begin_step::StepState;
use super::ppo_loss::Samples;
use super::{ROWS, axpby};
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::plan::arena::{Arena, Mat};
use crate::plan::{Call, Grid, Output, Plan, size};

/// One step of P characters.
#[allow(missing_docs)]
#[derive(Clone, Copy)]
pub struct Step<T> {
    /// [P, D] observation after the step.
    pub observation: Mat<T>,
    /// [P, A].
    pub action: Mat<T>,
    /// [P, 1].
    pub log_prob: Mat<T>,
    /// [P, OUTCOME].
    pub outcome: Mat<T>,
}

/// A rollout of T steps of P characters; the first observation was there before it.
#[allow(missing_docs)]
#[derive(Clone, Copy)]
pub struct Rollout<T> {
    /// [(T + 1) P, D].
    pub observations: Mat<T>,
    /// [T P, A].
    pub actions: Mat<T>,
    /// [T P, 1].
    pub log_probs: Mat<T>,
    /// [T P, OUTCOME].
    pub outcomes: Mat<T>,
}

impl<T: Real> Rollout<T> {
    /// Lays out T = `steps` steps of P characters, with observations of D numbers and actions of A.
    pub fn new(arena: &mut Arena, (steps, p): (usize, usize), d: usize, a: usize) -> Self {
        Rollout {
            observations: arena.mat((steps + 1) * p, d),
            actions: arena.mat(steps * p, a),
            log_probs: arena.mat(steps * p, 1),
            outcomes: arena.mat(steps * p, OUTCOME),
        }
    }

    /// Appends a copy of the current observations to the front. Errors: shapes that do not fit.
    pub fn begin(&self, plan: &mut Plan, observation: Mat<T>) -> Result<()> {
        let front = self.observations.rows_at(0, observation.rows());
        axpby::push(plan, (1.0, observation), (0.0, Mat::NONE), front)
    }
}

/// Arguments of `experience_store`.
pub mod store {
    use super::*;

    crate::kernel_args! {
        reads {
            /// `minibatch` is the row of the rollout.
            state: StepState [1],
            /// [P, D].
            observation: T [p * d],
            /// [P, A].
            action: T [p * a],
            /// \[P\].
            log_prob: T [p],
            /// [P, OUTCOME].
            outcome: T [p * OUTCOME],
        }
        writes {
            /// [T + 1, P, D].
            observations: T [(t + 1) * p * d],
            /// [T, P, A].
            actions: T [t * p * a],
            /// [T, P].
            log_probs: T [t * p],
            /// [T, P, OUTCOME].
            outcomes: T [t * p * OUTCOME],
        }
        sizes {
            /// Steps of the rollout.
            t,
            /// Characters.
            p,
            /// Numbers of an observation.
            d,
            /// Entries of an action.
            a,
        }
    }

    /// Appends the call that writes the current step into its row.
    pub fn push<T: Real>(plan: &mut Plan, state: Mat<StepState>, step: &Step<T>, rollout: &Rollout<T>) {
        let p = step.observation.rows();
        let args = Args {
            state: state.into(),
            observation: step.observation.into(),
            action: step.action.into(),
            log_prob: step.log_prob.into(),
            outcome: step.outcome.into(),
            observations: rollout.observations.into(),
            actions: rollout.actions.into(),
            log_probs: rollout.log_probs.into(),
            outcomes: rollout.outcomes.into(),
            t: size(rollout.actions.rows() / p),
            p: size(p),
            d: size(step.observation.cols()),
            a: size(step.action.cols()),
            scalar: Default::default(),
        };
        let writes = ["observations", "actions", "log_probs", "outcomes"].map(Output::part);
        plan.push(Call::new("experience_store", Grid::elements(step.observation.len(), 256), &writes, args, cpu::<T>));
    }

    /// The definition: row t, and of the observations row t + 1.
    pub fn cpu<T: Real>(v: View<'_, T>, _: &Team) {
        let t = v.state[0].minibatch as usize;
        v.observations[(t + 1) * v.p * v.d..][..v.p * v.d].copy_from_slice(v.observation);
        v.actions[t * v.p * v.a..][..v.p * v.a].copy_from_slice(v.action);
        v.log_probs[t * v.p..][..v.p].copy_from_slice(v.log_prob);
        v.outcomes[t * v.p * OUTCOME..][..v.p * OUTCOME].copy_from_slice(v.outcome);
    }
}

/// Arguments of `experience_gather`.
pub(crate) mod gather {
    use super::*;

    crate::kernel_args! {
        reads {
            /// `minibatch` is the place of the first sample in the order.
            state: StepState [1],
            /// \[M\] samples in the order in which they are learned from.
            order: u32 [m],
            /// [N, D].
            observations: T [n * d],
            /// [N, A].
            actions: T [n * a],
            /// \[N\].
            log_probs: T [n],
            /// \[N\].
            returns: T [n],
            /// \[N\].
            advantages: T [n],
        }
        writes {
            /// [B, D].
            observation: T [b * d],
            /// [B, A].
            action: T [b * a],
            /// \[B\].
            log_prob: T [b],
            /// \[B\].
            ret: T [b],
            /// \[B\].
            advantage: T [b],
        }
        sizes {
            /// Entries of the order.
            m,
            /// Samples there are.
            n,
            /// Samples of a mini-batch.
            b,
            /// Numbers of an observation.
            d,
            /// Entries of an action.
            a,
            /// Keeps the number of sizes even.
            pad,
        }
    }

    /// Appends the call that fills a mini-batch. `returns` and `advantages` have one entry for each
    /// sample.
    pub fn push<T: Real>(
        plan: &mut Plan,
        (state, order): (Mat<StepState>, Mat<u32>),
        rollout: &Rollout<T>,
        (returns, advantages): (Mat<T>, Mat<T>),
        (observation, samples): (Mat<T>, &Samples<T>),
    ) {
        let args = Args {
            state: state.into(),
            order: order.into(),
            observations: rollout.observations.into(),
            actions: rollout.actions.into(),
            log_probs: rollout.log_probs.into(),
            returns: returns.into(),
            advantages: advantages.into(),
            observation: observation.into(),
            action: samples.action.into(),
            log_prob: samples.old_log_prob.into(),
            ret: samples.returns.into(),
            advantage: samples.advantages.into(),
            m: size(order.len()),
            n: size(rollout.actions.rows()),
            b: size(observation.rows()),
            d: size(observation.cols()),
            a: size(rollout.actions.cols()),
            pad: 0,
            scalar: Default::default(),
        };
        let writes = ["observation", "action", "log_prob", "ret", "advantage"].map(Output::whole);
        plan.push(Call::new("experience_gather", Grid::elements(observation.len(), 256), &writes, args, cpu::<T>));
    }

    /// The definition: row i of the mini-batch is sample order\[first + i\].
    pub fn cpu<T: Real>(v: View<'_, T>, team: &Team) {
        let samples = &v.order[v.state[0].minibatch as usize..][..v.b];
        let (d, a) = (v.d, v.a);
        let rows = (pieces(v.observation, ROWS * d), pieces(v.action, ROWS * a));
        let numbers = (pieces(v.log_prob, ROWS), pieces(v.ret, ROWS), pieces(v.advantage, ROWS));
        team.each((rows, numbers), |task, ((observation, action), (log_prob, ret, advantage))| {
            for (row, &sample) in samples[task * ROWS..].iter().take(ret.len()).enumerate() {
                let i = sample as usize;
                observation[row * d..][..d].copy_from_slice(&v.observations[i * d..][..d]);
                action[row * a..][..a].copy_from_slice(&v.actions[i * a..][..a]);
                log_prob[row] = v.log_probs[i];
                ret[row] = v.returns[i];
                advantage[row] = v.advantages[i];
            }
        });
    }
}

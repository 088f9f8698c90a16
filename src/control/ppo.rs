//! Proximal policy optimization (Schulman et al. 2017) as plans: estimates of returns and
//! advantages of a rollout, then optimizer steps on mini-batches of it.
use super::policy::Perceptron;
use crate::Result;
use crate::backend::Memory;
use crate::config::MAX_MATRIX;
use crate::cpu::real::Real;
use crate::model::layout::Parameters;
use crate::model::network::Wanted;
use crate::ops::adam::{self, Adam};
use crate::ops::advantage::{self, Advantage};
use crate::ops::begin_step::{self, StepState};
use crate::ops::epoch_sums::EpochSums;
use crate::ops::experience::{Rollout, gather};
use crate::ops::ppo_loss::{PpoLoss, Samples, slot};
use crate::ops::recon_loss::LOSSES;
use crate::ops::{Operation, axpby, clip_grad};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};

/// Observations in one forward pass of the critic.
const CRITIC_ROWS: usize = 4096;

/// Parameters of an [`Learning`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PpoOptions {
    /// P: characters side by side.
    pub characters: usize,
    /// T: steps of a rollout.
    pub steps: usize,
    /// Samples of a mini-batch; the last of an epoch may have fewer.
    pub minibatch: usize,
    /// Epochs: passes over each rollout.
    pub epochs: usize,
    /// Discount of rewards.
    pub gamma: f64,
    /// Decay of the advantage estimator; `None`: plain discounted returns.
    pub lambda: Option<f64>,
    /// Factor of the rewards.
    pub reward_scale: f64,
    /// Largest distance of the probability ratio from 1.
    pub clip: f64,
    /// Weight of the entropy.
    pub entropy_weight: f64,
    /// Weight of the squares of the policy's mean.
    pub mean_weight: f64,
    /// Largest norm of the gradient.
    pub max_grad_norm: f64,
    /// Adam: beta1, beta2, eps.
    pub adam: [f64; 3],
    /// Whether the critic has a learning-rate schedule of its own.
    pub own_critic_schedule: bool,
}

impl PpoOptions {
    /// Mini-batches of an epoch.
    pub fn minibatches(&self) -> usize {
        (self.characters * self.steps).div_ceil(self.minibatch)
    }
}

/// The tensors of an update, and its plans.
pub struct Learning<T> {
    /// The rollout: observations, actions and outcomes.
    pub rollout: Rollout<T>,
    /// [(T + 1) P, 1] the critic's value V of each observation.
    pub values: Mat<T>,
    /// [T, P] returns R.
    pub returns: Mat<T>,
    /// [T, P] normalised advantages.
    pub advantages: Mat<T>,
    /// [epochs T P] the samples in the order of learning.
    pub order: Mat<u32>,
    /// States of the optimizer steps, one a mini-batch.
    pub schedule: Mat<StepState>,
    /// States of the critic's optimizer steps, if it has a schedule of its own.
    pub critic_schedule: Mat<StepState>,
    /// \[0\] the index of the next entry of each schedule.
    pub cursors: [Mat<u32>; 2],
    /// Losses of a step; see [`crate::ops::ppo_loss::slot`].
    pub losses: Mat<f64>,
    /// Sums of losses and gradient norms over the mini-batches so far.
    pub sums: Mat<f64>,
    /// Partial sums of the squared gradient, before it is clipped.
    pub squares: Mat<f64>,
    /// Weights of the entropy and of the squares of the policy's mean.
    weights: [f64; 2],
    /// Plan that computes values of all observations, returns and advantages.
    pub estimate: Plan,
    /// Plan of an optimizer step on a whole mini-batch.
    pub step: Plan,
    /// Plan of an optimizer step on the shorter last mini-batch, if there is one.
    pub rest: Option<Plan>,
}

/// Index of the gradient norm in [`Learning::sums`], after the losses.
pub(crate) const GRAD_NORM: usize = LOSSES;

impl<T: Real> Learning<T> {
    /// Lays out an update of the policy's `parameters`, with observations of `observation` numbers.
    /// Errors: shapes that do not fit.
    pub fn new(arena: &mut Arena, parameters: &Parameters<T>, observation: usize, o: &PpoOptions) -> Result<Self> {
        let (t, p, n) = (o.steps, o.characters, o.steps * o.characters);
        let logstd = parameters.var("dist.logstd._bias");
        let action = logstd.rows();
        let rollout = Rollout::new(arena, (t, p), observation, action);
        let values = arena.mat((t + 1) * p, 1);
        let [returns, advantages] = [(); 2].map(|()| arena.mat(t, p));
        let estimate = estimate(arena, parameters, &rollout, values, (returns, advantages), o)?;

        let rows = o.minibatch.min(n);
        let (order, schedule) = (arena.mat(1, o.epochs * n), arena.mat(1, o.epochs * o.minibatches()));
        let critic_schedule = if o.own_critic_schedule { arena.mat(1, schedule.len()) } else { Mat::NONE };
        let cursors = [(); 2].map(|()| arena.mat(1, 2));
        let ([state, critic_state], losses) = ([(); 2].map(|()| arena.mat(1, 1)), arena.mat(1, LOSSES));
        let squares = arena.mat(1, parameters.grads.len().div_ceil(clip_grad::CHUNK));
        // Actor and critic apart, or both as one.
        let (whole, critic) = (parameters.trainable().len(), parameters.first("critic.0.weight"));
        let learners = match o.own_critic_schedule {
            true => vec![(0..critic, state), (critic..whole, critic_state)],
            false => vec![(0..whole, state)],
        };
        let (mu, sigma, gate) = (Mat::<T>::NONE, Mat::NONE, Mat::NONE);
        let sum = EpochSums { losses, kl: Mat::NONE, mu, sigma, gate, code: Mat::NONE, squares, experts: 0 };
        let sums = sum.place(arena);
        let batch = arena.mat(rows, observation);
        let samples = Samples {
            action: arena.mat(rows, action),
            old_log_prob: arena.mat(rows, 1),
            returns: arena.mat(rows, 1),
            advantages: arena.mat(rows, 1),
        };
        let ratio = arena.mat(rows, 1);

        let mut step_on = |rows: usize| -> Result<Plan> {
            let part = |mat: Mat<T>| mat.rows_at(0, rows);
            let batch = part(batch);
            let samples = Samples {
                action: part(samples.action),
                old_log_prob: part(samples.old_log_prob),
                returns: part(samples.returns),
                advantages: part(samples.advantages),
            };
            let actor = Perceptron::actor(arena, parameters, Var::constant(batch), Var::none(), Wanted::Parameters)?;
            let critic = Perceptron::critic(arena, parameters, Var::constant(batch), Wanted::Parameters)?;
            let (mean, value, ratio) = (actor.y, critic.y, part(ratio));
            let PpoOptions { clip, entropy_weight, mean_weight, max_grad_norm, adam: [beta1, beta2, eps], .. } = *o;
            let loss =
                PpoLoss { state, mean, logstd, value, samples, ratio, losses, clip, entropy_weight, mean_weight }
                    .check()?;
            let mut plan = Plan::default();
            begin_step::push::<T>(&mut plan, schedule, losses, cursors[0], state);
            if o.own_critic_schedule {
                begin_step::push::<T>(&mut plan, critic_schedule, losses, cursors[1], critic_state);
            }
            gather::push(&mut plan, (state, order), &rollout, (returns, advantages), (batch, &samples));
            actor.forward(&mut plan);
            critic.forward(&mut plan);
            loss.forward(&mut plan);
            loss.backward(&mut plan);
            critic.backward(&mut plan);
            actor.backward(&mut plan);
            clip_grad::push(&mut plan, parameters.grads, squares, max_grad_norm)?;
            for (range, state) in learners.clone() {
                let [param, grad, m, v] = parameters.range(&range);
                let squares = arena.mat(1, range.len().div_ceil(adam::CHUNK));
                adam::push(&mut plan, &Adam { param, grad, m, v, squares, state, losses, beta1, beta2, eps });
            }
            sum.push(&mut plan, sums);
            Ok(plan)
        };
        let step = step_on(rows)?;
        let rest = if n.is_multiple_of(rows) { None } else { Some(step_on(n % rows)?) };
        Ok(Learning {
            rollout,
            values,
            returns,
            advantages,
            order,
            schedule,
            critic_schedule,
            cursors,
            losses,
            sums,
            squares,
            weights: [o.entropy_weight, o.mean_weight],
            estimate,
            step,
            rest,
        })
    }

    /// The actor's loss -mean min(r A, clip(r) A), computed from the losses of a step or from sums
    /// of them.
    pub fn action_loss(&self, losses: &[f64]) -> f64 {
        let [entropy, square] = self.weights;
        losses[slot::POLICY] + entropy * losses[slot::ENTROPY] - square * losses[slot::SQUARE]
    }

    /// Goes back to the beginning of the schedules. Errors: those of the backend.
    pub fn rewind(&self, memory: &mut Memory) -> Result<()> {
        self.cursors.into_iter().try_for_each(|cursor| memory.write(cursor, &[0, 0]))
    }
}

/// The plan of [`Learning::estimate`]: the critic over all observations, piece by piece, then
/// returns and advantages.
fn estimate<T: Real>(
    arena: &mut Arena,
    parameters: &Parameters<T>,
    rollout: &Rollout<T>,
    values: Mat<T>,
    (returns, advantages): (Mat<T>, Mat<T>),
    o: &PpoOptions,
) -> Result<Plan> {
    let mut plan = Plan::default();
    let all = values.rows();
    let rows = CRITIC_ROWS.min(all).min((MAX_MATRIX / rollout.observations.cols()).max(1));
    let piece = arena.mat(rows, rollout.observations.cols());
    for (rows, pieces) in [(rows, all / rows), (all % rows, 1)].into_iter().filter(|(rows, _)| *rows > 0) {
        let critic = Perceptron::critic(arena, parameters, Var::constant(piece.rows_at(0, rows)), Wanted::Nothing)?;
        for i in 0..pieces {
            let first = if rows == piece.rows() { i * rows } else { all - rows };
            let from = rollout.observations.rows_at(first, rows);
            axpby::push(&mut plan, (1.0, from), (0.0, Mat::NONE), piece.rows_at(0, rows))?;
            critic.forward(&mut plan);
            axpby::push(&mut plan, (1.0, critic.y.value), (0.0, Mat::NONE), values.rows_at(first, rows))?;
        }
    }
    let PpoOptions { gamma, lambda, reward_scale, .. } = *o;
    let outcomes = rollout.outcomes;
    advantage::push(&mut plan, &Advantage { outcomes, values, returns, advantages, gamma, lambda, reward_scale })?;
    Ok(plan)
}

//! Short-horizon actor-critic (Xu et al., "Accelerated Policy Learning with Parallel Differentiable
//! Simulation", ICLR 2022) as plans. The decoder, the motion of the root, rewards, costs and
//! observations are differentiable, so the gradient of what T steps bring flows back through them
//! to the actor. The critic says what comes after; it learns by regression on its own estimates.
//!
//! An update has five parts:
//!
//! - a rollout, whose values go on tapes;
//! - the critic's values, and their gradients by the observations;
//! - the way back from the last step to the first;
//! - one step of Adam for the actor;
//! - a few epochs of mini-batches for the critic.
use super::policy::Perceptron;
use super::stage::Stage;
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
use crate::ops::ppo_loss::Samples;
use crate::ops::recon_loss::{LOSSES, ReconLoss};
use crate::ops::tape::Tape;
use crate::ops::{Operation, axpby, clip_grad, gaussian_action, horizon};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};

/// Observations in one pass of the critic.
const CRITIC_ROWS: usize = 4096;

/// Parameters of a [`Shac`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShacOptions {
    /// T: steps of a rollout.
    pub steps: usize,
    /// Samples of a mini-batch of the critic; the last of an epoch may have fewer.
    pub minibatch: usize,
    /// Epochs of the critic: passes over each rollout.
    pub epochs: usize,
    /// Discount of rewards.
    pub gamma: f64,
    /// Decay of the estimator of returns; `None`: plain discounted returns.
    pub lambda: Option<f64>,
    /// Factor of the rewards in values.
    pub reward_scale: f64,
    /// Weight of the squares of the policy's mean.
    pub mean_weight: f64,
    /// Largest norm of the actor's gradient.
    pub max_grad_norm: f64,
    /// Adam: beta1, beta2, eps.
    pub adam: [f64; 3],
}

/// The tensors of an update, and its plans.
pub struct Shac<T> {
    /// The rollout: observations, actions and outcomes.
    pub rollout: Rollout<T>,
    /// [epochs T P] the samples in the order in which the critic learns.
    pub order: Mat<u32>,
    /// States of the critic's steps, one a mini-batch.
    pub schedule: Mat<StepState>,
    /// State of the actor's step.
    pub actor_schedule: Mat<StepState>,
    /// \[0\] the index of the next entry of each schedule.
    cursors: [Mat<u32>; 2],
    /// Loss of the critic's last step; see
    /// [`slot`](crate::ops::recon_loss::slot).
    pub losses: Mat<f64>,
    /// Sums of the critic's losses over the steps of an update.
    pub sums: Mat<f64>,
    /// Partial sums of the actor's squared gradient, before it is clipped.
    pub squares: Mat<f64>,
    /// [T, P] derivative of the loss by each reward.
    pub rewards: Mat<T>,
    /// [(T + 1) P, 1] the critic's values, and the derivative of the loss by each.
    pub values: Var<T>,
    /// [T P, A] means of the policy.
    pub means: Mat<T>,
    /// The tensors that start the way back as zeros.
    zeros: [Mat<T>; 3],
    /// The tapes on which a step writes what held before it.
    before: Vec<Tape<T>>,
    /// The tapes on which it writes what it has made.
    after: Vec<Tape<T>>,
    /// Plan that computes values, returns, and gradients of the values by the observations.
    pub estimate: Plan,
    /// Plan that starts the way back at the last observation.
    pub end: Plan,
    /// Plan of the way back through one step; the steps come in the opposite order.
    pub pull: Plan,
    /// Plan of the actor's gradients, clipped.
    pub gradients: Plan,
    /// Plan of the actor's step.
    pub act: Plan,
    /// Plan of a critic's step on a whole mini-batch.
    pub step: Plan,
    /// Plan of a critic's step on the shorter last mini-batch, if there is one.
    pub rest: Option<Plan>,
}

impl<T: Real> Shac<T> {
    /// Goes back to the beginning of the schedules, and of the way back. Errors: those of the
    /// backend.
    pub fn rewind(&self, memory: &mut Memory) -> Result<()> {
        self.cursors.into_iter().try_for_each(|cursor| memory.write(cursor, &[0, 0]))?;
        self.zeros.into_iter().try_for_each(|mat| memory.write(mat, &vec![T::zero(); mat.len()]))
    }

    /// Appends the calls that write down what holds before a step.
    pub fn before(&self, plan: &mut Plan, stage: &Stage<T>) {
        self.before.iter().for_each(|tape| tape.store(plan, stage.state));
    }

    /// Appends the calls that write down what a step has made.
    pub fn after(&self, plan: &mut Plan, stage: &Stage<T>) {
        stage.keep(plan, &self.rollout);
        self.after.iter().for_each(|tape| tape.store(plan, stage.state));
    }

    /// Lays out an update of the policy's `parameters`, whose characters explore on `stage`.
    /// Errors: shapes that do not fit, a task whose reward has no derivatives.
    pub fn new(arena: &mut Arena, parameters: &Parameters<T>, stage: &Stage<T>, o: &ShacOptions) -> Result<Self> {
        let (env, actor, state) = (&stage.environment, &stage.actor, stage.state);
        let back = env.back.as_ref().expect("a stage with a way back");
        let (live, ghost) = (&env.world, &back.before);
        let (p, t) = (env.action.rows(), o.steps);
        let n = t * p;
        let (seen, action) = (env.observation.cols(), env.action.cols());
        let rollout = Rollout::new(arena, (t, p), seen, action);
        let [rewards, returns, advantages] = [(); 3].map(|()| arena.mat(t, p));
        let values = Var { value: arena.mat((t + 1) * p, 1), grad: arena.mat((t + 1) * p, 1) };
        let dobservations = arena.mat((t + 1) * p, seen);

        // What a step writes down, and where the way back takes it up.
        let mut of = |pairs: Vec<(Mat<T>, Mat<T>)>| -> (Vec<Tape<T>>, Vec<Tape<T>>) {
            let pairs = pairs.into_iter().filter(|(now, _)| !now.is_none());
            let both = |(now, later)| {
                let tape = Tape::new(arena, now, t);
                (tape, Tape { now: later, ..tape })
            };
            pairs.map(both).unzip()
        };
        let mut state_of = vec![(live.root, ghost.root), (live.facing, ghost.facing), (live.feet, ghost.feet)];
        state_of.extend([(live.own, ghost.own), (live.observation, ghost.observation)]);
        let (before, loaded) = of(state_of);
        let kept = env.network.kept().iter().copied().chain([live.frames, env.network.condition]);
        let (mut after, _) = of(kept.map(|mat| (mat, mat)).collect());
        let tapes: Vec<_> = actor.outputs().iter().map(|y| Tape::new(arena, y.value, t)).collect();
        let dtapes: Vec<_> = actor.outputs().iter().map(|y| Tape::new(arena, y.grad, t)).collect();
        let means = tapes.last().expect("four layers").all;
        after.extend(&tapes);

        let mut pull = Plan::default();
        stage.first(&mut pull);
        let rows = [
            Tape::of(ghost.outcome, rollout.outcomes)?,
            Tape::of(back.action.value, rollout.actions)?,
            Tape::of(back.pull.weight, rewards)?,
            Tape::of(back.observation.grad, dobservations)?,
        ];
        let observed = Tape::of(back.observation.value, rollout.observations)?;
        let apart = back.observation.value.offset() != ghost.observation.offset();
        let rows = rows.iter().chain(apart.then_some(&observed)).chain(&loaded).chain(&after);
        rows.for_each(|tape| tape.load(&mut pull, state));
        env.pull(&mut pull, back)?;
        let square = 2.0 * o.mean_weight / n as f64;
        let mean = actor.y;
        gaussian_action::backward(&mut pull, (back.action.value, back.action.grad), square, (mean.value, mean.grad))?;
        pull.gradients.accumulate(back.observation.grad);
        actor.backward(&mut pull);
        dtapes.iter().for_each(|tape| tape.store(&mut pull, state));
        env.pull_observation(&mut pull, back)?;

        let mut end = Plan::default();
        let copies = [(live.root, ghost.root), (live.facing, ghost.facing), (live.own, ghost.own)];
        let seen_last = [(live.observation, ghost.observation), (env.observation, back.observation.value)];
        let last = (dobservations.rows_at(n, p), back.observation.grad);
        let all = copies.into_iter().chain(seen_last.into_iter().take(1 + usize::from(apart))).chain([last]);
        for (from, to) in all.filter(|(from, _)| !from.is_none()) {
            axpby::push(&mut end, (1.0, from), (0.0, Mat::NONE), to)?;
        }
        env.pull_observation(&mut end, back)?;

        let mut learner = Learner { arena, parameters, o, rollout };
        let estimate = learner.estimate(values, dobservations, rewards, (returns, advantages))?;
        let layers = tapes.iter().zip(&dtapes).map(|(y, dy)| Var { value: y.all, grad: dy.all }).collect();
        let whole = Perceptron::of_actor(parameters, rollout.observations.rows_at(0, n), layers)?;
        let mut gradients = Plan::default();
        whole.weight_gradients(&mut gradients);
        let actor_part = 0..parameters.first("critic.0.weight");
        let [_, grads, ..] = parameters.range(&actor_part);
        let squares = learner.arena.mat(1, grads.len().div_ceil(clip_grad::CHUNK));
        clip_grad::push(&mut gradients, grads, squares, o.max_grad_norm)?;

        let critic = learner.critic((returns, advantages), squares)?;
        let (actor_schedule, actor_cursor) = (arena.mat(1, 1), arena.mat(1, 2));
        let actor_state = arena.mat(1, 1);
        let mut act = Plan::default();
        begin_step::push::<T>(&mut act, actor_schedule, Mat::NONE, actor_cursor, actor_state);
        adam_step(arena, &mut act, parameters, &actor_part, (actor_state, critic.losses), o.adam);
        Ok(Shac {
            rollout,
            order: critic.order,
            schedule: critic.schedule,
            actor_schedule,
            cursors: [critic.cursor, actor_cursor],
            losses: critic.losses,
            sums: critic.sums,
            squares,
            rewards,
            values,
            means,
            zeros: [back.pull.dhistory, back.pull.droot, back.pull.dfacing],
            before,
            after,
            estimate,
            end,
            pull,
            gradients,
            act,
            step: critic.step,
            rest: critic.rest,
        })
    }
}

/// Appends a step of Adam on a range of the parameters.
fn adam_step<T: Real>(
    arena: &mut Arena,
    plan: &mut Plan,
    parameters: &Parameters<T>,
    range: &std::ops::Range<usize>,
    (state, losses): (Mat<StepState>, Mat<f64>),
    [beta1, beta2, eps]: [f64; 3],
) {
    let [param, grad, m, v] = parameters.range(range);
    let squares = arena.mat(1, range.len().div_ceil(adam::CHUNK));
    adam::push(plan, &Adam { param, grad, m, v, squares, state, losses, beta1, beta2, eps });
}

/// The critic's tensors and plans.
struct Critic {
    order: Mat<u32>,
    schedule: Mat<StepState>,
    cursor: Mat<u32>,
    losses: Mat<f64>,
    sums: Mat<f64>,
    step: Plan,
    rest: Option<Plan>,
}

/// The builder of the plans of the critic.
struct Learner<'a, T> {
    arena: &'a mut Arena,
    parameters: &'a Parameters<T>,
    o: &'a ShacOptions,
    rollout: Rollout<T>,
}

impl<T: Real> Learner<'_, T> {
    /// The plan of values and returns, and of the derivatives of the loss by rewards and
    /// observations.
    fn estimate(
        &mut self,
        values: Var<T>,
        dobservations: Mat<T>,
        rewards: Mat<T>,
        (returns, advantages): (Mat<T>, Mat<T>),
    ) -> Result<Plan> {
        let (mut plan, o) = (Plan::default(), self.o);
        let (observations, outcomes) = (self.rollout.observations, self.rollout.outcomes);
        horizon::push(&mut plan, outcomes, (rewards, values.grad), (o.gamma, o.reward_scale))?;
        let all = observations.rows();
        let rows = CRITIC_ROWS.min(all).min((MAX_MATRIX / observations.cols()).max(1));
        for (rows, pieces) in [(rows, all / rows), (all % rows, 1)].into_iter().filter(|(rows, _)| *rows > 0) {
            let piece = self.arena.var(rows, observations.cols());
            let critic = Perceptron::critic(self.arena, self.parameters, piece, Wanted::Inputs)?;
            for i in 0..pieces {
                let first = if rows * pieces + rows > all { all - rows * (pieces - i) } else { i * rows };
                // Each piece has a book of gradients of its own.
                plan.gradients = Default::default();
                let copy = |plan: &mut Plan, from, to| axpby::push(plan, (1.0, from), (0.0, Mat::NONE), to);
                copy(&mut plan, observations.rows_at(first, rows), piece.value)?;
                critic.forward(&mut plan);
                copy(&mut plan, critic.y.value, values.value.rows_at(first, rows))?;
                copy(&mut plan, values.grad.rows_at(first, rows), critic.y.grad)?;
                critic.backward(&mut plan);
                copy(&mut plan, piece.grad, dobservations.rows_at(first, rows))?;
            }
        }
        let (gamma, lambda, reward_scale) = (o.gamma, o.lambda, o.reward_scale);
        let values = values.value;
        advantage::push(&mut plan, &Advantage { outcomes, values, returns, advantages, gamma, lambda, reward_scale })?;
        Ok(plan)
    }

    /// The critic's learning.
    fn critic(&mut self, (returns, advantages): (Mat<T>, Mat<T>), squares: Mat<f64>) -> Result<Critic> {
        let (o, rollout) = (self.o, self.rollout);
        let n = rollout.actions.rows();
        let rows = o.minibatch.min(n);
        let (order, count) = (self.arena.mat(1, o.epochs * n), o.epochs * n.div_ceil(o.minibatch));
        let (schedule, cursor, state) = (self.arena.mat(1, count), self.arena.mat(1, 2), self.arena.mat(1, 1));
        let losses = self.arena.mat(1, LOSSES);
        let (mu, sigma, gate) = (Mat::<T>::NONE, Mat::NONE, Mat::NONE);
        let sum = EpochSums { losses, kl: Mat::NONE, mu, sigma, gate, code: Mat::NONE, squares, experts: 0 };
        let sums = sum.place(self.arena);
        let batch = self.arena.mat(rows, rollout.observations.cols());
        let [old_log_prob, target, advantage] = [(); 3].map(|()| self.arena.mat(rows, 1));
        let action = self.arena.mat(rows, rollout.actions.cols());
        let part = self.parameters.first("critic.0.weight")..self.parameters.trainable().len();
        let mut step_on = |rows: usize| -> Result<Plan> {
            let of = |mat: Mat<T>| mat.rows_at(0, rows);
            let samples = Samples {
                action: of(action),
                old_log_prob: of(old_log_prob),
                returns: of(target),
                advantages: of(advantage),
            };
            let batch = of(batch);
            let critic = Perceptron::critic(self.arena, self.parameters, Var::constant(batch), Wanted::Parameters)?;
            let critic = critic.toward(samples.returns)?;
            let mut plan = Plan::default();
            begin_step::push::<T>(&mut plan, schedule, losses, cursor, state);
            gather::push(&mut plan, (state, order), &rollout, (returns, advantages), (batch, &samples));
            critic.forward(&mut plan);
            ReconLoss::new(critic.y.value, samples.returns, losses)?.forward(&mut plan);
            critic.backward(&mut plan);
            adam_step(self.arena, &mut plan, self.parameters, &part, (state, losses), o.adam);
            sum.push(&mut plan, sums);
            Ok(plan)
        };
        let step = step_on(rows)?;
        let rest = if n.is_multiple_of(rows) { None } else { Some(step_on(n % rows)?) };
        Ok(Critic { order, schedule, cursor, losses, sums, step, rest })
    }
}

//! The frozen decoder as a world: an action becomes a latent, the latent becomes the next frames,
//! and the frames move the characters.
use super::policy::Perceptron;
use crate::Result;
use crate::backend::Memory;
use crate::config::{ModelConfig, Variant};
use crate::cpu::real::Real;
use crate::model::layout::Parameters;
use crate::model::network::{Network, Wanted};
use crate::ops::begin_step::StepState;
use crate::ops::costs::{Costs, Stepped};
use crate::ops::noise::{normal, uniform};
use crate::ops::world::pull::Pull;
use crate::ops::world::task::Draws;
use crate::ops::world::{Rules, Sizes, Task, World};
use crate::ops::{axpby, log_length, rescale};
use crate::philox::Purpose;
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};

/// Factor from an action, which lies in [-1, 1], to a latent.
const ACTION_SCALE: f64 = 4.0;
/// Share of noise in the latent of a walk.
const NOISE_SHARE: f64 = 0.5;
/// Factor from an action that is a goal to its position, body units.
const GOAL_SCALE: f64 = 40.0;

/// Parameters of an [`Environment`].
pub struct EnvironmentOptions<'a> {
    /// The decoder's sizes.
    pub model: &'a ModelConfig,
    /// Rules of the task and measures of the body.
    pub rules: Rules,
    /// P: characters side by side.
    pub characters: usize,
    /// Predicted frames applied for each action.
    pub frame_skip: usize,
    /// Number of poses (conditions) to start from.
    pub poses: usize,
    /// Number of points of the path, or of ends of walls.
    pub course: usize,
    /// Whether observations are normalised: poses as the decoder sees them, vectors by
    /// [`log_length`].
    pub normalize: bool,
    /// The costs of a step.
    pub costs: Costs,
    /// Whether there is a way back through a step: gradients of its inputs, or none.
    pub wanted: Wanted,
}

/// The policy of the lower level, which walks to the goal that an action is.
pub struct Lower<'a, T> {
    /// Its tensors.
    pub parameters: &'a Parameters<T>,
    /// Whether the policy was trained on normalised observations.
    pub normalized: bool,
}

/// Characters, and the decoder that moves them.
pub struct Environment<T> {
    /// The characters.
    pub world: World<T>,
    /// The decoder over all characters.
    pub network: Network<T>,
    /// [P, D] the policy's observations.
    pub observation: Mat<T>,
    /// [P, A] the policy's actions.
    pub action: Mat<T>,
    /// Scale and shift that normalise poses, then scale and shift that undo it, each \[F\].
    pub normalization: [Mat<T>; 4],
    /// Scale and shift of observations, each \[D\]; `None` if observations are not normalised.
    pub scaling: Option<[Mat<T>; 2]>,
    /// The lower level, if there is one: the goal, its unit where observations are normalised, and
    /// the actor.
    goal: Option<(Mat<T>, Option<f64>, Perceptron<T>)>,
    /// Predicted frames applied for each action.
    pub frame_skip: usize,
    /// The costs of a step.
    pub costs: Costs,
    /// [1, 1] share of the costs that counts now.
    pub cost_share: Mat<T>,
    /// The way back through a step, if there is one.
    pub back: Option<Back<T>>,
}

/// The way back through a step of characters. It has tensors of its own for what held before the
/// step, so that the characters stay where they are.
pub struct Back<T> {
    /// The characters before the step: root, facing, feet, own numbers and raw observation; and the
    /// outcome of the step.
    pub before: World<T>,
    /// [P, D] the policy's observation before the step.
    pub observation: Var<T>,
    /// [P, A] the action.
    pub action: Var<T>,
    /// Derivatives by the state.
    pub pull: Pull<T>,
}

impl<T: Real> Back<T> {
    fn new(arena: &mut Arena, world: &World<T>, observation: Mat<T>, actions: usize) -> Self {
        let mut like = |mat: Mat<T>| arena.mat(mat.rows(), mat.cols());
        let before = World {
            root: like(world.root),
            facing: like(world.facing),
            feet: like(world.feet),
            own: like(world.own),
            outcome: like(world.outcome),
            observation: like(world.observation),
            ..*world
        };
        let normalized = observation.offset() != world.observation.offset();
        let value = if normalized { like(observation) } else { before.observation };
        let pull = Pull::new(arena, &before);
        let grad = if normalized { arena.mat(value.rows(), value.cols()) } else { pull.dseen };
        Back { before, observation: Var { value, grad }, action: arena.var(value.rows(), actions), pull }
    }
}

/// Number of entries of an action.
pub fn action_size(task: Task, model: &ModelConfig) -> usize {
    match (task.info().lower, model.variant) {
        (Some(_), _) => 2,
        (None, Variant::Vq) => model.codes,
        (None, _) => model.latent_size,
    }
}

/// The factor of a task's `task` numbers in a normalised observation, beside the `pose` numbers of
/// the pose. It is the square root of the factor that gives both the same weight. A policy that
/// sees two numbers beside hundreds takes long to learn to use them.
pub(crate) fn task_gain(pose: usize, task: usize) -> f64 {
    (pose as f64 / task as f64).sqrt().sqrt()
}

impl<T: Real> Environment<T> {
    /// Lays out an environment. `state` is the current step, `controller` the policy of the lower
    /// level. Errors: shapes that do not fit.
    pub fn new(
        arena: &mut Arena,
        decoder: &Parameters<T>,
        controller: Option<Lower<T>>,
        state: Mat<StepState>,
        o: &EnvironmentOptions,
    ) -> Result<Self> {
        let (m, p) = (o.model, o.characters);
        let network = Network::new(arena, decoder, m, p, 0.0, o.wanted)?;
        let latent = if network.action.is_none() { network.z.value } else { network.action };
        let sizes = Sizes {
            characters: p,
            frame_size: m.frame_size,
            condition_frames: m.condition_frames,
            future_predictions: m.future_predictions,
            poses: o.poses,
            course: o.course,
        };
        let world = World::new(arena, o.rules, sizes, state, latent)?;
        let action = arena.mat(p, action_size(o.rules.task, m));
        let normalization = [(); 4].map(|()| arena.mat(1, m.frame_size));
        let d = world.observation.cols();
        let scaling = o.normalize.then(|| [(); 2].map(|()| arena.mat(1, d)));
        let observation = if o.normalize { arena.mat(p, d) } else { world.observation };
        let goal = match controller {
            None => None,
            Some(Lower { parameters, normalized }) => {
                // The pose as the target controller saw it in its training.
                let seen = if normalized { network.condition } else { world.history };
                let goal = arena.mat(p, 2);
                let actor =
                    Perceptron::actor(arena, parameters, Var::constant(seen), Var::constant(goal), Wanted::Nothing)?;
                let lower = o.rules.task.info().lower.filter(|_| normalized);
                let unit = lower.map(|lower| Rules { task: lower, ..o.rules }.unit(0));
                Some((goal, unit, actor))
            }
        };
        let (frame_skip, costs, cost_share) = (o.frame_skip, o.costs, arena.mat(1, 1));
        let back = match o.wanted {
            Wanted::Inputs => Some(Back::new(arena, &world, observation, action.cols())),
            _ => None,
        };
        Ok(Environment {
            world,
            network,
            observation,
            action,
            normalization,
            scaling,
            goal,
            frame_skip,
            costs,
            cost_share,
            back,
        })
    }

    /// The noise that is mixed into an action, if the task has any, and its share of the latent.
    fn noise(&self) -> (f64, Mat<T>) {
        match self.world.rules.task.info().draws {
            Draws::Normal => (NOISE_SHARE, self.world.draws),
            _ => (0.0, Mat::NONE),
        }
    }

    /// Standard deviation of actions whose latents have the prior's distribution, together with the
    /// noise that is part of the latent.
    pub(crate) fn prior_spread(&self) -> f64 {
        let (own, _) = self.noise();
        (1.0 - own * own).sqrt() / ((1.0 - own) * ACTION_SCALE)
    }

    /// The [`task_gain`] of this environment's task.
    fn gain(&self) -> f64 {
        let pose = self.world.history.cols();
        task_gain(pose, self.world.observation.cols() - pose)
    }

    /// Appends the observations. Errors: shapes that do not fit.
    pub fn observe(&self, plan: &mut Plan) -> Result<()> {
        self.world.observe(plan);
        let Some([scale, shift]) = self.scaling else {
            return Ok(());
        };
        rescale::push(plan, self.world.observation, scale, shift, self.observation)?;
        match self.world.rules.task.info().vectors {
            true => log_length::push(plan, self.observation, self.world.history.cols(), self.gain()),
            false => Ok(()),
        }
    }

    /// Writes the normalisation of poses (y = x / scale - shift / scale) and, derived from it, that
    /// of observations. Errors: those of the backend.
    pub fn write_normalization(&self, memory: &mut Memory, scale: &[f64], shift: &[f64]) -> Result<()> {
        let into: Vec<f64> = scale.iter().map(|s| 1.0 / s).collect();
        let less: Vec<f64> = scale.iter().zip(shift).map(|(s, shift)| -shift / s).collect();
        let as_real = |values: &[f64]| values.iter().map(|&x| T::of(x)).collect::<Vec<T>>();
        for (mat, values) in self.normalization.into_iter().zip([&*into, &*less, scale, shift]) {
            memory.write(mat, &as_real(values))?;
        }
        let Some(scaling) = self.scaling else {
            return Ok(());
        };
        let rules = self.world.rules;
        let gain = if rules.task.info().vectors { 1.0 } else { self.gain() };
        for (mat, (poses, task)) in scaling.into_iter().zip([(into, gain), (less, 0.0)]) {
            let mut values = poses.repeat(self.world.history.cols() / poses.len());
            let entries = mat.len() - values.len();
            values.extend((0..entries).map(|entry| task / rules.unit(entry)));
            memory.write(mat, &as_real(&values))?;
        }
        Ok(())
    }

    /// Appends the task's uniform draws for a step. They come before the step, which may set a new
    /// target or command.
    pub fn draw(&self, plan: &mut Plan) {
        if let Draws::Uniform(_) = self.world.rules.task.info().draws {
            uniform::push(plan, self.world.state, self.world.draws, Purpose::Task);
        }
    }

    /// Appends the draw of the noise that is mixed into the next action.
    pub(crate) fn draw_noise(&self, plan: &mut Plan) {
        let (_, noise) = self.noise();
        if !noise.is_none() {
            normal::push(plan, self.world.state, noise, Purpose::Task, 1.0);
        }
    }

    /// Appends a step from action to reward: latent, decoder, characters and task. Errors: shapes
    /// that do not fit.
    pub fn step(&self, plan: &mut Plan) -> Result<()> {
        let (world, network) = (&self.world, &self.network);
        let [scale, shift, back_scale, back_shift] = self.normalization;
        let mut action = self.action;
        rescale::push(plan, world.history, scale, shift, network.condition)?;
        if let Some((goal, unit, actor)) = &self.goal {
            axpby::push(plan, (GOAL_SCALE / unit.unwrap_or(1.0), action), (0.0, Mat::NONE), *goal)?;
            if unit.is_some() {
                log_length::push(plan, *goal, 0, task_gain(world.history.cols(), goal.cols()))?;
            }
            actor.forward(plan);
            action = actor.y.value;
        }
        let (own, noise) = self.noise();
        axpby::push(plan, ((1.0 - own) * ACTION_SCALE, action), (own, noise), world.latent)?;
        network.choose(plan);
        network.decode(plan);
        network.draw_pick(plan, Mat::NONE);
        network.predict(plan);
        rescale::push(plan, network.prediction, back_scale, back_shift, world.frames)?;
        (0..self.frame_skip).for_each(|frame| world.step(plan, frame, frame + 1 == self.frame_skip));
        if self.costs.none() { Ok(()) } else { self.costs.forward(plan, &self.stepped(world)) }
    }

    fn stepped(&self, world: &World<T>) -> Stepped<T> {
        let (frame_size, all) = (world.frame_size(), world.history.cols());
        let World { frames, observation: seen, own, outcome, .. } = *world;
        let (share, asked) = (self.cost_share, world.rules.task.info().moves.place());
        Stepped { frames, share, seen, own, asked, outcome, frame_size, condition_frames: all / frame_size }
    }

    /// Appends the way back through a step of one frame: from the derivatives of the loss by the
    /// state after it to those by the state before, and to the gradient of the action. Errors:
    /// shapes that do not fit.
    pub(crate) fn pull(&self, plan: &mut Plan, back: &Back<T>) -> Result<()> {
        let (network, pull) = (&self.network, &back.pull);
        let [scale, _, back_scale, _] = self.normalization;
        pull.step(plan, &back.before)?;
        if !self.costs.none() {
            let into = [pull.dframes, pull.dhistory];
            self.costs.backward(plan, &self.stepped(&back.before), pull.weight, into)?;
        }
        rescale::backward(plan, pull.dframes, back_scale, false, network.dprediction)?;
        plan.gradients.accumulate(network.dprediction);
        network.pull(plan);
        rescale::backward(plan, network.dcondition, scale, true, pull.dhistory)?;
        let factor = (1.0 - self.noise().0) * ACTION_SCALE;
        axpby::push(plan, (factor, network.z.grad), (factor, pull.dlatent), back.action.grad)
    }

    /// Appends the way back through the observation before the step, whose gradient grows the
    /// derivatives by the state. Errors: shapes that do not fit.
    pub(crate) fn pull_observation(&self, plan: &mut Plan, back: &Back<T>) -> Result<()> {
        let (world, pull) = (&back.before, &back.pull);
        if let Some([scale, _]) = self.scaling {
            let Var { value, grad } = back.observation;
            if world.rules.task.info().vectors {
                log_length::backward(plan, value, world.history.cols(), self.gain(), grad)?;
            }
            rescale::backward(plan, grad, scale, false, pull.dseen)?;
        }
        pull.observation(plan, world);
        Ok(())
    }
}

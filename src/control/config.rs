//! The configuration of a controller's training; keys, layers and messages work as in
//! [`crate::config::layers`].
use super::course::path::Shape;
use crate::config::layers::{flag, keys, zero_is_none};
use crate::config::{MAX_MATRIX, Variant};
use crate::motion::units::Unit;
use crate::ops::world::Task;
use crate::ops::world::task::Weights;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Upper bound of every size and count.
const MAX_SIZE: usize = 1 << 20;
/// Most characters side by side.
pub const MAX_CHARACTERS: usize = MAX_SIZE;
/// Largest width of the hidden layers; wider ones take minutes to initialise.
const MAX_HIDDEN: usize = 4096;
/// Most samples of a rollout, over all PPO epochs, whose order can be stored.
const MAX_SAMPLES: usize = 1 << 28;

keys! {
    /// The training of a controller, every number of it.
    PolicyConfig, Overrides, Preset;
    "Task" {
        /// The task of the character: one of `control list`, or a TOML file that composes one from
        /// terms
        task: String => Task = Task::Target;
        /// How the policy learns (of its own: shac where the task's reward has derivatives, else
        /// ppo)
        algorithm: Algorithm = Algorithm::Shac;
        /// Run (or checkpoint) of the Motion VAE whose decoder is played
        vae: PathBuf = PathBuf::new();
        /// Path: eight, circle, square, slalom, or a CSV file of x,z points (closed if its last is
        /// its first, else walked to and fro)
        path: String = Shape::Eight.name();
        /// Maze: a TOML file that draws or lists walls; the reference's maze when none is given
        maze: PathBuf = PathBuf::new();
        /// Unit of lengths in files of paths and mazes
        units: Unit = Unit::M;
        /// Run of a target controller, which the maze is walked with
        lower: PathBuf = PathBuf::new();
        /// Steps after which time is out; 0 = the task's own (1200, walk 1000, maze 1500)
        horizon: usize = 0;
        /// Spread the characters' clocks over the horizon, so that each update sees all of it; else
        /// all start together
        stagger_episodes: bool = true;
        /// Predicted frames that are applied for one action
        frame_skip: usize = 1;
        /// Path, tasks of a file: feet a frame at which the point runs (a body unit for a foot);
        /// 0 = the data's median speed
        path_pace: f64 = 0.0;
        /// Joystick, face, tasks of a file: largest speed asked for or allowed for, feet a frame (a
        /// body unit for a foot); 0 = the data's 95 % quantile
        top_speed: f64 = 0.0;
        /// Make the reference's mistakes, too
        literal: bool = false;
    }
    "Policy" {
        /// Show the policy poses as the decoder sees them and the task in its natural units, with
        /// more weight than a number of a pose
        normalize_observations: bool = true;
        /// Width of the hidden layers
        hidden_size: usize = 256;
        /// Gain of the actor's last layer at the start: small = the first actions are noise alone
        actor_gain: f64 = 0.01;
        /// Standard deviation that exploration starts with (latents are 4 times the action: 0.25 is
        /// the prior's)
        initial_std: f64 = 0.25;
        /// Standard deviation that it ends with at most (0 = no bound), which falls there by the
        /// same share with each update
        #[serde(with = "zero_is_none")]
        final_std: f64 => Option<f64> = Some(0.1);
        /// Share of its noise that exploration keeps from one step to the next (0 = none): noise
        /// that lasts moves the character further
        noise_correlation: f64 = 0.95;
    }
    "Learning" {
        /// P: characters side by side
        characters: usize = 32;
        /// T: steps of a rollout; 0 = the horizon
        steps: usize = 64;
        /// Rollouts that are learned from; 0 = the task's own (shac 400, joystick 800; ppo 600,
        /// joystick 1600)
        updates: usize = 0;
        /// Mini-batches of an epoch
        minibatches: usize = 4;
        /// Times that each rollout is learned from (shac: by the critic)
        epochs: usize = 3;
        /// Discount of rewards
        gamma: f64 = 0.98;
        /// Decay of the advantage estimator; 0 = plain discounted returns
        #[serde(with = "zero_is_none")]
        gae_lambda: f64 => Option<f64> = Some(0.95);
        /// Factor of the rewards: 1 - gamma makes a return a mean of rewards
        reward_scale: f64 = 0.02;
        /// Ppo: how far the probability ratio may leave 1
        clip: f64 = 0.2;
        /// Ppo: weight of the value loss
        value_weight: f64 = 1.0;
        /// Ppo: weight of the entropy
        entropy_weight: f64 = 0.0;
        /// Weight of how far the mean latents are from their prior (KL, nats): more moves better
        /// and obeys less (not in the maze, nor with vq; of its own: 0.002 for joystick by shac)
        prior_weight: f64 = 0.003;
        /// Largest norm of the gradient
        max_grad_norm: f64 = 1.0;
    }
    "Costs" {
        /// Weight of feet that slide where they stand, taken off the reward of a step (of its own:
        /// 0.25 for joystick, ppo 0)
        skate_cost: f64 = 0.2;
        /// Weight of effort: the joints' mean squared speed, (m/s)^2
        effort_cost: f64 = 0.0;
        /// Weight of jerks: the mean squared change of the joints' velocities in a frame, (m/s)^2
        jerk_cost: f64 = 0.0;
        /// Weight of standing where the task asks to move, and of walking slower than it asks;
        /// counts from the start (of its own: 1 for target, path and joystick by shac)
        stand_cost: f64 = 0.0;
        /// Share of the updates after which costs begin to count; they count in full at 1.5 times
        /// that share, or at the end. Feet that cost from the start teach a policy to stand
        costs_from: f64 = 0.5;
    }
    "Optimizer" {
        /// Learning rate of the first update
        learning_rate: f64 = 3e-3;
        /// Learning rate it falls to, or the smallest that adaptive comes to
        final_learning_rate: f64 = 1.5e-4;
        /// How it changes
        decay: Decay = Decay::Linear;
        /// Adaptive: KL that an update is to change the policy by, nats; falls to a quarter over
        /// all updates
        target_kl: f64 = 0.04;
        /// Learning rate of the critic (0 = the policy's); in ppo the same in all updates, in shac
        /// it falls as the policy's does
        #[serde(with = "zero_is_none")]
        critic_learning_rate: f64 => Option<f64> = Some(2e-3);
        /// Adam: decay of the first moment
        adam_beta1: f64 = 0.7;
        /// Adam: decay of the second moment
        adam_beta2: f64 = 0.95;
        /// Adam: added to the root of the second moment
        adam_eps: f64 = 1e-5;
    }
    "Run" {
        /// Seed of everything random
        seed: u64 = 0;
        /// Seconds between checkpoints, at the end of an update; 0 = after every update
        checkpoint_every: u64 = 30;
        /// Stop with a checkpoint after this many minutes; 0 = no limit
        #[serde(with = "zero_is_none")]
        max_minutes: f64 => Option<f64> = None;
    }
}

/// How a policy learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// By gradients through the decoder and the task: short-horizon actor-critic.
    Shac,
    /// By trial and error: proximal policy optimization.
    Ppo,
}

impl Algorithm {
    /// The algorithm of a task that is not asked for another.
    fn of(task: Task) -> Self {
        if task.has_gradient() { Algorithm::Shac } else { Algorithm::Ppo }
    }
}

/// Where the numbers start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Tasks ask for what the data can do; the other numbers are those of the algorithm.
    #[default]
    Default,
    /// As the public reference implementation: 100 characters, whole episodes, its speeds and its
    /// mistakes.
    Reference,
}

/// How the learning rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// In a straight line over all updates.
    Linear,
    /// By 1 % with each update, down to the final one.
    Exponential,
    /// Smaller after updates that changed the policy more than `target_kl` says, else larger.
    Adaptive,
}

/// Largest factor by which [`Decay::Adaptive`] changes the learning rate after an update.
const MAX_CHANGE: f64 = 1.5;
/// Largest learning rate of [`Decay::Adaptive`].
const MAX_LEARNING_RATE: f64 = 1e-2;

impl Decay {
    /// The learning rate of update `update` (from 0) of `updates`. For `Adaptive`, this is the
    /// initial rate, which [`PolicyConfig::adapted`] changes.
    pub fn learning_rate(self, first: f64, last: f64, update: usize, updates: usize) -> f64 {
        match self {
            Decay::Linear => first - (first - last) * update as f64 / updates as f64,
            Decay::Exponential => (first * 0.99f64.powf(update as f64)).max(last),
            Decay::Adaptive => first,
        }
    }
}

impl PolicyConfig {
    /// The numbers of a preset.
    pub fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Default => PolicyConfig::default(),
            Preset::Reference => PolicyConfig {
                literal: true,
                stagger_episodes: false,
                prior_weight: 0.0,
                top_speed: 0.8,
                normalize_observations: false,
                actor_gain: 5.0 / 3.0,
                initial_std: 1.0,
                final_std: None,
                noise_correlation: 0.0,
                characters: 100,
                steps: 0,
                updates: 833,
                minibatches: 120,
                epochs: 10,
                gamma: 0.99,
                reward_scale: 1.0,
                learning_rate: 3e-5,
                critic_learning_rate: None,
                final_learning_rate: 1e-5,
                decay: Decay::Exponential,
                seed: 16,
                ..PolicyConfig::ppo()
            },
        }
    }

    /// Largest standard deviation of the exploration in update `update` (from 1), if there is a
    /// bound.
    pub(crate) fn largest_std(&self, update: usize) -> Option<f64> {
        let last = self.final_std?.min(self.initial_std);
        let done = (update - 1) as f64 / (self.updates() - 1).max(1) as f64;
        Some(self.initial_std * (last / self.initial_std).powf(done))
    }

    /// The learning rate after update `update` (from 1), which had the learning rate `rate` and
    /// changed the policy by the KL `kl`. The KL grows with the square of the step's length.
    pub(crate) fn adapted(&self, rate: f64, kl: f64, update: usize) -> f64 {
        let target = self.target_kl * (1.0 - 0.75 * update as f64 / self.updates() as f64);
        let change = (target / kl.max(f64::MIN_POSITIVE)).sqrt();
        let rate = rate * change.clamp(1.0 / MAX_CHANGE, MAX_CHANGE);
        rate.clamp(self.final_learning_rate, MAX_LEARNING_RATE.max(self.learning_rate))
    }

    /// Keys that may change when a run resumes.
    pub(crate) const FREE: [&str; 2] = ["checkpoint_every", "max_minutes"];

    fn lay_over(given: &mut toml::Table, layer: &toml::Table) {
        given.extend(layer.clone());
    }

    /// The numbers of ppo in the default preset: many characters, short rollouts.
    pub fn ppo() -> Self {
        PolicyConfig {
            algorithm: Algorithm::Ppo,
            characters: 512,
            steps: 16,
            prior_weight: 0.01,
            skate_cost: 0.0,
            learning_rate: 3e-4,
            final_learning_rate: 1e-5,
            decay: Decay::Adaptive,
            critic_learning_rate: Some(3e-3),
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            ..PolicyConfig::default()
        }
    }

    /// The numbers under all layers: those of the preset, which in the default one depend on the
    /// task, and on the algorithm that is asked for, or on the task's own.
    fn base(preset: Preset, given: &toml::Table) -> toml::Table {
        let of = |key: &str| given.get(key).cloned();
        let task = of("task").and_then(|task| task.try_into().ok()).unwrap_or(PolicyConfig::default().task);
        let algorithm = of("algorithm").and_then(|name| name.try_into().ok()).unwrap_or(Algorithm::of(task));
        match (preset, algorithm) {
            (Preset::Default, Algorithm::Ppo) => PolicyConfig::ppo().table(),
            (Preset::Default, Algorithm::Shac) => {
                let Weights { prior: prior_weight, skate: skate_cost, stand: stand_cost } = task.info().weights;
                PolicyConfig { prior_weight, skate_cost, stand_cost, ..PolicyConfig::default() }.table()
            }
            _ => PolicyConfig::preset(preset).table(),
        }
    }

    /// The reason why such a controller cannot steer a model of this variant that predicts so many
    /// frames at once, and a line of the configuration that mends it.
    pub fn unfit(&self, variant: Variant, frames: usize) -> Option<(String, String)> {
        let skip = self.frame_skip;
        if self.algorithm == Algorithm::Shac && matches!(variant, Variant::Vq | Variant::Specialist) {
            let variant = variant.name();
            let what = format!("variant is {variant}, whose controllers do not learn by gradients");
            Some((what, "algorithm = \"ppo\"".to_owned()))
        } else if skip > frames {
            let what =
                format!("frame_skip of the controller is {skip}, but future_predictions of the model is {frames}");
            Some((what, format!("future_predictions = {skip}")))
        } else {
            None
        }
    }

    /// Steps after which time is out.
    pub fn horizon(&self) -> usize {
        if self.horizon == 0 { (self.task.info().horizon)(self.frame_skip) } else { self.horizon }
    }

    /// Updates of a run, each of which learns from one rollout.
    pub fn updates(&self) -> usize {
        let [shac, ppo] = self.task.info().updates;
        match (self.updates, self.algorithm) {
            (0, Algorithm::Shac) => shac,
            (0, Algorithm::Ppo) => ppo,
            (given, _) => given,
        }
    }

    /// Samples of a rollout.
    pub(crate) fn samples(&self) -> usize {
        self.characters * self.steps()
    }

    /// Samples of a mini-batch; the last of an epoch may have fewer.
    pub(crate) fn minibatch(&self) -> usize {
        self.samples() / self.minibatches
    }

    /// Share of the costs that counts in update `update` (from 1).
    pub(crate) fn cost_share(&self, update: usize) -> f64 {
        let (done, from) = (update as f64 / self.updates() as f64, self.costs_from);
        let whole = (1.5 * from).min(1.0);
        if done >= whole { 1.0 } else { ((done - from) / (whole - from)).max(0.0) }
    }

    /// T: steps of a rollout.
    pub fn steps(&self) -> usize {
        if self.steps == 0 { self.horizon() } else { self.steps }
    }

    /// Refuses values that no run can have, with the keys as `name` calls them.
    fn check(&self, name: &dyn Fn(&str) -> String) -> Result<()> {
        let refuse = |message: String| Err(Error::Usage(message));
        for (key, value, most) in [
            ("frame_skip", self.frame_skip, MAX_SIZE),
            ("hidden_size", self.hidden_size, MAX_HIDDEN),
            ("characters", self.characters, MAX_CHARACTERS),
            ("updates", self.updates.max(1), MAX_SIZE),
            ("minibatches", self.minibatches, MAX_SIZE),
            ("epochs", self.epochs, MAX_SIZE),
            ("steps", self.steps.max(1), MAX_SIZE),
            ("horizon", self.horizon.max(1), MAX_SIZE),
        ] {
            if !(1..=most).contains(&value) {
                return refuse(format!("{} is {value}, expected 1 to {most}", name(key)));
            }
        }
        if self.horizon() == 0 {
            let (skip, horizon) = (name("frame_skip"), name("horizon"));
            return refuse(format!(
                "{skip} is {}, more than the frames of an episode; give {horizon}",
                self.frame_skip
            ));
        }
        let fastest = MAX_LEARNING_RATE.max(self.learning_rate);
        if self.decay == Decay::Adaptive && self.final_learning_rate > fastest {
            let (key, rate) = (name("final_learning_rate"), self.final_learning_rate);
            let largest = format!("expected at most {fastest}, the largest that {} adaptive comes to", name("decay"));
            return refuse(format!("{key} is {rate}, {largest}"));
        }
        let samples = self.characters.saturating_mul(self.steps());
        if samples.saturating_mul(self.epochs) > MAX_SAMPLES {
            let keys = ["characters", "steps", "epochs"].map(name).join(" * ");
            return refuse(format!("{keys} is more than {MAX_SAMPLES} samples; make one of them smaller"));
        }
        if samples < 2 {
            return refuse(format!("{} * {} is 1, expected at least 2 samples", name("characters"), name("steps")));
        }
        if self.minibatches > samples {
            return refuse(format!(
                "{} is {}, more than the {samples} samples there are",
                name("minibatches"),
                self.minibatches
            ));
        }
        for (key, value) in [
            ("path_pace", self.path_pace),
            ("top_speed", self.top_speed),
            ("value_weight", self.value_weight),
            ("entropy_weight", self.entropy_weight),
            ("prior_weight", self.prior_weight),
            ("skate_cost", self.skate_cost),
            ("effort_cost", self.effort_cost),
            ("jerk_cost", self.jerk_cost),
            ("stand_cost", self.stand_cost),
            ("final_learning_rate", self.final_learning_rate),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(format!("{} is {value}, expected a finite number of 0 or more", name(key)));
            }
        }
        for (key, value) in [
            ("actor_gain", self.actor_gain),
            ("initial_std", self.initial_std),
            ("final_std", self.final_std.unwrap_or(1.0)),
            ("reward_scale", self.reward_scale),
            ("target_kl", self.target_kl),
            ("clip", self.clip),
            ("max_grad_norm", self.max_grad_norm),
            ("learning_rate", self.learning_rate),
            ("critic_learning_rate", self.critic_learning_rate.unwrap_or(1.0)),
            ("adam_eps", self.adam_eps),
            ("max_minutes", self.max_minutes.unwrap_or(1.0)),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return refuse(format!("{} is {value}, expected a finite number above 0", name(key)));
            }
        }
        for (key, value) in [
            ("costs_from", self.costs_from),
            ("gamma", self.gamma),
            ("gae_lambda", self.gae_lambda.unwrap_or(0.0)),
            ("adam_beta1", self.adam_beta1),
            ("adam_beta2", self.adam_beta2),
            ("noise_correlation", self.noise_correlation),
        ] {
            let most = if key.starts_with('g') { 1.0 } else { 1.0 - f64::EPSILON };
            if !(0.0..=most).contains(&value) {
                let range = if most < 1.0 { "0 or more and below 1" } else { "0 to 1" };
                return refuse(format!("{} is {value}, expected {range}", name(key)));
            }
        }
        for (key, value) in [("seed", self.seed), ("checkpoint_every", self.checkpoint_every)] {
            if value > i64::MAX as u64 {
                return refuse(format!("{} is {value}, expected at most {}", name(key), i64::MAX));
            }
        }
        if self.vae.as_os_str().is_empty() {
            return refuse(format!("{}: no decoder; name the run of a trained Motion VAE", flag("vae")));
        }
        let task = self.task.name();
        if self.literal && self.task.program().is_some() {
            return refuse(format!("{}: the reference has no task of a file; leave it out", name("literal")));
        }
        if let Some(lower) = self.task.info().lower {
            if self.lower.as_os_str().is_empty() {
                let (key, lower) = (flag("lower"), lower.name());
                return refuse(format!("{key}: the {task} is walked with a {lower} controller; name its run"));
            }
            if self.frame_skip > 1 {
                let (key, skip) = (name("frame_skip"), self.frame_skip);
                return refuse(format!("{key} is {skip}, expected 1 in the {task}"));
            }
        }
        if self.algorithm == Algorithm::Shac {
            self.check_shac(name)?;
        }
        let costs = [
            ("skate_cost", self.skate_cost),
            ("effort_cost", self.effort_cost),
            ("jerk_cost", self.jerk_cost),
            ("stand_cost", self.stand_cost),
        ];
        if let Some((cost, _)) = costs.into_iter().find(|(_, cost)| self.frame_skip > 1 && *cost > 0.0) {
            let (cost, skip, frames) = (name(cost), name("frame_skip"), self.frame_skip);
            return refuse(format!("{cost} is of steps of one frame, and {skip} is {frames}; leave one of them out"));
        }
        let given = self.differences(&PolicyConfig::default());
        for of in Task::ALL.iter().filter(|&&of| of != self.task) {
            let own = self.task.info().keys;
            if let Some(key) = of.info().keys.iter().find(|key| given.contains(key) && !own.contains(key)) {
                let of = of.name();
                return refuse(format!("{} is of task {of}, and the task is {task}; leave it out", name(key)));
            }
        }
        Ok(())
    }

    /// Refuses what gradients through the decoder cannot do.
    fn check_shac(&self, name: &dyn Fn(&str) -> String) -> Result<()> {
        let refuse = |message: String| Err(Error::Usage(message));
        let (key, task) = (flag("algorithm"), self.task.name());
        if !self.task.has_gradient() {
            return refuse(format!("{key} shac: the reward of task {task} has no derivatives; give {key} ppo"));
        }
        if self.frame_skip > 1 {
            let (skip, frames) = (name("frame_skip"), self.frame_skip);
            return refuse(format!("{skip} is {frames}, expected 1 with {key} shac; or give {key} ppo"));
        }
        if self.literal {
            let literal = name("literal");
            return refuse(format!("{literal}: the reference's mistakes have no derivatives; give {key} ppo"));
        }
        if self.decay == Decay::Adaptive {
            let decay = name("decay");
            return refuse(format!("{decay} is adaptive, which follows ppo's updates; expected linear or exponential"));
        }
        let seen = self.characters.saturating_mul(self.steps()).saturating_mul(self.hidden_size);
        if seen > MAX_MATRIX {
            let keys = ["characters", "steps", "hidden_size"].map(name).join(" * ");
            return refuse(format!("{keys} is {seen}, expected at most {MAX_MATRIX}; make one of them smaller"));
        }
        Ok(())
    }
}

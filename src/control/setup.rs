//! What a controller has before its first update: the frozen decoder, characters, policy and plans in one arena, and
//! parameters, be they fresh or those of a checkpoint.
use super::config::Config;
use super::course;
use super::environment::{self, Environment, Lower, action_size};
use super::policy::Perceptron;
use super::ppo::{self, Update};
use crate::arena::{Arena, Mat, Var};
use crate::backend::{Backend, Memory};
use crate::checkpoint::{Checkpoint, Data, Fingerprint, Meta, Progress, Tensor};
use crate::config::{ModelConfig, Variant};
use crate::layout::{Layout, Parameters};
use crate::motion::Rig;
use crate::ops::begin_step::{self, StepState};
use crate::ops::experience::{Step, store};
use crate::ops::gaussian_action;
use crate::ops::noise::normal;
use crate::ops::world::{Rules, Task};
use crate::philox::Purpose;
use crate::plan::Plan;
use crate::run::crc32c;
use crate::trained::Trained;
use crate::{Error, Result, data::windows};
use serde::Deserialize;
use std::path::Path;

/// Height of the reference skeleton's hips at rest, feet: a body unit is the data's over this.
const REFERENCE_HIPS: f64 = 3.21;
/// Poses to start from, at most; spread evenly over the data.
const POSES: usize = 1024;
/// Points in which a path is given before it is paced.
const FINE: usize = 1 << 14;

/// A controller, ready for its next update.
pub struct Setup<'a> {
    /// What was asked for.
    pub config: &'a Config,
    /// The Motion VAE.
    pub decoder: Trained,
    /// What its poses are poses of.
    pub rig: Rig,
    /// The policy.
    pub policy: Parameters<f32>,
    /// Characters and decoder.
    pub environment: Environment<f32>,
    /// How the policy learns.
    pub update: Update<f32>,
    /// What the environment steps to come are.
    pub schedule: Mat<StepState>,
    /// \[0\] the next entry of the schedule.
    pub cursor: Mat<u32>,
    /// Everybody to a start.
    pub start: Plan,
    /// What is seen now to the front of the rollout.
    pub begin: Plan,
    /// One step of the exploring policy, kept for learning.
    pub explore: Plan,
    /// One step of the policy's mean.
    pub play: Plan,
    /// One step of latents from the prior, whatever is asked for.
    pub random: Plan,
    /// The arena all of them lie in.
    pub memory: Memory<'a>,
    /// Where training stands: `epoch` counts updates.
    pub at: Progress,
    /// Reward so far of the episode that each character is in.
    pub episodes: Vec<f64>,
    /// Learning rate of the next update, where it is adaptive.
    pub rate: f64,
}

impl<'a> Setup<'a> {
    /// Reads decoder and data and lays out everything; goes on from `resume` if given. Errors: a decoder that cannot do
    /// the task, another one than the controller was trained on, not enough memory.
    pub fn new(config: &'a Config, backend: &'a dyn Backend, resume: Option<&Path>) -> Result<Self> {
        let c = config;
        let decoder = Trained::load(&c.vae)?;
        let rig = decoder.meta.rig.clone().ok_or_else(|| {
            let what = "names no skeleton, so no task knows its toes and its size";
            Error::checkpoint(&c.vae, what, "train it on data with a skeleton, such as `mvae-fast import` makes")
        })?;
        let m = decoder.model().clone();
        if c.frame_skip > m.future_predictions {
            let (skip, k) = (c.frame_skip, m.future_predictions);
            return Err(Error::Usage(format!("--frame-skip is {skip}, but the decoder predicts {k} frames at once")));
        }
        let rules = rules(c, &rig)?;
        let course = course(c, &rig, &rules)?;
        let poses = poses(&decoder)?;
        let row = m.frame_size * m.condition_frames;
        let lower = (c.task == Task::Maze).then(|| lower(c, &m, row + 2)).transpose()?;
        let given = resume.map(|path| Ok::<_, Error>((Checkpoint::load(path)?, path))).transpose()?;

        let mut arena = Arena::default();
        let decoder_places = decoder.parameters(&mut arena);
        let observation = row + c.task.extra(if m.variant == Variant::Vq { m.codes } else { m.latent_size });
        let layout = Layout::of_policy(observation, action_size(c.task, &m), c.hidden_size, c.actor_gain);
        let policy = Parameters::<f32>::new(&mut arena, layout, true);
        let lower_places =
            lower.as_ref().map(|(layout, ..)| Parameters::<f32>::new(&mut arena, layout.clone(), false));
        let (steps, state) = (c.steps().max(c.horizon()), arena.mat(1, 1));
        let (schedule, cursor) = (arena.mat(1, steps), arena.mat(1, 2));
        let options = environment::Options {
            model: &m,
            rules,
            characters: c.characters,
            frame_skip: c.frame_skip,
            poses: poses.len() / row,
            course: course.len(),
            normalize: c.normalize_observations,
        };
        let walker = lower.as_ref().zip(lower_places.as_ref());
        let walker = walker.map(|((.., normalized), parameters)| Lower { parameters, normalized: *normalized });
        let environment = Environment::new(&mut arena, &decoder_places, walker, state, &options)?;
        let update = Update::new(&mut arena, &policy, observation, &ppo_options(c))?;
        let plans = plans(&mut arena, &policy, &environment, &update, (schedule, cursor, state))?;
        let mut memory = Memory::new(backend, arena)?;

        decoder.restore(&decoder_places, &mut memory)?;
        if let (Some((_, values, _)), Some(places)) = (&lower, &lower_places) {
            memory.write(places.values, values)?;
        }
        let (scale, shift) = decoder.statistics.scale_and_shift(decoder.meta.normalization);
        environment.write_normalization(&mut memory, &scale, &shift)?;
        memory.write(environment.world.poses, &poses)?;
        let points: Vec<f32> = course.as_flattened().iter().map(|&x| (x * rules.body) as f32).collect();
        memory.write(environment.world.course, &points)?;

        let values = memory.read(decoder_places.values)?;
        let crc = crc32c::extend(crc32c::crc32c(bytemuck::cast_slice(&values)), bytemuck::cast_slice(&poses));
        let fingerprint = Fingerprint { frames: poses.len() / row, features: m.frame_size, crc32c: crc };
        let [start, begin, explore, play, random] = plans;
        let (at, episodes, rate) = (Progress::start(fingerprint), vec![0.0; c.characters], c.learning_rate);
        let mut setup = Setup {
            config,
            decoder,
            rig,
            policy,
            environment,
            update,
            schedule,
            cursor,
            start,
            begin,
            explore,
            play,
            random,
            memory,
            at,
            episodes,
            rate,
        };
        match given {
            None => setup.initialize()?,
            Some((checkpoint, path)) => setup.restore(&checkpoint, path, &fingerprint)?,
        }
        let mut losses = setup.memory.read(setup.update.losses)?;
        losses[crate::ops::ppo_loss::slot::WEIGHT] = c.value_weight;
        setup.memory.write(setup.update.losses, &losses)?;
        Ok(setup)
    }

    /// Fresh parameters, and everybody at a start.
    fn initialize(&mut self) -> Result<()> {
        crate::step::initialize(&mut self.memory, &self.policy, self.config.seed)?;
        let logstd = self.policy.var("dist.logstd._bias").value;
        let initial = self.config.initial_std.ln() as f32;
        self.memory.write(logstd, &vec![initial; logstd.len()])?;
        self.restart()
    }

    /// Everybody to a start, at the clock's beginning.
    pub fn restart(&mut self) -> Result<()> {
        let outcome = self.environment.world.outcome;
        self.memory.write(outcome, &vec![0.0; outcome.len()])?;
        self.write_schedule(&[StepState {
            seed: self.config.seed,
            rollout_step: self.config.horizon() as u32,
            ..StepState::default()
        }])?;
        self.memory.run(&self.start)
    }

    /// Writes what the next environment steps are.
    pub fn write_schedule(&mut self, states: &[StepState]) -> Result<()> {
        let mut all = self.memory.read(self.schedule)?;
        all[..states.len()].copy_from_slice(states);
        self.memory.write(self.schedule, &all)?;
        self.memory.write(self.cursor, &[0, 0])
    }

    /// What environment step `done + 1` is, written into row `row` of a rollout.
    pub fn step_state(&self, done: u64, row: usize) -> StepState {
        let clock = done % self.config.horizon() as u64 + 1;
        StepState {
            seed: self.config.seed,
            step: done + 1,
            rollout_step: clock as u32,
            minibatch: row as u32,
            ..StepState::default()
        }
    }

    /// Whether every update is done.
    pub fn finished(&self) -> bool {
        self.at.epoch > self.config.updates
    }

    /// What outlives an update beside the policy, by name.
    fn state(&self) -> Vec<(&'static str, Mat<f32>)> {
        let w = &self.environment.world;
        let all = [
            ("world.history", w.history),
            ("world.root", w.root),
            ("world.facing", w.facing),
            ("world.feet", w.feet),
            ("world.target", w.target),
            ("world.potential", w.potential),
            ("world.command", w.command),
            ("world.noise", w.noise),
            ("world.outcome", w.outcome),
            ("world.observation", self.environment.observation),
        ];
        all.into_iter().filter(|(_, mat)| !mat.is_none()).collect()
    }

    /// The same of whole numbers.
    fn counts(&self) -> Vec<(&'static str, Mat<u32>)> {
        let w = &self.environment.world;
        [("world.offset", w.offset), ("world.visited", w.visited)]
            .into_iter()
            .filter(|(_, mat)| !mat.is_none())
            .collect()
    }

    /// Writes a checkpoint, from which training can go on.
    pub fn save(&self, path: &Path) -> Result<()> {
        let p = &self.policy;
        let mut tensors = Vec::new();
        for tensor in &p.layout.tensors {
            let names = [tensor.name.clone(), format!("adam.m.{}", tensor.name), format!("adam.v.{}", tensor.name)];
            for (name, of) in names.into_iter().zip([p.values, p.m, p.v]) {
                tensors.push(Tensor::f32(name, &tensor.shape, self.memory.read(p.place(of, tensor))?));
            }
        }
        for (name, mat) in self.state() {
            tensors.push(Tensor::f32(name, &[mat.rows(), mat.cols()], self.memory.read(mat)?));
        }
        for (name, mat) in self.counts() {
            let data: Vec<i64> = self.memory.read(mat)?.into_iter().map(i64::from).collect();
            tensors.push(Tensor { name: name.to_owned(), shape: vec![mat.len()], data: Data::I64(data.into()) });
        }
        tensors.push(Tensor::f64("trainer.episodes", &[self.episodes.len()], self.episodes.as_slice()));
        tensors.push(Tensor::f64("trainer.learning_rate", &[1], vec![self.rate]));
        let json = serde_json::to_value(self.config).expect("a configuration is plain data");
        let meta = &self.decoder.meta;
        let meta = Meta::new(meta.model.clone(), meta.normalization, json, Some(self.at.clone()));
        Checkpoint { tensors, meta: Some(Meta { rig: Some(self.rig.clone()), ..meta }) }.save(path)
    }

    fn restore(&mut self, checkpoint: &Checkpoint, path: &Path, decoder: &Fingerprint) -> Result<()> {
        let progress = checkpoint.meta.as_ref().and_then(|meta| meta.progress.clone());
        let progress = progress.ok_or_else(|| Error::checkpoint(path, "holds no training state", "start a new run"))?;
        if progress.data != *decoder {
            let what = "was trained with another decoder, or other poses to start from, than this";
            return Err(Error::checkpoint(path, what, format!("put the old {} back", self.config.vae.display())));
        }
        self.restore_policy(checkpoint, path)?;
        for (name, mat) in self.state() {
            let mut values = vec![0f32; mat.len()];
            checkpoint.copy(path, name, &[mat.rows(), mat.cols()], &mut values)?;
            self.memory.write(mat, &values)?;
        }
        for (name, mat) in self.counts() {
            let mut values = vec![0f64; mat.len()];
            checkpoint.copy(path, name, &[mat.len()], &mut values)?;
            self.memory.write(mat, &values.into_iter().map(|x| x as u32).collect::<Vec<u32>>())?;
        }
        let mut episodes = vec![0f64; self.episodes.len()];
        checkpoint.copy(path, "trainer.episodes", &[episodes.len()], &mut episodes)?;
        checkpoint.copy(path, "trainer.learning_rate", &[1], std::slice::from_mut(&mut self.rate))?;
        (self.episodes, self.at) = (episodes, progress);
        Ok(())
    }

    /// Reads parameters and moments back. Errors: one is missing or has another shape.
    pub fn restore_policy(&mut self, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        let p = &self.policy;
        for tensor in &p.layout.tensors {
            let names = [tensor.name.clone(), format!("adam.m.{}", tensor.name), format!("adam.v.{}", tensor.name)];
            for (name, of) in names.into_iter().zip([p.values, p.m, p.v]) {
                let mut values = vec![0f32; tensor.len()];
                checkpoint.copy(path, &name, &tensor.shape, &mut values)?;
                self.memory.write(p.place(of, tensor), &values)?;
            }
        }
        Ok(())
    }
}

/// How the policy learns, as a configuration says.
fn ppo_options(c: &Config) -> ppo::Options {
    ppo::Options {
        characters: c.characters,
        steps: c.steps(),
        minibatch: c.characters * c.steps() / c.minibatches,
        epochs: c.ppo_epochs,
        gamma: c.gamma,
        lambda: c.gae_lambda,
        reward_scale: c.reward_scale,
        clip: c.clip,
        entropy_weight: c.entropy_weight,
        max_grad_norm: c.max_grad_norm,
        adam: [c.adam_beta1, c.adam_beta2, c.adam_eps],
    }
}

/// Start, begin, explore, play, random.
fn plans(
    arena: &mut Arena,
    policy: &Parameters<f32>,
    env: &Environment<f32>,
    update: &Update<f32>,
    (schedule, cursor, state): (Mat<StepState>, Mat<u32>, Mat<StepState>),
) -> Result<[Plan; 5]> {
    let world = &env.world;
    let actor = Perceptron::actor(arena, policy, Var::constant(env.observation), Var::none(), false)?;
    let (noise, log_prob) = (arena.mat(env.action.rows(), env.action.cols()), arena.mat(env.action.rows(), 1));
    let logstd = policy.var("dist.logstd._bias").value;
    let first = |plan: &mut Plan| begin_step::push::<f32>(plan, schedule, Mat::NONE, cursor, state);
    let last = |plan: &mut Plan| {
        env.draw_noise(plan);
        world.reset(plan);
        env.observe(plan)
    };
    let step = |act: &dyn Fn(&mut Plan) -> Result<()>| {
        let mut plan = Plan::default();
        first(&mut plan);
        act(&mut plan)?;
        env.draw(&mut plan);
        env.step(&mut plan)?;
        last(&mut plan)?;
        Ok::<_, Error>(plan)
    };
    let (mut start, mut begin) = (Plan::default(), Plan::default());
    first(&mut start);
    last(&mut start)?;
    update.begin(&mut begin, env.observation)?;
    let mut explore = step(&|plan| {
        normal::push(plan, state, noise, Purpose::Explore, 1.0);
        actor.forward(plan);
        gaussian_action::push(plan, (actor.y.value, logstd), noise, (env.action, log_prob))
    })?;
    let kept = Step { observation: env.observation, action: env.action, log_prob, outcome: world.outcome };
    store::push(&mut explore, state, &kept, &update.rollout);
    let play = step(&|plan| {
        actor.forward(plan);
        gaussian_action::push(plan, (actor.y.value, logstd), Mat::NONE, (env.action, log_prob))
    })?;
    let random = step(&|plan| {
        normal::push(plan, state, env.action, Purpose::Explore, 0.25);
        Ok(())
    })?;
    Ok([start, begin, explore, play, random])
}

/// The task's rules for a body.
fn rules(c: &Config, rig: &Rig) -> Result<Rules> {
    let body = if c.literal { 1.0 } else { rig.hip_height / REFERENCE_HIPS };
    if !(body.is_finite() && body > 0.0) {
        let what = format!("its hips are at a height of {}", rig.hip_height);
        return Err(Error::checkpoint(&c.vae, what, "train it on data of a character that stands"));
    }
    let speed = if c.top_speed > 0.0 { c.top_speed } else { rig.speeds.q95 / body };
    let floors = if c.literal { [0.0; 2] } else { rig.toe_floors };
    let (task, toes, horizon, literal) = (c.task, rig.skeleton.toes, c.horizon(), c.literal);
    Ok(Rules { task, body, speed, toes, floors, horizon, literal })
}

/// What the task takes place on, body units.
fn course(c: &Config, rig: &Rig, rules: &Rules) -> Result<Vec<[f64; 2]>> {
    let pace = if c.path_pace > 0.0 { c.path_pace } else { rig.speeds.median / rules.body };
    match c.task {
        Task::Maze => Ok(course::walls().concat()),
        Task::Path if c.literal => Ok(course::figure_eight(rules.horizon)),
        Task::Path if pace > 0.0 => Ok(course::paced(&course::figure_eight(FINE), pace)),
        Task::Path => {
            Err(Error::checkpoint(&c.vae, "its data never moves, so no pace is known", "give one with --path-pace"))
        }
        _ => Ok(Vec::new()),
    }
}

/// Conditions to start from, newest frame first; clips shorter than one repeat their first frame.
fn poses(decoder: &Trained) -> Result<Vec<f32>> {
    let set = decoder.source(&[])?.set;
    let (f, conditions) = (set.frame_size, decoder.model().condition_frames);
    let starts = windows::starts(&set.clips(), conditions);
    let frame = |i: usize| &set.frames[i * f..][..f];
    if starts.is_empty() {
        return Ok(frame(0).repeat(conditions));
    }
    let count = starts.len().min(POSES);
    let chosen = (0..count).map(|i| starts[i * starts.len() / count] as usize);
    Ok(chosen.flat_map(|s| (0..conditions).rev().flat_map(move |j| frame(s + j).iter().copied())).collect())
}

/// The target controller that the maze is walked with: its tensors, their values and whether it sees normalised observations.
fn lower(c: &Config, m: &ModelConfig, observation: usize) -> Result<(Layout, Vec<f32>, bool)> {
    let path = &c.lower;
    let checkpoint = Checkpoint::load(path)?;
    let refuse = |what: String| Error::checkpoint(path, what, "give the run of a target controller");
    let trained = checkpoint.meta.as_ref().and_then(|meta| Config::deserialize(&meta.config).ok());
    let trained = trained.ok_or_else(|| refuse("is no controller".into()))?;
    if trained.task != Task::Target {
        return Err(refuse(format!("its task is {}", trained.task.name())));
    }
    let layout = Layout::of_policy(observation, m.latent_size, trained.hidden_size, trained.actor_gain);
    let mut values = layout.initial::<f32>(0);
    for tensor in layout.tensors.iter().filter(|tensor| tensor.name.starts_with("actor.")) {
        checkpoint.copy(path, &tensor.name, &tensor.shape, &mut values[tensor.first()..][..tensor.len()])?;
    }
    Ok((layout, values, trained.normalize_observations))
}

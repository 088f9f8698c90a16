//! The surroundings of a policy, read from disk, and characters laid out in them: a frozen decoder,
//! poses to start from, the task and its course.
use super::config::PolicyConfig;
use super::course;
use super::environment::{Environment, EnvironmentOptions, Lower, action_size};
use super::lower::{Walker, misfit};
use super::policy::Perceptron;
use super::poses;
use crate::backend::Memory;
use crate::checkpoint::{Checkpoint, Fingerprint, Tensor};
use crate::config::{MAX_MATRIX, Variant};
use crate::cpu::real::Real;
use crate::host::crc32c;
use crate::infer::trained::Trained;
use crate::model::layout::{Layout, Parameters};
use crate::model::network::Wanted;
use crate::motion::Rig;
use crate::ops::begin_step::{self, StepState};
use crate::ops::costs::Costs;
use crate::ops::experience::{self, Rollout};
use crate::ops::gaussian_action;
use crate::ops::noise::normal;
use crate::ops::world::Rules;
use crate::ops::world::task::Scene;
use crate::philox::Purpose;
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Height of the reference skeleton's hips at rest, feet. A body unit is the height of the data's
/// hips divided by this.
pub(crate) const REFERENCE_HIPS: f64 = 3.21;

/// The surroundings of a policy, without characters.
pub struct Material {
    /// The Motion VAE.
    pub decoder: Trained,
    /// The character whose poses the decoder makes.
    pub rig: Rig,
    /// Rules of the task and measures of the body.
    pub rules: Rules,
    /// Numbers of an observation.
    pub observation: usize,
    /// Fingerprint of the decoder's parameters and of the poses to start from.
    pub fingerprint: Fingerprint,
    course: Vec<[f64; 2]>,
    /// Poses to start from, [M, C F].
    poses: Vec<f32>,
    lower: Option<Walker>,
    normalize: bool,
    frame_skip: usize,
    hidden_size: usize,
    actor_gain: f64,
}

/// Parameters that do not change, in an arena; all stages of the arena share them.
pub struct Frozen {
    decoder: Parameters<f32>,
    lower: Option<Parameters<f32>>,
}

impl Material {
    /// Reads the files that a configuration names. `run` is the checkpoint to resume or to use,
    /// which keeps poses and course; a new run has none. `data` are files of motion: a new run
    /// takes its poses from them, and the skeleton if the decoder names none. Errors: a decoder
    /// that cannot do the task or is not the checkpoint's, a lower level that is no controller, a
    /// path or maze that cannot be used.
    pub fn load(c: &PolicyConfig, run: Option<(&Checkpoint, &Path)>, data: &[PathBuf]) -> Result<Self> {
        let mut decoder = Trained::load(&c.vae)?;
        if decoder.meta.rig.is_none() && !data.is_empty() {
            decoder.meta.rig = decoder.source(data)?.set.rig;
        }
        let rig = decoder.meta.rig.clone().ok_or_else(|| {
            let what = "names no skeleton, so no task knows its toes and its size";
            let mend =
                "train it (of others: `train --init`) on data with a skeleton, such as `mvae-fast data import` makes";
            Error::checkpoint(&c.vae, what, mend)
        })?;
        let m = decoder.model();
        if c.frame_skip > m.future_predictions {
            let (skip, k) = (c.frame_skip, m.future_predictions);
            let what = format!("frame_skip is {skip}, but the decoder {} predicts {k} at once", c.vae.display());
            return Err(Error::Usage(what));
        }
        let mut rules = rules(c, &rig)?;
        let row = m.frame_size * m.condition_frames;
        let kept = run.map(|(checkpoint, path)| poses::kept(checkpoint, path, row));
        let poses = kept.unwrap_or_else(|| poses::of(&decoder, data))?;
        let observation = row + c.task.info().extra.of(if m.variant == Variant::Vq { m.codes } else { m.latent_size });
        let of_decoder = crc32c::crc32c(bytemuck::cast_slice(&decoder.values()?));
        let crc32c = crc32c::extend(of_decoder, bytemuck::cast_slice(&poses));
        let fingerprint = Fingerprint { frames: poses.len() / row, features: m.frame_size, crc32c };
        if let Some((checkpoint, path)) = run
            && let Some(what) = checkpoint.meta.as_ref().and_then(|meta| misfit(meta, &decoder, &fingerprint))
        {
            return Err(Error::checkpoint(path, what, put_back(&c.vae)));
        }
        let walked = c.task.info().lower.map(|lower| Walker::load(c, lower, &decoder, &fingerprint, row));
        let lower = walked.transpose()?;
        let kept = run.map(|(checkpoint, path)| course::kept(checkpoint, path, c.task)).transpose()?.flatten();
        let course = kept.map_or_else(|| course::configured(c, &rig, rules.body), Ok)?;
        rules.arena = course::arena(&course);
        Ok(Material {
            decoder,
            rig,
            rules,
            observation,
            fingerprint,
            course,
            poses,
            lower,
            normalize: c.normalize_observations,
            frame_skip: c.frame_skip,
            hidden_size: c.hidden_size,
            actor_gain: c.actor_gain,
        })
    }

    /// Entries of an action.
    pub(crate) fn actions(&self) -> usize {
        action_size(self.rules.task, self.decoder.model())
    }

    /// The layout of a policy's tensors for this material.
    pub fn layout(&self) -> Layout {
        Layout::of_policy(self.observation, self.actions(), self.hidden_size, self.actor_gain)
    }

    /// True if observations are normalised.
    pub(crate) fn normalizes(&self) -> bool {
        self.normalize
    }

    /// Poses to start from, [M, C F].
    pub(crate) fn poses(&self) -> &[f32] {
        &self.poses
    }

    /// Predicted frames that are applied for each action.
    pub(crate) fn frame_skip(&self) -> usize {
        self.frame_skip
    }

    /// The course of the task, body units: points of the path, or both ends of each wall.
    pub fn course(&self) -> &[[f64; 2]] {
        &self.course
    }

    /// The tensors that a checkpoint keeps beside the policy: poses and course, so that a resumed
    /// run needs neither data nor files.
    pub fn tensors(&self) -> Vec<Tensor<'_>> {
        let m = self.decoder.model();
        let course = (!self.course.is_empty()).then(|| course::tensor(&self.course));
        [poses::tensor(&self.poses, m.frame_size * m.condition_frames)].into_iter().chain(course).collect()
    }

    /// Lays out the parameters of the decoder and of the lower level.
    pub(crate) fn frozen(&self, arena: &mut Arena) -> Frozen {
        let lower = self.lower.as_ref();
        Frozen {
            decoder: self.decoder.parameters(arena),
            lower: lower.map(|walker| Parameters::new(arena, walker.layout.clone(), false)),
        }
    }

    /// Writes the frozen parameters. Errors: a tensor is missing, those of the backend.
    pub(crate) fn write_frozen(&self, frozen: &Frozen, memory: &mut Memory) -> Result<()> {
        self.decoder.restore(&frozen.decoder, memory)?;
        match (&self.lower, &frozen.lower) {
            (Some(walker), Some(places)) => memory.write(places.values, &walker.values),
            _ => Ok(()),
        }
    }
}

/// Characters in an arena, and the plans that move them.
pub struct Stage<T> {
    /// Characters and decoder.
    pub environment: Environment<T>,
    /// The policy's actor over all characters.
    pub actor: Perceptron<T>,
    /// [P, 1] log-density of the actions.
    pub log_prob: Mat<T>,
    /// Plan that puts every character at a start.
    pub start: Plan,
    /// Plan of one step of the policy's mean.
    pub play: Plan,
    /// Plan of one step of latents from the prior, whatever the task asks.
    pub random: Plan,
    /// Plan of one step of the actions that are there, up to the observation that a character which
    /// is done comes to.
    pub given: Plan,
    /// Plan that starts characters anew which are done, after [`Stage::given`].
    pub anew: Plan,
    /// The current step.
    pub state: Mat<StepState>,
    schedule: Mat<StepState>,
    cursor: Mat<u32>,
    logstd: Mat<T>,
    /// Seed of everything random.
    pub seed: u64,
    horizon: usize,
}

/// The characters on a stage, and how long they act.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    /// P: characters side by side.
    pub characters: usize,
    /// Steps after which time is out.
    pub horizon: usize,
    /// Most steps whose states are written ahead.
    pub ahead: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Whether the characters' clocks are spread over the horizon.
    pub staggered: bool,
    /// Whether there is a way back through a step: gradients of its inputs, or none.
    pub wanted: Wanted,
    /// The costs of a step.
    pub costs: Costs,
}

impl Stage<f32> {
    /// Lays out characters that `policy` steers. Errors: shapes that do not fit.
    pub fn new(
        arena: &mut Arena,
        material: &Material,
        frozen: &Frozen,
        policy: &Parameters<f32>,
        cast: Cast,
    ) -> Result<Self> {
        let Cast { characters, horizon, ahead, seed, staggered, wanted, costs } = cast;
        let m = material.decoder.model();
        let widest = material.observation.max(m.widest().1);
        if characters.saturating_mul(widest) > MAX_MATRIX {
            let what = format!("{characters} characters of {widest} numbers each");
            return Err(Error::Usage(format!("{what}: expected at most {MAX_MATRIX} in all; take fewer characters")));
        }
        let options = EnvironmentOptions {
            model: m,
            rules: Rules { horizon, staggered, ..material.rules },
            characters,
            frame_skip: material.frame_skip,
            poses: material.poses.len() / (m.frame_size * m.condition_frames),
            course: material.course.len(),
            normalize: material.normalize,
            costs,
            wanted,
        };
        let walker = material.lower.as_ref().zip(frozen.lower.as_ref());
        let walker = walker.map(|(walker, parameters)| Lower { parameters, normalized: walker.normalized });
        Stage::of(arena, &options, (&frozen.decoder, walker), policy, (ahead, seed))
    }

    /// The surroundings of the characters in an episode of `steps` steps.
    pub fn scene(&self, material: &Material, steps: usize, seed: u64) -> Scene {
        let env = &self.environment;
        Scene {
            rules: env.world.rules,
            characters: env.world.root.rows(),
            frame_skip: env.frame_skip,
            frames: steps * env.frame_skip,
            seed,
            course: material.course.clone(),
            rig: material.rig.clone(),
        }
    }

    /// Writes the poses to start from, the normalisation of poses, and the course. Errors: those of
    /// the backend.
    pub(crate) fn furnish(&self, material: &Material, memory: &mut Memory) -> Result<()> {
        let decoder = &material.decoder;
        let (scale, shift) = decoder.statistics.scale_and_shift(decoder.meta.normalization);
        self.environment.write_normalization(memory, &scale, &shift)?;
        memory.write(self.environment.world.poses, &material.poses)?;
        let (place, program) = self.environment.world.program();
        memory.write(place, program)?;
        let body = material.rules.body;
        let points: Vec<f32> = material.course.as_flattened().iter().map(|&x| (x * body) as f32).collect();
        memory.write(self.environment.world.course, &points)
    }
}

impl<T: Real> Stage<T> {
    /// Lays out characters in surroundings that are described, which `policy` steers. Errors:
    /// shapes that do not fit.
    pub fn of(
        arena: &mut Arena,
        options: &EnvironmentOptions,
        (decoder, walker): (&Parameters<T>, Option<Lower<T>>),
        policy: &Parameters<T>,
        (ahead, seed): (usize, u64),
    ) -> Result<Self> {
        let state = arena.mat(1, 1);
        let (schedule, cursor) = (arena.mat(1, ahead), arena.mat(1, 2));
        let environment = Environment::new(arena, decoder, walker, state, options)?;
        let grad = environment.back.as_ref().map_or(Mat::NONE, |back| back.observation.grad);
        let seen = Var { value: environment.observation, grad };
        let actor = Perceptron::actor(arena, policy, seen, Var::none(), options.wanted)?;
        let (log_prob, logstd) = (arena.mat(options.characters, 1), policy.var("dist.logstd._bias").value);
        let (start, play, random, given, anew) = Default::default();
        let horizon = options.rules.horizon;
        let mut stage = Stage {
            environment,
            actor,
            log_prob,
            start,
            play,
            random,
            given,
            anew,
            state,
            schedule,
            cursor,
            logstd,
            seed,
            horizon,
        };
        let mut start = Plan::default();
        stage.first(&mut start);
        stage.last(&mut start)?;
        stage.start = start;
        stage.play = stage.step(|plan| stage.act(plan, Mat::NONE))?;
        let mut given = Plan::default();
        stage.first(&mut given);
        stage.move_on(&mut given)?;
        stage.environment.draw_noise(&mut given);
        stage.environment.observe(&mut given)?;
        stage.given = given;
        let mut anew = Plan::default();
        stage.environment.world.reset(&mut anew);
        stage.environment.observe(&mut anew)?;
        stage.anew = anew;
        stage.random = stage.step(|plan| {
            let env = &stage.environment;
            normal::push(plan, state, env.action, Purpose::Explore, env.prior_spread());
            Ok(())
        })?;
        Ok(stage)
    }

    /// Appends the policy's action: its mean, or with `noise` an exploring action.
    pub fn act(&self, plan: &mut Plan, noise: Mat<T>) -> Result<()> {
        self.actor.forward(plan);
        let into = (self.environment.action, self.log_prob);
        gaussian_action::push(plan, (self.actor.y.value, self.logstd), noise, into)
    }

    /// The plan of a step in which `act` appends the choice of the action.
    pub fn step(&self, act: impl FnOnce(&mut Plan) -> Result<()>) -> Result<Plan> {
        let mut plan = Plan::default();
        self.first(&mut plan);
        act(&mut plan)?;
        self.move_on(&mut plan)?;
        self.last(&mut plan)?;
        Ok(plan)
    }

    /// Appends the draws of the task and the step from action to reward.
    fn move_on(&self, plan: &mut Plan) -> Result<()> {
        self.environment.draw(plan);
        self.environment.step(plan)
    }

    /// Appends the call that keeps a step in its row of a rollout.
    pub(crate) fn keep(&self, plan: &mut Plan, rollout: &Rollout<T>) {
        let env = &self.environment;
        let (log_prob, outcome) = (self.log_prob, env.world.outcome);
        let step = experience::Step { observation: env.observation, action: env.action, log_prob, outcome };
        experience::store::push(plan, self.state, &step, rollout);
    }

    /// Appends the call that makes the next step current.
    pub(crate) fn first(&self, plan: &mut Plan) {
        begin_step::push::<T>(plan, self.schedule, Mat::NONE, self.cursor, self.state);
    }

    fn last(&self, plan: &mut Plan) -> Result<()> {
        self.environment.draw_noise(plan);
        self.environment.world.reset(plan);
        self.environment.observe(plan)
    }

    /// Puts every character at a start, with the clock at its beginning. Errors: those of the
    /// backend.
    pub fn restart(&self, memory: &mut Memory) -> Result<()> {
        let outcome = self.environment.world.outcome;
        memory.write(outcome, &vec![T::zero(); outcome.len()])?;
        let (seed, rollout_step) = (self.seed, self.horizon as u32);
        self.write_schedule(memory, &[StepState { seed, rollout_step, ..StepState::default() }])?;
        memory.run(&self.start)
    }

    /// Writes the states of the next `count` steps, after `done` steps. Each step has a row of the
    /// rollout. Errors: those of the backend.
    pub fn write_steps(&self, memory: &mut Memory, done: u64, count: usize) -> Result<()> {
        self.write_planned(memory, done, done, count)
    }

    /// Writes the states of the next `count` steps, where the clock shows `clock` and random
    /// numbers are those after `done` steps. Errors: those of the backend.
    pub(crate) fn write_planned(&self, memory: &mut Memory, clock: u64, done: u64, count: usize) -> Result<()> {
        let state = |row: usize| {
            let (clock, step) = (clock + row as u64, done + row as u64);
            StepState {
                seed: self.seed,
                step: step + 1,
                rollout_step: (clock % self.horizon as u64) as u32 + 1,
                minibatch: row as u32,
                ..StepState::default()
            }
        };
        self.write_schedule(memory, &(0..count).map(state).collect::<Vec<_>>())
    }

    /// Writes the states of the way back through `count` steps: the rows of the rollout in the
    /// opposite order. Errors: those of the backend.
    pub fn write_way_back(&self, memory: &mut Memory, count: usize) -> Result<()> {
        let state = |row: usize| StepState { minibatch: row as u32, ..StepState::default() };
        self.write_schedule(memory, &(0..count).rev().map(state).collect::<Vec<_>>())
    }

    /// Most steps whose states can be written ahead.
    pub fn ahead(&self) -> usize {
        self.schedule.len()
    }

    fn write_schedule(&self, memory: &mut Memory, states: &[StepState]) -> Result<()> {
        let mut all = memory.read(self.schedule)?;
        all[..states.len()].copy_from_slice(states);
        memory.write(self.schedule, &all)?;
        memory.write(self.cursor, &[0, 0])
    }
}

/// The task's rules for a body; the arena is filled in later.
fn rules(c: &PolicyConfig, rig: &Rig) -> Result<Rules> {
    let body = if c.literal { 1.0 } else { rig.hip_height / REFERENCE_HIPS };
    if !(body.is_finite() && body > 0.0) {
        let what = format!("its hips are at a height of {}", rig.hip_height);
        return Err(Error::checkpoint(&c.vae, what, "train it on data of a character that stands"));
    }
    let speed = if c.top_speed > 0.0 { c.top_speed } else { rig.speeds.q95 / body };
    if c.task.info().speed && speed <= 0.0 {
        return Err(Error::checkpoint(
            &c.vae,
            "its data never moves, so no speed is known",
            "give one with --top-speed",
        ));
    }
    let floors = if c.literal { [0.0; 2] } else { rig.toe_floors };
    let (task, toes, horizon, literal) = (c.task, rig.skeleton.toes, c.horizon(), c.literal);
    let anew = task.info().anew;
    Ok(Rules { task, body, speed, toes, floors, arena: [0.0; 2], horizon, anew, literal, staggered: false })
}

/// The remedy where a decoder is another one than before: the one of before, which a character that
/// was made anew keeps beside it.
fn put_back(vae: &Path) -> String {
    let run = vae.ancestors().nth(2).unwrap_or(vae);
    let mut before = run.as_os_str().to_owned();
    before.push("-before");
    match Path::new(&before).is_dir() {
        true => format!("the old one may be {}: rename it to {}", before.display(), run.display()),
        false => format!("put the old {} back", vae.display()),
    }
}

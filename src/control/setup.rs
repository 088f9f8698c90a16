//! The state of a controller before its first update: exploring characters, policy and plans in one
//! arena, and parameters, either fresh or from a checkpoint.
use super::config::{Algorithm, PolicyConfig};
use super::learner::Learner;
use super::show::Show;
use super::stage::{Cast, Material, Stage};
use crate::backend::{Backend, Memory};
use crate::checkpoint::state::{Kept, State};
use crate::checkpoint::{Checkpoint, Meta, Progress, Tensor};
use crate::config::Variant;
use crate::config::layers::flag_of;
use crate::model::layout::Parameters;
use crate::model::network::Wanted;
use crate::motion::rig::METRES;
use crate::ops::axpby;
use crate::ops::costs::Costs;
use crate::ops::noise::normal;
use crate::ops::ppo_loss::slot;
use crate::ops::world::Rules;
use crate::philox::{Purpose, Stream};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat};
use crate::{Error, Result};
use std::path::Path;

/// Reward of an episode whose beginning was not seen; it stays the same whatever is added.
pub(crate) const UNSEEN: f64 = f64::NEG_INFINITY;

/// A controller, ready for its next update.
pub struct PolicySetup<'a> {
    /// The configuration.
    pub config: &'a PolicyConfig,
    /// The decoder and the task that the policy acts in.
    pub material: Material,
    /// The policy.
    pub policy: Parameters<f32>,
    /// The characters that explore.
    pub stage: Stage<f32>,
    /// The characters that the report shows.
    pub show: Show,
    /// The tensors and plans by which the policy learns.
    pub update: Learner,
    /// Plan that copies the current observations to the front of the rollout.
    pub begin: Plan,
    /// Plan of one step of the exploring policy, which stores the step in the rollout.
    pub explore: Plan,
    /// [P, A] noise of the last step, if the next step keeps some of it.
    last_noise: Mat<f32>,
    /// Memory of the arena that holds all of them.
    pub memory: Memory<'a>,
    /// Where training stands: `epoch` counts updates.
    pub at: Progress,
    /// Reward so far of each character's current episode, or [`UNSEEN`].
    pub episodes: Vec<f64>,
    /// Learning rate of the next update, if it is adaptive.
    pub rate: f64,
    /// Standard deviation of actions whose latents have the prior's distribution; `None` where
    /// actions are no latents.
    pub prior_spread: Option<f64>,
    /// Entropy that the bound of the standard deviation removed in this update, nats an entry.
    pub entropy_cut: f64,
}

impl<'a> PolicySetup<'a> {
    /// Reads decoder and data and lays out everything; resumes from the checkpoint `resume` if
    /// given. Errors: a decoder that cannot do the task or is not the one the controller was
    /// trained on, not enough memory.
    pub fn new(config: &'a PolicyConfig, backend: &'a dyn Backend, resume: Option<&Path>) -> Result<Self> {
        let c = config;
        let given = resume.map(|path| Ok::<_, Error>((Checkpoint::load(path)?, path))).transpose()?;
        let material = Material::load(c, given.as_ref().map(|(checkpoint, path)| (checkpoint, *path)), &[])?;

        let model = material.decoder.model();
        if let Some((what, mend)) = c.unfit(model.variant, model.future_predictions) {
            return Err(Error::Usage(format!("{}: {what}; give {}", c.vae.display(), flag_of(&mend))));
        }
        let (mut arena, layout) = (Arena::default(), material.layout());
        if let Some(what) = layout.too_large() {
            return Err(Error::Usage(format!("{what}; make hidden_size smaller")));
        }
        given.iter().try_for_each(|(checkpoint, path)| checkpoint.holds(path, &layout))?;
        let frozen = material.frozen(&mut arena);
        let policy = Parameters::<f32>::new(&mut arena, layout, true);
        let (characters, horizon, seed) = (c.characters, c.horizon(), c.seed);
        let wanted = match c.algorithm {
            Algorithm::Shac => Wanted::Inputs,
            Algorithm::Ppo => Wanted::Nothing,
        };
        let (staggered, costs) = (c.stagger_episodes, costs(c, &material));
        let cast = Cast { characters, horizon, ahead: c.steps(), seed, staggered, wanted, costs };
        let stage = Stage::new(&mut arena, &material, &frozen, &policy, cast)?;
        let show = Show::new(&mut arena, &material, &frozen, &policy, c)?;
        let prior_spread = (!is_free(c, &material)).then(|| stage.environment.prior_spread());
        let mean_weight = prior_spread.map_or(0.0, |s| 0.5 * c.prior_weight / (s * s));
        // The KL of N(mean, s^2) from N(0, s^2) is 0.5 |mean / s|^2.
        let update = Learner::new(&mut arena, c, &policy, &stage, mean_weight)?;
        let mut begin = Plan::default();
        update.rollout().begin(&mut begin, stage.environment.observation)?;
        let (explore, last_noise) = explore(&mut arena, &stage, &update, c.noise_correlation)?;
        let mut memory = Memory::new(backend, arena)?;

        material.write_frozen(&frozen, &mut memory)?;
        stage.furnish(&material, &mut memory)?;
        show.stage.furnish(&material, &mut memory)?;
        let (at, rate) = (Progress::start(material.fingerprint), c.learning_rate);
        let mut episodes = vec![if c.stagger_episodes { UNSEEN } else { 0.0 }; characters];
        episodes[0] = 0.0;
        let entropy_cut = 0.0;
        let mut setup = PolicySetup {
            config,
            material,
            policy,
            stage,
            show,
            update,
            begin,
            explore,
            last_noise,
            memory,
            at,
            episodes,
            rate,
            prior_spread,
            entropy_cut,
        };
        match given {
            None => setup.initialize()?,
            Some((checkpoint, path)) => setup.restore(&checkpoint, path)?,
        }
        let mut losses = setup.memory.read(setup.update.losses())?;
        losses[slot::WEIGHT] = c.value_weight;
        setup.memory.write(setup.update.losses(), &losses)?;
        Ok(setup)
    }

    /// Initialises the parameters, and puts every character at a start.
    fn initialize(&mut self) -> Result<()> {
        crate::train::step::initialize(&mut self.memory, &self.policy, self.config.seed)?;
        let logstd = self.policy.var("dist.logstd._bias").value;
        let initial = self.config.initial_std.ln() as f32;
        self.memory.write(logstd, &vec![initial; logstd.len()])?;
        let first = Stream::new(self.config.seed, Purpose::Explore, 0);
        let noise = (0..self.last_noise.len().div_ceil(4)).flat_map(|block| first.normals(block as u32));
        self.memory.write(self.last_noise, &noise.take(self.last_noise.len()).collect::<Vec<_>>())?;
        self.stage.restart(&mut self.memory)
    }

    /// True if every update is done.
    pub fn finished(&self) -> bool {
        self.at.epoch > self.config.updates()
    }

    /// The tensors that outlive an update, beside the policy, by name.
    fn kept(&self) -> Vec<(&'static str, Kept)> {
        let w = &self.stage.environment.world;
        vec![
            ("world.history", Kept::Single(w.history)),
            ("world.root", Kept::Single(w.root)),
            ("world.facing", Kept::Single(w.facing)),
            ("world.feet", Kept::Single(w.feet)),
            ("world.own", Kept::Single(w.own)),
            ("world.draws", Kept::Single(w.draws)),
            ("world.outcome", Kept::Single(w.outcome)),
            ("world.observation", Kept::Single(self.stage.environment.observation)),
            ("world.seen", Kept::Single(w.observation)),
            ("world.words", Kept::Words(w.words)),
            ("explore.noise", Kept::Single(self.last_noise)),
        ]
    }

    /// Writes a checkpoint from which training can resume.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut more = self.material.tensors();
        more.push(Tensor::f64("trainer.episodes", &[self.episodes.len()], self.episodes.as_slice()));
        more.push(Tensor::f64("trainer.learning_rate", &[1], vec![self.rate]));
        let json = serde_json::to_value(self.config).expect("a configuration is plain data");
        let meta = &self.material.decoder.meta;
        let meta = Meta::new(meta.model.clone(), meta.normalization, json, Some(self.at.clone()));
        let meta = Meta { rig: Some(self.material.rig.clone()), ..meta };
        State::new(&self.policy, self.kept()).save(&self.memory, more, meta, path)
    }

    fn restore(&mut self, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        let progress = checkpoint.meta.as_ref().and_then(|meta| meta.progress.clone());
        let progress = progress.ok_or_else(|| Error::checkpoint(path, "holds no training state", "start a new run"))?;
        State::new(&self.policy, self.kept()).restore(&mut self.memory, checkpoint, path)?;
        self.episodes = checkpoint.numbers(path, "trainer.episodes", &[self.episodes.len()])?;
        checkpoint.copy(path, "trainer.learning_rate", &[1], std::slice::from_mut(&mut self.rate))?;
        let (done, steps) = (progress.epoch - 1, self.update.steps() as u64);
        if done > self.config.updates()
            || progress.minibatch + progress.rollout_step > 0
            || progress.step != done as u64 * steps
        {
            let what = format!("{done} updates and {} steps, which no run of its configuration has", progress.step);
            return Err(Error::checkpoint(path, what, "use the checkpoint as the run wrote it"));
        }
        if !(self.rate.is_finite() && self.rate >= 0.0) {
            let what = format!("its learning rate is {}", self.rate);
            return Err(Error::checkpoint(path, what, "use the checkpoint as the run wrote it"));
        }
        self.at = progress;
        Ok(())
    }
}

/// True if actions are no latents: with a lower level they are goals, with vq they pick a code.
fn is_free(c: &PolicyConfig, material: &Material) -> bool {
    c.task.info().lower.is_some() || material.decoder.model().variant == Variant::Vq
}

/// The costs of a configuration for a body.
fn costs(c: &PolicyConfig, material: &Material) -> Costs {
    let (skate, effort, jerk, stand) = (c.skate_cost, c.effort_cost, c.jerk_cost, c.stand_cost);
    let Rules { toes, floors, body, .. } = material.rules;
    Costs { skate, effort, jerk, stand, metres: METRES, fps: material.rig.fps, body, toes, floors }
}

/// The plan of one step of the exploring policy, which stores the step in the rollout, and the
/// tensor of its noise.
///
/// The next step keeps the share `correlation` of that noise. This is a first-order autoregressive
/// process whose numbers are standard normal at each step.
fn explore(arena: &mut Arena, stage: &Stage<f32>, update: &Learner, correlation: f64) -> Result<(Plan, Mat<f32>)> {
    let env = &stage.environment;
    let mut mat = || arena.mat(env.action.rows(), env.action.cols());
    let (noise, [fresh, last]) = (mat(), if correlation > 0.0 { [mat(), mat()] } else { [Mat::NONE; 2] });
    let mut explore = stage.step(|plan| {
        update.before(plan, stage);
        if last.is_none() {
            normal::push(plan, stage.state, noise, Purpose::Explore, 1.0);
        } else {
            normal::push(plan, stage.state, fresh, Purpose::Explore, (1.0 - correlation * correlation).sqrt());
            axpby::push(plan, (1.0, fresh), (correlation, last), noise)?;
            axpby::push(plan, (1.0, noise), (0.0, Mat::NONE), last)?;
        }
        stage.act(plan, noise)
    })?;
    update.after(&mut explore, stage);
    Ok((explore, last))
}

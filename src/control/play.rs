//! A policy or planner at work: records the characters that it steers, frame by frame, and opens
//! trained controllers.
use super::config::PolicyConfig;
use super::planner::Planner;
use super::stage::{Cast, Material, Stage};
use crate::Result;
use crate::backend::{Backend, Memory};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::foreign::Controller;
use crate::model::layout::{Layout, Parameters};
use crate::model::network::Wanted;
use crate::motion::Root;
use crate::ops::advantage::OUTCOME;
use crate::ops::costs::Costs;
use crate::plan::arena::Arena;
use std::path::{Path, PathBuf};

/// Steps whose states are written ahead.
const AHEAD: usize = 256;

/// A trained policy, and all that it was trained in.
pub struct Policy {
    /// The decoder and the task that it acts in.
    pub material: Material,
    /// Layout of its tensors.
    pub layout: Layout,
    /// Values of its tensors.
    pub values: Vec<f32>,
}

impl Policy {
    /// Opens the checkpoint of a controller, trained as `config` says. A controller of the public
    /// implementation starts from poses of `data`. Errors: a checkpoint that cannot be read,
    /// another decoder or task than it was trained with.
    pub fn open(file: &Path, config: &PolicyConfig, data: &[PathBuf]) -> Result<Self> {
        let (checkpoint, described) = Checkpoint::load_described(file)?;
        if let Some(described) = described {
            let controller = Controller::of(file, &described, &checkpoint.tensors)?;
            let material = Material::load(config, None, data)?;
            controller.require(file, config.task, material.observation, material.actions())?;
            let (layout, values) = controller.policy();
            return Ok(Policy { material, layout, values });
        }
        let material = Material::load(config, Some((&checkpoint, file)), data)?;
        let layout = material.layout();
        checkpoint.holds(file, &layout)?;
        let mut values = vec![0.0; layout.len];
        for tensor in &layout.tensors {
            checkpoint.copy(file, &tensor.name, &tensor.shape, &mut values[tensor.first()..][..tensor.len()])?;
        }
        Ok(Policy { material, layout, values })
    }

    /// A policy that has learned nothing, for characters that others steer, in the surroundings of
    /// `config`. Characters start from poses of `data`, or of the decoder's training data. Errors:
    /// those of [`Material::load`].
    pub fn untrained(config: &PolicyConfig, data: &[PathBuf]) -> Result<Self> {
        let material = Material::load(config, None, data)?;
        let layout = material.layout();
        Ok(Policy { values: vec![0.0; layout.len], material, layout })
    }
}

/// A policy, and the characters that it may steer.
pub struct Play<'a> {
    /// The decoder and the task that the policy acts in.
    pub material: Material,
    /// The characters.
    pub stage: Stage<f32>,
    /// Memory of the arena that holds them.
    pub memory: Memory<'a>,
}

impl<'a> Play<'a> {
    /// Lays out characters that all begin together, for a number of them and of steps an episode,
    /// and a seed. The task asks for something new after `anew` seconds, if that is given and the
    /// task does so at all. Errors: those of [`Play::new`].
    pub fn open(
        mut policy: Policy,
        backend: &'a dyn Backend,
        sizes: (usize, usize, u64),
        anew: Option<f64>,
    ) -> Result<Self> {
        let frame_skip = policy.material.frame_skip();
        let Material { rules, rig, .. } = &mut policy.material;
        if let Some(seconds) = anew.filter(|_| rules.anew > 0) {
            rules.anew = (seconds * rig.fps / frame_skip as f64).round().max(1.0) as usize;
        }
        rules.literal &= rules.task.info().steered.is_none();
        Play::new(policy, backend, sizes, false)
    }

    /// Lays out a number of characters for a number of steps an episode, and a seed. Their clocks
    /// are spread over the episode if they are `staggered`. Errors: not enough memory.
    pub fn new(
        policy: Policy,
        backend: &'a dyn Backend,
        (characters, horizon, seed): (usize, usize, u64),
        staggered: bool,
    ) -> Result<Self> {
        let Policy { material, layout, values } = policy;
        let mut arena = Arena::default();
        let frozen = material.frozen(&mut arena);
        let policy = Parameters::<f32>::new(&mut arena, layout, false);
        let cast = Cast {
            characters,
            horizon,
            ahead: AHEAD,
            seed,
            staggered,
            wanted: Wanted::Nothing,
            costs: Costs::default(),
        };
        let stage = Stage::new(&mut arena, &material, &frozen, &policy, cast)?;
        let mut memory = Memory::new(backend, arena)?;
        material.write_frozen(&frozen, &mut memory)?;
        stage.furnish(&material, &mut memory)?;
        memory.write(policy.values, &values)?;
        Ok(Play { material, stage, memory })
    }
}

/// Who acts.
pub enum Who<'p, 'a> {
    /// The mean of the trained policy.
    Trained,
    /// Latents from the prior.
    Prior,
    /// A planner.
    Planner(&'p mut Planner<'a>),
}

/// Runs all characters from fresh starts for `steps` steps. `see` is called after the start and
/// after each step. Errors: those of the backend and of `see`.
pub fn perform(
    stage: &Stage<f32>,
    memory: &mut Memory,
    mut who: Who,
    steps: usize,
    mut see: impl FnMut(&Stage<f32>, &Memory) -> Result<()>,
) -> Result<()> {
    stage.restart(memory)?;
    see(stage, memory)?;
    for step in 0..steps {
        let ahead = stage.ahead();
        if step % ahead == 0 {
            stage.write_steps(memory, step as u64, ahead.min(steps - step))?;
        }
        match &mut who {
            Who::Trained => memory.run(&stage.play)?,
            Who::Prior => memory.run(&stage.random)?,
            Who::Planner(planner) => {
                let actions = planner.actions(stage, memory, step)?;
                memory.write(stage.environment.action, &actions)?;
                memory.run(&stage.given)?;
                memory.run(&stage.anew)?;
            }
        }
        see(stage, memory)?;
    }
    Ok(())
}

/// The recorded motion of one character.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Performance {
    /// The condition at the start: the newest frame first, then older ones.
    pub start: Vec<f32>,
    /// Position and facing at the start.
    pub from: Root,
    /// Frames in the data's units, [N, F].
    pub frames: Vec<f32>,
    /// Position and facing in each frame.
    pub roots: Vec<Root>,
    /// The latent of each frame (vq: that of its code), [N, L].
    pub latents: Vec<f32>,
    /// The pairs that the task records ([`crate::ops::world::task::TaskInfo::recorded`]), in its
    /// order: one at the start and one for each frame.
    pub recorded: Vec<Vec<[f32; 2]>>,
}

impl Performance {
    /// Drops everything after the first `frames` frames.
    fn cut(&mut self, frames: usize) {
        let kept = frames.min(self.roots.len());
        let of = |numbers: usize| numbers / self.roots.len().max(1) * kept;
        let (features, latents) = (of(self.frames.len()), of(self.latents.len()));
        self.frames.truncate(features);
        self.latents.truncate(latents);
        self.roots.truncate(kept);
        self.recorded.iter_mut().for_each(|pairs| pairs.truncate(kept + 1));
    }
}

/// Records `frames` frames of every character. One whose episode ends early (at a wall) is recorded
/// until then. Errors: those of the backend.
pub fn record(stage: &Stage<f32>, memory: &mut Memory, who: Who, frames: usize) -> Result<Vec<Performance>> {
    let w = &stage.environment.world;
    let steps = frames.div_ceil(stage.environment.frame_skip);
    let characters = w.root.rows();
    let places = w.rules.task.info().recorded;
    let empty = Performance { recorded: vec![Vec::new(); places.len()], ..Performance::default() };
    let mut all = vec![empty; characters];
    let mut over = vec![false; characters];
    let mut begun = false;
    perform(stage, memory, who, steps, |_, memory| {
        let (roots, facings) = (memory.read(w.root)?, memory.read(w.facing)?);
        let own = memory.read(w.own)?;
        let history = if begun { Vec::new() } else { memory.read(w.history)? };
        let z = stage.environment.network.z.value;
        let (frames, latents) = (memory.read(w.frames)?, memory.read(z)?);
        let outcome = memory.read(w.outcome)?;
        for (p, one) in all.iter_mut().enumerate() {
            let root = Root { x: roots[2 * p].into(), z: roots[2 * p + 1].into(), facing: facings[p].into() };
            over[p] |= begun && outcome[p * OUTCOME + 1] == 0.0;
            if over[p] {
                continue;
            }
            if !begun {
                one.start = history[p * w.history.cols()..][..w.history.cols()].to_vec();
                one.from = root;
            } else {
                let row = &frames[p * w.frames.cols()..][..stage.environment.frame_skip * w.frame_size()];
                let mut at = one.roots.last().copied().unwrap_or(one.from);
                for frame in row.chunks_exact(w.frame_size()) {
                    at = at.advanced([frame[0].into(), frame[1].into(), frame[2].into()]);
                    one.frames.extend_from_slice(frame);
                    one.roots.push(at);
                    one.latents.extend_from_slice(&latents[p * z.cols()..][..z.cols()]);
                }
                *one.roots.last_mut().expect("a step has a frame") = root;
            }
            for (pairs, (_, place)) in one.recorded.iter_mut().zip(places) {
                let at = p * w.own.cols() + place;
                pairs.resize(one.roots.len() + 1, [own[at], own[at + 1]]);
            }
        }
        begun = true;
        Ok(())
    })?;
    all.iter_mut().for_each(|one| one.cut(frames));
    Ok(all)
}

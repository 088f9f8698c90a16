//! Motion for the report's player: a few characters that the policy steers, and their task.
use super::config::PolicyConfig;
use super::play::{Performance, Play, Policy, Who, record};
use super::stage::{Cast, Frozen, Material, Stage};
use super::steer::Steering;
use crate::Result;
use crate::backend::{Backend, Memory};
use crate::model::layout::{Layout, Parameters};
use crate::model::network::Wanted;
use crate::ops::costs::Costs;
use crate::ops::world::task::Scene;
use crate::plan::arena::{Arena, Mat};
use crate::run::player::{self, Kind, Motion, Track};

/// Number of characters in the player.
const CHARACTERS: usize = 3;
/// Length of each character's motion, seconds.
const SECONDS: f64 = 20.0;
/// Bytes of all tracks in the page, at most.
const BYTES: usize = 1_500_000;

/// The data that lets a person steer in a page, with characters that start as those of `seed` do.
/// Errors: a tensor is missing, those of the backend.
///
/// # Panics
/// If the policy's task is not one that a person can steer.
pub(crate) fn steering(policy: Policy, backend: &dyn Backend, seed: u64) -> Result<serde_json::Value> {
    let command = policy.material.rules.task.info().steered.expect("a task that can be steered");
    let steering = Steering::new(&policy.material, command)?;
    let (layout, values) = (policy.layout.clone(), policy.values.clone());
    let mut play = Play::new(policy, backend, (CHARACTERS, 2, seed), false)?;
    let shown = record(&play.stage, &mut play.memory, Who::Trained, 1)?;
    Ok(steering.with_policy(&layout, &values, &shown))
}

/// The characters that the report shows, on a stage of their own.
pub struct Show {
    /// Their stage.
    pub stage: Stage<f32>,
    scene: Scene,
    steps: usize,
    /// The data that lets a person steer in the page, where the task can be steered.
    steering: Option<Steering>,
    policy: (Layout, Mat<f32>),
}

impl Show {
    /// Lays out the characters. Errors: shapes that do not fit.
    pub fn new(
        arena: &mut Arena,
        material: &Material,
        frozen: &Frozen,
        policy: &Parameters<f32>,
        c: &PolicyConfig,
    ) -> Result<Self> {
        let rig = &material.rig;
        let a_frame = CHARACTERS * player::bytes_a_frame(rig.skeleton.len());
        let steps = ((SECONDS * rig.fps) as usize).min(BYTES / a_frame).max(1) / c.frame_skip;
        // No character's time runs out while it is watched.
        let cast = Cast {
            characters: CHARACTERS,
            horizon: steps + 1,
            ahead: steps,
            seed: c.seed,
            staggered: false,
            wanted: Wanted::Nothing,
            costs: Costs::default(),
        };
        let stage = Stage::new(arena, material, frozen, policy, cast)?;
        // The literal reference aims in another direction than a person does.
        let steered = c.task.info().steered.filter(|_| !c.literal);
        let steering = steered.map(|command| Steering::new(material, command)).transpose()?;
        let policy = (policy.layout.clone(), policy.values);
        let scene = stage.scene(material, steps, c.seed);
        Ok(Show { stage, scene, steps, steering, policy })
    }

    /// Records the characters under the policy as it is after update `update`. Errors: those of the
    /// backend.
    pub fn make(&self, memory: &mut Memory, update: usize) -> Result<Motion> {
        let all = record(&self.stage, memory, Who::Trained, self.steps * self.stage.environment.frame_skip)?;
        let tracks: Vec<Track> = all.iter().enumerate().map(|(p, one)| self.track(p, one)).collect();
        let note = format!(
            "Characters that the policy steers (update {update}) for {:.0} s, and what is asked of them.",
            self.steps as f64 / self.scene.rig.fps
        );
        let mut packed = player::pack(&self.scene.rig, &tracks);
        if let Some(steering) = &self.steering {
            packed["steering"] = steering.with_policy(&self.policy.0, &memory.read(self.policy.1)?, &all);
        }
        Ok(Motion { note, tracks: Some(packed) })
    }

    fn track(&self, p: usize, one: &Performance) -> Track {
        let (name, start) = (format!("Character {}", p + 1), "controlled".to_owned());
        let mut track = Track::placed(name, Kind::Controlled, start, &self.scene.rig, &one.frames, &one.roots);
        let recorded: Vec<_> = one.recorded.iter().map(|pairs| &pairs[1..]).collect();
        track.task = (self.scene.rules.task.info().marks)(&self.scene, &recorded);
        track
    }
}

//! Motion for the report's player: a few characters that the policy steers, and their task.
use super::config::PolicyConfig;
use super::play::{Performance, record};
use super::stage::{Cast, Frozen, Material, Stage};
use super::steer::Steering;
use crate::Result;
use crate::backend::Memory;
use crate::model::layout::{Layout, Parameters};
use crate::motion::Rig;
use crate::motion::rig::METRES;
use crate::ops::world::{Rules, Task, target};
use crate::plan::arena::{Arena, Mat};
use crate::run::player::{self, Kind, Motion, Track};
use serde_json::{Value, json};

/// Number of characters in the player.
const CHARACTERS: usize = 3;
/// Length of each character's motion, seconds.
const SECONDS: f64 = 20.0;
/// Bytes of all tracks in the page, at most.
const BYTES: usize = 1_500_000;
/// Points of a path in the page, at most.
const POINTS: usize = 400;

/// The characters that the report shows, on a stage of their own.
pub struct Show {
    /// Their stage.
    pub stage: Stage,
    rig: Rig,
    rules: Rules,
    course: Vec<[f64; 2]>,
    steps: usize,
    /// Joystick: the data that lets a person steer in the page.
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
        let rig = material.rig.clone();
        let a_frame = CHARACTERS * player::bytes_a_frame(rig.skeleton.len());
        let steps = ((SECONDS * rig.fps) as usize).min(BYTES / a_frame).max(1) / c.frame_skip;
        // No character's time runs out while it is watched.
        let cast = Cast { characters: CHARACTERS, horizon: steps + 1, ahead: steps, seed: c.seed, staggered: false };
        let stage = Stage::new(arena, material, frozen, policy, cast)?;
        // The literal reference aims in another direction than a person does.
        let steered = c.task == Task::Joystick && !c.literal;
        let steering = steered.then(|| Steering::new(material, c.frame_skip)).transpose()?;
        let policy = (policy.layout.clone(), policy.values);
        Ok(Show { stage, rig, rules: material.rules, course: material.course().to_vec(), steps, steering, policy })
    }

    /// Records the characters under the policy as it is after update `update`. Errors: those of the
    /// backend.
    pub fn make(&self, memory: &mut Memory, update: usize) -> Result<Motion> {
        let all = record(&self.stage, memory, self.steps * self.stage.environment.frame_skip)?;
        let tracks: Vec<Track> = all.iter().enumerate().map(|(p, one)| self.track(p, one)).collect();
        let note = format!(
            "Characters that the policy steers (update {update}) for {:.0} s, and what is asked of them.",
            self.steps as f64 / self.rig.fps
        );
        let mut packed = player::pack(&self.rig, &tracks);
        if let Some(steering) = &self.steering {
            packed["steering"] = steering.with_policy(&self.policy.0, &memory.read(self.policy.1)?, &all);
        }
        Ok(Motion { note, tracks: Some(packed) })
    }

    fn track(&self, p: usize, one: &Performance) -> Track {
        let (name, start) = (format!("Character {}", p + 1), "controlled".to_owned());
        let mut track = Track::placed(name, Kind::Controlled, start, &self.rig, &one.frames, &one.roots);
        track.task = Some(self.task(one));
        track
    }

    /// The task of a character in metres and metres a second, as JSON for `task.js`.
    fn task(&self, one: &Performance) -> Value {
        let metres = |x: f64| (x * METRES * 1000.0).round() / 1000.0;
        let goals: Vec<[f64; 2]> = one.goals.iter().skip(1).map(|goal| goal.map(|x| metres(x.into()))).collect();
        let body = self.rules.body;
        let course: Vec<[f64; 2]> = self.course.iter().map(|point| point.map(|x| metres(x * body))).collect();
        match self.rules.task {
            Task::Target => json!({ "name": "target", "radius": metres(target::RADIUS * body), "goals": goals }),
            Task::Path => {
                let every = course.len().div_ceil(POINTS).max(1);
                let path: Vec<_> = course.iter().step_by(every).chain(course.first()).collect();
                json!({ "name": "path", "radius": metres(target::RADIUS * body), "goals": goals, "path": path })
            }
            Task::Joystick => {
                let speed = |x: f32| metres(f64::from(x) * body * self.rig.fps);
                let commands = one.commands.iter().skip(1);
                let commands: Vec<_> = commands.map(|c| [(f64::from(c[0]) * 1e4).round() / 1e4, speed(c[1])]).collect();
                json!({ "name": "joystick", "top": speed(self.rules.speed as f32), "commands": commands })
            }
            Task::Maze => json!({ "name": "maze", "walls": course.chunks(2).collect::<Vec<_>>() }),
            Task::Walk => json!({ "name": "walk" }),
        }
    }
}

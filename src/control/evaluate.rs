//! How well a policy does what is asked for: one episode of its mean, beside one of latents from the prior.
use super::play::{Play, Who, perform};
use super::stage::Stage;
use crate::Result;
use crate::arena::Mat;
use crate::backend::Memory;
use crate::motion::Rig;
use crate::ops::advantage::OUTCOME;
use crate::ops::world::{Task, joystick, path, target};
use crate::philox::{Purpose, Stream};
use serde::Serialize;

/// What was measured over an episode of all characters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Reward of a step, mean.
    pub step_reward: f64,
    /// Numbers of the task, by name.
    pub task: Vec<(&'static str, f64)>,
}

/// Runs one episode of `horizon` steps from fresh starts. Errors: those of the backend.
pub fn measure(play: &mut Play, who: Who, horizon: usize, seed: u64) -> Result<Measured> {
    let mut seen = Seen::default();
    let (mut reward, mut count) = (0.0, 0.0);
    let mut before = None;
    // After the last step everybody starts anew: what is there then is of the next episode.
    perform(&play.stage, &mut play.memory, who, horizon - 1, |stage, memory| {
        let target = read(memory, stage.environment.world.target)?;
        if let Some(before) = before.replace(target) {
            let outcome = read(memory, stage.environment.world.outcome)?;
            reward += outcome.chunks_exact(OUTCOME).map(|outcome| outcome[0]).sum::<f64>();
            count += (outcome.len() / OUTCOME) as f64;
            seen.ended += outcome.chunks_exact(OUTCOME).filter(|outcome| outcome[1] == 0.0).count() as f64;
            seen.add(stage, memory, (&before, &outcome))?;
        }
        Ok(())
    })?;
    let task = seen.numbers(&play.stage, &play.material.rig, count, (horizon, seed));
    Ok(Measured { step_reward: reward / count, task })
}

fn read(memory: &Memory, mat: Mat<f32>) -> Result<Vec<f64>> {
    Ok(memory.read(mat)?.into_iter().map(f64::from).collect())
}

/// Sums over steps and characters.
#[derive(Default)]
struct Seen {
    /// Episodes that ended early: in no human pose, or at a wall.
    ended: f64,
    hits: f64,
    near: f64,
    heading: f64,
    /// Frames in which a direction is asked for: any but those of speed 0.
    headed: f64,
    speed_error: f64,
    /// Commanded and achieved speeds.
    speeds: Vec<[f64; 2]>,
}

impl Seen {
    /// A step, given the targets before it and what it brought. Who is done starts anew, with another target.
    fn add(&mut self, stage: &Stage, memory: &Memory, (before, outcome): (&[f64], &[f64])) -> Result<()> {
        let w = &stage.environment.world;
        let (body, target, root) = (w.rules.body, read(memory, w.target)?, read(memory, w.root)?);
        let goes_on = |p: usize| outcome[p * OUTCOME + 1] > 0.0;
        match w.rules.task {
            Task::Target => {
                let pairs = target.chunks(2).zip(before.chunks(2)).enumerate();
                self.hits += pairs.filter(|(p, (now, before))| now != before && goes_on(*p)).count() as f64;
            }
            Task::Path => {
                let away = before.chunks(2).zip(root.chunks(2)).map(|(t, r)| (t[0] - r[0]).hypot(t[1] - r[1]));
                self.near +=
                    away.enumerate().filter(|(p, away)| *away < path::RADIUS * body && goes_on(*p)).count() as f64;
            }
            Task::Joystick => {
                let (command, facing, frames) =
                    (read(memory, w.command)?, read(memory, w.facing)?, read(memory, w.frames)?);
                let row = frames.len() / facing.len();
                for (p, command) in command.chunks(2).enumerate() {
                    if command[1] > 0.0 {
                        let angle = command[0] + facing[p]; // the bearing of the command in the character's own frame
                        self.heading += angle.sin().atan2(angle.cos()).abs().to_degrees();
                        self.headed += 1.0;
                    }
                    let speed = frames[p * row].hypot(frames[p * row + 1]) / body;
                    self.speed_error += (command[1] - speed).abs();
                    self.speeds.push([command[1], speed]);
                }
            }
            Task::Walk | Task::Maze => {}
        }
        Ok(())
    }

    fn numbers(&self, stage: &Stage, rig: &Rig, count: f64, episode: (usize, u64)) -> Vec<(&'static str, f64)> {
        let w = &stage.environment.world;
        let characters = w.root.rows() as f64;
        let mut numbers = match w.rules.task {
            Task::Target => {
                let ideal = ideal_targets(stage, rig, (episode.0 * stage.environment.frame_skip, episode.1));
                vec![("targets_reached", self.hits / characters), ("ideal_targets", ideal)]
            }
            Task::Path => vec![("near_share", self.near / count)],
            Task::Joystick => vec![
                ("heading_error_degrees", self.heading / self.headed),
                ("speed_error", self.speed_error / count),
                ("speed_range", w.rules.speed),
                ("speed_correlation", correlation(&self.speeds)),
                // A step's reward is that of all its frames.
                (
                    "best_constant_speed_reward",
                    stage.environment.frame_skip as f64 * best_constant(&self.speeds, w.rules.speed),
                ),
            ],
            Task::Walk | Task::Maze => Vec::new(),
        };
        numbers.push(("ended_early", self.ended / characters));
        numbers
    }
}

fn correlation(pairs: &[[f64; 2]]) -> f64 {
    let n = pairs.len() as f64;
    let mean = |i: usize| pairs.iter().map(|pair| pair[i]).sum::<f64>() / n;
    let (a, b) = (mean(0), mean(1));
    let product = |i: usize, j: usize, x: f64, y: f64| pairs.iter().map(|p| (p[i] - x) * (p[j] - y)).sum::<f64>();
    product(0, 1, a, b) / (product(0, 0, a, a) * product(1, 1, b, b)).sqrt()
}

/// Reward of a frame of the best policy that keeps one speed and heads right.
fn best_constant(pairs: &[[f64; 2]], top: f64) -> f64 {
    let of = |asked: f64, speed: f64| (-joystick::RANGE / top * (asked - speed).abs()).exp();
    let reward = |speed: f64| pairs.iter().map(|pair| of(pair[0], speed)).sum::<f64>() / pairs.len() as f64;
    (0..=100).map(|i| reward(top * f64::from(i) / 100.0)).fold(0.0, f64::max)
}

/// Targets that a point would reach in an episode of so many frames, which goes straight at the data's 75 % speed quantile: mean over as
/// many points as there are characters.
fn ideal_targets(stage: &Stage, rig: &Rig, (frames, seed): (usize, u64)) -> f64 {
    let (speed, points) = (rig.speeds.q75 / stage.environment.world.rules.body, stage.environment.world.root.rows());
    let reached = (0..points).map(|p| {
        let stream = Stream::new(seed, Purpose::Check, p as u64);
        let place = |i: usize| [0, 1].map(|axis| target::ARENA[axis] * (2.0 * stream.uniform(2 * i + axis) - 1.0));
        let (mut at, mut time, mut reached) = ([0.0, 0.0], 0.0, 0);
        loop {
            let goal: [f64; 2] = place(reached);
            let way = [goal[0] - at[0], goal[1] - at[1]];
            let far = way[0].hypot(way[1]);
            let walked = (far - target::RADIUS).max(0.0);
            time += (walked / speed).max(1.0);
            if time >= frames as f64 {
                break reached as f64;
            }
            at = [0, 1].map(|axis| at[axis] + way[axis] * walked / far.max(f64::MIN_POSITIVE));
            reached += 1;
        }
    });
    reached.sum::<f64>() / points as f64
}

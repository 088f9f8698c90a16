//! Evaluation of a policy: one episode of its mean actions, beside one of latents from the prior.
//!
//! Lengths are in metres and times in seconds, whatever the units of data, body and rules.
use super::play::{Play, Who, perform};
use super::stage::{Material, Stage};
use crate::Result;
use crate::backend::Memory;
use crate::motion::Rig;
use crate::motion::rig::METRES;
use crate::ops::advantage::OUTCOME;
use crate::ops::world::{LOST_REWARD, MAP, Task, joystick, path, target};
use crate::philox::{Purpose, Stream};
use crate::plan::arena::Mat;
use std::fmt::{self, Display, Formatter};

/// A measured number.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// Key of the number, which ends in its unit if it has one.
    pub key: &'static str,
    /// Description in words, with the unit.
    pub label: String,
    /// Value; NaN if nothing was observed.
    pub value: f64,
}

/// The measurements of a policy and of latents from the prior, both from the same starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The task.
    pub task: Task,
    /// Characters side by side.
    pub characters: usize,
    /// Steps of the episode.
    pub steps: usize,
    /// Length of the episode, seconds.
    pub seconds: f64,
    /// Numbers of the policy's mean actions.
    pub policy: Vec<Number>,
    /// Numbers of latents from the prior.
    pub prior: Vec<Number>,
}

/// Runs two episodes of `steps` steps from fresh starts, one of each kind. Errors: those of the
/// backend.
pub fn compare(play: &mut Play, steps: usize, seed: u64) -> Result<Report> {
    let [policy, prior] = [Who::Trained, Who::Prior].map(|who| measure(play, who, steps, seed));
    let (mut policy, prior) = (policy?, prior?);
    let key = "targets_reached";
    if let (Some(reached), Some(of_prior)) = (find(&policy, key), find(&prior, key)) {
        let after = policy.iter().position(|number| number.key == "of_ideal_percent").map_or(policy.len(), |i| i + 1);
        policy.insert(after, number("times_the_prior", "reached, times the prior's", reached / of_prior));
    }
    let w = &play.stage.environment.world;
    let seconds = (steps * play.stage.environment.frame_skip) as f64 / play.material.rig.fps;
    Ok(Report { task: w.rules.task, characters: w.root.rows(), steps, seconds, policy, prior })
}

impl Report {
    /// The policy's number of that name, if it was observed.
    pub fn get(&self, key: &str) -> Option<f64> {
        find(&self.policy, key).filter(|value| !value.is_nan())
    }
}

fn find(numbers: &[Number], key: &str) -> Option<f64> {
    numbers.iter().find(|number| number.key == key).map(|number| number.value)
}

fn number(key: &'static str, label: impl Into<String>, value: f64) -> Number {
    Number { key, label: label.into(), value }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let (task, characters, steps) = (self.task.name(), self.characters, self.steps);
        writeln!(f, "task {task}, characters: {characters}, {steps} steps ({:.1} s)", self.seconds)?;
        let wide = self.policy.iter().map(|number| number.label.chars().count()).max().unwrap_or_default();
        writeln!(f, "{:wide$} {:>10} {:>10}", "", "policy", "prior")?;
        let text = |value: f64| {
            let digits = if value.abs() < 100.0 { 3 } else { 1 };
            if value.is_nan() { "-".into() } else { format!("{value:.digits$}") }
        };
        self.policy.iter().try_for_each(|Number { key, label, value }| {
            let prior = find(&self.prior, key).unwrap_or(f64::NAN);
            writeln!(f, "{label:wide$} {:>10} {:>10}", text(*value), text(prior))
        })
    }
}

fn measure(play: &mut Play, who: Who, steps: usize, seed: u64) -> Result<Vec<Number>> {
    let mut seen = Seen::new(&play.stage, &play.material);
    let mut before = None;
    // After the last step every character starts anew, so that step's targets are those of the next
    // episode.
    perform(&play.stage, &mut play.memory, who, steps - 1, |stage, memory| {
        let target = read(memory, stage.environment.world.target)?;
        before.replace(target).map_or(Ok(()), |before| seen.add(memory, &before))
    })?;
    Ok(seen.numbers(steps, seed))
}

fn read(memory: &Memory, mat: Mat<f32>) -> Result<Vec<f64>> {
    Ok(memory.read(mat)?.into_iter().map(f64::from).collect())
}

/// A running mean.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, x: f64) {
        self.sum += x;
        self.count += 1.0;
    }

    fn value(&self) -> f64 {
        self.sum / self.count
    }
}

/// Sums of what all characters did, step by step.
struct Seen<'a> {
    stage: &'a Stage,
    rig: &'a Rig,
    course: &'a [[f64; 2]],
    /// Metres in a body unit.
    metres: f64,
    /// Metres a second in a body unit a frame.
    speed_unit: f64,
    reward: Mean,
    /// Speed of the characters, m/s.
    speed: Mean,
    /// Number of episodes that ended early: in a pose that is not human, or at a wall.
    ended: f64,
    /// Number of episodes that ended at a wall (maze).
    walls: f64,
    targets: f64,
    /// Share of the time near the point of the path.
    near: Mean,
    /// Distance from the point of the path, m.
    distance: Mean,
    /// Error of the heading, degrees. Not measured at a commanded speed of 0, which has no
    /// direction.
    heading: Mean,
    speed_error: Mean,
    /// Pairs of commanded and achieved speed, m/s.
    speeds: Vec<[f64; 2]>,
    /// Share of feet in contact with the floor.
    contact: Mean,
    /// Speed at which feet in contact skate, cm/s.
    skate: Mean,
    /// Maze cells that each character saw before its first episode ended.
    cells: Vec<u32>,
    /// Whether each character's first episode has ended early.
    over: Vec<bool>,
}

impl<'a> Seen<'a> {
    fn new(stage: &'a Stage, material: &'a Material) -> Self {
        let (rig, w) = (&material.rig, &stage.environment.world);
        let (metres, characters) = (w.rules.body * METRES, w.root.rows());
        let [reward, speed, near, distance, heading, speed_error, contact, skate] = Default::default();
        let [ended, walls, targets] = Default::default();
        Seen {
            stage,
            rig,
            course: material.course(),
            metres,
            speed_unit: metres * rig.fps,
            reward,
            speed,
            ended,
            walls,
            targets,
            near,
            distance,
            heading,
            speed_error,
            speeds: Vec::new(),
            contact,
            skate,
            cells: vec![0; characters],
            over: vec![false; characters],
        }
    }

    /// Adds a step; `before` are the targets before it. A character that is done starts anew, with
    /// another target: only its reward belongs to the step.
    fn add(&mut self, memory: &Memory, before: &[f64]) -> Result<()> {
        let (rig, frame_skip, w) = (self.rig, self.stage.environment.frame_skip, &self.stage.environment.world);
        let (outcome, frames) = (read(memory, w.outcome)?, memory.read(w.frames)?);
        outcome.chunks_exact(OUTCOME).for_each(|outcome| self.reward.add(outcome[0]));
        let goes_on: Vec<bool> = outcome.chunks_exact(OUTCOME).map(|outcome| outcome[1] > 0.0).collect();
        self.ended += goes_on.iter().filter(|goes_on| !**goes_on).count() as f64;
        let going = || (0..goes_on.len()).filter(|&p| goes_on[p]);
        // The predicted frames that were applied in this step.
        let applied = |p: usize| {
            let row = &frames[p * w.frames.cols()..][..frame_skip * w.frame_size()];
            row.chunks_exact(w.frame_size())
        };
        let speed = |frame: &[f32]| f64::from(frame[0]).hypot(frame[1].into()) * METRES * rig.fps;
        for p in going() {
            for frame in applied(p) {
                self.speed.add(speed(frame));
                for skate in [0, 1].map(|side| rig.contact(frame, side)) {
                    self.contact.add(f64::from(u8::from(skate.is_some())));
                    skate.into_iter().for_each(|skate| self.skate.add(100.0 * skate));
                }
            }
        }
        match w.rules.task {
            Task::Target => {
                let target = read(memory, w.target)?;
                self.targets += going().filter(|p| target[2 * p..][..2] != before[2 * p..][..2]).count() as f64;
            }
            Task::Path => {
                let root = read(memory, w.root)?;
                for p in going() {
                    let away = (before[2 * p] - root[2 * p]).hypot(before[2 * p + 1] - root[2 * p + 1]) * METRES;
                    self.near.add(f64::from(u8::from(away < path::RADIUS * self.metres)));
                    self.distance.add(away);
                }
                // A character whose episode ended was not near the point.
                self.near.count += goes_on.iter().filter(|goes_on| !**goes_on).count() as f64;
            }
            Task::Joystick => {
                let (command, facing) = (read(memory, w.command)?, read(memory, w.facing)?);
                for p in going() {
                    let [direction, asked] = [command[2 * p], command[2 * p + 1] * self.speed_unit];
                    if asked > 0.0 {
                        let angle = direction + facing[p]; // the bearing of the command in the character's own frame
                        self.heading.add(angle.sin().atan2(angle.cos()).abs().to_degrees());
                    }
                    for frame in applied(p) {
                        self.speed_error.add((asked - speed(frame)).abs());
                        self.speeds.push([asked, speed(frame)]);
                    }
                }
            }
            Task::Walk => {}
            Task::Maze => {
                let visited = memory.read(w.visited)?;
                for (p, map) in visited.chunks_exact(MAP).enumerate() {
                    if goes_on[p] && !self.over[p] {
                        self.cells[p] = map.iter().map(|word| word.count_ones()).sum();
                    }
                    self.over[p] |= !goes_on[p];
                    // A character that is lost, rather than at a wall, has a reward of its own.
                    self.walls += f64::from(u8::from(!goes_on[p] && outcome[p * OUTCOME] > LOST_REWARD));
                }
            }
        }
        Ok(())
    }

    fn numbers(&self, steps: usize, seed: u64) -> Vec<Number> {
        let (environment, rules) = (&self.stage.environment, &self.stage.environment.world.rules);
        let characters = environment.world.root.rows() as f64;
        let mut numbers = vec![number("step_reward", "reward of a step", self.reward.value())];
        numbers.extend(match rules.task {
            Task::Target => {
                let (reached, pace) = (self.targets / characters, self.rig.speeds.q75 * METRES * self.rig.fps);
                let ideal = ideal_targets(self.stage, self.rig, steps * environment.frame_skip, seed);
                vec![
                    number("targets_reached", "targets reached", reached),
                    number("ideal_targets", format!("targets of an ideal point at {pace:.2} m/s"), ideal),
                    number("of_ideal_percent", "reached, % of the ideal point's", 100.0 * reached / ideal),
                ]
            }
            Task::Path => {
                let radius = path::RADIUS * self.metres;
                vec![
                    number(
                        "near_percent",
                        format!("within {radius:.2} m of its point, % of the time"),
                        100.0 * self.near.value(),
                    ),
                    number("distance_m", "distance from its point, m", self.distance.value()),
                    number("pace_m_s", "speed of the point, m/s", self.pace()),
                ]
            }
            Task::Joystick => {
                let top = rules.speed * self.speed_unit;
                let error = self.speed_error.value();
                // A step's reward is the sum over its frames.
                let best = environment.frame_skip as f64 * best_constant(&self.speeds, top);
                vec![
                    number("best_constant_speed_reward", "that of the best constant speed", best),
                    number("heading_error_degrees", "error of the heading, degrees", self.heading.value()),
                    number(
                        "speed_correlation",
                        "correlation of commanded and achieved speed",
                        correlation(&self.speeds),
                    ),
                    number("speed_error_m_s", "error of the speed, m/s", error),
                    number("speed_range_m_s", "range of commanded speeds, m/s", top),
                    number("speed_error_percent", "error of the speed, % of the range", 100.0 * error / top),
                ]
            }
            Task::Walk => Vec::new(),
            Task::Maze => {
                let all = (MAP * MAP) as f64;
                let area = rules.arena.iter().map(|half| 2.0 * half * self.metres).product::<f64>();
                let share = self.cells.iter().map(|&cells| f64::from(cells)).sum::<f64>() / characters / all;
                let safe = self.over.iter().filter(|over| !**over).count() as f64 / characters;
                vec![
                    number("coverage_percent", format!("seen before the first end, % of {all} cells"), 100.0 * share),
                    number("coverage_m2", format!("the same, m² of {area:.0}"), share * area),
                    number("walls_hit", "walls hit", self.walls / characters),
                    number("unhurt_percent", "who never ended early, %", 100.0 * safe),
                ]
            }
        });
        numbers.extend([
            number("speed_m_s", "speed, m/s", self.speed.value()),
            number("contact_percent", "feet in contact, %", 100.0 * self.contact.value()),
            number("foot_skate_cm_s", "skate of feet in contact, cm/s", self.skate.value()),
            number("ended_early", "ended early, times", self.ended / characters),
        ]);
        numbers
    }

    /// Speed of the point of a path, m/s: the course has one point a step.
    fn pace(&self) -> f64 {
        let course = self.course;
        let ways = course.iter().zip(course.iter().cycle().skip(1)).map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
        ways.sum::<f64>() / course.len() as f64 * self.speed_unit / self.stage.environment.frame_skip as f64
    }
}

fn correlation(pairs: &[[f64; 2]]) -> f64 {
    let n = pairs.len() as f64;
    let mean = |i: usize| pairs.iter().map(|pair| pair[i]).sum::<f64>() / n;
    let (a, b) = (mean(0), mean(1));
    let product = |i: usize, j: usize, x: f64, y: f64| pairs.iter().map(|p| (p[i] - x) * (p[j] - y)).sum::<f64>();
    product(0, 1, a, b) / (product(0, 0, a, a) * product(1, 1, b, b)).sqrt()
}

/// Reward of a frame under the best policy that keeps one constant speed and the right heading;
/// `top` is the largest commanded speed.
fn best_constant(pairs: &[[f64; 2]], top: f64) -> f64 {
    let of = |asked: f64, speed: f64| (-joystick::RANGE / top * (asked - speed).abs()).exp();
    let reward = |speed: f64| pairs.iter().map(|pair| of(pair[0], speed)).sum::<f64>() / pairs.len() as f64;
    (0..=100).map(|i| reward(top * f64::from(i) / 100.0)).fold(0.0, f64::max)
}

/// Targets that an ideal point reaches in an episode of `frames` frames, moving straight at the
/// data's 75 % speed quantile. The mean is over as many points as there are characters.
fn ideal_targets(stage: &Stage, rig: &Rig, frames: usize, seed: u64) -> f64 {
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

//! Evaluation of a policy or planner: one episode of its actions, of a policy the means, beside one
//! of latents from the prior.
//!
//! Lengths are in metres and times in seconds, whatever the units of data, body and rules.
use super::planner::Planner;
use super::play::{Play, Who, perform};
use crate::Result;
use crate::backend::Memory;
use crate::motion::Rig;
use crate::motion::rig::METRES;
use crate::ops::advantage::OUTCOME;
pub use crate::ops::world::task::Number;
use crate::ops::world::task::{Mean, Measure, Scene, Step};
use crate::ops::world::{Task, World};
use crate::plan::arena::Mat;
use crate::quality::gait::{FeetReport, Gait, GaitReport, PAPER_HEIGHTS, STANDING, Walker};
use std::fmt::{self, Display, Formatter};

/// The measurements of a policy or planner and of latents from the prior, from the same starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The task.
    pub task: Task,
    /// Characters side by side.
    pub characters: usize,
    /// Steps of the episode.
    pub steps: usize,
    /// Length of the episode, seconds.
    pub seconds: f64,
    /// Who is measured: `policy` or `planner`.
    pub who: &'static str,
    /// Its numbers.
    pub numbers: Vec<Number>,
    /// Numbers of latents from the prior.
    pub prior: Vec<Number>,
}

/// Runs two episodes of `steps` steps from fresh starts: one of the planner, else of the policy,
/// and one of the prior. Their feet are compared with those of the `data`. `told` hears the share
/// of the work that is done. Errors: those of the backend.
pub(crate) fn compare(
    play: &mut Play,
    mut planner: Option<Planner>,
    data: Option<&GaitReport>,
    (steps, seed): (usize, u64),
    told: &dyn Fn(f64),
) -> Result<Comparison> {
    let feet = data.and_then(|gait| gait.feet.as_ref());
    let work = planner.as_ref().map_or(1.0, |planner| planner.effort.steps() as f64);
    let (who, first) = (if planner.is_some() { "planner" } else { "policy" }, work / (work + 1.0));
    let acts = planner.as_mut().map_or(Who::Trained, Who::Planner);
    let mut numbers = measure(play, acts, feet, (steps, seed), &|share| told(first * share))?;
    let prior = measure(play, Who::Prior, feet, (steps, seed), &|share| told(first + (1.0 - first) * share))?;
    let beside = play.stage.environment.world.rules.task.info().beside;
    numbers[1].extend(beside(&numbers[1], &prior[1]));
    let (numbers, prior) = (numbers.concat(), prior.concat());
    let w = &play.stage.environment.world;
    let seconds = (steps * play.stage.environment.frame_skip) as f64 / play.material.rig.fps;
    Ok(Comparison { task: w.rules.task, characters: w.root.rows(), steps, seconds, who, numbers, prior })
}

impl Comparison {
    /// The number of that name, if it was observed.
    pub fn get(&self, key: &str) -> Option<f64> {
        Number::find(&self.numbers, key).filter(|value| !value.is_nan())
    }
}

/// The paper's Tables 1 and 2 for a policy or planner (Ling et al. 2020), beside its data.
pub(crate) struct PaperTables {
    /// The measurements, with a new direction every [`PAPER_SECONDS`].
    pub report: Comparison,
    /// The gait of the data, if it is known.
    pub data: Option<GaitReport>,
}

/// Seconds from one direction to the next in the paper's Table 2.
pub(crate) const PAPER_SECONDS: f64 = 5.0;

impl Display for PaperTables {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let get = |key| self.report.get(key).unwrap_or(f64::NAN);
        let (task, who) = (self.report.task, self.report.who);
        writeln!(f, "\nthe paper's Table 1: foot skate, cm a frame of 1/30 s")?;
        let of_data = self.data.as_ref().and_then(|gait| Some(gait.feet.as_ref()?.paper_skate));
        for (i, (height, key)) in PAPER_HEIGHTS.iter().zip(["paper_skate_cm", "paper_skate_low_cm"]).enumerate() {
            let skate = get(key);
            write!(f, "  toes below {height:.1} cm: {who} {skate:.3}")?;
            match of_data.map(|of_data| of_data[i]) {
                Some(data) => writeln!(f, ", data {data:.3}, ratio {:.2}", skate / data)?,
                None => writeln!(f, "; the data are not there, so no ratio is known")?,
            }
        }
        writeln!(
            f,
            "  the paper, 3.3 cm: data 0.10; target 0.27, joystick 0.28, path 0.30, maze 0.24: ratios 2.4 to 3.0"
        )?;
        if task.info().steered.is_none() {
            return Ok(());
        }
        let said = |key, digits| match get(key) {
            value if value.is_nan() => "none".to_owned(),
            value => format!("{value:.digits$}"),
        };
        let [left, right] = ["left_turn_s", "right_turn_s"].map(|key| said(key, 2));
        writeln!(f, "\nthe paper's Table 2: seconds to within 5 degrees of a direction, new every {PAPER_SECONDS} s")?;
        writeln!(f, "  left {left}, right {right}; turns that came there, %: {}", said("turned_percent", 0))?;
        writeln!(f, "  the paper: left 1.70, right 1.56")
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let (task, characters, steps) = (self.task.name(), self.characters, self.steps);
        writeln!(f, "task {task}, characters: {characters}, {steps} steps ({:.1} s)", self.seconds)?;
        let wide = self.numbers.iter().map(|number| number.label.chars().count()).max().unwrap_or_default();
        writeln!(f, "{:wide$} {:>10} {:>10}", "", self.who, "prior")?;
        let text = |value: f64| {
            let digits = if value.abs() < 100.0 { 3 } else { 1 };
            if value.is_nan() { "-".into() } else { format!("{value:.digits$}") }
        };
        self.numbers.iter().try_for_each(|Number { key, label, value }| {
            let prior = Number::find(&self.prior, key).unwrap_or(f64::NAN);
            writeln!(f, "{label:wide$} {:>10} {:>10}", text(*value), text(prior))
        })
    }
}

/// The reward, the numbers of the task, and others that all tasks have.
/// `told` hears the share of the episode that is done.
fn measure(
    play: &mut Play,
    who: Who,
    data: Option<&FeetReport>,
    (steps, seed): (usize, u64),
    told: &dyn Fn(f64),
) -> Result<[Vec<Number>; 3]> {
    let mut done = 0;
    let mut seen = Seen::new(play.stage.scene(&play.material, steps, seed), &play.material.rig);
    // After the last step every character starts anew, so that step's targets are those of the next
    // episode.
    perform(&play.stage, &mut play.memory, who, steps - 1, |stage, memory| {
        done += 1;
        told(done as f64 / steps as f64);
        seen.add(memory, &stage.environment.world)
    })?;
    Ok(seen.numbers(data))
}

fn read(memory: &Memory, mat: Mat<f32>) -> Result<Vec<f64>> {
    Ok(memory.read(mat)?.into_iter().map(f64::from).collect())
}

/// Sums of what all characters did, step by step.
struct Seen<'a> {
    scene: Scene,
    /// The measures of the task.
    of_task: Box<dyn Measure>,
    /// The task's own numbers before the next step, once characters have started.
    before: Option<Vec<f64>>,
    reward: Mean,
    /// Speed of the characters, m/s.
    speed: Mean,
    /// Share of frames in which a character stands although it is asked to move.
    stands: Mean,
    /// Number of episodes that ended early: in a pose that is not human, or at a wall.
    ended: f64,
    /// Gait of the places of toes in the world, from frame to frame.
    gait: Gait<'a>,
    walkers: Vec<Walker>,
    /// Share of feet in contact with the floor.
    contact: Mean,
    /// Speed at which feet in contact skate, cm/s.
    skate: Mean,
}

impl<'a> Seen<'a> {
    fn new(scene: Scene, rig: &'a Rig) -> Self {
        let of_task = (scene.rules.task.info().measure)(&scene);
        let [reward, speed, stands, contact, skate] = Default::default();
        let (gait, walkers) = (Gait::new(Some(rig), rig.fps), vec![Walker::default(); scene.characters]);
        Seen { scene, of_task, before: None, reward, speed, stands, ended: 0.0, gait, walkers, contact, skate }
    }

    /// Adds a step; the first time is the start.
    fn add(&mut self, memory: &Memory, w: &World<f32>) -> Result<()> {
        let own = read(memory, w.own)?;
        let Some(before) = self.before.replace(own.clone()) else {
            return Ok(());
        };
        let (outcome, root, facing) = (read(memory, w.outcome)?, read(memory, w.root)?, read(memory, w.facing)?);
        let (frames, words) = (memory.read(w.frames)?, memory.read(w.words)?);
        for p in 0..self.scene.characters {
            // The predicted frames that were applied in this step.
            let row = &frames[p * w.frames.cols()..][..self.scene.frame_skip * w.frame_size()];
            let applied = || row.chunks_exact(w.frame_size());
            let speed = |frame: &[f32]| f64::from(frame[0]).hypot(frame[1].into()) * METRES * self.scene.rig.fps;
            let step = Step {
                p,
                goes_on: outcome[p * OUTCOME + 1] > 0.0,
                reward: outcome[p * OUTCOME],
                root: [root[2 * p], root[2 * p + 1]],
                facing: facing[p],
                before: &before[p * w.own.cols()..][..w.own.cols()],
                own: &own[p * w.own.cols()..][..w.own.cols()],
                words: &words[p * w.words.cols()..][..w.words.cols()],
                speeds: &applied().map(speed).collect::<Vec<_>>(),
            };
            self.of_task.add(&step);
            self.reward.add(step.reward);
            // A character that is done starts anew: only its reward belongs to the step.
            if !step.goes_on {
                self.ended += 1.0;
                self.walkers[p] = Walker::default();
                continue;
            }
            step.speeds.iter().for_each(|&speed| self.speed.add(speed));
            if self.scene.rules.task.info().moves.asks(step.before) {
                step.speeds.iter().for_each(|&speed| self.stands.add_if(speed < STANDING));
            }
            for frame in applied() {
                self.gait.see(&mut self.walkers[p], w.frame_size(), |i| frame[i].into());
            }
            for skate in applied().flat_map(|frame| [0, 1].map(|side| self.scene.rig.contact(frame, side))) {
                self.contact.add_if(skate.is_some());
                skate.into_iter().for_each(|skate| self.skate.add(100.0 * skate));
            }
        }
        Ok(())
    }

    /// The numbers, beside those of the data's feet if they are known.
    fn numbers(self, data: Option<&FeetReport>) -> [Vec<Number>; 3] {
        let ended = self.ended / self.scene.characters as f64;
        let feet = self.gait.report().and_then(|gait| gait.feet);
        let of = |number: fn(&FeetReport) -> f64| feet.as_ref().map_or(f64::NAN, number);
        let beside = feet.as_ref().zip(data).map(|(feet, data)| feet.of_data(data));
        let ([of_contact, of_skate], stands) = (beside.unwrap_or([f64::NAN; 2]), self.stands.value());
        [
            vec![Number::new("step_reward", "reward of a step", self.reward.value())],
            self.of_task.numbers(),
            vec![
                Number::new("speed_m_s", "speed, m/s", self.speed.value()),
                Number::new("contact_percent", "feet in contact, %", 100.0 * self.contact.value()),
                Number::new("foot_skate_cm_s", "skate of feet in contact, cm/s", self.skate.value()),
                Number::new("skate_of_places_cm_s", "the same of places in the world, cm/s", of(|feet| feet.skate)),
                Number::new("contact_of_data", "contact, times that of data at the same speeds", of_contact),
                Number::new("skate_of_data", "skate of places, times that of data at the same speeds", of_skate),
                Number::new("standing_percent", "stands while asked to move, % of the time", 100.0 * stands),
                Number::new("paper_skate_cm", "the paper's foot skate, cm a frame", of(|feet| feet.paper_skate[0])),
                Number::new("paper_skate_low_cm", "that of toes below 3.0 cm", of(|feet| feet.paper_skate[1])),
                Number::new("ended_early", "ended early, times", ended),
            ],
        ]
    }
}

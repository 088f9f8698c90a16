//! A task as its file describes it, beside its kernels and their definition: what it needs, how it
//! is measured, the thresholds it must meet, and its marks in the player.
use super::pull::Seen;
use super::{GOAL, Rules, Task};
use crate::motion::Rig;
use crate::motion::rig::METRES;
use serde_json::{Value, json};
use std::borrow::Cow;

/// A task as the rest of the program sees it.
pub struct TaskInfo {
    /// Its line in lists and in help.
    pub about: &'static str,
    /// The random numbers that each character draws for a step.
    pub draws: Draws,
    /// O: numbers of its own that a character carries. The task's file says what stands where.
    pub own: usize,
    /// W: whole numbers of its own.
    pub words: usize,
    /// The course that it needs.
    pub course: Course,
    /// Entries that it adds to the observation.
    pub extra: Extra,
    /// Unit of each of these entries in a normalised observation, in body units and frames.
    pub unit: fn(&Rules, usize) -> f64,
    /// True if these entries are vectors of the ground.
    pub vectors: bool,
    /// How the pairs of these entries depend on the character's state; pairs that are not listed do
    /// not depend on it.
    pub seen: &'static [Seen],
    /// Steps of an episode in which so many frames are a step.
    pub horizon: fn(usize) -> usize,
    /// Weights of a training by gradients through the decoder that is not asked for others.
    pub weights: Weights,
    /// Updates of a training by gradients through the decoder, and by trial and error.
    pub updates: [usize; 2],
    /// Steps after which it asks for something new, which is not the doing of the step before
    /// (0: never).
    pub anew: usize,
    /// True if it needs the largest speed of [`Rules`].
    pub speed: bool,
    /// When it asks a character to move.
    pub moves: Moving,
    /// Number of the recorded pair (direction and speed) that a person can give instead in the
    /// report, if any. The reference, which aims elsewhere than a person does, makes its mistakes
    /// in training only.
    pub steered: Option<usize>,
    /// The task whose controller carries its actions out: they are goals, not latents.
    pub lower: Option<Task>,
    /// Keys of the configuration that no other task has.
    pub keys: &'static [&'static str],
    /// Pairs of its own numbers that are recorded frame by frame: name and place.
    pub recorded: &'static [(&'static str, usize)],
    /// Least and largest reward of a frame in which the root moved so far, body units; -20 for a
    /// character that is lost aside.
    pub rewards: fn(f64) -> [f64; 2],
    /// Bounds of the numbers that are measured.
    pub bounds: &'static [Bound],
    /// Begins to measure an episode.
    pub measure: fn(&Scene) -> Box<dyn Measure>,
    /// Numbers that follow from those of the policy (first) and those of the prior.
    pub beside: fn(&[Number], &[Number]) -> Vec<Number>,
    /// Its marks in the player, for the recorded pairs of a character.
    pub marks: fn(&Scene, &Recorded) -> Vec<Value>,
}

/// A task that needs nothing, from which the others differ.
pub(crate) const PLAIN: TaskInfo = TaskInfo {
    about: "",
    draws: Draws::Nothing,
    own: 0,
    words: 0,
    course: Course::Nothing,
    extra: Extra::Numbers(2),
    unit: |_, _| 1.0,
    vectors: false,
    seen: &[],
    horizon: |frames| 1200 / frames,
    weights: Weights::PLAIN,
    updates: [400, 600],
    anew: 0,
    speed: false,
    moves: Moving::Always,
    steered: None,
    lower: None,
    keys: &[],
    recorded: &[],
    rewards: |_| [f64::NEG_INFINITY, f64::INFINITY],
    bounds: &[],
    measure: |_| Box::new(()),
    beside: |_, _| Vec::new(),
    marks: |_, _| Vec::new(),
};

/// Number of entries that a task adds to the observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// So many.
    Numbers(usize),
    /// One for each entry of the latent.
    Latent,
}

impl Extra {
    /// The number for latents of so many entries.
    pub fn of(self, latent: usize) -> usize {
        match self {
            Extra::Numbers(count) => count,
            Extra::Latent => latent,
        }
    }
}

/// Weights of a training by gradients through the decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Weight of how far the mean latents are from their prior.
    pub prior: f64,
    /// Weight of feet that slide where they stand.
    pub skate: f64,
    /// Weight of standing where a move is asked for.
    pub stand: f64,
}

impl Weights {
    /// Weights of a task that may stand.
    pub(crate) const PLAIN: Weights = Weights { prior: 0.003, skate: 0.2, stand: 0.0 };
}

/// When a task asks a character to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moving {
    /// At no time: a character that stands does nothing wrong.
    Never,
    /// At all times.
    Always,
    /// While the speed at this place among its own numbers, body units a frame, is not 0.
    At(usize),
}

impl Moving {
    /// True if a character with these own numbers is asked to move.
    pub fn asks(self, own: &[f64]) -> bool {
        match self {
            Moving::Never => false,
            Moving::Always => true,
            Moving::At(place) => own[place] > 0.0,
        }
    }

    /// Place of the speed that is asked for, where there is one.
    pub(crate) fn place(self) -> Option<usize> {
        if let Moving::At(place) = self { Some(place) } else { None }
    }
}

/// Random numbers of a character for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draws {
    /// None.
    Nothing,
    /// So many, uniform in [0, 1), drawn before the step.
    Uniform(usize),
    /// A standard normal one for each entry of the latent. They are drawn after the step, seen, and
    /// mixed into the next action.
    Normal,
}

/// A list of points that a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// None.
    Nothing,
    /// The points of a closed path, one a step.
    Path,
    /// Both ends of each wall.
    Walls,
}

/// A bound of a measured number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Key of the number.
    pub key: &'static str,
    /// True if it is a lower bound, false if it is an upper one.
    pub least: bool,
    /// The bound, unless others are given.
    pub value: Option<f64>,
}

impl Bound {
    /// A lower bound.
    pub const fn least(key: &'static str, value: Option<f64>) -> Self {
        Bound { key, least: true, value }
    }

    /// An upper bound.
    pub const fn most(key: &'static str, value: Option<f64>) -> Self {
        Bound { key, least: false, value }
    }
}

/// A measured number.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// Key of the number, which ends in its unit if it has one.
    pub key: Cow<'static, str>,
    /// Description in words, with the unit.
    pub label: String,
    /// Value; NaN if nothing was observed.
    pub value: f64,
}

impl Number {
    /// A number with its key and its description.
    pub fn new(key: impl Into<Cow<'static, str>>, label: impl Into<String>, value: f64) -> Self {
        Number { key: key.into(), label: label.into(), value }
    }

    /// The value of a key in a list.
    pub fn find(numbers: &[Number], key: &str) -> Option<f64> {
        numbers.iter().find(|number| number.key == key).map(|number| number.value)
    }
}

/// Pairs of numbers that were recorded, in the order of [`TaskInfo::recorded`]: one for each frame.
pub(crate) type Recorded<'a> = [&'a [[f32; 2]]];

/// The surroundings of characters that are measured or shown.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Rules of the world.
    pub rules: Rules,
    /// Characters side by side.
    pub characters: usize,
    /// Frames that are applied for an action.
    pub frame_skip: usize,
    /// Frames of the episode.
    pub frames: usize,
    /// Seed of the episode.
    pub seed: u64,
    /// Points of the course, body units.
    pub course: Vec<[f64; 2]>,
    /// Skeleton, frame rate and usual speeds.
    pub rig: Rig,
}

impl Scene {
    /// Metres in a body unit.
    pub fn body(&self) -> f64 {
        self.rules.body * METRES
    }

    /// Metres a second in a body unit a frame.
    pub(crate) fn speed_unit(&self) -> f64 {
        self.body() * self.rig.fps
    }

    /// A length of the data's units in metres, to a millimetre.
    pub fn length(&self, x: f64) -> f64 {
        rounded(x * METRES, 1e3)
    }

    /// A speed of body units a frame in metres a second, to a millimetre.
    pub fn speed(&self, x: f64) -> f64 {
        self.length(x * self.rules.body * self.rig.fps)
    }

    /// The course in metres.
    pub(crate) fn shown_course(&self) -> Vec<[f64; 2]> {
        self.course.iter().map(|point| point.map(|x| self.length(x * self.rules.body))).collect()
    }

    /// The mark of points that are asked for, frame by frame. One counts as reached within `radius`
    /// body units.
    pub fn goal(&self, goals: &[[f32; 2]], radius: f64) -> Value {
        let goals: Vec<_> = goals.iter().map(|goal| goal.map(|x| self.length(x.into()))).collect();
        json!({ "kind": "goal", "radius": self.length(radius * self.rules.body), "goals": goals })
    }
}

/// A number rounded to a share of one.
pub fn rounded(x: f64, share: f64) -> f64 {
    (x * share).round() / share
}

/// A step of a character as it is measured. Lengths are in the data's units.
pub struct Step<'a> {
    /// Number of the character.
    pub p: usize,
    /// False if its episode ended. It has started anew by now, perhaps elsewhere and with something
    /// else to do: only its reward belongs to the step.
    pub goes_on: bool,
    /// Reward of the step.
    pub reward: f64,
    /// Place of the root.
    pub root: [f64; 2],
    /// Radians.
    pub facing: f64,
    /// \[O\] the task's own numbers before the step.
    pub before: &'a [f64],
    /// \[O\] the same after it.
    pub own: &'a [f64],
    /// \[W\] its whole numbers after it.
    pub words: &'a [u32],
    /// Speed of the root in the frames of the step, m/s.
    pub speeds: &'a [f64],
}

impl Step<'_> {
    /// The vector from the root to the goal before the step.
    pub fn way(&self) -> [f64; 2] {
        [0, 1].map(|axis| self.before[GOAL + axis] - self.root[axis])
    }

    /// Size of the angle at which the character sees a direction of the world (radians), degrees.
    pub(crate) fn heading_error(&self, direction: f64) -> f64 {
        self.bearing(direction).abs()
    }

    /// Angle at which the character sees a direction of the world (radians), degrees: positive to
    /// its right.
    pub(crate) fn bearing(&self, direction: f64) -> f64 {
        let angle = direction + self.facing;
        angle.sin().atan2(angle.cos()).to_degrees()
    }
}

/// The measures of a task over an episode.
pub trait Measure {
    /// Adds a step of a character.
    fn add(&mut self, step: &Step);
    /// The numbers so far.
    fn numbers(&self) -> Vec<Number>;
}

/// The measures of a task that has none.
impl Measure for () {
    fn add(&mut self, _: &Step) {}

    fn numbers(&self) -> Vec<Number> {
        Vec::new()
    }
}

/// A running mean.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    /// Adds a number.
    pub fn add(&mut self, x: f64) {
        self.sum += x;
        self.count += 1.0;
    }

    /// Adds 1 if something holds, else 0.
    pub(crate) fn add_if(&mut self, holds: bool) {
        self.add(f64::from(u8::from(holds)));
    }

    /// The mean; NaN of nothing.
    pub fn value(&self) -> f64 {
        self.sum / self.count
    }
}

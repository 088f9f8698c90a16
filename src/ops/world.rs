//! Characters in a world. A predicted frame moves each of P characters, a task rewards it, a
//! character that is done starts anew, and the next observation is written. All tasks have one
//! argument struct. Each task is one file: [`target`], [`joystick`], [`path`], [`walk`], [`maze`],
//! with a step, a reset and what it adds to the observation.
//!
//! The ground is the plane (x, z) of the poses. Distances in the rules are in body units of `body`
//! data units: 1 foot for the reference's skeleton. Speeds are per frame.
pub mod joystick;
pub mod maze;
pub mod path;
pub mod target;
pub mod walk;

use super::advantage::OUTCOME;
use super::begin_step::StepState;
use super::expect;
use crate::Result;
use crate::cpu::real::Real;
use crate::philox::{Purpose, Stream, unit};
use crate::plan::arena::{Arena, Mat};
use crate::plan::{Call, Grid, Output, Plan, size};
use std::f64::consts::TAU;

/// Numbers kept of the toes: x, z and height of two toes in two frames, newest first.
pub const FEET: usize = 12;
/// Distance from the root, in body units, beyond which a joint belongs to no body: the decoder was
/// driven where it knows no poses.
pub const LOST: f64 = 10.0;
/// Reward of a frame in which a character is lost; it starts anew afterwards.
pub const LOST_REWARD: f64 = -20.0;
/// Words of a map of visited cells: 32 by 32 bits.
pub const MAP: usize = 32;

crate::kernel_args! {
    reads {
        /// The current step; `rollout_step` is the first character's clock after it, from 1 to the
        /// horizon.
        state: StepState [1],
        /// [P, K F] predicted frames, in the data's units.
        frames: T [p * k * f],
        /// [P, L] latent that was decoded.
        latent: T [p * l],
        /// [P, L] standard normal (walk).
        noise: T [p * l],
        /// [P, 2] uniform numbers (target, joystick).
        draws: T [p * 2],
        /// [M, C F] conditions to start from, newest frame first.
        poses: T [m * c * f],
        /// [N, 2] points of the path (path), or both ends of each wall (maze).
        course: T [n * 2],
    }
    writes {
        /// [P, C F] newest first, in the data's units.
        history: T [p * c * f],
        /// [P, 2] place of the root.
        root: T [p * 2],
        /// \[P\] radians in [0, 2 pi).
        facing: T [p],
        /// [P, FEET].
        feet: T [p * FEET],
        /// [P, 2] place to go to.
        target: T [p * 2],
        /// \[P\] minus the distance to the target, body units.
        potential: T [p],
        /// [P, 2] direction (radians) and speed that are asked for (joystick).
        command: T [p * 2],
        /// \[P\] place on the path (path).
        offset: u32 [p],
        /// [P, MAP] cells that were visited (maze).
        visited: u32 [p * MAP],
        /// [P, OUTCOME].
        outcome: T [p * OUTCOME],
        /// [P, D].
        observation: T [p * d],
    }
    numbers {
        /// Length of a body unit.
        body,
        /// Largest speed that is asked for, body units a frame.
        speed,
        /// Height of the left toe when it stands.
        floor_left,
        /// Height of the right toe when it stands.
        floor_right,
        /// Half of the arena along x, body units (maze).
        arena_x,
        /// Half of it along z.
        arena_z,
    }
    sizes {
        /// Characters.
        p,
        /// Frames predicted at once.
        k,
        /// Features.
        f,
        /// Condition frames.
        c,
        /// Numbers of an observation.
        d,
        /// Entries of a latent.
        l,
        /// Conditions to start from.
        m,
        /// Points of the course.
        n,
        /// Number of the predicted frame that is applied.
        frame,
        /// 1: it is the last frame of this step.
        last,
        /// Joint of the left toe.
        toe_left,
        /// Joint of the right toe.
        toe_right,
        /// Steps after which time is out.
        horizon,
        /// 1: the reference's mistakes are made, too.
        literal,
        /// 1: the clocks of the characters are spread evenly over the horizon.
        staggered,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// A task: what a character is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Reach one point after another.
    Target,
    /// Walk in a direction at a speed.
    Joystick,
    /// Stay with a point that runs along a path.
    Path,
    /// Walk about without sliding.
    Walk,
    /// Explore a maze; the action is a goal for a target controller.
    Maze,
}

impl Task {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        ["target", "joystick", "path", "walk", "maze"][self as usize]
    }

    /// Number of entries that the task adds to the observation, for latents of L entries.
    pub fn extra(self, latent: usize) -> usize {
        match self {
            Task::Target | Task::Joystick => 2,
            Task::Path => 2 * path::AHEAD,
            Task::Walk => latent,
            Task::Maze => maze::RAYS,
        }
    }
}

impl Rules {
    /// The unit of the task's part of a normalised observation, in body units and frames.
    pub fn unit(&self) -> f64 {
        match self.task {
            Task::Target => target::RADIUS,
            Task::Joystick => self.speed / (joystick::SPEEDS - 1) as f64,
            Task::Path => path::RADIUS,
            Task::Walk => 1.0,
            Task::Maze => maze::UNIT,
        }
    }

    /// True if the task's part of the observation is made of vectors of the ground.
    pub fn shows_vectors(&self) -> bool {
        matches!(self.task, Task::Target | Task::Joystick | Task::Path)
    }
}

/// Rules of a world, which do not change while characters move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// The task.
    pub task: Task,
    /// Length of a body unit in the data's units.
    pub body: f64,
    /// Largest speed that is asked for, body units a frame.
    pub speed: f64,
    /// Joints of left and right toe.
    pub toes: [usize; 2],
    /// Heights of the toes when they stand.
    pub floors: [f64; 2],
    /// Half of the arena along x and z, body units (maze).
    pub arena: [f64; 2],
    /// Steps after which time is out.
    pub horizon: usize,
    /// True if the reference's mistakes are made, too.
    pub literal: bool,
    /// True if the clocks of the characters are spread evenly over the horizon, false if all show
    /// the same time.
    pub staggered: bool,
}

/// The tensors of P characters; a tensor that the task does not use is absent.
#[allow(missing_docs)]
#[derive(Clone, Copy)]
pub struct World<T> {
    pub rules: Rules,
    pub state: Mat<StepState>,
    pub frames: Mat<T>,
    pub latent: Mat<T>,
    pub noise: Mat<T>,
    pub draws: Mat<T>,
    pub poses: Mat<T>,
    pub course: Mat<T>,
    pub history: Mat<T>,
    pub root: Mat<T>,
    pub facing: Mat<T>,
    pub feet: Mat<T>,
    pub target: Mat<T>,
    pub potential: Mat<T>,
    pub command: Mat<T>,
    pub offset: Mat<u32>,
    pub visited: Mat<u32>,
    pub outcome: Mat<T>,
    pub observation: Mat<T>,
    frame_size: usize,
}

/// Sizes of a world.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub characters: usize,
    pub frame_size: usize,
    pub condition_frames: usize,
    pub future_predictions: usize,
    /// Conditions to start from.
    pub poses: usize,
    /// Points of the path, or ends of walls.
    pub course: usize,
}

impl<T: Real> World<T> {
    /// Lays out characters. `state` is the current step, and `latent` [P, L] is the latent that it
    /// decodes. Errors: sizes that do not fit.
    pub fn new(arena: &mut Arena, rules: Rules, sizes: Sizes, state: Mat<StepState>, latent: Mat<T>) -> Result<Self> {
        let Sizes { characters: p, frame_size: f, condition_frames: c, future_predictions: k, .. } = sizes;
        expect("world", "latents", latent.rows(), p, "one a character")?;
        let (z, l) = (latent, latent.cols());
        let joints = f.saturating_sub(3) / 12;
        expect("world", "features", f, 3 + 12 * joints, "3 and 12 a joint")?;
        let task = rules.task;
        let only = |tasks: &[Task], cols: usize| if tasks.contains(&task) { cols } else { 0 };
        let mut mat = |rows: usize, cols: usize| arena.mat(rows, cols);
        let world = World {
            rules,
            state,
            frames: mat(p, k * f),
            latent: z,
            noise: mat(p, only(&[Task::Walk], l)),
            draws: mat(p, only(&[Task::Target, Task::Joystick], 2)),
            poses: mat(sizes.poses, c * f),
            course: mat(only(&[Task::Path, Task::Maze], sizes.course), 2),
            history: mat(p, c * f),
            root: mat(p, 2),
            facing: mat(p, 1),
            feet: mat(p, FEET),
            target: mat(p, only(&[Task::Target, Task::Joystick, Task::Path], 2)),
            potential: mat(p, only(&[Task::Target, Task::Path], 1)),
            command: mat(p, only(&[Task::Joystick], 2)),
            outcome: mat(p, OUTCOME),
            observation: mat(p, c * f + task.extra(l)),
            offset: arena.mat(p, only(&[Task::Path], 1)),
            visited: arena.mat(p, only(&[Task::Maze], MAP)),
            frame_size: f,
        };
        Ok(world)
    }

    /// F, the number of features of a frame.
    pub fn frame_size(&self) -> usize {
        self.frame_size
    }

    fn args(&self, frame: usize, last: bool) -> Args<T> {
        let (rules, f, p) = (&self.rules, self.frame_size, self.root.rows());
        Args {
            state: self.state.into(),
            frames: self.frames.into(),
            latent: self.latent.into(),
            noise: self.noise.into(),
            draws: self.draws.into(),
            poses: self.poses.into(),
            course: self.course.into(),
            history: self.history.into(),
            root: self.root.into(),
            facing: self.facing.into(),
            feet: self.feet.into(),
            target: self.target.into(),
            potential: self.potential.into(),
            command: self.command.into(),
            offset: self.offset.into(),
            visited: self.visited.into(),
            outcome: self.outcome.into(),
            observation: self.observation.into(),
            body: rules.body,
            speed: rules.speed,
            floor_left: rules.floors[0],
            floor_right: rules.floors[1],
            arena_x: rules.arena[0],
            arena_z: rules.arena[1],
            p: size(p),
            k: size(self.frames.cols() / f),
            f: size(f),
            c: size(self.history.cols() / f),
            d: size(self.observation.cols()),
            l: size(self.latent.cols()),
            m: size(self.poses.rows()),
            n: size(self.course.rows()),
            frame: size(frame),
            last: u32::from(last),
            toe_left: size(rules.toes[0]),
            toe_right: size(rules.toes[1]),
            horizon: size(rules.horizon),
            literal: u32::from(rules.literal),
            staggered: u32::from(rules.staggered),
            pad: 0,
            scalar: Default::default(),
        }
    }

    /// Appends the call that applies predicted frame `frame` to characters and task; `last` if it
    /// is the last of its step.
    pub fn step(&self, plan: &mut Plan, frame: usize, last: bool) {
        let (kernel, body): (_, Body<T>) = match self.rules.task {
            Task::Target => ("target_step", target::cpu::step),
            Task::Joystick => ("joystick_step", joystick::cpu::step),
            Task::Path => ("path_step", path::cpu::step),
            Task::Walk => ("walk_step", walk::cpu::step),
            Task::Maze => ("maze_step", maze::cpu::step),
        };
        let moved = ["history", "root", "facing", "feet", "outcome"];
        self.push(plan, kernel, (frame, last), &moved, body);
    }

    /// Appends the call that starts every character anew that is done. It keeps its pose while its
    /// time goes on, and gets a new one when time is out (and always in the maze).
    pub fn reset(&self, plan: &mut Plan) {
        let (kernel, body): (_, Body<T>) = match self.rules.task {
            Task::Target => ("target_reset", target::cpu::reset),
            Task::Joystick => ("joystick_reset", joystick::cpu::reset),
            Task::Path => ("path_reset", path::cpu::reset),
            Task::Walk => ("walk_reset", walk::cpu::reset),
            Task::Maze => ("maze_reset", maze::cpu::reset),
        };
        self.push(plan, kernel, (0, true), &["history", "root", "facing", "feet"], body);
    }

    /// Appends the call that writes the observation.
    pub fn observe(&self, plan: &mut Plan) {
        let (kernel, body): (_, Body<T>) = match self.rules.task {
            Task::Target => ("target_observe", target::cpu::observe),
            Task::Joystick => ("joystick_observe", joystick::cpu::observe),
            Task::Path => ("path_observe", path::cpu::observe),
            Task::Walk => ("walk_observe", walk::cpu::observe),
            Task::Maze => ("maze_observe", maze::cpu::observe),
        };
        let grid = Grid::items(self.root.rows().div_ceil(4), 128);
        plan.push(Call::new(kernel, grid, &[Output::whole("observation")], self.args(0, true), move |view, _| {
            body(view)
        }));
    }

    /// Appends a call whose outputs are `written` and the task's tensors that are present; each
    /// character has a warp.
    fn push(
        &self,
        plan: &mut Plan,
        kernel: &'static str,
        (frame, last): (usize, bool),
        written: &[&'static str],
        body: Body<T>,
    ) {
        let task = ["target", "potential", "command", "offset", "visited"];
        let writes: Vec<Output> = written.iter().chain(&task).map(|name| Output::part(name)).collect();
        let grid = Grid::items(self.root.rows().div_ceil(4), 128);
        plan.push(Call::new(kernel, grid, &writes, self.args(frame, last), move |view, _| body(view)));
    }
}

type Body<T> = fn(View<'_, T>);

/// Functions that every task uses.
impl<'a, T: Real> View<'a, T> {
    /// A character's clock while the current frame is applied: it advances with the last frame of a
    /// step, up to the horizon.
    fn time(&self, p: usize) -> usize {
        let ahead = self.staggered * p * self.horizon / self.p;
        (self.state[0].rollout_step as usize + self.horizon - 1 + ahead) % self.horizon + self.last
    }

    /// True if a character that is done is so because time was out.
    fn time_is_out(&self, p: usize) -> bool {
        self.outcome[p * OUTCOME + 2] == T::zero()
    }

    fn at(&self, p: usize) -> [T; 2] {
        [self.root[2 * p], self.root[2 * p + 1]]
    }

    fn goal(&self, p: usize) -> [T; 2] {
        [self.target[2 * p], self.target[2 * p + 1]]
    }

    /// Point `i` of the course.
    fn point(&self, i: usize) -> [T; 2] {
        [self.course[2 * i], self.course[2 * i + 1]]
    }

    /// A length of `x` body units, in the data's units.
    fn units(&self, x: f64) -> T {
        T::of(x * self.body)
    }

    /// A vector of the character's own ground frame in the world.
    fn to_world(&self, p: usize, [x, z]: [T; 2]) -> [T; 2] {
        let (sin, cos) = self.facing[p].sin_cos();
        [cos * x + sin * z, cos * z - sin * x]
    }

    /// A vector of the world in the character's own ground frame.
    fn to_local(&self, p: usize, [x, z]: [T; 2]) -> [T; 2] {
        let (sin, cos) = self.facing[p].sin_cos();
        [cos * x - sin * z, sin * x + cos * z]
    }

    /// The vector from the root to a point, in body units.
    fn way(&self, p: usize, [x, z]: [T; 2]) -> [T; 2] {
        let body = T::of(self.body);
        [(x - self.root[2 * p]) / body, (z - self.root[2 * p + 1]) / body]
    }

    /// Ground position of a joint in the world. The reference does not turn it.
    fn joint(&self, p: usize, frame: &[T], joint: usize) -> [T; 2] {
        let own = [frame[3 + 3 * joint], frame[5 + 3 * joint]];
        let [x, z] = if self.literal == 1 { own } else { self.to_world(p, own) };
        [self.root[2 * p] + x, self.root[2 * p + 1] + z]
    }

    /// Applies the current frame to root, facing, history and feet, and returns it.
    fn advance(&mut self, p: usize) -> &'a [T] {
        let frame = &self.frames[(p * self.k + self.frame) * self.f..][..self.f];
        let [dx, dz] = self.to_world(p, [frame[0], frame[1]]);
        self.facing[p] = wrapped(self.facing[p] + frame[2]);
        self.root[2 * p] += dx;
        self.root[2 * p + 1] += dz;
        let history = &mut self.history[p * self.c * self.f..][..self.c * self.f];
        history.copy_within(..(self.c - 1) * self.f, self.f);
        history[..self.f].copy_from_slice(frame);
        let toes = [self.toe_left, self.toe_right].map(|toe| (self.joint(p, frame, toe), frame[4 + 3 * toe]));
        let feet = &mut self.feet[p * FEET..][..FEET];
        feet.copy_within(..FEET / 2, FEET / 2);
        for (foot, ([x, z], height)) in feet.chunks_exact_mut(3).zip(toes) {
            foot.copy_from_slice(&[x, z, height]);
        }
        frame
    }

    /// -0.8 (root displacement^2 + turn^2 + mean of squared joint velocities), body units.
    fn energy(&self, frame: &[T]) -> T {
        let joints = (self.f - 3) / 12;
        let velocities = &frame[3 + 3 * joints..][..3 * joints];
        let squares = velocities.iter().map(|&v| v * v).sum::<T>() / T::of(velocities.len() as f64);
        let body = T::of(self.body * self.body);
        T::of(-0.8) * ((frame[0] * frame[0] + frame[1] * frame[1] + squares) / body + frame[2] * frame[2])
    }

    /// Mean magnitude of the latent's entries.
    fn latent_size(&self, p: usize) -> T {
        self.latent[p * self.l..][..self.l].iter().map(|z| z.abs()).sum::<T>() / T::of(self.l as f64)
    }

    /// True if a frame is no pose any more; the reference does not check this.
    fn lost(&self, frame: &[T]) -> bool {
        let joints = (self.f - 3) / 12;
        let most = self.units(LOST);
        // A NaN is lost, too.
        self.literal == 0 && !frame[..3 + 3 * joints].iter().all(|x| x.abs() < most)
    }

    /// Sets the reward of the first frame of a step, adds that of later ones (unless `alone`), and
    /// marks characters that are done.
    fn finish(&mut self, p: usize, reward: T, alone: bool, failed: bool) {
        let (out, frame) = (self.time(p) >= self.horizon, self.frame);
        let lost = self.lost(&self.frames[(p * self.k + frame) * self.f..][..self.f]);
        let (reward, failed) = if lost { (T::of(LOST_REWARD), true) } else { (reward, failed) };
        // A character that is lost in one frame of a step is done, whatever the next frame is.
        let failed = failed || frame > 0 && self.done(p);
        let outcome = &mut self.outcome[p * OUTCOME..][..OUTCOME];
        outcome[0] = if frame == 0 || alone { reward } else { outcome[0] + reward };
        outcome[1] = if out || failed { T::zero() } else { T::one() };
        outcome[2] = if out { T::zero() } else { T::one() };
    }

    /// True if a character is done.
    fn done(&self, p: usize) -> bool {
        self.outcome[p * OUTCOME + 1] == T::zero()
    }

    /// Puts a character at the origin, facing along x; it gets a new pose if `pose` or if it was
    /// lost. Returns four uniform numbers for the rest, of which the first chose the pose.
    fn restart(&mut self, p: usize, pose: bool) -> [T; 4] {
        let stream = Stream::new(self.state[0].seed, Purpose::Reset, self.state[0].step);
        let draws = stream.block(p as u32).map(unit);
        self.root[2 * p..][..2].fill(T::zero());
        self.facing[p] = T::zero();
        self.feet[p * FEET..][..FEET].fill(T::one());
        if pose || self.lost(&self.history[p * self.c * self.f..][..self.f]) {
            let (row, pose) = (self.c * self.f, (draws[0] * self.m as f64) as usize);
            self.history[p * row..][..row].copy_from_slice(&self.poses[pose * row..][..row]);
        }
        draws.map(T::of)
    }

    /// Sets the potential: minus the distance to the target.
    fn measure(&mut self, p: usize) {
        self.potential[p] = -length(self.way(p, self.goal(p)));
    }

    /// Writes the condition, and returns the place behind it for what the task adds.
    fn condition(&mut self, p: usize) -> &mut [T] {
        let row = self.c * self.f;
        let (condition, extra) = self.observation[p * self.d..][..self.d].split_at_mut(row);
        condition.copy_from_slice(&self.history[p * row..][..row]);
        extra
    }
}

/// An angle in [0, 2 pi).
fn wrapped<T: Real>(angle: T) -> T {
    let turn = T::of(TAU);
    angle - (angle / turn).floor() * turn
}

fn length<T: Real>([x, z]: [T; 2]) -> T {
    (x * x + z * z).sqrt()
}

/// 1 where something holds, else 0.
fn one_if<T: Real>(holds: bool) -> T {
    if holds { T::one() } else { T::zero() }
}

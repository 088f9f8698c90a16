//! Characters in a world. A predicted frame moves each of P characters, a task rewards it, a
//! character that is done starts anew, and the next observation is written. All tasks have one
//! argument struct. Each task is one file, listed in `tasks!`: its description ([`task`]), and the
//! definition of a step, a reset and what it adds to the observation. docs/adding-a-task.md adds
//! one. A task can also be composed from terms when the program runs ([`composed`]).
//!
//! The ground is the plane (x, z) of the poses. Distances in the rules are in body units of `body`
//! data units: 1 foot for the reference's skeleton. Speeds are per frame.
pub mod composed;
pub mod face;
pub mod joystick;
pub mod maze;
pub mod path;
pub mod pull;
pub mod target;
pub mod task;
pub mod walk;

use super::advantage::OUTCOME;
use super::begin_step::StepState;
use super::expect;
use crate::Result;
use crate::cpu::real::Real;
use crate::philox::{Purpose, Stream, unit};
use crate::plan::arena::{Arena, Mat};
use crate::plan::{Call, Grid, Output, Plan, size};
use composed::Composed;
use composed::program::Program;
use std::f64::consts::TAU;
use task::{Course, Draws, TaskInfo};

/// Makes [`Task`] of a table, one line a task, each with its module. A task is called as its module
/// is, and its kernels are `<module>_step`, `<module>_reset` and `<module>_observe`. With `pulled`,
/// its reward has derivatives: `cpu::pull` and the kernel `<module>_pull`. One more variant holds
/// tasks that are composed when the program runs.
macro_rules! tasks {
    (@pull $module:ident) => { None };
    (@pull $module:ident pulled) => { Some((concat!(stringify!($module), "_pull"), $module::cpu::pull)) };
    ($($task:ident: $module:ident $($pulled:ident)?),* $(,)?) => {
        /// A task: what a character is asked to do.
        #[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
        #[allow(missing_docs)]
        pub enum Task {
            $(#[value(help = $module::TASK.about)] $task,)*
            #[value(skip)]
            Composed(&'static Composed),
        }

        impl Task {
            /// All tasks that have a file of their own.
            pub const ALL: &[Task] = &[$(Task::$task),*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Task::$task => stringify!($module),)* Task::Composed(task) => &task.name }
            }

            /// Its description.
            pub fn info(self) -> &'static TaskInfo {
                match self { $(Task::$task => &$module::TASK,)* Task::Composed(task) => &task.info }
            }

            /// Names of its kernels: step, reset and observe.
            pub fn kernels(self) -> [&'static str; 3] {
                match self {
                    $(Task::$task => [
                        concat!(stringify!($module), "_step"),
                        concat!(stringify!($module), "_reset"),
                        concat!(stringify!($module), "_observe"),
                    ],)*
                    Task::Composed(_) => ["composed_step", "composed_reset", "composed_observe"],
                }
            }

            /// The definitions of its kernels, for one character.
            fn bodies<T: Real>(self) -> [Body<T>; 3] {
                match self {
                    $(Task::$task => [$module::cpu::step, $module::cpu::reset, $module::cpu::observe],)*
                    Task::Composed(_) => [composed::cpu::step, composed::cpu::reset, composed::cpu::observe],
                }
            }

            /// True if its reward has derivatives.
            pub fn has_gradient(self) -> bool {
                self.pull::<f32>().is_some()
            }

            /// The kernel and the definition of the derivatives of its reward, if it has any.
            pub(crate) fn pull<T: Real>(self) -> Option<(&'static str, pull::Body<T>)> {
                match self {
                    $(Task::$task => tasks!(@pull $module $($pulled)?),)*
                    Task::Composed(_) => Some(("composed_pull", composed::cpu::pull)),
                }
            }
        }
    };
}

tasks! {
    Target: target pulled,
    Joystick: joystick pulled,
    Path: path pulled,
    Walk: walk pulled,
    Maze: maze,
    Face: face pulled,
}

/// Numbers kept of the toes: x, z and height of two toes in two frames, newest first.
pub(crate) const FEET: usize = 12;
/// Distance from the root, in body units, beyond which a joint belongs to no body: the decoder was
/// driven where it knows no poses.
pub(crate) const LOST: f64 = 10.0;
/// Reward of a frame in which a character is lost; it starts anew afterwards.
pub(crate) const LOST_REWARD: f64 = -20.0;

/// Place of the goal (x, z in the data's units) among a character's own numbers, in tasks that have
/// one.
pub const GOAL: usize = 0;
/// Place of minus the distance to the goal, body units, in tasks that reward progress.
pub const POTENTIAL: usize = 2;

crate::kernel_args! {
    reads {
        /// The current step; `rollout_step` is the first character's clock after it, from 1 to the
        /// horizon.
        state: StepState [1],
        /// [P, K F] predicted frames, in the data's units.
        frames: T [p * k * f],
        /// [P, L] latent that was decoded.
        latent: T [p * l],
        /// [P, U] random numbers, as [`Draws`] says.
        draws: T [p * u],
        /// [M, C F] conditions to start from, newest frame first.
        poses: T [m * c * f],
        /// [N, 2] points, as [`Course`] says.
        course: T [n * 2],
        /// The program of a composed task.
        program: Program [1],
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
        /// [P, O] the task's own numbers.
        own: T [p * o],
        /// [P, W] its whole numbers.
        words: u32 [p * w],
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
        /// Half of the arena along x, body units (walls).
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
        /// Own numbers of a character.
        o,
        /// Own whole numbers of a character.
        w,
        /// Random numbers of a character.
        u,
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
        /// Steps after which the task asks for something new; 0: never.
        anew,
        /// 1: the reference's mistakes are made, too.
        literal,
        /// 1: the clocks of the characters are spread evenly over the horizon.
        staggered,
        /// Keeps the number of sizes even.
        pad,
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
    /// Half of the arena that the course spans along x and z, body units.
    pub arena: [f64; 2],
    /// Steps after which time is out.
    pub horizon: usize,
    /// Steps after which the task asks for something new; 0 = never.
    pub anew: usize,
    /// True if the reference's mistakes are made, too.
    pub literal: bool,
    /// True if the clocks of the characters are spread evenly over the horizon, false if all show
    /// the same time.
    pub staggered: bool,
}

impl Rules {
    /// The unit of entry `entry` of the task's part of a normalised observation, in body units and
    /// frames.
    pub fn unit(&self, entry: usize) -> f64 {
        (self.task.info().unit)(self, entry)
    }
}

/// The tensors of P characters; a tensor that the task does not use is absent.
#[allow(missing_docs)]
#[derive(Clone, Copy)]
pub struct World<T> {
    pub rules: Rules,
    pub state: Mat<StepState>,
    pub frames: Mat<T>,
    pub latent: Mat<T>,
    pub draws: Mat<T>,
    pub poses: Mat<T>,
    pub course: Mat<T>,
    pub program: Mat<Program>,
    pub history: Mat<T>,
    pub root: Mat<T>,
    pub facing: Mat<T>,
    pub feet: Mat<T>,
    pub own: Mat<T>,
    pub words: Mat<u32>,
    pub outcome: Mat<T>,
    pub observation: Mat<T>,
    pub(crate) frame_size: usize,
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
    /// Points of the course, if the task needs one.
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
        let info = rules.task.info();
        let draws = match info.draws {
            Draws::Nothing => 0,
            Draws::Uniform(count) => count,
            Draws::Normal => l,
        };
        let course = if info.course == Course::Nothing { 0 } else { sizes.course };
        let mut mat = |rows: usize, cols: usize| arena.mat(rows, cols);
        let world = World {
            rules,
            state,
            frames: mat(p, k * f),
            latent: z,
            draws: mat(p, draws),
            poses: mat(sizes.poses, c * f),
            course: mat(course, 2),
            history: mat(p, c * f),
            root: mat(p, 2),
            facing: mat(p, 1),
            feet: mat(p, FEET),
            own: mat(p, info.own),
            outcome: mat(p, OUTCOME),
            observation: mat(p, c * f + info.extra.of(l)),
            words: arena.mat(p, info.words),
            program: arena.mat(1, usize::from(rules.task.program().is_some())),
            frame_size: f,
        };
        Ok(world)
    }

    /// The program of a composed task and its place; other tasks have none.
    pub fn program(&self) -> (Mat<Program>, &[Program]) {
        (self.program, self.rules.task.program().map(std::slice::from_ref).unwrap_or_default())
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
            draws: self.draws.into(),
            poses: self.poses.into(),
            course: self.course.into(),
            program: self.program.into(),
            history: self.history.into(),
            root: self.root.into(),
            facing: self.facing.into(),
            feet: self.feet.into(),
            own: self.own.into(),
            words: self.words.into(),
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
            o: size(self.own.cols()),
            w: size(self.words.cols()),
            u: size(self.draws.cols()),
            frame: size(frame),
            last: u32::from(last),
            toe_left: size(rules.toes[0]),
            toe_right: size(rules.toes[1]),
            horizon: size(rules.horizon),
            anew: size(rules.anew),
            literal: u32::from(rules.literal),
            staggered: u32::from(rules.staggered),
            pad: 0,
            scalar: Default::default(),
        }
    }

    /// Appends the call that applies predicted frame `frame` to characters and task; `last` if it
    /// is the last of its step.
    pub fn step(&self, plan: &mut Plan, frame: usize, last: bool) {
        let written = ["history", "root", "facing", "feet", "own", "words", "outcome"];
        self.push(plan, Act::Step, (frame, last), &written.map(Output::part));
    }

    /// Appends the call that starts every character anew that is done. It keeps its pose while its
    /// time goes on, and gets a new one when time is out (and always in the maze).
    pub fn reset(&self, plan: &mut Plan) {
        let written = ["history", "root", "facing", "feet", "own", "words"];
        self.push(plan, Act::Reset, (0, true), &written.map(Output::part));
    }

    /// Appends the call that writes the observation.
    pub fn observe(&self, plan: &mut Plan) {
        self.push(plan, Act::Observe, (0, true), &[Output::whole("observation")]);
    }

    /// Appends one of the task's kernels; each character has a warp.
    fn push(&self, plan: &mut Plan, act: Act, (frame, last): (usize, bool), writes: &[Output]) {
        let (kernel, body) = (self.rules.task.kernels()[act as usize], self.rules.task.bodies::<T>()[act as usize]);
        let grid = Grid::items(self.root.rows().div_ceil(4), 128);
        // Only a character that is done starts anew.
        plan.push(Call::new(kernel, grid, writes, self.args(frame, last), move |mut view, _| {
            for p in 0..view.p {
                if act != Act::Reset || view.done(p) {
                    body(&mut view, p);
                }
            }
        }));
    }
}

/// The kernels of a task, in the order of [`Task::kernels`].
#[derive(Clone, Copy, PartialEq)]
enum Act {
    Step,
    Reset,
    Observe,
}

type Body<T> = fn(&mut View<'_, T>, usize);

/// Functions that every task uses.
impl<'a, T: Real> View<'a, T> {
    /// A character's clock while the current frame is applied: it advances with the last frame of a
    /// step, up to the horizon.
    fn time(&self, p: usize) -> usize {
        let ahead = self.staggered * p * self.horizon / self.p;
        (self.state[0].rollout_step as usize + self.horizon - 1 + ahead) % self.horizon + self.last
    }

    /// True if the task asks for something new after the current frame.
    fn asks_anew(&self, p: usize) -> bool {
        self.last == 1 && self.anew > 0 && self.time(p).is_multiple_of(self.anew)
    }

    /// True if a character that is done is so because time was out.
    fn time_is_out(&self, p: usize) -> bool {
        self.outcome[p * OUTCOME + 2] == T::zero()
    }

    fn at(&self, p: usize) -> [T; 2] {
        [self.root[2 * p], self.root[2 * p + 1]]
    }

    /// A character's own numbers.
    fn own(&mut self, p: usize) -> &mut [T] {
        &mut self.own[p * self.o..][..self.o]
    }

    fn goal(&self, p: usize) -> [T; 2] {
        [self.own[p * self.o + GOAL], self.own[p * self.o + GOAL + 1]]
    }

    /// A character's random numbers.
    fn drawn(&self, p: usize) -> &'a [T] {
        &self.draws[p * self.u..][..self.u]
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

    /// Minus the distance to the goal, body units.
    fn nearness(&self, p: usize) -> T {
        -length(self.way(p, self.goal(p)))
    }

    /// Cosine and sine of the angle at which the goal is seen; 0 where the root is the goal.
    fn bearing(&self, p: usize) -> [T; 2] {
        let way = self.to_local(p, self.way(p, self.goal(p)));
        let far = length(way);
        if far > T::zero() { way.map(|x| x / far) } else { way }
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

    fn energy(&self, frame: &[T]) -> T {
        energy(frame, T::of(self.body * self.body))
    }

    /// Sum over the feet of (2 - 2^h) times the distance that the foot went, body units, where h in
    /// [0, 1] is its height over the height that counts as contact.
    fn slide(&self, p: usize) -> T {
        let (now, before) = self.feet[p * FEET..][..FEET].split_at(FEET / 2);
        let mut slide = T::zero();
        let floors = [self.floor_left, self.floor_right].map(T::of);
        for ((now, before), floor) in now.chunks_exact(3).zip(before.chunks_exact(3)).zip(floors) {
            let height = (now[2].max(before[2]) - floor) / T::of(walk::CONTACT);
            let held = T::of(2.0) - height.max(T::zero()).min(T::one()).exp2();
            slide += length([now[0] - before[0], now[1] - before[1]]) / T::of(self.body) * held;
        }
        slide
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
    /// marks characters that are done. Something new that is asked for is not the doing of the step
    /// before it; in the reference it is.
    fn finish(&mut self, p: usize, reward: T, alone: bool, failed: bool) {
        let (out, frame) = (self.time(p) >= self.horizon, self.frame);
        let lost = self.lost(&self.frames[(p * self.k + frame) * self.f..][..self.f]);
        let (reward, failed) = if lost { (T::of(LOST_REWARD), true) } else { (reward, failed) };
        // A character that is lost in one frame of a step is done, whatever the next frame is.
        let failed = failed || frame > 0 && self.done(p);
        let not_its_doing = out || self.asks_anew(p) && self.literal == 0 && !failed;
        let outcome = &mut self.outcome[p * OUTCOME..][..OUTCOME];
        outcome[0] = if frame == 0 || alone { reward } else { outcome[0] + reward };
        outcome[1] = if out || failed { T::zero() } else { T::one() };
        outcome[2] = if not_its_doing { T::zero() } else { T::one() };
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

    /// Sets the potential.
    fn measure(&mut self, p: usize) {
        self.own[p * self.o + POTENTIAL] = self.nearness(p);
    }

    /// Writes the condition, and returns the place behind it for what the task adds.
    fn condition(&mut self, p: usize) -> &mut [T] {
        let row = self.c * self.f;
        let (condition, extra) = self.observation[p * self.d..][..self.d].split_at_mut(row);
        condition.copy_from_slice(&self.history[p * row..][..row]);
        extra
    }
}

/// -0.8 (root displacement^2 + turn^2 + mean of squared joint velocities), body units; `square` is
/// the square of a body unit.
fn energy<T: Real>(frame: &[T], square: T) -> T {
    let joints = (frame.len() - 3) / 12;
    let velocities = &frame[3 + 3 * joints..][..3 * joints];
    let squares = velocities.iter().map(|&v| v * v).sum::<T>() / T::of(velocities.len() as f64);
    T::of(-0.8) * ((frame[0] * frame[0] + frame[1] * frame[1] + squares) / square + frame[2] * frame[2])
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

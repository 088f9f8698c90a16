//! The way back through a step of characters: from the derivatives of the loss by their state after
//! the step, and by the reward, to those by the predicted frame and by the state before. The state
//! is history, root and facing. A step that did not go on by its own doing passes nothing back.
//!
//! An observation depends on the character's state in one of few ways ([`Seen`]), so all tasks
//! share the way back through it. The reward's derivatives stand in the task's file.
use super::super::advantage::OUTCOME;
use super::composed::program::Program;
use super::{FEET, GOAL, Rules, World, length, walk};
use crate::Result;
use crate::cpu::real::Real;
use crate::ops::expect;
use crate::plan::arena::{Arena, Mat};
use crate::plan::{Call, Grid, Output, Plan, size};

/// How a pair of numbers that a task adds to the observation depends on the character's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Not at all.
    Nothing,
    /// It is the way to a point of the world, in the character's own frame.
    Points,
    /// It is a vector of the world that does not depend on its place, in the character's own frame.
    Directions,
    /// It is the direction of the goal, in the character's own frame.
    Bearing,
}

impl Seen {
    /// Most pairs that may depend on the state.
    pub(crate) const MOST: usize = 16;

    /// The kinds of pairs in one number, two bits for each pair; the first has the lowest bits.
    fn packed(kinds: &[Seen]) -> u32 {
        kinds.iter().rev().fold(0, |all, &kind| all << 2 | kind as u32)
    }
}

crate::kernel_args! {
    reads {
        /// [P, K F] predicted frames, in the data's units; the first is applied.
        frames: T [p * k * f],
        /// [P, D] observations before the step, which begin with the history.
        seen: T [p * d],
        /// [P, 2] place of the root before the step.
        root: T [p * 2],
        /// \[P\] facing before the step.
        facing: T [p],
        /// [P, FEET] before the step.
        feet: T [p * FEET],
        /// [P, O] the task's own numbers before the step.
        own: T [p * o],
        /// [P, L] latent that was decoded.
        latent: T [p * l],
        /// [P, OUTCOME] of the step.
        outcome: T [p * OUTCOME],
        /// \[P\] derivative of the loss by the reward.
        weight: T [p],
        /// [P, D] derivative of the loss by the observation before the step.
        dseen: T [p * d],
        /// The program of a composed task.
        program: Program [1],
    }
    writes {
        /// [P, K F].
        dframes: T [p * k * f],
        /// [P, L].
        dlatent: T [p * l],
        /// [P, C F] derivative by the history after the step, which becomes that by the one before.
        dhistory: T [p * c * f],
        /// [P, 2], likewise.
        droot: T [p * 2],
        /// \[P\], likewise.
        dfacing: T [p],
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
        /// Own numbers of a character.
        o,
        /// Joint of the left toe.
        toe_left,
        /// Joint of the right toe.
        toe_right,
        /// Kinds of the pairs that are seen, as `Seen::packed` gives them.
        kinds,
    }
}

/// A character's step backward, on its way.
pub(crate) struct Step<'a, T> {
    /// The predicted frame.
    pub frame: &'a [T],
    /// The newest frame before it.
    pub before: &'a [T],
    /// Derivative of the loss by the reward.
    pub weight: T,
    /// Place of the root and facing before the step.
    pub start: ([T; 2], T),
    /// Place of the root and facing after the step.
    pub end: ([T; 2], T),
    /// The task's own numbers before the step.
    pub own: &'a [T],
    /// Feet before the step, as [`FEET`] says.
    pub feet: &'a [T],
    pub latent: &'a [T],
    pub rules: RulesOfStep<T>,
    /// The program of a composed task.
    pub program: &'a [Program],
    pub dframe: &'a mut [T],
    pub dbefore: &'a mut [T],
    pub dlatent: &'a mut [T],
    /// Derivatives by root and facing before and after the step.
    pub dstart: ([T; 2], T),
    pub dend: ([T; 2], T),
}

/// The rules that derivatives need; lengths in the data's units.
#[derive(Clone, Copy)]
pub(crate) struct RulesOfStep<T> {
    pub body: T,
    pub speed: T,
    pub floors: [T; 2],
    pub toes: [usize; 2],
}

/// The derivatives of a task's reward, which are added to those of a [`Step`].
pub(crate) type Body<T> = fn(&mut Step<'_, T>);

impl<T: Real> Step<'_, T> {
    /// Adds `by` times the derivatives of the progress towards the goal: the distance from it
    /// before the step less that after it, body units.
    pub fn progress(&mut self, by: T) {
        let goal = [self.own[GOAL], self.own[GOAL + 1]];
        let unit = |root: [T; 2]| {
            let way = [goal[0] - root[0], goal[1] - root[1]];
            let far = length(way);
            way.map(|x| if far > T::zero() { x / far } else { T::zero() })
        };
        let weight = by / self.rules.body;
        for (axis, (end, start)) in unit(self.end.0).into_iter().zip(unit(self.start.0)).enumerate() {
            self.dend.0[axis] += weight * end;
            self.dstart.0[axis] -= weight * start;
        }
    }

    /// Adds `by` times the derivatives of the energy (`View::energy`).
    pub fn energy(&mut self, by: T) {
        let joints = (self.frame.len() - 3) / 12;
        let weight = by * T::of(-1.6);
        let square = self.rules.body * self.rules.body;
        (0..2).for_each(|i| self.dframe[i] += weight * self.frame[i] / square);
        self.dframe[2] += weight * self.frame[2];
        let mean = weight / (square * T::of(3.0 * joints as f64));
        let velocities = 3 + 3 * joints..3 + 6 * joints;
        self.dframe[velocities.clone()].iter_mut().zip(&self.frame[velocities]).for_each(|(d, &v)| *d += mean * v);
    }

    /// The feet's slide in the step; none of a character that has just started anew, which has no
    /// feet to compare.
    fn feet(&self) -> Option<[Foot<T>; 2]> {
        if self.feet.iter().all(|&x| x == T::one()) {
            return None;
        }
        let (sin, cos) = self.frame[2].sin_cos();
        let foot = |side: usize| {
            let at = 3 + 3 * self.rules.toes[side];
            let highest = self.frame[at + 1].max(self.before[at + 1]);
            let height = (highest - self.rules.floors[side]) / T::of(walk::CONTACT);
            let (x, z) = (self.before[at] - self.frame[0], self.before[at + 2] - self.frame[1]);
            let seen = [cos * x - sin * z, sin * x + cos * z];
            let way = [self.frame[at] - seen[0], self.frame[at + 2] - seen[1]];
            Foot { at, height: height.max(T::zero()).min(T::one()), seen, way }
        };
        Some([0, 1].map(foot))
    }

    /// The slide of the feet (`View::slide`).
    pub fn slide(&self) -> T {
        let slides = self.feet().map(|feet| feet.map(|foot| foot.held() * length(foot.way) / self.rules.body));
        slides.map_or(T::zero(), |[left, right]| left + right)
    }

    /// Adds `by` times the derivatives of the slide.
    pub fn by_slide(&mut self, by: T) {
        let (sin, cos) = self.frame[2].sin_cos();
        let (contact, by) = (T::of(walk::CONTACT), by / self.rules.body);
        for Foot { at, height, seen, way } in self.feet().into_iter().flatten() {
            let (now, before) = (self.frame[at + 1], self.before[at + 1]);
            let far = length(way);
            if height > T::zero() && height < T::one() {
                let by_height = -by * far * T::of(std::f64::consts::LN_2) * height.exp2() / contact;
                *(if now > before { &mut self.dframe[at + 1] } else { &mut self.dbefore[at + 1] }) += by_height;
            }
            if far == T::zero() {
                continue;
            }
            let g = way.map(|x| by * (T::of(2.0) - height.exp2()) * x / far);
            let back = [cos * g[0] + sin * g[1], cos * g[1] - sin * g[0]];
            for axis in 0..2 {
                self.dframe[at + 2 * axis] += g[axis];
                self.dframe[axis] += back[axis];
                self.dbefore[at + 2 * axis] -= back[axis];
            }
            self.dframe[2] += g[0] * seen[1] - g[1] * seen[0];
        }
    }

    /// Speed of the root, body units a frame.
    pub fn speed(&self) -> T {
        length([self.frame[0], self.frame[1]]) / self.rules.body
    }

    /// Adds `by` times the derivatives of [`Step::speed`].
    pub fn by_speed(&mut self, by: T) {
        let far = length([self.frame[0], self.frame[1]]);
        if far > T::zero() {
            (0..2).for_each(|i| self.dframe[i] += by * self.frame[i] / (far * self.rules.body));
        }
    }
}

/// A foot in a step.
struct Foot<T> {
    /// Place of its toe in a frame.
    at: usize,
    /// Height over the height that counts as contact, in [0, 1].
    height: T,
    /// The place before, seen from where the root now is.
    seen: [T; 2],
    /// The vector from there to its place.
    way: [T; 2],
}

impl<T: Real> Foot<T> {
    /// Share of the way that counts as sliding.
    fn held(&self) -> T {
        T::of(2.0) - self.height.exp2()
    }
}

/// The tensors of the way back through a world's step, beside those of the world.
#[allow(missing_docs)]
pub struct Pull<T> {
    /// [P, D] derivative by the raw observation before the step.
    pub dseen: Mat<T>,
    /// [P, 1] derivative of the loss by the reward.
    pub weight: Mat<T>,
    /// [P, K F].
    pub dframes: Mat<T>,
    /// [P, L].
    pub dlatent: Mat<T>,
    /// [P, C F].
    pub dhistory: Mat<T>,
    /// [P, 2].
    pub droot: Mat<T>,
    /// [P, 1].
    pub dfacing: Mat<T>,
}

impl<T: Real> Pull<T> {
    /// Lays out the derivatives of a world.
    pub fn new(arena: &mut Arena, w: &World<T>) -> Self {
        let mut like = |mat: Mat<T>| arena.mat(mat.rows(), mat.cols());
        Pull {
            dseen: like(w.observation),
            dframes: like(w.frames),
            dlatent: like(w.latent),
            dhistory: like(w.history),
            droot: like(w.root),
            dfacing: like(w.facing),
            weight: like(w.facing),
        }
    }

    fn args(&self, w: &World<T>) -> Args<T> {
        let (rules, f, p): (&Rules, usize, usize) = (&w.rules, w.frame_size(), w.root.rows());
        Args {
            frames: w.frames.into(),
            seen: w.observation.into(),
            root: w.root.into(),
            facing: w.facing.into(),
            feet: w.feet.into(),
            own: w.own.into(),
            latent: w.latent.into(),
            outcome: w.outcome.into(),
            weight: self.weight.into(),
            dseen: self.dseen.into(),
            program: w.program.into(),
            dframes: self.dframes.into(),
            dlatent: self.dlatent.into(),
            dhistory: self.dhistory.into(),
            droot: self.droot.into(),
            dfacing: self.dfacing.into(),
            body: rules.body,
            speed: rules.speed,
            floor_left: rules.floors[0],
            floor_right: rules.floors[1],
            p: size(p),
            k: size(w.frames.cols() / f),
            f: size(f),
            c: size(w.history.cols() / f),
            d: size(w.observation.cols()),
            l: size(w.latent.cols()),
            o: size(w.own.cols()),
            toe_left: size(rules.toes[0]),
            toe_right: size(rules.toes[1]),
            kinds: Seen::packed(rules.task.info().seen),
            scalar: Default::default(),
        }
    }

    /// Appends the way back through a step of one frame, whose tensors hold what they held before
    /// it, but for frames, latent and outcome. Errors: a task whose reward has no derivatives,
    /// steps of several frames.
    pub fn step(&self, plan: &mut Plan, w: &World<T>) -> Result<()> {
        let task = w.rules.task;
        let Some((kernel, body)) = task.pull::<T>() else {
            let what = format!("the reward of task {} has no derivatives", task.name());
            return Err(crate::Error::Usage(format!("{what}; give --algorithm ppo")));
        };
        expect("world", "mistakes of the reference", usize::from(w.rules.literal), 0, "none in a step backward")?;
        let args = Args { dseen: crate::plan::Ptr::NONE, ..self.args(w) };
        let written = ["dframes", "dlatent"].map(Output::whole);
        let changed = ["dhistory", "droot", "dfacing"].map(Output::part);
        let grid = Grid::items(w.root.rows().div_ceil(4), 128);
        let writes = [&written[..], &changed].concat();
        plan.push(Call::new(kernel, grid, &writes, args, move |view, _| cpu::step(view, body)));
        Ok(())
    }

    /// Appends the call that adds the derivatives by the observation, in `dseen`, to those by the
    /// state that it shows.
    pub fn observation(&self, plan: &mut Plan, w: &World<T>) {
        let none = crate::plan::Ptr::NONE;
        let args = Args { frames: none, feet: none, latent: none, outcome: none, weight: none, ..self.args(w) };
        let args = Args { dframes: none, dlatent: none, program: crate::plan::Ptr::NONE, ..args };
        let writes = ["dhistory", "droot", "dfacing"].map(Output::part);
        let grid = Grid::items(w.root.rows().div_ceil(4), 128);
        plan.push(Call::new("world_observation_backward", grid, &writes, args, |view, _| cpu::observation(view)));
    }
}

/// The definition.
pub(crate) mod cpu {
    use super::*;

    /// The way back through a step; `body` adds the derivatives of the reward.
    pub(crate) fn step<T: Real>(v: View<'_, T>, body: Body<T>) {
        let rules = RulesOfStep {
            body: T::of(v.body),
            speed: T::of(v.speed),
            floors: [v.floor_left, v.floor_right].map(T::of),
            toes: [v.toe_left, v.toe_right],
        };
        let row = v.c * v.f;
        v.dframes.fill(T::zero());
        v.dlatent.fill(T::zero());
        for p in 0..v.p {
            let dhistory = &mut v.dhistory[p * row..][..row];
            let outcome = &v.outcome[p * OUTCOME..][..OUTCOME];
            if outcome[1] == T::zero() || outcome[2] == T::zero() {
                dhistory.fill(T::zero());
                v.droot[2 * p..][..2].fill(T::zero());
                v.dfacing[p] = T::zero();
                continue;
            }
            let frame = &v.frames[p * v.k * v.f..][..v.f];
            let dframe = &mut v.dframes[p * v.k * v.f..][..v.f];
            dframe.copy_from_slice(&dhistory[..v.f]);
            dhistory.copy_within(v.f.., 0);
            dhistory[row - v.f..].fill(T::zero());
            let (facing, root) = (v.facing[p], [v.root[2 * p], v.root[2 * p + 1]]);
            let (sin, cos) = facing.sin_cos();
            let moved = [cos * frame[0] + sin * frame[1], cos * frame[1] - sin * frame[0]];
            let mut s = Step {
                frame,
                before: &v.seen[p * v.d..][..v.f],
                weight: v.weight[p],
                start: (root, facing),
                end: ([root[0] + moved[0], root[1] + moved[1]], facing + frame[2]),
                own: &v.own[p * v.o..][..v.o],
                feet: &v.feet[p * FEET..][..FEET],
                latent: &v.latent[p * v.l..][..v.l],
                rules,
                program: v.program,
                dframe,
                dbefore: &mut dhistory[..v.f],
                dlatent: &mut v.dlatent[p * v.l..][..v.l],
                dstart: ([T::zero(); 2], T::zero()),
                dend: ([v.droot[2 * p], v.droot[2 * p + 1]], v.dfacing[p]),
            };
            body(&mut s);
            let (end, turn) = s.dend;
            s.dframe[0] += cos * end[0] - sin * end[1];
            s.dframe[1] += sin * end[0] + cos * end[1];
            s.dframe[2] += turn;
            v.dfacing[p] = s.dstart.1 + turn + end[0] * moved[1] - end[1] * moved[0];
            (0..2).for_each(|axis| v.droot[2 * p + axis] = s.dstart.0[axis] + end[axis]);
        }
    }

    /// The way back through the observation.
    pub(crate) fn observation<T: Real>(v: View<'_, T>) {
        let row = v.c * v.f;
        for p in 0..v.p {
            let (seen, d) = (&v.seen[p * v.d..][..v.d], &v.dseen[p * v.d..][..v.d]);
            v.dhistory[p * row..][..row].iter_mut().zip(d).for_each(|(dh, &d)| *dh += d);
            if v.kinds == Seen::Nothing as usize {
                continue;
            }
            let (sin, cos) = v.facing[p].sin_cos();
            for (pair, (seen, d)) in seen[row..].chunks_exact(2).zip(d[row..].chunks_exact(2)).enumerate() {
                let kind = v.kinds >> (2 * pair) & 3;
                if kind == Seen::Nothing as usize {
                    continue;
                }
                v.dfacing[p] += d[1] * seen[0] - d[0] * seen[1];
                let back = [cos * d[0] + sin * d[1], cos * d[1] - sin * d[0]];
                let by_way = match kind {
                    x if x == Seen::Points as usize => back,
                    x if x == Seen::Bearing as usize => {
                        let goal = &v.own[p * v.o + GOAL..][..2];
                        let way = [goal[0] - v.root[2 * p], goal[1] - v.root[2 * p + 1]];
                        let far = length(way);
                        if far == T::zero() {
                            continue;
                        }
                        let (unit, far) = (way.map(|x| x / far), far / T::of(v.body));
                        let along = back[0] * unit[0] + back[1] * unit[1];
                        [(back[0] - along * unit[0]) / far, (back[1] - along * unit[1]) / far]
                    }
                    _ => continue,
                };
                (0..2).for_each(|axis| v.droot[2 * p + axis] -= by_way[axis] / T::of(v.body));
            }
        }
    }
}

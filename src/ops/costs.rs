//! Costs of a step: feet that slide where they stand, effort, jerks, and standing where a move is
//! asked for. All are differentiable, so that a policy can learn by their gradients (docs/math.md,
//! "Costs").
use super::advantage::OUTCOME;
use super::expect;
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::motion::features;
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

/// Height below which a toe is held by the ground, m, and the width of that edge.
const HELD: [f64; 2] = [0.03, 0.005];
/// Squared speed at which a held toe has half of its cost, (m/s)^2.
const SLIDES: f64 = 0.04;
/// Speed and height that count alike in how far a toe is from being planted: (m/s)^2 and m.
const PLANTED: [f64; 2] = [0.0225, 0.02];
/// Softness of the least of both toes.
const SOFT: f64 = 0.2;

/// Speed of the root at which standing costs 1/e of its weight, m/s, and its least value.
const STANDS: [f64; 2] = [0.25, 1e-3];

crate::kernel_args! {
    reads {
        /// [P, K F] predicted frames, in the data's units; the first is applied.
        frames: T [p * k * f],
        /// [P, D] observations before the step, which begin with the newest frame.
        seen: T [p * d],
        /// [P, O] the task's own numbers, which hold the speed that is asked for.
        own: T [p * o],
        /// \[1\] share of the costs that counts, but for standing.
        share: T [1],
        /// \[P\] derivative of the loss by the reward, in `backward`.
        weight: T [p],
    }
    writes {
        /// [P, OUTCOME]; `forward` takes the cost off the reward of a step that goes on.
        outcome: T [p * OUTCOME],
        /// [P, K F], added to.
        dframes: T [p * k * f],
        /// [P, C F] gradient of the history before the step, added to.
        dhistory: T [p * c * f],
    }
    numbers {
        /// Weight of sliding feet.
        skate,
        /// Weight of the mean squared speed of the joints, (m/s)^2.
        effort,
        /// Weight of the mean squared change of the joints' velocities in a frame, (m/s)^2.
        jerk,
        /// Weight of standing.
        stand,
        /// Metres in a unit of the data.
        metres,
        /// Frames a second.
        fps,
        /// Length of a body unit.
        body,
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
        /// Own numbers of a character.
        o,
        /// 1 + place of the speed that is asked for among them; 0: any is.
        asked,
        /// Joint of the left toe.
        toe_left,
        /// Joint of the right toe.
        toe_right,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// Weights of the costs, and the measures of the body that they need.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Costs {
    /// Weight of sliding feet.
    pub skate: f64,
    /// Weight of effort.
    pub effort: f64,
    /// Weight of jerks.
    pub jerk: f64,
    /// Weight of standing where a move is asked for, which counts in full from the start.
    pub stand: f64,
    /// Metres in a unit of the data.
    pub metres: f64,
    /// Frames a second.
    pub fps: f64,
    /// Length of a body unit in the data's units.
    pub body: f64,
    /// Joints of left and right toe.
    pub toes: [usize; 2],
    /// Heights of the toes when they stand.
    pub floors: [f64; 2],
}

/// The tensors of a step that are read.
#[allow(missing_docs)]
#[derive(Clone, Copy)]
pub struct Stepped<T> {
    pub frames: Mat<T>,
    /// [1, 1] share of the costs that counts, but for standing.
    pub share: Mat<T>,
    /// [P, D] raw observations before the step.
    pub seen: Mat<T>,
    /// [P, O] the task's own numbers. Where a step goes on, it asks for one speed before and after.
    pub own: Mat<T>,
    /// Place among them of the speed that is asked for, body units a frame; `None`: any is.
    pub asked: Option<usize>,
    /// [P, OUTCOME].
    pub outcome: Mat<T>,
    /// F.
    pub frame_size: usize,
    /// C.
    pub condition_frames: usize,
}

impl Costs {
    /// True if nothing costs anything.
    pub fn none(&self) -> bool {
        [self.skate, self.effort, self.jerk, self.stand] == [0.0; 4]
    }

    fn args<T: Real>(&self, s: &Stepped<T>) -> Result<Args<T>> {
        let (p, f) = (s.outcome.rows(), s.frame_size);
        expect("costs", "frames", s.frames.rows(), p, "one a character")?;
        expect("costs", "observations", s.seen.rows(), p, "one a character")?;
        Ok(Args {
            frames: s.frames.into(),
            seen: s.seen.into(),
            own: s.own.into(),
            share: s.share.into(),
            weight: crate::plan::Ptr::NONE,
            outcome: s.outcome.into(),
            dframes: crate::plan::Ptr::NONE,
            dhistory: crate::plan::Ptr::NONE,
            skate: self.skate,
            effort: self.effort,
            jerk: self.jerk,
            stand: self.stand,
            metres: self.metres,
            fps: self.fps,
            body: self.body,
            floor_left: self.floors[0],
            floor_right: self.floors[1],
            p: size(p),
            k: size(s.frames.cols() / f),
            f: size(f),
            c: size(s.condition_frames),
            d: size(s.seen.cols()),
            o: size(s.own.cols()),
            asked: s.asked.map_or(0, |place| 1 + size(place)),
            toe_left: size(self.toes[0]),
            toe_right: size(self.toes[1]),
            pad: 0,
            scalar: Default::default(),
        })
    }

    /// Appends the call that takes the costs off the reward. Errors: shapes that do not fit.
    pub fn forward<T: Real>(&self, plan: &mut Plan, stepped: &Stepped<T>) -> Result<()> {
        let (args, grid) = (self.args(stepped)?, Grid::items(stepped.outcome.rows().div_ceil(4), 128));
        plan.push(Call::new("costs_forward", grid, &[Output::part("outcome")], args, cpu::forward::<T>));
        Ok(())
    }

    /// Appends the call that adds their part to the gradients of the frames and of the history
    /// before the step, where `weight` \[P\] is the derivative of the loss by the reward. Errors:
    /// shapes that do not fit.
    pub fn backward<T: Real>(
        &self,
        plan: &mut Plan,
        stepped: &Stepped<T>,
        weight: Mat<T>,
        [dframes, dhistory]: [Mat<T>; 2],
    ) -> Result<()> {
        expect("costs", "gradient of frames", dframes.len(), stepped.frames.len(), "as many as frames")?;
        let (weight, dframes, dhistory) = (weight.into(), dframes.into(), dhistory.into());
        let args = Args { weight, dframes, dhistory, ..self.args(stepped)? };
        let writes = ["dframes", "dhistory"].map(Output::part);
        let grid = Grid::items(stepped.outcome.rows().div_ceil(4), 128);
        plan.push(Call::new("costs_backward", grid, &writes, args, cpu::backward::<T>));
        Ok(())
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// The turn of a step and the motion of its root.
    struct Motion<T> {
        sin: T,
        cos: T,
        root: [T; 2],
    }

    impl<T: Real> Motion<T> {
        fn of(frame: &[T]) -> Self {
            let (sin, cos) = frame[2].sin_cos();
            Motion { sin, cos, root: [frame[0], frame[1]] }
        }

        /// R v
        fn turned(&self, [x, z]: [T; 2]) -> [T; 2] {
            [self.cos * x - self.sin * z, self.sin * x + self.cos * z]
        }

        /// Rᵀ v
        fn back(&self, [x, z]: [T; 2]) -> [T; 2] {
            [self.cos * x + self.sin * z, self.cos * z - self.sin * x]
        }
    }

    /// A toe in a step: its height, and its motion by the velocity features and by places, m and
    /// m/s.
    #[derive(Clone, Copy)]
    struct Toe<T> {
        height: T,
        moves: [[T; 2]; 2],
    }

    /// A vector of the ground that starts at this feature.
    fn ground<T: Real>(frame: &[T], at: usize) -> [T; 2] {
        [frame[at], frame[at + 2]]
    }

    fn square<T: Real>([x, z]: [T; 2]) -> T {
        x * x + z * z
    }

    fn toes<T: Real>(v: &View<'_, T>, frame: &[T], before: &[T]) -> [Toe<T>; 2] {
        let (motion, metres, speed) = (Motion::of(frame), T::of(v.metres), T::of(v.metres * v.fps));
        let velocities = (v.f - 3) / 12 * 3;
        [(v.toe_left, v.floor_left), (v.toe_right, v.floor_right)].map(|(joint, floor)| {
            let at = 3 + 3 * joint;
            let (now, old) = (ground(frame, at), ground(before, at));
            let seen = motion.turned([old[0] - motion.root[0], old[1] - motion.root[1]]);
            let moves = [ground(frame, at + velocities), [now[0] - seen[0], now[1] - seen[1]]];
            Toe { height: metres * (frame[at + 1] - T::of(floor)), moves: moves.map(|m| m.map(|x| speed * x)) }
        })
    }

    /// The cost of both toes by one kind of motion, and its derivatives by each squared speed and
    /// each height.
    fn sliding<T: Real>(toes: &[Toe<T>; 2], kind: usize) -> (T, [[T; 2]; 2]) {
        let (one, zero, soft) = (T::one(), T::zero(), T::of(SOFT));
        let far = toes.map(|toe| {
            let above = ((toe.height - T::of(PLANTED[1])) / T::of(PLANTED[1])).max(zero);
            (square(toe.moves[kind]) / T::of(PLANTED[0]) + above * above, above)
        });
        // The soft least of both, which is 0 where both are planted.
        let least = far[0].0.min(far[1].0);
        let terms = far.map(|(x, _)| ((least - x) / soft).exp());
        let sum = terms[0] + terms[1];
        let m = (least - soft * (sum / T::of(2.0)).ln()).max(zero);
        let by_m = if m > zero { one / ((one + m) * (one + m)) } else { zero };
        let mut cost = m / (one + m);
        let mut slopes = [[zero; 2]; 2];
        for (i, toe) in toes.iter().enumerate() {
            let share = by_m * terms[i] / sum;
            slopes[i] = [share / T::of(PLANTED[0]), share * T::of(2.0 / PLANTED[1]) * far[i].1];
            let held = one / (one + ((toe.height - T::of(HELD[0])) / T::of(HELD[1])).exp());
            let (speed, half) = (square(toe.moves[kind]), T::of(SLIDES));
            let slides = speed / (speed + half);
            cost += held * slides;
            slopes[i][0] += held * half / ((speed + half) * (speed + half));
            slopes[i][1] -= held * (one - held) / T::of(HELD[1]) * slides;
        }
        (cost, slopes)
    }

    /// The frame that is applied to character p, and the one before it.
    fn frames<'a, T: Real>(v: &View<'a, T>, p: usize) -> [&'a [T]; 2] {
        [&v.frames[p * v.k * v.f..][..v.f], &v.seen[p * v.d..][..v.f]]
    }

    fn goes_on<T: Real>(v: &View<'_, T>, p: usize) -> bool {
        v.outcome[p * OUTCOME + 1] != T::zero() && v.outcome[p * OUTCOME + 2] != T::zero()
    }

    /// The cost of standing, and its derivatives by the root's motion. Both are 0 at the speed that
    /// is asked for and above.
    fn standing<T: Real>(v: &View<'_, T>, p: usize, frame: &[T]) -> (T, [T; 2]) {
        let (unit, stand) = (T::of(v.metres * v.fps), T::of(v.stand));
        let root = [unit * frame[0], unit * frame[1]];
        let [scale, least] = STANDS.map(T::of);
        let speed = (square(root) + least * least).sqrt();
        let asked = v.asked.checked_sub(1).map(|place| T::of(v.body) * unit * v.own[p * v.o + place]);
        let [slow, rest] = [(-speed / scale).exp(), asked.map_or(T::zero(), |asked| (-asked / scale).exp())];
        if slow <= rest {
            return (T::zero(), [T::zero(); 2]);
        }
        (stand * (slow - rest), root.map(|x| -stand * slow / scale * x / speed * unit))
    }

    /// The change of velocity of a joint in the ground's plane and upward.
    fn change<T: Real>(motion: &Motion<T>, frame: &[T], before: &[T], at: usize) -> [T; 3] {
        let ([x, z], old) = (motion.turned(ground(before, at)), ground(frame, at));
        [old[0] - x, frame[at + 1] - before[at + 1], old[1] - z]
    }

    /// reward -= share times (skate (sliding by velocities + sliding by places) / 2 + effort mean
    /// |v|^2 + jerk mean |v - R v before|^2) + standing
    pub fn forward<T: Real>(v: View<'_, T>, _: &Team) {
        let joints = features::joints(v.f).expect("checked");
        let mean = T::of((v.metres * v.fps).powi(2) / joints as f64);
        for p in 0..v.p {
            if !goes_on(&v, p) {
                continue;
            }
            let [frame, before] = frames(&v, p);
            let (toes, motion) = (toes(&v, frame, before), Motion::of(frame));
            let slides = (sliding(&toes, 0).0 + sliding(&toes, 1).0) / T::of(2.0);
            let mut sums = [T::zero(); 2];
            for at in (3 + 3 * joints..3 + 6 * joints).step_by(3) {
                sums[0] += frame[at..at + 3].iter().map(|&x| x * x).sum::<T>();
                sums[1] += change(&motion, frame, before, at).into_iter().map(|x| x * x).sum::<T>();
            }
            let [effort, jerk] = sums.map(|sum| mean * sum);
            let cost = T::of(v.skate) * slides + T::of(v.effort) * effort + T::of(v.jerk) * jerk;
            v.outcome[p * OUTCOME] -= v.share[0] * cost + standing(&v, p, frame).0;
        }
    }

    /// Adds -weight times the derivatives of the cost.
    pub fn backward<T: Real>(v: View<'_, T>, _: &Team) {
        let joints = features::joints(v.f).expect("checked");
        let (two, unit) = (T::of(2.0), T::of(v.metres * v.fps));
        let mean = two * unit * unit / T::of(joints as f64);
        for p in 0..v.p {
            if !goes_on(&v, p) {
                continue;
            }
            let [frame, before] = frames(&v, p);
            let (toes, motion) = (toes(&v, frame, before), Motion::of(frame));
            let (_, stands) = standing(&v, p, frame);
            let (df, db) = (&mut v.dframes[p * v.k * v.f..][..v.f], &mut v.dhistory[p * v.c * v.f..][..v.f]);
            (0..2).for_each(|axis| df[axis] -= v.weight[p] * stands[axis]);
            let loss = -v.weight[p] * v.share[0];
            // A vector v of the frame and Rᵀ v of the one before: the derivative by the turn.
            let by_turn = |g: [T; 2], u: [T; 2]| {
                let turned = motion.turned(u);
                g[1] * turned[0] - g[0] * turned[1]
            };
            for kind in 0..2 {
                let (_, slopes) = sliding(&toes, kind);
                for (i, joint) in [v.toe_left, v.toe_right].into_iter().enumerate() {
                    let at = 3 + 3 * joint;
                    let weight = loss * T::of(v.skate / 2.0);
                    let g = toes[i].moves[kind].map(|x| weight * slopes[i][0] * two * x * unit);
                    df[at + 1] += weight * slopes[i][1] * T::of(v.metres);
                    if kind == 0 {
                        df[at + 3 * joints] += g[0];
                        df[at + 3 * joints + 2] += g[1];
                        continue;
                    }
                    df[at] += g[0];
                    df[at + 2] += g[1];
                    let (back, old) = (motion.back(g), ground(before, at));
                    for axis in 0..2 {
                        db[at + 2 * axis] -= back[axis];
                        df[axis] += back[axis];
                    }
                    df[2] -= by_turn(g, [old[0] - motion.root[0], old[1] - motion.root[1]]);
                }
            }
            let [effort, jerk] = [v.effort, v.jerk].map(|weight| loss * T::of(weight) * mean);
            for at in (3 + 3 * joints..3 + 6 * joints).step_by(3) {
                let change = change(&motion, frame, before, at).map(|x| jerk * x);
                (0..3).for_each(|i| df[at + i] += effort * frame[at + i] + change[i]);
                let g = [change[0], change[2]];
                let back = motion.back(g);
                db[at] -= back[0];
                db[at + 1] -= change[1];
                db[at + 2] -= back[1];
                df[2] -= by_turn(g, ground(before, at));
            }
        }
    }
}

//! Joystick: walk in a direction at a speed, both of which change from time to time.
use super::pull::Seen;
use super::task::{
    Bound, Draws, Mean, Measure, Moving, Number, PLAIN, Recorded, Scene, Step, TaskInfo, Weights, rounded,
};
use super::*;
use serde_json::{Value, json};

/// Steps between directions.
pub(crate) const TURN: usize = 120;
/// Steps between speeds.
pub(crate) const PACE: usize = 240;
/// Number of speeds, spread evenly from 0 to the largest.
pub(crate) const SPEEDS: usize = 9;
/// The largest speed that the reference asks for, body units a frame: errors of speed count in
/// proportion to it.
pub(crate) const RANGE: f64 = 0.8;
/// Distance ahead of the point to walk to, body units.
pub(crate) const AHEAD: f64 = 10.0;

/// Angle within which a character heads in the direction that is asked for, degrees (Ling et al.
/// 2020, Table 2).
const WITHIN: f64 = 5.0;

/// Place of the direction (radians) and the speed (body units a frame) that are asked for, among a
/// character's own numbers.
pub const COMMAND: usize = 2;

/// The task.
pub const TASK: TaskInfo = TaskInfo {
    about: "Walk in a direction at a speed",
    draws: Draws::Uniform(2),
    own: 4,
    unit: |rules, _| rules.speed / (SPEEDS - 1) as f64,
    vectors: true,
    weights: Weights { prior: 0.002, skate: 0.25, stand: 1.0 },
    updates: [800, 1600],
    anew: TURN,
    speed: true,
    moves: Moving::At(COMMAND + 1),
    recorded: &[("goals", GOAL), ("commands", COMMAND)],
    steered: Some(1),
    rewards: |_| [f64::MIN_POSITIVE, 1.0],
    bounds: &[
        Bound::most("heading_error_degrees", Some(20.0)),
        Bound::least("speed_correlation", Some(0.8)),
        Bound::most("speed_error_percent", Some(15.0)),
        Bound::most("standing_percent", Some(2.0)),
        Bound::least("contact_of_data", Some(0.75)),
        Bound::most("skate_of_data", Some(2.0)),
    ],
    measure: |scene| {
        let (heading, error, speeds, turns, reached) = Default::default();
        let turning = vec![None; scene.characters];
        Box::new(Measured { scene: scene.clone(), heading, error, speeds, turning, turns, reached })
    },
    marks,
    seen: &[Seen::Directions],
    ..PLAIN
};

/// How well characters obey.
struct Measured {
    scene: Scene,
    /// Error of the heading, degrees. Not measured at a commanded speed of 0, which has no
    /// direction.
    heading: Mean,
    /// Error of the speed, m/s.
    error: Mean,
    /// Pairs of commanded and achieved speed, m/s.
    speeds: Vec<[f64; 2]>,
    /// Each character's turn to a new direction, if it is under way: steps so far, and whether it
    /// is a turn to the left.
    turning: Vec<Option<(usize, bool)>>,
    /// Seconds of turns that came within [`WITHIN`]: to the left, to the right.
    turns: [Mean; 2],
    /// Share of turns that came there.
    reached: Mean,
}

impl Measured {
    /// Follows a character's turns to new directions.
    fn turn(&mut self, step: &Step) {
        let Step { p, before, own, .. } = *step;
        let bearing = step.bearing(own[COMMAND]);
        let turning = &mut self.turning[p];
        let lasts = step.goes_on && own[COMMAND + 1] > 0.0;
        if !lasts || own[COMMAND] != before[COMMAND] {
            // A turn that is begun within the angle is none.
            let begun = (lasts && bearing.abs() > WITHIN).then_some((0, bearing < 0.0));
            if std::mem::replace(turning, begun).is_some() {
                self.reached.add_if(false);
            }
        } else if let Some((steps, left)) = turning {
            *steps += 1;
            if bearing.abs() < WITHIN {
                let seconds = (*steps * self.scene.frame_skip) as f64 / self.scene.rig.fps;
                self.turns[usize::from(!*left)].add(seconds);
                self.reached.add_if(true);
                *turning = None;
            }
        }
    }
}

impl Measure for Measured {
    fn add(&mut self, step: &Step) {
        let (direction, asked) = (step.own[COMMAND], step.own[COMMAND + 1] * self.scene.speed_unit());
        if step.goes_on && asked > 0.0 {
            self.heading.add(step.heading_error(direction));
        }
        self.turn(step);
        for &speed in step.speeds.iter().filter(|_| step.goes_on) {
            self.error.add((asked - speed).abs());
            self.speeds.push([asked, speed]);
        }
    }

    fn numbers(&self) -> Vec<Number> {
        let (top, error) = (self.scene.rules.speed * self.scene.speed_unit(), self.error.value());
        // A step's reward is the sum over its frames.
        let best = self.scene.frame_skip as f64 * best_constant(&self.speeds, top);
        let correlation = correlation(&self.speeds);
        vec![
            Number::new("best_constant_speed_reward", "that of the best constant speed", best),
            Number::new("heading_error_degrees", "error of the heading, degrees", self.heading.value()),
            Number::new("speed_correlation", "correlation of commanded and achieved speed", correlation),
            Number::new("speed_error_m_s", "error of the speed, m/s", error),
            Number::new("speed_range_m_s", "range of commanded speeds, m/s", top),
            Number::new("speed_error_percent", "error of the speed, % of the range", 100.0 * error / top),
            Number::new("left_turn_s", format!("turn to within {WITHIN} degrees, left, s"), self.turns[0].value()),
            Number::new("right_turn_s", format!("turn to within {WITHIN} degrees, right, s"), self.turns[1].value()),
            Number::new("turned_percent", "turns that came there, %", 100.0 * self.reached.value()),
        ]
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
    let of = |asked: f64, speed: f64| (-RANGE / top * (asked - speed).abs()).exp();
    let reward = |speed: f64| pairs.iter().map(|pair| of(pair[0], speed)).sum::<f64>() / pairs.len() as f64;
    (0..=100).map(|i| reward(top * f64::from(i) / 100.0)).fold(0.0, f64::max)
}

fn marks(scene: &Scene, recorded: &Recorded) -> Vec<Value> {
    vec![arrow(scene, recorded[1])]
}

/// The arrow of commands, frame by frame.
pub(crate) fn arrow(scene: &Scene, commands: &[[f32; 2]]) -> Value {
    // In single precision, as the recorded speeds are.
    let top = scene.speed((scene.rules.speed as f32).into());
    let commands = commands.iter().map(|c| [rounded(c[0].into(), 1e4), scene.speed(c[1].into())]);
    json!({ "kind": "arrow", "top": top, "commands": commands.collect::<Vec<_>>() })
}

/// The definition, for one character.
pub mod cpu {
    use super::*;

    fn turn<T: Real>(v: &mut View<'_, T>, p: usize, draw: T) {
        v.own(p)[COMMAND] = T::of(TAU) * draw;
    }

    fn pace<T: Real>(v: &mut View<'_, T>, p: usize, draw: T) {
        let step = (draw.f64() * SPEEDS as f64).floor();
        v.own(p)[COMMAND + 1] = T::of(step / (SPEEDS - 1) as f64 * v.speed);
    }

    /// Puts the target ahead of the root. The reference uses the sine of the speed in place of that
    /// of the direction.
    fn aim<T: Real>(v: &mut View<'_, T>, p: usize) {
        let ([x, z], ahead, literal) = (v.at(p), v.units(AHEAD), v.literal == 1);
        let own = v.own(p);
        let (direction, speed) = (own[COMMAND], own[COMMAND + 1]);
        let side = if literal { speed } else { direction };
        own[GOAL..][..2].copy_from_slice(&[x + ahead * direction.cos(), z + ahead * side.sin()]);
    }

    /// reward = exp(cosine - 1 - RANGE / largest speed |speed asked for - speed|)
    pub fn step<T: Real>(v: &mut View<'_, T>, p: usize) {
        let (frame, draws) = (v.advance(p), v.drawn(p));
        if v.asks_anew(p) {
            turn(v, p, draws[0]);
        }
        if v.last == 1 && v.time(p).is_multiple_of(PACE) {
            pace(v, p, draws[1]);
        }
        aim(v, p);
        let off = v.own(p)[COMMAND + 1] - length([frame[0], frame[1]]) / T::of(v.body);
        let reward = (v.bearing(p)[0] - T::one() - T::of(RANGE / v.speed) * off.abs()).exp();
        v.finish(p, reward, false, false);
    }

    /// a new direction and speed
    pub fn reset<T: Real>(v: &mut View<'_, T>, p: usize) {
        let [_, direction, speed, _] = v.restart(p, v.time_is_out(p));
        turn(v, p, direction);
        pace(v, p, speed);
        aim(v, p);
    }

    /// the velocity that is asked for, in the character's own frame
    pub fn observe<T: Real>(v: &mut View<'_, T>, p: usize) {
        let speed = v.own(p)[COMMAND + 1];
        let velocity = v.bearing(p).map(|x| speed * x);
        v.condition(p).copy_from_slice(&velocity);
    }

    /// Derivatives of the reward r: -r sin(angle) by the facing, r RANGE / largest speed by the
    /// speed where that is too small, minus this where it is too large.
    pub(crate) fn pull<T: Real>(s: &mut pull::Step<'_, T>) {
        let (direction, asked) = (s.own[COMMAND], s.own[COMMAND + 1]);
        let (sin, cos) = (direction + s.end.1).sin_cos();
        let (off, slope) = (asked - s.speed(), T::of(RANGE) / s.rules.speed);
        let by_reward = s.weight * (cos - T::one() - slope * off.abs()).exp();
        s.dend.1 -= by_reward * sin;
        s.by_speed(by_reward * slope * off.signum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::Rig;

    #[test]
    fn turns_are_timed_by_their_side_until_they_come_within_5_degrees() {
        let rig = Rig::bare(267, &[0.0; 267]).unwrap_or_else(|| panic!("267 features have a rig"));
        let rules = Rules {
            task: Task::Joystick,
            body: 1.0,
            speed: 0.4,
            toes: [0, 1],
            floors: [0.0; 2],
            arena: [0.0; 2],
            horizon: 100,
            anew: TURN,
            literal: false,
            staggered: false,
        };
        let scene =
            Scene { rules, characters: 2, frame_skip: 1, frames: 100, seed: 0, course: Vec::new(), rig: rig.clone() };
        let mut measured = Measured {
            scene,
            heading: Mean::default(),
            error: Mean::default(),
            speeds: Vec::new(),
            turning: vec![None; 2],
            turns: Default::default(),
            reached: Mean::default(),
        };
        // Character 0 turns left by 1 radian, 0.1 a step; character 1 never turns.
        let own = |direction: f64| [0.0, 0.0, direction, 0.2];
        for step in 0..30 {
            for p in 0..2 {
                let (before, now) = (own(if step == 0 { 0.0 } else { -1.0 }), own(-1.0));
                let facing = if p == 0 { 0.1 * f64::from(step) } else { 0.0 };
                let (goes_on, reward, root) = (true, 0.0, [0.0; 2]);
                let (before, own, words, speeds) = (&before, &now, &[], &[]);
                measured.add(&Step { p, goes_on, reward, root, facing, before, own, words, speeds });
            }
        }
        // A new direction finds character 1 still on its way.
        let (before, now) = (own(-1.0), own(2.0));
        let (goes_on, reward, root, facing) = (true, 0.0, [0.0; 2], 0.0);
        measured.add(&Step {
            p: 1,
            goes_on,
            reward,
            root,
            facing,
            before: &before,
            own: &now,
            words: &[],
            speeds: &[],
        });
        let numbers = measured.numbers();
        let get = |key: &str| Number::find(&numbers, key).unwrap();
        // After 10 steps it is 0 degrees off, after 9 it is 5.7.
        assert!((get("left_turn_s") - 10.0 / rig.fps).abs() < 1e-9, "{}", get("left_turn_s"));
        assert!(get("right_turn_s").is_nan() && get("turned_percent") == 50.0, "{}", get("turned_percent"));
    }
}

//! Path: stay with a point that runs along a closed path, one of its points a frame.
use super::pull::Seen;
use super::task::{Bound, Course, Extra, Mean, Measure, Number, PLAIN, Recorded, Scene, Step, TaskInfo, Weights};
use super::*;
use crate::motion::rig::METRES;
use serde_json::{Value, json};

/// Number of points of the path that are seen.
pub(crate) const AHEAD: usize = 4;
/// Frames between them.
pub const GAP: usize = 15;
/// Frames by which the point to stay with runs ahead.
pub(crate) const LEAD: usize = 4;
/// Distance within which the point is reached, body units.
pub(crate) const RADIUS: f64 = 2.0;
/// Reward for being there.
pub(crate) const HIT: f64 = 2.0;
/// Most points of the path in the player.
const POINTS: usize = 400;

/// The task. A character's whole number is the point of the path where it started.
pub const TASK: TaskInfo = TaskInfo {
    about: "Stay with a point that runs along a path",
    own: 3,
    words: 1,
    course: Course::Path,
    extra: Extra::Numbers(2 * AHEAD),
    unit: |_, _| RADIUS,
    vectors: true,
    keys: &["path", "path_pace"],
    recorded: &[("goals", GOAL)],
    rewards: |moved| [f64::NEG_INFINITY, moved + HIT],
    bounds: &[
        Bound::least("near_percent", Some(50.0)),
        Bound::most("standing_percent", Some(2.0)),
        Bound::least("contact_of_data", Some(0.75)),
        Bound::most("skate_of_data", Some(2.0)),
    ],
    measure: |scene| {
        let (near, distance) = Default::default();
        Box::new(Measured { scene: scene.clone(), near, distance })
    },
    marks,
    seen: &[Seen::Points; AHEAD],
    weights: Weights { stand: 1.0, ..Weights::PLAIN },
    ..PLAIN
};

/// How well characters stay with the point.
struct Measured {
    scene: Scene,
    /// Share of the time near the point.
    near: Mean,
    /// Distance from the point, m.
    distance: Mean,
}

impl Measure for Measured {
    fn add(&mut self, step: &Step) {
        let [x, z] = step.way();
        let away = x.hypot(z) * METRES;
        // A character whose episode ended was not near the point.
        self.near.add_if(step.goes_on && away < RADIUS * self.scene.body());
        if step.goes_on {
            self.distance.add(away);
        }
    }

    fn numbers(&self) -> Vec<Number> {
        let (scene, radius) = (&self.scene, RADIUS * self.scene.body());
        let near = format!("within {radius:.2} m of its point, % of the time");
        // The course has one point a step.
        let ways = scene.course.iter().zip(scene.course.iter().cycle().skip(1));
        let way = ways.map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1])).sum::<f64>() / scene.course.len() as f64;
        let pace = way * scene.speed_unit() / scene.frame_skip as f64;
        vec![
            Number::new("near_percent", near, 100.0 * self.near.value()),
            Number::new("distance_m", "distance from its point, m", self.distance.value()),
            Number::new("pace_m_s", "speed of the point, m/s", pace),
        ]
    }
}

fn marks(scene: &Scene, recorded: &Recorded) -> Vec<Value> {
    vec![shown(scene), scene.goal(recorded[0], RADIUS)]
}

/// The mark of the path.
pub(crate) fn shown(scene: &Scene) -> Value {
    let course = scene.shown_course();
    let every = course.len().div_ceil(POINTS).max(1);
    let path: Vec<_> = course.iter().step_by(every).chain(course.first()).collect();
    json!({ "kind": "path", "path": path })
}

/// The definition, for one character.
pub mod cpu {
    use super::*;

    /// Steps since time began.
    pub(crate) fn since<T: Real>(v: &View<'_, T>, p: usize) -> usize {
        v.time(p) % v.horizon
    }

    /// Puts the goal where the point is at a time.
    pub(crate) fn follow<T: Real>(v: &mut View<'_, T>, p: usize, time: usize) {
        let goal = v.point((time + v.words[p] as usize + LEAD) % v.n);
        v.own(p)[GOAL..][..2].copy_from_slice(&goal);
    }

    /// reward = progress + HIT (where the point is reached) + 3/4 energy - mean |latent| / 200;
    /// then the next point
    pub fn step<T: Real>(v: &mut View<'_, T>, p: usize) {
        let frame = v.advance(p);
        let potential = v.nearness(p);
        let hit = one_if(potential > T::of(-RADIUS));
        let size = v.latent_size(p);
        let reward =
            potential - v.own(p)[POTENTIAL] + T::of(HIT) * hit + T::of(0.75) * v.energy(frame) - T::of(0.005) * size;
        follow(v, p, v.time(p));
        v.measure(p);
        v.finish(p, reward, false, false);
    }

    /// Places a character on the path, facing along it, where the point was LEAD steps ago. The
    /// reference places it as if time began, and measures the potential before it has placed the
    /// root.
    pub fn reset<T: Real>(v: &mut View<'_, T>, p: usize) {
        let [_, draw, ..] = v.restart(p, v.time_is_out(p));
        begin(v, p, draw);
        if v.literal == 1 {
            v.measure(p);
        }
        place(v, p);
        if v.literal == 0 {
            v.measure(p);
        }
    }

    /// Chooses the point of the path where a character starts, and with it the goal.
    pub(crate) fn begin<T: Real>(v: &mut View<'_, T>, p: usize, draw: T) {
        v.words[p] = (draw.f64() * v.n as f64) as u32;
        follow(v, p, since(v, p));
    }

    /// Places a character on the path, facing along it.
    pub(crate) fn place<T: Real>(v: &mut View<'_, T>, p: usize) {
        let time = since(v, p);
        let o = v.words[p] as usize + if v.literal == 1 { 0 } else { time };
        let [x, z] = v.point(o % v.n);
        let ([x0, z0], [x1, z1]) = (v.point((o + LEAD) % v.n), v.point((o + LEAD + GAP) % v.n));
        (v.root[2 * p], v.root[2 * p + 1]) = (x, z);
        v.facing[p] = wrapped(-(z1 - z0).atan2(x1 - x0));
    }

    /// The way to where the point is `steps` steps later, in the character's own frame.
    pub(crate) fn ahead<T: Real>(v: &View<'_, T>, p: usize, steps: usize) -> [T; 2] {
        let point = v.point((steps + since(v, p) + v.words[p] as usize + LEAD) % v.n);
        v.to_local(p, v.way(p, point))
    }

    /// The ways to the next points, in the character's own frame.
    pub fn observe<T: Real>(v: &mut View<'_, T>, p: usize) {
        let ways: [[T; 2]; AHEAD] = std::array::from_fn(|i| ahead(v, p, GAP * i));
        v.condition(p).copy_from_slice(ways.as_flattened());
    }

    /// Derivatives of the reward; a hit has none.
    pub(crate) fn pull<T: Real>(s: &mut pull::Step<'_, T>) {
        s.progress(s.weight);
        s.energy(s.weight * T::of(0.75));
        let share = s.weight * T::of(-0.005 / s.latent.len() as f64);
        s.dlatent
            .iter_mut()
            .zip(s.latent)
            .for_each(|(d, &z)| *d += if z == T::zero() { z } else { share * z.signum() });
    }
}

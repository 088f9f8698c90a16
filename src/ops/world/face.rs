//! Face: stand still and face a point of the arena, which changes from time to time.
use super::pull::Seen;
use super::task::{Bound, Draws, Mean, Measure, Moving, Number, PLAIN, Step, TaskInfo};
use super::*;

/// Steps between points.
pub(crate) const ANEW: usize = 150;
/// Largest distance of points from the origin along x and z, body units.
pub(crate) const ARENA: f64 = 60.0;
/// Radius of the point's mark, body units.
pub(crate) const RADIUS: f64 = 1.0;
/// Speed below which a character stands, m/s.
pub(crate) const STILL: f64 = 0.1;

/// The task.
pub const TASK: TaskInfo = TaskInfo {
    about: "Stand still and face a point",
    draws: Draws::Uniform(2),
    own: 2,
    anew: ANEW,
    speed: true,
    moves: Moving::Never,
    recorded: &[("goals", GOAL)],
    rewards: |_| [f64::MIN_POSITIVE, 1.0],
    bounds: &[
        Bound::most("heading_error_degrees", Some(30.0)),
        Bound::least("still_percent", Some(50.0)),
        Bound::most("speed_m_s", None),
    ],
    measure: |_| Box::<Measured>::default(),
    marks: |scene, recorded| vec![scene.goal(recorded[0], RADIUS)],
    seen: &[Seen::Bearing],
    ..PLAIN
};

/// How well characters face their points, and how still they stand.
#[derive(Default)]
struct Measured {
    /// Error of the heading, degrees.
    heading: Mean,
    /// Share of frames in which a character stands.
    standing: Mean,
}

impl Measure for Measured {
    fn add(&mut self, step: &Step) {
        if step.goes_on {
            let [x, z] = step.way();
            self.heading.add(step.heading_error(z.atan2(x)));
            step.speeds.iter().for_each(|&speed| self.standing.add_if(speed < STILL));
        }
    }

    fn numbers(&self) -> Vec<Number> {
        let standing = format!("slower than {STILL} m/s, % of the time");
        vec![
            Number::new("heading_error_degrees", "error of the heading, degrees", self.heading.value()),
            Number::new("still_percent", standing, 100.0 * self.standing.value()),
        ]
    }
}

/// The definition, for one character.
pub mod cpu {
    use super::*;

    fn place<T: Real>(v: &mut View<'_, T>, p: usize, x: T, z: T) {
        let goal = [x, z].map(|u| v.units(ARENA) * (u + u - T::one()));
        v.own(p)[GOAL..][..2].copy_from_slice(&goal);
    }

    /// reward = exp(cosine of the angle at which the point is seen - 1 - speed / largest speed)
    pub fn step<T: Real>(v: &mut View<'_, T>, p: usize) {
        let (frame, draws) = (v.advance(p), v.drawn(p));
        let speed = length([frame[0], frame[1]]) / T::of(v.body);
        let reward = (v.bearing(p)[0] - T::one() - speed / T::of(v.speed)).exp();
        if v.asks_anew(p) {
            place(v, p, draws[0], draws[1]);
        }
        v.finish(p, reward, false, false);
    }

    /// another point
    pub fn reset<T: Real>(v: &mut View<'_, T>, p: usize) {
        let [_, x, z, _] = v.restart(p, v.time_is_out(p));
        place(v, p, x, z);
    }

    /// cosine and sine of the angle at which the point is seen
    pub fn observe<T: Real>(v: &mut View<'_, T>, p: usize) {
        let bearing = v.bearing(p);
        v.condition(p).copy_from_slice(&bearing);
    }

    /// Derivatives of the reward r: with the angle at which the point is seen, -r sin(angle) times
    /// those of the angle; and -r / largest speed by the speed.
    pub(crate) fn pull<T: Real>(s: &mut pull::Step<'_, T>) {
        let ([x, z], facing) = s.end;
        let way = [s.own[GOAL] - x, s.own[GOAL + 1] - z];
        let (sin, cos) = (way[1].atan2(way[0]) + facing).sin_cos();
        let by_reward = s.weight * (cos - T::one() - s.speed() / s.rules.speed).exp();
        let (by_angle, square) = (-by_reward * sin, way[0] * way[0] + way[1] * way[1]);
        s.dend.1 += by_angle;
        if square > T::zero() {
            s.dend.0[0] += by_angle * way[1] / square;
            s.dend.0[1] -= by_angle * way[0] / square;
        }
        s.by_speed(-by_reward / s.rules.speed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_looks_past_its_point_is_off_by_that_angle() {
        let mut measured = Measured::default();
        // The character faces -z, and the point lies 45 degrees from there, towards +x.
        let (facing, before) = (TAU / 4.0, [3.0, -1.0]);
        let step = Step {
            p: 0,
            goes_on: true,
            reward: 0.0,
            root: [1.0, 1.0],
            facing,
            before: &before,
            own: &[9.0, 9.0],
            words: &[],
            speeds: &[0.05, 0.2],
        };
        measured.add(&step);
        measured.add(&Step { goes_on: false, facing: 0.0, ..step });
        let values: Vec<f64> = measured.numbers().iter().map(|number| number.value).collect();
        assert!((values[0] - 45.0).abs() < 1e-9 && values[1] == 50.0, "{values:?}");
    }
}

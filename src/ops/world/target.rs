//! Target: reach a point; a character within [`RADIUS`] of it gets another one in the arena.
use super::pull::Seen;
use super::task::{Bound, Draws, Measure, Number, PLAIN, Scene, Step, TaskInfo, Weights};
use super::*;
use crate::motion::rig::METRES;

/// Largest distance of targets from the origin along x and z, body units.
pub(crate) const ARENA: [f64; 2] = [60.0, 40.0];
/// Distance within which a target is reached, body units.
pub(crate) const RADIUS: f64 = 2.0;
/// Reward for reaching one.
pub(crate) const HIT: f64 = 20.0;

/// The task.
pub const TASK: TaskInfo = TaskInfo {
    about: "Reach one point after another",
    draws: Draws::Uniform(2),
    own: 3,
    unit: |_, _| RADIUS,
    vectors: true,
    recorded: &[("goals", GOAL)],
    rewards: |moved| [f64::NEG_INFINITY, moved + HIT],
    bounds: &[
        Bound::least("of_ideal_percent", Some(60.0)),
        Bound::least("times_the_prior", Some(3.0)),
        Bound::most("standing_percent", Some(2.0)),
        Bound::least("contact_of_data", Some(0.75)),
        Bound::most("skate_of_data", Some(2.0)),
    ],
    measure: |scene| Box::new(Measured { scene: scene.clone(), reached: 0.0 }),
    beside,
    marks: |scene, recorded| vec![scene.goal(recorded[0], RADIUS)],
    seen: &[Seen::Points],
    weights: Weights { stand: 1.0, ..Weights::PLAIN },
    ..PLAIN
};

/// The number of targets that characters reached.
struct Measured {
    scene: Scene,
    reached: f64,
}

impl Measure for Measured {
    fn add(&mut self, step: &Step) {
        let another = step.own[GOAL..][..2] != step.before[GOAL..][..2];
        self.reached += f64::from(u8::from(step.goes_on && another));
    }

    fn numbers(&self) -> Vec<Number> {
        let (reached, ideal) = (self.reached / self.scene.characters as f64, ideal(&self.scene));
        let pace = self.scene.rig.speeds.q75 * METRES * self.scene.rig.fps;
        vec![
            Number::new("targets_reached", "targets reached", reached),
            Number::new("ideal_targets", format!("targets of an ideal point at {pace:.2} m/s"), ideal),
            Number::new("of_ideal_percent", "reached, % of the ideal point's", 100.0 * reached / ideal),
        ]
    }
}

fn beside(policy: &[Number], prior: &[Number]) -> Vec<Number> {
    let [ours, theirs] = [policy, prior].map(|numbers| Number::find(numbers, "targets_reached").unwrap_or(f64::NAN));
    vec![Number::new("times_the_prior", "reached, times the prior's", ours / theirs)]
}

/// Targets that an ideal point reaches in an episode, moving straight at the data's 75 % speed
/// quantile. The mean is over as many points as there are characters.
fn ideal(scene: &Scene) -> f64 {
    let (speed, points) = (scene.rig.speeds.q75 / scene.rules.body, scene.characters);
    let reached = (0..points).map(|p| {
        let stream = Stream::new(scene.seed, Purpose::Check, p as u64);
        let place = |i: usize| [0, 1].map(|axis| ARENA[axis] * (2.0 * stream.uniform(2 * i + axis) - 1.0));
        let (mut at, mut time, mut reached) = ([0.0, 0.0], 0.0, 0);
        loop {
            let goal: [f64; 2] = place(reached);
            let way = [goal[0] - at[0], goal[1] - at[1]];
            let far = way[0].hypot(way[1]);
            let walked = (far - RADIUS).max(0.0);
            time += (walked / speed).max(1.0);
            if time >= scene.frames as f64 {
                break reached as f64;
            }
            at = [0, 1].map(|axis| at[axis] + way[axis] * walked / far.max(f64::MIN_POSITIVE));
            reached += 1;
        }
    });
    reached.sum::<f64>() / points as f64
}

/// The definition, for one character.
pub mod cpu {
    use super::*;

    fn place<T: Real>(v: &mut View<'_, T>, p: usize, x: T, z: T) {
        let goal = [v.units(ARENA[0]) * (x + x - T::one()), v.units(ARENA[1]) * (z + z - T::one())];
        v.own(p)[GOAL..][..2].copy_from_slice(&goal);
    }

    /// reward = progress + HIT (where the target is reached) + energy. Then sets a new target where
    /// one was reached, and the potential.
    pub fn step<T: Real>(v: &mut View<'_, T>, p: usize) {
        let (frame, draws) = (v.advance(p), v.drawn(p));
        let potential = v.nearness(p);
        let hit = potential > T::of(-RADIUS);
        let reward = potential - v.own(p)[POTENTIAL] + T::of(HIT) * one_if(hit) + v.energy(frame);
        if hit {
            place(v, p, draws[0], draws[1]);
        }
        v.measure(p);
        v.finish(p, reward, false, false);
    }

    /// a target anywhere in the arena
    pub fn reset<T: Real>(v: &mut View<'_, T>, p: usize) {
        let [_, x, z, _] = v.restart(p, v.time_is_out(p));
        place(v, p, x, z);
        v.measure(p);
    }

    /// the way to the target, in the character's own frame
    pub fn observe<T: Real>(v: &mut View<'_, T>, p: usize) {
        let way = v.to_local(p, v.way(p, v.goal(p)));
        v.condition(p).copy_from_slice(&way);
    }

    /// Derivatives of the reward; a hit has none.
    pub(crate) fn pull<T: Real>(s: &mut pull::Step<'_, T>) {
        s.progress(s.weight);
        s.energy(s.weight);
    }
}

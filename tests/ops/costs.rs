//! Costs of a step: sliding feet, effort, jerks and standing.
use crate::operations::{close, gradients, memory, numbers, run};
use mvae_fast::ops::costs::{Costs, Stepped};
use mvae_fast::plan::Plan;
use mvae_fast::plan::arena::Arena;

const JOINTS: usize = 4;
const F: usize = 3 + 12 * JOINTS;
const FPS: f64 = 30.0;
const BODY: f64 = 0.5;
const TOES: [usize; 2] = [1, 3];
const FLOORS: [f64; 2] = [0.01, 0.02];
/// Reward before the costs.
const REWARD: f64 = 2.0;
const SHARE: f64 = 0.5;
/// Height of a foot in the air, m.
const HIGH: f64 = 0.3;

const NOTHING: Costs = Costs {
    skate: 0.0,
    effort: 0.0,
    jerk: 0.0,
    stand: 0.0,
    metres: 1.0,
    fps: FPS,
    body: BODY,
    toes: TOES,
    floors: FLOORS,
};
const SKATE: Costs = Costs { skate: 1.0, ..NOTHING };

/// A frame and the one before it. The body turns and moves, and no toe moves on the ground; both
/// stand.
#[derive(Clone)]
struct Pair {
    frame: Vec<f64>,
    before: Vec<f64>,
}

fn place(toe: usize) -> usize {
    3 + 3 * TOES[toe]
}

impl Pair {
    fn planted() -> Self {
        let (mut frame, mut before) = (vec![0f64; F], vec![0f64; F]);
        frame[..3].copy_from_slice(&[0.02, -0.01, 0.3]);
        let (sin, cos) = frame[2].sin_cos();
        for (toe, floor) in FLOORS.into_iter().enumerate() {
            let at = place(toe);
            let old = [0.1 + toe as f64, -0.3];
            let (x, z) = (old[0] - frame[0], old[1] - frame[1]);
            (before[at], before[at + 1], before[at + 2]) = (old[0], floor, old[1]);
            (frame[at], frame[at + 1], frame[at + 2]) = (cos * x - sin * z, floor, sin * x + cos * z);
        }
        Pair { frame, before }
    }

    /// Lifts a toe.
    fn lift(mut self, toe: usize, by: f64) -> Self {
        self.frame[place(toe) + 1] += by;
        self
    }

    /// Moves a toe along x at this speed, m/s: its place, and its velocity feature.
    fn slide(mut self, toe: usize, speeds: [f64; 2]) -> Self {
        self.frame[place(toe)] += speeds[0] / FPS;
        self.frame[place(toe) + 3 * JOINTS] += speeds[1] / FPS;
        self
    }

    /// The cost of the step, and the gradients of the frame and of the one before for a derivative
    /// of 1 by the reward.
    fn pulled(&self, costs: &Costs, ends: [f64; 2]) -> (f64, Vec<f64>, Vec<f64>) {
        self.pulled_at(costs, ends, None)
    }

    /// Cost and gradients as [`Pair::pulled`] gives them, where a speed is asked for, m/s.
    fn pulled_at(&self, costs: &Costs, ends: [f64; 2], speed: Option<f64>) -> (f64, Vec<f64>, Vec<f64>) {
        let mut arena = Arena::default();
        let [frames, seen, dframes, dhistory] = [(); 4].map(|()| arena.mat::<f64>(1, F));
        let (share, outcome, weight, own) = (arena.mat(1, 1), arena.mat(1, 3), arena.mat(1, 1), arena.mat(1, 2));
        let asked = speed.map(|_| 1);
        let stepped = Stepped { frames, share, seen, own, asked, outcome, frame_size: F, condition_frames: 1 };
        let mut memory = memory(arena);
        memory.write(frames, &self.frame).unwrap();
        memory.write(seen, &self.before).unwrap();
        memory.write(share, &[SHARE]).unwrap();
        memory.write(weight, &[1.0]).unwrap();
        memory.write(own, &[1e9, speed.unwrap_or(-1e9) / FPS / BODY]).unwrap();
        memory.write(outcome, &[REWARD, ends[0], ends[1]]).unwrap();
        run(&mut memory, |plan: &mut Plan| {
            costs.forward(plan, &stepped).unwrap();
            costs.backward(plan, &stepped, weight, [dframes, dhistory]).unwrap();
        });
        let cost = (REWARD - memory.read(outcome).unwrap()[0]) / SHARE;
        (cost, memory.read(dframes).unwrap(), memory.read(dhistory).unwrap())
    }

    fn cost(&self, costs: &Costs) -> f64 {
        self.pulled(costs, [1.0; 2]).0
    }
}

#[test]
fn derivatives() {
    gradients("costs");
}

#[test]
fn feet_that_stand_cost_nothing() {
    let (cost, dframe, dbefore) = Pair::planted().pulled(&SKATE, [1.0; 2]);
    assert!(cost.abs() < 1e-12, "{cost}");
    close(&[dframe, dbefore].concat(), &[0.0; 2 * F], 1e-9);
}

#[test]
fn a_foot_in_the_air_may_move_while_the_other_stands() {
    // The soft least of 0 and of much is softness ln 2.
    let soft = 0.2 * std::f64::consts::LN_2;
    for speed in [0.0, 2.0] {
        let (cost, dframe, _) = Pair::planted().lift(0, HIGH).slide(0, [speed; 2]).pulled(&SKATE, [1.0; 2]);
        assert!((cost - soft / (1.0 + soft)).abs() < 1e-6, "{cost}");
        close(&dframe, &[0.0; F], 1e-6);
    }
}

#[test]
fn a_held_foot_that_slides_costs_by_its_speed() {
    let slide = |speed: f64| Pair::planted().lift(1, HIGH).slide(0, [speed; 2]).cost(&SKATE);
    let (slow, half, fast) = (slide(0.05), slide(0.2), slide(2.0));
    assert!(slow > 0.05 && slow < half && half < fast, "{slow} {half} {fast}");
    // A foot that slides at 0.2 m/s has half of the most that sliding costs, and some for both
    // feet: none is planted.
    let far = 0.2 * 0.2 / 0.0225 + 0.2 * std::f64::consts::LN_2;
    assert!((half - 0.5 - far / (1.0 + far)).abs() < 0.01, "{half}");
    assert!(fast > 1.8 && fast < 2.0, "{fast}");
}

#[test]
fn velocities_and_places_have_half_of_the_cost_each() {
    let base = Pair::planted().lift(1, HIGH);
    let more = |speeds: [f64; 2]| base.clone().slide(0, speeds).cost(&SKATE) - base.cost(&SKATE);
    let [places, velocities, both] = [[0.2, 0.0], [0.0, 0.2], [0.2, 0.2]].map(more);
    close(&[places, places + velocities], &[velocities, both], 1e-9);
    assert!(both > 0.5, "{both}");
}

#[test]
fn feet_that_are_both_in_the_air_cost_by_planting() {
    let lifted = |by: f64| Pair::planted().lift(0, by).lift(1, by).cost(&SKATE);
    let (low, high) = (lifted(0.05), lifted(0.2));
    assert!(low > 0.3 && low < high && high < 1.0, "{low} {high}");
    let (_, dframe, _) = Pair::planted().lift(0, 0.06).lift(1, 0.08).pulled(&SKATE, [1.0; 2]);
    let down = [0, 1].map(|toe| dframe[place(toe) + 1]);
    assert!(down[0] < 0.0 && down[0] < 10.0 * down[1], "the lower foot is drawn down: {down:?}");
}

#[test]
fn effort_and_jerk_are_mean_squares() {
    let mut pair = Pair::planted();
    let velocities = 3 + 3 * JOINTS..3 + 6 * JOINTS;
    let before: Vec<f64> = numbers(1, 3 * JOINTS).iter().map(|x| 0.01 * x).collect();
    pair.before[velocities.clone()].copy_from_slice(&before);
    let (sin, cos) = pair.frame[2].sin_cos();
    let turned: Vec<f64> =
        before.chunks(3).flat_map(|v| [cos * v[0] - sin * v[2], v[1], sin * v[0] + cos * v[2]]).collect();
    pair.frame[velocities.clone()].copy_from_slice(&turned);
    let jerk = Costs { jerk: 1.0, ..NOTHING };
    assert!(pair.cost(&jerk).abs() < 1e-12, "velocities that turn with the body do not change");
    let squares: f64 = turned.iter().map(|x| x * x).sum();
    let effort = pair.cost(&Costs { effort: 1.0, ..NOTHING });
    assert!((effort - FPS * FPS * squares / JOINTS as f64).abs() < 1e-9, "{effort}");
    pair.frame[velocities.start + 1] += 0.1;
    assert!((pair.cost(&jerk) - FPS * FPS * 0.01 / JOINTS as f64).abs() < 1e-9);
}

#[test]
fn standing_costs_its_weight_and_a_walk_next_to_nothing() {
    let mut pair = Pair::planted();
    let stand = Costs { stand: 2.0, ..NOTHING };
    for (metres_a_second, share) in [(0.0, 1.0), (0.25, (-1.0_f64).exp()), (1.5, (-6.0_f64).exp())] {
        pair.frame[..2].copy_from_slice(&[0.6, -0.8].map(|x| x * metres_a_second / FPS));
        // It counts in full, whatever the share of the other costs.
        assert!((SHARE * pair.cost(&stand) - 2.0 * share).abs() < 0.01, "{metres_a_second} m/s");
    }
}

#[test]
fn standing_costs_by_how_far_it_stays_below_the_speed_that_is_asked_for() {
    let stand = Costs { stand: 2.0, ..NOTHING };
    let at = |speed: f64, asked: f64| {
        let mut pair = Pair::planted();
        pair.frame[..2].copy_from_slice(&[0.6, -0.8].map(|x| x * speed / FPS));
        let (cost, frame, _) = pair.pulled_at(&stand, [1.0; 2], Some(asked));
        (SHARE * cost, frame[0])
    };
    let slow = |speed: f64| (-speed / 0.25).exp();
    for (speed, asked) in [(0.0, 3.0), (0.1, 0.375), (0.3, 0.375), (0.5, 1.0)] {
        let (cost, by_root) = at(speed, asked);
        assert!((cost - 2.0 * (slow(speed) - slow(asked))).abs() < 0.01, "{speed} of {asked} m/s: {cost}");
        // The slope is that of standing where any speed is asked for.
        let steep = 2.0 * slow(speed) / 0.25 * 0.6 * FPS;
        assert!(speed == 0.0 || (by_root - steep).abs() < 1e-3 * steep.abs(), "{speed} of {asked} m/s: {by_root}");
    }
    for (speed, asked) in [(0.0, 0.0), (0.5, 0.375), (1.0, 0.0)] {
        assert_eq!(at(speed, asked), (0.0, 0.0), "{speed} of {asked} m/s");
    }
}

#[test]
fn a_step_that_does_not_go_on_costs_nothing() {
    let pair = Pair::planted().slide(0, [3.0; 2]).lift(1, HIGH);
    let all = Costs { skate: 1.0, effort: 1.0, jerk: 1.0, stand: 1.0, ..NOTHING };
    assert!(pair.cost(&all) > 1.0);
    for ends in [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]] {
        let (cost, dframe, dbefore) = pair.pulled(&all, ends);
        assert!(cost == 0.0 && [dframe, dbefore].concat().iter().all(|&d| d == 0.0), "{ends:?}");
    }
}

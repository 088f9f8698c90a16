//! Positions that follow velocities.
use crate::operations::{close, gradients, memory, run};
use mvae_fast::data::synth;
use mvae_fast::motion::features::{Part, slot};
use mvae_fast::ops::reconcile::Reconcile;
use mvae_fast::plan::arena::Arena;

const JOINTS: usize = 22;
/// A joint whose places vary less than its velocities.
const NEAR: usize = 5;

/// Frames of the reference's skeleton that follow `before`, in the units of the data, reconciled.
fn reconciled(frames: &[f64], before: &[f64], gain: f64) -> Vec<f64> {
    let f = before.len();
    let mut arena = Arena::default();
    let (x, condition, y) = (arena.mat::<f64>(1, frames.len()), arena.mat(1, f), arena.mat(1, frames.len()));
    let (scale, shift) = (arena.mat(1, f), arena.mat(1, f));
    let op = Reconcile { x, condition, scale, shift, y, gain }.check().unwrap();
    let mut memory = memory(arena);
    // Places vary ten times and more as much as velocities, but for one joint, of which it is the
    // other way round.
    let scale_of = |i: usize| 0.5 + 0.1 * (i % 5) as f64;
    let mut scales: Vec<f64> = (0..f).map(scale_of).collect();
    let shifts: Vec<f64> = (0..f).map(|i| 0.1 * (i % 3) as f64).collect();
    for joint in 0..JOINTS {
        let smaller = if joint == NEAR { Part::Position } else { Part::Velocity };
        scales[slot(smaller, joint, JOINTS)..][..3].iter_mut().for_each(|scale| *scale /= 20.0);
    }
    let normalized = |values: &[f64]| -> Vec<f64> {
        values.iter().enumerate().map(|(i, x)| (x - shifts[i % f]) / scales[i % f]).collect()
    };
    memory.write(x, &normalized(frames)).unwrap();
    memory.write(condition, &normalized(before)).unwrap();
    memory.write(scale, &scales).unwrap();
    memory.write(shift, &shifts).unwrap();
    run(&mut memory, |plan| op.push(plan));
    let y = memory.read(y).unwrap();
    y.iter().enumerate().map(|(i, y)| y * scales[i % f] + shifts[i % f]).collect()
}

/// `count` frames of a turning, walking character from frame `at` on, and the frame before them.
fn motion(at: usize, count: usize) -> (Vec<f64>, Vec<f64>) {
    let set = synth::locomotion(400, 3);
    assert_eq!(set.clip_of(at - 1), set.clip_of(at + count - 1));
    let wide = |i: usize| set.frame(i).iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    ((at..at + count).flat_map(wide).collect(), wide(at - 1))
}

#[test]
fn derivatives() {
    gradients("reconcile");
}

#[test]
fn real_motion_stays_as_it_is() {
    let (frames, before) = motion(10, 3);
    for gain in [0.01, 0.3, 1.0] {
        close(&reconciled(&frames, &before, gain), &frames, 1e-6);
    }
}

#[test]
fn an_error_of_position_is_taken_up_by_the_gain() {
    let (mut frames, before) = motion(10, 3);
    let f = before.len();
    let truth = frames.clone();
    let place = slot(Part::Position, 3, JOINTS) + 1;
    (0..3).for_each(|k| frames[k * f + place] += 0.5);
    let mut want = truth;
    // Each frame comes nearer by the gain; what is no position stays.
    for (k, share) in [0.2, 0.36, 0.488].into_iter().enumerate() {
        want[k * f + place] += share * 0.5;
    }
    close(&reconciled(&frames, &before, 0.2), &want, 1e-6);
}

#[test]
fn places_that_vary_less_than_velocities_are_as_predicted() {
    let (mut frames, before) = motion(10, 1);
    let mut want = frames.clone();
    let [place, velocity] = [Part::Position, Part::Velocity].map(|part| slot(part, NEAR, JOINTS) + 1);
    frames[velocity] += 0.5;
    want[velocity] += 0.5;
    let [p, v] = [place, velocity].map(|i| (0.5 + 0.1 * (i % 5) as f64) / if i == place { 20.0 } else { 1.0 });
    let rest = p * p / (v * v + p * p);
    assert!(rest < 0.01);
    want[place] += rest * 0.5;
    close(&reconciled(&frames, &before, 0.2), &want, 1e-6);
}

#[test]
fn a_velocity_moves_its_joint_and_all_that_follows() {
    let (mut frames, before) = motion(10, 2);
    let f = before.len();
    let mut want = frames.clone();
    let velocity = slot(Part::Velocity, 3, JOINTS) + 1;
    let place = slot(Part::Position, 3, JOINTS) + 1;
    frames[velocity] += 0.5;
    want[velocity] += 0.5;
    want[place] += 0.8 * 0.5;
    want[f + place] += 0.8 * 0.8 * 0.5;
    close(&reconciled(&frames, &before, 0.2), &want, 1e-6);
}

#[test]
fn frames_without_joints_are_refused() {
    let mut arena = Arena::default();
    let (x, condition, y) = (arena.mat::<f32>(1, 16), arena.mat(1, 16), arena.mat(1, 16));
    let (scale, shift) = (arena.mat(1, 16), arena.mat(1, 16));
    assert!(Reconcile { x, condition, scale, shift, y, gain: 0.5 }.check().is_err());
}

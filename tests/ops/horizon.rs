//! Shares of rewards and values in the objective of short-horizon actor-critic.
use crate::operations::{close, memory, run};
use mvae_fast::ops::horizon::push;
use mvae_fast::plan::arena::Arena;

const STEPS: usize = 4;
const GAMMA: f64 = 0.5;
const REWARD_SCALE: f64 = 0.1;

/// Goes on, and by its own doing; time is out; something else is asked for; lost.
const ON: [f64; 2] = [1.0, 1.0];
const OUT: [f64; 2] = [0.0, 0.0];
const ASKED: [f64; 2] = [1.0, 0.0];
const LOST: [f64; 2] = [0.0, 1.0];

/// The shares of a character's rewards and values, times -T.
fn shares(ends: [[f64; 2]; STEPS]) -> (Vec<f64>, Vec<f64>) {
    let mut arena = Arena::default();
    let (outcomes, rewards, values) = (arena.mat(STEPS, 3), arena.mat(STEPS, 1), arena.mat(STEPS + 1, 1));
    let mut memory = memory(arena);
    let all: Vec<f64> = ends.iter().flat_map(|&[on, own]| [7.0, on, own]).collect();
    memory.write(outcomes, &all).unwrap();
    run(&mut memory, |plan| push(plan, outcomes, (rewards, values), (GAMMA, REWARD_SCALE)).unwrap());
    let times = |values: Vec<f64>| values.into_iter().map(|x| -(STEPS as f64) * x).collect();
    (times(memory.read(rewards).unwrap()), times(memory.read(values).unwrap()))
}

#[track_caller]
fn check(ends: [[f64; 2]; STEPS], rewards: [f64; STEPS], values: [f64; STEPS + 1]) {
    let (got_rewards, got_values) = shares(ends);
    close(&got_rewards, &rewards, 1e-12);
    close(&got_values, &values.map(|value| value / REWARD_SCALE), 1e-12);
}

#[test]
fn rewards_are_discounted_and_the_last_value_stands_for_what_comes_after() {
    check([ON; STEPS], [1.0, 0.5, 0.25, 0.125], [0.0, 0.0, 0.0, 0.0, 0.0625]);
}

#[test]
fn a_piece_that_ends_by_the_clock_or_by_a_command_ends_with_the_value_of_its_own_observation() {
    for end in [OUT, ASKED] {
        check([ON, end, ON, ON], [1.0, 0.0, 1.0, 0.5], [0.0, 0.5, 0.0, 0.0, 0.25]);
    }
    check([OUT, ON, ON, ASKED], [0.0, 1.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.25, 1.0]);
}

#[test]
fn nothing_comes_after_a_lost_character() {
    check([ON, LOST, ON, ON], [1.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0, 0.25]);
}

#[test]
fn characters_are_apart() {
    let mut arena = Arena::default();
    let (outcomes, rewards, values) = (arena.mat(STEPS * 2, 3), arena.mat(STEPS, 2), arena.mat(STEPS + 1, 2));
    let mut memory = memory(arena);
    let (ends, others) = ([ON, OUT, ON, LOST], [ON; STEPS]);
    let all = ends.iter().zip(others).flat_map(|(&[a, b], [c, d])| [0.0, a, b, 0.0, c, d]);
    memory.write(outcomes, &all.collect::<Vec<f64>>()).unwrap();
    run(&mut memory, |plan| push(plan, outcomes, (rewards, values), (GAMMA, REWARD_SCALE)).unwrap());
    for (p, ends) in [ends, others].into_iter().enumerate() {
        let (of_rewards, of_values) = shares(ends);
        for (mat, alone) in [(rewards, of_rewards), (values, of_values)] {
            let column: Vec<f64> = memory.read(mat).unwrap().into_iter().skip(p).step_by(2).collect();
            close(&column, &alone.iter().map(|x| x / -2.0 / STEPS as f64).collect::<Vec<_>>(), 1e-12);
        }
    }
}

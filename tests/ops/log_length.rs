//! Vectors whose length is made its logarithm.
use crate::operations::{close, gradients, memory, run};
use mvae_fast::ops::log_length::{backward, push};
use mvae_fast::plan::arena::Arena;

const GAIN: f64 = 3.0;

#[test]
fn derivatives() {
    gradients("log_length");
}

/// The changed numbers, with one column before the pairs, and the gradient of what they were.
fn changed(x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut arena = Arena::default();
    let (y, d) = (arena.mat(1, x.len()), arena.mat(1, x.len()));
    let mut memory = memory(arena);
    memory.write(y, x).unwrap();
    memory.write(d, dy).unwrap();
    run(&mut memory, |plan| {
        push(plan, y, 1, GAIN).unwrap();
        backward(plan, y, 1, GAIN, d).unwrap();
    });
    (memory.read(y).unwrap(), memory.read(d).unwrap())
}

#[test]
fn directions_stay_and_lengths_grow_as_their_logarithm() {
    let (y, _) = changed(&[9.0, 3.0, 4.0, 0.0, -1.0], &[0.0; 5]);
    let (five, one) = (GAIN * 6f64.ln(), GAIN * 2f64.ln());
    close(&y, &[9.0, 0.6 * five, 0.8 * five, 0.0, -one], 1e-12);
}

#[test]
fn the_way_back_takes_the_length_of_what_was_changed() {
    // Along a vector of length r the slope is gain / (1 + r), across it gain ln(1 + r) / r.
    let (_, dx) = changed(&[9.0, 3.0, 4.0], &[7.0, 0.6, 0.8]);
    close(&dx, &[7.0, GAIN / 6.0 * 0.6, GAIN / 6.0 * 0.8], 1e-12);
    let (_, dx) = changed(&[9.0, 3.0, 4.0], &[7.0, -0.8, 0.6]);
    let across = GAIN * 6f64.ln() / 5.0;
    close(&dx, &[7.0, -0.8 * across, 0.6 * across], 1e-12);
}

#[test]
fn a_vector_of_length_0_has_the_gain_as_slope() {
    let (y, dx) = changed(&[9.0, 0.0, 0.0], &[7.0, 0.3, -0.2]);
    assert_eq!((y, dx), (vec![9.0, 0.0, 0.0], vec![7.0, GAIN * 0.3, GAIN * -0.2]));
    // So has one whose square is 0.
    let (_, dx) = changed(&[9.0, 1e-170, 0.0], &[7.0, 0.3, -0.2]);
    close(&dx, &[7.0, GAIN * 0.3, GAIN * -0.2], 1e-12);
    let (_, dx) = changed(&[9.0, 1e-9, -1e-9], &[7.0, 0.3, -0.2]);
    close(&dx, &[7.0, GAIN * 0.3, GAIN * -0.2], 1e-7);
}

//! Random numbers of a step.
use crate::operations::{memory, memory_on, run, state};
use mvae_fast::ops::noise::{normal, pick};
use mvae_fast::philox::Purpose;
use mvae_fast::plan::arena::{Arena, Mat};

fn normals(seed: u64, step: u64, purpose: Purpose, n: usize, threads: usize) -> Vec<f32> {
    let mut arena = Arena::default();
    let (current, out) = (arena.mat(1, 1), arena.mat(1, n));
    let mut memory = memory_on(arena, threads);
    memory.write(current, &[state(seed, step)]).unwrap();
    run(&mut memory, |plan| normal::push::<f32>(plan, current, out, purpose, 1.0));
    memory.read(out).unwrap()
}

#[test]
fn depends_on_seed_step_and_purpose_alone() {
    let numbers = normals(1, 1, Purpose::Eps, 1013, 1);
    assert_eq!(numbers, normals(1, 1, Purpose::Eps, 1013, 2));
    assert_eq!(numbers, normals(1, 1, Purpose::Eps, 1013, 3));
    assert_eq!(numbers[..37], normals(1, 1, Purpose::Eps, 37, 2), "an element's number does not depend on how many");
    let others = [
        normals(2, 1, Purpose::Eps, 1013, 1),
        normals(1 << 32 | 1, 1, Purpose::Eps, 1013, 1),
        normals(1, 2, Purpose::Eps, 1013, 1),
        normals(1, 1 << 32 | 1, Purpose::Eps, 1013, 1),
        normals(1, 1, Purpose::Prior, 1013, 1),
    ];
    for (i, other) in others.iter().enumerate() {
        let same = numbers.iter().zip(other).filter(|(a, b)| a == b).count();
        assert!(same < 3, "{i}: {same} of 1013 are the same");
    }
}

#[test]
fn is_standard_normal() {
    let numbers = normals(7, 3, Purpose::Eps, 100_000, 2);
    let moment = |power: i32| numbers.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / numbers.len() as f64;
    // Standard errors 0.003, 0.0045, 0.012, 0.031: five of each.
    for (power, want, tolerance) in [(1, 0.0, 0.016), (2, 1.0, 0.023), (3, 0.0, 0.061), (4, 3.0, 0.155)] {
        assert!((moment(power) - want).abs() < tolerance, "moment {power} is {}", moment(power));
    }
}

/// Entries drawn from the same gate for every sample.
fn picks(gate: &[f64], samples: usize, draw: bool) -> Vec<u32> {
    let mut arena = Arena::default();
    let (current, gates, drawn) = (arena.mat(1, 1), arena.mat::<f64>(samples, gate.len()), arena.mat(samples, 1));
    let mut memory = memory(arena);
    memory.write(current, &[state(5, 1)]).unwrap();
    memory.write(gates, &gate.repeat(samples)).unwrap();
    run(&mut memory, |plan| pick::push(plan, if draw { current } else { Mat::NONE }, gates, drawn));
    memory.read(drawn).unwrap()
}

#[test]
fn specialists_are_drawn_as_often_as_the_gate_says() {
    let gate = [0.5, 0.0, 0.3, 0.2];
    let drawn = picks(&gate, 20_000, true);
    for (expert, &share) in gate.iter().enumerate() {
        let count = drawn.iter().filter(|&&pick| pick as usize == expert).count() as f64;
        let error = (20_000.0 * share * (1.0 - share)).sqrt();
        assert!((count - 20_000.0 * share).abs() <= 4.0 * error, "expert {expert}: {count} times");
    }
    assert!(picks(&[0.0, 1.0, 0.0], 100, true).iter().all(|&pick| pick == 1));
    assert_eq!(picks(&[0.2, 0.4, 0.4], 2, false), [1, 1], "without a state the first of the largest");
}

//! The mixture likelihood of separate experts.
use crate::operations::{close, memory, numbers, run};
use mvae_fast::cpu::real::Real;
use mvae_fast::ops::Operation;
use mvae_fast::ops::recon_loss::{LOSSES, slot};
use mvae_fast::ops::softmax::Softmax;
use mvae_fast::ops::specialist_loss::SpecialistLoss;
use mvae_fast::plan::arena::Arena;

#[test]
fn gradients() {
    crate::operations::gradients("specialist_loss");
}

/// Loss, gradients of the predictions and of the gate's logits, and the prediction; `each` is [E,
/// B, X].
struct Found {
    loss: f64,
    deach: Vec<f64>,
    dlogits: Vec<f64>,
    y: Vec<f64>,
}

fn specialist<T: Real>(each: &[f64], logits: &[f64], truth: &[f64], pick: &[u32]) -> Found {
    let b = pick.len();
    let (x, e) = (truth.len() / b, logits.len() / b);
    let mut arena = Arena::default();
    let (predictions, x_logits, gate) = (arena.var::<T>(e * b, x), arena.var(b, e), arena.var(b, e));
    let (truths, y, picks, losses) = (arena.mat(b, x), arena.mat(b, x), arena.mat(b, 1), arena.mat(1, LOSSES));
    let softmax = Softmax::new(x_logits, gate).unwrap();
    let op = SpecialistLoss::new(&mut arena, predictions, gate, truths, picks, y, losses).unwrap();
    let mut memory = memory(arena);
    let rounded = |values: &[f64]| values.iter().map(|&v| T::of(v)).collect::<Vec<T>>();
    memory.write(predictions.value, &rounded(each)).unwrap();
    memory.write(x_logits.value, &rounded(logits)).unwrap();
    memory.write(truths, &rounded(truth)).unwrap();
    memory.write(picks, pick).unwrap();
    run(&mut memory, |plan| {
        softmax.forward(plan);
        op.predict(plan);
        op.forward(plan);
        op.backward(plan);
        softmax.backward(plan);
    });
    let wide = |values: Vec<T>| values.into_iter().map(T::f64).collect();
    Found {
        loss: memory.read(losses).unwrap()[slot::RECON],
        deach: wide(memory.read(predictions.grad).unwrap()),
        dlogits: wide(memory.read(x_logits.grad).unwrap()),
        y: wide(memory.read(y).unwrap()),
    }
}

#[test]
fn is_the_negative_log_likelihood() {
    let (b, x, e) = (3, 5, 2);
    let (each, truth, logits) = (numbers(1, e * b * x), numbers(2, b * x), numbers(3, b * e));
    let mut sum = 0.0;
    for row in 0..b {
        let weights: Vec<f64> = logits[row * e..][..e].iter().map(|l| l.exp()).collect();
        let likelihood: f64 = (0..e)
            .map(|expert| {
                let y = &each[(expert * b + row) * x..][..x];
                let error = y.iter().zip(&truth[row * x..]).map(|(y, t)| (y - t).powi(2)).sum::<f64>() / x as f64;
                weights[expert] / weights.iter().sum::<f64>() * (-error / 2.0).exp()
            })
            .sum();
        sum -= likelihood.ln();
    }
    let found = specialist::<f64>(&each, &logits, &truth, &[1, 0, 1]);
    close(&[found.loss], &[sum / b as f64], 1e-14);
    let want = [&each[15..20], &each[5..10], &each[25..30]].concat();
    assert_eq!(found.y, want, "each sample's prediction is that of its expert");
}

#[test]
fn large_errors_do_not_underflow() {
    // exp(-m/2) of errors m around 1e6 is 0 in f32 (B14); the loss is still about 1e6 / 2.
    let (each, truth) = (vec![1e3; 2 * 3], vec![0.0; 3]);
    let found = specialist::<f32>(&each, &[0.0, 1.0], &truth, &[0]);
    close(&[found.loss], &[5e5], 1.0);
    let slope = found.deach.iter().sum::<f64>(); // sum of g_e (y - t) / X over experts and features
    close(&[slope], &[1e3], 1e-2);
}

#[test]
fn a_gate_weight_of_zero_makes_no_infinity() {
    // The expert without weight is right, the other far off: its ratio exceeds any number, its
    // share is still nothing.
    let (each, truth) = (vec![0.0, 0.0, 1e3, 1e3], vec![0.0; 2]);
    let found = specialist::<f32>(&each, &[-1e3, 1e3], &truth, &[1]);
    close(&[found.loss], &[5e5], 1.0);
    assert!(found.deach.iter().chain(&found.dlogits).all(|d| d.is_finite()), "{:?} {:?}", found.deach, found.dlogits);
    close(&found.deach, &[0.0, 0.0, 500.0, 500.0], 1e-2);
}

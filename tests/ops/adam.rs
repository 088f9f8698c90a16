//! The optimizer.
use crate::operations::{close, memory_on, numbers, run};
use mvae_fast::backend::Memory;
use mvae_fast::ops::adam::adam_state;
use mvae_fast::ops::adam::{Adam, CHUNK, TASK, push};
use mvae_fast::ops::recon_loss::{LOSSES, slot};
use mvae_fast::plan::arena::{Arena, Mat};

/// More than two tasks, the last one ragged.
const N: usize = 2 * TASK + 3;
const RATE: f64 = 0.01;

fn adam(threads: usize) -> (Memory<'static>, Adam<f64>) {
    let mut arena = Arena::default();
    let [param, grad, m, v] = [(); 4].map(|()| arena.mat(1, N));
    let (squares, state, losses) = (arena.mat(1, N.div_ceil(CHUNK)), arena.mat(1, 1), arena.mat(1, LOSSES));
    let mut memory = memory_on(arena, threads);
    memory.write(param, &numbers(100, N)).unwrap();
    (memory, Adam { param, grad, m, v, squares, state, losses, beta1: 0.9, beta2: 0.99, eps: 1e-3 })
}

fn step(memory: &mut Memory, op: &Adam<f64>, step: u64) -> Vec<f64> {
    let grad = numbers(step, N);
    memory.write(op.grad, &grad).unwrap();
    memory.write(op.state, &[adam_state(RATE, [0.9, 0.99], step)]).unwrap();
    run(memory, |plan| push(plan, op));
    grad
}

fn read(memory: &Memory, mat: Mat<f64>) -> Vec<f64> {
    memory.read(mat).unwrap()
}

#[test]
fn is_adam() {
    let (mut memory, op) = adam(1);
    let mut param = numbers(100, N);
    let (mut m, mut v) = (vec![0.0; N], vec![0.0; N]);
    for t in 1..=7 {
        let grad = step(&mut memory, &op, t);
        for i in 0..N {
            m[i] = 0.9 * m[i] + 0.1 * grad[i];
            v[i] = 0.99 * v[i] + 0.01 * grad[i] * grad[i];
            let (m_hat, v_hat) = (m[i] / (1.0 - 0.9f64.powi(t as i32)), v[i] / (1.0 - 0.99f64.powi(t as i32)));
            param[i] -= RATE * m_hat / (v_hat.sqrt() + 1e-3);
        }
        close(&read(&memory, op.param), &param, 1e-13);
        let squares: f64 = grad.iter().map(|g| g * g).sum();
        close(&[read(&memory, op.squares).iter().sum::<f64>() / squares], &[1.0], 1e-13);
    }
    close(&read(&memory, op.m), &m, 1e-13);
    close(&read(&memory, op.v), &v, 1e-13);
}

#[test]
fn threads_do_not_matter() {
    let [one, three] = [1, 3].map(|threads| {
        let (mut memory, op) = adam(threads);
        (1..=3).for_each(|t| drop(step(&mut memory, &op, t)));
        [op.param, op.m, op.v, op.squares].map(|mat| read(&memory, mat))
    });
    assert!(one == three);
}

#[test]
fn nothing_is_updated_after_a_loss_that_is_not_finite() {
    let (mut memory, op) = adam(2);
    step(&mut memory, &op, 1);
    let state = |memory: &Memory| [op.param, op.m, op.v].map(|mat| read(memory, mat));
    let before = state(&memory);
    let mut losses = [0.0; LOSSES];
    losses[slot::NONFINITE_STEP] = 2.0;
    memory.write(op.losses, &losses).unwrap();
    step(&mut memory, &op, 2);
    assert!(before == state(&memory));
    memory.write(op.losses, &[0.0; LOSSES]).unwrap();
    step(&mut memory, &op, 3);
    assert!(before != state(&memory));
}

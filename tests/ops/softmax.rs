//! Gate weights.
use crate::operations::{close, memory, run};
use mvae_fast::ops::Operation;
use mvae_fast::ops::softmax::Softmax;
use mvae_fast::plan::arena::Arena;

#[test]
fn gradients() {
    crate::operations::gradients("softmax");
}

fn softmax(x: &[f64], cols: usize) -> Vec<f64> {
    let mut arena = Arena::default();
    let [logits, y] = [(); 2].map(|()| arena.var(x.len() / cols, cols));
    let op = Softmax::new(logits, y).unwrap();
    let mut memory = memory(arena);
    memory.write(logits.value, x).unwrap();
    run(&mut memory, |plan| op.forward(plan));
    memory.read(y.value).unwrap()
}

#[test]
fn rows_sum_to_one_and_only_differences_count() {
    let x = crate::operations::numbers(1, 7 * 5);
    let y = softmax(&x, 5);
    assert!(y.chunks_exact(5).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-14));
    let shifted: Vec<f64> = x.iter().map(|x| x + 3.0).collect();
    close(&softmax(&shifted, 5), &y, 1e-14);
    close(&softmax(&[0.0, 2f64.ln(), 1.0, 1.0], 2), &[1.0 / 3.0, 2.0 / 3.0, 0.5, 0.5], 1e-15);
}

#[test]
fn large_logits_do_not_overflow() {
    assert_eq!(softmax(&[1e4, -1e4, 1e4], 3), [0.5, 0.0, 0.5]);
}

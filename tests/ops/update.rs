//! The gradient of a layer's weights and Adam on it, in one call.
use crate::operations::{close, fill, memory_on, run};
use mvae_fast::cpu::activation::Activation::None as Identity;
use mvae_fast::ops::Operation;
use mvae_fast::ops::adam::adam_state;
use mvae_fast::ops::adam::{self, Adam, CHUNK};
use mvae_fast::ops::blend_linear::BlendLinear;
use mvae_fast::ops::linear::Linear;
use mvae_fast::ops::recon_loss::{LOSSES, slot};
use mvae_fast::ops::update::Optimizer;
use mvae_fast::plan::arena::{Arena, Var};

const B: usize = 5;
const L: usize = 2;
const H: usize = 33;
const O: usize = 37;
const E: usize = 3;
const ADAM: [f64; 3] = [0.9, 0.99, 1e-3];
const STEPS: u64 = 3;

/// The gradients of weights and biases as sums over samples, written out.
fn gradients(blended: bool, [z, h, gate, dy]: [&[f64]; 4]) -> Vec<f64> {
    let input = |b: usize, i: usize| if i < L { z[b * L + i] } else { h[b * H + i - L] };
    let experts = if blended { E } else { 1 };
    let deach = |b: usize, e: usize, o: usize| if blended { gate[b * E + e] } else { 1.0 } * dy[b * O + o];
    let sum = |of: &dyn Fn(usize) -> f64| (0..B).map(of).sum::<f64>();
    let mut all = Vec::new();
    for row in 0..if blended { E * (L + H) } else { O } {
        for col in 0..if blended { O } else { L + H } {
            let (e, i, o) = if blended { (row / (L + H), row % (L + H), col) } else { (0, col, row) };
            all.push(sum(&|b| input(b, i) * deach(b, e, o)));
        }
    }
    all.extend((0..experts * O).map(|at| sum(&|b| deach(b, at / O, at % O))));
    all
}

/// A layer's parameters and moments after some steps, and the sum of the gradient's squares in each
/// step. The steps are those of the update, or of Adam from gradients that are written out. Nothing
/// happens from step `stands_still` on.
fn trained(blended: bool, written_out: bool, threads: usize, stands_still: u64) -> (Vec<f64>, Vec<f64>) {
    let mut arena = Arena::default();
    let (weights, biases) = if blended { (E * (L + H) * O, E * O) } else { (O * (L + H), O) };
    let [values, grads, m, v] = [(); 4].map(|()| arena.mat(weights + biases, 1));
    let of =
        |first: usize, rows: usize, cols: usize| Var::constant(values.rows_at(first, rows * cols).reshaped(rows, cols));
    let [z, h, gate, y] = [L, H, E, O].map(|cols| arena.var(B, cols));
    let (layer, update): (Box<dyn Operation>, _) = if blended {
        let (w, bias) = (of(0, E * (L + H), O), of(weights, E, O));
        let layer = BlendLinear::new(&mut arena, z, h, gate, w, bias, y, Identity).unwrap();
        let update = layer.update();
        (Box::new(layer), update)
    } else {
        let layer = Linear::new(z, h, of(0, O, L + H), of(weights, 1, O), y, Identity).unwrap();
        let update = layer.update();
        (Box::new(layer), update)
    };
    let (state, losses) = (arena.mat(1, 1), arena.mat(1, LOSSES));
    let chunks = (weights + biases).div_ceil(CHUNK);
    let (squares, gradient) = (arena.mat(1, if written_out { chunks } else { update.tiles() }), arena.mat(1, weights));
    let mut memory = memory_on(arena, threads);
    let [_, zs, hs, gates] =
        [values, z.value, h.value, gate.value].map(|mat| fill(&mut memory, mat, mat.cols() as u64));
    let mut norms = Vec::new();
    for step in 1..=STEPS {
        let dy = fill(&mut memory, y.grad, 100 + step);
        memory.write(grads, &gradients(blended, [&zs, &hs, &gates, &dy])).unwrap();
        memory.write(state, &[adam_state(0.01, [ADAM[0], ADAM[1]], step)]).unwrap();
        let mut now = [0.0; LOSSES];
        now[slot::NONFINITE_STEP] = if step >= stands_still { step as f64 } else { 0.0 };
        memory.write(losses, &now).unwrap();
        run(&mut memory, |plan| {
            layer.forward(plan);
            layer.backward(plan);
            if written_out {
                let [beta1, beta2, eps] = ADAM;
                let [param, grad] = [values, grads];
                adam::push(plan, &Adam { param, grad, m, v, squares, state, losses, beta1, beta2, eps });
            } else {
                let optimizer = Optimizer { values, moments: [m, v], state, losses, adam: ADAM, gradient };
                update.push(plan, &optimizer, squares);
            }
        });
        norms.push(memory.read(squares).unwrap().iter().sum());
    }
    ([values, m, v].into_iter().flat_map(|mat| memory.read(mat).unwrap()).collect(), norms)
}

#[test]
fn is_the_gradient_and_adam() {
    for blended in [false, true] {
        let [(got, norms), (want, all)] = [false, true].map(|written_out| trained(blended, written_out, 1, u64::MAX));
        close(&got, &want, 1e-13);
        let ratios: Vec<f64> = norms.iter().zip(&all).map(|(norm, want)| norm / want).collect();
        close(&ratios, &[1.0; STEPS as usize], 1e-13);
        assert!(got != trained(blended, false, 1, STEPS).0, "the last step moved something");
    }
}

#[test]
fn threads_do_not_matter() {
    for blended in [false, true] {
        assert!(trained(blended, false, 1, u64::MAX) == trained(blended, false, 3, u64::MAX));
    }
}

#[test]
fn nothing_is_updated_after_a_loss_that_is_not_finite() {
    for blended in [false, true] {
        let (two, _) = trained(blended, false, 2, STEPS);
        let (want, _) = trained(blended, true, 2, STEPS);
        close(&two, &want, 1e-13);
    }
}

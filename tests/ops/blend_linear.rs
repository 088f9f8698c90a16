//! The layer whose weights are blended per sample.
use crate::operations::{close, fill, memory, numbers, run};
use mvae_fast::cpu::activation::Activation::Elu;
use mvae_fast::ops::Operation;
use mvae_fast::ops::blend_linear::BlendLinear;
use mvae_fast::plan::arena::{Arena, Var};

const B: usize = 5;
const L: usize = 2;
const H: usize = 3;
const O: usize = 7;
const E: usize = 3;
const I: usize = L + H;

#[test]
fn gradients() {
    crate::operations::gradients("blend_linear");
}

/// y of these weights and gates; z and h are random.
fn outputs(w: &[f64], bias: &[f64], gate: &[f64]) -> Vec<f64> {
    let mut arena = Arena::default();
    let [z, h, g, ws, biases, y] =
        [(B, L), (B, H), (B, E), (E * I, O), (E, O), (B, O)].map(|(r, c)| Var::<f64>::constant(arena.mat(r, c)));
    let layer = BlendLinear::new(&mut arena, z, h, g, ws, biases, y, Elu).unwrap();
    let mut memory = memory(arena);
    fill(&mut memory, z.value, 1);
    fill(&mut memory, h.value, 2);
    memory.write(ws.value, w).unwrap();
    memory.write(biases.value, bias).unwrap();
    memory.write(g.value, gate).unwrap();
    run(&mut memory, |plan| layer.forward(plan));
    memory.read(y.value).unwrap()
}

/// Random rows that sum to 1.
fn gates(seed: u64) -> Vec<f64> {
    let mut gate: Vec<f64> = numbers(seed, B * E).iter().map(|x| x.exp()).collect();
    for row in gate.chunks_exact_mut(E) {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|g| *g /= sum);
    }
    gate
}

#[test]
fn is_a_layer_with_blended_weights() {
    let (w, bias, gate) = (numbers(3, E * I * O), numbers(4, E * O), gates(5));
    let (z, h) = (numbers(1, B * L), numbers(2, B * H));
    let mut want = Vec::new();
    for (b, gate) in gate.chunks_exact(E).enumerate() {
        let input: Vec<f64> = [&z[b * L..][..L], &h[b * H..][..H]].concat();
        for o in 0..O {
            let blend = |part: &dyn Fn(usize) -> f64| (0..E).map(|e| gate[e] * part(e)).sum::<f64>();
            let weight = |i: usize| blend(&|e| w[(e * I + i) * O + o]);
            let y = blend(&|e| bias[e * O + o]) + (0..I).map(|i| input[i] * weight(i)).sum::<f64>();
            want.push(if y > 0.0 { y } else { y.exp() - 1.0 });
        }
    }
    close(&outputs(&w, &bias, &gate), &want, 1e-12);
}

#[test]
fn equal_experts_ignore_the_gate() {
    let (w, bias) = (numbers(3, I * O).repeat(E), numbers(4, O).repeat(E));
    close(&outputs(&w, &bias, &gates(5)), &outputs(&w, &bias, &gates(6)), 1e-12);
    let mut other = w.clone();
    other[0] += 1.0;
    let change: Vec<f64> = outputs(&other, &bias, &gates(5));
    assert_ne!(change, outputs(&other, &bias, &gates(6)), "experts that differ");
}

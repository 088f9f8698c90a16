//! The gate of the mixture decoder.
use crate::operations::{close, memory, numbers, run};
use mvae_fast::cpu::activation::Activation::{Elu, None as Identity};
use mvae_fast::ops::Operation;
use mvae_fast::ops::gate::Gate;
use mvae_fast::ops::linear::Linear;
use mvae_fast::ops::softmax::Softmax;
use mvae_fast::plan::arena::{Arena, Var};

const SAMPLES: usize = 9;
const SIZES: [usize; 4] = [5, 11, 13, 4];

#[test]
fn gradients() {
    crate::operations::gradients("gate");
}

/// The gate, its gradient with respect to z, and the factors of those of its parameters: as one
/// operation, or as layers and a softmax.
fn gate(as_one: bool) -> Vec<f64> {
    let [latent, condition, hidden, experts] = SIZES;
    let mut arena = Arena::default();
    let (z, c) = (arena.var(SAMPLES, latent), Var::constant(arena.mat(SAMPLES, condition)));
    let shapes = [(hidden, latent + condition), (hidden, hidden), (experts, hidden)];
    let layers @ [first, second, third] =
        shapes.map(|(o, i)| [(o, i), (1, o)].map(|(rows, cols)| Var::constant(arena.mat(rows, cols))).into());
    let [h1, h2] = [(); 2].map(|()| arena.var(SAMPLES, hidden));
    let [logits, y] = [(); 2].map(|()| arena.var(SAMPLES, experts));
    let operations: Vec<Box<dyn Operation>> = if as_one {
        vec![Box::new(Gate::new(&mut arena, z, c, layers, [h1, h2], logits, y).unwrap())]
    } else {
        let dense = |x, h, (w, bias), y, act| Box::new(Linear::new(x, h, w, bias, y, act).unwrap());
        vec![
            dense(z, c, first, h1, Elu),
            dense(h1, Var::none(), second, h2, Elu),
            dense(h2, Var::none(), third, logits, Identity),
            Box::new(Softmax::new(logits, y).unwrap()),
        ]
    };
    let mut memory = memory(arena);
    let inputs: Vec<_> = [z, c].into_iter().chain(layers.into_iter().flat_map(|(w, bias)| [w, bias])).collect();
    for (i, input) in inputs.iter().enumerate() {
        memory.write(input.value, &numbers(i as u64, input.value.len())).unwrap();
    }
    memory.write(y.grad, &numbers(99, y.grad.len())).unwrap();
    run(&mut memory, |plan| {
        operations.iter().for_each(|op| op.forward(plan));
        operations.iter().rev().for_each(|op| op.backward(plan));
    });
    let made = [h1, h2, logits].into_iter().flat_map(|var| [var.value, var.grad]);
    [y.value, z.grad].into_iter().chain(made).flat_map(|mat| memory.read(mat).unwrap()).collect()
}

#[test]
fn it_is_three_layers_and_a_softmax() {
    close(&gate(true), &gate(false), 1e-14);
}

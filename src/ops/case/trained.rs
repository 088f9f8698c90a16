//! Layers with the updates of their parameters, as a training step has them.
use crate::cpu::real::Real;
use crate::ops::Operation;
use crate::ops::recon_loss::LOSSES;
use crate::ops::update::{Optimizer, Update};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};

/// Adam whose first moments are the gradients of its last step: beta1 is 0.
pub const ADAM_OF_CHECKS: [f64; 3] = [0.0, 0.999, 1e-8];

/// A layer and the updates of its parameters, as in a training step. Adam has a step size of 0 and
/// forgets earlier first moments, so the first moments become the gradients.
pub struct Trained<'a, T> {
    layer: &'a dyn Operation,
    updates: Vec<(Update<T>, Mat<f64>)>,
    optimizer: Optimizer<T>,
}

impl<'a, T: Real> Trained<'a, T> {
    /// A layer whose parameters `held` get these updates.
    pub fn new(arena: &mut Arena, layer: &'a dyn Operation, held: &Held<T>, updates: Vec<Update<T>>) -> Self {
        let gradient = updates.iter().map(|update| update.w.len()).max().expect("a layer has weights");
        let updates = updates.into_iter().map(|update| (arena.mat(1, update.tiles()), update));
        let updates = updates.map(|(squares, update)| (update, squares)).collect();
        let (state, losses, gradient) = (arena.mat(1, 1), arena.mat(1, LOSSES), arena.mat(1, gradient));
        let [values, moments @ ..] = held.0;
        Trained {
            layer,
            updates,
            optimizer: Optimizer { values, moments, state, losses, adam: ADAM_OF_CHECKS, gradient },
        }
    }
}

impl<T: Real> Operation for Trained<'_, T> {
    fn forward(&self, plan: &mut Plan) {
        self.layer.forward(plan);
    }

    fn backward(&self, plan: &mut Plan) {
        self.layer.backward(plan);
        self.updates.iter().for_each(|(update, squares)| update.push(plan, &self.optimizer, *squares));
    }
}

/// Parameters side by side: values, first and second moments.
pub struct Held<T>([Mat<T>; 3]);

impl<T: Real> Held<T> {
    /// Places for parameters of these rows and columns. The gradient of each lies where its first
    /// moments are.
    pub fn new<const N: usize>(arena: &mut Arena, shapes: [(usize, usize); N]) -> (Self, [Var<T>; N]) {
        let all = shapes.iter().map(|(rows, cols)| rows * cols).sum();
        let held = [(); 3].map(|()| arena.mat(all, 1));
        let mut first = 0;
        let parameters = shapes.map(|(rows, cols)| {
            let [value, grad] = [held[0], held[1]].map(|all| all.rows_at(first, rows * cols).reshaped(rows, cols));
            first += rows * cols;
            Var { value, grad }
        });
        (Held(held), parameters)
    }
}

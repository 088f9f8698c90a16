//! Actor and critic: two perceptrons with three hidden layers each. The actor's output is the mean
//! of a diagonal Gaussian, whose log standard deviations are separate parameters.
use crate::Result;
use crate::cpu::activation::Activation::{self, Relu, Tanh};
use crate::cpu::real::Real;
use crate::model::layout::Parameters;
use crate::model::network::Wanted;
use crate::ops::Operation;
use crate::ops::linear::Linear;
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};

/// The beginning of the names of the actor's parameters.
const ACTOR: &str = "actor.actor.";

/// A perceptron applied to one batch.
pub struct Perceptron<T> {
    layers: Vec<Linear<T>>,
    outputs: Vec<Var<T>>,
    /// The output.
    pub y: Var<T>,
}

impl<T: Real> Perceptron<T> {
    /// The actor on observations [x | h] (`h` may be absent), with the `wanted` gradients. Errors:
    /// shapes that do not fit.
    pub fn actor(arena: &mut Arena, parameters: &Parameters<T>, x: Var<T>, h: Var<T>, wanted: Wanted) -> Result<Self> {
        Perceptron::new(arena, parameters, ACTOR, (x, h), Tanh, wanted)
    }

    /// The critic on observations x, with the `wanted` gradients. Errors: shapes that do not fit.
    pub fn critic(arena: &mut Arena, parameters: &Parameters<T>, x: Var<T>, wanted: Wanted) -> Result<Self> {
        Perceptron::new(arena, parameters, "critic.", (x, Var::none()), Activation::None, wanted)
    }

    fn new(
        arena: &mut Arena,
        parameters: &Parameters<T>,
        prefix: &str,
        (mut x, mut h): (Var<T>, Var<T>),
        last: Activation,
        wanted: Wanted,
    ) -> Result<Self> {
        let (mut layers, mut outputs) = (Vec::new(), Vec::new());
        for i in 0..4 {
            let (w, bias) = parameters_of(parameters, prefix, i, wanted);
            let rows = x.rows();
            let y = match wanted {
                Wanted::Nothing => Var::constant(arena.mat(rows, w.rows())),
                _ => arena.var(rows, w.rows()),
            };
            layers.push(Linear::new(x, h, w, bias, y, if i == 3 { last } else { Relu })?);
            outputs.push(y);
            (x, h) = (y, Var::none());
        }
        Ok(Perceptron { layers, outputs, y: x })
    }

    /// The actor on observations of many steps, with what its layers made of them and the gradients
    /// of that: the gradients of its parameters follow. Errors: shapes that do not fit.
    pub(crate) fn of_actor(parameters: &Parameters<T>, mut x: Mat<T>, outputs: Vec<Var<T>>) -> Result<Self> {
        let layer = |(i, &y): (usize, &Var<T>)| {
            let (w, bias) = parameters_of(parameters, ACTOR, i, Wanted::Parameters);
            let x = std::mem::replace(&mut x, y.value);
            Linear::new(Var::constant(x), Var::none(), w, bias, y, if i == 3 { Tanh } else { Relu })
        };
        let layers = outputs.iter().enumerate().map(layer).collect::<Result<Vec<_>>>()?;
        let y = *outputs.last().expect("four layers");
        Ok(Perceptron { layers, outputs, y })
    }

    /// Outputs of all layers. After the way back, a gradient is that before the activation.
    pub(crate) fn outputs(&self) -> &[Var<T>] {
        &self.outputs
    }

    /// Appends the gradients of the parameters, from those of the outputs before their activation.
    pub(crate) fn weight_gradients(&self, plan: &mut Plan) {
        self.layers.iter().for_each(|layer| layer.weight_gradients(plan));
    }

    /// The perceptron with the mean squared error of y to `target` as its loss. Errors: shapes that
    /// do not fit.
    pub(crate) fn toward(mut self, target: Mat<T>) -> Result<Self> {
        let last = self.layers.pop().expect("four layers").toward(target)?;
        self.layers.push(last);
        Ok(self)
    }

    /// Appends the forward pass.
    pub fn forward(&self, plan: &mut Plan) {
        self.layers.iter().for_each(|layer| layer.forward(plan));
    }

    /// Appends the backward pass, which computes the wanted gradients.
    pub fn backward(&self, plan: &mut Plan) {
        self.layers.iter().rev().for_each(|layer| layer.backward(plan));
    }
}

/// Weight and bias of layer `i`.
fn parameters_of<T: Real>(parameters: &Parameters<T>, prefix: &str, i: usize, wanted: Wanted) -> (Var<T>, Var<T>) {
    let of = |name: &str| {
        let var = parameters.var(&format!("{prefix}{}.{name}", 2 * i));
        if wanted == Wanted::Parameters { var } else { Var::constant(var.value) }
    };
    (of("weight"), of("bias"))
}

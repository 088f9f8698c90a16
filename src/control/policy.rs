//! Actor and critic: two perceptrons with three hidden layers each. The actor's output is the mean
//! of a diagonal Gaussian, whose log standard deviations are separate parameters.
use crate::Result;
use crate::cpu::activation::Activation::{self, Relu, Tanh};
use crate::cpu::real::Real;
use crate::model::layout::Parameters;
use crate::ops::Operation;
use crate::ops::linear::Linear;
use crate::plan::Plan;
use crate::plan::arena::{Arena, Var};

/// A perceptron applied to one batch.
pub struct Perceptron<T> {
    layers: Vec<Linear<T>>,
    /// The output.
    pub y: Var<T>,
}

impl<T: Real> Perceptron<T> {
    /// The actor on observations [x | h] (`h` may be absent); it has gradients when `training`.
    /// Errors: shapes that do not fit.
    pub fn actor(arena: &mut Arena, parameters: &Parameters<T>, x: Var<T>, h: Var<T>, training: bool) -> Result<Self> {
        Perceptron::new(arena, parameters, "actor.actor.", (x, h), Tanh, training)
    }

    /// The critic on observations x; it has gradients when `training`. Errors: shapes that do not
    /// fit.
    pub fn critic(arena: &mut Arena, parameters: &Parameters<T>, x: Var<T>, training: bool) -> Result<Self> {
        Perceptron::new(arena, parameters, "critic.", (x, Var::none()), Activation::None, training)
    }

    fn new(
        arena: &mut Arena,
        parameters: &Parameters<T>,
        prefix: &str,
        (mut x, mut h): (Var<T>, Var<T>),
        last: Activation,
        training: bool,
    ) -> Result<Self> {
        let mut layers = Vec::new();
        for i in 0..4 {
            let parameter = |name: &str| {
                let var = parameters.var(&format!("{prefix}{}.{name}", 2 * i));
                if training { var } else { Var::constant(var.value) }
            };
            let (w, bias) = (parameter("weight"), parameter("bias"));
            let y = if training { arena.var(x.rows(), w.rows()) } else { Var::constant(arena.mat(x.rows(), w.rows())) };
            layers.push(Linear::new(x, h, w, bias, y, if i == 3 { last } else { Relu })?);
            (x, h) = (y, Var::none());
        }
        Ok(Perceptron { layers, y: x })
    }

    /// Appends the forward pass.
    pub fn forward(&self, plan: &mut Plan) {
        self.layers.iter().for_each(|layer| layer.forward(plan));
    }

    /// Appends the backward pass, which computes the gradients of the parameters.
    pub fn backward(&self, plan: &mut Plan) {
        self.layers.iter().rev().for_each(|layer| layer.backward(plan));
    }
}

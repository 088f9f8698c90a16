//! The gate of the mixture decoder: two ELU layers on [z | c] and a softmax over the experts. As it
//! is small and works row by row, it is one call forward and one backward instead of a call a
//! layer; one block takes a sample from end to end. Most of its work is the part that the condition
//! adds to the first layer. That part needs no latent, so it is a product before.
use super::linear::{Linear, cpu::layer, cpu::pull_back};
use super::update::Update;
use super::{Operation, expect, softmax};
use crate::Result;
use crate::cpu::activation::Activation::{Elu, None as Identity};
use crate::cpu::gemm::{Matrix, MatsMut, product};
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::cpu::vector;
use crate::plan::arena::{Arena, Mat as Place, Var};
use crate::plan::{Call, Grid, Output, Plan, Ptr, size};

crate::kernel_args! {
    reads {
        /// [B, L] latent.
        z: T [b * l],
        /// [B, C] condition.
        c: T [b * cc],
        /// [B, G] part that the condition and the bias add to the first layer, in `forward`; absent
        /// without a condition.
        h0: T [b * g],
        /// [G, L + C].
        w1: T [g * (l + cc)],
        /// \[G\].
        bias1: T [g],
        /// [G, G].
        w2: T [g * g],
        /// \[G\].
        bias2: T [g],
        /// [E, G].
        w3: T [e * g],
        /// \[E\].
        bias3: T [e],
        /// [P, B, E] parts whose sum is the gradient of the gate.
        dgate: T [p * b * e],
    }
    writes {
        /// [B, G] first hidden layer.
        h1: T [b * g],
        /// [B, G] second hidden layer.
        h2: T [b * g],
        /// [B, E].
        logits: T [b * e],
        /// [B, E] rows sum to 1.
        gate: T [b * e],
        /// [B, E].
        dlogits: T [b * e],
        /// [B, G] before the activation.
        dh2: T [b * g],
        /// [B, G] before the activation.
        dh1: T [b * g],
        /// [B, L]; absent when nobody needs it.
        dz: T [b * l],
    }
    sizes {
        /// Samples.
        b,
        /// Latent.
        l,
        /// Columns of the condition.
        cc,
        /// Hidden units.
        g,
        /// Experts.
        e,
        /// 1: dz is added to.
        add_dz,
        /// Parts of dgate.
        p,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// The operation.
pub struct Gate<T> {
    z: Var<T>,
    c: Var<T>,
    layers: [(Var<T>, Var<T>); 3],
    /// [B, G] part that the condition adds to the first layer; absent without a condition.
    h0: Place<T>,
    hidden: [Var<T>; 2],
    logits: Var<T>,
    y: Var<T>,
    /// [P B, E] parts of the gradient of y.
    dgate: Place<T>,
    /// The layers, for the product with the condition and for the updates of the weights.
    dense: [Linear<T>; 3],
}

impl<T: Real> Gate<T> {
    /// The gate from weights and biases of three `layers`, and places for their outputs: `hidden`
    /// twice, `logits`, and y, the gate. Errors: shapes that do not fit.
    pub fn new(
        arena: &mut Arena,
        z: Var<T>,
        c: Var<T>,
        layers: [(Var<T>, Var<T>); 3],
        hidden: [Var<T>; 2],
        logits: Var<T>,
        y: Var<T>,
    ) -> Result<Self> {
        expect("gate", "second hidden layer", hidden[1].cols(), hidden[0].cols(), "as wide as the first")?;
        expect("gate", "columns", y.cols(), logits.cols(), "as many weights as logits")?;
        expect("gate", "rows", y.rows(), logits.rows(), "one a sample")?;
        let ([(w1, b1), (w2, b2), (w3, b3)], [h1, h2]) = (layers, hidden);
        // The gradient of z is that of the one call backward.
        let dense = [
            Linear::new(Var::constant(z.value), c, w1, b1, h1, Elu)?,
            Linear::new(h1, Var::none(), w2, b2, h2, Elu)?,
            Linear::new(h2, Var::none(), w3, b3, logits, Identity)?,
        ];
        let h0 = if c.value.is_none() { Place::NONE } else { arena.mat(y.rows(), h1.cols()) };
        Ok(Gate { z, c, layers, h0, hidden, logits, y, dgate: y.grad, dense })
    }

    /// The gate with the gradient of y as the sum of parts [P B, E]. Each part is written by
    /// another operation, so these need not wait for one another. Errors: shapes that do not fit.
    pub(crate) fn with_parts(self, parts: Place<T>) -> Result<Self> {
        expect("gate", "columns of parts", parts.cols(), self.y.cols(), "one an expert")?;
        expect("gate", "rows of parts", parts.rows() % self.y.rows(), 0, "a multiple of the samples")?;
        Ok(Gate { dgate: parts, ..self })
    }

    /// The updates of the weights and biases of its layers.
    pub fn updates(&self) -> [Update<T>; 3] {
        [0, 1, 2].map(|i| self.dense[i].update())
    }

    /// Bytes of the weights, without those for the condition.
    fn weights_of_z(&self) -> usize {
        let (hidden, experts) = (self.hidden[0].value.cols(), self.y.cols());
        size_of::<T>() * hidden * (self.z.cols() + hidden + experts)
    }

    fn args(&self) -> Args<T> {
        let ([(w1, bias1), (w2, bias2), (w3, bias3)], [h1, h2]) = (self.layers, self.hidden);
        Args {
            z: self.z.value.into(),
            c: self.c.value.into(),
            h0: self.h0.into(),
            w1: w1.value.into(),
            bias1: bias1.value.into(),
            w2: w2.value.into(),
            bias2: bias2.value.into(),
            w3: w3.value.into(),
            bias3: bias3.value.into(),
            dgate: self.dgate.into(),
            h1: h1.value.into(),
            h2: h2.value.into(),
            logits: self.logits.value.into(),
            gate: self.y.value.into(),
            dlogits: self.logits.grad.into(),
            dh2: h2.grad.into(),
            dh1: h1.grad.into(),
            dz: self.z.grad.into(),
            b: size(self.y.rows()),
            l: size(self.z.cols()),
            cc: size(self.c.cols()),
            g: size(h1.cols()),
            e: size(self.y.cols()),
            add_dz: 0,
            p: size(self.dgate.rows() / self.y.rows()),
            pad: 0,
            scalar: Default::default(),
        }
    }
}

impl<T: Real> Operation for Gate<T> {
    fn forward(&self, plan: &mut Plan) {
        let none = Ptr::NONE;
        if !self.h0.is_none() {
            self.dense[0].forward_of_h(plan, self.h0);
        }
        plan.push(
            Call::new(
                "gate_forward",
                Grid::items(self.y.rows(), 256),
                &["h1", "h2", "logits", "gate"].map(Output::whole),
                Args { c: none, dgate: none, p: 0, dlogits: none, dh2: none, dh1: none, dz: none, ..self.args() },
                cpu::forward::<T>,
            )
            .in_shares(&[("z", self.z.cols())])
            .loads(self.weights_of_z()),
        );
    }

    fn backward(&self, plan: &mut Plan) {
        for grad in [self.logits.grad, self.hidden[1].grad, self.hidden[0].grad] {
            assert_eq!(plan.gradients.accumulate(grad), 0, "layers of a gate have one reader");
        }
        let (none, add_dz) = (Ptr::NONE, plan.gradients.accumulate(self.z.grad));
        let shares = [("dz", self.z.cols())];
        plan.push(
            Call::new(
                "gate_backward",
                Grid::items(self.y.rows(), 256),
                &[Output::whole("dlogits"), Output::whole("dh2"), Output::whole("dh1"), Output::sum("dz", add_dz)],
                Args {
                    z: none,
                    c: none,
                    h0: none,
                    bias1: none,
                    bias2: none,
                    bias3: none,
                    logits: none,
                    add_dz,
                    ..self.args()
                },
                cpu::backward::<T>,
            )
            .in_shares(if self.z.grad.is_none() { &[] } else { &shares })
            .loads(self.weights_of_z()),
        );
        self.dense[0].input_gradients(plan, None);
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// h1 = elu(z W1zᵀ + h0), h0 = c W1cᵀ + bias1, h2 = elu(h1 W2ᵀ + bias2), gate = softmax(h2 W3ᵀ
    /// + bias3)
    pub fn forward<T: Real>(v: View<'_, T>, team: &Team) {
        let none: (&[T], usize) = (&[], 0);
        if v.h0.is_empty() {
            layer(team, [(v.z, v.l), none], (v.w1, v.bias1), Elu, v.h1);
        } else {
            v.h1.copy_from_slice(v.h0);
            let w = Matrix::new(v.w1, v.g, v.l, v.l + v.cc).t();
            product(team, MatsMut::one(v.h1, v.b, v.g, v.g), true, Matrix::new(v.z, v.b, v.l, v.l), w);
            Elu.apply(v.h1);
        }
        layer(team, [(v.h1, v.g), none], (v.w2, v.bias2), Elu, v.h2);
        layer(team, [(v.h2, v.g), none], (v.w3, v.bias3), Identity, v.logits);
        softmax::cpu::weights(v.logits, v.e, v.gate);
    }

    /// dlogits, dh2 = dlogits W3, dh1 = dh2 W2, each before its activation; dz = dh1 W1z
    pub fn backward<T: Real>(v: View<'_, T>, team: &Team) {
        let View { b, l, cc, g, e, .. } = v;
        let mut parts = v.dgate.chunks_exact(b * e);
        v.dlogits.copy_from_slice(parts.next().expect("a gradient"));
        parts.for_each(|part| vector::add_scaled(v.dlogits, T::one(), part));
        softmax::cpu::pull_back(v.gate, v.dlogits, e);
        product(team, MatsMut::one(v.dh2, b, g, g), false, Matrix::new(v.dlogits, b, e, e), Matrix::new(v.w3, e, g, g));
        pull_back(Elu, v.h2, v.dh2, g, team);
        product(team, MatsMut::one(v.dh1, b, g, g), false, Matrix::new(v.dh2, b, g, g), Matrix::new(v.w2, g, g, g));
        pull_back(Elu, v.h1, v.dh1, g, team);
        if !v.dz.is_empty() {
            let factors = (Matrix::new(v.dh1, b, g, g), Matrix::new(v.w1, g, l, l + cc));
            product(team, MatsMut::one(v.dz, b, l, l), v.add_dz == 1, factors.0, factors.1);
        }
    }
}

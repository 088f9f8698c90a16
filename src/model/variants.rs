//! The encoders and decoders of the four variants, as lists of operations.
use crate::Result;
use crate::config::ModelConfig;
use crate::cpu::activation::Activation::{self, Elu, Relu};
use crate::cpu::real::Real;
use crate::model::layout::Parameters;
use crate::ops::Operation;
use crate::ops::blend_linear::BlendLinear;
use crate::ops::gate::Gate;
use crate::ops::linear::{Linear, Twins};
use crate::ops::quantize::Quantize;
use crate::ops::recon_loss::ReconLoss;
use crate::ops::reparameterize::Reparameterize;
use crate::ops::softmax::Softmax;
use crate::ops::specialist_loss::SpecialistLoss;
use crate::ops::update::Update;
use crate::plan::arena::{Arena, Mat, Var};

pub(crate) type Operations = Vec<Box<dyn Operation>>;

/// The operation that makes the latent.
pub enum Latent<T> {
    Gaussian(Reparameterize<T>),
    Codebook(Quantize<T>),
}

/// The operation that makes a loss from predictions.
pub enum Loss<T> {
    Recon(ReconLoss<T>),
    Specialist(SpecialistLoss<T>),
}

/// The encoder of a network with its latent, and the tensors of theirs that the network shows.
pub(crate) struct Encoder<T> {
    pub operations: Operations,
    pub latent: Latent<T>,
    pub eps: Mat<T>,
    pub logvar: Var<T>,
    pub action: Mat<T>,
    pub code: Mat<u32>,
}

/// The decoder of a network with its loss, and the tensors of theirs that the network shows.
pub(crate) struct Decoder<T> {
    pub operations: Operations,
    pub loss: Loss<T>,
    pub gate: Var<T>,
    pub each: Var<T>,
    pub pick: Mat<u32>,
    pub prediction: Var<T>,
}

/// The gradients that a network has places for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None.
    Nothing,
    /// Gradients of the inputs; parameters do not change.
    Inputs,
    /// Gradients of the parameters.
    Parameters,
}

/// The builder of one network: it looks up parameters by name and lays out activations.
pub(crate) struct Builder<'a, T> {
    pub arena: &'a mut Arena,
    pub parameters: &'a Parameters<T>,
    pub config: &'a ModelConfig,
    pub batch: usize,
    pub wanted: Wanted,
    /// Values that the way back to the inputs needs.
    pub kept: Vec<Mat<T>>,
    /// The truth and the condition.
    pub x: Var<T>,
    pub c: Var<T>,
    pub losses: Mat<f64>,
    /// The parts that each blended layer adds to the gradients of latent and gate, so that the
    /// layers need not wait for one another; absent without training.
    pub parts_of_z: Mat<T>,
    pub parts_of_gate: Mat<T>,
    /// Output of the layer that is compared with the truth, or absent.
    pub prediction: Mat<T>,
    /// Updates of the layers so far.
    pub updates: Vec<Update<T>>,
}

impl<T: Real> Builder<'_, T> {
    /// A place for an activation of the batch, with its gradient if one is wanted.
    pub fn var(&mut self, rows: usize, cols: usize) -> Var<T> {
        if self.wanted == Wanted::Nothing {
            return Var::constant(self.arena.mat(rows, cols));
        }
        let var = self.arena.var(rows, cols);
        self.kept.push(var.value);
        var
    }

    /// A parameter. Its gradient is kept nowhere: see [`update`](super::network::Network::update).
    fn parameter(&self, name: &str) -> Var<T> {
        Var::constant(self.parameters.var(name).value)
    }

    /// Appends a dense layer `name.weight`, `name.bias` on [x | h] into y.
    fn dense(
        &mut self,
        to: &mut Operations,
        name: &str,
        x: Var<T>,
        h: Var<T>,
        y: Var<T>,
        act: Activation,
    ) -> Result<()> {
        let layer = self.layer(name, x, h, y, act)?;
        to.push(Box::new(layer));
        Ok(())
    }

    /// A dense layer as `dense` makes it, not pushed yet.
    fn layer(&mut self, name: &str, x: Var<T>, h: Var<T>, y: Var<T>, act: Activation) -> Result<Linear<T>> {
        let (w, bias) = (self.parameter(&format!("{name}.weight")), self.parameter(&format!("{name}.bias")));
        let layer = Linear::new(x, h, w, bias, y, act)?;
        self.updates.push(layer.update());
        if y.value == self.prediction { layer.toward(self.x.value) } else { Ok(layer) }
    }

    /// Appends three dense layers of `names`, on [skip | first] and twice on [skip | hidden], into
    /// y.
    fn skip_layers(
        &mut self,
        to: &mut Operations,
        names: [String; 3],
        skip: Var<T>,
        first: Var<T>,
        hidden: usize,
        y: Var<T>,
    ) -> Result<()> {
        let (h1, h2) = (self.var(self.batch, hidden), self.var(self.batch, hidden));
        self.dense(to, &names[0], skip, first, h1, Elu)?;
        self.dense(to, &names[1], skip, h1, h2, Elu)?;
        self.dense(to, &names[2], skip, h2, y, Activation::None)
    }

    /// The encoder of every variant but vq, whose parameters have this prefix.
    pub fn gaussian(&mut self, prefix: &str, mu: Var<T>, z: Var<T>, free_bits: f64) -> Result<Encoder<T>> {
        let (batch, x, mut operations) = (self.batch, self.x, Operations::new());
        let name = |n: &str| format!("{prefix}{n}");
        let [h1, h2] = [(); 2].map(|()| self.var(batch, self.config.hidden_size));
        let logvar = self.var(batch, self.config.latent_size);
        self.dense(&mut operations, &name("fc1"), x, self.c, h1, Elu)?;
        self.dense(&mut operations, &name("fc2"), x, h1, h2, Elu)?;
        let mut layer = |n: &str, y| self.layer(&name(n), x, h2, y, Activation::None);
        operations.push(Box::new(Twins::new(layer("mu", mu)?, layer("logvar", logvar)?)?));
        let eps = self.arena.mat(batch, self.config.latent_size);
        let mut op = Reparameterize::new(self.arena, (mu, logvar), eps, z, self.losses, free_bits)?;
        if !self.parts_of_z.is_none() {
            op = op.with_parts(self.parts_of_z)?;
        }
        Ok(Encoder { operations, latent: Latent::Gaussian(op), eps, logvar, action: Mat::NONE, code: Mat::NONE })
    }

    /// The encoder of vq.
    pub fn codebook(&mut self, mu: Var<T>, z: Var<T>) -> Result<Encoder<T>> {
        let (batch, codes, none, mut operations) = (self.batch, self.config.codes, Var::none(), Operations::new());
        let [h1, h2, h3] = [(); 3].map(|()| self.var(batch, self.config.hidden_size));
        self.dense(&mut operations, "fc1", self.x, self.c, h1, Relu)?;
        self.dense(&mut operations, "fc2", h1, none, h2, Relu)?;
        self.dense(&mut operations, "fc3", h2, none, h3, Relu)?;
        self.dense(&mut operations, "mu", h3, none, mu, Activation::None)?;
        let (action, code) = (self.arena.mat(batch, codes), self.arena.mat(batch, 1));
        let [embed, embed_avg, cluster_size] =
            ["embed", "embed_avg", "cluster_size"].map(|n| self.parameters.var(&format!("quantizer.{n}")).value);
        let (count, losses) = (self.arena.mat(1, codes), self.losses);
        let op = Quantize { v: mu, embed, cluster_size, embed_avg, z, action, code, count, losses }.check()?;
        Ok(Encoder { operations, latent: Latent::Codebook(op), eps: Mat::NONE, logvar: none, action, code })
    }

    /// The decoder of specialist: each expert predicts, and so does the gate.
    pub fn specialist(&mut self, z: Var<T>) -> Result<Decoder<T>> {
        let (batch, experts, hidden) = (self.batch, self.config.experts, self.config.hidden_size);
        let (c, truth, losses, mut operations) = (self.c, self.x.value, self.losses, Operations::new());
        let each = self.var(experts * batch, truth.cols());
        for e in 0..experts {
            let names = ["fc4", "fc5", "out"].map(|n| format!("d{e}.{n}"));
            self.skip_layers(&mut operations, names, z, c, hidden, each.rows_at(e * batch, batch))?;
        }
        let (logits, gate) = (self.var(batch, experts), self.var(batch, experts));
        let names = ["g_fc1", "g_fc2", "g_fc3"].map(String::from);
        self.skip_layers(&mut operations, names, z, c, hidden, logits)?;
        operations.push(Box::new(Softmax::new(logits, gate)?));
        let (pick, prediction) = (self.arena.mat(batch, 1), self.arena.mat(batch, truth.cols()));
        let op = SpecialistLoss::new(self.arena, each, gate, truth, pick, prediction, losses)?;
        Ok(Decoder { operations, loss: Loss::Specialist(op), gate, each, pick, prediction: Var::constant(prediction) })
    }

    /// The decoder of mixture: layers blended by a gate.
    pub fn mixture(&mut self, z: Var<T>) -> Result<Decoder<T>> {
        let (batch, experts, mut operations) = (self.batch, self.config.experts, Operations::new());
        let y = self.predicted();
        let [g1, g2] = [(); 2].map(|()| self.var(batch, self.config.gate_hidden_size));
        let logits = self.var(batch, experts);
        // Gradients of the parameters come in parts, each with a place of its own.
        let gate = match self.wanted {
            Wanted::Inputs => self.var(batch, experts),
            _ => Var::constant(self.arena.mat(batch, experts)),
        };
        let layers = [0, 2, 4]
            .map(|i| ["weight", "bias"].map(|part| self.parameter(&format!("decoder.gate.{i}.{part}"))).into());
        let mut op = Gate::new(self.arena, z, self.c, layers, [g1, g2], logits, gate)?;
        self.updates.extend(op.updates());
        if !self.parts_of_gate.is_none() {
            op = op.with_parts(self.parts_of_gate)?;
        }
        operations.push(Box::new(op));
        let [h1, h2] = [(); 2].map(|()| self.var(batch, self.config.hidden_size));
        let layers = [(self.c, h1, Elu), (h1, h2, Elu), (h2, y, Activation::None)];
        for (i, (h, out, act)) in layers.into_iter().enumerate() {
            let (w, bias) = (self.parameter(&format!("decoder.w{i}")), self.parameter(&format!("decoder.b{i}")));
            let [z, gate] =
                [(z, self.parts_of_z), (gate, self.parts_of_gate)].map(|(var, parts)| match parts.is_none() {
                    true => var,
                    false => Var { grad: parts.rows_at(i * batch, batch), ..var },
                });
            let layer = BlendLinear::new(self.arena, z, h, gate, w, bias, out, act)?;
            self.updates.push(layer.update());
            self.kept.extend(layer.kept());
            let compared = out.value == self.prediction;
            operations.push(Box::new(if compared { layer.toward(self.x.value)? } else { layer }));
        }
        self.compared(operations, gate, y)
    }

    /// The decoder of posevae.
    pub fn posevae(&mut self, z: Var<T>) -> Result<Decoder<T>> {
        let (y, mut operations) = (self.predicted(), Operations::new());
        let names = ["fc4", "fc5", "out"].map(String::from);
        self.skip_layers(&mut operations, names, z, self.c, self.config.hidden_size, y)?;
        self.compared(operations, Var::none(), y)
    }

    /// The decoder of vq.
    pub fn vq(&mut self, z: Var<T>) -> Result<Decoder<T>> {
        let (y, none, mut operations) = (self.predicted(), Var::none(), Operations::new());
        let [h4, h5, h6] = [(); 3].map(|()| self.var(self.batch, self.config.hidden_size));
        self.dense(&mut operations, "fc4", z, self.c, h4, Relu)?;
        self.dense(&mut operations, "fc5", h4, none, h5, Relu)?;
        self.dense(&mut operations, "fc6", h5, none, h6, Relu)?;
        self.dense(&mut operations, "out", h6, none, y, Activation::None)?;
        self.compared(operations, none, y)
    }

    /// A place for the prediction of a decoder whose last layer is compared with the truth, if
    /// parameters are to learn.
    fn predicted(&mut self) -> Var<T> {
        let y = self.var(self.batch, self.x.cols());
        if self.wanted == Wanted::Parameters {
            self.prediction = y.value;
        }
        y
    }

    /// A decoder whose last layer makes the prediction.
    fn compared(&self, operations: Operations, gate: Var<T>, y: Var<T>) -> Result<Decoder<T>> {
        let loss = Loss::Recon(ReconLoss::new(y.value, self.x.value, self.losses)?);
        Ok(Decoder { operations, loss, gate, each: Var::none(), pick: Mat::NONE, prediction: y })
    }
}

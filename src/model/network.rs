//! The four networks as lists of operations over one batch: forward in order, backward reversed.
use crate::Result;
use crate::config::{ModelConfig, Variant};
use crate::cpu::activation::Activation::{self, Elu, Relu};
use crate::cpu::real::Real;
use crate::model::layout::Parameters;
use crate::ops::Operation;
use crate::ops::begin_step::StepState;
use crate::ops::blend_linear::BlendLinear;
use crate::ops::epoch_sums::EpochSums;
use crate::ops::gate::Gate;
use crate::ops::linear::{Linear, Twins};
use crate::ops::noise::{normal, pick};
use crate::ops::quantize::Quantize;
use crate::ops::recon_loss::{LOSSES, ReconLoss};
use crate::ops::reconcile::Reconcile;
use crate::ops::reparameterize::Reparameterize;
use crate::ops::softmax::Softmax;
use crate::ops::specialist_loss::SpecialistLoss;
use crate::ops::update::{Optimizer, Update};
use crate::philox::Purpose;
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};

type Operations = Vec<Box<dyn Operation>>;

/// The operation that makes the latent.
enum Latent<T> {
    Gaussian(Reparameterize<T>),
    Codebook(Quantize<T>),
}

/// The operation that makes a loss from predictions.
enum Loss<T> {
    Recon(ReconLoss<T>),
    Specialist(SpecialistLoss<T>),
}

/// A network over one batch: its tensors, and its operations, which append themselves to plans.
pub struct Network<T> {
    /// [B, C F] normalised condition frames, newest first.
    pub condition: Mat<T>,
    /// [B, K F] normalised frames to predict, oldest first.
    pub truth: Mat<T>,
    /// [B, L] noise of the reparameterisation; absent for vq.
    pub eps: Mat<T>,
    /// [B, L] mean of the posterior (vq: the encoder's output).
    pub mu: Var<T>,
    /// [B, L] log variance of the posterior; absent for vq.
    pub logvar: Var<T>,
    /// [B, L] latent.
    pub z: Var<T>,
    /// [B, N] vq: the action, whose largest entry picks a code when there is no encoder.
    pub action: Mat<T>,
    /// [B, E] gate; absent without experts.
    pub gate: Var<T>,
    /// [E B, K F] specialist: predictions of all experts.
    pub each: Var<T>,
    /// [B, 1] specialist: the expert that predicts.
    pub pick: Mat<u32>,
    /// [B, 1] vq: number of the code.
    pub code: Mat<u32>,
    /// [B, K F] predicted frames, normalised.
    pub prediction: Mat<T>,
    /// See [`crate::ops::recon_loss::slot`].
    pub losses: Mat<f64>,
    encoder: Operations,
    latent: Latent<T>,
    decoder: Operations,
    loss: Loss<T>,
    reconcile: Option<Reconcile<T>>,
    /// Updates of all layers, in the order of `encoder` and `decoder`.
    updates: Vec<Update<T>>,
}

/// The builder of one network: it looks up parameters by name and lays out activations.
struct Builder<'a, T> {
    arena: &'a mut Arena,
    parameters: &'a Parameters<T>,
    batch: usize,
    training: bool,
    /// The target of `prediction`.
    truth: Mat<T>,
    /// Output of the layer that is compared with the truth.
    prediction: Mat<T>,
    /// Updates of the layers so far.
    updates: Vec<Update<T>>,
}

impl<T: Real> Builder<'_, T> {
    /// A place for an activation of the batch, with its gradient when training.
    fn var(&mut self, rows: usize, cols: usize) -> Var<T> {
        if self.training { self.arena.var(rows, cols) } else { Var::constant(self.arena.mat(rows, cols)) }
    }

    /// A parameter. Its gradient is kept nowhere: see [`Network::update`].
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
        if y.value == self.prediction { layer.toward(self.truth) } else { Ok(layer) }
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
}

impl<T: Real> Network<T> {
    /// A network over `batch` samples; with `training`, gradients get places too. `free_bits` is
    /// the KL of a latent dimension that costs nothing, in nats. Errors: shapes that do not fit.
    pub fn new(
        arena: &mut Arena,
        parameters: &Parameters<T>,
        config: &ModelConfig,
        batch: usize,
        free_bits: f64,
        training: bool,
    ) -> Result<Self> {
        let (latent_size, hidden, experts) = (config.latent_size, config.hidden_size, config.experts);
        let x_size = config.frame_size * config.future_predictions;
        let condition = arena.mat(batch, config.frame_size * config.condition_frames);
        let truth = arena.mat(batch, x_size);
        let losses = arena.mat(1, LOSSES);
        let mut b = Builder { arena, parameters, batch, training, truth, prediction: Mat::NONE, updates: Vec::new() };
        let (x, c) = (Var::constant(truth), Var::constant(condition));
        let (mu, z) = (b.var(batch, latent_size), b.var(batch, latent_size));
        let (mut encoder, mut decoder): (Operations, Operations) = Default::default();

        // The parts that each blended layer adds to the gradients of latent and gate, so that the
        // layers need not wait for one another.
        let blended = training && config.variant == Variant::Mixture;
        let mut parts = |cols| if blended { b.arena.mat(3 * batch, cols) } else { Mat::NONE };
        let (parts_of_z, parts_of_gate) = (parts(latent_size), parts(experts));
        let (mut eps, mut logvar, mut action, mut code) = (Mat::NONE, Var::none(), Mat::NONE, Mat::NONE);
        let latent = if config.variant == Variant::Vq {
            let [h1, h2, h3] = [(); 3].map(|()| b.var(batch, hidden));
            b.dense(&mut encoder, "fc1", x, c, h1, Relu)?;
            b.dense(&mut encoder, "fc2", h1, Var::none(), h2, Relu)?;
            b.dense(&mut encoder, "fc3", h2, Var::none(), h3, Relu)?;
            b.dense(&mut encoder, "mu", h3, Var::none(), mu, Activation::None)?;
            action = b.arena.mat(batch, config.codes);
            code = b.arena.mat(batch, 1);
            let [embed, embed_avg, cluster_size] =
                ["embed", "embed_avg", "cluster_size"].map(|n| parameters.var(&format!("quantizer.{n}")).value);
            let count = b.arena.mat(1, config.codes);
            let quantize = Quantize { v: mu, embed, cluster_size, embed_avg, z, action, code, count, losses };
            Latent::Codebook(quantize.check()?)
        } else {
            let prefix = if config.variant == Variant::Posevae { "" } else { "encoder." };
            let name = |n: &str| format!("{prefix}{n}");
            let (h1, h2) = (b.var(batch, hidden), b.var(batch, hidden));
            logvar = b.var(batch, latent_size);
            b.dense(&mut encoder, &name("fc1"), x, c, h1, Elu)?;
            b.dense(&mut encoder, &name("fc2"), x, h1, h2, Elu)?;
            let mut layer = |n: &str, y| b.layer(&name(n), x, h2, y, Activation::None);
            let twins = Twins::new(layer("mu", mu)?, layer("logvar", logvar)?)?;
            encoder.push(Box::new(twins));
            eps = b.arena.mat(batch, latent_size);
            let op = Reparameterize::new(b.arena, (mu, logvar), eps, z, losses, free_bits)?;
            Latent::Gaussian(if blended { op.with_parts(parts_of_z)? } else { op })
        };

        let (mut gate, mut each, mut drawn) = (Var::none(), Var::none(), Mat::NONE);
        let (mut prediction, loss);
        if config.variant == Variant::Specialist {
            each = b.var(experts * batch, x_size);
            for e in 0..experts {
                let names = ["fc4", "fc5", "out"].map(|n| format!("d{e}.{n}"));
                b.skip_layers(&mut decoder, names, z, c, hidden, each.rows_at(e * batch, batch))?;
            }
            let logits = b.var(batch, experts);
            gate = b.var(batch, experts);
            b.skip_layers(&mut decoder, ["g_fc1", "g_fc2", "g_fc3"].map(String::from), z, c, hidden, logits)?;
            decoder.push(Box::new(Softmax::new(logits, gate)?));
            drawn = b.arena.mat(batch, 1);
            prediction = b.arena.mat(batch, x_size);
            loss = Loss::Specialist(SpecialistLoss::new(b.arena, each, gate, truth, drawn, prediction, losses)?);
        } else {
            let y = b.var(batch, x_size);
            b.prediction = y.value;
            match config.variant {
                Variant::Mixture => {
                    let [g1, g2] = [(); 2].map(|()| b.var(batch, config.gate_hidden_size));
                    let logits = b.var(batch, experts);
                    gate = Var::constant(b.arena.mat(batch, experts));
                    let layers = [0, 2, 4].map(|i| {
                        ["weight", "bias"].map(|part| b.parameter(&format!("decoder.gate.{i}.{part}"))).into()
                    });
                    let op = Gate::new(b.arena, z, c, layers, [g1, g2], logits, gate)?;
                    b.updates.extend(op.updates());
                    decoder.push(Box::new(if blended { op.with_parts(parts_of_gate)? } else { op }));
                    let (h1, h2) = (b.var(batch, hidden), b.var(batch, hidden));
                    for (i, (h, y, act)) in
                        [(c, h1, Elu), (h1, h2, Elu), (h2, y, Activation::None)].into_iter().enumerate()
                    {
                        let (w, bias) = (b.parameter(&format!("decoder.w{i}")), b.parameter(&format!("decoder.b{i}")));
                        let part = |parts: Mat<T>| if blended { parts.rows_at(i * batch, batch) } else { Mat::NONE };
                        let (z, gate) =
                            (Var { grad: part(parts_of_z), ..z }, Var { grad: part(parts_of_gate), ..gate });
                        let layer = BlendLinear::new(b.arena, z, h, gate, w, bias, y, act)?;
                        b.updates.push(layer.update());
                        let last = y.value == b.prediction;
                        decoder.push(Box::new(if last { layer.toward(truth)? } else { layer }));
                    }
                }
                Variant::Posevae => {
                    b.skip_layers(&mut decoder, ["fc4", "fc5", "out"].map(String::from), z, c, hidden, y)?;
                }
                _ => {
                    let [h4, h5, h6] = [(); 3].map(|()| b.var(batch, hidden));
                    b.dense(&mut decoder, "fc4", z, c, h4, Relu)?;
                    b.dense(&mut decoder, "fc5", h4, Var::none(), h5, Relu)?;
                    b.dense(&mut decoder, "fc6", h5, Var::none(), h6, Relu)?;
                    b.dense(&mut decoder, "out", h6, Var::none(), y, Activation::None)?;
                }
            }
            prediction = y.value;
            loss = Loss::Recon(ReconLoss::new(y.value, truth, losses)?);
        }
        let reconcile = if config.position_gain < 1.0 {
            let (x, y, [scale, shift]) = (prediction, b.arena.mat(batch, x_size), parameters.normalization);
            prediction = y;
            Some(Reconcile { x, condition, scale, shift, y, gain: config.position_gain }.check()?)
        } else {
            None
        };
        Ok(Network {
            condition,
            truth,
            eps,
            mu,
            logvar,
            z,
            action,
            gate,
            each,
            pick: drawn,
            code,
            prediction,
            losses,
            encoder,
            latent,
            decoder,
            loss,
            reconcile,
            updates: b.updates,
        })
    }

    /// Appends fresh noise for the reparameterisation.
    pub fn draw_eps(&self, plan: &mut Plan, state: Mat<StepState>) {
        if !self.eps.is_none() {
            normal::push(plan, state, self.eps, Purpose::Eps, 1.0);
        }
    }

    /// Appends the encoder: truth and condition to latent, with the noise in `eps` or the codes.
    pub fn encode(&self, plan: &mut Plan) {
        self.encoder.iter().for_each(|op| op.forward(plan));
        match &self.latent {
            Latent::Gaussian(op) => op.forward(plan),
            Latent::Codebook(op) => op.forward(plan),
        }
    }

    /// Appends a latent from the prior. It is normal with standard deviation `temperature`; for vq
    /// it is a code with equal probabilities, whatever the temperature.
    pub fn sample_prior(&self, plan: &mut Plan, state: Mat<StepState>, temperature: f64) {
        match &self.latent {
            Latent::Gaussian(_) => normal::push(plan, state, self.z.value, Purpose::Prior, temperature),
            Latent::Codebook(_) => normal::push(plan, state, self.action, Purpose::Prior, 1.0),
        }
        self.choose(plan);
    }

    /// Appends the latent that an action stands for: in vq the code of the largest entry of
    /// `action`. Elsewhere an action is z itself and there is nothing to do.
    pub fn choose(&self, plan: &mut Plan) {
        if let Latent::Codebook(op) = &self.latent {
            op.choose(plan);
        }
    }

    /// Appends the decoder: latent and condition to all predictions (and the gate).
    pub fn decode(&self, plan: &mut Plan) {
        self.decoder.iter().for_each(|op| op.forward(plan));
    }

    /// Appends the choice of the expert that predicts: drawn with the step's random numbers, or the
    /// likeliest if there is no `state`.
    pub fn draw_pick(&self, plan: &mut Plan, state: Mat<StepState>) {
        if !self.pick.is_none() {
            pick::push(plan, state, self.gate.value, self.pick);
        }
    }

    /// Appends the one prediction (for specialists, the prediction of `pick`), with its positions
    /// reconciled.
    pub fn predict(&self, plan: &mut Plan) {
        if let Loss::Specialist(op) = &self.loss {
            op.predict(plan);
        }
        self.reconcile.iter().for_each(|op| op.push(plan));
    }

    /// Appends the losses of the prediction.
    pub fn loss(&self, plan: &mut Plan) {
        match &self.loss {
            Loss::Recon(op) => op.forward(plan),
            Loss::Specialist(op) => op.forward(plan),
        }
    }

    /// Appends all gradients of recon + weight * regularizer.
    pub fn backward(&self, plan: &mut Plan) {
        match &self.loss {
            Loss::Recon(op) => op.backward(plan),
            Loss::Specialist(op) => op.backward(plan),
        }
        self.decoder.iter().rev().for_each(|op| op.backward(plan));
        match &self.latent {
            Latent::Gaussian(op) => op.backward(plan),
            Latent::Codebook(op) => op.backward(plan),
        }
        self.encoder.iter().rev().for_each(|op| op.backward(plan));
    }

    /// Appends the update of all parameters, from the gradients that `backward` has left. `squares`
    /// gets the sums of squared gradients of [`Network::tiles`] tiles.
    pub fn update(&self, plan: &mut Plan, optimizer: &Optimizer<T>, squares: Mat<f64>) {
        let (mut first, squares) = (0, squares.reshaped(squares.len(), 1));
        for update in self.updates.iter().rev() {
            update.push(plan, optimizer, squares.rows_at(first, update.tiles()));
            first += update.tiles();
        }
    }

    /// Number of elements of the largest weights of a layer.
    pub fn largest_weights(&self) -> usize {
        self.updates.iter().map(|update| update.w.len()).max().unwrap_or(0)
    }

    /// Number of tiles of all weights.
    pub fn tiles(&self) -> usize {
        self.updates.iter().map(Update::tiles).sum()
    }

    /// Appends the update of the codebook (vq; nothing otherwise).
    pub fn update_codebook(&self, plan: &mut Plan) {
        if let Latent::Codebook(op) = &self.latent {
            op.update(plan);
        }
    }

    /// The sums that an epoch collects of this network; `squares` are the sums of squared gradients
    /// that updates leave.
    pub fn epoch_sums(&self, squares: Mat<f64>) -> EpochSums<T> {
        let (sigma, kl, experts) = match &self.latent {
            Latent::Gaussian(op) => (op.posterior().0, op.posterior().1, self.gate.cols()),
            Latent::Codebook(_) => (Mat::NONE, Mat::NONE, self.action.cols()),
        };
        let gate = self.gate.value;
        EpochSums { losses: self.losses, kl, mu: self.mu.value, sigma, gate, code: self.code, squares, experts }
    }
}

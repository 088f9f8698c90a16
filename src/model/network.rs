//! A network over one batch: its operations, appended to plans forward in order, backward reversed.
use crate::Result;
use crate::config::{ModelConfig, Variant};
use crate::cpu::real::Real;
use crate::model::layout::Parameters;
pub use crate::model::variants::Wanted;
use crate::model::variants::{Builder, Latent, Loss, Operations};
use crate::ops::Operation;
use crate::ops::begin_step::StepState;
use crate::ops::epoch_sums::EpochSums;
use crate::ops::noise::{normal, pick};
use crate::ops::recon_loss::LOSSES;
use crate::ops::reconcile::Reconcile;
use crate::ops::update::{Optimizer, Update};
use crate::philox::Purpose;
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};

/// A network over one batch: its tensors, and its operations, which append themselves to plans.
pub struct Network<T> {
    /// [B, C F] normalised condition frames, newest first.
    pub condition: Mat<T>,
    /// Its gradient, if those of the inputs are wanted.
    pub dcondition: Mat<T>,
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
    /// Its gradient, if those of the inputs are wanted.
    pub dprediction: Mat<T>,
    /// See [`crate::ops::recon_loss::slot`].
    pub losses: Mat<f64>,
    encoder: Operations,
    latent: Latent<T>,
    decoder: Operations,
    loss: Loss<T>,
    /// The position filter, with the gradient of its input.
    reconcile: Option<(Reconcile<T>, Mat<T>)>,
    /// Values that the way back to the inputs needs.
    kept: Vec<Mat<T>>,
    /// Updates of all layers, in the order of `encoder` and `decoder`.
    updates: Vec<Update<T>>,
}

impl<T: Real> Network<T> {
    /// A network over `batch` samples, with places for the `wanted` gradients. `free_bits` is the
    /// KL of a latent dimension that costs nothing, in nats. Errors: shapes that do not fit.
    pub fn new(
        arena: &mut Arena,
        parameters: &Parameters<T>,
        config: &ModelConfig,
        batch: usize,
        free_bits: f64,
        wanted: Wanted,
    ) -> Result<Self> {
        let x_size = config.frame_size * config.future_predictions;
        let mut condition = Var::constant(arena.mat(batch, config.frame_size * config.condition_frames));
        if wanted == Wanted::Inputs {
            condition.grad = arena.mat(condition.rows(), condition.cols());
        }
        let truth = arena.mat(batch, x_size);
        let losses = arena.mat(1, LOSSES);
        let mut b = Builder {
            arena,
            parameters,
            config,
            batch,
            wanted,
            kept: Vec::new(),
            x: Var::constant(truth),
            c: condition,
            losses,
            parts_of_z: Mat::NONE,
            parts_of_gate: Mat::NONE,
            prediction: Mat::NONE,
            updates: Vec::new(),
        };
        let z = b.var(batch, config.latent_size);
        if wanted == Wanted::Inputs {
            // The latent is given, and the encoder is not part of the way.
            (b.wanted, b.c) = (Wanted::Nothing, Var::constant(condition.value));
        }
        let mu = b.var(batch, config.latent_size);
        if wanted == Wanted::Parameters && config.variant == Variant::Mixture {
            b.parts_of_z = b.arena.mat(3 * batch, config.latent_size);
            b.parts_of_gate = b.arena.mat(3 * batch, config.experts);
        }
        let encoder = match config.variant {
            Variant::Vq => b.codebook(mu, z)?,
            Variant::Posevae => b.gaussian("", mu, z, free_bits)?,
            Variant::Mixture | Variant::Specialist => b.gaussian("encoder.", mu, z, free_bits)?,
        };
        (b.wanted, b.c) = (wanted, condition);
        let decoder = match config.variant {
            Variant::Mixture => b.mixture(z)?,
            Variant::Posevae => b.posevae(z)?,
            Variant::Specialist => b.specialist(z)?,
            Variant::Vq => b.vq(z)?,
        };
        let mut prediction = decoder.prediction;
        let reconcile = if config.position_gain < 1.0 {
            let (x, y, [scale, shift]) = (prediction, b.var(batch, x_size), parameters.normalization);
            prediction = y;
            let (gain, condition, y) = (config.position_gain, condition.value, y.value);
            Some((Reconcile { x: x.value, condition, scale, shift, y, gain }.check()?, x.grad))
        } else {
            None
        };
        let kept = if wanted == Wanted::Inputs { b.kept } else { Vec::new() };
        Ok(Network {
            condition: condition.value,
            dcondition: condition.grad,
            truth,
            eps: encoder.eps,
            mu,
            logvar: encoder.logvar,
            z,
            action: encoder.action,
            gate: decoder.gate,
            each: decoder.each,
            pick: decoder.pick,
            code: encoder.code,
            prediction: prediction.value,
            dprediction: prediction.grad,
            losses,
            encoder: encoder.operations,
            latent: encoder.latent,
            decoder: decoder.operations,
            loss: decoder.loss,
            reconcile,
            kept,
            updates: b.updates,
        })
    }

    /// Appends fresh noise for the reparameterisation.
    pub(crate) fn draw_eps(&self, plan: &mut Plan, state: Mat<StepState>) {
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
    pub(crate) fn sample_prior(&self, plan: &mut Plan, state: Mat<StepState>, temperature: f64) {
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
        self.reconcile.iter().for_each(|(op, _)| op.push(plan));
    }

    /// Values that [`Network::pull`] needs of the pass forward; the condition aside.
    pub(crate) fn kept(&self) -> &[Mat<T>] {
        &self.kept
    }

    /// Appends the gradients of latent and condition from that of the prediction. The decoder has
    /// to be one whose prediction is smooth: neither `vq` nor `specialist`.
    pub(crate) fn pull(&self, plan: &mut Plan) {
        if let Some((op, dx)) = &self.reconcile {
            op.backward(plan, self.dprediction, *dx, self.dcondition);
        }
        self.decoder.iter().rev().for_each(|op| op.backward(plan));
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
    pub(crate) fn largest_weights(&self) -> usize {
        self.updates.iter().map(|update| update.w.len()).max().unwrap_or(0)
    }

    /// Number of tiles of all weights.
    pub fn tiles(&self) -> usize {
        self.updates.iter().map(Update::tiles).sum()
    }

    /// Appends the update of the codebook (vq; nothing otherwise).
    pub(crate) fn update_codebook(&self, plan: &mut Plan) {
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

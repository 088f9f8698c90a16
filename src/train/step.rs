//! The training step as a plan: next window, forward pass, losses, backward pass, Adam, sums. One
//! plan serves every step.
use crate::Result;
use crate::backend::Memory;
use crate::checkpoint::state::Kept;
use crate::config::ModelConfig;
use crate::cpu::real::Real;
use crate::model::layout::{Layout, Parameters};
use crate::model::network::{Network, Wanted};
use crate::ops::begin_step::{self, StepState};
use crate::ops::epoch_sums::EpochSums;
use crate::ops::kl_weight::{self, CONTROLLER, KlWeight, Rule};
use crate::ops::recon_loss::LOSSES;
use crate::ops::update::Optimizer;
use crate::ops::window::{self, Window};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat};

/// Parameters of a [`TrainStep`].
pub struct StepOptions<'a> {
    /// The network's sizes.
    pub model: &'a ModelConfig,
    /// B: samples of a mini-batch.
    pub batch: usize,
    /// Rule for the KL weight.
    pub kl_rule: Rule,
    /// KL of a latent dimension that costs nothing, nats.
    pub free_bits: f64,
    /// Adam: beta1, beta2, eps.
    pub adam: [f64; 3],
    /// Mini-batches of an epoch, for whose starts there is room.
    pub minibatches: usize,
    /// Steps of a rollout.
    pub rollout: usize,
    /// Whether noise and specialists are drawn on the device; otherwise `eps` and `pick` keep the
    /// values written into them.
    pub draw: bool,
}

/// The tensors of a training step, and its plan.
pub struct TrainStep<T> {
    /// The network over one mini-batch.
    pub network: Network<T>,
    /// States of the steps of an epoch, [minibatches * rollout].
    pub schedule: Mat<StepState>,
    /// \[0\] the index of the next entry of the schedule.
    pub cursor: Mat<u32>,
    /// The current entry of the schedule.
    pub state: Mat<StepState>,
    /// [minibatches, B] first condition frame of each window.
    pub starts: Mat<u32>,
    /// Memory of the KL weight's rule from step to step.
    pub controller: Mat<f64>,
    /// Sums of the epoch so far.
    pub sums: Mat<f64>,
    /// The layout of the sums.
    pub epoch_sums: EpochSums<T>,
    /// Plan of one optimizer step.
    pub plan: Plan,
    /// Plan that repeats encoder, decoder and losses of the current step, to find where a number
    /// stopped being finite.
    pub forward: Plan,
}

impl TrainStep<f32> {
    /// The tensors that a checkpoint keeps beside the parameters: the epoch's sums, the memory of
    /// the KL weight's rule, and more if training stands `within` a rollout.
    pub fn kept(&self, within: bool) -> Vec<(&'static str, Kept)> {
        let n = &self.network;
        let rollout = [
            ("trainer.condition", Kept::Single(n.condition)),
            ("trainer.prediction", Kept::Single(n.prediction)),
            ("trainer.truth", Kept::Single(n.truth)),
        ];
        [("trainer.sums", Kept::Double(self.sums)), ("trainer.controller", Kept::Double(self.controller))]
            .into_iter()
            .chain(rollout.into_iter().filter(|_| within))
            .collect()
    }
}

impl<T: Real> TrainStep<T> {
    /// Lays out a training step over `data` [frames, F] (normalised) and `parameters`, which are
    /// [updated](Parameters::updated). Errors: shapes that do not fit.
    pub fn new(arena: &mut Arena, parameters: &Parameters<T>, data: Mat<T>, o: &StepOptions) -> Result<Self> {
        let network = Network::new(arena, parameters, o.model, o.batch, o.free_bits, Wanted::Parameters)?;
        let schedule = arena.mat(1, o.minibatches * o.rollout);
        let (cursor, state) = (arena.mat(1, 2), arena.mat(1, 1));
        let starts = arena.mat(o.minibatches, o.batch);
        let controller = arena.mat(1, CONTROLLER);
        let kept = (arena.mat(1, 1), arena.mat(1, LOSSES));
        let squares = arena.mat(1, network.tiles());
        let epoch_sums = network.epoch_sums(squares);
        let sums = epoch_sums.place(arena);

        let forward = |plan: &mut Plan| {
            network.encode(plan);
            network.decode(plan);
            if o.draw {
                network.draw_pick(plan, state);
            }
            network.predict(plan);
            network.loss(plan);
        };
        let mut plan = Plan::default();
        let (prediction, condition, truth, losses) =
            (network.prediction, network.condition, network.truth, network.losses);
        window::push(&mut plan, &Window { data, starts, schedule, cursor, prediction, losses, condition, truth });
        begin_step::push::<T>(&mut plan, schedule, losses, cursor, state);
        if o.draw {
            network.draw_eps(&mut plan, state);
        }
        forward(&mut plan);
        kl_weight::push::<T>(&mut plan, &KlWeight { state, losses, controller, kept, rule: o.kl_rule });
        network.backward(&mut plan);
        network.update_codebook(&mut plan);
        let (values, moments) = (parameters.values, [parameters.m, parameters.v]);
        let gradient = arena.mat(1, network.largest_weights());
        let optimizer = Optimizer { values, moments, gradient, state: kept.0, losses: kept.1, adam: o.adam };
        network.update(&mut plan, &optimizer, squares);
        epoch_sums.push(&mut plan, sums);

        let mut again = Plan::default();
        forward(&mut again);
        let forward = again;
        Ok(TrainStep { network, schedule, cursor, state, starts, controller, sums, epoch_sums, plan, forward })
    }

    /// Names the first operation whose output is not finite in the step at which training stands
    /// still, with the output and the layer. Runs the forward calls of the step again, one by one.
    /// Errors: those of the backend.
    pub fn culprit(&self, memory: &mut Memory, parameters: &Parameters<T>) -> Result<String> {
        let bad = |mat: Mat<T>| Ok::<_, crate::Error>(memory.read(mat)?.iter().any(|x| !x.f64().is_finite()));
        if bad(self.network.condition)? {
            return Ok("window (condition: the last prediction was not finite)".into());
        }
        if bad(self.network.truth)? {
            return Ok("window (truth)".into());
        }
        // Each call writes only some losses of the buffer. Without zeros, the first call would be
        // blamed for losses left by the step itself.
        memory.write(self.network.losses, &vec![0.0; self.network.losses.len()])?;
        Ok(match memory.first_nonfinite(&self.forward)? {
            None => "kl_weight (losses)".into(),
            Some((call, field)) => {
                let of = parameters.layer(call).map_or(String::new(), |layer| format!(" of {layer}"));
                format!("{} ({}){of}", call.kernel(), field.name)
            }
        })
    }
}

/// Writes the initial values of all parameters. Errors: those of the backend.
pub fn initialize<T: Real>(memory: &mut Memory, parameters: &Parameters<T>, seed: u64) -> Result<()> {
    let values: Vec<T> = Layout::initial(&parameters.layout, seed);
    memory.write(parameters.values, &values)
}

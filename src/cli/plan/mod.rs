//! `mvae-fast plan`: shows a training step as it runs, without running it: its calls, what waits
//! for what, and the modelled time.
mod step;
mod text;

use super::print::print_report;
use crate::backend::Engine;
use crate::backend::persistent::phases::{estimate, phases};
use crate::backend::persistent::{KEPT, THREADS};
use crate::config::layers::flag;
use crate::config::{Config, ModelConfig, Overrides, Variant};
use crate::host::toml as toml_file;
use crate::model::layout::{Layout, Parameters};
use crate::ops::kl_weight::Rule;
use crate::plan::arena::Arena;
use crate::plan::dependencies::dependencies;
use crate::plan::{Call, Field, Plan, Precision};
use crate::train::step::{StepOptions, TrainStep};
use crate::{Error, Result};
use clap::Args;
use std::num::NonZeroU32;
use std::path::PathBuf;
use step::{Graph, OneLaunch, ShownCall, Step, Tensor, Wait};

/// Upper bound on the number of multiprocessors, above that of any device.
const MAX_BLOCKS: u32 = 1024;
/// Frames of the data that a step is laid out over.
const FRAMES: usize = 20_000;

pub const HELP: &str = "\
Nothing runs, and no device is looked for. Times are those of a model of an H100, not measured.
docs/engines.md explains the words and the names in the JSON.

Examples:
  mvae-fast plan                          calls of a graph, and what each waits for
  mvae-fast plan --engine persistent      phases of a step in one launch
  mvae-fast plan --config runs/walk/config.toml --json";

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which network
    #[arg(long)]
    pub variant: Option<Variant>,
    /// L: entries of the latent
    #[arg(long)]
    pub latent_size: Option<usize>,
    /// H: width of the hidden layers; 0 = the variant's own (256, specialist 128, vq 512)
    #[arg(long)]
    pub hidden_size: Option<usize>,
    /// Width of the gate's hidden layers (mixture)
    #[arg(long)]
    pub gate_hidden_size: Option<usize>,
    /// E: experts (mixture, specialist)
    #[arg(long)]
    pub experts: Option<usize>,
    /// N: entries of the codebook (vq)
    #[arg(long)]
    pub codes: Option<usize>,
    /// C: frames the model is conditioned on
    #[arg(long)]
    pub condition_frames: Option<usize>,
    /// K: frames predicted at once
    #[arg(long)]
    pub future_predictions: Option<usize>,
    /// Smallest share of the predicted joint positions in those of a frame; 1 = as predicted,
    /// without the call that joins them
    #[arg(long)]
    pub position_gain: Option<f64>,
    /// B: rollouts in a mini-batch
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// TOML file of configuration keys, such as a run's config.toml; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Features of a frame
    #[arg(long, value_name = "N", default_value_t = 267)]
    pub features: usize,
    /// The engine that launches the calls; auto is graph
    #[arg(long, default_value_t = Engine::Graph)]
    pub engine: Engine,
    /// Multiprocessors of the device; persistent has a block on each
    #[arg(long, value_name = "N", default_value = "132")]
    pub blocks: NonZeroU32,
    /// Of matrix products
    #[arg(long, default_value_t = Precision::Bf16x3)]
    pub precision: Precision,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// Lays out the step and prints it.
pub fn plan(args: &PlanArgs) -> Result<()> {
    let step = args.step()?;
    print_report(&step, args.json, Ok(()))
}

impl PlanArgs {
    fn configuration(&self) -> Result<Config> {
        let none = Overrides::default();
        let flags = Overrides {
            variant: self.variant,
            latent_size: self.latent_size,
            hidden_size: self.hidden_size,
            gate_hidden_size: self.gate_hidden_size,
            experts: self.experts,
            codes: self.codes,
            condition_frames: self.condition_frames,
            future_predictions: self.future_predictions,
            position_gain: self.position_gain,
            batch_size: self.batch_size,
            ..none.clone()
        };
        let text = self.config.as_deref().map(toml_file::read).transpose()?;
        let file = self.config.as_deref().zip(text.as_deref());
        let config = Config::layered(None, file, &none, &flags)?;
        config.fits(self.features, &|key| if key == "frame_size" { "--features".to_owned() } else { flag(key) })?;
        Ok(config)
    }

    /// The training step, as the engine runs it.
    fn step(&self) -> Result<Step> {
        let config = self.configuration()?;
        let (precision, blocks) = (self.precision, self.blocks.get());
        if blocks > MAX_BLOCKS {
            return Err(Error::Usage(format!("--blocks is {blocks}, expected at most {MAX_BLOCKS}")));
        }
        let engine = if self.engine == Engine::Auto { Engine::Graph } else { self.engine };
        let model = config.model(self.features);
        let laid_out = LaidOut::new(&config, &model)?;
        let plan = laid_out.plan.calls();
        let persistent = engine == Engine::Persistent;
        let mut calls = laid_out.calls(precision, persistent.then_some(THREADS));
        let times: Vec<f64> = plan.iter().map(|call| estimate::node(call, precision, blocks)).collect();
        let (graph, one_launch) = if persistent {
            let phases = phases(plan, precision, blocks, KEPT);
            (None, Some(OneLaunch::new(&phases, plan, &calls, precision, blocks)))
        } else {
            calls.iter_mut().zip(&times).for_each(|(call, time)| call.us = Some(*time));
            (Some(Graph::new(plan, &times)), None)
        };
        let modelled_us = match (&graph, &one_launch) {
            (_, Some(launch)) => launch.step_us,
            (Some(graph), _) if engine == Engine::Graph => graph.chain_us,
            _ => times.iter().sum(),
        };
        Ok(Step {
            batch_size: config.batch_size,
            model,
            engine,
            precision,
            blocks,
            modelled_us,
            calls,
            graph,
            one_launch,
        })
    }
}

/// A training step in an arena that is never allocated.
struct LaidOut {
    arena: Arena,
    parameters: Parameters<f32>,
    plan: Plan,
}

impl LaidOut {
    fn new(config: &Config, model: &ModelConfig) -> Result<Self> {
        let mut arena = Arena::default();
        let layout = Layout::of(model, config.expert_init, config.codebook_init);
        let parameters = Parameters::updated(&mut arena, layout);
        let data = arena.mat(FRAMES, model.frame_size);
        let options = StepOptions {
            model,
            batch: config.batch_size,
            // The rule is a number among the arguments of a call.
            kl_rule: Rule::Fixed(1.0),
            free_bits: config.free_bits,
            adam: [config.adam_beta1, config.adam_beta2, config.adam_eps],
            minibatches: 1,
            rollout: config.rollout,
            draw: true,
        };
        let plan = TrainStep::new(&mut arena, &parameters, data, &options)?.plan;
        Ok(LaidOut { arena, parameters, plan })
    }

    /// The calls, each with this many threads a block, if they are given, and without times.
    fn calls(&self, precision: Precision, threads: Option<u32>) -> Vec<ShownCall> {
        let (calls, n) = (self.plan.calls(), self.plan.calls().len());
        // From the second step on, all are alike.
        let waits = dependencies(calls, 2).split_off(n);
        let wait = |node: usize| Wait { steps_before: 1 - node / n, call: node % n + 1 };
        let shown = |(i, (call, waits)): (usize, (&Call, Vec<usize>))| {
            let mut waits_for: Vec<Wait> = waits.into_iter().map(wait).collect();
            waits_for.sort_unstable();
            let grid = call.variant(precision).1;
            let tensors = |writes: bool| {
                let fields = call.kernel_fields().filter(|f| !f.bytes.is_empty());
                fields.filter(|f| call.output(f).is_some() == writes).map(|f| self.tensor(f)).collect()
            };
            ShownCall {
                call: i + 1,
                kernel: call.kernel(),
                layer: self.parameters.layer(call).map(str::to_owned),
                blocks: grid.blocks,
                threads: threads.unwrap_or(grid.threads),
                shares: call.shares(),
                reads: tensors(false),
                writes: tensors(true),
                waits_for,
                product: call.product(),
                step: call.product().map(|product| (product.copies(), estimate::instructions(&product))),
                us: None,
            }
        };
        calls.iter().zip(waits).enumerate().map(shown).collect()
    }

    fn tensor(&self, field: &Field) -> Tensor {
        let p = &self.parameters;
        // Moments have places for trainable tensors alone.
        let tensors = |trained: bool| p.layout.tensors.iter().filter(move |tensor| tensor.trainable || !trained);
        let starts = |of, trained| tensors(trained).find(|tensor| p.place(of, tensor).offset() == field.bytes.start);
        let named = starts(p.values, false).or_else(|| starts(p.m, true)).or_else(|| starts(p.v, true));
        let elements = field.bytes.len() / field.element;
        let shape =
            named.map(|tensor| tensor.shape.clone()).filter(|shape| shape.iter().product::<usize>() == elements);
        Tensor {
            name: field.name,
            shape: shape.unwrap_or_else(|| self.arena.shape(&field.bytes, field.element).to_vec()),
            parameter: named.map(|tensor| tensor.name.clone()),
            bytes: field.bytes.len(),
        }
    }
}

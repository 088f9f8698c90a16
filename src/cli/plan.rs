//! `mvae-fast plan`: shows a training step as it runs, without running it: its calls, what waits
//! for what, and the modelled time.
use super::print::print_report;
use crate::backend::Engine;
use crate::backend::persistent::phases::{Phases, Row, estimate, phases};
use crate::backend::persistent::{KEPT, THREADS};
use crate::config::layers::flag;
use crate::config::{Config, ModelConfig, Overrides, Variant};
use crate::host::shown::counted;
use crate::host::toml as toml_file;
use crate::model::layout::{Layout, Parameters};
use crate::ops::kl_weight::Rule;
use crate::plan::arena::Arena;
use crate::plan::dependencies::{dependencies, longest_chain};
use crate::plan::{Call, Field, Plan, Precision};
use crate::train::step::{StepOptions, TrainStep};
use crate::{Error, Result};
use clap::Args;
use serde::Serialize;
use std::fmt::{self, Write};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// Upper bound on the number of multiprocessors, above that of any device.
const MAX_BLOCKS: u32 = 1024;
/// Frames of the data that a step is laid out over.
const FRAMES: usize = 20_000;
/// Columns of a line.
const COLUMNS: usize = 100;

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

/// A training step as an engine runs it. Calls count from 1.
#[derive(Serialize)]
struct Step {
    model: ModelConfig,
    batch_size: usize,
    #[serde(serialize_with = "as_said")]
    engine: Engine,
    #[serde(serialize_with = "as_said")]
    precision: Precision,
    blocks: u32,
    modelled_us: f64,
    calls: Vec<ShownCall>,
    #[serde(flatten)]
    graph: Option<Graph>,
    #[serde(flatten)]
    one_launch: Option<OneLaunch>,
}

/// Writes a value as on the command line.
fn as_said<S: serde::Serializer>(value: &impl fmt::Display, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A call.
#[derive(Serialize)]
struct ShownCall {
    call: usize,
    kernel: &'static str,
    layer: Option<String>,
    blocks: u32,
    threads: u32,
    shares: Option<u32>,
    reads: Vec<Tensor>,
    writes: Vec<Tensor>,
    waits_for: Vec<Wait>,
    /// Microseconds as a node of a graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    us: Option<f64>,
}

/// A tensor argument.
#[derive(Serialize)]
struct Tensor {
    name: &'static str,
    shape: Vec<usize>,
    /// The parameter that it is, or whose moments it is.
    parameter: Option<String>,
    bytes: usize,
}

/// A call that another waits for.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Wait {
    steps_before: usize,
    call: usize,
}

/// The time of a step whose calls are nodes of a graph.
#[derive(Serialize)]
struct Graph {
    /// The calls of the longest chain.
    chain: Vec<usize>,
    chain_us: f64,
    one_after_another_us: f64,
}

/// A step of the engine `persistent`.
#[derive(Serialize)]
struct OneLaunch {
    #[serde(skip)]
    step_us: f64,
    idle_us: f64,
    without_floating_us: f64,
    kept_bytes: usize,
    phases: Vec<Phase>,
}

/// A phase; its rows are in the order in which a block goes through them.
#[derive(Serialize)]
struct Phase {
    phase: usize,
    us: f64,
    rows: Vec<ShownRow>,
}

/// A row of the table.
#[derive(Serialize)]
struct ShownRow {
    does: Does,
    call: usize,
    late: usize,
    kernel: &'static str,
    layer: Option<String>,
    /// The shares from the first up to, but not including, the second.
    shares: Option<[u32; 2]>,
    blocks: u32,
    first_block: u32,
    /// The most microseconds that it takes a block.
    us: f64,
    /// Blocks on which moments stay.
    resident_on: usize,
}

/// The work that a row stands for.
#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Does {
    Runs,
    Fetches,
    Floats,
}

impl Graph {
    fn new(plan: &[Call], times: &[f64]) -> Self {
        let longest = longest_chain(plan, times);
        let chain = longest.calls.into_iter().map(|call| call + 1).collect();
        Graph { chain, chain_us: longest.time, one_after_another_us: times.iter().sum() }
    }

    fn show(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let calls: Vec<String> = self.chain.iter().map(usize::to_string).collect();
        writeln!(f, "\nby the model, not measured:")?;
        let longest =
            format!("{:.1} us a step for the longest chain, {}: ", self.chain_us, counted(calls.len(), "call"));
        writeln!(f, "{}", wrapped(longest, &calls, ", ", 2))?;
        writeln!(f, "{:.1} us a step for all calls one after another", self.one_after_another_us)
    }
}

impl OneLaunch {
    fn new(phases: &Phases, plan: &[Call], calls: &[ShownCall], precision: Precision, blocks: u32) -> Self {
        let costs = phases.costs(plan, precision, blocks);
        let row = |(row, cost): &(&Row, estimate::Cost)| ShownRow {
            does: match (row.fetches, row.floats) {
                (true, _) => Does::Fetches,
                (false, true) => Does::Floats,
                (false, false) => Does::Runs,
            },
            call: row.part.call + 1,
            late: row.late,
            kernel: calls[row.part.call].kernel,
            layer: calls[row.part.call].layer.clone(),
            shares: plan[row.part.call].shares().map(|_| [row.part.shares.start, row.part.shares.end]),
            blocks: cost.tiles.min(blocks),
            first_block: row.first_block,
            us: cost.most(row, blocks),
            resident_on: row.resident_on(),
        };
        let rows = |phase| costs.iter().filter(move |(row, _)| row.phase == phase).map(row).collect();
        let times = estimate::phases(&costs, blocks);
        let shown = times.into_iter().enumerate().map(|(i, us)| Phase { phase: i + 1, us, rows: rows(i) });
        let [step_us, idle_us] = phases.modelled(plan, precision, blocks);
        let [without_floating_us, _] = phases.without_floating().modelled(plan, precision, blocks);
        let shown = shown.collect();
        OneLaunch { step_us, idle_us, without_floating_us, kept_bytes: phases.kept, phases: shown }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let m = &self.model;
        writeln!(
            f,
            "a training step of {} at {} features, batch {}, hidden {}, latent {}: {}",
            m.variant.name(),
            m.frame_size,
            self.batch_size,
            m.hidden_size,
            m.latent_size,
            counted(self.calls.len(), "call"),
        )?;
        let starts = match self.engine {
            Engine::Graph | Engine::Auto => "a call starts when those that it waits for are over",
            Engine::Calls | Engine::Pdl => "calls start in this order",
            Engine::Persistent => "calls in one launch, in the phases below",
        };
        let (engine, precision, blocks) = (&self.engine, &self.precision, self.blocks);
        writeln!(f, "engine {engine}, {precision}, {blocks} multiprocessors: {starts}")?;
        let on_chain = |call: usize| self.graph.as_ref().is_some_and(|graph| graph.chain.contains(&call));
        let (mark, us) = if self.graph.is_some() { ("; * on the longest chain", "us") } else { ("", "") };
        writeln!(f, "below each call: its tensors, reads -> writes; ' of the step before{mark}\n")?;
        let waits = if self.engine == Engine::Graph { "waits for" } else { "comes after" };
        writeln!(f, "{:>5} {:<26} {:<16} {:>6} x {:<7} {us:>5}  {waits}", "call", "kernel", "of", "blocks", "threads")?;
        for call in &self.calls {
            call.show(f, if on_chain(call.call) { "*" } else { "" })?;
        }
        self.graph.iter().try_for_each(|graph| graph.show(f))?;
        self.one_launch.iter().try_for_each(|launch| launch.show(f))?;
        if self.precision == Precision::Fp32 {
            writeln!(f, "the model knows products on tensor cores alone: those of fp32 take longer")?;
        }
        Ok(())
    }
}

impl ShownCall {
    fn show(&self, f: &mut fmt::Formatter, mark: &str) -> fmt::Result {
        let of = self.layer.as_deref().unwrap_or_default();
        let us = self.us.map_or(String::new(), |us| format!("{us:.2}"));
        let number = format!("{mark}{}", self.call);
        let begin =
            format!("{number:>5} {:<26} {of:<16} {:>6} x {:<7} {us:>5}  ", self.kernel, self.blocks, self.threads);
        let waits = self.waits_for.iter().map(|wait| format!("{}{}", wait.call, "'".repeat(wait.steps_before)));
        let waits = wrapped(begin.clone(), &waits.collect::<Vec<_>>(), ", ", begin.len());
        writeln!(f, "{}", waits.trim_end())?;
        let tensors = |of: &[Tensor]| of.iter().map(Tensor::show).collect::<Vec<_>>();
        let (mut all, writes) = (tensors(&self.reads), tensors(&self.writes));
        let written = writes.iter().enumerate().map(|(i, t)| if i == 0 { format!("-> {t}") } else { t.clone() });
        all.extend(written);
        writeln!(f, "{}", wrapped(" ".repeat(6), &all, "  ", 6))
    }
}

impl Tensor {
    fn show(&self) -> String {
        let shape: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        format!("{} {}", self.name, shape.join("x"))
    }
}

impl OneLaunch {
    fn show(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let rows: Vec<&ShownRow> = self.phases.iter().flat_map(|phase| &phase.rows).collect();
        writeln!(f, "\n{} of {}", counted(self.phases.len(), "phase"), counted(rows.len(), "row"))?;
        writeln!(f, "runs: before a block arrives; fetches: only the weights, for the phase after;")?;
        writeln!(f, "floats: done when the phase after ends; stays: blocks on which moments are resident\n")?;
        writeln!(
            f,
            "{:>5} {:>5} {:<7} {:>4}  {:<26} {:<17} {:>9} {:>6} {:>5} {:>5}",
            "phase", "us", "", "call", "kernel", "of", "shares", "blocks", "us", "stays"
        )?;
        for phase in &self.phases {
            for (i, row) in phase.rows.iter().enumerate() {
                let begin = if i == 0 { format!("{:>5} {:>5.2}", phase.phase, phase.us) } else { String::new() };
                writeln!(f, "{begin:<11} {}", row.show().trim_end())?;
            }
        }
        let stays = rows.iter().map(|row| row.resident_on).sum::<usize>();
        writeln!(f, "\nby the model, not measured: {:.1} us a step,", self.step_us)?;
        writeln!(f, "  {:.1} us of it an average block waits,", self.idle_us)?;
        writeln!(f, "  {:.1} us if what floats took no time", self.without_floating_us)?;
        let kept = self.kept_bytes / 1024;
        writeln!(f, "a block keeps {kept} KB of shared memory; in all, moments of {stays} tiles and more are resident")
    }
}

impl ShownRow {
    fn show(&self) -> String {
        let does = match self.does {
            Does::Runs => "runs",
            Does::Fetches => "fetches",
            Does::Floats => "floats",
        };
        let (of, late) = (self.layer.as_deref().unwrap_or_default(), "'".repeat(self.late));
        let shares = self.shares.map_or(String::new(), |[first, end]| format!("{first}..{end}"));
        let stays = if self.resident_on > 0 { self.resident_on.to_string() } else { String::new() };
        let (call, kernel, blocks, us) = (self.call, self.kernel, self.blocks, self.us);
        format!("{does:<7} {call:>4}{late:<1} {kernel:<26} {of:<17} {shares:>9} {blocks:>6} {us:>5.2} {stays:>5}")
    }
}

/// The words behind `begin`, with a separator between them. Lines that would be too long go on in
/// the next one, behind this many spaces.
fn wrapped(begin: String, words: &[String], separator: &str, indent: usize) -> String {
    let (mut text, mut at) = (begin.clone(), begin.chars().count());
    for (i, word) in words.iter().enumerate() {
        let last = i + 1 == words.len();
        let with = if last { word.clone() } else { format!("{word}{separator}") };
        if i > 0 && at + with.trim_end().len() > COLUMNS {
            text.truncate(text.trim_end().len());
            write!(text, "\n{}", " ".repeat(indent)).expect("memory takes every write");
            at = indent;
        }
        text.push_str(&with);
        at += with.len();
    }
    text
}

//! A training step as an engine runs it, in the form that is printed as JSON.
use crate::backend::Engine;
use crate::backend::persistent::phases::{Phases, Row, estimate};
use crate::config::ModelConfig;
use crate::plan::dependencies::longest_chain;
use crate::plan::{Call, Precision, Product};
use serde::Serialize;
use std::fmt;

/// A training step as an engine runs it. Calls count from 1.
#[derive(Serialize)]
pub(super) struct Step {
    pub model: ModelConfig,
    pub batch_size: usize,
    #[serde(serialize_with = "as_said")]
    pub engine: Engine,
    #[serde(serialize_with = "as_said")]
    pub precision: Precision,
    pub blocks: u32,
    pub modelled_us: f64,
    pub calls: Vec<ShownCall>,
    #[serde(flatten)]
    pub graph: Option<Graph>,
    #[serde(flatten)]
    pub one_launch: Option<OneLaunch>,
}

/// Writes a value as on the command line.
fn as_said<S: serde::Serializer>(value: &impl fmt::Display, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A call.
#[derive(Serialize)]
pub(super) struct ShownCall {
    pub call: usize,
    pub kernel: &'static str,
    pub layer: Option<String>,
    pub blocks: u32,
    pub threads: u32,
    pub shares: Option<u32>,
    pub reads: Vec<Tensor>,
    pub writes: Vec<Tensor>,
    pub waits_for: Vec<Wait>,
    /// The matrix product that it computes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
    /// Its copies of 16 and of 4 bytes in a step of 16 inner indices, and the modelled instructions
    /// of a warp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<([usize; 2], f64)>,
    /// Microseconds as a node of a graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub us: Option<f64>,
}

/// A tensor argument.
#[derive(Serialize)]
pub(super) struct Tensor {
    pub name: &'static str,
    pub shape: Vec<usize>,
    /// The parameter that it is, or whose moments it is.
    pub parameter: Option<String>,
    pub bytes: usize,
}

/// A call that another waits for.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Wait {
    pub steps_before: usize,
    pub call: usize,
}

/// The time of a step whose calls are nodes of a graph.
#[derive(Serialize)]
pub(super) struct Graph {
    /// The calls of the longest chain.
    pub chain: Vec<usize>,
    pub chain_us: f64,
    pub one_after_another_us: f64,
}

/// A step of the engine `persistent`.
#[derive(Serialize)]
pub(super) struct OneLaunch {
    #[serde(skip)]
    pub step_us: f64,
    pub idle_us: f64,
    pub without_floating_us: f64,
    pub kept_bytes: usize,
    pub phases: Vec<Phase>,
}

/// A phase; its rows are in the order in which a block goes through them.
#[derive(Serialize)]
pub(super) struct Phase {
    pub phase: usize,
    pub us: f64,
    pub rows: Vec<ShownRow>,
}

/// A row of the table.
#[derive(Serialize)]
pub(super) struct ShownRow {
    pub does: Does,
    pub call: usize,
    pub late: usize,
    pub kernel: &'static str,
    pub layer: Option<String>,
    /// The shares from the first up to, but not including, the second.
    pub shares: Option<[u32; 2]>,
    pub blocks: u32,
    pub first_block: u32,
    /// The most microseconds that it takes a block.
    pub us: f64,
    /// Blocks on which moments stay.
    pub resident_on: usize,
}

/// The work that a row stands for.
#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Does {
    Runs,
    Fetches,
    Floats,
}

impl Graph {
    pub fn new(plan: &[Call], times: &[f64]) -> Self {
        let longest = longest_chain(plan, times);
        let chain = longest.calls.into_iter().map(|call| call + 1).collect();
        Graph { chain, chain_us: longest.time, one_after_another_us: times.iter().sum() }
    }
}

impl OneLaunch {
    pub fn new(phases: &Phases, plan: &[Call], calls: &[ShownCall], precision: Precision, blocks: u32) -> Self {
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

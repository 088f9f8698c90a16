//! The state of a run in a checkpoint, written from the arena and read back bit for bit.
//!
//! It has parameters under their state-dict names, Adam's moments, normalisation, the epoch's sums
//! so far and the memory of the KL weight's rule.
use crate::Result;
use crate::backend::Memory;
use crate::checkpoint::{Checkpoint, Meta, Tensor};
use crate::config::Normalization;
use crate::data::normalize::Statistics;
use crate::error::Error;
use crate::model::layout::Parameters;
use crate::plan::arena::Mat;
use std::path::Path;

/// The tensors that outlive a step.
pub struct State<'a> {
    /// Parameters, gradients and moments.
    parameters: &'a Parameters<f32>,
    /// Statistics of the training frames.
    statistics: &'a Statistics,
    kept: Kept,
}

/// Tensors of a step that a resumed run needs, by name.
pub struct Kept {
    /// The sums of the epoch, and the memory of the rule of the KL weight.
    pub trainer: [(&'static str, Mat<f64>); 2],
    /// Further tensors for a run that resumes within a rollout.
    pub rollout: [(&'static str, Mat<f32>); 3],
}

const STATISTICS: [&str; 4] = ["max", "min", "avg", "std"];
/// Name of the weights of the features' errors, among the statistics; absent if all weights are 1.
const WEIGHT: &str = "normalization.weight";

impl<'a> State<'a> {
    /// The state of a run with these parameters, statistics and tensors of its step.
    pub fn new(parameters: &'a Parameters<f32>, statistics: &'a Statistics, kept: Kept) -> Self {
        State { parameters, statistics, kept }
    }

    /// Writes a checkpoint of everything. Errors: those of the backend and of the disk.
    pub fn save(&self, memory: &Memory, meta: Meta, path: &Path) -> Result<()> {
        let p = self.parameters;
        let mut tensors = Vec::new();
        for tensor in &p.layout.tensors {
            tensors.push(Tensor::f32(&tensor.name, &tensor.shape, memory.read(p.place(p.values, tensor))?));
            if tensor.trainable {
                for (moment, of) in [("m", p.m), ("v", p.v)] {
                    let values = memory.read(p.place(of, tensor))?;
                    tensors.push(Tensor::f32(format!("adam.{moment}.{}", tensor.name), &tensor.shape, values));
                }
            }
        }
        let s = self.statistics;
        for (name, values) in STATISTICS.into_iter().zip([&s.max, &s.min, &s.avg, &s.std]) {
            tensors.push(Tensor::f64(format!("normalization.{name}"), &[values.len()], values.as_slice()));
        }
        if s.weight.iter().any(|&weight| weight != 1.0) {
            tensors.push(Tensor::f64(WEIGHT, &[s.weight.len()], s.weight.as_slice()));
        }
        for (name, mat) in self.kept.trainer {
            tensors.push(Tensor::f64(format!("trainer.{name}"), &[mat.len()], memory.read(mat)?));
        }
        if is_within_rollout(&meta) {
            for (name, mat) in self.kept.rollout {
                tensors.push(Tensor::f32(format!("trainer.{name}"), &[mat.len()], memory.read(mat)?));
            }
        }
        Checkpoint { tensors, meta: Some(meta) }.save(path)
    }

    /// Reads parameters, moments and trainer state back. Errors: a tensor is missing or has another
    /// shape.
    pub fn restore(&self, memory: &mut Memory, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        let p = self.parameters;
        restore_parameters(p, memory, checkpoint, path)?;
        for tensor in p.layout.tensors.iter().filter(|tensor| tensor.trainable) {
            for (moment, of) in [("m", p.m), ("v", p.v)] {
                let values = checkpoint.numbers(path, &format!("adam.{moment}.{}", tensor.name), &tensor.shape)?;
                memory.write(p.place(of, tensor), &values)?;
            }
        }
        for (name, mat) in self.kept.trainer {
            memory.write(mat, &checkpoint.numbers(path, &format!("trainer.{name}"), &[mat.len()])?)?;
        }
        for (name, mat) in
            self.kept.rollout.into_iter().filter(|_| checkpoint.meta.as_ref().is_some_and(is_within_rollout))
        {
            let mut values = vec![0f32; mat.len()];
            checkpoint.copy(path, &format!("trainer.{name}"), &[mat.len()], &mut values)?;
            memory.write(mat, &values)?;
        }
        Ok(())
    }
}

/// True if training stands between two steps of a rollout.
fn is_within_rollout(meta: &Meta) -> bool {
    meta.progress.as_ref().is_some_and(|progress| progress.rollout_step > 0)
}

/// Reads only the parameters, which also works for a bare state dict. Errors: one is missing or has
/// another shape.
pub fn restore_parameters(
    parameters: &Parameters<f32>,
    memory: &mut Memory,
    checkpoint: &Checkpoint,
    path: &Path,
) -> Result<()> {
    for tensor in &parameters.layout.tensors {
        let values = checkpoint.numbers(path, &tensor.name, &tensor.shape)?;
        memory.write(parameters.place(parameters.values, tensor), &values)?;
    }
    Ok(())
}

/// Reads the statistics in a checkpoint; `None` if it has none. Errors: they are incomplete, of
/// another frame size, unusable (a standard deviation of 0), or for data normalised otherwise than
/// by `mode`.
pub fn statistics(
    checkpoint: &Checkpoint,
    path: &Path,
    frame_size: usize,
    mode: Normalization,
) -> Result<Option<Statistics>> {
    let names = STATISTICS.map(|name| format!("normalization.{name}"));
    let missing: Vec<&str> = names.iter().map(String::as_str).filter(|name| checkpoint.get(name).is_none()).collect();
    if missing.len() == STATISTICS.len() {
        return Ok(None);
    }
    if !missing.is_empty() {
        let what = format!("its statistics lack {}", missing.join(" and "));
        return Err(Error::checkpoint(
            path,
            what,
            "save all four beside the parameters, or none to take those of the data",
        ));
    }
    if let Some(trained) = checkpoint.meta.as_ref().map(|meta| meta.normalization).filter(|trained| *trained != mode) {
        let name = |mode| format!("{mode:?}").to_lowercase();
        let what = format!("its model expects {} data, this run makes {}", name(trained), name(mode));
        return Err(Error::checkpoint(path, what, format!("pass --normalization {}", name(trained))));
    }
    let read = |name: &str| checkpoint.numbers(path, name, &[frame_size]);
    let [max, min, avg, std] = names.each_ref().map(|name| read(name));
    let weight = if checkpoint.get(WEIGHT).is_some() { read(WEIGHT) } else { Ok(vec![1.0; frame_size]) };
    let statistics = Statistics { max: max?, min: min?, avg: avg?, std: std?, weight: weight? };
    let (scale, shift) = statistics.scale_and_shift(mode);
    if let Some(i) = (0..frame_size).find(|&i| !(scale[i] > 0.0 && scale[i].is_finite() && shift[i].is_finite())) {
        let what = format!("its statistics would divide feature {i} by {}", scale[i]);
        return Err(Error::checkpoint(path, what, "save the statistics of the data the model was trained on"));
    }
    Ok(Some(statistics))
}

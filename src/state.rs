//! What a checkpoint holds of a run: parameters under their state-dict names, Adam's moments, normalisation, the epoch's
//! sums so far and the KL weight's memory; written from the arena and read back into it, bit for bit.
use crate::Result;
use crate::arena::Mat;
use crate::backend::Memory;
use crate::checkpoint::{Checkpoint, Meta, Tensor};
use crate::data::normalize::Statistics;
use crate::error::Error;
use crate::layout::Parameters;
use std::path::Path;

/// The tensors that outlive a step.
pub struct State<'a> {
    /// Parameters, gradients and moments.
    pub parameters: &'a Parameters<f32>,
    /// Statistics of the training frames.
    pub statistics: &'a Statistics,
    /// What else a resumed run needs, by name.
    pub trainer: [(&'static str, Mat<f64>); 2],
}

const STATISTICS: [&str; 4] = ["max", "min", "avg", "std"];

impl State<'_> {
    /// Writes a checkpoint of everything. Errors: those of the backend and of the disk.
    pub fn save(&self, memory: &Memory, meta: Meta, path: &Path) -> Result<()> {
        let p = self.parameters;
        let mut tensors = Vec::new();
        for tensor in &p.layout.tensors {
            tensors.push(Tensor::f32(&tensor.name, &tensor.shape, memory.read(p.place(p.values, tensor))?));
            if tensor.trainable && meta.progress.is_some() {
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
        if meta.progress.is_some() {
            for (name, mat) in self.trainer {
                tensors.push(Tensor::f64(format!("trainer.{name}"), &[mat.len()], memory.read(mat)?));
            }
        }
        Checkpoint { tensors, meta: Some(meta) }.save(path)
    }

    /// Reads parameters, moments and trainer state back. Errors: a tensor is missing or has another shape.
    pub fn restore(&self, memory: &mut Memory, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        self.restore_parameters(memory, checkpoint, path)?;
        let p = self.parameters;
        for tensor in p.layout.tensors.iter().filter(|tensor| tensor.trainable) {
            let mut values = vec![0f32; tensor.len()];
            for (moment, of) in [("m", p.m), ("v", p.v)] {
                checkpoint.copy(path, &format!("adam.{moment}.{}", tensor.name), &tensor.shape, &mut values)?;
                memory.write(p.place(of, tensor), &values)?;
            }
        }
        for (name, mat) in self.trainer {
            let mut values = vec![0f64; mat.len()];
            checkpoint.copy(path, &format!("trainer.{name}"), &[mat.len()], &mut values)?;
            memory.write(mat, &values)?;
        }
        Ok(())
    }

    /// Reads the parameters alone, also from a bare state dict. Errors: one is missing or has another shape.
    pub fn restore_parameters(&self, memory: &mut Memory, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        let p = self.parameters;
        for tensor in &p.layout.tensors {
            let mut values = vec![0f32; tensor.len()];
            checkpoint.copy(path, &tensor.name, &tensor.shape, &mut values)?;
            memory.write(p.place(p.values, tensor), &values)?;
        }
        Ok(())
    }
}

/// The statistics in a checkpoint, or `None` when it has none. Errors: they are incomplete or of another frame size.
pub fn statistics(checkpoint: &Checkpoint, path: &Path, frame_size: usize) -> Result<Option<Statistics>> {
    if STATISTICS.iter().all(|name| checkpoint.get(&format!("normalization.{name}")).is_none()) {
        return Ok(None);
    }
    let read = |name: &str| {
        let mut values = vec![0f64; frame_size];
        checkpoint.copy(path, &format!("normalization.{name}"), &[frame_size], &mut values)?;
        Ok::<_, Error>(values)
    };
    let [max, min, avg, std] = STATISTICS.map(read);
    Ok(Some(Statistics { max: max?, min: min?, avg: avg?, std: std? }))
}

//! The state of a run in a checkpoint, written from the arena and read back bit for bit: parameters
//! under their state-dict names, Adam's moments, and the other tensors that outlive a step.
use crate::Result;
use crate::backend::Memory;
use crate::checkpoint::{Checkpoint, Data, Meta, Tensor};
use crate::config::Normalization;
use crate::data::normalize::Statistics;
use crate::error::Error;
use crate::model::layout::Parameters;
use crate::plan::arena::Mat;
use std::path::Path;

/// A tensor that a resumed run needs.
#[derive(Debug, Clone, Copy)]
pub enum Kept {
    /// Single precision.
    Single(Mat<f32>),
    /// Double precision.
    Double(Mat<f64>),
    /// Words.
    Words(Mat<u32>),
}

/// The tensors of a run that outlive a step.
pub(crate) struct State<'a> {
    /// Parameters and moments.
    parameters: &'a Parameters<f32>,
    /// Further tensors, each with its name in the checkpoint. One that is absent is left out.
    kept: Vec<(&'static str, Kept)>,
}

const STATISTICS: [&str; 4] = ["max", "min", "avg", "std"];
/// Name of the weights of the features' errors, among the statistics; absent if all weights are 1.
const WEIGHT: &str = "normalization.weight";

impl<'a> State<'a> {
    /// The state of a run with these parameters and further tensors.
    pub fn new(parameters: &'a Parameters<f32>, kept: Vec<(&'static str, Kept)>) -> Self {
        State { parameters, kept }
    }

    /// Writes a checkpoint of everything, with `more` tensors that are not in the arena. Errors:
    /// those of the backend and of the disk.
    pub fn save(&self, memory: &Memory, more: Vec<Tensor>, meta: Meta, path: &Path) -> Result<()> {
        let p = self.parameters;
        let mut tensors = Vec::new();
        for tensor in &p.layout.tensors {
            tensors.push(Tensor::f32(&tensor.name, &tensor.shape, memory.read(p.place(p.values, tensor))?));
            for (moment, of) in [("m", p.m), ("v", p.v)].into_iter().filter(|_| tensor.trainable) {
                let values = memory.read(p.place(of, tensor))?;
                tensors.push(Tensor::f32(format!("adam.{moment}.{}", tensor.name), &tensor.shape, values));
            }
        }
        for &(name, kept) in &self.kept {
            match kept {
                Kept::Single(mat) if !mat.is_none() => {
                    tensors.push(Tensor::f32(name, &[mat.rows(), mat.cols()], memory.read(mat)?));
                }
                Kept::Double(mat) if !mat.is_none() => {
                    tensors.push(Tensor::f64(name, &[mat.rows(), mat.cols()], memory.read(mat)?));
                }
                Kept::Words(mat) if !mat.is_none() => {
                    let data: Vec<i64> = memory.read(mat)?.into_iter().map(i64::from).collect();
                    let (name, shape) = (name.to_owned(), vec![mat.rows(), mat.cols()]);
                    tensors.push(Tensor { name, shape, data: Data::I64(data.into()) });
                }
                _ => {}
            }
        }
        tensors.extend(more);
        Checkpoint { tensors, meta: Some(meta) }.save(path)
    }

    /// Reads everything back that is in the arena. Errors: a tensor is missing or has another
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
        for &(name, kept) in &self.kept {
            match kept {
                Kept::Single(mat) if !mat.is_none() => {
                    let mut values = vec![0f32; mat.len()];
                    checkpoint.copy(path, name, &[mat.rows(), mat.cols()], &mut values)?;
                    memory.write(mat, &values)?;
                }
                Kept::Double(mat) if !mat.is_none() => {
                    memory.write(mat, &checkpoint.numbers(path, name, &[mat.rows(), mat.cols()])?)?;
                }
                Kept::Words(mat) if !mat.is_none() => {
                    let values = checkpoint.numbers::<f64>(path, name, &[mat.rows(), mat.cols()])?;
                    memory.write(mat, &values.iter().map(|&x| x as u32).collect::<Vec<_>>())?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The statistics as tensors of a checkpoint.
pub(crate) fn statistics_tensors(s: &Statistics) -> Vec<Tensor<'_>> {
    let named = STATISTICS.into_iter().zip([&s.max, &s.min, &s.avg, &s.std]);
    let mut tensors: Vec<Tensor> = named
        .map(|(name, values)| Tensor::f64(format!("normalization.{name}"), &[values.len()], values.as_slice()))
        .collect();
    if s.weight.iter().any(|&weight| weight != 1.0) {
        tensors.push(Tensor::f64(WEIGHT, &[s.weight.len()], s.weight.as_slice()));
    }
    tensors
}

/// Reads only the parameters, which also works for a bare state dict. Errors: one is missing or has
/// another shape.
pub(crate) fn restore_parameters(
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

//! Poses that characters start from, taken from the decoder's training data. A run keeps them in
//! its checkpoint, so that it can resume, be evaluated and be shown without that data.
use crate::checkpoint::{Checkpoint, Tensor};
use crate::data::windows;
use crate::infer::trained::Trained;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Most poses; they are spread evenly over the data.
const POSES: usize = 1024;
/// Name of the poses' tensor in a checkpoint.
const TENSOR: &str = "task.poses";

/// Takes conditions to start from, newest frame first, out of the decoder's training data, or out
/// of the files `data` if given. When all clips are shorter than a condition, the first frame is
/// repeated. Errors: the data is missing or has changed.
pub fn of(decoder: &Trained, data: &[PathBuf]) -> Result<Vec<f32>> {
    let source = decoder.source(data).map_err(|error| match error {
        Error::Data { path, what, .. } => {
            let mend = "characters start from poses of the data that the Motion VAE was trained on; put it back";
            Error::Data { path, what, mend: mend.into() }
        }
        other => other,
    });
    let set = source?.set;
    let (f, conditions) = (set.frame_size, decoder.model().condition_frames);
    let starts = windows::starts(&set.clips(), conditions);
    let frame = |i: usize| &set.frames[i * f..][..f];
    if starts.is_empty() {
        return Ok(frame(0).repeat(conditions));
    }
    let count = starts.len().min(POSES);
    let chosen = (0..count).map(|i| starts[i * starts.len() / count] as usize);
    Ok(chosen.flat_map(|s| (0..conditions).rev().flat_map(move |j| frame(s + j).iter().copied())).collect())
}

/// The conditions, of `row` numbers each, as a tensor of a checkpoint.
pub fn tensor(poses: &[f32], row: usize) -> Tensor<'_> {
    Tensor::f32(TENSOR, &[poses.len() / row, row], poses)
}

/// The conditions, of `row` numbers each, in a checkpoint. Errors: there are none, they have
/// another size, or they are not finite.
pub fn kept(checkpoint: &Checkpoint, path: &Path, row: usize) -> Result<Vec<f32>> {
    let count = checkpoint.get(TENSOR).and_then(|tensor| tensor.shape.first().copied()).unwrap_or_default();
    let poses: Vec<f32> = checkpoint.numbers(path, TENSOR, &[count, row])?;
    if poses.is_empty() || poses.iter().any(|x| !x.is_finite()) {
        let what = "its poses to start from are none, or hold a number that is not finite";
        return Err(Error::checkpoint(path, what, "use the checkpoint as the run wrote it"));
    }
    Ok(poses)
}

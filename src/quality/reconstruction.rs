//! Reconstruction error of held-out clips: the encoder gives the latents, and each frame follows
//! from the frame that the model predicted before.
use super::Bench;
use super::groups::groups;
use crate::Result;
use crate::data::windows;
use crate::infer::rollout::Latent;
use crate::motion::features::{Part, joints, slot};
use crate::motion::rig::METRES;
use serde::Serialize;
use std::collections::BTreeMap;

/// Frames after which the error is measured; the first is one-step prediction.
const HORIZONS: [usize; 4] = [1, 30, 300, 1800];
/// Largest number of windows that an error is averaged over: for single steps, and for longer
/// rollouts.
const WINDOWS: [usize; 2] = [1024, 256];

/// The error at one horizon.
#[derive(Debug, Clone, Serialize)]
pub struct Horizon {
    /// Frames from the last true one.
    pub frames: usize,
    /// Number of rollouts averaged; 0 when no held-out clip is long enough.
    pub windows: usize,
    /// Mean squared error of normalised features.
    pub error: Option<f64>,
    /// Mean squared error of each group of features.
    pub groups: BTreeMap<&'static str, f64>,
    /// Mean distance of a joint from its true place, in the character's own frame, cm.
    pub joint_cm: Option<f64>,
}

/// The errors at all horizons.
pub fn measure(bench: &mut Bench) -> Result<Vec<Horizon>> {
    HORIZONS.into_iter().map(|frames| horizon(bench, frames)).collect()
}

fn horizon(bench: &mut Bench, frames: usize) -> Result<Horizon> {
    let (model, f) = (bench.trained.model().clone(), bench.trained.model().frame_size);
    let span = windows::span(frames, model.condition_frames, model.future_predictions);
    let windows = super::spread(&windows::starts(&bench.held_out, span), WINDOWS[usize::from(frames > 1)]);
    let (scale, _) = bench.trained.statistics.scale_and_shift(bench.trained.meta.normalization);
    let joints = joints(f);
    let mut squares = vec![0.0; f];
    let mut distance = 0.0;
    for batch in windows.chunks(bench.decoder.batch()) {
        let mut rollout = bench.decoder.begin(&mut bench.memory, batch, 0, 0)?;
        rollout.steps(Latent::Posterior, frames)?;
        let (rows, truth) = (rollout.frames()?, rollout.truth()?);
        for (row, truth) in rows.chunks_exact(f).zip(truth.chunks_exact(f)).take(batch.len()) {
            let error = |i: usize| f64::from(row[i] - truth[i]);
            squares.iter_mut().enumerate().for_each(|(i, sum)| *sum += bench.features[i].square(row[i], truth[i]));
            for joint in 0..joints.unwrap_or(0) {
                let first = slot(Part::Position, joint, joints.unwrap_or(0));
                distance += (first..first + 3).map(|i| (scale[i] * error(i)).powi(2)).sum::<f64>().sqrt();
            }
        }
    }
    let count = windows.len();
    let mean =
        |range: std::ops::Range<usize>| squares[range.clone()].iter().sum::<f64>() / (count * range.len()) as f64;
    let some = count > 0;
    Ok(Horizon {
        frames,
        windows: count,
        error: some.then(|| mean(0..f)),
        groups: groups(f).into_iter().filter(|_| some).map(|(name, range)| (name, mean(range))).collect(),
        joint_cm: joints.filter(|_| some).map(|joints| 100.0 * METRES * distance / (count * joints) as f64),
    })
}

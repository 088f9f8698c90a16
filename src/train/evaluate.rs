//! Held-out quality: one-step error, rollouts with encoder latents, and walks with latents from the
//! prior.
use crate::Result;
use crate::backend::Memory;
use crate::config::ModelConfig;
use crate::data::windows;
use crate::infer::rollout::{Decoder, Latent, Rollout};
use crate::model::layout::Parameters;
use crate::philox::{Purpose, Stream};
use crate::plan::arena::{Arena, Mat};
use crate::run::record::{Validation, Walks};
use std::ops::Range;

/// Number of rollouts and walks that run side by side.
const BATCH: usize = 64;
/// Most windows over which the one-step error is measured.
const ONE_STEP_WINDOWS: usize = 16 * BATCH;
/// Frames after which the error of rollouts is measured; walks have the larger number of frames.
const HORIZONS: [usize; 2] = [30, 300];
/// Frames of the walks after the last epoch.
const LONG_WALK: usize = 1800;
/// Distance, as a share of a feature's range, by which a walk may leave the data's range.
const MARGIN: f32 = 0.25;
/// Errors are capped here, so that a record holds no infinity.
const CAP: f64 = 1e30;
/// Largest cost of evaluation, as a share of a run's training steps. The report's clips cost a
/// third of an evaluation, so both together cost less than a tenth.
const BUDGET: f64 = 0.07;
/// Cost of a forward pass over a batch of 64, as a share of a training step on that batch.
const FORWARD: f64 = 0.4;

/// The evaluation of a model, which shares parameters and data with the training step.
pub struct Evaluation {
    decoder: Decoder,
    model: ModelConfig,
    held_out: Vec<Range<usize>>,
    walk_starts: Vec<u32>,
    /// Features of the data that walks are compared with.
    features: Vec<Feature>,
    seed: u64,
}

impl Evaluation {
    /// Lays out an evaluation. `data` is normalised. Walks start anywhere in `all` clips; errors
    /// are measured on the `held_out` clips. Errors: shapes that do not fit.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        arena: &mut Arena,
        parameters: &Parameters<f32>,
        data: Mat<f32>,
        model: &ModelConfig,
        all: &[Range<usize>],
        held_out: Vec<Range<usize>>,
        features: Vec<Feature>,
        seed: u64,
    ) -> Result<Self> {
        let decoder = Decoder::new(arena, parameters, data, model, BATCH, 1.0)?;
        let windows = windows::starts(all, windows::span(1, model.condition_frames, model.future_predictions));
        let stream = Stream::new(seed, Purpose::Starts, 0);
        let walk_starts = (0..BATCH).map(|i| windows[(stream.uniform(i) * windows.len() as f64) as usize]).collect();
        let model = model.clone();
        Ok(Evaluation { decoder, model, held_out, walk_starts, features, seed })
    }

    /// The number of epochs between evaluations, for a run of `epochs` epochs of `steps` training
    /// steps on `batch` samples. With the long walk at the end, evaluations cost at most a tenth of
    /// the run. If that walk alone costs more, only the last evaluation is made.
    pub fn interval(&self, epochs: usize, steps: usize, batch: usize) -> usize {
        let cost = |forwards: usize| FORWARD * forwards as f64 * (BATCH as f64 / batch as f64).min(4.0);
        let each = cost(ONE_STEP_WINDOWS / BATCH + 2 * HORIZONS[1] + HORIZONS[0]);
        let budget = BUDGET * (epochs * steps) as f64 - cost(LONG_WALK);
        let most = if budget > each { (budget / each) as usize } else { 1 };
        epochs.div_ceil(most).max(1)
    }

    /// Measures the current model; if `last`, also on long walks. Errors: those of the backend.
    pub fn measure(&self, memory: &mut Memory, last: bool) -> Result<Validation> {
        let Walks { inside, rms } = self.walks(memory, HORIZONS[1])?;
        Ok(Validation {
            one_step_error: self.one_step_error(memory)?,
            rollout_30_error: self.rollout_error(memory, HORIZONS[0])?,
            rollout_300_error: self.rollout_error(memory, HORIZONS[1])?,
            prior_inside: inside,
            prior_rms: rms,
            prior_1800: if last { Some(self.walks(memory, LONG_WALK)?) } else { None },
        })
    }

    /// Starts of windows of held-out clips for predictions of `horizon` frames: at most `most`,
    /// spread evenly.
    fn windows(&self, horizon: usize, most: usize) -> Vec<u32> {
        let span = windows::span(horizon, self.model.condition_frames, self.model.future_predictions);
        let all = windows::starts(&self.held_out, span);
        let count = most.min(all.len());
        (0..count).map(|i| all[i * all.len() / count]).collect()
    }

    /// Mean squared error of a rollout's last frame over its first `count` characters.
    fn error(&self, rollout: &Rollout, count: usize) -> Result<f64> {
        let f = self.model.frame_size;
        let (y, truth) = (rollout.frames()?, rollout.truth()?);
        let rows = y.chunks_exact(f).zip(truth.chunks_exact(f)).take(count);
        let sum: f64 = rows.map(|(y, truth)| square_distance(y, truth, &self.features)).sum();
        Ok((sum / (count * f) as f64).min(CAP))
    }

    fn one_step_error(&self, memory: &mut Memory) -> Result<Option<f64>> {
        let windows = self.windows(1, ONE_STEP_WINDOWS);
        let mut sum = 0.0;
        for batch in windows.chunks(BATCH) {
            let mut rollout = self.decoder.begin(memory, batch, self.seed, 0)?;
            rollout.step(Latent::Posterior)?;
            sum += self.error(&rollout, batch.len())? * batch.len() as f64;
        }
        Ok((!windows.is_empty()).then(|| sum / windows.len() as f64))
    }

    fn rollout_error(&self, memory: &mut Memory, horizon: usize) -> Result<Option<f64>> {
        let windows = self.windows(horizon, BATCH);
        if windows.is_empty() {
            return Ok(None);
        }
        let mut rollout = self.decoder.begin(memory, &windows, self.seed, 0)?;
        rollout.steps(Latent::Posterior, horizon)?;
        self.error(&rollout, windows.len()).map(Some)
    }

    /// Measures walks of `frames` frames.
    fn walks(&self, memory: &mut Memory, frames: usize) -> Result<Walks> {
        let f = self.model.frame_size;
        let mut inside = [true; BATCH];
        let mut square = 0.0;
        let mut rollout = self.decoder.begin(memory, &self.walk_starts, self.seed, 0)?;
        for _ in 0..frames {
            rollout.step(Latent::Prior)?;
            let y = rollout.frames()?;
            square = 0.0;
            for (y, inside) in y.chunks_exact(f).zip(&mut inside) {
                *inside &= y.iter().zip(&self.features).all(|(y, feature)| feature.inside(*y));
                square += y.iter().zip(&self.features).map(|(y, feature)| feature.deviation(*y).powi(2)).sum::<f64>();
            }
        }
        let share = inside.iter().filter(|&&inside| inside).count() as f64 / BATCH as f64;
        Ok(Walks { inside: share, rms: (square / (BATCH * f) as f64).sqrt().min(CAP) })
    }
}

/// Squared distance of two frames, in which all features have equal weight.
pub fn square_distance(a: &[f32], b: &[f32], features: &[Feature]) -> f64 {
    a.iter().zip(b).zip(features).map(|((&a, &b), feature)| feature.square(a, b)).sum()
}

/// One feature of the data, as the network sees it.
pub struct Feature {
    min: f32,
    max: f32,
    mean: f64,
    std: f64,
    weight: f64,
}

impl Feature {
    /// Measures each feature of `frames`. `weight` is the weight of each feature's squared errors.
    pub fn all(frames: &[f32], weight: &[f64]) -> Vec<Feature> {
        let frame_size = weight.len();
        let n = (frames.len() / frame_size) as f64;
        let (min, max) = (f32::INFINITY, f32::NEG_INFINITY);
        let mut features: Vec<Feature> =
            weight.iter().map(|&weight| Feature { min, max, mean: 0.0, std: 0.0, weight }).collect();
        for frame in frames.chunks_exact(frame_size) {
            for (feature, &x) in features.iter_mut().zip(frame) {
                (feature.min, feature.max) = (feature.min.min(x), feature.max.max(x));
                feature.mean += f64::from(x) / n;
            }
        }
        for frame in frames.chunks_exact(frame_size) {
            for (feature, &x) in features.iter_mut().zip(frame) {
                feature.std += (f64::from(x) - feature.mean).powi(2) / n;
            }
        }
        features.iter_mut().for_each(|feature| feature.std = feature.std.sqrt());
        features
    }

    /// True if the value `x` of a walk is near the data. A constant feature has no range and must
    /// only stay finite.
    pub fn inside(&self, x: f32) -> bool {
        let margin = MARGIN * (self.max - self.min);
        if margin > 0.0 { (self.min - margin..=self.max + margin).contains(&x) } else { x.is_finite() }
    }

    /// True if the feature has more than one value in the data.
    pub fn varies(&self) -> bool {
        self.max > self.min
    }

    /// Factor of the feature's normalised values that gives all features equal weight.
    pub fn unit(&self) -> f64 {
        1.0 / self.weight.sqrt()
    }

    /// Squared difference of two values, in units of [`Feature::unit`].
    pub fn square(&self, x: f32, y: f32) -> f64 {
        f64::from(x - y).powi(2) / self.weight
    }

    /// Distance of `x` from the mean in standard deviations; for a constant feature the plain
    /// difference.
    pub fn deviation(&self, x: f32) -> f64 {
        (f64::from(x) - self.mean) / if self.varies() { self.std } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_the_data_is_1_whatever_its_scale() {
        let (columns, rows) = (3, 1000);
        let stream = Stream::new(7, Purpose::Check, 0);
        let value = |row: usize, column: usize| match column {
            0 => 100.0 + 0.01 * stream.uniform(row) as f32,
            1 => 50.0 * stream.uniform(rows + row) as f32,
            _ => 4.0,
        };
        let frames: Vec<f32> = (0..rows * columns).map(|i| value(i / columns, i % columns)).collect();
        let features = Feature::all(&frames, &vec![1.0; columns]);
        for (column, expected) in [1.0, 1.0, 0.0].into_iter().enumerate() {
            let square: f64 = (0..rows).map(|row| features[column].deviation(value(row, column)).powi(2)).sum();
            approx::assert_relative_eq!((square / rows as f64).sqrt(), expected, epsilon = 1e-6);
        }
        assert!(features[1].inside(61.0) && !features[1].inside(64.0) && !features[1].inside(f32::NAN));
        assert!(features[2].inside(-1e9) && !features[2].inside(f32::INFINITY));
    }
}

//! Held-out quality: one-step error, rollouts with encoder latents, and walks with latents from the
//! prior.
use crate::Result;
use crate::backend::Memory;
use crate::config::ModelConfig;
use crate::data::windows;
use crate::infer::rollout::{Decoder, Latent, Rollout};
use crate::model::layout::Parameters;
use crate::motion::Rig;
use crate::motion::rig::DEFAULT_FPS;
use crate::philox::{Purpose, Stream};
use crate::plan::arena::{Arena, Mat};
use crate::quality::feature::{Feature, square_distance};
use crate::quality::gait::{Gait, GaitReport, Walker};
use crate::quality::thresholds::{Measured, Thresholds};
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
/// Frames at the start of a walk that still depend on the true pose before them.
const SETTLING: usize = 30;
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
    reference: Reference,
    seed: u64,
}

/// The data that walks are compared with.
pub struct Reference {
    /// Range, spread and weight of each normalised feature.
    pub features: Vec<Feature>,
    /// Factor and offset of each feature that undo its normalisation.
    pub scale_and_shift: (Vec<f64>, Vec<f64>),
    /// Skeleton, floor and size of the character, if known.
    pub rig: Option<Rig>,
    /// The data's own gait; none when the features are not those of joints.
    pub gait: Option<GaitReport>,
}

/// Measurements of walks with latents from the prior.
struct Measurement {
    numbers: Walks,
    gait: Option<GaitReport>,
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
        reference: Reference,
        seed: u64,
    ) -> Result<Self> {
        let decoder = Decoder::new(arena, parameters, data, model, BATCH, 1.0)?;
        let windows = windows::starts(all, windows::span(1, model.condition_frames, model.future_predictions));
        let stream = Stream::new(seed, Purpose::Starts, 0);
        let walk_starts = (0..BATCH).map(|i| windows[(stream.uniform(i) * windows.len() as f64) as usize]).collect();
        let model = model.clone();
        Ok(Evaluation { decoder, model, held_out, walk_starts, reference, seed })
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

    /// Measures the current model, of whose latent dimensions (or codes) the share `active` is in
    /// use; if `last`, also on long walks. Errors: those of the backend.
    pub fn measure(&self, memory: &mut Memory, active: f64, last: bool) -> Result<Validation> {
        let short = self.walks(memory, HORIZONS[1])?;
        let long = if last { Some(self.walks(memory, LONG_WALK)?) } else { None };
        let Measurement { numbers, gait } = long.as_ref().unwrap_or(&short);
        let errors = [self.one_step_error(memory)?, self.rollout_error(memory, HORIZONS[0])?];
        let (gait, data_gait) = (gait.as_ref(), self.reference.gait.as_ref());
        let measured = Measured { active, inside: numbers.inside, gait, data_gait, distances: [None; 2], errors };
        let mut gate = Thresholds::default().judge(&measured);
        gate.retain(|verdict| verdict.value.is_some());
        Ok(Validation {
            one_step_error: errors[0],
            rollout_30_error: errors[1],
            rollout_300_error: self.rollout_error(memory, HORIZONS[1])?,
            prior_inside: short.numbers.inside,
            prior_rms: short.numbers.rms,
            gate,
            prior_1800: long.map(|long| long.numbers),
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
        let sum: f64 = rows.map(|(y, truth)| square_distance(y, truth, &self.reference.features)).sum();
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
    fn walks(&self, memory: &mut Memory, frames: usize) -> Result<Measurement> {
        let (f, features) = (self.model.frame_size, &self.reference.features);
        let (scale, shift) = &self.reference.scale_and_shift;
        let rig = self.reference.rig.as_ref();
        let mut gait = Gait::new(rig, rig.map_or(DEFAULT_FPS, |rig| rig.fps));
        let mut walkers = vec![Walker::default(); BATCH];
        let mut inside = [true; BATCH];
        let mut square = 0.0;
        let mut rollout = self.decoder.begin(memory, &self.walk_starts, self.seed, 0)?;
        for frame in 0..frames {
            rollout.step(Latent::Prior)?;
            let y = rollout.frames()?;
            square = 0.0;
            for ((y, inside), walker) in y.chunks_exact(f).zip(&mut inside).zip(&mut walkers) {
                *inside &= y.iter().zip(features).all(|(y, feature)| feature.inside(*y));
                square += y.iter().zip(features).map(|(y, feature)| feature.deviation(*y).powi(2)).sum::<f64>();
                if frame >= SETTLING && self.reference.gait.is_some() && y.iter().all(|y| y.is_finite()) {
                    gait.see(walker, f, |i| f64::from(y[i]) * scale[i] + shift[i]);
                }
            }
        }
        let share = inside.iter().filter(|&&inside| inside).count() as f64 / BATCH as f64;
        let numbers = Walks { inside: share, rms: (square / (BATCH * f) as f64).sqrt().min(CAP) };
        Ok(Measurement { numbers, gait: gait.report() })
    }
}

//! Measures of how good a trained model is, as `mvae-fast eval` reports them; `docs/math.md`
//! defines every number.
pub mod distance;
pub mod feature;
pub mod gait;
pub mod groups;
pub mod posterior;
pub mod reconstruction;
pub(crate) mod text;
pub mod thresholds;
pub mod walks;

pub use text::PaperTable;

use crate::backend::{Backend, Memory};
use crate::data::Dataset;
use crate::data::windows;
use crate::infer::rollout::Decoder;
use crate::infer::trained::{Source, Trained};
use crate::motion::Rig;
use crate::plan::arena::Arena;
use crate::{Error, Result};
use feature::Feature;
use serde::Serialize;
use std::ops::Range;
use thresholds::Measured;

/// Number of windows that are encoded side by side.
const BATCH: usize = 128;

/// The walks that are measured.
#[derive(Debug, Clone, Copy)]
pub struct WalkOptions {
    /// Walks with latents from the prior.
    pub walks: usize,
    /// Frames of each.
    pub frames: usize,
    /// Seed of starts and latents.
    pub seed: u64,
}

/// Results of all measurements.
#[derive(Debug, Clone, Serialize)]
pub struct Quality {
    /// The data that the model was compared with.
    pub data: Data,
    /// Held-out clips through encoder and decoder.
    pub reconstruction: Vec<reconstruction::Horizon>,
    /// The latent and the experts.
    pub posterior: posterior::Posterior,
    /// Walks with latents from the prior.
    pub walks: walks::Walks,
    /// Names of the numbers that could not be measured, each with the reason.
    pub not_measured: Vec<String>,
}

impl Quality {
    /// The numbers that thresholds bound.
    pub fn measured(&self) -> Measured<'_> {
        let (p, w) = (&self.posterior, &self.walks);
        let used = || p.expert_use.iter().filter(|&&share| share > 0.0).count() as f64;
        let error = |frames| self.reconstruction.iter().find(|h| h.frames == frames).and_then(|h| h.error);
        Measured {
            // A vq model has codes instead of latent dimensions: the codes in use count as active.
            active: match p.active_units {
                Some(active) => active as f64 / p.latents as f64,
                None => used() / p.expert_use.len().max(1) as f64,
            },
            inside: w.inside,
            gait: w.gait.as_ref(),
            data_gait: w.data_gait.as_ref(),
            // Of other data all clips count as held out, and none is left to compare with.
            distances: [&w.poses, &w.velocities].map(|d| d.as_ref().filter(|_| self.data.own)),
            errors: [error(1), error(30)],
        }
    }
}

/// The data of an evaluation.
#[derive(Debug, Clone, Serialize)]
pub struct Data {
    /// Path of the data.
    pub name: String,
    /// True if the model was trained on this data. All clips of other data count as held out.
    pub own: bool,
    /// Whether mirror images were added, as in training.
    pub mirrored: bool,
    /// Frames in all.
    pub frames: usize,
    /// Frames held out from training.
    pub held_out_frames: usize,
    /// Clips held out from training.
    pub held_out_clips: usize,
}

/// A trained model, laid out for measurements, and the data to compare it with.
pub struct Bench<'a> {
    trained: Trained,
    backend: &'a dyn Backend,
    set: Dataset,
    /// The frames of `set`, normalised.
    normalized: Vec<f32>,
    /// The features of `normalized`: range, mean, deviation and weight of each.
    features: Vec<Feature>,
    train: Vec<Range<usize>>,
    held_out: Vec<Range<usize>>,
    decoder: Decoder,
    memory: Memory<'a>,
    name: String,
    own: bool,
    mirrored: bool,
}

impl<'a> Bench<'a> {
    /// Lays out model and data. Errors: a set without a clip that is long enough for one
    /// prediction, not enough memory.
    pub fn new(trained: Trained, source: Source, backend: &'a dyn Backend) -> Result<Self> {
        let Source { set, name, own, mirrored } = source;
        let (config, model) = (&trained.config, trained.model());
        let clips = set.clips();
        let (train, held_out) = if own {
            let split = set.split(config.validation, config.seed);
            (split.train, split.validation)
        } else {
            (clips.clone(), clips)
        };
        if windows::starts(&train, windows::span(1, model.condition_frames, model.future_predictions)).is_empty() {
            return Err(Error::data(&name, "no clip is long enough for one prediction", "give longer clips"));
        }
        let normalized = trained.normalized(&set.frames);
        let features = Feature::all(&normalized, &trained.statistics.weight);
        let mut arena = Arena::default();
        let parameters = trained.parameters(&mut arena);
        let data = arena.mat(set.num_frames(), set.frame_size);
        let decoder = Decoder::new(&mut arena, &parameters, data, model, BATCH, 1.0)?;
        let mut memory = Memory::new(backend, arena)?;
        trained.restore(&parameters, &mut memory)?;
        memory.write(data, &normalized)?;
        let name = name.display().to_string();
        Ok(Bench { trained, backend, set, normalized, features, train, held_out, decoder, memory, name, own, mirrored })
    }

    /// Runs all measurements. `told` hears the share that is done, now and then. Errors: those of
    /// the backend.
    pub fn measure(&mut self, options: &WalkOptions, told: &dyn Fn(f64)) -> Result<Quality> {
        let reconstruction = reconstruction::measure(self)?;
        let posterior = posterior::measure(self)?;
        let walks = walks::measure(self, options, told)?;
        let data = Data {
            name: self.name.clone(),
            own: self.own,
            mirrored: self.mirrored,
            frames: self.set.num_frames(),
            held_out_frames: self.held_out.iter().map(Range::len).sum(),
            held_out_clips: self.held_out.len(),
        };
        let not_measured = self.not_measured(&reconstruction, &walks);
        Ok(Quality { data, reconstruction, posterior, walks, not_measured })
    }

    /// The rig that the features describe: the model's, or else that of the data.
    fn rig(&self) -> Option<&Rig> {
        self.trained.meta.rig.as_ref().or(self.set.rig.as_ref())
    }

    fn not_measured(&self, reconstruction: &[reconstruction::Horizon], walks: &walks::Walks) -> Vec<String> {
        let mut missing = Vec::new();
        let longest = self.held_out.iter().map(Range::len).max().unwrap_or(0);
        let short: Vec<String> =
            reconstruction.iter().filter(|h| h.windows == 0).map(|h| h.frames.to_string()).collect();
        if self.held_out.is_empty() {
            missing.push("reconstruction: no clip was held out (--validation 0)".into());
        } else if !short.is_empty() {
            let frames = short.join(" and ");
            missing.push(format!("reconstruction after {frames} frames: the longest held-out clip has {longest}"));
        }
        if walks.gait.is_none() {
            missing.push("speeds, turns and feet: the features are not those of joints (3 + 12 J)".into());
        } else if self.rig().is_none() {
            missing.push(
                "foot skate: neither model nor data say which joints are toes (import the motion with `data import`); \
                 3 + 12 J features at 30 frames a second, in feet, are taken for granted"
                    .into(),
            );
        }
        if walks.poses.is_none() {
            let frames = |clips: &[Range<usize>]| clips.iter().map(Range::len).sum::<usize>();
            let every = format!(
                "finite frames of walks, of which every {}th counts (more --walks or --frames)",
                walks::THINNING
            );
            let kinds = [
                (frames(&self.train), "frames to train on"),
                (frames(&self.held_out), "frames held out"),
                (walks.compared, every.as_str()),
            ];
            let few = kinds.iter().find(|(count, _)| *count < distance::LEAST);
            missing.push(match few {
                Some((count, what)) => {
                    format!("distance from held-out poses: {count} {what}, expected at least {}", distance::LEAST)
                }
                None => "distance from held-out poses: no pose feature varies".into(),
            });
        }
        missing
    }
}

/// At most `most` of the numbers `all`, spread evenly.
fn spread(all: &[u32], most: usize) -> Vec<u32> {
    let count = most.min(all.len());
    (0..count).map(|i| all[i * all.len() / count]).collect()
}

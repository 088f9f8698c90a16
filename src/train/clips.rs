//! Motion for the report's player: a few clips of the data, their reconstruction, and random walks
//! from their beginnings.
use crate::Result;
use crate::backend::Memory;
use crate::config::{ModelConfig, Normalization};
use crate::data::Dataset;
use crate::data::normalize::Statistics;
use crate::data::windows::Split;
use crate::infer::rollout::{Decoder, Latent};
use crate::model::layout::Parameters;
use crate::motion::Rig;
use crate::plan::arena::{Arena, Mat};
use crate::run::player::{self, Kind, Motion, Track};
use std::ops::Range;

/// Most clips that are shown.
const STARTS: usize = 4;
/// Walks from each clip.
const WALKS: usize = 2;
/// Longest track, seconds.
const SECONDS: f64 = 10.0;
/// Bytes of all tracks in the page, at most.
const BYTES: usize = 1_500_000;
/// Clips shorter than this share of the longest are not chosen.
const LONG: f64 = 0.6;
/// The group of random numbers for the walks; evaluation uses group 0.
const GROUP: u32 = 1;

/// The clips that a run shows, with the model's reconstructions and walks.
pub struct Clips {
    rig: Rig,
    starts: Vec<Start>,
    /// Frames of the longest track.
    frames: usize,
    decoder: Decoder,
    normalization: (Normalization, Statistics),
    seed: u64,
    /// The motion in the report: until the model is evaluated, the clips alone.
    pub motion: Motion,
}

/// One clip to start from.
struct Start {
    name: String,
    /// Index of the clip's oldest condition frame.
    window: u32,
    /// The clip's frames, from the newest condition frame on, normalised.
    frames: Vec<f32>,
}

/// The data to choose clips from.
pub struct Shown<'a> {
    /// The set, normalised.
    pub set: &'a Dataset,
    /// Training clips and held-out clips; the latter are shown first.
    pub split: &'a Split,
    /// Normalisation of the set.
    pub normalization: (Normalization, &'a Statistics),
}

impl Clips {
    /// Chooses clips and lays out a decoder for them. Returns `None` if the set has no rig, which
    /// tells what the features are. Errors: shapes that do not fit.
    pub fn new(
        arena: &mut Arena,
        parameters: &Parameters<f32>,
        data: Mat<f32>,
        model: &ModelConfig,
        shown: &Shown,
        seed: u64,
    ) -> Result<Option<Self>> {
        let Some(rig) = shown.set.rig.clone() else { return Ok(None) };
        let a_start = player::bytes_a_frame(rig.skeleton.len()) * (2 + WALKS);
        let frames = ((SECONDS * rig.fps) as usize + 1).min(BYTES / a_start).max(2);
        let starts = starts(shown, (BYTES / a_start / frames).clamp(1, STARTS), frames, model.condition_frames);
        let decoder = Decoder::new(arena, parameters, data, model, starts.len() * WALKS, 1.0)?;
        let (mode, statistics) = shown.normalization;
        let normalization = (mode, statistics.clone());
        let mut clips = Clips { rig, starts, frames, decoder, normalization, seed, motion: Motion::default() };
        let note = "Clips of the data; reconstructions and walks follow once the model is evaluated.".into();
        clips.motion = Motion { note, tracks: Some(player::pack(&clips.rig, &clips.data())) };
        Ok(Some(clips))
    }

    /// Makes reconstructions and walks with the model as it is after epoch `epoch`. Errors: those
    /// of the backend.
    pub fn make(&mut self, memory: &mut Memory, epoch: usize) -> Result<()> {
        let mut tracks = self.data();
        let starts: Vec<&Start> = self.starts.iter().collect();
        for (start, mut frames) in starts.iter().zip(self.roll_out(memory, &starts, Latent::Posterior)?) {
            frames.truncate(start.frames.len());
            tracks.push(self.track(start, "Reconstruction".into(), Kind::Reconstruction, frames));
        }
        let starts: Vec<&Start> = self.starts.iter().flat_map(|start| [start; WALKS]).collect();
        for (i, (start, frames)) in starts.iter().zip(self.roll_out(memory, &starts, Latent::Prior)?).enumerate() {
            tracks.push(self.track(start, format!("Walk {}", i % WALKS + 1), Kind::Walk, frames));
        }
        let note = format!(
            "A clip of the data, its reconstruction on the model's own predictions, and random walks from where it begins \
             (model of epoch {epoch})."
        );
        self.motion = Motion { note, tracks: Some(player::pack(&self.rig, &tracks)) };
        Ok(())
    }

    /// Runs the decoder from these starts. Returns each character's frames, normalised.
    fn roll_out(&self, memory: &mut Memory, starts: &[&Start], latent: Latent) -> Result<Vec<Vec<f32>>> {
        let frame_size = self.normalization.1.avg.len();
        let windows: Vec<u32> = starts.iter().map(|start| start.window).collect();
        let mut rolled: Vec<Vec<f32>> = starts.iter().map(|start| start.frames[..frame_size].to_vec()).collect();
        let mut rollout = self.decoder.begin(memory, &windows, self.seed, GROUP)?;
        for _ in 1..self.frames {
            rollout.step(latent)?;
            for (frames, next) in rolled.iter_mut().zip(rollout.frames()?.chunks_exact(frame_size)) {
                frames.extend_from_slice(next);
            }
        }
        Ok(rolled)
    }

    /// Tracks of the clips themselves.
    fn data(&self) -> Vec<Track> {
        let track = |start: &Start| self.track(start, "Data".into(), Kind::Data, start.frames.clone());
        self.starts.iter().map(track).collect()
    }

    /// A track of normalised frames.
    fn track(&self, start: &Start, name: String, kind: Kind, mut frames: Vec<f32>) -> Track {
        let (mode, statistics) = &self.normalization;
        statistics.denormalize(*mode, &mut frames);
        Track::new(name, kind, start.name.clone(), &self.rig, &frames)
    }
}

/// Chooses at most `count` clips to start from, with at most `most` frames each.
fn starts(shown: &Shown, count: usize, most: usize, condition_frames: usize) -> Vec<Start> {
    let Shown { set, split, .. } = shown;
    let start = |clip: Range<usize>, part: &str| {
        let number = set.clip_of(clip.start);
        let name = set.clip_names.get(number).cloned().unwrap_or_else(|| format!("clip {}", number + 1));
        let first = (clip.start + condition_frames - 1).min(clip.end - 1);
        let end = clip.end.min(first + most);
        let frames = set.frames[first * set.frame_size..end * set.frame_size].to_vec();
        Start { name: format!("{name} ({part})"), window: clip.start as u32, frames }
    };
    let held_out = spread(&split.validation, count);
    let train = spread(&split.train, count - held_out.len());
    let held_out = held_out.into_iter().map(|clip| start(clip, "held out"));
    held_out.chain(train.into_iter().map(|clip| start(clip, "trained on"))).collect()
}

/// Chooses at most `count` of the longer clips, spread over the set.
fn spread(clips: &[Range<usize>], count: usize) -> Vec<Range<usize>> {
    let longest = clips.iter().map(Range::len).max().unwrap_or(0);
    let long: Vec<_> = clips.iter().filter(|clip| clip.len() as f64 >= LONG * longest as f64).collect();
    let count = count.min(long.len());
    (0..count).map(|i| long[i * long.len() / count].clone()).collect()
}

//! Motion from a trained model: walks with latents from the prior or latents that are given, and
//! clips passed through the encoder.
use crate::Result;
use crate::backend::Backend;
use crate::infer::rollout::Latent;
use crate::infer::trained::Trained;
use crate::infer::walk::{GROUP, Walk};

/// Where the latents of a motion come from.
#[derive(Debug, Clone, Copy)]
pub enum Latents<'a> {
    /// Drawn from the prior, with the standard deviation `temperature` (vq: codes with equal
    /// probabilities).
    Prior {
        /// Seed of the draws.
        seed: u64,
        /// Standard deviation of the draws; 1 is the prior itself.
        temperature: f64,
    },
    /// The given latents, [characters, frames, L].
    Given(&'a [f32]),
    /// Posterior means from the encoder, for the frames that follow in each track.
    Encoder,
}

/// Motion made by a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Motion {
    /// Characters.
    pub characters: usize,
    /// Frames of each.
    pub frames: usize,
    /// F: features of a frame.
    pub frame_size: usize,
    /// L: entries of a latent.
    pub latent_size: usize,
    /// Poses in the units of the data, [characters, frames, F].
    pub poses: Vec<f32>,
    /// The latent of each frame, [characters, frames, L].
    pub latents: Vec<f32>,
}

impl Motion {
    /// The poses of one character, [frames, F].
    pub fn character(&self, character: usize) -> &[f32] {
        let len = self.frames * self.frame_size;
        &self.poses[character * len..][..len]
    }

    /// The first frame of a character that holds a number that is not finite, if there is one.
    pub fn first_nonfinite(&self, character: usize) -> Option<usize> {
        self.character(character).chunks_exact(self.frame_size).position(|pose| pose.iter().any(|x| !x.is_finite()))
    }
}

/// Number of frames that a track needs after its C conditions, so that `frames` frames can be
/// encoded.
pub(crate) fn frames_to_encode(trained: &Trained, frames: usize) -> usize {
    frames + trained.model().future_predictions - 1
}

/// One frame of a group of characters.
pub struct Step<'a> {
    /// The group's first character.
    pub first: usize,
    /// Frame, from 0.
    pub frame: usize,
    /// Predicted frames, normalised: [characters of the group, F].
    pub rows: &'a [f32],
    /// Latents of these frames, [characters of the group, L].
    pub latents: &'a [f32],
}

/// Like [`stream`], but returns the whole motion, in the units of the data.
pub fn generate(
    trained: &Trained,
    backend: &dyn Backend,
    tracks: &[&[f32]],
    frames: usize,
    latents: Latents,
) -> Result<Motion> {
    let (f, l, characters) = (trained.model().frame_size, trained.model().latent_size, tracks.len());
    let mut poses = vec![0.0; characters * frames * f];
    let mut zs = vec![0.0; characters * frames * l];
    stream(trained, backend, tracks, frames, latents, |step| {
        let rows = step.rows.chunks_exact(f).zip(step.latents.chunks_exact(l));
        for (character, (row, z)) in (step.first..).zip(rows) {
            let place = character * frames + step.frame;
            poses[place * f..][..f].copy_from_slice(row);
            zs[place * l..][..l].copy_from_slice(z);
        }
    })?;
    trained.statistics.denormalize(trained.meta.normalization, &mut poses);
    Ok(Motion { characters, frames, frame_size: f, latent_size: l, poses, latents: zs })
}

/// Predicts `frames` frames for each track.
///
/// A track is the frames of one character, [at least C, F], in the units of the data. Its first C
/// frames are the conditions; [`Latents::Encoder`] encodes the frames after them. `see` is called
/// with every frame, group by group. Errors: not enough memory, those of the backend.
///
/// # Panics
/// When a track is too short (see [`frames_to_encode`]), or given latents are not [characters,
/// frames, L].
pub fn stream(
    trained: &Trained,
    backend: &dyn Backend,
    tracks: &[&[f32]],
    frames: usize,
    latents: Latents,
    mut see: impl FnMut(Step),
) -> Result<()> {
    let model = trained.model();
    let (f, l) = (model.frame_size, model.latent_size);
    let batch = tracks.len().min(GROUP);
    let behind = if matches!(latents, Latents::Encoder) { frames_to_encode(trained, frames) } else { 0 };
    assert!(tracks.iter().all(|track| track.len() >= (model.condition_frames + behind) * f), "frames of a track");

    let (seed, temperature) =
        if let Latents::Prior { seed, temperature } = latents { (seed, temperature) } else { (0, 1.0) };
    let longest = tracks.chunks(batch).map(|group| group.iter().map(|track| track.len() / f).sum()).max();
    let mut walk = Walk::new(trained, backend, batch, longest.unwrap_or_default(), temperature)?;
    for (group, tracks) in tracks.chunks(batch).enumerate() {
        let first = group * batch;
        let mut given = vec![0.0; tracks.len() * l];
        walk.begin(trained, tracks, seed, group as u32)?;
        for frame in 0..frames {
            walk.step(match latents {
                Latents::Prior { .. } => Latent::Prior,
                Latents::Encoder => Latent::Posterior,
                Latents::Given(all) => {
                    for (c, z) in given.chunks_exact_mut(l).enumerate() {
                        z.copy_from_slice(&all[((first + c) * frames + frame) * l..][..l]);
                    }
                    Latent::Given(&given)
                }
            })?;
            see(Step { first, frame, rows: &walk.frames()?, latents: &walk.latents()? });
        }
    }
    Ok(())
}

/// The latents of a clip: the posterior's means for each frame that has C frames before it and
/// K - 1 behind it, given the true frames before it. `clip` is [frames, F] in the units of the
/// data, the result is [frames - C - K + 1, L]. Errors: those of [`stream`].
pub fn encode(trained: &Trained, backend: &dyn Backend, clip: &[f32]) -> Result<Vec<f32>> {
    let model = trained.model();
    let (f, span) = (model.frame_size, model.condition_frames + frames_to_encode(trained, 1));
    let windows: Vec<&[f32]> = clip.windows(span * f).step_by(f).collect();
    Ok(generate(trained, backend, &windows, 1, Latents::Encoder)?.latents)
}

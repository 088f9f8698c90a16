//! Characters under way: they step together, frame by frame, for as long as they are asked to.
use crate::Result;
use crate::backend::{Backend, Memory};
use crate::infer::rollout::{Decoder, Latent, Rollout};
use crate::infer::trained::Trained;
use crate::plan::arena::{Arena, Mat};

/// Most characters that are decoded at once; more are split into groups of this size.
pub(crate) const GROUP: usize = 128;

/// Characters that a trained model moves, each conditioned on its own last frame.
pub struct Walk<'b> {
    /// The decoder of each group.
    groups: Vec<Decoder>,
    memory: Memory<'b>,
    /// Frames to start from, and to encode.
    data: Mat<f32>,
    latent_size: usize,
    frame_size: usize,
    characters: usize,
    seed: u64,
    /// Number of the first group, which random numbers depend on.
    first_group: u32,
    step: usize,
}

impl<'b> Walk<'b> {
    /// Lays out `characters` characters whose tracks have `frames` frames in all. Latents from the
    /// prior have the standard deviation `temperature`. Errors: not enough memory, those of the
    /// backend.
    pub fn new(
        trained: &Trained,
        backend: &'b dyn Backend,
        characters: usize,
        frames: usize,
        temperature: f64,
    ) -> Result<Self> {
        let model = trained.model();
        let mut arena = Arena::default();
        let parameters = trained.parameters(&mut arena);
        let data = arena.mat(frames, model.frame_size);
        let decoder = |_| Decoder::new(&mut arena, &parameters, data, model, characters.min(GROUP), temperature);
        let groups = (0..characters.div_ceil(GROUP)).map(decoder).collect::<Result<_>>()?;
        let mut memory = Memory::new(backend, arena)?;
        trained.restore(&parameters, &mut memory)?;
        let (latent_size, frame_size) = (model.latent_size, model.frame_size);
        Ok(Walk { groups, memory, data, latent_size, frame_size, characters, seed: 0, first_group: 0, step: 0 })
    }

    /// Puts a character at the start of each track, at most as many as were laid out. A track is
    /// [at least C, F] in the units of the data: the conditions, and frames to encode. Random
    /// numbers depend on `seed`, on the number `first_group` of the first group, and on a
    /// character's place in its group. Errors: those of the backend.
    ///
    /// # Panics
    /// With no tracks, or with more of them or more frames than were laid out.
    pub fn begin(&mut self, trained: &Trained, tracks: &[&[f32]], seed: u64, first_group: u32) -> Result<()> {
        let mut data = trained.normalized(&tracks.concat());
        data.resize(self.data.len(), 0.0);
        self.memory.write(self.data, &data)?;
        let mut starts = Vec::new();
        let mut first = 0;
        for track in tracks {
            starts.push(first as u32);
            first += track.len() / self.frame_size;
        }
        (self.characters, self.seed, self.first_group, self.step) = (tracks.len(), seed, first_group, 0);
        for ((decoder, starts), group) in self.groups.iter().zip(starts.chunks(GROUP)).zip(first_group..) {
            decoder.begin(&mut self.memory, starts, seed, group)?;
        }
        Ok(())
    }

    /// Predicts the next frame of every character. Latents that are given are [characters, L].
    /// Errors: those of the backend.
    pub fn step(&mut self, latent: Latent) -> Result<()> {
        let l = self.latent_size;
        for group in 0..self.groups.len() {
            let (first, count) = self.of_group(group);
            let mut rollout = self.rollout(group);
            match latent {
                Latent::Given(all) => {
                    let mut given = all[first * l..][..count * l].to_vec();
                    given.resize(rollout.characters() * l, 0.0);
                    rollout.step(Latent::Given(&given))?;
                }
                drawn => rollout.step(drawn)?,
            }
        }
        self.step += 1;
        Ok(())
    }

    /// The prediction of the last step, normalised: [characters, F].
    pub fn frames(&mut self) -> Result<Vec<f32>> {
        let f = self.frame_size;
        self.gather(f, |rollout| rollout.frames())
    }

    /// The latents of the last step, [characters, L].
    pub fn latents(&mut self) -> Result<Vec<f32>> {
        let l = self.latent_size;
        self.gather(l, |rollout| rollout.latents())
    }

    /// Steps that are done.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// First character of a group, and its number of characters.
    fn of_group(&self, group: usize) -> (usize, usize) {
        let first = group * GROUP;
        (first, self.characters.saturating_sub(first).min(GROUP))
    }

    fn rollout(&mut self, group: usize) -> Rollout<'_, 'b> {
        self.groups[group].resume(&mut self.memory, self.seed, self.first_group + group as u32, self.step)
    }

    /// The rows of all characters, of `size` numbers each.
    fn gather(&mut self, size: usize, read: impl Fn(&Rollout) -> Result<Vec<f32>>) -> Result<Vec<f32>> {
        let mut rows = Vec::with_capacity(self.characters * size);
        for group in 0..self.groups.len() {
            let (_, count) = self.of_group(group);
            rows.extend_from_slice(&read(&self.rollout(group))?[..count * size]);
        }
        Ok(rows)
    }
}

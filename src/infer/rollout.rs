//! Rollouts of a model: characters side by side, each conditioned on its own last prediction.
//! Evaluation, `generate` and `eval` all decode through this module, on any backend.
use crate::Result;
use crate::backend::Memory;
use crate::config::ModelConfig;
use crate::model::layout::Parameters;
use crate::model::network::{Network, Wanted};
use crate::ops::begin_step::{self, StepState};
use crate::ops::window::{self, Window};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat};

/// Steps whose states are written at once.
const SCHEDULE: usize = 256;

/// Where a step's latents come from.
#[derive(Debug, Clone, Copy)]
pub enum Latent<'a> {
    /// The posterior's mean (vq: its code) for the true next frame, given the character's own past.
    Posterior,
    /// The prior, at the temperature the decoder was laid out with.
    Prior,
    /// The given latents, [B, L].
    Given(&'a [f32]),
}

/// A network laid out for inference over `batch` characters.
pub(crate) struct Decoder {
    /// The network.
    pub network: Network<f32>,
    frame_size: usize,
    schedule: Mat<StepState>,
    cursor: Mat<u32>,
    starts: Mat<u32>,
    posterior: Plan,
    prior: Plan,
    given: Plan,
}

impl Decoder {
    /// Lays out a decoder of `batch` characters, which start on windows of `data` [frames, F],
    /// normalised. Latents from the prior have the standard deviation `temperature`. Errors: shapes
    /// that do not fit.
    pub fn new(
        arena: &mut Arena,
        parameters: &Parameters<f32>,
        data: Mat<f32>,
        model: &ModelConfig,
        batch: usize,
        temperature: f64,
    ) -> Result<Self> {
        let network = Network::new(arena, parameters, model, batch, 0.0, Wanted::Nothing)?;
        let schedule = arena.mat(1, SCHEDULE);
        let (cursor, state, starts) = (arena.mat(1, 2), arena.mat(1, 1), arena.mat(1, batch));
        let (condition, truth, prediction) = (network.condition, network.truth, network.prediction);
        let window = Window { data, starts, schedule, cursor, prediction, losses: Mat::NONE, condition, truth };
        let plan = |latent: &dyn Fn(&mut Plan)| {
            let mut plan = Plan::default();
            window::push(&mut plan, &window);
            begin_step::push::<f32>(&mut plan, schedule, Mat::NONE, cursor, state);
            latent(&mut plan);
            network.decode(&mut plan);
            network.draw_pick(&mut plan, Mat::NONE);
            network.predict(&mut plan);
            plan
        };
        let posterior = plan(&|plan| network.encode(plan));
        let prior = plan(&|plan| network.sample_prior(plan, state, temperature));
        let given = plan(&|_| ());
        let frame_size = model.frame_size;
        Ok(Decoder { network, frame_size, schedule, cursor, starts, posterior, prior, given })
    }

    /// Number of characters side by side.
    pub fn batch(&self) -> usize {
        self.starts.len()
    }

    /// Starts a rollout: character b starts at the window whose oldest frame is `windows[b]`, and
    /// any further characters repeat the first. Random numbers depend on `seed` and `group`.
    /// Character b of a group draws the same numbers whatever runs beside it.
    ///
    /// # Panics
    /// With no windows, or with more windows than characters.
    pub fn begin<'r, 'b>(
        &'r self,
        memory: &'r mut Memory<'b>,
        windows: &[u32],
        seed: u64,
        group: u32,
    ) -> Result<Rollout<'r, 'b>> {
        let mut starts = vec![windows[0]; self.batch()];
        starts[..windows.len()].copy_from_slice(windows);
        memory.write(self.starts, &starts)?;
        Ok(self.resume(memory, seed, group, 0))
    }

    /// A rollout of which `step` steps are done, as [`Decoder::begin`] began it.
    pub fn resume<'r, 'b>(&'r self, memory: &'r mut Memory<'b>, seed: u64, group: u32, step: usize) -> Rollout<'r, 'b> {
        Rollout { decoder: self, memory, seed, group, step }
    }
}

/// A rollout under way.
pub struct Rollout<'r, 'b> {
    decoder: &'r Decoder,
    memory: &'r mut Memory<'b>,
    seed: u64,
    group: u32,
    step: usize,
}

impl Rollout<'_, '_> {
    /// Predicts the next frame of every character. Errors: those of the backend.
    ///
    /// # Panics
    /// When given latents are not [B, L].
    pub fn step(&mut self, latent: Latent) -> Result<()> {
        self.steps(latent, 1)
    }

    /// Predicts the next `count` frames; only the last of them can be read.
    pub fn steps(&mut self, latent: Latent, mut count: usize) -> Result<()> {
        let decoder = self.decoder;
        let plan = match latent {
            Latent::Posterior => &decoder.posterior,
            Latent::Prior => &decoder.prior,
            Latent::Given(z) => {
                self.memory.write(decoder.network.z.value, z)?;
                &decoder.given
            }
        };
        while count > 0 {
            let scheduled = self.step % SCHEDULE;
            if scheduled == 0 {
                self.schedule()?;
            }
            let now = count.min(SCHEDULE - scheduled);
            self.memory.repeat(plan, now)?;
            (self.step, count) = (self.step + now, count - now);
        }
        Ok(())
    }

    /// Writes the states of the next [`SCHEDULE`] steps.
    fn schedule(&mut self) -> Result<()> {
        let (seed, group) = (self.seed, u64::from(self.group) << 32);
        let state = |i: usize| StepState {
            seed,
            step: group | i as u64,
            rollout_step: i as u32,
            student: 1,
            ..StepState::default()
        };
        let states: Vec<_> = (self.step..self.step + SCHEDULE).map(state).collect();
        self.memory.write(self.decoder.schedule, &states)?;
        self.memory.write(self.decoder.cursor, &[0, 0])
    }

    /// Number of characters side by side.
    pub fn characters(&self) -> usize {
        self.decoder.batch()
    }

    /// The prediction of the last step: the next frame of each character, normalised.
    pub fn frames(&self) -> Result<Vec<f32>> {
        self.first_frames(self.decoder.network.prediction)
    }

    /// The true frames at the same place.
    pub fn truth(&self) -> Result<Vec<f32>> {
        self.first_frames(self.decoder.network.truth)
    }

    /// The latents of the last step, [B, L].
    pub fn latents(&self) -> Result<Vec<f32>> {
        self.read(self.decoder.network.z.value)
    }

    /// Reads a tensor of the network.
    pub fn read<E: bytemuck::Pod>(&self, of: Mat<E>) -> Result<Vec<E>> {
        self.memory.read(of)
    }

    /// The first of the K frames in each row of [B, K F].
    fn first_frames(&self, of: Mat<f32>) -> Result<Vec<f32>> {
        let (mut rows, f) = (self.memory.read(of)?, self.decoder.frame_size);
        if of.cols() > f {
            rows = rows.chunks_exact(of.cols()).flat_map(|row| row[..f].iter().copied()).collect();
        }
        Ok(rows)
    }
}

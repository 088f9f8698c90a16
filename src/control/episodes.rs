//! Characters of a task that act as they are told, step by step. One that is done starts anew at
//! once.
use super::config::PolicyConfig;
use super::play::{Play, Policy};
use crate::Result;
use crate::backend::Backend;
use crate::ops::advantage::OUTCOME;
use std::path::PathBuf;

/// Characters that others steer.
pub struct Episodes<'a> {
    play: Play<'a>,
    /// Steps since the start.
    steps: u64,
}

/// The outcome of a step, for P characters.
pub struct Outcome {
    /// Observations to act on next, [P, D].
    pub observations: Vec<f32>,
    /// Rewards of the step, \[P\].
    pub rewards: Vec<f32>,
    /// Characters whose episode ended by their own doing, \[P\].
    pub terminated: Vec<bool>,
    /// Characters whose time was out, \[P\].
    pub truncated: Vec<bool>,
    /// Observations in which episodes ended, [P, D], if any did. Rows of characters that go on are
    /// their observations.
    pub last: Option<Vec<f32>>,
}

impl<'a> Episodes<'a> {
    /// Lays out `characters` characters in the surroundings that `config` describes. They start
    /// from poses of `data`, or of the decoder's training data, as [`Episodes::restart`] puts them
    /// with seed 0. Errors: those of [`Policy::untrained`], not enough memory.
    pub fn open(config: &PolicyConfig, data: &[PathBuf], backend: &'a dyn Backend, characters: usize) -> Result<Self> {
        let policy = Policy::untrained(config, data)?;
        let play = Play::new(policy, backend, (characters, config.horizon(), 0), config.stagger_episodes)?;
        let mut episodes = Episodes { play, steps: 0 };
        episodes.restart(0)?;
        Ok(episodes)
    }

    /// Numbers of an observation, and of an action.
    pub fn sizes(&self) -> [usize; 2] {
        let environment = &self.play.stage.environment;
        [environment.observation.cols(), environment.action.cols()]
    }

    /// Puts every character at a start, and returns the observations [P, D]. The same seed makes
    /// the same starts and the same draws of the task. Errors: those of the backend.
    pub fn restart(&mut self, seed: u64) -> Result<Vec<f32>> {
        let Play { stage, memory, .. } = &mut self.play;
        (stage.seed, self.steps) = (seed, 0);
        stage.restart(memory)?;
        memory.read(stage.environment.observation)
    }

    /// Carries out actions [P, A], each number of which is about in [-1, 1]. Errors: those of the
    /// backend.
    ///
    /// # Panics
    /// When the actions have another shape.
    pub fn step(&mut self, actions: &[f32]) -> Result<Outcome> {
        let Play { stage, memory, .. } = &mut self.play;
        let ahead = stage.ahead();
        if self.steps.is_multiple_of(ahead as u64) {
            stage.write_steps(memory, self.steps, ahead)?;
        }
        self.steps += 1;
        let environment = &stage.environment;
        memory.write(environment.action, actions)?;
        memory.run(&stage.given)?;
        let outcome = memory.read(environment.world.outcome)?;
        let mut observations = memory.read(environment.observation)?;
        // A character that goes on has a 1 in its second number; so has one in its third whose time
        // is not out.
        let rows = || outcome.chunks_exact(OUTCOME);
        let done = |row: &[f32]| row[1] == 0.0;
        let last = rows().any(done).then(|| std::mem::take(&mut observations));
        if last.is_some() {
            memory.run(&stage.anew)?;
            observations = memory.read(environment.observation)?;
        }
        Ok(Outcome {
            observations,
            rewards: rows().map(|row| row[0]).collect(),
            terminated: rows().map(|row| done(row) && row[2] != 0.0).collect(),
            truncated: rows().map(|row| done(row) && row[2] == 0.0).collect(),
            last,
        })
    }
}

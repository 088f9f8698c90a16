//! Control without learning, the paper's baseline: before each step, a character tries several
//! sequences of latents from the prior, and takes the first action of the best one.
use super::config::PolicyConfig;
use super::play::Play;
use super::stage::Stage;
use crate::backend::{Backend, Memory};
use crate::ops::advantage::OUTCOME;
use crate::plan::arena::Mat;
use crate::{Error, Result};
use bytemuck::Pod;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The amount of planning, as `--planner TRIES,STEPS` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// N: sequences that each character tries before each step.
    pub tries: usize,
    /// H: steps of a sequence.
    pub steps: usize,
}

impl FromStr for Effort {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts: Option<Vec<usize>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        match parts.as_deref() {
            Some(&[tries, steps]) if tries > 0 && steps > 0 => Ok(Effort { tries, steps }),
            _ => Err("expected TRIES,STEPS, such as 200,4".into()),
        }
    }
}

/// A planner for P characters.
pub struct Planner<'a> {
    /// P N characters, N copies of each that plans.
    copies: Play<'a>,
    effort: Effort,
    /// Steps planned so far.
    planned: u64,
}

impl<'a> Planner<'a> {
    /// A planner for `characters` characters of a controller's task; its policy is not used.
    /// Errors: those of [`Play::open`], more copies than can be laid out, a task whose actions are
    /// no latents.
    pub fn open(
        (file, config, data): (&Path, &'a PolicyConfig, &[PathBuf]),
        backend: &'a dyn Backend,
        (characters, horizon, seed): (usize, usize, u64),
        effort: Effort,
    ) -> Result<Self> {
        if config.task.info().lower.is_some() {
            return Err(Error::Usage("--planner: actions of the maze are no latents; leave it out".into()));
        }
        let all = characters.saturating_mul(effort.tries);
        // Another seed than the episode's, which draws commands and starts.
        let copies = Play::open(file, config, data, backend, (all, horizon, seed ^ 1 << 32), None)?;
        Ok(Planner { copies, effort, planned: 0 })
    }

    /// The actions [P, A] of characters on `stage` after `step` steps. Errors: those of the
    /// backend.
    fn actions(&mut self, stage: &Stage<f32>, memory: &Memory, step: usize) -> Result<Vec<f32>> {
        let Effort { tries, steps } = self.effort;
        let (ours, copies) = (&stage.environment, &self.copies.stage.environment);
        let (from, to, trial) = (&ours.world, &copies.world, &mut self.copies.memory);
        let mats = [
            (from.history, to.history),
            (from.root, to.root),
            (from.facing, to.facing),
            (from.feet, to.feet),
            (from.own, to.own),
            (from.draws, to.draws),
            (from.outcome, to.outcome),
        ];
        mats.into_iter().try_for_each(|(from, to)| copy(memory, from, trial, to, tries))?;
        copy(memory, from.words, trial, to.words, tries)?;
        let all = from.root.rows() * tries;
        let (mut gain, mut over, mut first) = (vec![0.0f64; all], vec![false; all], Vec::new());
        let ahead = self.copies.stage.ahead();
        for h in 0..steps {
            if h % ahead == 0 {
                let clock = (step + h) as u64;
                self.copies.stage.write_planned(trial, clock, self.planned, ahead.min(steps - h))?;
            }
            self.planned += 1;
            trial.run(&self.copies.stage.random)?;
            if h == 0 {
                first = trial.read(copies.action)?;
            }
            for ((outcome, gain), over) in trial.read(to.outcome)?.chunks_exact(OUTCOME).zip(&mut gain).zip(&mut over) {
                if !*over {
                    *gain += f64::from(outcome[0]);
                }
                *over |= outcome[1] == 0.0;
            }
        }
        let actions = copies.action.cols();
        let best = gain.chunks_exact(tries).enumerate().map(|(p, gains)| {
            let best = (0..tries).max_by(|&a, &b| gains[a].total_cmp(&gains[b])).expect("at least one try");
            p * tries + best
        });
        Ok(best.flat_map(|i| first[i * actions..][..actions].to_vec()).collect())
    }
}

/// Copies a tensor [P, W] to [P N, W], N times each row.
fn copy<E: Pod>(memory: &Memory, from: Mat<E>, trial: &mut Memory, to: Mat<E>, tries: usize) -> Result<()> {
    if from.is_none() {
        return Ok(());
    }
    let rows = memory.read(from)?;
    let all: Vec<E> = rows.chunks_exact(from.cols()).flat_map(|row| row.repeat(tries)).collect();
    trial.write(to, &all)
}

/// Runs all characters from fresh starts for `steps` steps under a planner. `see` is called after
/// the start and after each step. Errors: those of the backend and of `see`.
pub(crate) fn perform(
    play: &mut Play,
    planner: &mut Planner,
    steps: usize,
    mut see: impl FnMut(&Stage<f32>, &Memory) -> Result<()>,
) -> Result<()> {
    let (stage, memory) = (&play.stage, &mut play.memory);
    stage.restart(memory)?;
    see(stage, memory)?;
    for step in 0..steps {
        let actions = planner.actions(stage, memory, step)?;
        let ahead = stage.ahead();
        if step % ahead == 0 {
            stage.write_steps(memory, step as u64, ahead.min(steps - step))?;
        }
        memory.write(stage.environment.action, &actions)?;
        memory.run(&stage.given)?;
        memory.run(&stage.anew)?;
        see(stage, memory)?;
    }
    Ok(())
}

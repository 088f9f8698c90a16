//! Control without learning, the paper's baseline: before each step, a character tries several
//! sequences of latents from the prior, and takes the first action of the best one.
use super::config::MAX_CHARACTERS;
use super::play::{Play, Policy};
use super::stage::Stage;
use crate::backend::{Backend, Memory};
use crate::ops::advantage::OUTCOME;
use crate::plan::arena::Mat;
use crate::{Error, Result};
use bytemuck::Pod;

/// The amount of planning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// N: sequences that each character tries before each step.
    pub rollouts: usize,
    /// H: steps of a sequence.
    pub horizon: usize,
}

impl Effort {
    /// Steps that are tried for each step.
    pub(crate) fn steps(self) -> usize {
        self.rollouts * self.horizon
    }
}

impl Default for Effort {
    /// The numbers of the paper.
    fn default() -> Self {
        Effort { rollouts: 200, horizon: 4 }
    }
}

/// A planner for P characters.
pub struct Planner<'a> {
    /// P N characters, N copies of each that plans.
    copies: Play<'a>,
    /// The amount of planning.
    pub(crate) effort: Effort,
    /// Steps planned so far.
    planned: u64,
}

impl<'a> Planner<'a> {
    /// A planner for characters in the surroundings of `policy`, which itself is not used. Sizes
    /// and `anew` are those of the characters ([`Play::open`]). Actions of their task are latents.
    /// Errors: those of [`Play::open`], more copies than can be laid out.
    pub fn new(
        policy: Policy,
        backend: &'a dyn Backend,
        (characters, horizon, seed): (usize, usize, u64),
        anew: Option<f64>,
        effort: Effort,
    ) -> Result<Self> {
        let all = characters.saturating_mul(effort.rollouts);
        if all > MAX_CHARACTERS {
            let what = format!("--characters times --rollouts is {all}, expected at most {MAX_CHARACTERS}");
            return Err(Error::Usage(what));
        }
        // Another seed than the episode's, which draws commands and starts.
        let copies = Play::open(policy, backend, (all, horizon, seed ^ 1 << 32), anew)?;
        Ok(Planner { copies, effort, planned: 0 })
    }

    /// The actions [P, A] of characters on `stage` after `step` steps. Errors: those of the
    /// backend.
    pub(crate) fn actions(&mut self, stage: &Stage<f32>, memory: &Memory, step: usize) -> Result<Vec<f32>> {
        let Effort { rollouts: tries, horizon: steps } = self.effort;
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

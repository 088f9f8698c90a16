//! How a policy learns from a rollout: one algorithm or the other, and what both have.
use super::config::{Algorithm, PolicyConfig};
use super::ppo::{self, Learning, PpoOptions};
use super::setup::PolicySetup;
use super::shac::{Shac, ShacOptions};
use super::stage::Stage;
use crate::backend::Memory;
use crate::model::layout::Parameters;
use crate::ops::adam::adam_state;
use crate::ops::begin_step::StepState;
use crate::ops::clip_grad;
use crate::ops::experience::Rollout;
use crate::ops::ppo_loss::slot;
use crate::philox::{Purpose, Stream};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat};
use crate::{Error, Result};

/// About the number of samples between two checks for a stop.
const LOOK: usize = 1 << 16;

/// The tensors and plans by which a policy learns.
pub enum Learner {
    /// Short-horizon actor-critic.
    Shac(Box<Shac<f32>>),
    /// Proximal policy optimization.
    Ppo(Box<Learning<f32>>),
}

impl Learner {
    /// Lays out the learning of a policy of which characters explore on `stage`. `mean_weight` is
    /// the weight of the squares of its mean. Errors: shapes that do not fit.
    pub(crate) fn new(
        arena: &mut Arena,
        c: &PolicyConfig,
        policy: &Parameters<f32>,
        stage: &Stage<f32>,
        mean_weight: f64,
    ) -> Result<Self> {
        let adam = [c.adam_beta1, c.adam_beta2, c.adam_eps];
        let minibatch = c.minibatch();
        match c.algorithm {
            Algorithm::Shac => {
                let options = ShacOptions {
                    steps: c.steps(),
                    minibatch,
                    epochs: c.epochs,
                    gamma: c.gamma,
                    lambda: c.gae_lambda,
                    reward_scale: c.reward_scale,
                    mean_weight,
                    max_grad_norm: c.max_grad_norm,
                    adam,
                };
                Ok(Learner::Shac(Box::new(Shac::new(arena, policy, stage, &options)?)))
            }
            Algorithm::Ppo => {
                let options = PpoOptions {
                    characters: c.characters,
                    steps: c.steps(),
                    minibatch,
                    epochs: c.epochs,
                    gamma: c.gamma,
                    lambda: c.gae_lambda,
                    reward_scale: c.reward_scale,
                    clip: c.clip,
                    entropy_weight: c.entropy_weight,
                    mean_weight,
                    max_grad_norm: c.max_grad_norm,
                    adam,
                    own_critic_schedule: c.critic_learning_rate.is_some(),
                };
                let observation = stage.environment.observation.cols();
                Ok(Learner::Ppo(Box::new(Learning::new(arena, policy, observation, &options)?)))
            }
        }
    }

    /// The rollout.
    pub fn rollout(&self) -> &Rollout<f32> {
        match self {
            Learner::Shac(shac) => &shac.rollout,
            Learner::Ppo(ppo) => &ppo.rollout,
        }
    }

    /// Optimizer steps of an update, in shac of the critic.
    pub fn steps(&self) -> usize {
        match self {
            Learner::Shac(shac) => shac.schedule.len(),
            Learner::Ppo(ppo) => ppo.schedule.len(),
        }
    }

    /// Buffer of the losses, which stop an update once one is not finite.
    pub(crate) fn losses(&self) -> Mat<f64> {
        match self {
            Learner::Shac(shac) => shac.losses,
            Learner::Ppo(ppo) => ppo.losses,
        }
    }

    /// Appends the calls that keep what holds before a step.
    pub(crate) fn before(&self, plan: &mut Plan, stage: &Stage<f32>) {
        if let Learner::Shac(shac) = self {
            shac.before(plan, stage);
        }
    }

    /// Appends the calls that keep what a step has made.
    pub(crate) fn after(&self, plan: &mut Plan, stage: &Stage<f32>) {
        match self {
            Learner::Shac(shac) => shac.after(plan, stage),
            Learner::Ppo(ppo) => stage.keep(plan, &ppo.rollout),
        }
    }
}

/// Runs a plan, which makes `samples` samples, `times` times. Returns false if `give_up` became
/// true before the end.
pub(crate) fn repeat(
    memory: &mut Memory,
    plan: &Plan,
    times: usize,
    samples: usize,
    give_up: &dyn Fn() -> bool,
) -> Result<bool> {
    let (portion, mut left) = ((LOOK / samples).max(1), times);
    while left > 0 && !give_up() {
        memory.repeat(plan, portion.min(left))?;
        left -= portion.min(left);
    }
    Ok(left == 0)
}

/// The order in which an update learns from its samples, epoch after epoch.
fn order(c: &PolicyConfig, update: usize) -> Vec<u32> {
    let epoch = |epoch: usize| Stream::new(c.seed, Purpose::Shuffle, (update * c.epochs + epoch) as u64);
    (0..c.epochs).flat_map(|i| epoch(i).permutation(c.samples())).collect()
}

/// States of the optimizer steps of an update at a learning rate.
fn states(run: &PolicySetup, rate: f64) -> Vec<StepState> {
    let c = run.config;
    let (n, minibatch) = (c.samples(), c.minibatch());
    let per_epoch = n.div_ceil(minibatch);
    let state = |i: usize| StepState {
        minibatch: (i / per_epoch * n + i % per_epoch * minibatch) as u32,
        ..adam_state(rate, [c.adam_beta1, c.adam_beta2], run.at.step + 1 + i as u64)
    };
    (0..c.epochs * per_epoch).map(state).collect()
}

/// Learns from the rollout at the learning rate `rate`. Returns false if `give_up` became true
/// before the end. Errors: a loss or gradient that is not finite, those of the backend.
pub(crate) fn learn(run: &mut PolicySetup, rate: f64, give_up: &dyn Fn() -> bool) -> Result<bool> {
    let (c, order) = (run.config, order(run.config, run.at.epoch));
    let (n, minibatch) = (c.samples(), c.minibatch());
    let (sums, step, rest) = match &run.update {
        Learner::Ppo(ppo) => {
            run.memory.write(ppo.order, &order)?;
            run.memory.write(ppo.schedule, &states(run, rate))?;
            if let Some(rate) = c.critic_learning_rate {
                run.memory.write(ppo.critic_schedule, &states(run, rate))?;
            }
            ppo.rewind(&mut run.memory)?;
            run.memory.run(&ppo.estimate)?;
            (ppo.sums, &ppo.step, &ppo.rest)
        }
        Learner::Shac(shac) => {
            run.memory.write(shac.order, &order)?;
            let of_critic = c.critic_learning_rate.map_or(rate, |critic| critic * rate / c.learning_rate);
            run.memory.write(shac.schedule, &states(run, of_critic))?;
            let actor = adam_state(rate, [c.adam_beta1, c.adam_beta2], run.at.epoch as u64);
            run.memory.write(shac.actor_schedule, &[actor])?;
            shac.rewind(&mut run.memory)?;
            run.memory.run(&shac.estimate)?;
            run.stage.write_way_back(&mut run.memory, c.steps())?;
            run.memory.run(&shac.end)?;
            if !repeat(&mut run.memory, &shac.pull, c.steps(), c.characters, give_up)? {
                return Ok(false);
            }
            run.memory.run(&shac.gradients)?;
            if !clip_grad::norm(&run.memory.read(shac.squares)?).is_finite() {
                let mend = "the last checkpoint is intact; try fewer --steps or a smaller --learning-rate".to_owned();
                let operation = "the gradient of the rollout".to_owned();
                return Err(Error::NonFinite { epoch: run.at.epoch, step: run.at.step, operation, mend });
            }
            run.memory.run(&shac.act)?;
            (shac.sums, &shac.step, &shac.rest)
        }
    };
    run.memory.write(sums, &vec![0.0; sums.len()])?;
    for _ in 0..c.epochs {
        if !repeat(&mut run.memory, step, n / minibatch, minibatch, give_up)? {
            return Ok(false);
        }
        if let Some(rest) = rest {
            run.memory.run(rest)?;
        }
    }
    run.at.step += run.update.steps() as u64;
    // The loss of ppo remembers the first step at which it was not finite; shac has the critic's.
    let bad = run.memory.read(run.update.losses())?[slot::NONFINITE_STEP] as u64;
    let finite = run.memory.read(sums)?[slot::POLICY].is_finite();
    if bad == 0 && finite {
        return Ok(true);
    }
    let bad = if bad == 0 { run.at.step } else { bad };
    let finite = run.memory.read(run.update.rollout().observations)?.iter().all(|x| x.is_finite());
    let operation = if finite { "the policy" } else { "the decoder (observations are not finite)" }.to_owned();
    let mend = "the last checkpoint is intact; try a smaller --critic-learning-rate or --learning-rate".to_owned();
    Err(Error::NonFinite { epoch: run.at.epoch, step: bad, operation, mend })
}

/// The findings of an update's learning, for the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Learned {
    /// Entropy of the policy, nats.
    pub entropy: f64,
    /// Mean squared error of the critic.
    pub value_loss: f64,
    /// Loss of the actor.
    pub action_loss: f64,
    /// KL of the update, nats; none in shac.
    pub kl: Option<f64>,
    /// Share of samples whose ratio was clipped; none in shac.
    pub clipped: Option<f64>,
    /// Norm of the gradient before it is clipped.
    pub grad_norm: f64,
    /// Mean of |policy's mean|^2, summed over the action's entries.
    pub square: f64,
}

/// Reads what the update's learning has to report; `rewards` are those of the rollout. Errors:
/// those of the backend.
pub(crate) fn learned(run: &PolicySetup, rewards: &[f64]) -> Result<Learned> {
    let steps = run.update.steps() as f64;
    match &run.update {
        Learner::Ppo(ppo) => {
            let sums = run.memory.read(ppo.sums)?;
            Ok(Learned {
                entropy: sums[slot::ENTROPY] / steps,
                value_loss: sums[slot::VALUE] / steps,
                action_loss: ppo.action_loss(&sums) / steps,
                kl: Some(sums[slot::KL] / steps),
                clipped: Some(sums[slot::CLIPPED] / steps),
                grad_norm: sums[ppo::GRAD_NORM] / steps,
                square: sums[slot::SQUARE] / steps,
            })
        }
        Learner::Shac(shac) => {
            let sums = run.memory.read(shac.sums)?;
            let [weights, means] = [shac.rewards, shac.means].map(|mat| run.memory.read(mat));
            let [values, of_values] = [shac.values.value, shac.values.grad].map(|mat| run.memory.read(mat));
            let logstd = run.memory.read(run.policy.var("dist.logstd._bias").value)?;
            let dot = |a: &[f32], b: &mut dyn Iterator<Item = f64>| {
                a.iter().zip(b).map(|(&a, b)| f64::from(a) * b).sum::<f64>()
            };
            let objective = dot(&weights?, &mut rewards.iter().copied())
                + dot(&of_values?, &mut values?.iter().map(|&v| f64::from(v)));
            let half = 0.5 * (std::f64::consts::TAU * std::f64::consts::E).ln();
            Ok(Learned {
                entropy: logstd.iter().map(|&s| f64::from(s) + half).sum(),
                value_loss: sums[slot::POLICY] / steps,
                action_loss: objective,
                kl: None,
                clipped: None,
                grad_norm: clip_grad::norm(&run.memory.read(shac.squares)?),
                square: means?.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / rewards.len() as f64,
            })
        }
    }
}

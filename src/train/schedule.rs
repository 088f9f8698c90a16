//! Schedules: the numbers that change over a run, as pure functions of the configuration and of the
//! progress.
use crate::config::{Config, Decay, Ramp};
use crate::ops::adam::adam_state;
use crate::ops::begin_step::StepState;
use crate::philox::{Purpose, Stream};
use std::f64::consts::PI;

/// Learning rate of optimizer step `step` (from 1), where an epoch has `per_epoch` steps. It rises
/// over the warm-up and falls over all epochs; the last step stays just short of the final value.
pub fn learning_rate(c: &Config, step: u64, per_epoch: usize) -> f64 {
    let epochs = (step - 1) as f64 / per_epoch as f64;
    let done = if c.decay == Decay::Epoch { epochs.floor() } else { epochs } / c.epochs() as f64;
    let fallen = if c.decay == Decay::Cosine { 0.5 - 0.5 * (PI * done).cos() } else { done };
    let risen = if c.warmup_steps == 0 { 1.0 } else { (step as f64 / c.warmup_steps as f64).min(1.0) };
    (c.learning_rate - (c.learning_rate - c.final_learning_rate) * fallen) * risen
}

/// Probability of feeding back the prediction instead of the true pose, during mini-batch
/// `minibatch` (from 0) of `minibatches` of an epoch (from 1).
///
/// By iteration (paper): 0, then linear over the mini-batches of the ramp, then 1. By epoch
/// (reference): the ramp's epochs are evenly spaced from 0 to 1, both included.
pub fn student_probability(c: &Config, epoch: usize, minibatch: usize, minibatches: usize) -> f64 {
    let ramp_epoch = (epoch - 1) as f64 - c.teacher_epochs as f64;
    match c.ramp {
        Ramp::Iteration if c.ramp_epochs == 0 => f64::from(ramp_epoch >= 0.0),
        Ramp::Iteration => {
            let done = ramp_epoch + minibatch as f64 / minibatches as f64;
            (done / c.ramp_epochs as f64).clamp(0.0, 1.0)
        }
        Ramp::Epoch if ramp_epoch >= c.ramp_epochs as f64 => 1.0,
        Ramp::Epoch => (ramp_epoch / (c.ramp_epochs.max(2) - 1) as f64).clamp(0.0, 1.0),
    }
}

/// Factor of the KL weight, which rises from 0 to 1 over the warm-up.
pub fn kl_scale(c: &Config, epoch: usize, minibatch: usize, minibatches: usize) -> f64 {
    if c.kl_warmup_epochs == 0 {
        return 1.0;
    }
    let done = (epoch - 1) as f64 + (minibatch + 1) as f64 / minibatches as f64;
    (done / c.kl_warmup_epochs as f64).min(1.0)
}

/// The phase of an epoch: `teacher`, `ramp` or `student`.
pub fn phase(c: &Config, epoch: usize) -> &'static str {
    if epoch <= c.teacher_epochs {
        "teacher"
    } else if epoch <= c.teacher_epochs + c.ramp_epochs {
        "ramp"
    } else {
        "student"
    }
}

/// The states of all steps of an epoch of `minibatches` mini-batches.
pub fn steps(c: &Config, epoch: usize, minibatches: usize) -> Vec<StepState> {
    let per_epoch = minibatches * c.rollout;
    let coin = |step: u64, probability: f64| Stream::new(c.seed, Purpose::Coin, step).uniform(0) < probability;
    let mut states = Vec::with_capacity(minibatches * c.rollout);
    for minibatch in 0..minibatches {
        let probability = student_probability(c, epoch, minibatch, minibatches);
        for rollout_step in 0..c.rollout {
            let step = ((epoch - 1) * per_epoch + minibatch * c.rollout + rollout_step + 1) as u64;
            states.push(StepState {
                seed: c.seed,
                kl_scale: kl_scale(c, epoch, minibatch, minibatches),
                minibatch: minibatch as u32,
                rollout_step: rollout_step as u32,
                // The coin of the previous step decides whether this step is conditioned on a
                // prediction.
                student: u32::from(rollout_step > 0 && coin(step - 1, probability)),
                ..adam_state(learning_rate(c, step, per_epoch), [c.adam_beta1, c.adam_beta2], step)
            });
        }
    }
    states
}

/// First frames of the windows of an epoch's `minibatches` mini-batches. Runs through all `windows`
/// again and again, each time in a new order and without the mini-batch that would not be full; an
/// epoch goes on where the one before it ended.
pub fn starts(c: &Config, windows: &[u32], epoch: usize, minibatches: usize) -> Vec<u32> {
    let a_pass = windows.len() / c.batch_size;
    let (mut starts, mut next) = (Vec::with_capacity(minibatches * c.batch_size), (epoch - 1) * minibatches);
    let end = next + minibatches;
    while next < end {
        let (pass, first) = (next / a_pass, next % a_pass);
        let last = a_pass.min(first + end - next);
        let order = Stream::new(c.seed, Purpose::Shuffle, pass as u64 + 1).permutation(windows.len());
        starts.extend(order[first * c.batch_size..last * c.batch_size].iter().map(|&i| windows[i as usize]));
        next += last - first;
    }
    starts
}

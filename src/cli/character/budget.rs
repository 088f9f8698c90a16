//! Time: what each stage takes, and trainings that fit into the minutes that were given.
use crate::config::Config;
use crate::control::config::PolicyConfig;
use std::time::Duration;

/// Time over which a speed is measured.
pub(super) const MEASURED: Duration = Duration::from_millis(1500);

/// Seconds of a training step before any was measured.
const STEP: f64 = 6e-3;
/// Training steps in the time of an update of a controller of [`SAMPLES`] samples.
const UPDATE: f64 = 60.0;
/// Characters by steps of the default's update.
const SAMPLES: f64 = 32.0 * 64.0;
/// Training steps in the time of a frame of an evaluated walk.
const FRAME: f64 = 6e-3;
/// Training steps in the time of the measurements at the end of the model's training.
const LAST_MEASUREMENT: f64 = 650.0;
/// Seconds of what is small: reading motion, and writing the page.
const SMALL: f64 = 6.0;
/// Share of the time of a training in its steps; evaluations, reports and checkpoints are the rest.
const IN_STEPS: f64 = 0.85;
/// Share of the trainings' time that the model gets.
const MODEL: f64 = 0.7;
/// Smallest number of a controller's updates.
const UPDATES: usize = 20;

/// Walks and frames of the model's evaluation: all, and where minutes are given.
const WALKS: [usize; 2] = [512, 128];
pub(super) const FRAMES: usize = 1800;
/// Characters of the controller's evaluation, and the steps of its episodes, about.
const CHARACTERS: [usize; 2] = [100, 50];
const HORIZON: f64 = 1200.0;

/// The minutes that were given, if any were, and the speed of this machine.
pub(super) struct Budget {
    /// Seconds that all of it may take.
    pub seconds: Option<f64>,
    /// Seconds of a training step of the model.
    pub step: f64,
}

impl Budget {
    /// The budget of these minutes, before anything was measured.
    pub fn new(minutes: Option<f64>) -> Self {
        Budget { seconds: minutes.map(|minutes| 60.0 * minutes), step: STEP }
    }

    /// Walks that measure the model.
    pub fn walks(&self) -> usize {
        WALKS[usize::from(self.seconds.is_some())]
    }

    /// Characters that measure the controller.
    pub fn characters(&self) -> usize {
        CHARACTERS[usize::from(self.seconds.is_some())]
    }

    /// Seconds of each stage after the one that reads motion: training and measuring the model,
    /// training and measuring the controller, writing the page.
    /// `spent` seconds are gone.
    pub fn stages(&self, spent: f64, steps: usize, policy: &PolicyConfig) -> [f64; 5] {
        let update = UPDATE * (policy.characters * policy.steps()) as f64 / SAMPLES;
        let walks = FRAME * (self.walks() * FRAMES) as f64;
        let episodes = FRAME * 2.0 * HORIZON * self.characters() as f64;
        let model = steps as f64 / IN_STEPS + LAST_MEASUREMENT;
        let [model, walks, policy, episodes] =
            [model, walks, policy.updates() as f64 * update, episodes].map(|steps| steps * self.step);
        let Some(all) = self.seconds else { return [model, walks, policy, episodes, SMALL] };
        let rest = (all - spent - walks - episodes - SMALL).max(0.0);
        let policy = policy.min((1.0 - MODEL) * rest);
        [model.min(rest - policy), walks, policy, episodes, SMALL]
    }

    /// The configuration of a training of `minibatches` mini-batches an epoch that takes `seconds`.
    /// All epochs become shorter alike, so that the learning rate still falls to its end. `None` if
    /// it need not be shorter.
    pub fn model(&self, config: &Config, minibatches: usize, seconds: f64) -> Option<Config> {
        let per_minibatch = (config.epochs() * config.rollout) as f64;
        let fit = (IN_STEPS * (seconds / self.step - LAST_MEASUREMENT) / per_minibatch) as usize;
        let fit = fit.max(1);
        let steps = fit * config.epochs() * config.rollout;
        let warmup_steps = config.warmup_steps.min(steps / 20);
        (fit < minibatches).then(|| Config { minibatches: fit, warmup_steps, ..config.clone() })
    }

    /// Updates of a controller's training that takes `seconds`, of `update` seconds each. `None` if
    /// it need not be shorter.
    pub fn updates(&self, config: &PolicyConfig, update: f64, seconds: f64) -> Option<usize> {
        let fit = ((0.95 * seconds / update) as usize).max(UPDATES);
        (fit < config.updates()).then_some(fit)
    }
}

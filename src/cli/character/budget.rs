//! Time: how long each stage takes on this machine, and trainings that fit into the minutes that
//! were given.
use super::speed::Speed;
use super::work::STAGES;
use crate::config::Config;
use crate::control::config::PolicyConfig;
use crate::{Error, Result};

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
/// Smallest share of both trainings of which something that walks comes out.
const LEAST: f64 = 0.05;

/// Walks and frames of the model's evaluation: all, and where minutes are given.
const WALKS: [usize; 2] = [512, 128];
pub(super) const FRAMES: usize = 1800;
/// Characters of the controller's evaluation: all, and where minutes are given.
const CHARACTERS: [usize; 2] = [100, 50];

/// The minutes that were given, if any were.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    /// Seconds that all of it may take.
    pub seconds: Option<f64>,
}

impl Budget {
    /// Walks that measure the model.
    pub fn walks(&self) -> usize {
        WALKS[usize::from(self.seconds.is_some())]
    }

    /// Characters that measure the controller.
    pub fn characters(&self) -> usize {
        CHARACTERS[usize::from(self.seconds.is_some())]
    }

    /// Seconds of each stage at this speed: reading motion, training the model for `steps` steps,
    /// measuring it, training and measuring the controller, writing the page.
    pub fn times(&self, speed: Speed, steps: usize, policy: &PolicyConfig) -> [f64; STAGES] {
        let model = if steps == 0 { 0.0 } else { speed.step * (steps as f64 / IN_STEPS + LAST_MEASUREMENT) };
        let frame = FRAME * speed.step;
        let walks = frame * (self.walks() * FRAMES) as f64;
        let episodes = frame * (2 * policy.horizon() * policy.frame_skip * self.characters()) as f64;
        [SMALL, model, walks, policy.updates() as f64 * speed.update, episodes, SMALL]
    }

    /// The times of stages where the trainings are shortened to fit into the minutes, of which
    /// `spent` seconds are gone. Errors: the minutes are too few for [`LEAST`] of the trainings.
    pub fn shortened(&self, spent: f64, times: [f64; STAGES]) -> Result<[f64; STAGES]> {
        let (Some(all), [small, model, walks, policy, episodes, page]) = (self.seconds, times) else {
            return Ok(times);
        };
        let rest = all - spent - walks - episodes - page;
        if rest < LEAST * (model + policy) {
            let more = (LEAST * (model + policy) - rest) / 60.0;
            let (given, least) = (all / 60.0, (10.0 * (all / 60.0 + more)).ceil() / 10.0);
            return Err(Error::Usage(format!(
                "--minutes is {given}, but this machine needs {least:.1} for a first look, and {:.0} to train in full; give \
                 --minutes {least:.1} or more",
                (spent + times[1..].iter().sum::<f64>()) / 60.0
            )));
        }
        let policy = policy.min((1.0 - MODEL) * rest);
        Ok([small, model.min(rest - policy), walks, policy, episodes, page])
    }

    /// The configuration of a training of `minibatches` mini-batches an epoch that takes `seconds`.
    /// All epochs become shorter alike, so that the learning rate still falls to its end. `None` if
    /// it need not be shorter.
    pub fn model(&self, config: &Config, speed: Speed, minibatches: usize, seconds: f64) -> Option<Config> {
        let per_minibatch = (config.epochs() * config.rollout) as f64;
        let fit = (IN_STEPS * (seconds / speed.step - LAST_MEASUREMENT) / per_minibatch) as usize;
        let fit = fit.max(1);
        let steps = fit * config.epochs() * config.rollout;
        let warmup_steps = config.warmup_steps.min(steps / 20);
        (fit < minibatches).then(|| Config { minibatches: fit, warmup_steps, ..config.clone() })
    }

    /// Updates of a controller's training in the time that is left after `spent` seconds and before
    /// `later` seconds of other stages. `None` if it need not be shorter.
    pub fn updates(&self, config: &PolicyConfig, speed: Speed, spent: f64, later: f64) -> Option<usize> {
        let all = config.updates();
        let fit = 0.95 * (self.seconds? - spent - later) / speed.update;
        let fit = (fit as usize).max((LEAST * all as f64) as usize).max(1);
        (fit < all).then_some(fit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: [f64; STAGES] = [6.0, 480.0, 20.0, 200.0, 10.0, 6.0];

    #[test]
    fn trainings_share_the_minutes() {
        let given = |minutes: f64| Budget { seconds: Some(60.0 * minutes) }.shortened(24.0, TIMES);
        let [_, model, _, policy, ..] = given(6.0).unwrap();
        assert!((model - 210.0).abs() < 1e-9 && (policy - 90.0).abs() < 1e-9);
        assert_eq!(given(20.0).unwrap(), TIMES);
        let error = given(1.0).unwrap_err().to_string();
        assert!(
            error.contains("needs 1.6 for a first look, and 12 to train in full; give --minutes 1.6 or more"),
            "{error}"
        );
        assert!(given(1.6).is_ok());
        assert_eq!(Budget { seconds: None }.shortened(1e9, TIMES).unwrap(), TIMES);
    }
}

//! The record of a policy update, with its warnings and report curves.
use crate::run::record::{Record, Timing, number};
use crate::run::report::{self, Reported, duration};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The record of one update: a rollout, and the learning from it. All but [`Timing`] is
/// reproducible bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateRecord {
    /// Update, from 1.
    pub update: usize,
    /// Optimizer steps so far.
    pub step: u64,
    /// Environment steps so far, of all characters together.
    pub num_steps: u64,
    /// Entropy of the policy, nats.
    #[serde(with = "number")]
    pub dist_entropy: f64,
    /// Squared error of the critic.
    #[serde(with = "number")]
    pub value_loss: f64,
    /// Clipped loss of the actor.
    #[serde(with = "number")]
    pub action_loss: f64,
    /// Mean reward of a step over the rollout.
    #[serde(with = "number")]
    pub step_reward: f64,
    /// Mean reward of the episodes that ended in this rollout and whose beginning was seen; null
    /// when there are none.
    #[serde(with = "number")]
    pub mean_rew: Option<f64>,
    /// Median reward of these episodes.
    #[serde(with = "number")]
    pub median_rew: Option<f64>,
    /// Smallest reward of these episodes.
    #[serde(with = "number")]
    pub min_rew: Option<f64>,
    /// Largest reward of these episodes.
    #[serde(with = "number")]
    pub max_rew: Option<f64>,
    /// KL of the policy from the one that explored, nats, mean over the mini-batches; null in shac.
    #[serde(with = "number")]
    pub kl: Option<f64>,
    /// Share of samples whose ratio was clipped; null in shac.
    #[serde(with = "number")]
    pub clip_fraction: Option<f64>,
    /// L2 norm of the gradient before clipping, mean over the mini-batches.
    #[serde(with = "number")]
    pub grad_norm: f64,
    /// Learning rate.
    #[serde(with = "number")]
    pub learning_rate: f64,
    /// Standard deviation of the policy, mean over the action's entries.
    #[serde(with = "number")]
    pub std: f64,
    /// Mean square of the policy's mean, relative to that of actions whose latents have the prior's
    /// distribution. Null where actions are no latents.
    #[serde(with = "number")]
    pub mean_square: Option<f64>,
    /// Entropy that the bound of the standard deviation removed before the policy explored, nats an
    /// entry.
    #[serde(with = "number")]
    pub entropy_cut: f64,
    /// Warnings, each one plain line with what to try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Duration and speed. Samples are environment steps, and the time includes learning.
    pub timing: Timing,
}

/// Updates over which entropy and reward are compared.
const WINDOW: usize = 50;
/// Updates averaged at each end of the window.
const ENDS: usize = 10;
/// Growth of the entropy that is worth a warning, nats an entry of the action.
const GROWTH: f64 = 0.02;

/// Warnings about a policy of `actions` entries after the last of these updates.
pub fn warnings(records: &[UpdateRecord], actions: usize) -> Vec<String> {
    let Some(first) = records.len().checked_sub(WINDOW) else {
        return Vec::new();
    };
    let mean = |from: usize, of: fn(&UpdateRecord) -> f64| {
        records[from..from + ENDS].iter().map(of).sum::<f64>() / ENDS as f64
    };
    let last = records.len() - ENDS;
    // The growth by learning alone: what the bound removed in between is added back.
    let cut: f64 = records[first + ENDS / 2..last + ENDS / 2].iter().map(|r| r.entropy_cut).sum();
    let grown = (mean(last, |r| r.dist_entropy) - mean(first, |r| r.dist_entropy)) / actions as f64 + cut;
    let (before, now) = (mean(first, |r| r.step_reward), mean(last, |r| r.step_reward));
    let flat = now - before < 0.02 * before.abs();
    if grown < GROWTH || !flat {
        return Vec::new();
    }
    vec![format!(
        "entropy: the policy grew more random ({grown:+.3} nats an entry in {WINDOW} updates) while its reward stayed at {now:.3} a \
         step; the latent may not steer the motion (see active units in the report of the Motion VAE), or try a smaller \
         --learning-rate"
    )]
}

impl Record for UpdateRecord {
    const UNIT: &'static str = "update";
    const PROGRESS_HEADER: &'static str =
        "update,dist_entropy,value_loss,action_loss,mean_rew,median_rew,min_rew,max_rew,num_steps\n";

    fn number(&self) -> usize {
        self.update
    }

    fn step(&self) -> u64 {
        self.step
    }

    fn progress_row(&self) -> String {
        let UpdateRecord { update, dist_entropy, value_loss, action_loss, num_steps, .. } = self;
        let [mean, median, min, max] =
            [self.mean_rew, self.median_rew, self.min_rew, self.max_rew].map(|reward| reward.unwrap_or(f64::NAN));
        format!("{update},{dist_entropy},{value_loss},{action_loss},{mean},{median},{min},{max},{num_steps}\n")
    }

    fn scalars(&self) -> Vec<(String, f64)> {
        let fixed = [
            ("reward/step", self.step_reward),
            ("loss/value", self.value_loss),
            ("loss/action", self.action_loss),
            ("policy/entropy", self.dist_entropy),
            ("policy/std", self.std),
            ("schedule/learning_rate", self.learning_rate),
            ("gradient/norm", self.grad_norm),
            ("speed/samples_per_second", self.timing.samples_per_second),
        ];
        let mut scalars: Vec<(String, f64)> = fixed.map(|(tag, value)| (tag.to_owned(), value)).into();
        scalars.extend(self.mean_rew.map(|reward| ("reward/episode".to_owned(), reward)));
        for (tag, value) in [
            ("policy/mean_square", self.mean_square),
            ("policy/kl", self.kl),
            ("policy/clip_fraction", self.clip_fraction),
        ] {
            scalars.extend(value.map(|value| (tag.to_owned(), value)));
        }
        scalars
    }

    fn histograms(&self) -> Vec<(&'static str, &[f64])> {
        Vec::new()
    }

    fn line(&self) -> String {
        let episode = self.mean_rew.map_or(String::new(), |reward| format!(" | episode {reward:.1}"));
        format!(
            "reward {:.4} a step{episode} | value {:.2e} | entropy {:.2}",
            self.step_reward, self.value_loss, self.dist_entropy
        )
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn timing(&self) -> &Timing {
        &self.timing
    }
}

impl Reported for UpdateRecord {
    const TITLE: &'static str = "Controller training";

    fn numbers(records: &[Self]) -> Vec<(&'static str, String)> {
        let Some(last) = records.last() else {
            return Vec::new();
        };
        let episode = records.iter().rev().find_map(|record| record.mean_rew);
        let clipped = last.clip_fraction.map(|share| ("Share of ratios clipped", report::number(share)));
        let mut numbers = vec![
            ("Reward of a step, last update", report::number(last.step_reward)),
            (
                "Reward of an episode, mean of the last that ended",
                episode.map_or("none ended yet".into(), report::number),
            ),
            ("Environment steps", last.num_steps.to_string()),
            ("Value loss", report::number(last.value_loss)),
            ("Entropy (nats)", report::number(last.dist_entropy)),
            ("Speed (environment steps a second, learning included)", report::number(last.timing.samples_per_second)),
            ("Training time", duration(last.timing.elapsed_seconds)),
        ];
        numbers.extend(clipped);
        numbers
    }

    fn curves(records: &[Self]) -> serde_json::Value {
        let curve = |of: fn(&Self) -> f64| records.iter().map(|record| of(record) as f32).collect::<Vec<f32>>();
        let episodes = |of: fn(&Self) -> Option<f64>| records.iter().map(of).collect::<Vec<Option<f64>>>();
        let mut report = json!({
            "unit": "update",
            "epoch": records.iter().map(|record| record.update).collect::<Vec<_>>(),
            "curves": [
                { "title": "Reward of a step", "label": "mean over the rollout", "wide": true,
                  "series": [["reward", curve(|r| r.step_reward)]] },
                { "title": "Reward of episodes", "label": "those that ended",
                  "series": [["mean", episodes(|r| r.mean_rew)], ["median", episodes(|r| r.median_rew)],
                             ["smallest", episodes(|r| r.min_rew)], ["largest", episodes(|r| r.max_rew)]] },
                { "title": "Value loss", "label": "mean squared error", "log": true, "series": [["value loss", curve(|r| r.value_loss)]] },
                { "title": "Entropy of the policy", "label": "nats", "unit": "nats", "series": [["entropy", curve(|r| r.dist_entropy)]] },
                { "title": "Standard deviation of the policy", "label": "of the action", "include": [0], "series": [["std", curve(|r| r.std)]] },
                { "title": "Gradient norm", "label": "L2 norm", "log": true, "series": [["gradient norm", curve(|r| r.grad_norm)]] },
                { "title": "Learning rate of the policy", "label": "step size of Adam", "include": [0], "series": [["learning rate", curve(|r| r.learning_rate)]] },
                { "title": "Speed", "label": "environment steps a second", "include": [0],
                  "series": [["steps a second", curve(|r| r.timing.samples_per_second)]] },
            ],
        });
        if records.iter().any(|record| record.mean_square.is_some()) {
            let curve = json!({ "title": "Mean square of the policy's mean", "label": "1: as the prior", "include": [0, 1],
                                "series": [["mean square", episodes(|r| r.mean_square)]] });
            report["curves"].as_array_mut().expect("a list").insert(5, curve);
        }
        if records.iter().any(|record| record.kl.is_some()) {
            report["curves"].as_array_mut().expect("a list").extend([
                json!({ "title": "KL of an update", "label": "nats", "log": true, "series": [["KL", episodes(|r| r.kl)]] }),
                json!({ "title": "Clipped ratios", "label": "share of samples", "include": [0],
                        "series": [["clipped", episodes(|r| r.clip_fraction)]] }),
            ]);
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Updates whose entropy and reward rise by the given amounts in all.
    fn records(entropy: f64, reward: f64) -> Vec<UpdateRecord> {
        let untimed = Timing { seconds: 0.0, samples_per_second: 0.0, elapsed_seconds: 0.0 };
        let record = |i: usize| UpdateRecord {
            update: i + 1,
            step: 0,
            num_steps: 0,
            dist_entropy: 5.0 + entropy * i as f64 / WINDOW as f64,
            value_loss: 0.1,
            action_loss: 0.1,
            step_reward: 0.2 + reward * i as f64 / WINDOW as f64,
            mean_rew: None,
            median_rew: None,
            min_rew: None,
            max_rew: None,
            kl: Some(0.01),
            clip_fraction: Some(0.1),
            grad_norm: 1.0,
            learning_rate: 1e-3,
            std: 0.3,
            mean_square: None,
            entropy_cut: 0.0,
            warnings: Vec::new(),
            timing: untimed.clone(),
        };
        (0..WINDOW).map(record).collect()
    }

    #[test]
    fn randomness_without_reward_is_told() {
        let warned = |entropy, reward| warnings(&records(entropy, reward), 10);
        assert!(warned(2.0, 0.0)[0].starts_with("entropy: "), "more random, nothing gained");
        assert!(warned(2.0, -0.1).len() == 1, "more random, and worse");
        assert!(warned(2.0, 0.1).is_empty(), "it pays");
        assert!(warned(-2.0, 0.0).is_empty(), "it settles");
        assert!(warnings(&records(2.0, 0.0)[1..], 10).is_empty(), "too early to tell");
        let mut bounded = records(0.0, 0.0);
        bounded.iter_mut().for_each(|record| record.entropy_cut = 0.2 / WINDOW as f64);
        assert_eq!(warnings(&bounded, 10).len(), 1, "held back by the bound alone");
    }
}

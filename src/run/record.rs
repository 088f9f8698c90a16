//! The record of an epoch, from which logs, TensorBoard, the report and the warnings are made.
pub mod number;

use crate::quality::thresholds::{self, Verdict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The record of one epoch (or update) of a run, for logs, TensorBoard, the console and the report.
pub trait Record: Serialize + DeserializeOwned {
    /// The unit of the records, such as `epoch`.
    const UNIT: &'static str;
    /// Header line of `progress.csv`, with the reference's columns.
    const PROGRESS_HEADER: &'static str;
    /// Number of the epoch or update, from 1.
    fn number(&self) -> usize;
    /// Optimizer steps so far.
    fn step(&self) -> u64;
    /// The record's row of `progress.csv`.
    fn progress_row(&self) -> String;
    /// The numbers drawn as curves, as (tag, value).
    fn scalars(&self) -> Vec<(String, f64)>;
    /// The lists of numbers drawn as histograms, as (tag, values).
    fn histograms(&self) -> Vec<(&'static str, &[f64])>;
    /// The losses as one line for the console.
    fn line(&self) -> String;
    /// Warnings, each one plain line with what to try.
    fn warnings(&self) -> &[String];
    /// Durations and speed.
    fn timing(&self) -> &Timing;
}

/// Most experts (or codes) that each get a curve of their own; more are drawn as a histogram.
const MAX_EXPERT_CURVES: usize = 16;

/// The record of one epoch of a Motion VAE. Losses are means over its optimizer steps; everything
/// but [`Timing`] is reproducible bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Optimizer steps so far.
    pub step: u64,
    /// `teacher`, `ramp` or `student`.
    pub phase: String,
    /// Reconstruction loss (normalised units).
    #[serde(with = "number")]
    pub recon_loss: f64,
    /// KL, nats a latent dimension (vq: the codebook loss).
    #[serde(with = "number")]
    pub kl_loss: f64,
    /// Codebook perplexity (vq; else 0).
    #[serde(with = "number")]
    pub perplexity: f64,
    /// KL weight, mean over the epoch.
    #[serde(with = "number")]
    pub kl_weight: f64,
    /// Learning rate.
    #[serde(with = "number")]
    pub learning_rate: f64,
    /// Probability of feeding back the prediction, at the epoch's end.
    #[serde(with = "number")]
    pub student_probability: f64,
    /// L2 norm of the gradient, mean over the epoch's steps.
    #[serde(with = "number")]
    pub grad_norm: f64,
    /// KL of each latent dimension, nats (empty for vq).
    #[serde(with = "number")]
    pub kl_per_latent: Vec<f64>,
    /// Latent dimensions whose posterior mean varies over the data (variance above 0.01).
    pub active_units: usize,
    /// Mean of the aggregated posterior, per latent dimension.
    #[serde(with = "number")]
    pub posterior_mean: Vec<f64>,
    /// Standard deviation of the aggregated posterior, per latent dimension.
    #[serde(with = "number")]
    pub posterior_std: Vec<f64>,
    /// Mean gate weight of each expert (vq: each code's share of samples; posevae: empty).
    #[serde(with = "number")]
    pub expert_usage: Vec<f64>,
    /// Mean entropy of the gate, nats (0 without a gate).
    #[serde(with = "number")]
    pub gate_entropy: f64,
    /// Held-out quality, if it was measured in this epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Warnings about the model, each one plain line with what to try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Durations and speed of the epoch.
    pub timing: Timing,
}

impl Record for EpochRecord {
    const UNIT: &'static str = "epoch";
    const PROGRESS_HEADER: &'static str = "epoch,ep_recon_loss,ep_kl_loss,ep_perplexity\n";

    fn number(&self) -> usize {
        self.epoch
    }

    fn step(&self) -> u64 {
        self.step
    }

    fn progress_row(&self) -> String {
        let EpochRecord { epoch, recon_loss, kl_loss, perplexity, .. } = self;
        format!("{epoch},{recon_loss},{kl_loss},{perplexity}\n")
    }

    fn scalars(&self) -> Vec<(String, f64)> {
        let fixed = [
            ("loss/reconstruction", self.recon_loss),
            ("loss/kl", self.kl_loss),
            ("loss/perplexity", self.perplexity),
            ("schedule/kl_weight", self.kl_weight),
            ("schedule/learning_rate", self.learning_rate),
            ("schedule/student_probability", self.student_probability),
            ("gradient/norm", self.grad_norm),
            ("latent/active_units", self.active_units as f64),
            ("gate/entropy", self.gate_entropy),
            ("speed/samples_per_second", self.timing.samples_per_second),
            ("speed/epoch_seconds", self.timing.seconds),
        ];
        let mut scalars: Vec<(String, f64)> = fixed.map(|(tag, value)| (tag.to_owned(), value)).into();
        if let Some(validation) = &self.validation {
            for (name, error) in [
                ("one_step", validation.one_step_error),
                ("rollout_30", validation.rollout_30_error),
                ("rollout_300", validation.rollout_300_error),
            ] {
                scalars.extend(error.map(|error| (format!("validation/{name}_error"), error)));
            }
            scalars.push(("validation/prior_inside".into(), validation.prior_inside));
            scalars.push(("validation/prior_rms".into(), validation.prior_rms));
        }
        if self.expert_usage.len() <= MAX_EXPERT_CURVES {
            let usage = self.expert_usage.iter().enumerate();
            scalars.extend(usage.map(|(expert, &usage)| (format!("gate/expert_{expert}"), usage)));
        }
        scalars
    }

    fn histograms(&self) -> Vec<(&'static str, &[f64])> {
        let many = if self.expert_usage.len() > MAX_EXPERT_CURVES { self.expert_usage.as_slice() } else { &[] };
        vec![
            ("latent/kl_per_latent", &self.kl_per_latent),
            ("latent/posterior_mean", &self.posterior_mean),
            ("latent/posterior_std", &self.posterior_std),
            ("gate/usage", many),
        ]
    }

    fn line(&self) -> String {
        let mut losses = format!("Recon: {:.3e} | KL: {:.3e}", self.recon_loss, self.kl_loss);
        if self.kl_per_latent.is_empty() {
            losses += &format!(" | PP: {:.3e}", self.perplexity); // vq alone has a codebook
        }
        if let Some(gate) = self.validation.as_ref().map(|v| &v.gate).filter(|gate| !gate.is_empty()) {
            losses += &format!(" | {}", thresholds::summary(gate));
        }
        losses
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn timing(&self) -> &Timing {
        &self.timing
    }
}

impl EpochRecord {
    /// Share of the latent dimensions that are active (vq: of the codes in use).
    pub fn active(&self) -> f64 {
        let used = self.expert_usage.iter().filter(|&&share| share > 0.0).count() as f64;
        match self.kl_per_latent.len() {
            0 => used / self.expert_usage.len().max(1) as f64,
            latents => self.active_units as f64 / latents as f64,
        }
    }

    /// The losses and the number of active latent dimensions, in a few words.
    pub fn losses(&self) -> String {
        let recon = format!("reconstruction {:.4}", self.recon_loss);
        match self.kl_per_latent.len() {
            0 => format!("{recon}, codebook loss {:.4}, perplexity {:.2}", self.kl_loss, self.perplexity),
            latents => format!(
                "{recon}, KL {:.3} nats a dimension, {} of {latents} latent dimensions are active",
                self.kl_loss, self.active_units
            ),
        }
    }
}

/// Quality on held-out clips (normalised units).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Mean squared one-step error with true conditions and the posterior mean as latent (null when
    /// no clip is held out).
    #[serde(with = "number")]
    pub one_step_error: Option<f64>,
    /// Mean squared error at frame 30 of rollouts with encoder latents (null when no clip is long
    /// enough).
    #[serde(with = "number")]
    pub rollout_30_error: Option<f64>,
    /// Mean squared error at frame 300 of these rollouts (null when no clip is long enough).
    #[serde(with = "number")]
    pub rollout_300_error: Option<f64>,
    /// Share of rollouts with latents from N(0, I) that stay inside the data's range widened by a
    /// quarter for 300 frames.
    #[serde(with = "number")]
    pub prior_inside: f64,
    /// Root mean square deviation of these rollouts at frame 300 from the data's mean, in each
    /// feature's standard deviations (1 is the data's own).
    #[serde(with = "number")]
    pub prior_rms: f64,
    /// The thresholds of `eval --gate` that could be measured, without those of distances from
    /// held-out poses. Walks are 64 of 300 frames, after the last epoch of 1,800.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gate: Vec<Verdict>,
    /// Both numbers for rollouts of 1,800 frames, measured after the last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior_1800: Option<Walks>,
}

/// Quality of walks: rollouts with latents from N(0, I).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Walks {
    /// Share of walks that stay inside the data's range widened by a quarter.
    #[serde(with = "number")]
    pub inside: f64,
    /// Root mean square of the normalised pose in the last frame.
    #[serde(with = "number")]
    pub rms: f64,
}

/// Times and rates: the only part of a record that differs between two runs with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Seconds this epoch took, evaluation included.
    #[serde(with = "number")]
    pub seconds: f64,
    /// Training samples (poses predicted) a second, evaluation excluded.
    #[serde(with = "number")]
    pub samples_per_second: f64,
    /// Seconds of training since the run began, over all sittings.
    #[serde(with = "number")]
    pub elapsed_seconds: f64,
}

//! Everything that decides a training run: one flat, checked [`Config`], saved as `config.toml` in
//! the run folder.
//!
//! Every key is declared once, in the `keys!` table below; [`layers`] derives the rest from it.
//! Flags take precedence over environment, file and preset, in this order ([`Config::layered`]).
pub mod layers;
mod sizes;

pub use sizes::{CodebookInit, ExpertInit, ModelConfig, Normalization, Variant};
pub(crate) use sizes::{MAX_MATRIX, MAX_SIZE};

use crate::motion::features::joints;
use crate::{Error, Result};
use layers::{keys, zero_is_none};
use serde::{Deserialize, Serialize, de};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Upper bound of all epochs together.
const MAX_EPOCHS: usize = 1_000_000;
/// Weight of the codebook loss in the default preset. That loss is not a KL; with a smaller weight
/// the encoder strays from its codes.
const VQ_WEIGHT: f64 = 1.0;

keys! {
    /// A training run, every number of it. Made by [`Config::preset`] or [`Config::layered`].
    Config, Overrides, Preset;
    "Data" {
        /// npz file of motion (may be repeated); none = the built-in synthetic set
        data: Vec<PathBuf> = Vec::new();
        /// How features are normalised
        normalization: Normalization = Normalization::Zscore;
        /// Whether motion goes on near the end of a clip, in the clip where it is most alike, so
        /// that no walk ends there
        bridge_clips: bool = true;
        /// Whether to train on every clip's left-right mirror image, too, where names and skeleton
        /// tell left from right
        mirror: bool = true;
        /// How many times errors of toes count, for feet that stand firm; 1 = like all others
        toe_weight: f64 = 16.0;
        /// Fraction of the clips held out, at least one clip unless 0
        validation: f64 = 0.05;
    }
    "Model" {
        /// Which network
        variant: Variant = Variant::Mixture;
        /// L: entries of the latent
        latent_size: usize = 32;
        /// H: width of the hidden layers; 0 = the variant's own (256, specialist 128, vq 512)
        hidden_size: usize = 0;
        /// Width of the gate's hidden layers (mixture)
        gate_hidden_size: usize = 64;
        /// E: experts (mixture, specialist)
        experts: usize = 6;
        /// N: entries of the codebook (vq)
        codes: usize = 12;
        /// C: frames the model is conditioned on
        condition_frames: usize = 1;
        /// K: frames predicted at once
        future_predictions: usize = 1;
        /// Smallest share of the predicted joint positions in those of a frame, whose rest follows
        /// the predicted velocities; 1 = as predicted
        position_gain: f64 = 0.07;
        /// How the weights of blended experts start (mixture)
        expert_init: ExpertInit = ExpertInit::Reference;
        /// How the codebook's running sums start (vq)
        codebook_init: CodebookInit = CodebookInit::Fixed;
    }
    "Schedule" {
        /// Mini-batches of an epoch, whatever the amount of motion, so that the schedule's time is
        /// known; 0 = as many as hold every window once
        minibatches: usize = 150;
        /// Epochs that are fed true poses only
        teacher_epochs: usize = 4;
        /// Epochs over which predictions replace true poses
        ramp_epochs: usize = 4;
        /// Epochs that are fed predictions only
        student_epochs: usize = 16;
        /// Whether the ramp rises at every iteration or at every epoch
        ramp: Ramp = Ramp::Iteration;
        /// T: steps of a rollout
        rollout: usize = 32;
        /// B: rollouts in a mini-batch
        batch_size: usize = 64;
    }
    "Optimizer" {
        /// Largest learning rate
        learning_rate: f64 = 5e-4;
        /// Learning rate it falls to
        final_learning_rate: f64 = 0.0;
        /// How it falls
        decay: Decay = Decay::Linear;
        /// Optimizer steps over which it rises from 0 at first
        warmup_steps: usize = 1000;
        /// Adam: decay of the first moment
        adam_beta1: f64 = 0.9;
        /// Adam: decay of the second moment
        adam_beta2: f64 = 0.999;
        /// Adam: added to the root of the second moment
        adam_eps: f64 = 1e-8;
    }
    "Latent" {
        /// Weight of the KL loss, which stays, or auto: follows the reconstruction error; beside
        /// target_kl where the weight starts, auto = 0.003 (vq: weight of the codebook loss, 1 by
        /// default)
        kl_weight: KlWeight = KlWeight::Auto;
        /// Epochs over which the KL weight rises from 0
        kl_warmup_epochs: usize = 0;
        /// KL that costs nothing, nats a latent dimension; 0 = off
        free_bits: f64 = 0.0;
        /// KL to steer for, nats a latent dimension; the weight starts at kl_weight and follows; 0,
        /// or kl_weight given alone = off
        #[serde(with = "zero_is_none")]
        target_kl: f64 => Option<f64> = Some(0.75);
    }
    "Run" {
        /// Seed of everything random
        seed: u64 = 0;
        /// Seconds between checkpoints, at the end of an epoch; 0 = after every epoch
        checkpoint_every: u64 = 0;
        /// Stop with a checkpoint after this many minutes; 0 = no limit
        #[serde(with = "zero_is_none")]
        max_minutes: f64 => Option<f64> = None;
    }
}

/// Where a run's numbers start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The paper's architecture, trained so that the latent lives, feet stand and running lasts
    /// (docs/results.md).
    #[default]
    Default,
    /// The default with 4.6 times the steps.
    Long,
    /// As published in the paper: 20/20/140 epochs, KL weight 0.2.
    Paper,
    /// As the public reference implementation: 20/20/100 epochs, KL weight 1.
    Reference,
}

/// Weight of the KL loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KlWeight {
    /// This number.
    Fixed(f64),
    /// Follows the running reconstruction error (calibrated decoder, "sigma-VAE").
    Auto,
}

/// How the learning rate falls from the first to the final one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// In a straight line, with every step.
    Linear,
    /// By half a cosine, with every step: slowly at both ends.
    Cosine,
    /// In a straight line, with every epoch (paper, reference).
    Epoch,
}

/// When the probability of feeding back a prediction rises during the ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Ramp {
    /// With every mini-batch (paper).
    Iteration,
    /// With every epoch, both ends included (reference).
    Epoch,
}

impl Config {
    /// The numbers of a preset.
    pub fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Default => Config::default(),
            Preset::Long => Config { teacher_epochs: 12, ramp_epochs: 8, student_epochs: 90, ..Config::default() },
            Preset::Paper => Config {
                bridge_clips: false,
                mirror: false,
                toe_weight: 1.0,
                position_gain: 1.0,
                minibatches: 0,
                learning_rate: 1e-4,
                decay: Decay::Epoch,
                warmup_steps: 0,
                teacher_epochs: 20,
                ramp_epochs: 20,
                student_epochs: 140,
                rollout: 8,
                kl_weight: KlWeight::Fixed(0.2),
                target_kl: None,
                validation: 0.0,
                ..Config::default()
            },
            Preset::Reference => Config {
                kl_weight: KlWeight::Fixed(1.0),
                student_epochs: 100,
                ramp: Ramp::Epoch,
                final_learning_rate: 1e-7,
                ..Config::preset(Preset::Paper)
            },
        }
    }

    /// Lays a layer over the layers below it. A KL weight given without a target switches off a
    /// target from below, instead of being its start.
    fn lay_over(given: &mut toml::Table, layer: &toml::Table) {
        if layer.contains_key("kl_weight") {
            given.insert("target_kl".to_owned(), 0.0.into());
        }
        given.extend(layer.clone());
    }

    /// The preset's values; those of the latent depend on the variant `given` over them.
    fn base(preset: Preset, given: &toml::Table) -> toml::Table {
        let mut table = Config::preset(preset).table();
        let published = matches!(preset, Preset::Paper | Preset::Reference);
        if !published && given.get("variant").and_then(toml::Value::as_str) == Some("vq") {
            table.insert("kl_weight".to_owned(), VQ_WEIGHT.into());
            table.insert("target_kl".to_owned(), 0.0.into());
        }
        table
    }

    /// Keys that may change when a run resumes, since its numbers do not depend on them. Of `data`
    /// only the content matters, which is compared.
    pub(crate) const FREE: [&str; 3] = ["data", "checkpoint_every", "max_minutes"];

    /// Like [`Config::validate`], with the keys named by `name`.
    fn check(&self, name: &dyn Fn(&str) -> String) -> Result<()> {
        let refuse = |message: String| Err(Error::Usage(message));
        for (key, value) in [
            ("rollout", self.rollout),
            ("batch_size", self.batch_size),
            ("minibatches", self.minibatches.max(1)),
            ("warmup_steps", self.warmup_steps.max(1)),
        ] {
            if !(1..=MAX_SIZE).contains(&value) {
                return refuse(format!("{} is {value}, expected 1 to {MAX_SIZE}", name(key)));
            }
        }
        self.fits(1, name)?;
        let phases = [self.teacher_epochs, self.ramp_epochs, self.student_epochs];
        let epochs = phases.iter().fold(0usize, |sum, &phase| sum.saturating_add(phase));
        if !(1..=MAX_EPOCHS).contains(&epochs) {
            let names = ["teacher_epochs", "ramp_epochs", "student_epochs"].map(name).join(" + ");
            return refuse(format!("{names} is {epochs}, expected 1 to {MAX_EPOCHS}"));
        }
        let fixed_weight = match self.kl_weight {
            KlWeight::Fixed(weight) => weight,
            KlWeight::Auto => 0.0,
        };
        for (key, value) in [
            ("final_learning_rate", self.final_learning_rate),
            ("kl_weight", fixed_weight),
            ("free_bits", self.free_bits),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(format!("{} is {value}, expected a finite number of 0 or more", name(key)));
            }
        }
        for (key, value) in [
            ("learning_rate", Some(self.learning_rate)),
            ("adam_eps", Some(self.adam_eps)),
            ("toe_weight", Some(self.toe_weight)),
            ("target_kl", self.target_kl),
            ("max_minutes", self.max_minutes),
        ] {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                return refuse(format!("{} is {value}, expected a finite number above 0", name(key)));
            }
        }
        for (key, value) in
            [("validation", self.validation), ("adam_beta1", self.adam_beta1), ("adam_beta2", self.adam_beta2)]
        {
            if !(0.0..1.0).contains(&value) {
                return refuse(format!("{} is {value}, expected at least 0 and below 1", name(key)));
            }
        }
        if !(self.position_gain > 0.0 && self.position_gain <= 1.0) {
            let (name, gain) = (name("position_gain"), self.position_gain);
            return refuse(format!("{name} is {gain}, expected a number above 0 and at most 1"));
        }
        for (key, value) in [("seed", self.seed), ("checkpoint_every", self.checkpoint_every)] {
            if value > i64::MAX as u64 {
                return refuse(format!("{} is {value}, expected at most {}", name(key), i64::MAX));
            }
        }
        let auto = self.kl_weight == KlWeight::Auto;
        if self.variant == Variant::Vq {
            if auto {
                return refuse(format!("{} auto: vq has no KL; give a number (1 is usual)", name("kl_weight")));
            }
            if self.free_bits > 0.0 {
                return refuse(format!("{}: vq has no KL; leave it at 0", name("free_bits")));
            }
            if self.target_kl.is_some() {
                return refuse(format!("{}: vq has no KL; leave it at 0", name("target_kl")));
            }
        }
        Ok(())
    }

    /// Refuses products of sizes that no plan can hold. They depend on `frame_size`, the features
    /// of a frame, which is known once data has been read.
    pub fn fits(&self, frame_size: usize, name: &dyn Fn(&str) -> String) -> Result<()> {
        let model = self.model(frame_size);
        if let Some(flaw) = model.flaw(name) {
            return Err(Error::Usage(flaw));
        }
        let (keys, widest) = model.widest();
        match self.batch_size.saturating_mul(widest) {
            ..=MAX_MATRIX => Ok(()),
            all => {
                let keys = [&["batch_size"], keys].concat().into_iter().map(name).collect::<Vec<_>>().join(" * ");
                let of = if keys.contains("frames") { format!(" of {frame_size} features") } else { String::new() };
                Err(Error::Usage(format!(
                    "{keys}{of} is {all}, expected at most {MAX_MATRIX}; make one of them smaller"
                )))
            }
        }
    }

    /// The sizes of the network for data of `frame_size` features.
    pub fn model(&self, frame_size: usize) -> ModelConfig {
        let hidden_size = match self.hidden_size {
            0 => self.variant.hidden_size(),
            size => size,
        };
        ModelConfig {
            variant: self.variant,
            frame_size,
            latent_size: self.latent_size,
            hidden_size,
            gate_hidden_size: self.gate_hidden_size,
            experts: self.experts,
            condition_frames: self.condition_frames,
            future_predictions: self.future_predictions,
            codes: self.codes,
            // Features that do not describe joints have no positions.
            position_gain: joints(frame_size).map_or(1.0, |_| self.position_gain),
        }
    }

    /// Number of mini-batches in an epoch over this many windows; 0 if they do not fill one. An
    /// epoch that holds every window once leaves out the mini-batch that would not be full.
    pub fn minibatches_of(&self, windows: usize) -> usize {
        match windows / self.batch_size {
            full if full == 0 || self.minibatches == 0 => full,
            _ => self.minibatches,
        }
    }

    /// P: epochs in all.
    pub fn epochs(&self) -> usize {
        self.teacher_epochs + self.ramp_epochs + self.student_epochs
    }
}

impl fmt::Display for KlWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KlWeight::Fixed(weight) => write!(f, "{weight}"),
            KlWeight::Auto => write!(f, "auto"),
        }
    }
}

impl FromStr for KlWeight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(KlWeight::Auto);
        }
        text.parse().map(KlWeight::Fixed).map_err(|_| "expected a number or auto".into())
    }
}

impl Serialize for KlWeight {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            KlWeight::Fixed(weight) => serializer.serialize_f64(*weight),
            KlWeight::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for KlWeight {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = KlWeight;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number or \"auto\"")
            }
            fn visit_f64<E>(self, weight: f64) -> Result<KlWeight, E> {
                Ok(KlWeight::Fixed(weight))
            }
            fn visit_i64<E>(self, weight: i64) -> Result<KlWeight, E> {
                Ok(KlWeight::Fixed(weight as f64))
            }
            fn visit_u64<E>(self, weight: u64) -> Result<KlWeight, E> {
                Ok(KlWeight::Fixed(weight as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<KlWeight, E> {
                match text {
                    "auto" => Ok(KlWeight::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

//! The sizes of a network, and the choices that go with them.
use serde::{Deserialize, Serialize};

/// Upper bound of every size and count, so that a typing error is refused here.
pub(crate) const MAX_SIZE: usize = 1 << 16;
/// Most numbers in one matrix; kernels count them in 32 bits.
pub(crate) const MAX_MATRIX: usize = 1 << 31;

/// Which network is trained; in parentheses the name in the public implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Six experts whose weights are blended by a gate (PoseMixtureVAE).
    #[default]
    Mixture,
    /// One decoder (PoseVAE).
    Posevae,
    /// Separate expert decoders, one drawn per sample (PoseMixtureSpecialistVAE).
    Specialist,
    /// A codebook instead of a Gaussian latent (PoseVQVAE).
    Vq,
}

impl Variant {
    /// The variant's name on the command line.
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).expect("no variant is hidden").get_name().to_owned()
    }

    /// H when `hidden_size` is 0: the width the reference gives this network.
    pub const fn hidden_size(self) -> usize {
        match self {
            Variant::Mixture | Variant::Posevae => 256,
            Variant::Specialist => 128,
            Variant::Vq => 512,
        }
    }
}

/// The sizes of a network. Two models with equal `ModelConfig` have the same parameters, name for
/// name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Which network.
    pub variant: Variant,
    /// F: features of one frame (267 for the reference skeleton).
    pub frame_size: usize,
    /// L: entries of the latent.
    pub latent_size: usize,
    /// H: width of the hidden layers (256; specialist 128; vq 512).
    pub hidden_size: usize,
    /// Width of the gate's hidden layers (mixture only).
    pub gate_hidden_size: usize,
    /// E: experts (mixture and specialist).
    pub experts: usize,
    /// C: frames the model is conditioned on, newest first.
    pub condition_frames: usize,
    /// K: frames predicted at once, oldest first.
    pub future_predictions: usize,
    /// N: entries of the codebook (vq only).
    pub codes: usize,
    /// Smallest share of the predicted joint positions in those of a frame (see
    /// [`crate::ops::reconcile`]); 1: all.
    pub position_gain: f64,
}

/// How features are normalised before training; statistics travel with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// (x - mean) / std, with the unbiased standard deviation.
    #[default]
    Zscore,
    /// 2 (x - min) / (max - min) - 1.
    Minmax,
    /// Features as they are.
    None,
}

impl ModelConfig {
    /// The sizes of the published models, which the reference implementation has for frames of 267
    /// features. Positions are as predicted.
    pub fn published(variant: Variant) -> Self {
        ModelConfig {
            variant,
            frame_size: 267,
            latent_size: 32,
            hidden_size: variant.hidden_size(),
            gate_hidden_size: 64,
            experts: 6,
            condition_frames: 1,
            future_predictions: 1,
            codes: 12,
            position_gain: 1.0,
        }
    }
}

/// How the weights of blended experts start; in and out are the layer's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ExpertInit {
    /// Uniform within sqrt(6 / (in out)), as the reference.
    Reference,
    /// Uniform within sqrt(6 / in) (Kaiming).
    FanIn,
}

/// How the codebook's running sums start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum CodebookInit {
    /// Cluster sizes of 1: codes that are not used stay where they are.
    Fixed,
    /// Cluster sizes of 0, as the reference: codes not used in the first step are lost.
    Reference,
}

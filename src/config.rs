//! Everything that decides a training run: one flat, checked [`Config`], saved as `config.toml` in the run folder.
use serde::{Deserialize, Serialize};

/// Which network is trained; spec names in parentheses.
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

/// The sizes of a network. Two models with equal `ModelConfig` have the same parameters, name for name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

//! The state of a step: what changes from step to step of one plan.
use bytemuck::{Pod, Zeroable};

/// Everything a step needs to know beyond its tensors.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
pub struct StepState {
    /// Adam: learning rate / (1 - beta1^step).
    pub step_size: f64,
    /// Adam: 1 / sqrt(1 - beta2^step).
    pub inv_sqrt_bias2: f64,
    /// Factor of the KL weight (warm-up).
    pub kl_scale: f64,
    /// Seed of the run.
    pub seed: u64,
    /// Optimizer step, from 1.
    pub step: u64,
    /// Row of the window starts.
    pub minibatch: u32,
    /// Step inside the rollout, from 0.
    pub rollout_step: u32,
    /// 1: this step is conditioned on the last step's prediction, 0: on the true pose.
    pub student: u32,
    /// Keeps the length a multiple of 8.
    pub pad: u32,
}

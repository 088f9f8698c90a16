//! Kernels and the engines that run them, on the host and over a driver that imitates a GPU.
mod cuda;
mod dependencies;
mod kernels;
mod persistent;
mod ptx;
mod simt;
mod training_step;

#[path = "../shared/small.rs"]
mod small;
#[path = "../shared/steps.rs"]
mod steps;

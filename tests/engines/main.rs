//! Kernels and the engines that run them, on the host and over a driver that imitates a GPU.
mod cuda;
mod dependencies;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod image;
mod interpreter;
mod kernels;
mod persistent;
mod ptx;
mod simt;
mod training_step;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod without_a_gpu;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[path = "../shared/driver.rs"]
mod driver;
#[path = "../shared/small.rs"]
mod small;
#[path = "../shared/steps.rs"]
mod steps;

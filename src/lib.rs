//! Trains Motion VAEs (Ling, Zinno, Cheng, van de Panne, "Character Controllers Using Motion VAEs",
//! SIGGRAPH 2020).
//!
//! In reading order:
//! - [`config`]: the configuration of a run.
//! - [`motion`] reads motion, [`data`] makes training sets of it.
//! - [`model`] lists the parameters and operations of a network, [`ops`] defines each operation.
//! - [`plan`] is one training step as a list of operations, [`backend`] executes it.
//! - [`train`] is the training loop; [`checkpoint`] and [`run`] write its files.
//! - [`infer`] runs a trained model, [`quality`] measures it, [`control`] trains policies that
//!   steer it.
//! - [`check`] compares gradients and kernels with definitions.
//! - [`cli`] holds the commands, [`host`] deals with the machine they run on.
#![deny(unsafe_code)]
// A terminal that refuses output must not end the work: see `host::say::say` and `cli::print`.
#![deny(clippy::print_stdout, clippy::print_stderr)]
// Every file is opened in `host::files`.
#![deny(clippy::disallowed_methods)]

pub mod backend;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod control;
pub mod cpu;
pub mod data;
pub mod error;
pub mod exchange;
pub mod host;
pub mod infer;
pub mod model;
pub mod motion;
pub mod ops;
pub mod philox;
pub mod plan;
pub mod quality;
pub mod run;
pub mod train;

pub use error::{Error, Result};

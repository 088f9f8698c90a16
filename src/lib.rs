//! Trains Motion VAEs (Ling, Zinno, Cheng, van de Panne, "Character Controllers Using Motion VAEs",
//! SIGGRAPH 2020).
//!
//! In reading order: [`config`] is what can be asked for; [`motion`] reads motion, [`data`] makes
//! sets of it to train on; [`model`] lists the parameters and operations of a network, [`ops`] has
//! the definition of each operation; [`plan`] is a step written down, [`backend`] where it runs;
//! [`train`] is the training loop and all around it, [`checkpoint`] and [`run`] are what it leaves;
//! [`infer`] runs a trained model, [`quality`] says how good it is, [`control`] trains policies
//! that steer it. [`check`] holds gradients and kernels against definitions, [`cli`] are the
//! commands, [`host`] is the machine they run on.
#![deny(unsafe_code)]
// A terminal that takes nothing must not end the work: see `host::progress::say` and `cli::print`.
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

//! Trains Motion VAEs (Ling, Zinno, Cheng, van de Panne, "Character Controllers Using Motion VAEs",
//! SIGGRAPH 2020).
//!
//! In reading order:
//! - [`config`]: what can be asked for;
//! - [`motion`]: skeletons and features; [`data`]: sets of clips; [`exchange`]: files of other
//!   programs;
//! - [`model`]: parameters and operations of a network; [`ops`]: the definition of each operation;
//!   [`cpu`]: the arithmetic of definitions;
//! - [`plan`]: a step written down; [`backend`]: where it runs;
//! - [`train`]: the training loop and all around it; [`checkpoint`] and [`run`]: what it leaves;
//! - [`infer`]: a trained model at work; [`quality`]: how good it is; [`control`]: policies that
//!   steer it;
//! - [`check`]: gradients and kernels against definitions;
//! - [`cli`]: the commands; [`host`]: the machine they run on.
// The documentation is for those who work on the program, and shows its private items.
#![allow(rustdoc::private_intra_doc_links)]
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

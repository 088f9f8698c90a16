//! Trains Motion VAEs (Ling, Zinno, Cheng, van de Panne, "Character Controllers Using Motion VAEs",
//! SIGGRAPH 2020).
//!
//! Reading order: [`config`] (what can be asked for), [`motion`] and [`data`] (motion to train on),
//! [`layout`] and [`model`] (the network as a list of operations), [`ops`] (each operation's
//! definition), [`plan`] and [`backend`] (how a step is written down and run), [`schedule`],
//! [`setup`] and [`trainer`] (the training loop), [`run`] (what a run leaves on disk).
#![deny(unsafe_code)]
// A terminal that takes nothing must not end the work: see `progress::say` and `cli::print`.
#![deny(clippy::print_stdout, clippy::print_stderr)]
// Every file is opened in `files`.
#![deny(clippy::disallowed_methods)]

pub mod arena;
pub mod backend;
pub mod checkpoint;
pub mod cli;
pub mod clips;
pub mod config;
pub mod control;
pub mod data;
pub mod diagnose;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod foreign;
pub mod generate;
pub mod gradcheck;
pub mod kernelcheck;
pub mod layout;
pub mod memory;
pub mod model;
pub mod motion;
pub mod ops;
pub mod philox;
pub mod plan;
pub mod population;
pub mod progress;
pub mod quality;
pub mod real;
pub mod record;
pub mod rollout;
pub mod run;
pub mod schedule;
pub mod setup;
pub mod shown;
pub mod state;
pub mod step;
pub mod stepcheck;
pub mod trained;
pub mod trainer;

pub use error::{Error, Result};

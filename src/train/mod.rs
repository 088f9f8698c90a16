//! Training of a Motion VAE.
//!
//! [`trainer`] is the loop, [`step`] the training step as a plan, [`setup`] the state of a run
//! before its first step. [`evaluate`], [`record`](crate::run::record) and [`diagnose`] say how
//! good the model is.
pub mod clips;
pub(crate) mod diagnose;
pub(crate) mod evaluate;
pub mod population;
pub mod schedule;
pub mod setup;
pub mod step;
pub mod trainer;

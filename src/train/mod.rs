//! Training a Motion VAE. [`trainer`] is the loop, [`step`] the step as a plan, [`setup`] all that a
//! run has before its first step; [`evaluate`], [`record`] and [`diagnose`] say how good it is.
pub mod clips;
pub mod diagnose;
pub mod evaluate;
pub mod population;
pub mod record;
pub mod schedule;
pub mod setup;
pub mod state;
pub mod step;
pub mod trainer;

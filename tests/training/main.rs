//! Configuration, training, and what a run leaves.
mod config;
mod player;
mod progress;
mod run;
mod trainer;

#[path = "../shared/small.rs"]
mod small;

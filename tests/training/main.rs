//! Tests of configuration, training, and the files of a run.
mod config;
mod player;
mod progress;
mod run;
mod trainer;

#[path = "../shared/small.rs"]
mod small;

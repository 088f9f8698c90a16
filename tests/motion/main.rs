//! Motion that comes in, and goes out to other tools.
mod export;
mod import;
mod round_trip;
mod synth;

#[path = "../shared/bvh_reader.rs"]
mod bvh_reader;

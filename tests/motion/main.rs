//! Tests of motion that is imported, and exported to other tools.
mod export;
mod import;
mod round_trip;
mod synth;

#[path = "../shared/bvh_reader.rs"]
mod bvh_reader;
#[path = "../shared/formats.rs"]
mod formats;

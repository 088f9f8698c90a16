//! Tests of readers of foreign bytes: files that are valid, odd, damaged or hostile.
mod allocations;
mod bvh;
mod checkpoint;
mod data;
mod fuzz;

#[path = "../shared/formats.rs"]
mod formats;
#[path = "../shared/hostile.rs"]
mod hostile;
#[path = "../shared/small.rs"]
mod small;

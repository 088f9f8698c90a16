//! Motion as files hold it: a [`Recording`] read from BVH ([`bvh`]) or from exponential maps ([`expmap`]).
pub mod bvh;
pub mod expmap;
mod lines;
pub mod open;
mod recording;

pub use lines::{Fault, Lines};
pub use recording::{Recording, SourceJoint};

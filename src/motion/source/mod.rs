//! Motion as stored in files: a [`Recording`] read from BVH ([`bvh`]) or from exponential maps
//! ([`expmap`]).
pub mod bvh;
mod ends;
pub mod expmap;
mod lines;
mod rate;
mod recording;

pub use ends::inserted;
pub use lines::{Fault, Lines};
pub use rate::rate;
pub use recording::{Note, Recording, SourceJoint};

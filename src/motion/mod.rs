//! Motion of skeletons.
//! - [`pose`]: joints and their axes in the world.
//! - [`skeleton`]: the joints as a tree.
//! - [`features`]: the features that a network is trained on.
//! - [`rig`]: the data about a character that is kept beside its frames.
//! - [`source`]: motion as it is stored in files.
//!
//! Conventions in this module: right-handed, y up, lengths in feet. A character that faces 0 looks
//! along +x, with its right along +z.
pub mod body;
pub mod features;
pub mod joint_map;
pub mod local;
pub mod mirror;
pub mod names;
pub mod pose;
pub mod quaternion;
pub mod reference;
pub mod rig;
pub mod skeleton;
pub mod source;
pub mod units;
pub mod vector;

pub use pose::{Pose, Root};
pub use rig::Rig;
pub use skeleton::Skeleton;

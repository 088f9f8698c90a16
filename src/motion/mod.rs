//! Motion as skeletons see it: joints and their axes in the world ([`pose`]), the skeleton they
//! belong to ([`skeleton`]), the features a network is trained on ([`features`]), what is kept
//! about a character beside its frames ([`rig`]), and what there is to see in a set ([`view`]).
//! [`import`] makes a set of files of motion ([`source`]).
//!
//! Everywhere here: right-handed, y up, lengths in feet. A character that faces 0 looks along +x,
//! its right along +z.
pub mod body;
pub mod export;
pub mod features;
pub mod import;
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
pub mod view;
pub mod world;

pub use pose::{Pose, Root};
pub use rig::Rig;
pub use skeleton::Skeleton;

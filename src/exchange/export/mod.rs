//! Motion as files of other tools: BVH ([`bvh`]) and glTF ([`glb`]).
pub mod bvh;
pub mod glb;

use crate::data::Dataset;
use crate::data::world;
use crate::motion::local::{Bones, LocalPose, Means};
use crate::motion::vector::{Vec3, length, sub};
use crate::motion::{Rig, Skeleton};

/// Motion of a joint relative to its parent, feet (0.03 mm), above which its places are written for
/// every frame.
const RIGID: f64 = 1e-4;

/// A motion of one skeleton, ready to be written.
pub struct Take<'a> {
    /// Name of the motion.
    pub name: String,
    /// The joints.
    pub skeleton: &'a Skeleton,
    /// Frames a second.
    pub fps: f64,
    /// At least one frame.
    pub poses: Vec<LocalPose>,
    /// Place of each joint on its parent: the mean over the motion, feet.
    pub offsets: Vec<Vec3>,
    /// For each joint, whether that place moves; never for the hips.
    pub moving: Vec<bool>,
    /// Ends of the last bones, see [`Means::tips`].
    pub tips: Vec<Vec3>,
}

impl<'a> Take<'a> {
    /// A motion of the rig's skeleton.
    pub fn new(name: String, rig: &'a Rig, poses: Vec<LocalPose>) -> Self {
        let skeleton = &rig.skeleton;
        let mut means = Means::new(skeleton);
        poses.iter().for_each(|pose| means.add(pose));
        let (offsets, tips) = (means.offsets(), means.tips());
        let moves = |joint: usize| poses.iter().any(|pose| length(sub(pose.offsets[joint], offsets[joint])) > RIGID);
        let moving = (0..skeleton.len()).map(moves).collect();
        Take { name, skeleton, fps: rig.fps, poses, offsets, moving, tips }
    }

    /// A clip of a set of this rig's frames.
    pub fn of_clip(set: &Dataset, rig: &'a Rig, clip: usize, bones: Bones) -> Self {
        let poses = world::poses(set, clip);
        let local = poses.iter().map(|pose| LocalPose::new(&rig.skeleton, pose, bones)).collect();
        let name = set.clip_names.get(clip).cloned().unwrap_or_else(|| format!("clip {clip}"));
        Take::new(name, rig, local)
    }
}

/// The children of a joint, in order.
fn children(skeleton: &Skeleton, joint: usize) -> impl Iterator<Item = usize> + '_ {
    (0..skeleton.len()).filter(move |&child| skeleton.parents[child] == Some(joint))
}

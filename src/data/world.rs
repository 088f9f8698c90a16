//! The clips of a set in the world: place and facing of the character in each frame, and the places
//! of its joints.
use crate::data::Dataset;
use crate::motion::features::{self, Part, slot, vector, world_pose};
use crate::motion::vector::{add, apply};
use crate::motion::{Pose, Root};
use std::f64::consts::FRAC_PI_2;

/// The root of a walk before its first frame: at the origin, facing +z, as characters in files do.
pub const START: Root = Root { x: 0.0, z: 0.0, facing: -FRAC_PI_2 };

/// The root in each frame of a clip. It starts at the clip's own place, or at the origin if that is
/// unknown.
pub fn roots(set: &Dataset, clip: usize) -> Vec<Root> {
    let mut root = set.clip_roots.get(clip).copied().unwrap_or_default();
    let frames = set.clips()[clip].clone();
    let first = frames.start;
    let at = |frame: usize| {
        if frame > first {
            root = root.advanced(root_motion(set.frame(frame)));
        }
        root
    };
    frames.map(at).collect()
}

/// The poses of a clip, in the world.
///
/// # Panics
/// If the frames are no poses of joints (see [`crate::motion::features::joints`]).
pub fn poses(set: &Dataset, clip: usize) -> Vec<Pose> {
    let frames = set.clips()[clip].clone();
    frames.zip(roots(set, clip)).map(|(frame, root)| world_pose(set.frame(frame), &root)).collect()
}

/// The places of a frame's joints in the world, three numbers each, feet.
pub fn positions(frame: &[f32], root: &Root) -> Vec<f32> {
    let (rotation, joints) = (root.rotation(), features::joints(frame.len()).expect("a frame of joints"));
    let place =
        |joint| add(apply(&rotation, vector(frame, slot(Part::Position, joint, joints))), [root.x, 0.0, root.z]);
    (0..joints).flat_map(place).map(|x| x as f32).collect()
}

/// Motion of the root in a frame.
pub fn root_motion(frame: &[f32]) -> [f64; 3] {
    [frame[0].into(), frame[1].into(), frame[2].into()]
}

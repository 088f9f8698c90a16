//! The reference implementation's 22 joints, in the order of its 267 features.
use super::Skeleton;

/// Number of joints.
pub const NUM_JOINTS: usize = 22;

/// Joint names, in the order of the feature vector.
pub const JOINT_NAMES: [&str; NUM_JOINTS] = [
    "LeftToeBase",
    "RightToeBase",
    "Spine2",
    "Spine3",
    "Neck",
    "LeftShoulder",
    "RightShoulder",
    "LeftArm",
    "RightArm",
    "RightForeArm",
    "LeftForeArm",
    "Hips",
    "LeftFoot",
    "RightFoot",
    "LeftUpLeg",
    "RightUpLeg",
    "LeftLeg",
    "RightLeg",
    "Spine",
    "Spine1",
    "LeftHand",
    "RightHand",
];

/// Index of the hips.
pub(crate) const HIPS: usize = 11;

/// Parent of each joint; the hips have none.
pub const PARENTS: [Option<usize>; NUM_JOINTS] = [
    Some(12),
    Some(13),
    Some(19),
    Some(2),
    Some(3),
    Some(3),
    Some(3),
    Some(5),
    Some(6),
    Some(8),
    Some(7),
    None,
    Some(16),
    Some(17),
    Some(HIPS),
    Some(HIPS),
    Some(14),
    Some(15),
    Some(HIPS),
    Some(18),
    Some(10),
    Some(9),
];

/// The skeleton of these joints. Its offsets are all zero, as the reference does not publish them.
pub fn skeleton() -> Skeleton {
    Skeleton {
        names: JOINT_NAMES.map(str::to_owned).to_vec(),
        parents: PARENTS.to_vec(),
        offsets: vec![[0.0; 3]; NUM_JOINTS],
        hips: HIPS,
        toes: [0, 1],
        up_legs: [14, 15],
    }
}

//! The reference's 22 joints on a person of 1.8 m, upright and facing +x; lengths are feet.
use crate::motion::Skeleton;
use crate::motion::reference::{self, JOINT_NAMES, NUM_JOINTS, PARENTS};
use crate::motion::vector::{Axes, Vec3, apply_inverse, axes_along};

pub(super) const SPINE2: usize = 2;
pub(super) const SPINE3: usize = 3;
pub(super) const NECK: usize = 4;
pub(super) const SPINE: usize = 18;
pub(super) const SPINE1: usize = 19;

/// The joints of one leg and one arm, in the order of the feature vector's names.
pub(super) struct Limbs {
    pub up_leg: usize,
    pub leg: usize,
    pub foot: usize,
    pub toe: usize,
    pub shoulder: usize,
    pub arm: usize,
    pub fore_arm: usize,
    pub hand: usize,
}

/// Left and right limbs.
pub(super) const LIMBS: [Limbs; 2] = [
    Limbs { up_leg: 14, leg: 16, foot: 12, toe: 0, shoulder: 5, arm: 7, fore_arm: 10, hand: 20 },
    Limbs { up_leg: 15, leg: 17, foot: 13, toe: 1, shoulder: 6, arm: 8, fore_arm: 9, hand: 21 },
];

/// The joint at the end of each joint's own bone; the bones of the neck, hands and toes end in
/// [`TIPS`].
pub const BONE_ENDS: [Option<usize>; NUM_JOINTS] = [
    None,
    None,
    Some(3),
    Some(4),
    None,
    Some(7),
    Some(8),
    Some(10),
    Some(9),
    Some(21),
    Some(20),
    Some(18),
    Some(0),
    Some(1),
    Some(16),
    Some(17),
    Some(12),
    Some(13),
    Some(19),
    Some(2),
    None,
    None,
];

/// Offset of each joint from its parent in the rest pose (upright, facing +x, arms hanging), feet.
/// The entry of the hips is their place above the ground.
pub const REST_OFFSETS: [Vec3; NUM_JOINTS] = [
    [0.46, -0.19, 0.0],
    [0.46, -0.19, 0.0],
    [0.02, 0.36, 0.0],
    [0.03, 0.36, 0.0],
    [0.04, 0.34, 0.0],
    [0.05, 0.16, -0.10],
    [0.05, 0.16, 0.10],
    [-0.06, 0.0, -0.50],
    [-0.06, 0.0, 0.50],
    [0.0, -0.96, 0.0],
    [0.0, -0.96, 0.0],
    [0.0, 3.25, 0.0],
    [0.0, -1.38, 0.0],
    [0.0, -1.38, 0.0],
    [0.0, -0.17, -0.30],
    [0.0, -0.17, 0.30],
    [0.0, -1.42, 0.0],
    [0.0, -1.42, 0.0],
    [-0.05, 0.30, 0.0],
    [-0.02, 0.36, 0.0],
    [0.0, -0.84, 0.0],
    [0.0, -0.84, 0.0],
];

/// Ends of the bones without an end joint, in the rest pose, feet from the joint: toe tips, top of
/// the head and finger tips. Zero for all other joints.
pub const TIPS: [Vec3; NUM_JOINTS] = {
    let mut tips = [[0.0; 3]; NUM_JOINTS];
    tips[0] = [0.22, 0.0, 0.0];
    tips[1] = [0.22, 0.0, 0.0];
    tips[4] = [0.05, 0.62, 0.0];
    tips[20] = [0.0, -0.55, 0.0];
    tips[21] = [0.0, -0.55, 0.0];
    tips
};

/// The joint's axes in the rest pose. Y points forward for a leg, backward for the spine, up for a
/// collar bone.
pub(super) fn rest_axes(joint: usize) -> Axes {
    let bone = BONE_ENDS[joint].map_or(TIPS[joint], |end| REST_OFFSETS[end]);
    let z = match JOINT_NAMES[joint] {
        "LeftShoulder" => [1.0, 0.0, 0.0],
        "RightShoulder" => [-1.0, 0.0, 0.0],
        _ => [0.0, 0.0, 1.0],
    };
    axes_along(bone, z)
}

/// The skeleton of this person.
pub(super) fn skeleton() -> Skeleton {
    let offset = |joint: usize| match PARENTS[joint] {
        Some(parent) => apply_inverse(&rest_axes(parent), REST_OFFSETS[joint]),
        None => [0.0; 3],
    };
    Skeleton { offsets: (0..NUM_JOINTS).map(offset).collect(), ..reference::skeleton() }
}

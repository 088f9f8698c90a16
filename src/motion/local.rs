//! Conversion of world poses to the content of a skeleton file: the place of the hips, and for each
//! joint its rotation and place relative to its parent.
use super::Skeleton;
use super::pose::Pose;
use super::vector::{Axes, Vec3, add, apply, apply_inverse, cross, dot, length, rotated_about, scale, sub, unit};

/// Treatment of poses whose joints do not hang together exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bones {
    /// For data: places and axes stay as they are. A joint whose place on its parent moves keeps
    /// that motion.
    Given,
    /// For poses from a network: the skeleton's bones are kept. The smallest turn of a joint points
    /// its bone to the place of the next joint. That joint then lies on the bone, as near to its
    /// place as the bone's length allows.
    Skeleton,
}

/// One frame of a skeleton.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalPose {
    /// Place of the hips in the world, feet.
    pub hips: Vec3,
    /// Axes of each joint in those of its parent (of the hips: in the world).
    pub axes: Vec<Axes>,
    /// Place of each joint in its parent's axes, feet (of the hips: zero).
    pub offsets: Vec<Vec3>,
}

/// Length below which a bone has no direction, feet.
const SHORT: f64 = 1e-6;

impl LocalPose {
    /// The local transforms of a pose in the world.
    pub fn new(skeleton: &Skeleton, pose: &Pose, bones: Bones) -> Self {
        match bones {
            Bones::Given => LocalPose::given(skeleton, pose),
            Bones::Skeleton => LocalPose::given(skeleton, &on_bones(skeleton, pose)),
        }
    }

    fn given(skeleton: &Skeleton, pose: &Pose) -> Self {
        let mut local = LocalPose { hips: pose.positions[skeleton.hips], axes: pose.axes.clone(), offsets: Vec::new() };
        local.offsets.resize(skeleton.len(), [0.0; 3]);
        for (joint, parent) in skeleton.parents.iter().enumerate() {
            if let Some(parent) = *parent {
                let turned = &pose.axes[parent];
                local.axes[joint] = pose.axes[joint].map(|axis| apply_inverse(turned, axis));
                local.offsets[joint] = apply_inverse(turned, sub(pose.positions[joint], pose.positions[parent]));
            }
        }
        local
    }

    /// The pose in the world, as a reader of the file reconstructs it.
    pub fn pose(&self, skeleton: &Skeleton) -> Pose {
        let mut pose = Pose { positions: vec![self.hips; skeleton.len()], axes: self.axes.clone() };
        for joint in skeleton.order() {
            if let Some(parent) = skeleton.parents[joint] {
                let turned = pose.axes[parent];
                pose.axes[joint] = self.axes[joint].map(|axis| apply(&turned, axis));
                pose.positions[joint] = add(pose.positions[parent], apply(&turned, self.offsets[joint]));
            }
        }
        pose
    }
}

/// The pose with the skeleton's bones that is nearest in the sense of [`Bones::Skeleton`].
fn on_bones(skeleton: &Skeleton, pose: &Pose) -> Pose {
    let mut axes = pose.axes.clone();
    let mut positions = pose.positions.clone();
    for joint in skeleton.order() {
        if let Some(parent) = skeleton.parents[joint] {
            positions[joint] = add(positions[parent], apply(&axes[parent], skeleton.offsets[joint]));
        }
        let mut children = (0..skeleton.len()).filter(|&child| skeleton.parents[child] == Some(joint));
        // With several children no single turn serves all of them: the joint keeps its axes.
        if let (Some(child), None) = (children.next(), children.next()) {
            let bone = apply(&axes[joint], skeleton.offsets[child]);
            let wanted = sub(pose.positions[child], positions[joint]);
            if let Some(turn) = turn(bone, wanted) {
                axes[joint] = axes[joint].map(|axis| apply(&turn, axis));
            }
        }
    }
    Pose { positions, axes }
}

/// The smallest rotation that turns `from` to the direction of `to`. `None` if one of them has no
/// direction, or if they are opposite or already aligned.
fn turn(from: Vec3, to: Vec3) -> Option<Axes> {
    if length(from) < SHORT || length(to) < SHORT {
        return None;
    }
    let (from, to) = (unit(from), unit(to));
    let (axis, cosine) = (cross(from, to), dot(from, to));
    let sine = length(axis);
    // A smaller turn is only rounding, and its axis is noise.
    (sine > 1e-9 && cosine > -0.999).then(|| rotated_about(scale(axis, 1.0 / sine), sine.atan2(cosine)))
}

/// Means over the poses of a motion, which are added one by one.
#[derive(Debug, Clone)]
pub struct Means {
    /// True for joints without children.
    last: Vec<bool>,
    /// Sums of places on the parent; for joints without children also of these places in the
    /// joint's own axes, and of their lengths.
    offsets: Vec<Vec3>,
    along: Vec<Vec3>,
    bones: Vec<f64>,
    poses: usize,
}

impl Means {
    /// Means without a pose yet.
    pub fn new(skeleton: &Skeleton) -> Self {
        let joints = skeleton.len();
        let last = (0..joints).map(|joint| !skeleton.parents.contains(&Some(joint))).collect();
        let zeros = vec![[0.0; 3]; joints];
        Means { last, offsets: zeros.clone(), along: zeros, bones: vec![0.0; joints], poses: 0 }
    }

    /// Adds a pose.
    pub fn add(&mut self, pose: &LocalPose) {
        self.poses += 1;
        for (joint, offset) in pose.offsets.iter().enumerate() {
            self.offsets[joint] = add(self.offsets[joint], *offset);
            if self.last[joint] {
                self.along[joint] = add(self.along[joint], apply_inverse(&pose.axes[joint], *offset));
                self.bones[joint] += length(*offset);
            }
        }
    }

    /// The mean place of each joint on its parent, feet.
    pub fn offsets(&self) -> Vec<Vec3> {
        self.offsets.iter().map(|sum| sum.map(|x| x / self.poses as f64)).collect()
    }

    /// Ends of the bones of joints without children, in their own axes, feet (zero for all others).
    /// The bone has half the length of the one above and its mean direction. Files have such ends,
    /// features do not.
    pub(crate) fn tips(&self) -> Vec<Vec3> {
        let tip = |joint: usize| match length(self.along[joint]) > SHORT {
            true => scale(unit(self.along[joint]), 0.5 * (self.bones[joint] / self.poses as f64)),
            false => [0.0; 3],
        };
        (0..self.last.len()).map(tip).collect()
    }
}

//! Conversion of world poses to feature vectors and back: root motion, joint positions, joint
//! velocities, Y axes, Z axes.
use super::Skeleton;
use super::pose::{Pose, Root, wrapped};
use super::vector::{Vec3, about_y, add, apply, apply_inverse, axes_from_yz, sub};

/// F: three numbers of root motion and four vectors for each joint.
pub const fn frame_size(joints: usize) -> usize {
    3 + 12 * joints
}

/// J if `frame_size` is 3 + 12 J.
pub fn joints(frame_size: usize) -> Option<usize> {
    (frame_size >= 15 && (frame_size - 3).is_multiple_of(12)).then(|| (frame_size - 3) / 12)
}

/// A vector that each joint has in every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Place relative to the root, feet.
    Position,
    /// Displacement since the last frame, feet.
    Velocity,
    /// The joint's local Y axis.
    AxisY,
    /// The joint's local Z axis.
    AxisZ,
}

/// Index of the first of the three numbers of `joint` among `joints` joints.
pub const fn slot(part: Part, joint: usize, joints: usize) -> usize {
    3 + 3 * (part as usize * joints + joint)
}

/// Indices of the position and velocity features of the joints `of`, among `joints` joints.
pub(crate) fn moved_features(of: &[usize], joints: usize) -> impl Iterator<Item = usize> {
    let first = move |&joint: &usize| [Part::Position, Part::Velocity].map(|part| slot(part, joint, joints));
    of.iter().flat_map(first).flat_map(|first| first..first + 3)
}

/// Three numbers of a frame from index `at` on.
pub fn vector(frame: &[f32], at: usize) -> Vec3 {
    [frame[at].into(), frame[at + 1].into(), frame[at + 2].into()]
}

/// Displacement of a joint from the frame before to this one, feet, as seen in the facing of the
/// frame before.
pub fn displacement(before: &[f32], frame: &[f32], joint: usize) -> Vec3 {
    let position = slot(Part::Position, joint, (frame.len() - 3) / 12);
    let moved = [frame[0].into(), 0.0, frame[1].into()];
    let stands = add(moved, apply(&about_y(frame[2].into()), vector(frame, position)));
    sub(stands, vector(before, position))
}

/// Appends the features of `pose`; `previous` is the pose one frame earlier.
pub fn push(frames: &mut Vec<f32>, skeleton: &Skeleton, previous: &Pose, pose: &Pose) {
    let (last, root) = (Root::of(skeleton, previous), Root::of(skeleton, pose));
    let (last_rotation, rotation) = (last.rotation(), root.rotation());
    let moved = apply_inverse(&last_rotation, [root.x - last.x, 0.0, root.z - last.z]);
    let mut push = |values: Vec3| frames.extend(values.map(round));
    push([moved[0], moved[2], wrapped(root.facing - last.facing)]);
    for &position in &pose.positions {
        push(apply_inverse(&rotation, sub(position, [root.x, 0.0, root.z])));
    }
    for (&position, &before) in pose.positions.iter().zip(&previous.positions) {
        push(apply_inverse(&rotation, sub(position, before)));
    }
    for axis in [1, 2] {
        for axes in &pose.axes {
            push(apply_inverse(&rotation, axes[axis]));
        }
    }
}

/// The pose of a frame in its own facing frame: x forward, z right, the root at the origin. Axes
/// are made orthonormal.
pub(crate) fn local_pose(frame: &[f32]) -> Pose {
    let joints = (frame.len() - 3) / 12;
    let read = |part, joint| vector(frame, slot(part, joint, joints));
    Pose {
        positions: (0..joints).map(|j| read(Part::Position, j)).collect(),
        axes: (0..joints).map(|j| axes_from_yz(read(Part::AxisY, j), read(Part::AxisZ, j))).collect(),
    }
}

/// The pose of a frame in the world, given the root of the character.
pub fn world_pose(frame: &[f32], root: &Root) -> Pose {
    let mut pose = local_pose(frame);
    let rotation = root.rotation();
    for position in &mut pose.positions {
        *position = add(apply(&rotation, *position), [root.x, 0.0, root.z]);
    }
    for axes in &mut pose.axes {
        *axes = axes.map(|axis| apply(&rotation, axis));
    }
    pose
}

/// Rounds to f32 on a grid of 2^-24. A value that is zero except for rounding becomes zero, so that
/// its deviation is exactly 0. The last bit of a platform's sine is lost.
fn round(value: f64) -> f32 {
    const GRID: f64 = (1u64 << 24) as f64;
    ((value * GRID).round() / GRID + 0.0) as f32
}

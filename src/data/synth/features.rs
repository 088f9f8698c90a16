//! World poses to the 267-number feature vector: root motion, joint positions, joint velocities, Y axes, Z axes.
use super::skeleton::{HIPS, LIMBS, NUM_JOINTS, Pose};
use super::vector::{Axes, Vec3, about_y, apply_inverse, sub};
use std::f64::consts::{PI, TAU};

/// F: three numbers of root motion and four vectors a joint.
pub const FRAME_SIZE: usize = 3 + 12 * NUM_JOINTS;

/// Root (hips projected to the ground, feet) and facing (rad, left turns positive) of a pose.
struct Root {
    ground: Vec3,
    facing: f64,
    rotation: Axes,
}

impl Root {
    fn of(pose: &Pose) -> Self {
        let [x, _, z] = pose.positions[HIPS];
        let left = sub(pose.positions[LIMBS[0].up_leg], pose.positions[LIMBS[1].up_leg]);
        // Forward is the line from right to left, turned right by a quarter: (-left.z, left.x) on the ground.
        let facing = (-left[0]).atan2(-left[2]);
        Root { ground: [x, 0.0, z], facing, rotation: about_y(facing) }
    }
}

/// Appends the features of `pose`, of which `previous` is the pose one frame earlier.
pub(super) fn push_features(frames: &mut Vec<f32>, previous: &Pose, pose: &Pose) {
    let (last, root) = (Root::of(previous), Root::of(pose));
    let moved = apply_inverse(&last.rotation, sub(root.ground, last.ground));
    let turned = (root.facing - last.facing + PI).rem_euclid(TAU) - PI;
    let mut push = |values: &[f64]| frames.extend(values.iter().map(|&value| round(value)));
    push(&[moved[0], moved[2], turned]);
    for position in pose.positions {
        push(&apply_inverse(&root.rotation, sub(position, root.ground)));
    }
    for (position, before) in pose.positions.into_iter().zip(previous.positions) {
        push(&apply_inverse(&root.rotation, sub(position, before)));
    }
    for axis in [1, 2] {
        for axes in &pose.axes {
            push(&apply_inverse(&root.rotation, axes[axis]));
        }
    }
}

/// Rounds to f32 on a grid of 2^-24: what is zero but for rounding becomes zero (its deviation is then exactly 0), and
/// the last bit of a platform's sine is forgotten.
fn round(value: f64) -> f32 {
    const GRID: f64 = (1u64 << 24) as f64;
    ((value * GRID).round() / GRID + 0.0) as f32
}

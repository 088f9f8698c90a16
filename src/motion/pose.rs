//! A pose of a character at one moment, and its place and facing.
use super::Skeleton;
use super::vector::{Axes, Vec3, about_y, sub};
use serde::{Deserialize, Serialize};
use std::f64::consts::{PI, TAU};

/// All joints at one moment, in the world or, read from features, relative to the [`Root`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pose {
    /// Position of each joint, feet.
    pub positions: Vec<Vec3>,
    /// Local axes X, Y, Z of each joint: orthonormal, right-handed.
    pub axes: Vec<Axes>,
}

/// Place on the ground and facing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// x, feet.
    pub x: f64,
    /// z, feet.
    pub z: f64,
    /// Angle about +y from looking along +x, rad; left positive.
    pub facing: f64,
}

impl Root {
    /// The hips projected to the ground, facing across the line between the upper legs.
    pub fn of(skeleton: &Skeleton, pose: &Pose) -> Self {
        let [x, _, z] = pose.positions[skeleton.hips];
        let [left, right] = skeleton.up_legs.map(|joint| pose.positions[joint]);
        // Forward is the line from right to left, turned right by a quarter: (-line.z, line.x) on
        // the ground.
        let line = sub(left, right);
        Root { x, z, facing: (-line[0]).atan2(-line[2]) }
    }

    /// The rotation from the facing frame to the world.
    pub fn rotation(&self) -> Axes {
        about_y(self.facing)
    }

    /// The root one frame later; `motion` holds the first three features of that frame.
    pub fn advanced(&self, motion: [f64; 3]) -> Self {
        let (s, c) = self.facing.sin_cos();
        let [forward, right, turn] = motion;
        Root {
            x: self.x + c * forward + s * right,
            z: self.z - s * forward + c * right,
            facing: (self.facing + turn).rem_euclid(TAU),
        }
    }
}

/// The angle modulo whole turns, in [-pi, pi).
pub(crate) fn wrapped(angle: f64) -> f64 {
    (angle + PI).rem_euclid(TAU) - PI
}

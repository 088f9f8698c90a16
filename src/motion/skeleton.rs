//! A skeleton: named joints in a tree, and the offset of each from its parent.
use super::pose::Pose;
use super::vector::{Axes, Vec3, add, apply};
use serde::{Deserialize, Serialize};

/// Longest bone, feet.
const LONGEST: f64 = 1e6;

/// Joints in the order of the features, which may differ from the order of the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skeleton {
    /// Name of each joint.
    pub names: Vec<String>,
    /// Parent of each joint; the root of the tree has none.
    pub parents: Vec<Option<usize>>,
    /// Place of each joint in its parent's local axes, feet. The value of a joint without parent
    /// has no meaning.
    pub offsets: Vec<Vec3>,
    /// The joint that carries the body: its place on the ground is the root of the features.
    pub hips: usize,
    /// Left and right toe (the foot's last joint).
    pub toes: [usize; 2],
    /// Left and right upper leg: the line between them determines the facing.
    pub up_legs: [usize; 2],
}

impl Skeleton {
    /// J: joints.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// True if there is no joint.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The joint of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// All joints, parents before children, otherwise in their own order.
    pub fn order(&self) -> Vec<usize> {
        let depth = |mut joint: usize| {
            let mut depth = 0;
            while let Some(parent) = self.parents[joint] {
                (joint, depth) = (parent, depth + 1);
            }
            depth
        };
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_cached_key(|&joint| depth(joint));
        order
    }

    /// The first fault that makes this no skeleton, if any. Faults are lists of different lengths,
    /// an index past the end, a name of two joints, and a left joint that is also the right one.
    /// Further faults are a circle of parents, several joints without parent, and a hip joint with
    /// one.
    pub fn flaw(&self) -> Option<String> {
        let joints = self.len();
        if joints == 0 || self.parents.len() != joints || self.offsets.len() != joints {
            let (parents, offsets) = (self.parents.len(), self.offsets.len());
            return Some(format!(
                "{joints} joint names, {parents} parents and {offsets} offsets, expected as many of each"
            ));
        }
        let named = [self.hips].into_iter().chain(self.toes).chain(self.up_legs);
        if let Some(outside) = named.chain(self.parents.iter().flatten().copied()).find(|&joint| joint >= joints) {
            return Some(format!("joint {outside} is named, but there are {joints} (counted from 0)"));
        }
        if let Some(twice) = (1..joints).find(|&joint| self.names[..joint].contains(&self.names[joint])) {
            return Some(format!("two joints are named {}", self.names[twice]));
        }
        if let Some([joint, _]) = [self.toes, self.up_legs].iter().find(|[left, right]| left == right) {
            return Some(format!("{} is a joint of the left side and of the right", self.names[*joint]));
        }
        if self.parents.iter().filter(|parent| parent.is_none()).count() != 1 || self.parents[self.hips].is_some() {
            return Some("the hips, and no other joint, have no parent (-1)".into());
        }
        for joint in 0..joints {
            let mut up = joint;
            for _ in 0..joints {
                up = self.parents[up].unwrap_or(up);
            }
            if self.parents[up].is_some() {
                return Some(format!("the parents of {} run in a circle", self.names[joint]));
            }
        }
        let far = self.offsets.iter().position(|offset| offset.iter().any(|x| x.is_nan() || x.abs() > LONGEST));
        far.map(|joint| format!("the offset of {} is {:?} feet", self.names[joint], self.offsets[joint]))
    }

    /// Computes the pose from the place of the hips and the world axes of every joint (forward
    /// kinematics).
    pub fn pose(&self, hips: Vec3, axes: Vec<Axes>) -> Pose {
        let mut positions = vec![hips; self.len()];
        for joint in self.order() {
            if let Some(parent) = self.parents[joint] {
                positions[joint] = add(positions[parent], apply(&axes[parent], self.offsets[joint]));
            }
        }
        Pose { positions, axes }
    }
}

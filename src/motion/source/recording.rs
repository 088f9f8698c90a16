//! What a file of motion holds: joints in a tree, each with a local rotation, and a local place where it has one of its own.
use crate::motion::Pose;
use crate::motion::quaternion::{Quaternion, slerp, to_axes};
use crate::motion::vector::{Vec3, add, apply, scale};

/// A joint of a recording; parents come before children.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceJoint {
    /// Its name in the file.
    pub name: String,
    /// Its parent.
    pub parent: Option<usize>,
    /// Its place in its parent's local axes, in the file's unit.
    pub offset: Vec3,
    /// Which of its places a frame lists, if any, instead of the offset.
    pub moves: Option<usize>,
}

/// The frames of one file, in its own units and axes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recording {
    /// The joints.
    pub joints: Vec<SourceJoint>,
    /// Places of their ends, in the local axes of the joint named.
    pub ends: Vec<(usize, Vec3)>,
    /// Seconds between frames.
    pub frame_time: f64,
    /// Local rotations [frames, joints].
    pub rotations: Vec<Quaternion>,
    /// Local places [frames, joints that move].
    pub places: Vec<Vec3>,
}

impl Recording {
    /// Frames.
    pub fn len(&self) -> usize {
        self.rotations.len() / self.joints.len().max(1)
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.rotations.is_empty()
    }

    /// Joints that have places of their own.
    pub fn moving(&self) -> usize {
        self.joints.iter().filter(|joint| joint.moves.is_some()).count()
    }

    /// The joint of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.joints.iter().position(|joint| joint.name == name)
    }

    /// Adds the offset to the places of joints that are at 0 in every frame though their offset is not: their file takes
    /// positions for displacements. The root's places are left alone. Returns whether there is such a joint.
    pub fn add_offsets_to_still_places(&mut self) -> bool {
        let moving = self.moving();
        let mut found = false;
        for joint in self.joints.iter().filter(|joint| joint.parent.is_some() && joint.offset != [0.0; 3]) {
            let Some(at) = joint.moves else { continue };
            let places = || (at..self.places.len()).step_by(moving);
            if places().all(|place| self.places[place] == [0.0; 3]) {
                places().for_each(|place| self.places[place] = joint.offset);
                found = true;
            }
        }
        found
    }

    /// The pose at a moment, in frames from the first; rotations between frames are interpolated on the shortest arc.
    pub fn pose(&self, moment: f64) -> Pose {
        let before = (moment.max(0.0) as usize).min(self.len() - 1);
        let after = (before + 1).min(self.len() - 1);
        let share = moment - before as f64;
        let (joints, moving) = (self.joints.len(), self.moving());
        let mut pose = Pose { positions: Vec::with_capacity(joints), axes: Vec::with_capacity(joints) };
        for (j, joint) in self.joints.iter().enumerate() {
            let mut rotation = self.rotations[before * joints + j];
            let mut place = joint.moves.map_or(joint.offset, |at| self.places[before * moving + at]);
            if share > 0.0 {
                rotation = slerp(rotation, self.rotations[after * joints + j], share);
                if let Some(at) = joint.moves {
                    place = add(scale(place, 1.0 - share), scale(self.places[after * moving + at], share));
                }
            }
            let local = to_axes(rotation);
            let (position, axes) = match joint.parent {
                None => (place, local),
                Some(parent) => {
                    let turn = pose.axes[parent];
                    (add(pose.positions[parent], apply(&turn, place)), local.map(|axis| apply(&turn, axis)))
                }
            };
            pose.positions.push(position);
            pose.axes.push(axes);
        }
        pose
    }
}

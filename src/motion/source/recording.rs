//! A recording: the content of a motion file. It is a tree of joints, each with a local rotation,
//! and some with local places of their own.
use crate::motion::Pose;
use crate::motion::quaternion::{Quaternion, slerp, to_axes};
use crate::motion::vector::{Vec3, add, apply, scale};
use serde::Serialize;

/// A joint of a recording; parents come before children.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceJoint {
    /// Its name in the file.
    pub name: String,
    /// Its parent.
    pub parent: Option<usize>,
    /// Its place in its parent's local axes, in the file's unit.
    pub offset: Vec3,
    /// Index of the joint's place in a frame, if frames list one; it replaces the offset.
    pub moves: Option<usize>,
}

/// Oddity of a file that can be read all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The file has one frame more than it states.
    FrameMore,
    /// The file has one frame less than it states.
    FrameLess,
    /// The last line is incomplete. Its frame is left out.
    CutShort,
    /// NULs or an end mark (0x1A) follow the last line.
    EndMark,
    /// Position channels below the root are displacements from the offsets.
    Displacements,
    /// Position channels below the root are places, which replace the offsets.
    Places,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Note::FrameMore => "frames: one more than the header says",
            Note::FrameLess => "frames: one less than the header says",
            Note::CutShort => "last line: cut short, that frame is left out",
            Note::EndMark => "end of file: NULs or an end mark (0x1A) behind the last line",
            Note::Displacements => "position channels: displacements of joints, added to the offsets",
            Note::Places => "position channels: places of joints, instead of the offsets",
        })
    }
}

/// The frames of one file, in its own units and axes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recording {
    /// The joints.
    pub joints: Vec<SourceJoint>,
    /// Ends of bones: a joint, and the place of the end in its local axes.
    pub ends: Vec<(usize, Vec3)>,
    /// Seconds between frames.
    pub frame_time: f64,
    /// Local rotations [frames, joints].
    pub rotations: Vec<Quaternion>,
    /// Local places [frames, joints that move].
    pub places: Vec<Vec3>,
    /// Oddities of the file.
    pub notes: Vec<Note>,
}

impl Recording {
    /// Frames.
    pub fn len(&self) -> usize {
        self.rotations.len() / self.joints.len().max(1)
    }

    /// True if there is no frame.
    pub fn is_empty(&self) -> bool {
        self.rotations.is_empty()
    }

    /// Number of joints that have places of their own.
    pub fn moving(&self) -> usize {
        self.joints.iter().filter(|joint| joint.moves.is_some()).count()
    }

    /// The joint of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.joints.iter().position(|joint| joint.name == name)
    }

    /// Frames spread evenly from the first to the last; all frames if there are at most `most`.
    pub(crate) fn some_frames(&self, most: usize) -> impl Iterator<Item = usize> + Clone {
        let (count, last) = (self.len().min(most), self.len().saturating_sub(1));
        (0..count).map(move |nth| nth * last / (count - 1).max(1))
    }

    /// Leaves frames out at the start and at the end.
    pub(crate) fn leave_out(&mut self, [first, last]: [usize; 2]) {
        let (joints, moving, frames) = (self.joints.len(), self.moving(), self.len());
        let end = frames.saturating_sub(last);
        let start = first.min(end);
        self.rotations.truncate(end * joints);
        self.rotations.drain(..start * joints);
        self.places.truncate(end * moving);
        self.places.drain(..start * moving);
    }

    /// The pose at a moment, given in frames from the first. Rotations between frames are
    /// interpolated on the shortest arc.
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

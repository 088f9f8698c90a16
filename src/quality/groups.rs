//! Groups of a frame's features: root motion, places, velocities and axes of joints, laid out as in
//! `docs/features.md`.
use crate::motion::features::{Part, joints, slot};
use std::ops::Range;

/// A group of adjacent features: its name and its range.
pub type Group = (&'static str, Range<usize>);

/// The groups of a frame of `frame_size` features; one group of all if the size is not 3 + 12 J.
pub fn groups(frame_size: usize) -> Vec<Group> {
    let Some(joints) = joints(frame_size) else { return vec![("all", 0..frame_size)] };
    let part = |part| slot(part, 0, joints)..slot(part, joints, joints);
    vec![
        ("root", 0..3),
        ("positions", part(Part::Position)),
        ("velocities", part(Part::Velocity)),
        ("y_axes", part(Part::AxisY)),
        ("z_axes", part(Part::AxisZ)),
    ]
}

/// The features that describe the pose of a body, and those that describe its motion. If the layout
/// is unknown, these are all features and none.
pub(crate) fn poses_and_velocities(frame_size: usize) -> [Vec<usize>; 2] {
    let moves = |name: &str| matches!(name, "root" | "velocities");
    let of = |moving| -> Vec<usize> {
        groups(frame_size).into_iter().filter(|(name, _)| moves(name) == moving).flat_map(|(_, range)| range).collect()
    };
    [of(false), of(true)]
}

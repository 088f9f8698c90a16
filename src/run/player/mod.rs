//! The 3-D player of a report: tracks of moving skeletons, packed for the page. The scripts are
//! `player.js` (time, camera, controls), `body.js` (a skeleton's shape), `task.js` (the marks of a
//! track's task), `steer.js` (characters to steer), `scene.js` (drawing) and `elements.js` (what
//! they have in common). `runtime.js` moves the characters that are steered.
use crate::motion::pose::wrapped;
use crate::motion::vector::Vec3;
use crate::motion::{Rig, Root, features};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

/// The classes that run a character, of pages and of modules.
pub(crate) const RUNTIME: &str = include_str!("runtime.js");
/// The scripts of a page in which a character is steered, in the order in which it loads them.
pub(crate) const STEERING: [&str; 6] = [
    include_str!("elements.js"),
    include_str!("scene.js"),
    include_str!("body.js"),
    include_str!("task.js"),
    RUNTIME,
    include_str!("steer.js"),
];
/// The script of the player of tracks, which needs those.
pub(crate) const PLAYER: &str = include_str!("player.js");
/// The style sheet of the player.
pub(crate) const STYLE: &str = include_str!("player.css");

/// Millimetres in a foot.
const MILLIMETRES: f64 = 304.8;
/// Units of a packed facing in one radian.
const STEPS_A_RADIAN: f64 = 1e4;

/// The motion that a report shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Motion {
    /// A line that describes the motion, or says why there is none.
    pub note: String,
    /// The tracks, see [`pack`].
    pub tracks: Option<serde_json::Value>,
}

impl Motion {
    /// No motion, because the features are not known to be poses.
    pub(crate) fn of_no_skeleton() -> Self {
        let note = "No player: the data does not say which skeleton its features are poses of (files of 267 features, \
                    and those that `data import` writes, do).";
        Motion { note: note.into(), tracks: None }
    }
}

/// Origin of a track's motion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Motion of the data.
    Data,
    /// Motion of the data, encoded and decoded.
    Reconstruction,
    /// Motion with latents from the prior.
    Walk,
    /// Motion that a policy steers.
    Controlled,
}

/// One moment in the world, feet.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Where the character stands and faces.
    pub root: Root,
    /// Position of each joint.
    pub joints: Vec<Vec3>,
}

/// A motion to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Name of the track.
    pub name: String,
    /// Origin of the motion.
    pub kind: Kind,
    /// Label of its start; tracks with the same label are shown together.
    pub start: String,
    /// Frames a second.
    pub fps: f64,
    /// The motion.
    pub frames: Vec<Frame>,
    /// The marks of its task, in the form that `task.js` reads.
    pub task: Vec<serde_json::Value>,
}

impl Track {
    /// A track from features (raw, not normalised), which begins at the origin, facing +x.
    pub fn new(name: String, kind: Kind, start: String, rig: &Rig, features: &[f32]) -> Self {
        let rows = features.chunks_exact(features::frame_size(rig.skeleton.len()));
        let roots = rows.clone().skip(1).scan(Root::default(), |root, row| {
            *root = root.advanced([row[0].into(), row[1].into(), row[2].into()]);
            Some(*root)
        });
        let roots: Vec<Root> = std::iter::once(Root::default()).chain(roots).collect();
        Track::placed(name, kind, start, rig, features, &roots)
    }

    /// A track from features (raw, not normalised) with known roots.
    pub fn placed(name: String, kind: Kind, start: String, rig: &Rig, features: &[f32], roots: &[Root]) -> Self {
        let rows = features.chunks_exact(features::frame_size(rig.skeleton.len()));
        let frame =
            |(row, root): (&[f32], &Root)| Frame { root: *root, joints: features::world_pose(row, root).positions };
        let frames = rows.zip(roots).map(frame).collect();
        Track { name, kind, start, fps: rig.fps, frames, task: Vec::new() }
    }
}

/// The tracks as JSON for the page; `unpack` in player.js reads it. A track ends before its first
/// frame that cannot be packed (not finite, or a joint beyond 32 m of the root). It is left out if
/// that is its first frame.
pub fn pack(rig: &Rig, tracks: &[Track]) -> serde_json::Value {
    /// Fields are read by name in the scripts.
    #[derive(Serialize)]
    struct Packed<'a> {
        name: &'a str,
        kind: Kind,
        start: &'a str,
        fps: f64,
        frames: usize,
        motion: String,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        task: &'a [serde_json::Value],
    }
    let metres = |feet: f64| feet * MILLIMETRES / 1000.0;
    let tracks = tracks.iter().filter_map(|track| {
        let (frames, motion) = motion(&track.frames);
        let Track { name, kind, start, fps, task, .. } = track;
        (frames > 0).then(|| Packed { name, kind: *kind, start, fps: *fps, frames, motion, task })
    });
    let skeleton = &rig.skeleton;
    serde_json::json!({
        "skeleton": {
            "names": skeleton.names,
            "parents": skeleton.parents,
            "toes": skeleton.toes,
            "toe_floors": rig.toe_floors.map(metres),
            "hip_height": metres(rig.hip_height),
        },
        "tracks": tracks.collect::<Vec<_>>(),
    })
}

/// Bytes that a frame of `joints` joints takes in the page.
pub(crate) fn bytes_a_frame(joints: usize) -> usize {
    (2 * (3 + 3 * joints) * 4).div_ceil(3)
}

/// The number of packed frames, and their little-endian 16-bit integers as base64. A frame is the
/// root's displacement since the last frame (x, z; for the first, from the origin; mm) and its
/// facing (1e-4 rad). Then follows each joint relative to the root (x, y, z; mm). All are
/// differences of rounded places, so that rounding errors do not add up.
fn motion(frames: &[Frame]) -> (usize, String) {
    let mut bytes = Vec::new();
    let mut last = [0; 2];
    let mut count = 0;
    for Frame { root: Root { x, z, facing }, joints } in frames {
        let Some(root) = place([*x, *z]).filter(|_| facing.is_finite()) else { break };
        let facing = (wrapped(*facing) * STEPS_A_RADIAN).round() as i64;
        let mut words = vec![Some(root[0] - last[0]), Some(root[1] - last[1]), Some(facing)];
        for &joint in joints {
            let joint = place(joint);
            let from_root = |k: usize, root: i64| joint.map(|joint| joint[k] - root);
            words.extend([from_root(0, root[0]), from_root(1, 0), from_root(2, root[1])]);
        }
        let fits = |word: Option<i64>| word.and_then(|word| i16::try_from(word).ok()).map(i16::to_le_bytes);
        let Some(words) = words.into_iter().map(fits).collect::<Option<Vec<_>>>() else { break };
        bytes.extend(words.into_iter().flatten());
        last = root;
        count += 1;
    }
    (count, BASE64_STANDARD.encode(bytes))
}

/// Converts feet to whole millimetres; `None` unless all are finite and below 1e9 in magnitude.
fn place<const N: usize>(feet: [f64; N]) -> Option<[i64; N]> {
    feet.iter().all(|x| x.abs() < 1e9).then(|| feet.map(|x| (x * MILLIMETRES).round() as i64))
}

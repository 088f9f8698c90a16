//! The 3-D player of a report: tracks of skeletons that move, packed for the page. The page's side is `player.js` (time,
//! camera, controls), `body.js` (a skeleton's shape) and `scene.js` (drawing).
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

/// What the page needs, in the order in which it is read.
pub const SCRIPTS: [&str; 3] = [include_str!("scene.js"), include_str!("body.js"), include_str!("player.js")];
/// The look of the player.
pub const STYLE: &str = include_str!("player.css");

/// Millimetres in a foot.
const MILLIMETRES: f64 = 304.8;
/// Facings travel in this many steps a radian.
const STEPS_A_RADIAN: f64 = 1e4;

/// What all tracks of a page are of. Lengths in feet.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// Name of each joint.
    pub names: Vec<String>,
    /// Parent of each joint; bones are drawn between the two.
    pub parents: Vec<Option<usize>>,
    /// Joints that touch the ground.
    pub toes: Vec<usize>,
    /// Height of each of them when it stands on the ground.
    pub toe_floors: Vec<f64>,
    /// Usual height of the hips, for how large to draw everything.
    pub hip_height: f64,
}

/// What a track shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Motion of the data.
    Data,
    /// That motion, encoded and decoded.
    Reconstruction,
    /// Motion with latents from the prior.
    Walk,
}

/// One moment in the world: feet, y up, right-handed, and radians.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// x and z of the root, and its facing from +x, left positive.
    pub root: [f64; 3],
    /// Position of each joint.
    pub joints: Vec<[f64; 3]>,
}

/// A motion to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// What to call it.
    pub name: String,
    /// What it shows.
    pub kind: Kind,
    /// What it starts from; tracks of one start are shown together.
    pub start: String,
    /// Frames a second.
    pub fps: f64,
    /// The motion.
    pub frames: Vec<Frame>,
}

/// The tracks as JSON for the page, which `unpack` of player.js reads. A track ends before its first frame that cannot
/// travel (not finite, or a joint beyond 32 m of the root), and is left out when that is its first.
pub fn pack(body: &Body, tracks: &[Track]) -> serde_json::Value {
    /// Fields are read by name in the scripts.
    #[derive(Serialize)]
    struct Packed<'a> {
        name: &'a str,
        kind: Kind,
        start: &'a str,
        fps: f64,
        frames: usize,
        motion: String,
    }
    let metres = |feet: f64| feet * MILLIMETRES / 1000.0;
    let tracks = tracks.iter().filter_map(|track| {
        let (frames, motion) = motion(&track.frames);
        let Track { name, kind, start, fps, .. } = track;
        (frames > 0).then(|| Packed { name, kind: *kind, start, fps: *fps, frames, motion })
    });
    serde_json::json!({
        "skeleton": {
            "names": body.names,
            "parents": body.parents,
            "toes": body.toes,
            "toe_floors": body.toe_floors.iter().map(|&floor| metres(floor)).collect::<Vec<_>>(),
            "hip_height": metres(body.hip_height),
        },
        "tracks": tracks.collect::<Vec<_>>(),
    })
}

/// Base64 of little-endian 16-bit integers, and the frames in it. A frame is the root's way since the last one (x, z; of
/// the first, from the origin; mm) and its facing (1e-4 rad), then each joint relative to the root (x, y, z; mm). All are
/// differences of rounded places, so that rounding does not add up.
fn motion(frames: &[Frame]) -> (usize, String) {
    let mut bytes = Vec::new();
    let mut last = [0; 2];
    let mut count = 0;
    for Frame { root: [x, z, facing], joints } in frames {
        let Some(root) = place([*x, *z]) else { break };
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

/// Feet as whole millimetres; `None` for what is no place.
fn place<const N: usize>(feet: [f64; N]) -> Option<[i64; N]> {
    feet.iter().all(|x| x.abs() < 1e9).then(|| feet.map(|x| (x * MILLIMETRES).round() as i64))
}

/// The angle in [-pi, pi] that is the same but for whole turns; 0 for what is no angle.
fn wrapped(angle: f64) -> f64 {
    let (sin, cos) = angle.sin_cos();
    if angle.is_finite() { sin.atan2(cos) } else { 0.0 }
}

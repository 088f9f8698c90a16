//! The rig: data about a character that is kept beside its frames, in the data file and in the
//! checkpoint. It holds the skeleton, and measurements of floor, size and speed.
use super::features::{Part, joints, slot, vector};
use super::vector::{Vec3, add, apply_inverse, axes_from_yz, dot, scale, sub};
use super::{Skeleton, reference};
use serde::{Deserialize, Serialize};

/// Frames a second of data without a rate of their own.
pub const DEFAULT_FPS: f64 = 30.0;
/// Metres in a foot.
pub const METRES: f64 = 0.3048;
/// Speed of the root above which a character is moving, m/s.
pub(crate) const MOVING: f64 = 0.3;
/// Height above its floor, m, and speed, m/s, below which a toe is in contact.
pub(crate) const CONTACT_HEIGHT: f64 = 0.03;
pub(crate) const CONTACT_SPEED: f64 = 0.2;
/// Accepted frame rates.
const FPS: std::ops::RangeInclusive<f64> = 1.0..=10_000.0;
/// Largest height or speed that is accepted, feet.
const FARTHEST: f64 = 1e9;
/// The quantile of a toe's height that is its floor.
const FLOOR_QUANTILE: f64 = 0.01;

/// A skeleton, its frame rate, and measurements on its frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rig {
    /// The joints, in the order of the features.
    pub skeleton: Skeleton,
    /// Frames a second.
    pub fps: f64,
    /// Height of the left and the right toe on the ground, feet: the 1 % quantile of its heights.
    pub toe_floors: [f64; 2],
    /// Usual height of the hips, feet: the median. One body unit is this over the reference's 3.21
    /// feet.
    pub hip_height: f64,
    /// Speeds of the root while it moves.
    pub speeds: Speeds,
    /// The files that the data came from.
    pub sources: Vec<String>,
    /// Terms of use of the motion, as far as known.
    pub terms: Vec<String>,
}

/// Quantiles of the root's speed, feet a frame, over the frames in which it is faster than 0.3 m/s;
/// 0 if there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Speeds {
    /// Median.
    pub median: f64,
    /// 75 % quantile.
    pub q75: f64,
    /// 95 % quantile.
    pub q95: f64,
}

impl Rig {
    /// A rig measured on frames of this skeleton's features; values that are not finite are
    /// skipped. Panics unless the frames have the skeleton's size.
    pub fn new(skeleton: Skeleton, fps: f64, frames: &[f32]) -> Self {
        let mut rig = Rig {
            skeleton,
            fps,
            toe_floors: [0.0; 2],
            hip_height: 0.0,
            speeds: Speeds::default(),
            sources: Vec::new(),
            terms: Vec::new(),
        };
        rig.measure(frames);
        rig
    }

    /// The rig of frames without any description. `None` unless they have the reference's 267
    /// features with plausible values.
    pub fn bare(frame_size: usize, frames: &[f32]) -> Option<Self> {
        let mut skeleton = reference::skeleton();
        (joints(frame_size)? == skeleton.len()).then_some(())?;
        skeleton.offsets = offsets(&skeleton.parents, frames);
        let rig = Rig::new(skeleton, DEFAULT_FPS, frames);
        rig.flaw(frame_size).is_none().then_some(rig)
    }

    /// The first fault of this rig for frames of `frame_size` features, if any: a flaw of the
    /// skeleton (see [`Skeleton::flaw`]), or an invalid number.
    pub fn flaw(&self, frame_size: usize) -> Option<String> {
        let joints = self.skeleton.len();
        if let Some(flaw) = self.skeleton.flaw() {
            return Some(flaw);
        }
        if super::features::joints(frame_size) != Some(joints) {
            return Some(format!("{joints} joints, which {frame_size} features a frame are not of"));
        }
        if !FPS.contains(&self.fps) {
            return Some(format!("fps is {}, expected {} to {}", self.fps, FPS.start(), FPS.end()));
        }
        let Speeds { median, q75, q95 } = self.speeds;
        let measured = [median, q75, q95, self.hip_height].into_iter().chain(self.toe_floors);
        let odd = measured.into_iter().find(|x| x.is_nan() || x.abs() > FARTHEST);
        odd.map(|x| format!("a height or speed of {x} feet, expected at most {FARTHEST}"))
    }

    /// Measures floor, size and speed again, on these frames.
    pub fn measure(&mut self, frames: &[f32]) {
        let joints = self.skeleton.len();
        let frame_size = super::features::frame_size(joints);
        assert!(frames.len().is_multiple_of(frame_size), "frames are of the skeleton's size");
        let rows = || frames.chunks_exact(frame_size);
        let heights = |joint| rows().map(|row| f64::from(row[slot(Part::Position, joint, joints) + 1])).collect();
        self.toe_floors = self.skeleton.toes.map(|toe| quantile(heights(toe), FLOOR_QUANTILE));
        self.hip_height = quantile(heights(self.skeleton.hips), 0.5);
        let moving = MOVING / METRES / self.fps;
        let speeds = rows().map(|row| f64::from(row[0]).hypot(row[1].into())).filter(|&speed| speed > moving);
        let speeds: Vec<f64> = speeds.collect();
        let [median, q75, q95] = [0.5, 0.75, 0.95].map(|q| quantile(speeds.clone(), q));
        self.speeds = Speeds { median, q75, q95 };
    }

    /// True if the left (0) or right (1) toe at this height, feet, is within 3 cm of its floor.
    pub fn low(&self, side: usize, height: f64) -> bool {
        self.over_floor(side, height).abs() < CONTACT_HEIGHT
    }

    /// Height of the left (0) or right (1) toe over its floor, m; `height` is in feet.
    pub(crate) fn over_floor(&self, side: usize, height: f64) -> f64 {
        METRES * (height - self.toe_floors[side])
    }

    /// Speed over the ground of the left (0) or right (1) toe while in contact, m/s. Contact means
    /// within 3 cm of its floor and slower than 0.2 m/s; else `None`. `height` is the toe's, feet,
    /// and `moved` its displacement in a frame, feet.
    pub fn skate(&self, side: usize, height: f64, moved: Vec3) -> Option<f64> {
        let [x, y, z] = scale(moved, METRES * self.fps);
        (self.low(side, height) && x.hypot(y).hypot(z) < CONTACT_SPEED).then_some(x.hypot(z))
    }

    /// [`Rig::skate`] for the place and velocity in a frame's features.
    pub fn contact(&self, frame: &[f32], side: usize) -> Option<f64> {
        let (toe, joints) = (self.skeleton.toes[side], self.skeleton.len());
        let height = frame[slot(Part::Position, toe, joints) + 1];
        self.skate(side, height.into(), vector(frame, slot(Part::Velocity, toe, joints)))
    }

    /// Adds the sources and terms of another rig of the same skeleton.
    pub fn join(&mut self, other: &Rig) {
        self.sources.extend(other.sources.iter().cloned());
        let new = other.terms.iter().filter(|terms| !self.terms.contains(terms)).cloned().collect::<Vec<_>>();
        self.terms.extend(new);
    }
}

/// The value that a share `q` of the finite values does not exceed (nearest rank); 0 if there are
/// none.
pub fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.retain(|x| x.is_finite());
    if values.is_empty() {
        return 0.0;
    }
    let at = (q * (values.len() - 1) as f64).round() as usize;
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}

/// Offsets of the joints from their parents, in the parents' local axes: the mean over all frames
/// that are finite.
pub fn offsets(parents: &[Option<usize>], frames: &[f32]) -> Vec<Vec3> {
    let offset = |joint: usize, parent: usize| {
        let mut sum = ([0.0; 3], 0.0);
        for offset in frame_offsets(parents.len(), joint, parent, frames) {
            sum = (add(sum.0, offset), sum.1 + 1.0);
        }
        scale(sum.0, 1.0 / f64::max(sum.1, 1.0))
    };
    parents.iter().enumerate().map(|(joint, parent)| parent.map_or([0.0; 3], |parent| offset(joint, parent))).collect()
}

/// Distance of each joint from its place in the skeleton, given its parent: the root of the mean
/// square over the frames, feet.
pub fn looseness(skeleton: &Skeleton, frames: &[f32]) -> Vec<f64> {
    let loose = |joint: usize, parent: usize| {
        let (mut sum, mut count) = (0.0, 0.0);
        for offset in frame_offsets(skeleton.len(), joint, parent, frames) {
            let off = sub(offset, skeleton.offsets[joint]);
            (sum, count) = (sum + dot(off, off), count + 1.0);
        }
        (sum / f64::max(count, 1.0)).sqrt()
    };
    let parents = skeleton.parents.iter().enumerate();
    parents.map(|(joint, parent)| parent.map_or(0.0, |parent| loose(joint, parent))).collect()
}

/// Places of a joint in its parent's local axes, in all frames in which it is finite.
fn frame_offsets(joints: usize, joint: usize, parent: usize, frames: &[f32]) -> impl Iterator<Item = Vec3> {
    frames.chunks_exact(super::features::frame_size(joints)).filter_map(move |row| {
        let read = |part, joint| vector(row, slot(part, joint, joints));
        let axes = axes_from_yz(read(Part::AxisY, parent), read(Part::AxisZ, parent));
        let offset = apply_inverse(&axes, sub(read(Part::Position, joint), read(Part::Position, parent)));
        offset.iter().all(|x| x.is_finite()).then_some(offset)
    })
}

//! Finds frames at both ends of a recording that are not of its motion: poses that were put there,
//! and what a filter made of the jump between them and the motion.
//!
//! A jump is a change of speed that no body has. Speeds are means over the joints, in which long
//! bones count more than fingers, and are known in m/s from the size of a person, whatever the unit
//! of the file. Measured on 13 minutes of Bandai-Namco's motion (30 a second) and 6 of the CMU
//! database's (120 a second), bodies change their speed from frame to frame by up to 1.5 m/s; from
//! an inserted pose to the motion it is 4 m/s at least, and 20 at 120 frames a second.
use super::Recording;
use crate::motion::rig::quantile;
use crate::motion::vector::{Vec3, add, length, scale, sub};

/// The longest way along the bones of a grown-up from one end to another, from a toe to a hand,
/// metres.
const PERSON: f64 = 2.2;
/// A jump is a change of speed above this, m/s, and above this many times the 75 % quantile of the
/// recording's own.
const JUMP: (f64, f64) = (3.0, 5.0);
/// Beside a jump, frames belong to it down to this part of such a change: filters ring.
const RINGING: f64 = 0.5;
/// A pose is held while it moves less than this, m/s.
const HELD: f64 = 0.02;
/// Poses that are not held are this short, and so is the ringing before a jump, seconds.
const SHORT: f64 = 0.1;
/// Frames looked at for lengths of bones and for the recording's own changes of speed.
const LOOKS: usize = 64;

/// How many frames at the start and at the end are not of the motion, at this many frames a second.
pub fn inserted(recording: &Recording, rate: f64) -> [usize; 2] {
    let (frames, weights) = (recording.len(), weights(recording, rate));
    if frames < 3 || weights.is_empty() {
        return [0; 2];
    }
    let motion = Motion { recording, weights, short: (SHORT * rate).ceil() as usize };
    let looks = recording.some_frames(LOOKS).filter(|frame| (1..frames - 1).contains(frame));
    let usual = quantile(looks.map(|frame| motion.change([frame - 1, frame, frame + 1])).collect(), 0.75);
    let jump = JUMP.0.max(JUMP.1 * usual);
    let [first, last] = [motion.before_jump(jump, |nth| nth), motion.before_jump(jump, |nth| frames - 1 - nth)];
    if first + last + 2 <= frames { [first, last] } else { [0; 2] }
}

/// Weight of each joint's way between two frames in the mean speed, m/s: the length of the bone
/// that ends at it. A bone whose length varies does not count. Empty when there is no bone.
fn weights(recording: &Recording, rate: f64) -> Vec<f64> {
    const STEADY: f64 = 0.05;
    let poses: Vec<Vec<Vec3>> = recording.some_frames(LOOKS).map(|frame| places(recording, frame)).collect();
    let mut bones = vec![0.0; recording.joints.len()];
    for (joint, parent) in recording.joints.iter().enumerate().filter_map(|(at, joint)| Some((at, joint.parent?))) {
        let lengths: Vec<f64> = poses.iter().map(|pose| length(sub(pose[joint], pose[parent]))).collect();
        let usual = quantile(lengths.clone(), 0.5);
        let off = quantile(lengths.iter().map(|length| (length - usual).abs()).collect(), 0.5);
        bones[joint] = if off < STEADY * usual { usual } else { 0.0 };
    }
    // The longest way down from each joint that has others below it, and between two ends.
    let (mut down, mut size) = (vec![None; bones.len()], 0.0);
    for (joint, bone) in bones.iter().enumerate().rev() {
        let way = bone + down[joint].unwrap_or(0.0);
        if let Some(parent) = recording.joints[joint].parent {
            let other: &mut Option<f64> = &mut down[parent];
            size = f64::max(size, other.map_or(0.0, |other| other + way));
            *other = Some(other.unwrap_or(0.0).max(way));
        }
    }
    let whole: f64 = bones.iter().sum();
    if size > 0.0 { bones.into_iter().map(|bone| bone / whole * PERSON / size * rate).collect() } else { Vec::new() }
}

fn places(recording: &Recording, frame: usize) -> Vec<Vec3> {
    recording.pose(frame as f64).positions
}

/// A recording, and how its speeds are measured.
struct Motion<'a> {
    recording: &'a Recording,
    weights: Vec<f64>,
    /// See [`SHORT`], frames.
    short: usize,
}

impl Motion<'_> {
    /// The mean length of a vector of each joint.
    fn mean(&self, of: impl Fn(usize) -> Vec3) -> f64 {
        self.weights.iter().enumerate().map(|(joint, weight)| weight * length(of(joint))).sum()
    }

    /// How much the speed changes at the second of three frames.
    fn change(&self, frames: [usize; 3]) -> f64 {
        let [a, b, c] = frames.map(|frame| places(self.recording, frame));
        self.mean(|joint| sub(add(a[joint], c[joint]), scale(b[joint], 2.0)))
    }

    /// How many frames are before the last jump at an end, whose frames are in this order from
    /// there on. Frames that are not held before a jump are no more than a short time.
    fn before_jump(&self, jump: f64, nth: impl Fn(usize) -> usize) -> usize {
        let frames = self.recording.len();
        let (mut before, mut moves) = (0, None);
        for at in 1..frames - 1 {
            if moves.is_none() {
                let [a, b] = [at - 1, at].map(|at| places(self.recording, nth(at)));
                moves = (self.mean(|joint| sub(b[joint], a[joint])) > HELD).then_some(at);
            }
            let held = moves.is_none_or(|moves| moves + self.short > at);
            let limit = if before > 0 && at == before + 1 { RINGING * jump } else { jump };
            if !held && at > before + self.short {
                break;
            }
            let near = at <= before + self.short && 2 * at < frames;
            if (held || near) && self.change([at - 1, at, at + 1].map(&nth)) > limit {
                (before, moves) = (at, None);
            }
        }
        before
    }
}

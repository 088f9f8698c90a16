//! A search for frames at both ends of a recording that do not belong to its motion: inserted
//! poses, and the ringing of a filter at the jump between them and the motion.
//!
//! A jump is a change of speed that no body can make. Speeds are means over the joints, weighted by
//! the lengths of bones, so that fingers count little. They are in m/s, scaled by the size of a
//! person, whatever the unit of the file.
//!
//! The limits come from 13 minutes of Bandai-Namco's motion (30 frames a second) and 6 of the CMU
//! database's (120 a second). Bodies change their speed from frame to frame by up to 1.5 m/s. From
//! an inserted pose to the motion it changes by at least 4 m/s, and by 20 m/s at 120 frames a
//! second.
use super::Recording;
use crate::motion::rig::quantile;
use crate::motion::vector::{Vec3, add, length, scale, sub};

/// Longest way along the bones of a grown-up between two ends, from a toe to a hand, metres.
const PERSON: f64 = 2.2;
/// Limits that a change of speed must exceed to be a jump: m/s, and a multiple of the 75 % quantile
/// of the recording's own changes.
const JUMP: (f64, f64) = (3.0, 5.0);
/// Share of a jump's limit above which changes beside a jump belong to it, as filters ring.
const RINGING: f64 = 0.5;
/// Speed below which a pose is held, m/s.
const HELD: f64 = 0.02;
/// Longest duration, seconds, of inserted poses that are not held, and of the ringing before a
/// jump.
const SHORT: f64 = 0.1;
/// Number of frames examined for lengths of bones and for the recording's own changes of speed.
const LOOKS: usize = 64;

/// Number of frames at the start and at the end that do not belong to the motion; `rate` is in
/// frames a second.
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

/// Weights of the joints in the mean speed, m/s: the lengths of the bones that end at them, scaled.
/// A bone whose length varies has weight 0. Empty if there is no bone.
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
    // The longest way down from each joint with children, and the longest way between two ends.
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

/// A recording with the weights for its speeds.
struct Motion<'a> {
    recording: &'a Recording,
    weights: Vec<f64>,
    /// [`SHORT`] in frames.
    short: usize,
}

impl Motion<'_> {
    /// The weighted mean length of one vector for each joint.
    fn mean(&self, of: impl Fn(usize) -> Vec3) -> f64 {
        self.weights.iter().enumerate().map(|(joint, weight)| weight * length(of(joint))).sum()
    }

    /// Change of speed at the second of three frames.
    fn change(&self, frames: [usize; 3]) -> f64 {
        let [a, b, c] = frames.map(|frame| places(self.recording, frame));
        self.mean(|joint| sub(add(a[joint], c[joint]), scale(b[joint], 2.0)))
    }

    /// Number of frames before the last jump at one end; `nth` gives the frames in order from that
    /// end. Frames before a jump that are not held last at most `short` frames.
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

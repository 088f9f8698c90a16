//! Tears: steps that no body makes. A clip is cut there.
use super::report::TornFile;
use crate::data::Dataset;
use std::ops::Range;

/// Speed of a joint above which a step is a tear, m/s. Hands of throwers reach 40.
const FAST: f64 = 60.0;
/// Turn rate above which a step is a tear, degrees/s: four turns a second, on foot.
const SPIN: f64 = 1440.0;
/// Frames left out on each side of a tear, as filters and resampling spread it.
const BESIDE: usize = 2;
/// Length of the shortest piece that is kept, s.
const SHORTEST: f64 = 1.0;

/// A step that no body makes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tear {
    /// The frame of the file it leads to, from 1.
    pub frame: usize,
    /// Its fault.
    pub fault: Fault,
}

/// The fault of a step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// Speed of a joint, m/s.
    Fast { joint: usize, speed: f64 },
    /// Turn rate, degrees/s.
    Spin(f64),
}

impl Fault {
    /// The fault as a multiple of its limit.
    pub fn ratio(self) -> f64 {
        match self {
            Fault::Fast { speed, .. } => speed / FAST,
            Fault::Spin(rate) => rate.abs() / SPIN,
        }
    }

    /// The fault in words.
    pub fn says(self, joints: &[String]) -> String {
        match self {
            Fault::Fast { joint, speed } => format!("{} goes at {speed:.0} m/s", joints[joint]),
            Fault::Spin(rate) => format!("the body turns by {:.0} degrees/s", rate.abs()),
        }
    }
}

/// The tears of one clip.
#[derive(Debug, Clone, Default)]
pub(super) struct Tears {
    /// Frames of the clip that end a torn step.
    rows: Vec<usize>,
    /// The worst tear.
    worst: Option<Tear>,
}

impl Tears {
    /// Notes the step to frame `row` of the clip, if it is torn.
    pub fn see(&mut self, row: usize, step: Tear) {
        let ratio = step.fault.ratio();
        if ratio > 1.0 {
            self.rows.push(row);
            if self.worst.is_none_or(|worst| ratio > worst.fault.ratio()) {
                self.worst = Some(step);
            }
        }
    }

    /// The parts of a clip of `frames` frames, `fps` a second, that lie between tears. The whole
    /// clip if more than half of it would be lost: such a file has another fault.
    fn pieces(&self, frames: usize, fps: f64) -> Vec<Range<usize>> {
        let mut from = 0;
        let mut pieces = Vec::new();
        for (row, next) in self.rows.iter().map(|&row| (row, row + BESIDE + 1)).chain([(frames + BESIDE, 0)]) {
            let piece = from..row.saturating_sub(BESIDE);
            if piece.len() as f64 >= SHORTEST * fps || piece == (0..frames) {
                pieces.push(piece);
            }
            from = next;
        }
        let kept: usize = pieces.iter().map(ExactSizeIterator::len).sum();
        if 2 * kept < frames { whole(frames) } else { pieces }
    }
}

fn whole(frames: usize) -> Vec<Range<usize>> {
    std::iter::once(0..frames).collect()
}

/// Cuts each clip of `set` at its tears, and returns the files that have any, under the clips'
/// `files`. Pieces are clips of their own; those shorter than a second are left out. `keep` leaves
/// all clips whole.
pub(super) fn cut(
    set: &mut Dataset,
    tears: &[Tears],
    files: &[String],
    joints: &[String],
    fps: f64,
    keep: bool,
) -> Vec<TornFile> {
    let pieces = |clip: usize, frames| if keep { whole(frames) } else { tears[clip].pieces(frames, fps) };
    let mut torn = Vec::new();
    for (clip, range) in set.clips().into_iter().enumerate() {
        if let Some(worst) = tears[clip].worst {
            let left_out = range.len() - pieces(clip, range.len()).iter().map(ExactSizeIterator::len).sum::<usize>();
            let fault = format!("{} to frame {}", worst.fault.says(joints), worst.frame);
            let severity = worst.fault.ratio();
            torn.push(TornFile { file: files[clip].clone(), fault, left_out, severity });
        }
    }
    if torn.iter().all(|file| file.left_out == 0) {
        return torn;
    }
    let mut after = Dataset { frame_size: set.frame_size, rig: set.rig.take(), ..Dataset::default() };
    for (clip, range) in set.clips().into_iter().enumerate() {
        let mut root = set.clip_roots[clip];
        let mut at = 0;
        for (number, piece) in pieces(clip, range.len()).into_iter().enumerate() {
            for row in at + 1..=piece.start {
                let frame = set.frame(range.start + row);
                root = root.advanced([0, 1, 2].map(|feature| f64::from(frame[feature])));
            }
            at = piece.start;
            let name = &set.clip_names[clip];
            after.clip_names.push(if number == 0 { name.clone() } else { format!("{name} ({})", number + 1) });
            after.clip_roots.push(root);
            let values = |frame| (range.start + frame) * set.frame_size;
            after.frames.extend_from_slice(&set.frames[values(piece.start)..values(piece.end)]);
            after.end_indices.push(after.num_frames() - 1);
        }
    }
    *set = after;
    torn
}

//! Bridges, by which motion goes on at the end of a clip. Near its end a clip crosses over to the
//! most similar frame of any clip, as in a motion graph (Kovar, Gleicher, Pighin, *Motion Graphs*,
//! SIGGRAPH 2002).
//!
//! Recordings end in ways that nothing follows: a runner brakes at the wall. Trained on the clips
//! alone, a model learns the braking and nothing that comes after it. Sooner or later every walk
//! ends there.
mod cache;
mod search;

use crate::data::Dataset;
use crate::data::mirrored::motion;
use crate::motion::features::{Part, displacement, joints, slot};
use crate::motion::vector::{about_y, apply_inverse};
use cache::Cache;
use search::{Bridge, Field};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

/// Longest time before its end, seconds, at which a clip is left.
const LEAVE: f64 = 0.75;
/// Least time, seconds, from the frame that motion crosses over to, to the end of that frame's
/// clip. In the same clip, a copy or its mirror image, it is also the least time between the two
/// frames of a bridge.
const ARRIVE: f64 = 1.0;
/// Seconds after which no trace of the clip that was left remains.
const BLEND: f64 = 0.25;
/// Largest root mean square difference of normalised features at which frames count as alike. (Two
/// frames of unrelated motion differ by about the root of 2.)
const ALIKE: f64 = 0.7;
/// Seconds after which a search first reports its progress. A search that takes longer is kept in
/// the cache.
const LONG: f64 = 1.0;
/// Seconds between further reports of progress.
const AGAIN: f64 = 10.0;

/// Bytes of memory for a search among frames of `frame_size` features that take `frames` bytes: two
/// copies of the frames, and the points and tree of the search.
pub fn bytes(frames: u64, frame_size: usize) -> u64 {
    2 * frames + frames / (4 * frame_size as u64) * search::FRAME_BYTES
}

/// Settings of a search for bridges.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Number of threads.
    pub threads: usize,
    /// The first file of the data; the cache of bridges lies beside it.
    pub beside: Option<&'a Path>,
    /// Called with a line about the progress of a long search.
    pub say: &'a dyn Fn(String),
}

impl Means<'_> {
    /// All threads of the machine, no reports, and no cache.
    pub fn quiet() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        Means { threads, beside: None, say: &|_| () }
    }
}

/// The frames to train on, with bridges.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Bridged {
    /// Frames of each clip up to its bridge.
    pub clips: Vec<Range<usize>>,
    /// More frames, in the units of the data: motion over the bridges.
    pub frames: Vec<f32>,
    /// Frames of each bridge, counted on from the last frame of the data: some frames of the clip
    /// that is left, then as many after the bridge.
    pub pieces: Vec<Range<usize>>,
}

impl Bridged {
    /// The clips `train` of a set, bridged or as they are; `scale` is the scale of each feature,
    /// `span` the number of frames of a window. Every window of a piece crosses its bridge.
    pub fn new(set: &Dataset, train: &[Range<usize>], bridge: bool, scale: &[f64], span: usize, means: Means) -> Self {
        match bridge {
            true => Bridges::new(&set.frames, train, scale, set.fps(), means).bridged(span - 1),
            false => Bridged { clips: train.to_vec(), ..Bridged::default() },
        }
    }

    /// All ranges of frames to train on: clips and pieces.
    pub fn stretches(&self) -> Vec<Range<usize>> {
        [&self.clips[..], &self.pieces].concat()
    }
}

/// Clips and their bridges.
pub(crate) struct Bridges<'a> {
    frames: &'a [f32],
    clips: &'a [Range<usize>],
    bridges: Vec<Option<Bridge>>,
    frame_size: usize,
    blend: usize,
}

impl<'a> Bridges<'a> {
    /// Finds the bridges of `clips` among the frames [N, F] at `fps` frames a second; `scale` is
    /// the scale of each of the F features.
    pub fn new(frames: &'a [f32], clips: &'a [Range<usize>], scale: &[f64], fps: f64, means: Means) -> Self {
        let frame_size = scale.len();
        let count = |seconds: f64| (seconds * fps).round().max(1.0) as usize;
        let (leave, arrive, blend) = (count(LEAVE), count(ARRIVE).max(count(LEAVE) + 2), count(BLEND));
        let cache = means.beside.map(|file| Cache::new(file, frames, clips, scale, [leave, arrive]));
        let bridges = cache.as_ref().and_then(|cache| cache.read(clips)).unwrap_or_else(|| {
            let begun = Instant::now();
            let rows = |clip: &Range<usize>| &frames[clip.start * frame_size..clip.end * frame_size];
            let motions: Vec<u64> = clips.iter().map(|clip| motion(rows(clip), frame_size)).collect();
            let frames = normalized(frames, scale);
            let alike = (ALIKE * ALIKE * frame_size as f64) as f32;
            let field = Field { frames: &frames, frame_size, clips, motions: &motions, leave, arrive, alike };
            let mut next = LONG;
            let bridges = field.search(means.threads, |done| {
                if begun.elapsed().as_secs_f64() > next {
                    (means.say)(format!("looking for where {} clips go on: {:.0} %", clips.len(), 100.0 * done));
                    next += AGAIN;
                }
            });
            if let Some(cache) = cache.filter(|_| begun.elapsed().as_secs_f64() > LONG) {
                cache.write(&bridges);
            }
            bridges
        });
        Bridges { frames, clips, bridges, frame_size, blend }
    }

    /// The clips up to their bridges, and the motion over each bridge: up to `length` frames before
    /// it, and as many after it. Where that motion reaches the bridge of the next clip, it crosses
    /// that bridge, too.
    pub fn bridged(&self, length: usize) -> Bridged {
        let mut all = Bridged::default();
        let end = |frames: &[f32]| (self.frames.len() + frames.len()) / self.frame_size;
        for (clip, bridge) in self.clips.iter().zip(&self.bridges) {
            all.clips.push(clip.start..bridge.map_or(clip.end, |bridge| bridge.from + 1));
            if let Some(bridge) = bridge {
                let start = end(&all.frames);
                let before = (bridge.from + 1).saturating_sub(length).max(clip.start)..bridge.from + 1;
                all.frames
                    .extend_from_slice(&self.frames[before.start * self.frame_size..before.end * self.frame_size]);
                self.follow(*bridge, length, &mut all.frames);
                all.pieces.push(start..end(&all.frames));
            }
        }
        all
    }

    /// Appends the `length` frames that come after a bridge, or fewer where a clip without a bridge
    /// ends.
    fn follow(&self, bridge: Bridge, length: usize, frames: &mut Vec<f32>) {
        let difference = |last: &[f32], bridge: Bridge| -> Vec<f32> {
            last.iter().zip(self.frame(bridge.to)).map(|(last, to)| last - to).collect()
        };
        let mut last = self.frame(bridge.from).to_vec();
        let (mut at, mut age, mut offset) = (bridge, 0, difference(&last, bridge));
        for _ in 0..length {
            let end = self.bridges[at.clip];
            if let Some(next) = end.filter(|next| at.to == next.from) {
                (at, age, offset) = (next, 0, difference(&last, next));
            } else if at.to + 1 == self.clips[at.clip].end {
                return;
            }
            (at.to, age) = (at.to + 1, age + 1);
            let left = 1.0 - (age as f32 / self.blend as f32).min(1.0);
            let share = left * left * (3.0 - 2.0 * left);
            let mut frame: Vec<f32> =
                self.frame(at.to).iter().zip(&offset).map(|(x, offset)| x + share * offset).collect();
            if age <= self.blend {
                set_velocities(&last, &mut frame);
            }
            frames.extend_from_slice(&frame);
            last = frame;
        }
    }

    fn frame(&self, index: usize) -> &'a [f32] {
        &self.frames[index * self.frame_size..][..self.frame_size]
    }
}

/// Frames [N, F] minus their mean, divided by `scale`.
fn normalized(frames: &[f32], scale: &[f64]) -> Vec<f32> {
    let count = (frames.len() / scale.len()).max(1) as f64;
    let mut mean = vec![0.0; scale.len()];
    for frame in frames.chunks_exact(scale.len()) {
        mean.iter_mut().zip(frame).for_each(|(mean, x)| *mean += f64::from(*x) / count);
    }
    let center = mean.iter().zip(scale).cycle();
    frames.iter().zip(center).map(|(x, (mean, s))| ((f64::from(*x) - mean) / s) as f32).collect()
}

/// Recomputes a frame's velocities from its positions and those of the frame before. Features that
/// are not laid out as joints have no velocities. (The axes, blended from axes that are nearly the
/// same, stay as they are: a feature that is constant in the data stays constant.)
fn set_velocities(before: &[f32], frame: &mut [f32]) {
    let Some(joints) = joints(frame.len()) else { return };
    let turn = about_y(frame[2].into());
    for joint in 0..joints {
        let velocity = apply_inverse(&turn, displacement(before, frame, joint));
        frame[slot(Part::Velocity, joint, joints)..][..3].copy_from_slice(&velocity.map(|x| x as f32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synth;
    use crate::motion::features::frame_size;

    /// Clips of a circle in the plane of two features, each half a turn, at 30 steps a turn.
    fn halves(clips: usize, lift: f32) -> (Vec<f32>, Vec<Range<usize>>) {
        let angle = |i: usize| (i as f32 / 30.0 * std::f32::consts::TAU).sin_cos();
        let frames = (0..clips).flat_map(|clip| {
            (0..60).flat_map(move |i| {
                let (sin, cos) = angle(i + 15 * clip);
                [sin, cos, lift * clip as f32]
            })
        });
        (frames.collect(), (0..clips).map(|clip| clip * 60..(clip + 1) * 60).collect())
    }

    /// The frames of a piece.
    fn rows<'a>(all: &'a Bridged, data: &[f32], frame_size: usize, piece: &Range<usize>) -> Vec<&'a [f32]> {
        let at = |frame: usize| frame * frame_size - data.len();
        all.frames[at(piece.start)..at(piece.end)].chunks_exact(frame_size).collect()
    }

    #[test]
    fn motion_goes_on_around_the_circle() {
        let (frames, clips) = halves(3, 0.01);
        let bridges = Bridges::new(&frames, &clips, &[1.0; 3], 30.0, Means::quiet());
        assert_eq!(bridges.bridges.iter().flatten().count(), 3);
        let all = bridges.bridged(200);
        for (piece, clip) in all.pieces.iter().zip(&clips) {
            assert!(piece.len() > 200 && piece.len() <= 400);
            let rows = rows(&all, &frames, 3, piece);
            assert_eq!(rows[0], &frames[3 * clip.start..][..3]);
            for pair in rows.windows(2) {
                let turned = pair[0][0] * pair[1][1] - pair[0][1] * pair[1][0];
                assert!((turned + (std::f32::consts::TAU / 30.0).sin()).abs() < 1e-4, "{pair:?}");
                assert!((pair[0][2] - pair[1][2]).abs() < 0.006, "no step is seen: {pair:?}");
            }
        }
    }

    #[test]
    fn a_recording_cut_in_two_goes_on_where_it_was_cut() {
        let (frames, clips) = ((0..120).map(|i| i as f32).collect::<Vec<_>>(), [0..60, 60..120]);
        let bridges = Bridges::new(&frames, &clips, &[2.0], 30.0, Means::quiet());
        let bridge = bridges.bridges[0].unwrap();
        assert_eq!((bridge.from, bridge.to, bridge.clip), (59, 60, 1));
        assert!(bridges.bridges[1].is_none(), "nothing is like the end, but what is near it");
    }

    #[test]
    fn bridges_are_those_of_a_search_without_short_cuts() {
        let mut set = synth::locomotion_in_clips(900, 90, 4);
        assert_eq!(set.mirror_if_named(), None);
        let (frames, size) = (&set.frames, set.frame_size);
        // Clips of all lengths, too short ones and a copy among them.
        let mut clips: Vec<_> =
            set.clips().iter().enumerate().map(|(i, clip)| clip.start..clip.end - 12 * (i % 10 % 7)).collect();
        let (copy, copied) = (frames.len() / size, frames[clips[3].start * size..clips[3].end * size].to_vec());
        clips.push(copy..copy + copied.len() / size);
        let frames = [&frames[..], &copied].concat();
        let scale = crate::data::normalize::Statistics::of(&frames, size).std;
        let rows = normalized(&frames, &scale);
        let rows: Vec<_> = rows.chunks_exact(size).collect();
        let found = Bridges::new(&frames, &clips, &scale, 30.0, Means::quiet());
        let (leave, arrive) = (23, 30);
        let (mut to_others, mut to_own) = (0, 0);
        for (own, clip) in clips.iter().enumerate() {
            let mut best = None;
            let mut least = (ALIKE * ALIKE * size as f64) as f32;
            for from in clip.end.saturating_sub(leave).max(clip.start)..clip.end {
                for (number, other) in clips.iter().enumerate() {
                    let one = [own, number].map(|clip| if clip == 20 { 3 } else { clip % 10 });
                    for to in other.start..other.end.saturating_sub(arrive) {
                        let near = one[0] == one[1]
                            && clip.len() == other.len()
                            && (to - other.start).abs_diff(from - clip.start) < arrive;
                        let square = search::square_distance(rows[from], rows[to], f32::INFINITY);
                        if !near && square < least {
                            (least, best) = (square, Some((from, to, number)));
                            if one[0] == one[1] { to_own += 1 } else { to_others += 1 }
                        }
                    }
                }
            }
            assert_eq!(found.bridges[own].map(|bridge| (bridge.from, bridge.to, bridge.clip)), best, "clip {own}");
        }
        assert!(to_others > 20 && to_own > 0, "{to_others} {to_own}");
    }

    #[test]
    fn frames_that_are_not_alike_have_no_bridge() {
        let (mut frames, mut clips) = halves(2, 0.0);
        let end = frames.len() / 3;
        frames.extend((0..60).flat_map(|i| [i as f32, 9.0, 9.0]));
        clips.push(end..end + 60);
        let bridges = Bridges::new(&frames, &clips, &[1.0; 3], 30.0, Means::quiet());
        assert_eq!(bridges.bridges.iter().flatten().count(), 2);
        assert_eq!(bridges.bridged(10).pieces.len(), 2);
        let alone = Bridges::new(&frames, &clips[2..], &[1.0; 3], 30.0, Means::quiet()).bridged(10);
        assert_eq!(alone, Bridged { clips: clips[2..].to_vec(), ..Bridged::default() });
    }

    #[test]
    fn poses_over_a_bridge_are_poses() {
        let set = synth::locomotion(1200, 3);
        let joints = joints(set.frame_size).unwrap();
        assert_eq!(set.frame_size, frame_size(joints));
        let clips = set.clips();
        let scale = crate::data::normalize::Statistics::of(&set.frames, set.frame_size).std;
        let bridges = Bridges::new(&set.frames, &clips, &scale, 30.0, Means::quiet());
        assert!(bridges.bridges.iter().flatten().count() > 0);
        let all = bridges.bridged(40);
        for piece in &all.pieces {
            for pair in rows(&all, &set.frames, set.frame_size, piece).windows(2) {
                let mut made = pair[1].to_vec();
                set_velocities(pair[0], &mut made);
                let off = made.iter().zip(pair[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-4, "positions and velocities agree: {off}");
            }
        }
    }
}

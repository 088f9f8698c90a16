//! Left-right mirror images of clips: adds them, and finds clips of a set that are the same motion.
//! Clips are compared by their content, as names are up to the user.
use super::Dataset;
use super::windows::{self, Split, splitmix64};
use crate::motion::features::{Part, joints, slot};
use crate::motion::mirror::Mirror;
use crate::motion::{Root, Skeleton};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Ending of the names of mirrored clips.
pub(crate) const MIRRORED: &str = " (mirrored)";

impl Dataset {
    /// Adds mirror images by [`Dataset::add_mirrored`] if the set names its skeleton, as `train
    /// --mirror` does. Returns a note when there is something to report.
    pub fn mirror_if_named(&mut self) -> Option<String> {
        let Some(mut rig) = self.rig.take() else {
            return Some(unmirrored("the data names no skeleton"));
        };
        let note = match self.add_mirrored(&rig.skeleton) {
            Err(what) => Some(unmirrored(&what)),
            Ok(mirror) => mirror.and_then(|mirror| mirror.doubt(&rig.skeleton)).map(|doubt| format!("note: {doubt}")),
        };
        rig.measure(&self.frames);
        self.rig = Some(rig);
        note
    }

    /// Appends the mirror image of every clip whose image is not in the set. Returns the mirroring,
    /// or `None` if all images were there. The rig stays as it was measured. Errors: those of
    /// [`Mirror::find`].
    pub(crate) fn add_mirrored(&mut self, skeleton: &Skeleton) -> Result<Option<Mirror>, String> {
        let mirror = Mirror::find(skeleton, &self.frames)?;
        let (clips, size) = (self.clips(), self.frame_size);
        self.end_indices = clips.iter().map(|clip| clip.end - 1).collect();
        let there: HashSet<u64> = clips.iter().map(|clip| content(self.rows(clip), size)).collect();
        for (number, clip) in clips.iter().enumerate() {
            let mut image = Vec::with_capacity(clip.len() * size);
            self.rows(clip).chunks_exact(size).for_each(|frame| mirror.push(&mut image, frame));
            if there.contains(&content(&image, size)) {
                continue;
            }
            self.frames.extend_from_slice(&image);
            self.end_indices.push(self.num_frames() - 1);
            if let Some(name) = self.clip_names.get(number) {
                self.clip_names.push(format!("{name}{MIRRORED}"));
            }
            if let Some(&Root { x, z, facing }) = self.clip_roots.get(number) {
                self.clip_roots.push(Root { x, z: -z, facing: -facing });
            }
        }
        Ok((self.end_indices.len() > clips.len()).then_some(mirror))
    }

    /// Splits the clips into clips to train on and clips held out, about `fraction` of the frames
    /// of different motion. [`windows::split`] splits the clips that are no copy and no mirror
    /// image of an earlier one. Every other clip goes with its earlier one, because it would give
    /// away what is held out.
    pub fn split(&self, fraction: f64, seed: u64) -> Split {
        let clips = self.clips();
        let mut same: HashMap<_, Vec<&Range<usize>>> = HashMap::new();
        for clip in &clips {
            same.entry(motion(self.rows(clip), self.frame_size)).or_default().push(clip);
        }
        let mut firsts: Vec<Range<usize>> = same.values().map(|clips| clips[0].clone()).collect();
        firsts.sort_by_key(|clip| clip.start);
        let mut split = windows::split(&firsts, fraction, seed, windows::HELD_OUT_FRAMES);
        let again: HashMap<usize, &[&Range<usize>]> =
            same.values().map(|clips| (clips[0].start, &clips[1..])).collect();
        for parts in [&mut split.train, &mut split.validation] {
            for part in parts.clone() {
                // A part is a clip, or the beginning or the end of one.
                let first = &firsts[firsts.partition_point(|clip| clip.end <= part.start)];
                let shifted =
                    |clip: &&Range<usize>| part.start - first.start + clip.start..part.end - first.start + clip.start;
                parts.extend(again[&first.start].iter().map(shifted));
            }
            parts.sort_by_key(|part| part.start);
        }
        split
    }

    /// The features of a clip, [frames, F].
    fn rows(&self, clip: &Range<usize>) -> &[f32] {
        &self.frames[clip.start * self.frame_size..clip.end * self.frame_size]
    }
}

/// A hash that motion [frames, F] shares with its copies and mirror images, and hardly ever with
/// other motion. Mirror images have the same magnitudes of root motion, positions and velocities in
/// each frame, at other joints.
pub(super) fn motion(frames: &[f32], frame_size: usize) -> u64 {
    let magnitudes =
        |frame: &[f32]| frame.iter().fold(0u64, |sum, x| sum.wrapping_add(splitmix64(x.abs().to_bits().into())));
    compared(frames, frame_size).fold(0, |key, frame| splitmix64(key ^ magnitudes(frame)))
}

/// A hash that motion [frames, F] shares with its copies.
fn content(frames: &[f32], frame_size: usize) -> u64 {
    // Adding 0 turns -0 into 0.
    compared(frames, frame_size).flatten().fold(0, |key, x| splitmix64(key ^ u64::from((x + 0.0).to_bits())))
}

/// The features of each frame without the axes, which mirroring may permute.
fn compared(frames: &[f32], frame_size: usize) -> impl Iterator<Item = &[f32]> {
    let count = joints(frame_size).map_or(frame_size, |joints| slot(Part::AxisY, 0, joints));
    frames.chunks_exact(frame_size).map(move |frame| &frame[..count])
}

fn unmirrored(why: &str) -> String {
    format!(
        "note: clips are not mirrored: {why}; so an epoch has half the steps (with --mirror false the default schedule has more epochs)"
    )
}

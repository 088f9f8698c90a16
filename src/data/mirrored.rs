//! The left-right mirror images of clips: adding them, and telling which clips of a set are one motion.
use super::Dataset;
use super::windows::{self, Split, splitmix64};
use crate::motion::features::{Part, joints, slot};
use crate::motion::mirror::Mirror;
use crate::motion::{Root, Skeleton};
use std::collections::HashMap;
use std::ops::Range;

/// What tells clips apart, by content, as names are the user's own.
struct Key {
    /// The same for a clip and its mirror image.
    motion: [u64; 2],
    /// How its root moves, and how that of its mirror image does.
    roots: [u64; 2],
}

impl Dataset {
    /// [`Dataset::add_mirrored`] where the set says which joints are left and right, as `train --mirror` has it, and what is worth
    /// saying about it.
    pub fn mirror_if_named(&mut self) -> Option<String> {
        let Some(mut rig) = self.rig.take() else {
            return Some(unmirrored("the data does not say which joints its features are of"));
        };
        let note = match self.add_mirrored(&rig.skeleton) {
            Err(what) => Some(unmirrored(&what)),
            Ok(mirror) => mirror.and_then(|mirror| mirror.doubt(&rig.skeleton)).map(|doubt| format!("note: {doubt}")),
        };
        rig.measure(&self.frames);
        self.rig = Some(rig);
        note
    }

    /// Appends the mirror image of every clip that has none, and says how motion was mirrored, unless there was nothing to do.
    /// The rig stays as it was measured. Errors: joints that are not named as left and right.
    pub fn add_mirrored(&mut self, skeleton: &Skeleton) -> Result<Option<Mirror>, String> {
        let keys = self.keys();
        let mut clips_like: HashMap<_, usize> = HashMap::new();
        keys.iter().for_each(|key| *clips_like.entry((key.motion, key.roots[0])).or_default() += 1);
        let images = |key: &Key| {
            let like = clips_like.get(&(key.motion, key.roots[1])).copied().unwrap_or(0);
            like - usize::from(key.roots[0] == key.roots[1]) // a clip is no image of its own
        };
        let alone: Vec<usize> = (0..keys.len()).filter(|&clip| images(&keys[clip]) == 0).collect();
        if alone.is_empty() {
            return Ok(None);
        }
        let mirror = Mirror::find(skeleton, &self.frames)?;
        let clips = self.clips();
        let frames: usize = alone.iter().map(|&clip| clips[clip].len()).sum();
        self.frames.reserve_exact(frames * self.frame_size);
        let mut mirrored = Vec::with_capacity(self.frame_size);
        for clip in alone {
            for frame in clips[clip].clone() {
                mirrored.clear();
                mirror.push(&mut mirrored, self.frame(frame));
                self.frames.extend_from_slice(&mirrored);
            }
            self.end_indices.push(self.num_frames() - 1);
            if let Some(name) = self.clip_names.get(clip) {
                self.clip_names.push(format!("{name} (mirrored)"));
            }
            if let Some(&Root { x, z, facing }) = self.clip_roots.get(clip) {
                self.clip_roots.push(Root { x, z: -z, facing: -facing });
            }
        }
        Ok(Some(mirror))
    }

    /// Clips to train on and clips held out, about `fraction` of the frames: [`windows::split`] of the clips that are no copy and
    /// no mirror image of an earlier one. Such a clip goes where the earlier one goes, as it would give away what is held out.
    pub fn split(&self, fraction: f64, seed: u64) -> Split {
        let clips = self.clips();
        let mut first = HashMap::new();
        let of = self.keys().into_iter().zip(&clips).map(|(key, clip)| first.entry(key.motion).or_insert(clip).clone());
        let of: Vec<Range<usize>> = of.collect();
        let own: Vec<Range<usize>> =
            clips.iter().zip(&of).filter(|(clip, of)| clip == of).map(|(clip, _)| clip.clone()).collect();
        let mut split = windows::split(&own, fraction, seed, windows::HELD_OUT_FRAMES);
        for (clip, of) in clips.iter().zip(&of).filter(|(clip, of)| clip != of) {
            for parts in [&mut split.train, &mut split.validation] {
                let inside = parts.iter().filter(|part| of.start <= part.start && part.end <= of.end);
                let alike = inside.map(|part| part.start - of.start + clip.start..part.end - of.start + clip.start);
                let alike: Vec<Range<usize>> = alike.collect();
                parts.extend(alike);
            }
        }
        for parts in [&mut split.train, &mut split.validation] {
            parts.sort_by_key(|part| part.start);
        }
        split
    }

    fn keys(&self) -> Vec<Key> {
        self.clips().into_iter().map(|clip| self.key(clip)).collect()
    }

    /// A mirror image has the same magnitudes of root motion, positions and velocities, frame by frame, at other joints. (Not of
    /// axes, which may be named anew.)
    fn key(&self, clip: Range<usize>) -> Key {
        let compared = joints(self.frame_size).map_or(self.frame_size, |joints| slot(Part::AxisY, 0, joints));
        let frames = || clip.clone().map(|frame| self.frame(frame));
        let magnitudes = |frame: &[f32]| {
            let sum = |sum: u64, x: &f32| sum.wrapping_add(splitmix64(x.abs().to_bits().into()));
            frame[..compared].iter().fold(0, sum)
        };
        let motion = frames().fold(0, |motion, frame| splitmix64(motion ^ magnitudes(frame)));
        let root = |side: f32| {
            // Adding 0 makes 0 of -0.
            let moves = frames().flat_map(|frame| [frame[0] + 0.0, side * frame[1] + 0.0, side * frame[2] + 0.0]);
            moves.fold(0, |root, x| splitmix64(root ^ u64::from(x.to_bits())))
        };
        Key { motion: [motion, clip.len() as u64], roots: [root(1.0), root(-1.0)] }
    }
}

fn unmirrored(why: &str) -> String {
    format!("note: clips are not mirrored: {why} (--mirror false has a schedule for that)")
}

//! Motion to train on: clips of frames, normalisation, and the frames at which a rollout may start.
pub mod bridges;
pub mod check;
pub mod kind;
pub mod mirrored;
pub mod normalize;
pub mod npz;
pub mod synth;
pub mod view;
pub mod windows;
pub mod world;

use crate::motion::rig::DEFAULT_FPS;
use crate::motion::{Rig, Root, Skeleton};
use crate::{Error, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Seed of the built-in set.
const SYNTH_SEED: u64 = 0;

/// Clips of frames, as read from a file or made by [`synth`]. Features are raw (not normalised).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    /// Features of all frames, row major [num_frames, frame_size].
    pub frames: Vec<f32>,
    /// F: features a frame.
    pub frame_size: usize,
    /// Last frame of each clip, inclusive; ascending, the last one is num_frames - 1.
    pub end_indices: Vec<usize>,
    /// Name of each clip, or empty when unknown.
    pub clip_names: Vec<String>,
    /// Place and facing of each clip's first frame in the world, or empty when unknown.
    pub clip_roots: Vec<Root>,
    /// The skeleton of the frames, with measurements on them, when known.
    pub rig: Option<Rig>,
}

impl Dataset {
    /// Reads `.npz` files (see [`npz::read`]) into one set, in the order given.
    ///
    /// Errors: no path, a file that cannot be used, a value that is not finite, files whose
    /// features, joints or frame rates differ.
    pub fn load(paths: &[PathBuf]) -> Result<Self> {
        let Some((first, others)) = paths.split_first() else {
            return Err(Error::Usage("no data file given; name one or several .npz files".into()));
        };
        let mut all = npz::read(first)?;
        for path in others {
            let next = npz::read(path)?;
            if let Some([theirs, ours]) = next.difference(&all) {
                let what = format!("has {theirs}, but {} has {ours}", first.display());
                return Err(Error::data(path, what, "train on files made by one importer from one skeleton"));
            }
            all.append(next);
        }
        if let Some(rig) = &mut all.rig {
            rig.measure(&all.frames);
        }
        Ok(all)
    }

    /// The first difference in meaning between the frames of `other` and of this set: its value
    /// here, and there. `None` if the sets can be joined.
    fn difference(&self, other: &Self) -> Option<[String; 2]> {
        if self.frame_size != other.frame_size {
            return Some([self, other].map(|set| format!("{} features a frame", set.frame_size)));
        }
        let rigs = [self.rig.as_ref()?, other.rig.as_ref()?];
        let joint = |rig: &Rig, joint: usize| {
            let Skeleton { names, parents, .. } = &rig.skeleton;
            let parent = parents[joint].map_or("nothing", |parent| &names[parent]);
            format!("{} under {parent} as joint {joint}", names[joint])
        };
        let joints = (0..rigs[0].skeleton.len()).map(|j| rigs.map(|rig| joint(rig, j)));
        let rates = rigs.map(|rig| format!("{} frames a second", rig.fps));
        joints.chain([rates]).find(|[ours, theirs]| ours != theirs)
    }

    /// Adds the clips of `next`, which must have no [`Dataset::difference`]. Names, places and the
    /// rig are kept only where both sets have them. The rig is not measured anew.
    fn append(&mut self, next: Self) {
        let offset = self.num_frames();
        extend_or_clear(&mut self.clip_names, next.clip_names);
        extend_or_clear(&mut self.clip_roots, next.clip_roots);
        self.rig = self.rig.take().zip(next.rig).map(|(mut rig, next)| {
            rig.join(&next);
            rig
        });
        self.end_indices.extend(next.end_indices.iter().map(|end| offset + end));
        self.frames.extend_from_slice(&next.frames);
    }

    /// N: frames of all clips together.
    pub fn num_frames(&self) -> usize {
        self.frames.len() / self.frame_size
    }

    /// Frames a second: the set's own rate, else 30.
    pub fn fps(&self) -> f64 {
        self.rig.as_ref().map_or(DEFAULT_FPS, |rig| rig.fps)
    }

    /// The range of frames of each clip.
    pub fn clips(&self) -> Vec<Range<usize>> {
        windows::clips(self.num_frames(), &self.end_indices)
    }

    /// The `frame_size` features of one frame.
    pub fn frame(&self, index: usize) -> &[f32] {
        &self.frames[index * self.frame_size..][..self.frame_size]
    }

    /// The clip that holds `frame`, counted from 0.
    pub fn clip_of(&self, frame: usize) -> usize {
        self.end_indices.partition_point(|&end| end < frame)
    }

    /// Refuses a set with a value that is not finite, and names the place of the first one; `path`
    /// is for the message.
    pub(crate) fn require_finite(&self, path: &Path) -> Result<()> {
        let mut bad = self.frames.iter().enumerate().filter(|(_, x)| !x.is_finite());
        let Some((first, _)) = bad.next() else { return Ok(()) };
        let frame = first / self.frame_size;
        Err(Error::data(
            path,
            format!(
                "{} of its values are not finite, the first in frame {frame} (clip {}), feature {}",
                1 + bad.count(),
                self.clip_of(frame),
                first % self.frame_size
            ),
            "mend or cut those frames; `mvae-fast data check` shows more",
        ))
    }
}

fn extend_or_clear<T>(list: &mut Vec<T>, more: Vec<T>) {
    if list.is_empty() || more.is_empty() { list.clear() } else { list.extend(more) }
}

/// Reads the data set in these files, or makes the built-in set if there are none. Returns the set
/// and its name for messages. Errors: those of [`Dataset::load`].
pub fn read(files: &[PathBuf]) -> Result<(Dataset, PathBuf)> {
    Ok(match files.first() {
        None => (synth::locomotion(synth::DEFAULT_FRAMES, SYNTH_SEED), PathBuf::from("built-in synthetic set")),
        Some(first) => (Dataset::load(files)?, first.clone()),
    })
}

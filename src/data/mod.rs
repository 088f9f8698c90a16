//! Motion to train on: clips of frames, normalisation, and the start frames a rollout may begin at.
pub mod check;
pub mod normalize;
pub mod npz;
pub mod synth;
pub mod windows;
mod zip;

use crate::{Error, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Clips of frames, as read from a file or made by [`synth`]. Features are raw (not normalised).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    /// Features of all frames, row major [num_frames, frame_size].
    pub frames: Vec<f32>,
    /// F: features a frame.
    pub frame_size: usize,
    /// Last frame of each clip, inclusive; ascending, the last one is num_frames - 1.
    pub end_indices: Vec<usize>,
    /// Name of each clip, or empty when not known.
    pub clip_names: Vec<String>,
    /// Name of each joint, in the order of the features, or empty when not known.
    pub joint_names: Vec<String>,
}

impl Dataset {
    /// Reads `.npz` files (see [`npz::read`]) into one set, in the order given.
    ///
    /// Errors: no path, a file that cannot be used, a value that is not finite, files of different feature counts.
    pub fn load(paths: &[PathBuf]) -> Result<Self> {
        let Some((first, others)) = paths.split_first() else {
            return Err(Error::Usage("no data file given; name one or several .npz files".into()));
        };
        let mut all = npz::read(first)?;
        for path in others {
            let next = npz::read(path)?;
            if next.frame_size != all.frame_size {
                return Err(Error::data(
                    path,
                    format!("has {} features a frame, but {} has {}", next.frame_size, first.display(), all.frame_size),
                    "train on files made by one importer from one skeleton",
                ));
            }
            all.append(next);
        }
        Ok(all)
    }

    /// Adds the clips of `next` (of the same frame size). Names are kept where both sets agree on having them.
    fn append(&mut self, next: Self) {
        let offset = self.num_frames();
        if self.clip_names.is_empty() || next.clip_names.is_empty() {
            self.clip_names.clear();
        } else {
            self.clip_names.extend(next.clip_names);
        }
        if self.joint_names != next.joint_names {
            self.joint_names.clear();
        }
        self.end_indices.extend(next.end_indices.iter().map(|end| offset + end));
        self.frames.extend_from_slice(&next.frames);
    }

    /// N: frames of all clips together.
    pub fn num_frames(&self) -> usize {
        self.frames.len() / self.frame_size
    }

    /// The frames of each clip.
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

    /// Refuses a set that holds a value that is not finite, saying where the first one is; `path` is for the message.
    pub fn require_finite(&self, path: &Path) -> Result<()> {
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

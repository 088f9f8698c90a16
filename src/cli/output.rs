//! Motion written to the file of `--output`. The extension gives the format; existing files are
//! never overwritten.
use super::runs::name_of;
use crate::data::Dataset;
use crate::data::npz::{self, Extra};
use crate::data::world;
use crate::exchange::export::Take;
use crate::exchange::export::bvh;
use crate::exchange::export::glb::{self, Track};
use crate::host::atomic;
use crate::host::say::say;
use crate::motion::local::Bones;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The output files and their format.
pub(super) struct Output {
    /// One file, or one for each clip.
    files: Vec<PathBuf>,
    format: Format,
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Npz,
    Bvh,
    Glb,
}

impl Format {
    /// The format that a name's extension stands for. Errors: a format that is not `among` the
    /// given ones.
    fn of(path: &Path, among: &[Format]) -> Result<Self> {
        let extension = |format: &Format| match format {
            Format::Bvh => ".bvh",
            Format::Glb => ".glb",
            Format::Npz => ".npz",
        };
        let found = path.extension().unwrap_or_default().to_ascii_lowercase();
        among.iter().copied().find(|format| found == extension(format)[1..]).ok_or_else(|| {
            let expected = among.iter().map(extension).collect::<Vec<_>>().join(" or ");
            Error::Usage(format!("--output is {}, expected a name that ends in {expected}", path.display()))
        })
    }
}

/// Refuses a set's path that does not end in .npz or that exists.
pub fn require_new_set(path: &Path) -> Result<()> {
    Format::of(path, &[Format::Npz])?;
    require_new(path)
}

/// Refuses a path that exists, or whose folder does not.
pub(super) fn require_new(path: &Path) -> Result<()> {
    let usage = |what: String| Err(Error::Usage(format!("{}{what}", path.display())));
    let folder = atomic::folder_of(path);
    if path.exists() {
        usage(" exists; give another name, or remove it first".into())
    } else if !folder.is_dir() {
        usage(format!(": there is no folder {}; make it, or give another name", folder.display()))
    } else {
        Ok(())
    }
}

impl Output {
    /// The output at `path`, or at a name made from `from`. `skeleton` is true if the features'
    /// skeleton is known. A BVH file holds one clip, so that several clips get numbered files.
    /// Errors: an unknown extension, a format that needs a skeleton without one, an existing file,
    /// a missing folder.
    pub fn new(path: Option<&Path>, from: &Path, skeleton: bool, clips: usize) -> Result<Self> {
        let made = || {
            let name = name_of(from);
            PathBuf::from(format!("{name}-motion.{}", if skeleton { "glb" } else { "npz" }))
        };
        let path = path.map_or_else(made, Path::to_owned);
        let format = Format::of(&path, &[Format::Bvh, Format::Glb, Format::Npz])?;
        if format != Format::Npz && !skeleton {
            let mend = "write an .npz, or use motion that `data import` made";
            return Err(Error::checkpoint(from, "does not say which skeleton its features are of", mend));
        }
        let files = if format == Format::Bvh && clips > 1 { numbered(&path, clips) } else { vec![path] };
        files.iter().try_for_each(|file| require_new(file))?;
        Ok(Output { files, format })
    }

    /// True if the motion is written as one [`Track`] for each clip, which does not need the set.
    pub fn takes_tracks(&self) -> bool {
        self.format == Format::Glb
    }

    /// Writes the clips of a set, at most as many as [`Output::new`] was told, and returns the
    /// files. An npz holds the set as it is, `extras`, and values derived from the features:
    /// `roots`, and `positions` of all joints in the world.
    pub fn write(&self, set: &Dataset, bones: Bones, extras: Vec<Extra>) -> Result<Vec<PathBuf>> {
        let Some(rig) = set.rig.as_ref().filter(|_| self.format != Format::Npz) else {
            return self.write_npz(set, extras).map(|()| self.files.clone());
        };
        for (clip, frames) in set.clips().into_iter().enumerate() {
            let lost = |frame: &usize| set.frame(*frame).iter().any(|x| !x.is_finite());
            let start = frames.start;
            self.require_finite(clip, frames.clone().find(lost).map(|frame| frame - start))?;
        }
        if self.takes_tracks() {
            return self.write_tracks((0..set.end_indices.len()).map(|clip| Track::of_clip(set, rig, clip, bones)));
        }
        let (names, skeleton) = (bvh::names(&rig.skeleton), &rig.skeleton.names);
        let changed = skeleton.iter().zip(&names).filter(|(ours, theirs)| ours != theirs);
        let changed: Vec<String> = changed.map(|(ours, theirs)| format!("{ours:?} as {theirs}")).collect();
        if !changed.is_empty() {
            say(&format!("note: names that a BVH cannot hold are written otherwise: {}", changed.join(", ")));
        }
        let files = self.files.iter().take(set.end_indices.len());
        let written = files.enumerate().map(|(clip, file)| {
            atomic::write(file, bvh::text(&Take::of_clip(set, rig, clip, bones)).as_bytes()).map(|()| file.clone())
        });
        written.collect()
    }

    /// Writes tracks; all their frames must be finite.
    pub fn write_tracks<'a>(&self, tracks: impl ExactSizeIterator<Item = Track<'a>>) -> Result<Vec<PathBuf>> {
        atomic::write_with(&self.files[0], |file| glb::write(tracks, file))?;
        Ok(self.files.clone())
    }

    /// Refuses clip number `clip` if its frames are not finite from frame `lost` on.
    pub fn require_finite(&self, clip: usize, lost: Option<usize>) -> Result<()> {
        let Some(frame) = lost else { return Ok(()) };
        Err(Error::Check(format!(
            "{}: not written: clip {clip} is not finite from frame {frame} on; write an .npz to look at it, or try a smaller \
             --temperature",
            self.files.get(clip).unwrap_or(&self.files[0]).display()
        )))
    }

    fn write_npz(&self, set: &Dataset, extras: Vec<Extra>) -> Result<()> {
        let mut roots = Vec::new();
        let mut positions = Vec::new();
        for clip in 0..set.end_indices.len() {
            for (root, frame) in world::roots(set, clip).iter().zip(set.clips()[clip].clone()) {
                roots.extend([root.x, root.z, root.facing].map(|x| x as f32));
                if set.rig.is_some() {
                    positions.extend(world::positions(set.frame(frame), root));
                }
            }
        }
        let frames = set.num_frames();
        let joints = set.rig.as_ref().map(|rig| rig.skeleton.len());
        let roots = Extra::f32("roots", vec![frames, 3], &roots);
        let positions = joints.map(|joints| Extra::f32("positions", vec![frames, joints, 3], &positions));
        let extras: Vec<_> = extras.into_iter().chain([roots]).chain(positions).collect();
        npz::write_with(&self.files[0], set, &extras)
    }
}

/// One file name for each clip.
fn numbered(path: &Path, clips: usize) -> Vec<PathBuf> {
    let digits = (clips - 1).to_string().len();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    (0..clips).map(|clip| path.with_file_name(format!("{stem}-{clip:0digits$}.bvh"))).collect()
}

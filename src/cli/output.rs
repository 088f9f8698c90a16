//! Motion as the file a user asked for: the format by the name's extension, never over a file that
//! is there.
use crate::data::Dataset;
use crate::data::npz::{self, Extra};
use crate::host::progress::say;
use crate::motion::export::Take;
use crate::motion::export::bvh;
use crate::motion::export::glb::{self, Track};
use crate::motion::local::Bones;
use crate::motion::world;
use crate::run::atomic;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What is written where.
pub(super) struct Output {
    /// One, or as many as there are clips.
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
    /// What a name's extension says, which has to be that of one `among` them.
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

/// Refuses to write a set under another name than one in .npz, and over a file.
pub(super) fn require_new_set(path: &Path) -> Result<()> {
    Format::of(path, &[Format::Npz])?;
    require_new(path)
}

/// Refuses to write over a file, and into a folder that is not there.
fn require_new(path: &Path) -> Result<()> {
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
    /// `path`, or without one a name made of that of `from`; `skeleton` says whether the features'
    /// skeleton is known. A BVH holds one clip: several get a number each. Errors: an extension
    /// that is not known, a format of skeletons without one, a file that is there already, a folder
    /// that is not.
    pub(super) fn new(path: Option<&Path>, from: &Path, skeleton: bool, clips: usize) -> Result<Self> {
        let made = || {
            let name = from.file_stem().unwrap_or_default().to_string_lossy();
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

    /// Whether the motion is written as a [`Track`] for each clip, which needs nothing of the set.
    pub(super) fn takes_tracks(&self) -> bool {
        self.format == Format::Glb
    }

    /// Writes the clips of a set, of which there are no more than was said; the files. An npz holds
    /// the set as it is, `extras`, and what follows from the features: `roots` and `positions` of
    /// all joints in the world.
    pub(super) fn write(&self, set: &Dataset, bones: Bones, extras: Vec<Extra>) -> Result<Vec<PathBuf>> {
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

    /// Writes tracks, whose frames are all finite.
    pub(super) fn write_tracks<'a>(&self, tracks: impl ExactSizeIterator<Item = Track<'a>>) -> Result<Vec<PathBuf>> {
        atomic::write_with(&self.files[0], |file| glb::write(tracks, file))?;
        Ok(self.files.clone())
    }

    /// Refuses a clip that is not finite from a frame on.
    pub(super) fn require_finite(&self, clip: usize, lost: Option<usize>) -> Result<()> {
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

/// A name for each clip.
fn numbered(path: &Path, clips: usize) -> Vec<PathBuf> {
    let digits = (clips - 1).to_string().len();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    (0..clips).map(|clip| path.with_file_name(format!("{stem}-{clip:0digits$}.bvh"))).collect()
}

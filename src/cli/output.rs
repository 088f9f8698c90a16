//! Motion as the file a user asked for: the format by the name's extension, never over a file that is there.
use super::require_new;
use crate::data::Dataset;
use crate::data::npz::{self, Extra};
use crate::motion::local::Bones;
use crate::motion::{Rig, export, world};
use crate::run::atomic;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What is written where.
pub(super) struct Output {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Npz,
    Bvh,
    Glb,
}

impl Output {
    /// `path`, or without one a name made of that of `from`; `skeleton` says whether the features' skeleton is known.
    /// Errors: an extension that is not known, a format of skeletons without one, a file that is there already.
    pub(super) fn new(path: Option<&Path>, from: &Path, skeleton: bool) -> Result<Self> {
        let made = || {
            let name = from.file_stem().unwrap_or_default().to_string_lossy();
            PathBuf::from(format!("{name}-motion.{}", if skeleton { "glb" } else { "npz" }))
        };
        let path = path.map_or_else(made, Path::to_owned);
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let format = match extension.to_str() {
            Some("npz") => Format::Npz,
            Some("bvh") => Format::Bvh,
            Some("glb") => Format::Glb,
            _ => {
                let said = format!("--output is {}, expected a name that ends in .bvh, .glb or .npz", path.display());
                return Err(Error::Usage(said));
            }
        };
        if format != Format::Npz && !skeleton {
            let mend = "write an .npz, or use motion that `data import` made";
            return Err(Error::checkpoint(from, "does not say which skeleton its features are of", mend));
        }
        require_new(&path)?;
        Ok(Output { path, format })
    }

    /// Writes the clips of a set; the files. A BVH holds one clip: several get a number each. An npz holds the set as it
    /// is, `extras`, and what follows from the features: `roots` and `positions` of all joints in the world.
    pub(super) fn write(&self, set: &Dataset, bones: Bones, extras: Vec<Extra>) -> Result<Vec<PathBuf>> {
        let clips = 0..set.end_indices.len();
        match (self.format, &set.rig) {
            (Format::Bvh, Some(rig)) => clips
                .map(|clip| {
                    let file = self.numbered(clip, set.end_indices.len());
                    let text = export::bvh::text(&self.take(set, rig, clip, bones)?);
                    atomic::write(&file, text.as_bytes()).map(|()| file)
                })
                .collect(),
            (Format::Glb, Some(rig)) => {
                let takes: Vec<_> = clips.map(|clip| self.take(set, rig, clip, bones)).collect::<Result<_>>()?;
                atomic::write(&self.path, &export::glb::bytes(&takes)).map(|()| vec![self.path.clone()])
            }
            _ => self.write_npz(set, extras).map(|()| vec![self.path.clone()]),
        }
    }

    fn take<'a>(&self, set: &Dataset, rig: &'a Rig, clip: usize, bones: Bones) -> Result<export::Take<'a>> {
        let mut frames = set.clips()[clip].clone().enumerate();
        if let Some((frame, _)) = frames.find(|(_, frame)| set.frame(*frame).iter().any(|x| !x.is_finite())) {
            return Err(Error::Check(format!(
                "{}: not written: clip {clip} is not finite from frame {frame} on; write an .npz to look at it, or try a \
                 smaller --temperature",
                self.path.display()
            )));
        }
        Ok(export::Take::of_clip(set, rig, clip, bones))
    }

    fn numbered(&self, clip: usize, clips: usize) -> PathBuf {
        if clips == 1 {
            return self.path.clone();
        }
        let digits = (clips - 1).to_string().len();
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!("{stem}-{clip:0digits$}.bvh"))
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
        npz::write_with(&self.path, set, &extras)
    }
}

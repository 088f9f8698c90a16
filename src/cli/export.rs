//! `mvae-fast data export`: clips of a set as files of other tools.
use super::output::Output;
use super::print::print;
use crate::data::{Dataset, npz};
use crate::motion::local::Bones;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Writes one clip of a set (its name or number), or all.
pub(super) fn export(file: &Path, clip: Option<&str>, output: &Path) -> Result<()> {
    let mut set = npz::read(file)?;
    if let Some(clip) = clip {
        let index = find_clip(&set, file, clip)?;
        set = only(&set, index);
    }
    let output = Output::new(Some(output), file, set.rig.is_some(), set.end_indices.len())?;
    let files = output.write(&set, Bones::Given, Vec::new())?;
    files.iter().try_for_each(|file| print(&format!("{}\n", file.display())))
}

/// The set of one clip.
fn only(set: &Dataset, clip: usize) -> Dataset {
    let frames = set.clips()[clip].clone();
    Dataset {
        frames: set.frames[frames.start * set.frame_size..frames.end * set.frame_size].to_vec(),
        frame_size: set.frame_size,
        end_indices: vec![frames.len() - 1],
        clip_names: set.clip_names.get(clip).cloned().into_iter().collect(),
        clip_roots: set.clip_roots.get(clip).copied().into_iter().collect(),
        rig: set.rig.clone(),
    }
}

/// The clip of that name or number; `source` is for the message.
pub(super) fn find_clip(set: &Dataset, source: &Path, clip: &str) -> Result<usize> {
    let count = set.end_indices.len();
    let named = set.clip_names.iter().position(|name| name == clip);
    named.or_else(|| clip.parse().ok().filter(|&number| number < count)).ok_or_else(|| {
        let near = |name: &&String| strsim::jaro_winkler(name, clip);
        let close = set.clip_names.iter().max_by(|a, b| near(a).total_cmp(&near(b)));
        let close = close.map(|name| format!(", such as {name}")).unwrap_or_default();
        let mend = format!("give a clip's name{close}, or a number from 0 to {}", count - 1);
        Error::data(source, format!("has no clip {clip}"), mend)
    })
}

/// Arguments of `data export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// npz file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only this clip, its name or number [default: all; a .bvh each]
    #[arg(long, value_name = "CLIP")]
    pub clip: Option<String>,
    /// File to write: .bvh, .glb or .npz
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

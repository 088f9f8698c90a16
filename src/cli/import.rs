//! `mvae-fast data import`: makes a training set from motion capture.
use super::output::require_new_set;
use super::print::{print, print_and};
use crate::data::{check, npz};
use crate::exchange::import::{self, FPS, Findings, ImportOptions, Imported};
use crate::host::say::say;
use crate::host::shown::counted;
use crate::motion::joint_map::JointMap;
use crate::motion::rig::DEFAULT_FPS;
use crate::motion::source::expmap::ExpmapSkeleton;
use crate::motion::units::{Scale, Up};
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

pub(super) const IMPORT_EXAMPLES: &str = "\
Examples:
  mvae-fast data import walks/ runs/ -o set.npz
  mvae-fast data import *.bvh.xz -o set.npz --terms 'CC BY-NC 4.0, Example Studio'
  mvae-fast data import clip.bvh -o clip.npz --map joints.toml --units cm --up z
  mvae-fast data import expmaps/ -o cmu.npz --skeleton cmu
  mvae-fast data import CMU/01/ -o set.npz --skeleton person.toml

Features are always in feet, 30 frames a second unless --fps says otherwise; whatever is found or
assumed about joints, units, axes and floor is printed.";

/// Arguments of `data import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files of motion and folders of them: BVH, also compressed (.gz, .xz); with --skeleton AMASS
    /// and exponential-map text files
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// npz file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Treatment of the files.
    #[command(flatten)]
    pub keys: ImportKeys,
    /// Threads to use (default: as many as the machine offers); the result does not depend on it
    #[arg(long, value_name = "N", env = "MVAE_THREADS")]
    pub threads: Option<NonZeroUsize>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags that say how files of motion are read.
#[derive(Debug, Args)]
pub struct ImportKeys {
    /// Frames a second of the set
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FPS)]
    pub fps: f64,
    /// Joints to keep, their order and names (default: a built-in map that fits, else the hips and
    /// all joints below)
    #[arg(long, value_name = "FILE.toml")]
    pub map: Option<PathBuf>,
    /// Skeleton of files that hold none (AMASS, exponential-map text): a file, or cmu for the
    /// built-in one
    #[arg(long, value_name = "FILE.toml")]
    pub skeleton: Option<PathBuf>,
    /// Unit of the files: mm, cm, dm, m, inch, ft, asf (CMU) or a number of metres (default:
    /// guessed from the length of the legs)
    #[arg(long, value_name = "UNIT")]
    pub units: Option<Scale>,
    /// Direction of the files that is up (default: where the hips are above the toes)
    #[arg(long, allow_hyphen_values = true)]
    pub up: Option<Up>,
    /// Frames a second of the files, where their headers are wrong
    #[arg(long, value_name = "N")]
    pub source_fps: Option<f64>,
    /// Frames to leave out at the start of each file (default: inserted T-poses, and what a filter
    /// made of the jump beside them)
    #[arg(long, value_name = "N")]
    pub skip_first: Option<usize>,
    /// Frames to leave out at the end of each file (default: as at the start)
    #[arg(long, value_name = "N")]
    pub skip_last: Option<usize>,
    /// Times its size that a compressed file may grow to
    #[arg(long, value_name = "N", default_value_t = import::EXPANSION)]
    pub max_expansion: u64,
    /// Whether clips whose floor differs from the others' are moved up or down
    #[arg(long, default_value = "level")]
    pub floor: Floor,
    /// Whether clips are cut at steps that no body makes, as a broken frame has
    #[arg(long, default_value = "cut")]
    pub torn: Torn,
    /// Add every clip's left-right mirror image to the file, too (train adds those that are not
    /// there by itself)
    #[arg(long)]
    pub mirror: bool,
    /// Under which terms the motion may be used; kept in the set and in models trained on it
    #[arg(long, value_name = "TEXT")]
    pub terms: Option<String>,
}

impl ImportKeys {
    /// The options that the flags stand for. Errors: a rate that no motion has, a file that cannot
    /// be read.
    pub(super) fn options(&self, threads: usize) -> Result<ImportOptions> {
        if !FPS.contains(&self.fps) {
            return Err(Error::Usage(format!("--fps is {}, expected {} to {}", self.fps, FPS.start(), FPS.end())));
        }
        if let Some(fps) = self.source_fps.filter(|fps| !import::RATES.contains(fps)) {
            return Err(Error::Usage(format!(
                "--source-fps is {fps}, expected {} to {}",
                import::RATES.start(),
                import::RATES.end()
            )));
        }
        Ok(ImportOptions {
            fps: self.fps,
            map: self.map.as_deref().map(JointMap::load).transpose()?,
            skeleton: self.skeleton.as_deref().map(ExpmapSkeleton::load).transpose()?,
            units: self.units,
            up: self.up,
            skip_first: self.skip_first,
            skip_last: self.skip_last,
            source_fps: self.source_fps,
            expansion: self.max_expansion,
            keep_floor: self.floor == Floor::Keep,
            keep_torn: self.torn == Torn::Keep,
            mirror: self.mirror,
            threads,
        })
    }

    /// Names of the flags that are given.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let flags = [
            ("fps", self.fps != DEFAULT_FPS),
            ("map", self.map.is_some()),
            ("skeleton", self.skeleton.is_some()),
            ("units", self.units.is_some()),
            ("up", self.up.is_some()),
            ("source-fps", self.source_fps.is_some()),
            ("skip-first", self.skip_first.is_some()),
            ("skip-last", self.skip_last.is_some()),
            ("max-expansion", self.max_expansion != import::EXPANSION),
            ("floor", self.floor != Floor::Level),
            ("torn", self.torn != Torn::Cut),
            ("mirror", self.mirror),
            ("terms", self.terms.is_some()),
        ];
        flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    /// Imports the files as the flags say; `output` is the file that the set is for. Tells `say` of
    /// each refusal. Errors: no file could be imported.
    pub(super) fn import(
        &self,
        paths: &[PathBuf],
        options: &ImportOptions,
        output: &Path,
        say: impl Fn(&str),
    ) -> Result<Imported> {
        let mut imported = import::import(paths, options)?;
        imported.refused.iter().for_each(|error| say(&format!("refused: {error}")));
        let Some(rig) = &mut imported.set.rig else {
            let files = counted(imported.unused, "file");
            return Err(Error::data(output, format!("none of {files} could be imported"), "nothing was written"));
        };
        rig.terms.extend(self.terms.clone());
        imported.report.warnings.extend(check::too_little(imported.set.num_frames(), options.fps));
        Ok(imported)
    }
}

/// The object that `--json` prints; docs/features.md explains its names.
#[derive(Serialize)]
struct Json<'a> {
    file: &'a Path,
    frames: usize,
    features: usize,
    clips: usize,
    files: usize,
    #[serde(flatten)]
    report: &'a Findings,
    refused: Vec<String>,
}

/// Treatment of clips whose floor differs from the others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Floor {
    /// Moved
    Level,
    /// Not moved
    Keep,
}

/// Treatment of clips with steps that no body makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Torn {
    /// Cut there
    Cut,
    /// Left whole
    Keep,
}

/// Imports the files, and prints the assumptions and the refused files.
pub fn import(args: &ImportArgs) -> Result<()> {
    require_new_set(&args.output)?;
    let threads = args.threads.map_or_else(std::thread::available_parallelism, Ok).map_or(1, NonZeroUsize::get);
    let options = args.keys.options(threads)?;
    let Imported { set, report, refused, unused } = args.keys.import(&args.paths, &options, &args.output, say)?;
    let read = set.rig.as_ref().map_or(0, |rig| rig.sources.len());
    npz::write(&args.output, &set)?;

    let (frames, clips) = (set.num_frames(), set.end_indices.len());
    let text = if args.json {
        let refused = refused.iter().map(Error::to_string).collect();
        let (file, features) = (&args.output, set.frame_size);
        let result = Json { file, frames, features, clips, files: read, report: &report, refused };
        format!("{}\n", serde_json::json!(result))
    } else {
        let minutes = frames as f64 / options.fps / 60.0;
        format!(
            "{report}{}: {frames} frames of {} features in {}, {minutes:.1} minutes at {} frames a second\n",
            args.output.display(),
            set.frame_size,
            counted(clips, "clip"),
            options.fps
        )
    };
    if refused.is_empty() {
        return print(&text);
    }
    let what = format!("holds {read} of {}, {unused} of them refused (see above)", counted(read + unused, "file"));
    print_and(&text, Err(Error::data(&args.output, what, "mend them and import again")))
}

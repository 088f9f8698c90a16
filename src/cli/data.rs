//! `mvae-fast data`: what is in a set, and sets of procedural motion.
use super::import::{IMPORT_EXAMPLES, ImportArgs};
use super::print::print;
use super::{export, import, output};
use crate::config::{Config, Overrides, Preset};
use crate::data::bridges::Means;
use crate::data::{check, npz, synth};
use crate::host::memory;
use crate::host::say::say;
use crate::host::shown::counted;
use crate::train::setup::require_room;
use crate::{Error, Result};
use clap::Subcommand;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The commands under `data`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Say what a person wants to know about motion before training on it; exit 5 when training
    /// could not start
    Check {
        /// npz files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The training to come
        #[command(flatten)]
        keys: CheckKeys,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write clips of a set as BVH or binary glTF
    Export(export::ExportArgs),
    /// Make a training set of motion capture: BVH files and folders of them, any skeleton; exit 4
    /// when a file was refused
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(Box<ImportArgs>),
    /// Write procedural locomotion in the reference's layout of 267 features
    Synth {
        /// npz file to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Frames, about (30 a second)
        #[arg(long, value_name = "N", default_value = "4000")]
        frames: NonZeroUsize,
        /// Frames of a clip, about
        #[arg(long, value_name = "N", default_value = "300")]
        clip_frames: NonZeroUsize,
        /// Seed of everything random in it
        #[arg(long, value_name = "S", default_value_t = 0)]
        seed: u64,
    },
}

/// Keys of `train` that decide which windows a set offers for training.
#[derive(Debug, clap::Args)]
pub struct CheckKeys {
    /// Start from this preset's values of what follows
    #[arg(long)]
    preset: Option<Preset>,
    /// T: steps of a rollout
    #[arg(long)]
    rollout: Option<usize>,
    /// C: frames the model is conditioned on
    #[arg(long)]
    condition_frames: Option<usize>,
    /// K: frames predicted at once
    #[arg(long)]
    future_predictions: Option<usize>,
    /// B: rollouts in a mini-batch
    #[arg(long)]
    batch_size: Option<usize>,
    /// Fraction of the clips held out, at least one clip unless 0
    #[arg(long)]
    validation: Option<f64>,
    /// Whether motion goes on near the end of a clip, in the clip where it is most alike
    #[arg(long)]
    bridge_clips: Option<bool>,
    /// Whether clips' mirror images are trained on, too
    #[arg(long)]
    mirror: Option<bool>,
    /// Seed, by which held-out clips are chosen
    #[arg(long)]
    seed: Option<u64>,
}

/// Does what was asked under `data`.
pub fn data(command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::Check { files, keys, json } => data_check(files, keys, *json),
        DataCommand::Export(args) => export::export(&args.file, args.clip.as_deref(), &args.output),
        DataCommand::Import(args) => import::import(args),
        DataCommand::Synth { output, frames, clip_frames, seed } => {
            data_synth(output, (frames.get(), clip_frames.get()), *seed)
        }
    }
}

fn data_check(files: &[PathBuf], keys: &CheckKeys, json: bool) -> Result<()> {
    let none = Overrides::default();
    let flags = Overrides {
        data: Some(files.to_vec()),
        rollout: keys.rollout,
        condition_frames: keys.condition_frames,
        future_predictions: keys.future_predictions,
        batch_size: keys.batch_size,
        validation: keys.validation,
        bridge_clips: keys.bridge_clips,
        mirror: keys.mirror,
        seed: keys.seed,
        ..none.clone()
    };
    let config = Config::layered(keys.preset, None, &none, &flags)?;
    let (mut printed, mut unready) = (Ok(()), Vec::new());
    for file in files {
        let means = Means { beside: Some(file), say: &|line| say(&line), ..Means::quiet() };
        let set = npz::read_lenient(file)?;
        require_room(&config, &set, file)?;
        let report = check::check_by(&set, &config, means);
        let text = match json {
            true => format!("{}\n", serde_json::json!({ "file": file, "report": report })),
            false => format!("{}\n{report}\n", file.display()),
        };
        printed = printed.and(print(&text));
        if !report.ready {
            unready.push(format!("{}: not ready to train on: {}", file.display(), report.problems.join("; ")));
        }
    }
    if unready.is_empty() { printed } else { Err(Error::Gate(unready.join("; "))) }
}

/// Most frames that `data synth` makes: 93 hours.
const MAX_FRAMES: usize = 10_000_000;

fn data_synth(output: &Path, (frames, clip_frames): (usize, usize), seed: u64) -> Result<()> {
    output::require_new_set(output)?;
    if frames > MAX_FRAMES {
        return Err(Error::Usage(format!("--frames is {frames}, expected at most {MAX_FRAMES}")));
    }
    // The frames of the set, and the poses of one clip.
    let numbers = frames.saturating_add(4 * clip_frames.min(frames)) * synth::FRAME_SIZE;
    memory::require((numbers * size_of::<f32>()) as u64, |words| {
        Error::Usage(format!("--frames {frames} in clips of {clip_frames} takes {words}; make several smaller sets"))
    })?;
    let set = synth::locomotion_in_clips(frames, clip_frames, seed);
    npz::write(output, &set)?;
    let (frames, clips) = (set.num_frames(), counted(set.end_indices.len(), "clip"));
    print(&format!("{}: {frames} frames of {} features in {clips}\n", output.display(), set.frame_size))
}

//! `mvae-fast character`: from motion to a character that a person steers, in one command.
//!
//! Each stage leaves an ordinary file or run folder in the output folder, and the [`book::Book`]
//! there says what it was made of. So a stage runs only if it is not done, or was made of something
//! else.
mod book;
mod budget;
mod motion;
mod speed;
mod stages;
mod summary;
mod work;

use super::compute::Compute;
use super::import::ImportKeys;
use super::print::print;
use crate::config::Preset;
use crate::host::say::say;
use crate::{Error, Result};
use serde_json::json;
use std::path::PathBuf;
use summary::Summary;
use work::{Work, stopped};

pub(super) const EXAMPLES: &str = "\
Examples:
  mvae-fast character walks/ -o walk                  of a folder of BVH files
  mvae-fast character walk.npz run.npz -o walk        of sets that `data import` made
  mvae-fast character walks/ -o walk --minutes 5      a first look
  mvae-fast character -o walk                         of built-in synthetic motion

The folder then holds character.html, the page to play with. The same command goes on where it was
stopped; with other flags it repeats only the stages that they change. docs/guide.md says what the
folder holds.";

/// Arguments of `character`.
#[derive(Debug, clap::Args)]
pub struct CharacterArgs {
    /// Motion as `data import` takes it (BVH files and folders of them), or npz files of motion
    /// [default: built-in synthetic motion]
    #[arg(value_name = "PATH")]
    pub motion: Vec<PathBuf>,
    /// Folder of the character
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Minutes that all of it may take: both trainings are shortened for that [default: as long as
    /// the preset takes]
    #[arg(long, value_name = "N")]
    pub minutes: Option<f64>,
    /// Where the keys of the model's training start from (default: default)
    #[arg(long)]
    pub preset: Option<Preset>,
    /// Seed of everything random in both trainings
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// TOML file of keys of the model's training, as `train` takes it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// TOML file of keys of the controller's training, as `control train` takes it
    #[arg(long, value_name = "FILE")]
    pub control_config: Option<PathBuf>,
    /// Updates of the controller's training
    #[arg(long, value_name = "N")]
    pub updates: Option<usize>,
    /// Walks that measure the model.
    #[arg(long, hide = true)]
    pub walks: Option<usize>,
    /// The device to compute on, and how.
    #[command(flatten)]
    pub compute: Compute,
    /// Print no progress
    #[arg(long)]
    pub quiet: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Treatment of files of motion.
    #[command(flatten)]
    pub import: ImportKeys,
}

/// The file of the page.
const PAGE_FILE: &str = "character.html";

/// Makes a character as the arguments say.
pub fn character(args: &CharacterArgs) -> Result<()> {
    let mut work = Work::new(args)?;
    let made = work.motion().and_then(|()| work.model()).and_then(|()| work.measure_model());
    let made = made.and_then(|model| {
        work.controller()?;
        let controller = work.measure_controller()?;
        let shortened = work.is_shortened()?;
        work.page(summary::note(&model, &controller, shortened))?;
        work.judge_time();
        Ok((model, controller, shortened))
    });
    work.whole.end();
    let (model, controller, shortened) = made.map_err(|error| match error {
        Error::Stopped { signal, .. } => stopped(signal),
        other => other,
    })?;
    if work.made.is_empty() && !args.quiet {
        say("nothing to do: every stage is done, and made of what was asked for");
    }
    let (page, notes) = (work.folder.join(PAGE_FILE), work.whole.notes());
    if args.json {
        let result = json!({
            "folder": work.folder, "page": page, "made": work.made, "seconds": work.seconds(),
            "notes": notes, "model": model, "controller": controller,
        });
        return print(&format!("{result}\n"));
    }
    let bytes = std::fs::metadata(&page).map_or(0, |about| about.len());
    let folder = &args.output;
    let page = (&*args.output.join(PAGE_FILE), bytes);
    let summary = Summary { folder, page, notes: &notes, model: &model, controller: &controller, shortened };
    print(&summary.to_string())
}

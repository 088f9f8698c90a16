//! `mvae-fast sweep`: trains and measures many runs that differ in some keys.
//!
//! A sweep is a folder of ordinary run folders, and a table of the keys in which they differ. Any
//! number of processes may work on it, on any machines that see the folder: locks of run folders
//! keep them apart, and every run is resumed where it was stopped.
mod axis;
mod file;
mod halving;
mod page;
mod results;
mod shard;
mod work;

use super::compute::Compute;
use super::print::{print, print_and};
use super::runs::{self, Kind, not_as_written, of_kind};
use super::stop::Stops;
use crate::config::Config;
use crate::control::config::PolicyConfig;
use crate::host::atomic;
use crate::host::say::say;
use crate::host::shown::counted;
use crate::run::folder::RunFolder;
use crate::{Error, Result};
use file::{COPY, Sweep, Training};
use results::{aligned, table};
use serde_json::json;
use shard::Shard;
use std::path::{Path, PathBuf};
use work::Work;

pub(super) const EXAMPLES: &str = "\
Examples:
  mvae-fast sweep kl.toml --dry-run         list the runs
  mvae-fast sweep kl.toml                   train and measure all of them; again: go on
  mvae-fast sweep kl.toml --shard 1/4       a quarter of them, of four processes
  mvae-fast info kl --best skate            compare them

A file such as kl.toml:
  [train]
  data = [\"walk.npz\"]
  kl_weight = [0.001, 0.003, 0.01]                        # one run for each
  seed = { from = 0, to = 3, count = 4 }                  # and for each of these
  [control]                                               # controllers for each of the decoders
  task = [\"target\", \"joystick\"]
  [halving]                                               # only the best train to the end
  measure = \"skate\"

docs/guide.md says what else there is.";

/// Arguments of `sweep`.
#[derive(Debug, clap::Args)]
pub struct SweepArgs {
    /// TOML file of the keys of all runs, some with several values
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Name of the folder of all runs (default: that of the file)
    #[arg(long)]
    pub name: Option<String>,
    /// Folder that holds the run folders
    #[arg(long, value_name = "DIR", env = "MVAE_RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// Work on this share of the runs, such as 3/12 [default: the place in a SLURM array, else all
    /// runs]
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// List the runs and stop
    #[arg(long)]
    pub dry_run: bool,
    /// The device to compute on, and how.
    #[command(flatten)]
    pub compute: Compute,
    /// Print no progress
    #[arg(long)]
    pub quiet: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Trains and measures the runs of a sweep.
pub fn sweep(args: &SweepArgs) -> Result<()> {
    let folder = args.runs.join(name(args)?);
    let sweep = Sweep::read(&args.file, &folder, &args.runs)?;
    let shard = args.shard.map_or_else(|| Shard::of_slurm(|name| std::env::var(name).ok()), Ok)?;
    as_begun(&sweep)?;
    if args.dry_run {
        return print(&listed(&sweep, shard, args.json));
    }
    let devices = args.compute.each()?;
    devices.iter().try_for_each(|device| device.open().map(drop))?;
    atomic::create_folder(&sweep.folder).map_err(Error::io(&sweep.folder, "cannot make the folder"))?;
    atomic::write(&sweep.folder.join(COPY), sweep.text.as_bytes())?;
    let stops = Stops::listen(|signal| {
        say(&format!("error: {}", Error::Stopped { signal, again: "the same command".into() }));
    })?;
    let work = Work::new(&sweep, shard, devices, stops, args.quiet);
    let worked = work.run(&|| {
        // A page that cannot be written now is written after the next run.
        let _ = page::write(&sweep);
    });
    let written = page::write(&sweep);
    print_and(&summary(&sweep, args.json), worked.and(written))
}

/// Name of the folder. Errors: one that is no plain folder name.
fn name(args: &SweepArgs) -> Result<String> {
    let stem = || args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = args.name.clone().or_else(stem).unwrap_or_default();
    match name.is_empty() || name.starts_with(['.', '-']) || name.contains(['/', '\\', '\0']) {
        true => Err(Error::Usage(format!("{name:?} is no folder name; give --name"))),
        false => Ok(name),
    }
}

/// Refuses a folder that holds something else, and runs that were begun with other keys or
/// measured in another way.
fn as_begun(sweep: &Sweep) -> Result<()> {
    let folder = &sweep.folder;
    if folder.join("config.toml").is_file() || !RunFolder::members(folder).is_empty() && !is_sweep(folder) {
        return Err(Error::Usage(format!("{} holds other runs; give another --name", folder.display())));
    }
    let copy = folder.join(COPY);
    if copy.is_file() {
        let begun = Sweep::read(&copy, folder, atomic::folder_of(folder))?;
        let differs = match (begun.halving == sweep.halving, begun.eval == sweep.eval) {
            (true, true) => None,
            (true, false) => Some("[eval] differs"),
            (false, _) => Some("[halving] or the number of its levels differs"),
        };
        if let Some(what) = differs.filter(|_| (0..begun.runs.len()).any(|run| begun.path(run).exists())) {
            let what = format!("{}: its runs are measured in another way: {what}", folder.display());
            return Err(Error::Usage(format!("{what}; give another --name")));
        }
    }
    for (number, run) in sweep.runs.iter().enumerate() {
        let path = sweep.path(number);
        if !path.exists() {
            continue;
        }
        let folder = RunFolder::open(&path)?;
        of_kind(&folder, run.training.kind(), "give another --name")?;
        let (file, restore) = (folder.config(), not_as_written(&path));
        let (differences, free) = match &run.training {
            Training::Model(config) => (config.differences(&Config::load(&file).map_err(restore)?), &Config::FREE[..]),
            Training::Controller(config) => {
                let own = PolicyConfig::load(&file).map_err(restore)?;
                // The folder may have been moved since. The decoder itself is compared.
                let own = if run.decoder.is_some() { PolicyConfig { vae: config.vae.clone(), ..own } } else { own };
                (config.differences(&own), &PolicyConfig::FREE[..])
            }
        };
        runs::as_begun(&folder, &differences, free)?;
    }
    Ok(())
}

/// True if a folder is that of a sweep.
pub(super) fn is_sweep(folder: &Path) -> bool {
    folder.join(COPY).is_file()
}

/// The list of the runs: those of this share are marked.
fn listed(sweep: &Sweep, shard: Shard, json: bool) -> String {
    let rows = sweep.rows();
    if json {
        return format!(
            "{}\n",
            json!({ "folder": sweep.folder, "runs": rows.iter().map(|row| row.json()).collect::<Vec<_>>() })
        );
    }
    let mut lines = vec![["run", "measured after", "done", ""].map(str::to_owned).to_vec()];
    for row in &rows {
        let unit = if row.run.training.kind() == Kind::Model { "epochs" } else { "updates" };
        let rungs = row.run.rungs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let state = if row.failed.is_some() { "failed".to_owned() } else { row.done.to_string() };
        let ours = if shard.has(row.run.turn) { "" } else { "of another shard" };
        lines.push(vec![row.run.name.clone(), format!("{rungs} {unit}"), state, ours.to_owned()]);
    }
    format!("{}{} in {}\n", aligned(&lines), counted(rows.len(), "run"), sweep.folder.display())
}

/// The results of all runs, of whichever process.
fn summary(sweep: &Sweep, json: bool) -> String {
    let rows = sweep.rows();
    let finished = rows.iter().filter(|row| row.finished).count();
    let failed = rows.iter().filter(|row| row.failed.is_some()).count();
    let folder = sweep.folder.display();
    if json {
        let runs: Vec<_> = rows.iter().map(|row| row.json()).collect();
        let result = json!({ "folder": sweep.folder, "finished": finished, "failed": failed, "runs": runs });
        return format!("{result}\n");
    }
    let measure: Vec<&str> = sweep.halving.iter().map(|halving| halving.measure.as_str()).collect();
    let mut text = table(&rows, &measure);
    text += &format!("{finished} of {} are trained to the end", counted(rows.len(), "run"));
    if failed > 0 {
        text += &format!(", {failed} failed (failed.txt in a run's folder says why)");
    }
    let page = sweep.folder.join(page::PAGE_FILE);
    text += &format!("\nsweep folder: {folder}\nnext: open {}, or `mvae-fast info {folder}`\n", page.display());
    text
}

/// Compares the runs of a sweep, as the last evaluation of each found them: in the order of a
/// measure if one is named. Errors: a file that cannot be read, no such measure.
pub(super) fn info(folder: &Path, best: Option<&str>, largest: Option<bool>, json: bool) -> Result<()> {
    let root = atomic::folder_of(folder);
    let sweep = Sweep::read(&folder.join(COPY), folder, root)?;
    let mut rows = sweep.rows();
    let mut measures: Vec<&str> = sweep.halving.iter().map(|halving| halving.measure.as_str()).collect();
    if let Some(best) = best {
        results::sort(&mut rows, best, largest)?;
        measures = vec![best];
    }
    if json {
        let rows: Vec<_> = rows.iter().map(|row| row.json()).collect();
        return print(&format!("{:#}\n", json!({ "path": folder, "runs": rows })));
    }
    print(&format!("{}\n{}{}", folder.display(), table(&rows, &measures), results::gates(&rows)))
}

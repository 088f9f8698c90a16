//! Runs and checkpoints that a command is given.
use super::compute::Compute;
use super::stop::stop_flag;
use crate::host::say::say;
use crate::host::toml as toml_file;
use crate::infer::trained::Trained;
use crate::run::console::Voice;
use crate::run::folder::{Env, RunFolder};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// A sitting of a run, of a Motion VAE or of a controller: where the run lies, and who hears of it.
pub(super) struct Sitting<'a> {
    /// Folder that holds the run folders.
    pub runs: &'a Path,
    /// Name of a new run's folder; `None` makes one.
    pub name: Option<&'a str>,
    /// The run to continue.
    pub resume: Option<&'a Path>,
    /// The device to compute on, and how.
    pub compute: &'a Compute,
    /// Port of the server that shows the run.
    pub serve: Option<u16>,
    /// The flag of the signals that ask to stop; `None` begins to listen when all is ready.
    pub stop: Option<Arc<AtomicUsize>>,
    /// How the progress is shown.
    pub voice: Voice,
}

impl Sitting<'_> {
    /// Opens the run to continue, if there is one. Errors: it is no run, or locked.
    pub fn resumed(&self) -> Result<Option<RunFolder>> {
        self.resume.map(|run| RunFolder::resume(&run_folder(self.runs, run))).transpose()
    }

    /// The flag of the signals.
    pub fn stop(&self) -> Result<Arc<AtomicUsize>> {
        self.stop.clone().map_or_else(stop_flag, Ok)
    }

    /// Makes the folder of a new run, which `first` fills, or adds a sitting to the one that is
    /// `resumed`, if it has something to do (`unfinished`). Errors: those of the disk.
    pub fn folder(
        &self,
        resumed: Option<RunFolder>,
        unfinished: bool,
        (kind, config, env): (&str, &str, &Env),
        first: impl FnOnce(&RunFolder) -> Result<()>,
    ) -> Result<RunFolder> {
        let Some(folder) = resumed else {
            return RunFolder::create(self.runs, self.name, kind, config, env, first);
        };
        if unfinished {
            folder.add_sitting(env)?.iter().for_each(|note| self.voice.say(note));
        }
        Ok(folder)
    }
}

/// Refuses the run of a Motion VAE where a controller is expected, and the reverse. A configuration
/// that cannot be read passes: loading it reports the error.
pub fn of_kind(folder: &RunFolder, controller: bool, mend: &str) -> Result<()> {
    let table = toml_file::read(&folder.config()).ok().and_then(|text| text.parse::<toml::Table>().ok());
    match table.map(|table| table.contains_key("task")) {
        Some(true) if !controller => Err(Error::checkpoint(folder.path(), "is the run of a controller", mend)),
        Some(false) if controller => Err(Error::checkpoint(folder.path(), "is the run of a Motion VAE", mend)),
        _ => Ok(()),
    }
}

/// Turns the error of an unreadable configuration into an error about the run.
pub fn not_as_written(path: &Path) -> impl Fn(Error) -> Error + Copy + use<'_> {
    let mend = "restore the file as the run wrote it, or take the version of mvae-fast that did";
    move |e| Error::checkpoint(path, e.to_string(), mend)
}

/// Makes paths absolute, so that a run may be resumed from another folder.
pub fn absolute(paths: &mut [PathBuf]) -> Result<()> {
    for path in paths {
        *path = std::path::absolute(&*path).map_err(Error::io(path, "cannot find the folder"))?;
        if path.to_str().is_none() {
            return Err(Error::Usage(format!("{path:?} is not UTF-8, as a config.toml is; rename it")));
        }
    }
    Ok(())
}

/// A run given by its folder, or by its name under `runs`.
pub fn run_folder(runs: &Path, run: &Path) -> PathBuf {
    if run.exists() { run.to_owned() } else { runs.join(run) }
}

/// The checkpoint of a run (its last one, else its best), or the file itself; also the run's
/// folder, if it is a run.
pub fn checkpoint_file(runs: &Path, run: &Path) -> Result<(PathBuf, Option<RunFolder>)> {
    let path = run_folder(runs, run);
    if path.is_dir() {
        let folder = RunFolder::open(&path)?;
        let file = [folder.last_checkpoint(), folder.best_checkpoint()].into_iter().find(|file| file.is_file());
        let file = file.ok_or_else(|| {
            Error::checkpoint(&path, "no checkpoint in this run folder", "put checkpoints/last.safetensors back")
        })?;
        return Ok((file, Some(folder)));
    }
    if path.exists() {
        return Ok((path, None));
    }
    let what = format!("no such file, and no run of that name in {}", runs.display());
    Err(Error::checkpoint(run, what, "check the path, or give --runs"))
}

/// The model of a run or of a checkpoint file. Prints a line when the run is not finished.
pub fn trained(runs: &Path, run: &Path) -> Result<Trained> {
    let trained = Trained::load(&checkpoint_file(runs, run)?.0)?;
    trained.unfinished().iter().for_each(|note| say(note));
    Ok(trained)
}

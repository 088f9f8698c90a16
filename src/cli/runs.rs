//! Runs and checkpoints that a command is given.
use super::compute::Compute;
use super::stop::serve;
use super::stop::stop_flag;
use crate::checkpoint::{Checkpoint, Progress};
use crate::host::say::say;
use crate::host::toml as toml_file;
use crate::infer::trained::Trained;
use crate::run::console::Voice;
use crate::run::folder::{Env, RunFolder};
use crate::run::logs;
use crate::run::record::Record;
use crate::run::session::Watch;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Once};

/// The file that marks the folder of a character (`mvae-fast character`).
pub(super) const CHARACTER: &str = "character.toml";

/// A kind of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Motion VAE.
    Model,
    /// A policy that steers one.
    Controller,
}

impl Kind {
    /// Name of the run of this kind in `runs/` of a character's folder.
    pub const fn in_character(self) -> &'static str {
        match self {
            Kind::Model => "model",
            Kind::Controller => "stick",
        }
    }
}

/// A training that a sitting begins or continues.
pub(super) trait Training {
    /// The record of an epoch or update.
    type Record: Record;
    /// Word that the made-up name of a run begins with.
    fn word(&self) -> String;
    /// The configuration, as TOML.
    fn config(&self) -> String;
    /// Number of epochs or updates in all.
    fn all(&self) -> usize;
    /// True if all of them are done.
    fn finished(&self) -> bool;
    /// Writes a checkpoint. Errors: those of the disk.
    fn save(&self, file: &Path) -> Result<()>;
    /// Trains to the end, or until somebody asks to stop; returns the records of all sittings.
    /// Errors: a loss that is not finite, a stop by a signal, those of the disk.
    fn train(&mut self, folder: &RunFolder, voice: Voice, watch: Watch) -> Result<Vec<Self::Record>>;
}

/// The outcome of a sitting.
pub(super) struct Done<R> {
    /// The run's folder, which stays locked.
    pub folder: RunFolder,
    /// True if all epochs or updates are done.
    pub finished: bool,
    /// The records of all sittings.
    pub records: Vec<R>,
}

/// A sitting of a run, of a Motion VAE or of a controller: where the run lies, and who hears of it.
#[derive(Clone)]
pub(super) struct Sitting<'a> {
    /// Folder that holds the run folders.
    pub runs: &'a Path,
    /// Name of a new run's folder; `None` makes one.
    pub name: Option<&'a str>,
    /// The device to compute on, and how.
    pub compute: &'a Compute,
    /// Port of the server that shows the run.
    pub serve: Option<u16>,
    /// The flag of the signals that ask to stop; `None` begins to listen when all is ready.
    pub stop: Option<Arc<AtomicUsize>>,
    /// Number of the epoch or update after which the sitting ends, if it is not to be the last.
    pub until: Option<usize>,
    /// How the progress is shown.
    pub voice: Voice,
}

impl Sitting<'_> {
    /// Trains in the folder of a new run, or in the one that is `resumed`. All errors in data and
    /// checkpoints have been found by then, so a refused run leaves no trace on disk. `device` says
    /// what computes. Errors: those of [`Training::train`].
    pub fn train<T: Training>(
        &self,
        training: &mut T,
        resumed: Option<RunFolder>,
        device: &str,
    ) -> Result<Done<T::Record>> {
        let stop = self.stop.clone().map_or_else(stop_flag, Ok)?;
        let live = serve(self.serve, &stop)?;
        let env = Env::collect(device, self.compute.threads());
        let (resumes, folder) = match resumed {
            Some(folder) => (true, folder),
            None => {
                let first = |folder: &RunFolder| training.save(&folder.last_checkpoint());
                let (word, config) = (training.word(), training.config());
                (false, RunFolder::create(self.runs, self.name, &word, &config, &env, first)?)
            }
        };
        let path = folder.path().display();
        let records = if training.finished() {
            let (all, unit) = (training.all(), T::Record::UNIT);
            self.voice.say(&format!("run folder {path}: all {all} {unit}s are done, nothing to do"));
            let (records, note) = logs::read_metrics(&folder.metrics())?;
            note.iter().for_each(|note| self.voice.say(note));
            records
        } else {
            if resumes {
                folder.add_sitting(&env)?.iter().for_each(|note| self.voice.say(note));
            }
            self.voice.say(&format!("run folder {path}"));
            training.train(
                &folder,
                self.voice.clone(),
                Watch { stop: &stop, live: live.as_ref(), until: self.until },
            )?
        };
        Ok(Done { finished: training.finished(), records, folder })
    }
}

/// The run that a command is to continue, locked. `resume` is the one of `--resume`, `begun` the
/// one that `--resume-or-start` found. Errors: it is no run, or locked.
pub fn continued(runs: &Path, resume: Option<&Path>, begun: Option<&Path>, kind: Kind) -> Result<Option<RunFolder>> {
    match (resume, begun) {
        (Some(run), _) => RunFolder::resume(&run_folder(runs, run, kind)).map(Some),
        (None, Some(begun)) => RunFolder::wait(begun).map(Some),
        (None, None) => Ok(None),
    }
}

/// The run of `--resume-or-start`, if it was begun. `name` is that of `--name`.
pub fn begun(resume_or_start: bool, runs: &Path, name: Option<&str>) -> Option<PathBuf> {
    name.filter(|_| resume_or_start).map(|name| runs.join(name)).filter(|path| path.exists())
}

/// Refuses to continue a run that was begun with other values of the keys `differences`, except
/// those that are `free` to change.
pub fn as_begun(folder: &RunFolder, differences: &[&str], free: &[&str]) -> Result<()> {
    match differences.iter().find(|key| !free.contains(key)) {
        None => Ok(()),
        Some(key) => Err(Error::Usage(format!(
            "{} was begun with another {key}; leave that as {} has it, or give another name",
            folder.path().display(),
            folder.config().display()
        ))),
    }
}

/// Refuses the run of a Motion VAE where a controller is expected, and the reverse. A configuration
/// that cannot be read passes: loading it reports the error.
pub fn of_kind(folder: &RunFolder, kind: Kind, mend: &str) -> Result<()> {
    let table = toml_file::read(&folder.config()).ok().and_then(|text| text.parse::<toml::Table>().ok());
    match table.map(|table| table.contains_key("task")) {
        Some(true) if kind == Kind::Model => Err(Error::checkpoint(folder.path(), "is the run of a controller", mend)),
        Some(false) if kind == Kind::Controller => {
            Err(Error::checkpoint(folder.path(), "is the run of a Motion VAE", mend))
        }
        _ => Ok(()),
    }
}

/// Turns the error of an unreadable configuration into an error about the run.
pub fn not_as_written(path: &Path) -> impl Fn(Error) -> Error + Copy + use<'_> {
    let mend = "restore the file as the run wrote it, or take the version of mvae-fast that did";
    move |e| Error::checkpoint(path, e.to_string(), mend)
}

/// Makes a path absolute, so that a run may be resumed from another folder. Errors: it is not
/// UTF-8.
pub fn absolute(path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = path.as_ref();
    let path = std::path::absolute(path).map_err(Error::io(path, "cannot find the folder"))?;
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(Error::Usage(format!("{path:?} is not UTF-8, as a config.toml is; rename it"))),
    }
}

/// Makes each of these paths [`absolute`].
pub fn all_absolute<'a>(paths: impl IntoIterator<Item = &'a mut PathBuf>) -> Result<()> {
    paths.into_iter().try_for_each(|path| {
        *path = absolute(&*path)?;
        Ok(())
    })
}

/// A run given by its folder, by its name under `runs`, or by the folder of a character, which
/// holds one of each kind.
pub fn run_folder(runs: &Path, run: &Path, kind: Kind) -> PathBuf {
    let path = placed(runs, run);
    match is_character(&path) {
        true => path.join("runs").join(kind.in_character()),
        false => path,
    }
}

/// The place of a run that is given by its path or by its name under `runs`. A path to a run or a
/// file wins over a name, which is said if both are there; a name wins over any other folder.
fn placed(runs: &Path, run: &Path) -> PathBuf {
    static SAID: Once = Once::new();
    let named = runs.join(run);
    let is_run = |path: &Path| path.join("config.toml").is_file() || is_character(path);
    let is_other = || std::path::absolute(run).ok() != std::path::absolute(&named).ok();
    match (run.is_file() || is_run(run), is_run(&named)) {
        (true, true) if is_other() => {
            let (run, named) = (run.display(), named.display());
            SAID.call_once(|| {
                say(&format!("note: takes {run} of this folder; for the run of that name, give {named}"))
            });
        }
        (false, true) => return named,
        _ => {}
    }
    if run.exists() { run.to_owned() } else { named }
}

/// True of the folder of a character.
fn is_character(path: &Path) -> bool {
    path.join(CHARACTER).is_file()
}

/// The folder of a character that is given as a run, if it is one and holds a controller.
pub fn controller_of_character(runs: &Path, run: &Path) -> Option<PathBuf> {
    let path = placed(runs, run);
    (is_character(&path) && run_folder(runs, &path, Kind::Controller).exists()).then_some(path)
}

/// A name for what is made of a run: that of its character, else that of the run or of the file.
pub fn name_of(run: &Path) -> String {
    let path = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
    let holds = |folder: &&Path| is_character(folder) && (path == **folder || path.starts_with(folder.join("runs")));
    let name = match path.ancestors().find(holds) {
        Some(character) => character.file_name(),
        None if path.is_file() => path.file_stem(),
        None => path.file_name(),
    };
    name.unwrap_or("character".as_ref()).to_string_lossy().into_owned()
}

/// The checkpoint of a run (its last one, else its best), or the file itself; also the run's
/// folder, if it is a run.
pub fn checkpoint_file(runs: &Path, run: &Path, kind: Kind) -> Result<(PathBuf, Option<RunFolder>)> {
    let path = run_folder(runs, run, kind);
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
    let trained = Trained::load(&checkpoint_file(runs, run, Kind::Model)?.0)?;
    trained.unfinished().iter().for_each(|note| say(note));
    Ok(trained)
}

/// The progress in the last checkpoint of a run. Errors: it cannot be read.
pub fn progress(last: &Path) -> Result<Progress> {
    let progress = Checkpoint::load(last)?.meta.and_then(|meta| meta.progress);
    progress.ok_or_else(|| Error::checkpoint(last, "holds no training state", "remove the run, and it is trained anew"))
}

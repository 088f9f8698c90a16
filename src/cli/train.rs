//! `mvae-fast train`: opens device, data and run folder, trains, and prints the result.
use super::axis::Axis;
use super::compute::Compute;
use super::print::print;
use super::runs::{
    self, Done, Kind, Sitting, all_absolute, checkpoint_file, continued, not_as_written, of_kind, run_folder,
};
use super::steering;
use super::stop::stop_flag;
use super::variables::OfTrain;
use crate::checkpoint::Progress;
use crate::config::{Config, Overrides, Preset, layers};
use crate::data;
use crate::host::toml as toml_file;
use crate::ops::world::Task;
use crate::quality::text::fixed;
use crate::run::console::Voice;
use crate::run::folder::RunFolder;
use crate::run::record::EpochRecord;
use crate::run::session::Watch;
use crate::train::setup::{Setup, Start};
use crate::{Error, Result, host::say, train::trainer};
use clap::Args;
use std::fmt::Write;
use std::path::{Path, PathBuf};

pub const EXAMPLES: &str = "\
Examples:
  mvae-fast train
  mvae-fast train walk.npz run.npz --name walk --kl-weight auto
  mvae-fast train walk.npz --preset paper --seed 3
  mvae-fast train --config runs/walk/config.toml --student-epochs 200
  mvae-fast train --resume walk
  mvae-fast train walk.npz --name walk --controller joystick
  mvae-fast train walk.npz --name walks --population 8
  mvae-fast train walk.npz --population kl_weight=0.001,0.003,0.01 --population 2
  MVAE_BATCH_SIZE=32 mvae-fast train --print-config

Every key of the configuration is a flag (--batch-size), an environment variable
(MVAE_BATCH_SIZE) and a line of a file (batch_size = 32); --preset is MVAE_PRESET, too.
Flags win over the environment, the environment over --config, --config over --preset.
--resume goes on as the run was configured: of the keys in the environment, only
MVAE_MAX_MINUTES and MVAE_CHECKPOINT_EVERY have a say.

Of a --population each model is bit for bit what it would be alone. Its run folders, such as
seed-0, lie in one folder, by which all of them are resumed and `info` compares them; every other
command takes one of them (walks/seed-0).";

/// Arguments of `train`: the configuration, and settings that do not change the result.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// npz files of motion; the same as --data
    #[arg(value_name = "DATA")]
    pub files: Vec<PathBuf>,
    /// Name of the run folder (default: made from the date and the variant)
    #[arg(long)]
    pub name: Option<String>,
    /// Folder that holds the run folders
    #[arg(long, value_name = "DIR", env = "MVAE_RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// Continue this run (a folder, or its name under --runs) where it stopped
    #[arg(long, value_name = "RUN", conflicts_with_all = ["name", "init", "config", "preset"])]
    pub resume: Option<PathBuf>,
    /// Continue the run of --name if there is one, else start it: so that the same command may be
    /// given again and again
    #[arg(long, requires = "name", conflicts_with = "resume")]
    pub resume_or_start: bool,
    /// Start from the parameters and statistics of this run or checkpoint, or of a safetensors file
    /// of a bare state dict
    #[arg(long, value_name = "RUN|CHECKPOINT")]
    pub init: Option<PathBuf>,
    /// Train several models side by side: N of them, by seeds from --seed on, or one for each value
    /// of a key; given more than once, one for each combination
    #[arg(long, value_name = "N|KEY=VALUE,...", conflicts_with_all = ["resume", "print_config"])]
    pub population: Vec<Axis>,
    /// TOML file of configuration keys, such as a run's config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where every key starts from (default: default); a file may say preset = "paper"
    #[arg(long)]
    pub preset: Option<Preset>,
    /// Train a controller of this task, too, once the model is done: about a minute. It is a run of
    /// its own, NAME-joystick, and steers in the model's report (joystick)
    #[arg(long, value_name = "TASK", hide_possible_values = true, conflicts_with_all = ["population", "print_config"])]
    pub controller: Option<Task>,
    /// Updates of that controller's training [default: 400]
    #[arg(long, value_name = "N", requires = "controller")]
    pub controller_updates: Option<usize>,
    /// The device to compute on, and how.
    #[command(flatten)]
    pub compute: Compute,
    /// Show the run in a browser while it trains: prints an address on this machine
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "0", conflicts_with = "population")]
    pub serve: Option<u16>,
    /// Print no progress
    #[arg(long)]
    pub quiet: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print the configuration as TOML and stop
    #[arg(long)]
    pub print_config: bool,
    /// Configuration keys from flags.
    #[command(flatten)]
    pub overrides: Overrides,
    /// The configuration that the environment gives.
    #[arg(skip)]
    pub environment: OfTrain,
}

impl TrainArgs {
    /// The configuration from flags, environment, file and preset; earlier ones win.
    ///
    /// With `--resume` it is the run's own configuration. Flags may then change only
    /// [`Config::FREE`] keys, the environment only `checkpoint_every` and `max_minutes`.
    pub fn config(&self) -> Result<Config> {
        match &self.resume {
            Some(run) => self.resumed(&RunFolder::open(&run_folder(&self.runs, run, Kind::Model))?),
            None => self.with(Overrides::default()),
        }
    }

    /// The configuration of a new run; the keys in `own` win over all others.
    pub(super) fn with(&self, own: Overrides) -> Result<Config> {
        let environment = &self.environment;
        let text = self.config.as_deref().map(toml_file::read).transpose()?;
        let file = self.config.as_deref().zip(text.as_deref());
        Config::layered(self.preset.or(environment.preset), file, &environment.keys, &own.or(self.flags()))
    }

    /// The configuration of a resumed run, with the keys that may change.
    pub(super) fn resumed(&self, folder: &RunFolder) -> Result<Config> {
        let Overrides { checkpoint_every, max_minutes, .. } = self.environment.keys;
        let environment = Overrides { checkpoint_every, max_minutes, ..Overrides::default() };
        resumed(folder, &environment, &self.flags())
    }

    /// The run or population of `--resume-or-start`, if it was begun.
    pub(super) fn begun(&self) -> Option<PathBuf> {
        runs::begun(self.resume_or_start, &self.runs, self.name.as_deref())
    }

    /// Keys from flags, and from the positional arguments, which are data files.
    pub(super) fn flags(&self) -> Overrides {
        let mut flags = self.overrides.clone();
        if !self.files.is_empty() {
            flags.data.get_or_insert_default().splice(0..0, self.files.iter().cloned());
        }
        flags
    }

    /// Says which variables of the environment have no effect on a run that resumes.
    pub fn say_unheard(&self) {
        let unheard = self.unheard();
        if !unheard.is_empty() && !self.print_config && !self.quiet {
            say::say(&format!("note: --resume goes on as the run was configured, without {}", unheard.join(", ")));
        }
    }

    /// Variables that are set but ignored, because a resumed run already has its configuration.
    fn unheard(&self) -> Vec<String> {
        let OfTrain { keys, preset, .. } = &self.environment;
        let keys = Overrides { checkpoint_every: None, max_minutes: None, ..keys.clone() }.keys();
        let unheard = keys.into_iter().chain(preset.map(|_| "preset")).map(layers::variable);
        unheard.filter(|_| self.resume.is_some()).collect()
    }
}

/// The configuration of a resumed run, with the keys that may change.
pub(super) fn resumed(folder: &RunFolder, environment: &Overrides, flags: &Overrides) -> Result<Config> {
    of_kind(folder, Kind::Model, "go on with it by mvae-fast control train --resume")?;
    let file = folder.config();
    let restore = not_as_written(folder.path());
    let text = toml_file::read(&file).map_err(restore)?;
    let run = Config::load(&file).map_err(restore)?;
    let config = Config::layered(None, Some((&file, &text)), environment, flags)?;
    match run.differences(&config).iter().find(|key| !Config::FREE.contains(key)) {
        None => Ok(config),
        Some(key) => Err(Error::Usage(format!(
            "--resume goes on as the run was configured, which {} would change; \
             drop it, or start a new run with --config {}",
            layers::flag(key),
            file.display()
        ))),
    }
}

/// Refuses to continue a run that was not begun with this configuration.
pub(super) fn as_begun(folder: &RunFolder, config: &Config) -> Result<()> {
    of_kind(folder, Kind::Model, "give another --name")?;
    let own = Config::load(&folder.config()).map_err(not_as_written(folder.path()))?;
    runs::as_begun(folder, &config.differences(&own), &Config::FREE)
}

/// Trains as the arguments say; the result goes to standard output.
pub fn run(args: &TrainArgs) -> Result<()> {
    let mut config = args.config()?;
    if args.print_config {
        return print(&config.to_toml());
    }
    let begun = args.begun();
    let folder = continued(&args.runs, args.resume.as_deref(), begun.as_deref(), Kind::Model)?;
    if let (Some(_), Some(folder)) = (begun, &folder) {
        as_begun(folder, &config)?;
    }
    let sitting = Sitting {
        runs: &args.runs,
        name: args.name.as_deref(),
        compute: &args.compute,
        serve: args.serve,
        stop: None,
        until: None,
        voice: args.quiet.into(),
    };
    let controller = args.controller.map(|task| steering::Controller { task, updates: args.controller_updates });
    if let Some(controller) = &controller {
        let new = args.name.as_ref().filter(|_| folder.is_none()).map(|name| args.runs.join(name));
        controller.check(&config, folder.as_ref().map(RunFolder::path), new.as_deref())?;
    }
    let flags = controller.as_ref().map_or(String::new(), steering::Controller::flags);
    let sat = sit(&sitting, folder, &mut config, args.init.as_deref(), controller)?;
    let Sat { done: Done { folder, finished, records }, at, controller } = sat;

    let (last, path) = (records.last(), folder.path().display().to_string());
    if args.json {
        let result = serde_json::json!({ "run": path, "finished": finished, "record": last, "controller": controller });
        return print(&format!("{result}\n"));
    }
    let steered = controller.map_or(String::new(), |controller| format!("controller: {controller}\n"));
    match last {
        Some(last) => print(&(steered + &summary(&config, &at, last, &path, &flags))),
        None => print(&format!("no epoch was finished\ncontinue: mvae-fast train --resume {path}{flags}\n")),
    }
}

/// The outcome of a sitting of a model.
pub(super) struct Sat {
    /// The run and its records.
    pub done: Done<EpochRecord>,
    /// Where training stands.
    at: Progress,
    /// The folder of the controller, if one was trained.
    controller: Option<String>,
}

/// Trains a new run of this configuration from `init`, or continues the one that is `resumed`. A
/// finished model then gets the `controller`. Errors: those of data, checkpoints and disk, and a
/// stop by a signal.
pub(super) fn sit(
    sitting: &Sitting,
    resumed: Option<RunFolder>,
    config: &mut Config,
    init: Option<&Path>,
    controller: Option<steering::Controller>,
) -> Result<Sat> {
    all_absolute(&mut config.data)?;
    let backend = sitting.compute.open()?;
    let last = resumed.as_ref().map(RunFolder::last_checkpoint);
    let init = init.map(|init| checkpoint_file(sitting.runs, init, Kind::Model)).transpose()?;
    let start = Start::of(last.as_deref(), init.as_ref().map(|(init, _)| init.as_path()));
    let say = |line: String| sitting.voice.say(&line);
    let mut setup = Setup::on(config, backend.as_ref(), start, data::read, &say)?;
    controller.as_ref().map_or(Ok(()), |controller| controller.check_data(&setup))?;
    let flags = controller.as_ref().map_or(String::new(), steering::Controller::flags);
    // One flag for both trainings: no signal between them is lost.
    let stop = sitting.stop.clone().map_or_else(stop_flag, Ok)?;
    let sitting = &Sitting { stop: Some(stop), ..sitting.clone() };
    let done = sitting.train(&mut setup, resumed, &backend.describe()).map_err(|error| match error {
        Error::Stopped { signal, again } => Error::Stopped { signal, again: again + &flags },
        error => error,
    })?;
    let controller = controller.filter(|_| done.finished);
    let train = |controller: steering::Controller| controller.train(sitting, &mut setup, &done, backend.as_ref());
    let controller = controller.map(train).transpose().map_err(|error| match error {
        Error::Stopped { signal, .. } => {
            Error::Stopped { signal, again: format!("--resume {}{flags}", done.folder.path().display()) }
        }
        error => error,
    })?;
    Ok(Sat { at: setup.at, done, controller })
}

impl runs::Training for Setup<'_> {
    type Record = EpochRecord;

    fn word(&self) -> String {
        self.config.variant.name()
    }

    fn config(&self) -> String {
        self.config.to_toml()
    }

    fn all(&self) -> usize {
        self.config.epochs()
    }

    fn finished(&self) -> bool {
        Setup::finished(self)
    }

    fn save(&self, file: &Path) -> Result<()> {
        Setup::save(self, file)
    }

    fn train(&mut self, folder: &RunFolder, voice: Voice, watch: Watch) -> Result<Vec<EpochRecord>> {
        trainer::train(self, folder, voice, watch)
    }
}

/// The summary that is printed at the end.
fn summary(config: &Config, at: &Progress, last: &EpochRecord, path: &str, flags: &str) -> String {
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments| writeln!(text, "{args}").expect("memory takes every write");
    let state = if last.epoch == config.epochs() { "trained" } else { "stopped" };
    let elapsed = crate::host::say::minutes(at.elapsed_seconds);
    line(format_args!("{state} {} of {} epochs, {} steps, in {elapsed}", last.epoch, config.epochs(), at.step));
    line(format_args!("{}", last.losses()));
    if let Some(v) = &last.validation {
        if let Some(error) = v.one_step_error {
            line(format_args!("held-out one-step error {error:.4}"));
        }
        let inside = 100.0 * v.prior_inside;
        line(format_args!(
            "{inside:.0} % of walks from the prior stay in the data's range, with {} of its spread",
            fixed(v.prior_rms, 2)
        ));
    }
    for warning in &last.warnings {
        line(format_args!("warning: {warning}"));
    }
    line(format_args!("run folder: {path}"));
    line(format_args!("next: open {path}/report.html, or `mvae-fast info {path}`"));
    if last.epoch < config.epochs() {
        line(format_args!("continue: mvae-fast train --resume {path}{flags}"));
    }
    text
}

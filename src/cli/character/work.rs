//! The work on a character: the stage that runs, what of it is made already, the time that is left,
//! and signals that stop it.
use super::CharacterArgs;
use super::book::{Book, crc};
use super::budget::Budget;
use super::motion::Motion;
use super::speed::Speed;
use crate::checkpoint::Progress;
use crate::cli::runs::{Kind, Sitting, absolute, progress};
use crate::cli::stop::Stops;
use crate::config::{Config, Overrides};
use crate::control::config::{self as policy, PolicyConfig};
use crate::host::atomic;
use crate::host::say::say;
use crate::host::toml as toml_file;
use crate::ops::world::Task;
use crate::run::console::Voice;
use crate::run::folder::RunFolder;
use crate::run::whole::Whole;
use crate::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Names of the stages in the book; the trainings' are those of their run folders, too.
pub(super) const DATA: &str = "data";
pub(super) const CHECK: &str = "check";
pub(super) const MODEL: &str = Kind::Model.in_character();
pub(super) const MODEL_EVAL: &str = "model-eval";
pub(super) const STICK: &str = Kind::Controller.in_character();
pub(super) const STICK_EVAL: &str = "stick-eval";
pub(super) const PAGE: &str = "page";
/// Number of stages that the line of progress counts.
pub(super) const STAGES: usize = 6;

/// The error of a work that a signal stopped.
pub(super) fn stopped(signal: i32) -> Error {
    Error::Stopped { signal, again: "the same command".into() }
}

/// A character that is being made.
pub(super) struct Work<'a> {
    pub args: &'a CharacterArgs,
    /// The folder of the character, absolute.
    pub folder: PathBuf,
    pub book: Book,
    pub motion: Motion,
    /// Configuration of the model's training, before it is shortened.
    pub config: Config,
    /// Configuration of the controller's training, before it is shortened.
    pub policy: PolicyConfig,
    pub budget: Budget,
    /// Speed of the machine, and seconds that each stage takes, once they are known.
    pub plan: Option<(Speed, [f64; STAGES])>,
    pub whole: Arc<Whole>,
    pub stops: Stops,
    begun: Instant,
    /// Seconds of trainings in earlier sittings.
    earlier: f64,
    /// Stages that were made in this sitting.
    pub made: Vec<&'static str>,
}

/// The work that a run folder needs.
pub(super) enum State {
    /// Nothing.
    Done,
    /// Continue it from there.
    Resume(Progress),
    /// Make it.
    New,
}

impl<'a> Work<'a> {
    /// Checks all that can be checked before anything is made or read at length. Errors: invalid
    /// flags and files of configuration, no such motion, a folder that holds something else or that
    /// another process works on.
    pub fn new(args: &'a CharacterArgs) -> Result<Self> {
        let minutes = args.minutes;
        if let Some(minutes) = minutes.filter(|minutes| !(minutes.is_finite() && *minutes > 0.0)) {
            return Err(Error::Usage(format!("--minutes is {minutes}, expected a number above 0")));
        }
        let folder = absolute(&args.output)?;
        drop(args.compute.open()?);
        let motion = Motion::of(&args.motion, &args.import, args.compute.threads())?;
        let (config, policy) = configurations(args, &motion, &folder)?;
        let whole = Arc::new(Whole::new(STAGES, args.quiet));
        let shown = whole.clone();
        Ok(Work {
            args,
            book: Book::open(&folder, motion.paths())?,
            motion,
            config,
            policy,
            budget: Budget { seconds: minutes.map(|minutes| 60.0 * minutes) },
            plan: None,
            whole,
            stops: Stops::listen(move |signal| {
                shown.end();
                say(&format!("error: {}", stopped(signal)));
            })?,
            begun: Instant::now(),
            earlier: 0.0,
            made: Vec::new(),
            folder,
        })
    }

    /// Begins stage number `number`, which is none that only looks whether all is done.
    pub fn begin(&mut self, number: usize, stage: &'static str, what: &str) {
        self.made.push(stage);
        let times = self.plan.map(|(_, times)| (times[number - 1], times[number..].iter().sum()));
        self.whole.begin(number, what, times);
    }

    /// Seconds that the character has taken so far.
    pub fn spent(&self) -> f64 {
        self.earlier + self.begun.elapsed().as_secs_f64()
    }

    /// Seconds of this sitting.
    pub fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub fn say(&self, line: &str) {
        self.whole.say(line);
    }

    pub fn run(&self, name: &str) -> PathBuf {
        self.folder.join("runs").join(name)
    }

    pub fn last(&self, name: &str) -> PathBuf {
        self.run(name).join("checkpoints").join("last.safetensors")
    }

    /// Says of a stage that is made anew what has changed.
    pub fn told(&self, stage: &str, asked: &toml::Table, what: &str, kept: &str) {
        let changes = self.book.changes(stage, asked);
        let changes: Vec<_> = changes.into_iter().filter(|key| key != "data").collect();
        if !changes.is_empty() {
            self.say(&format!("{what}, as {} changed{kept}", changes.join(", ")));
        }
    }

    /// Finds the work that a run needs, of which `all` tells the number of epochs or updates.
    pub fn state(
        &mut self,
        stage: &str,
        asked: &toml::Table,
        all: impl FnOnce(&Path) -> Result<usize>,
    ) -> Result<State> {
        let folder = RunFolder::open(&self.run(stage)).ok();
        let Some(folder) = folder.filter(|_| self.book.is(stage, asked)) else { return Ok(State::New) };
        let progress = progress(&folder.last_checkpoint())?;
        self.earlier += progress.elapsed_seconds;
        Ok(if progress.epoch > all(&folder.config())? { State::Done } else { State::Resume(progress) })
    }

    /// Puts the run of a stage aside, which was made of something else than is `asked` for. A run
    /// that did not come to its end, of which `all` tells the number of epochs or updates, takes no
    /// other one's place: it goes.
    pub fn put_aside(
        &mut self,
        stage: &str,
        asked: &toml::Table,
        what: &str,
        all: impl FnOnce(&Path) -> Result<usize>,
    ) -> Result<()> {
        let run = self.run(stage);
        if !run.exists() {
            return Ok(());
        }
        let before = run.with_file_name(format!("{stage}-before"));
        let ended = |folder: RunFolder| Ok(progress(&folder.last_checkpoint())?.epoch > all(&folder.config())?);
        let aside = !before.exists() || RunFolder::open(&run).and_then(ended).unwrap_or(false);
        let kept = format!("; {} is kept", before.display());
        self.told(stage, asked, &format!("{what} is trained anew"), &kept);
        self.book.forget(stage)?;
        let goes = if aside { &before } else { &run };
        if goes.exists() {
            std::fs::remove_dir_all(goes).map_err(Error::io(goes, "cannot remove"))?;
        }
        if aside { std::fs::rename(&run, &before).map_err(Error::io(&run, "cannot rename")) } else { Ok(()) }
    }

    /// The folder of a run that is to be continued, locked.
    pub fn resumed(&self, stage: &str, state: &State) -> Result<Option<RunFolder>> {
        matches!(state, State::Resume(_)).then(|| RunFolder::resume(&self.run(stage))).transpose()
    }

    /// A sitting of the run of a stage.
    pub fn sitting<'s>(&'s self, runs: &'s Path, stage: &'s str) -> Sitting<'s> {
        Sitting {
            runs,
            name: Some(stage),
            compute: &self.args.compute,
            serve: None,
            stop: Some(self.stops.flag.clone()),
            until: None,
            voice: Voice::Part(self.whole.clone()),
        }
    }

    /// Settings and inputs that a model depends on.
    pub fn asked_of_model(&self) -> toml::Table {
        let table = toml::Table::try_from(&self.config).expect("a checked configuration can be written");
        let files = crc(self.config.data.iter().map(|file| ("", file.as_path())));
        self.asked(table, &["data"], ("motion", files))
    }

    /// Settings and inputs that a controller depends on.
    pub fn asked_of_controller(&self) -> toml::Table {
        let table = toml::Table::try_from(&self.policy).expect("a checked configuration can be written");
        self.asked(table, &["vae"], ("model", crc([("", self.last(MODEL).as_path())])))
    }

    fn asked(&self, mut table: toml::Table, without: &[&str], (key, of): (&str, toml::Value)) -> toml::Table {
        table.retain(|key, _| !without.contains(&key) && !["checkpoint_every", "max_minutes"].contains(&key));
        table.extend(self.args.minutes.map(|minutes| ("minutes".to_owned(), minutes.into())));
        with(&table, key, of)
    }

    /// The evaluation in a file, if it is of what is `asked` for.
    pub fn kept(&self, stage: &str, asked: &toml::Table, file: &Path) -> Option<Value> {
        let text = crate::host::files::text(file, 64 << 20).ok().filter(|_| self.book.is(stage, asked))?;
        serde_json::from_str(&text).ok()
    }

    /// Writes an evaluation and returns it.
    pub fn keep(&mut self, stage: &str, asked: toml::Table, file: &Path, evaluation: Value) -> Result<Value> {
        self.book.forget(stage)?;
        atomic::write(file, format!("{evaluation:#}\n").as_bytes())?;
        self.book.write(stage, asked)?;
        Ok(evaluation)
    }
}

/// The configurations of both trainings, as the arguments say. Errors: invalid flags and files, a
/// controller that cannot learn on such a model.
fn configurations(args: &CharacterArgs, motion: &Motion, folder: &Path) -> Result<(Config, PolicyConfig)> {
    let layer = |file: &Option<PathBuf>| file.as_deref().map(toml_file::read).transpose();
    let (text, policy_text) = (layer(&args.config)?, layer(&args.control_config)?);
    let flags = Overrides { data: Some(motion.data(folder)), seed: args.seed, ..Overrides::default() };
    let file = args.config.as_deref().zip(text.as_deref());
    let config = Config::layered(args.preset, file, &Overrides::default(), &flags)?;
    let vae = folder.join("runs").join(MODEL).join("checkpoints/last.safetensors");
    let (task, seed, updates) = (Some(Task::Joystick.name().to_owned()), args.seed, args.updates);
    let flags = policy::Overrides { task, seed, updates, vae: Some(vae), ..policy::Overrides::default() };
    let file = args.control_config.as_deref().zip(policy_text.as_deref());
    let policy = PolicyConfig::layered(None, file, &policy::Overrides::default(), &flags)?;
    if let Some((what, mend)) = policy.unfit(config.variant, config.future_predictions) {
        let flag = if mend.starts_with("algorithm") { "--control-config" } else { "--config" };
        return Err(Error::Usage(format!("{what}; give {flag} a file with {mend}")));
    }
    Ok((Config { max_minutes: None, ..config }, PolicyConfig { max_minutes: None, ..policy }))
}

/// A table with one more entry.
pub(super) fn with(table: &toml::Table, key: &str, value: toml::Value) -> toml::Table {
    let mut table = table.clone();
    table.insert(key.to_owned(), value);
    table
}

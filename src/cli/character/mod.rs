//! `mvae-fast character`: from motion to a character that a person steers, in one command.
//!
//! Each stage leaves an ordinary file or run folder in the output folder, and the [`Book`] there
//! says what it was made of. So a stage runs only if it is not done, or was made of something else.
mod book;
mod budget;
mod motion;
mod summary;

use super::compute::Compute;
use super::import::ImportKeys;
use super::print::print;
use super::runs::{Sitting, absolute};
use super::ship::{self, ShipArgs};
use super::stop::stop_flag;
use super::{control, eval, train};
use crate::checkpoint::{Checkpoint, Progress};
use crate::config::{Config, Overrides, Preset, Variant};
use crate::control::config::{self as policy, Algorithm, PolicyConfig};
use crate::control::setup::PolicySetup;
use crate::control::thresholds::PolicyThresholds;
use crate::exchange::ship::{Format, Opset};
use crate::host::atomic;
use crate::host::crc32c::crc32c;
use crate::host::say::{minutes, say};
use crate::host::toml as toml_file;
use crate::infer::trained::Trained;
use crate::ops::world::Task;
use crate::quality::WalkOptions;
use crate::quality::thresholds::Thresholds;
use crate::run::console::Voice;
use crate::run::folder::RunFolder;
use crate::run::logs;
use crate::run::record::EpochRecord;
use crate::run::whole::Whole;
use crate::train::setup::{Setup, Start};
use crate::{Error, Result, data};
use book::{Book, crc};
use budget::{Budget, MEASURED};
use motion::Motion;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use summary::Summary;

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

/// Names of the stages in the book; the trainings' are those of their run folders, too.
const DATA: &str = "data";
const CHECK: &str = "check";
const MODEL: &str = "model";
const MODEL_EVAL: &str = "model-eval";
const STICK: &str = "stick";
const STICK_EVAL: &str = "stick-eval";
const PAGE: &str = "page";
/// Number of stages that the line of progress counts.
const STAGES: usize = 6;

/// Makes a character as the arguments say.
pub fn character(args: &CharacterArgs) -> Result<()> {
    let mut work = Work::new(args)?;
    let made = work.motion().and_then(|()| work.model()).and_then(|()| work.measure_model());
    let made = made.and_then(|model| {
        work.controller()?;
        let controller = work.measure_controller()?;
        work.page(summary::note(&model, &controller, args.minutes.is_some()))?;
        Ok((model, controller))
    });
    work.whole.end();
    let (model, controller) = made.map_err(|error| match error {
        Error::Stopped { signal, .. } => stopped(signal),
        other => other,
    })?;
    if work.made.is_empty() && !args.quiet {
        say("nothing to do: every stage is done, and made of what was asked for");
    }
    let page = work.folder.join(PAGE_FILE);
    if args.json {
        let result = json!({
            "folder": work.folder, "page": page, "made": work.made, "seconds": work.begun.elapsed().as_secs_f64(),
            "model": model, "controller": controller,
        });
        return print(&format!("{result}\n"));
    }
    let bytes = std::fs::metadata(&page).map_or(0, |about| about.len());
    let (model, controller, shortened) = (&model, &controller, args.minutes.is_some());
    print(
        &Summary { folder: &args.output, page: (&args.output.join(PAGE_FILE), bytes), model, controller, shortened }
            .to_string(),
    )
}

/// The file of the page.
const PAGE_FILE: &str = "character.html";

/// The error of a work that a signal stopped.
fn stopped(signal: i32) -> Error {
    Error::Stopped { signal, again: "the same command".into() }
}

/// A character that is being made.
struct Work<'a> {
    args: &'a CharacterArgs,
    /// The folder of the character, absolute.
    folder: PathBuf,
    book: Book,
    /// Lock of the folder, once it is there.
    lock: Option<std::fs::File>,
    motion: Motion,
    /// Configuration of the model's training, before it is shortened.
    config: Config,
    /// Configuration of the controller's training, before it is shortened.
    policy: PolicyConfig,
    budget: Budget,
    whole: Arc<Whole>,
    /// Number of a signal that asks to stop, or 0.
    stop: Arc<AtomicUsize>,
    /// True while nothing is lost if the process ends at once.
    at_once: Arc<AtomicBool>,
    begun: Instant,
    /// Seconds of trainings in earlier sittings.
    earlier: f64,
    /// Stages that were made in this sitting.
    made: Vec<&'static str>,
}

/// The work that a run folder needs.
enum State {
    /// Nothing.
    Done,
    /// Continue it.
    Resume,
    /// Make it.
    New,
}

impl<'a> Work<'a> {
    /// Checks all that can be checked before anything is made or read at length. Errors: invalid
    /// flags and files of configuration, no such motion, a folder that holds something else.
    fn new(args: &'a CharacterArgs) -> Result<Self> {
        let minutes = args.minutes;
        if let Some(minutes) = minutes.filter(|minutes| !(minutes.is_finite() && *minutes > 0.0)) {
            return Err(Error::Usage(format!("--minutes is {minutes}, expected a number above 0")));
        }
        let mut folder = [args.output.clone()];
        absolute(&mut folder)?;
        let [folder] = folder;
        drop(args.compute.open()?);
        let motion = Motion::of(&args.motion, &args.import, args.compute.threads())?;
        let layer = |file: &Option<PathBuf>| file.as_deref().map(toml_file::read).transpose();
        let (text, policy_text) = (layer(&args.config)?, layer(&args.control_config)?);
        let flags = Overrides { data: Some(motion.data(&folder)), seed: args.seed, ..Overrides::default() };
        let file = args.config.as_deref().zip(text.as_deref());
        let config = Config::layered(args.preset, file, &Overrides::default(), &flags)?;
        let vae = folder.join("runs/model/checkpoints/last.safetensors");
        let (task, seed, updates) = (Some(Task::Joystick.name().to_owned()), args.seed, args.updates);
        let flags = policy::Overrides { task, seed, updates, vae: Some(vae), ..policy::Overrides::default() };
        let file = args.control_config.as_deref().zip(policy_text.as_deref());
        let policy = PolicyConfig::layered(None, file, &policy::Overrides::default(), &flags)?;
        if policy.algorithm == Algorithm::Shac && matches!(config.variant, Variant::Vq | Variant::Specialist) {
            let variant = config.variant.name();
            let what = format!("variant is {variant}, whose controllers do not learn by gradients");
            return Err(Error::Usage(format!("{what}; give --control-config a file with algorithm = \"ppo\"")));
        }
        let book = Book::open(&folder, motion.paths())?;
        let mut work = Work {
            args,
            book,
            lock: None,
            motion,
            config: Config { max_minutes: None, ..config },
            policy: PolicyConfig { max_minutes: None, ..policy },
            budget: Budget::new(minutes),
            whole: Arc::new(Whole::new(args.quiet)),
            stop: stop_flag()?,
            at_once: Arc::new(AtomicBool::new(true)),
            begun: Instant::now(),
            earlier: 0.0,
            made: Vec::new(),
            folder,
        };
        if work.folder.exists() {
            work.lock()?;
        }
        work.watch();
        Ok(work)
    }

    /// Ends the process soon after a signal, where nothing is lost by it. (A training ends by
    /// itself, after it has saved.)
    fn watch(&self) {
        let (stop, at_once, whole) = (self.stop.clone(), self.at_once.clone(), self.whole.clone());
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(50));
                let signal = stop.load(Ordering::Relaxed) as i32;
                if signal != 0 && at_once.load(Ordering::Relaxed) {
                    whole.end();
                    say(&format!("error: {}", stopped(signal)));
                    std::process::exit(128 + signal);
                }
            }
        });
    }

    /// Makes the folder if it is not there, and locks it.
    fn lock(&mut self) -> Result<()> {
        atomic::create_folder(&self.folder).map_err(Error::io(&self.folder, "cannot make the folder"))?;
        if self.lock.is_none() {
            self.lock = atomic::lock_folder(&self.folder)?;
            if self.lock.is_none() {
                let what = "another process makes this character";
                return Err(Error::checkpoint(&self.folder, what, "wait for it, or stop it"));
            }
        }
        Ok(())
    }

    /// Begins stage number `number`, which is none that only looks whether all is done.
    fn begin(&mut self, number: usize, stage: &'static str, what: &str) {
        self.made.push(stage);
        let steps = self.config.epochs() * self.config.minibatches.max(1) * self.config.rollout;
        let later = self.budget.stages(self.spent(), steps, &self.policy);
        let seconds = |number: usize| if number == 1 { 0.0 } else { later[number - 2] };
        let rest = (number + 1..=STAGES).map(seconds).sum();
        self.whole.begin(format!("{number} of {STAGES}, {what}"), seconds(number), rest);
    }

    /// Seconds that the character has taken so far.
    fn spent(&self) -> f64 {
        self.earlier + self.begun.elapsed().as_secs_f64()
    }

    fn say(&self, line: &str) {
        self.whole.say(line);
    }

    fn run(&self, name: &str) -> PathBuf {
        self.folder.join("runs").join(name)
    }

    fn last(&self, name: &str) -> PathBuf {
        self.run(name).join("checkpoints").join("last.safetensors")
    }

    /// Imports the motion if it is to be imported, and looks whether it can be trained on.
    fn motion(&mut self) -> Result<()> {
        let asked = self.motion.asked(&self.args.import)?;
        let file = self.folder.join("data.npz");
        if let Motion::Files(paths, options) = &self.motion
            && !self.book.is(DATA, &with(&asked, "data", crc([("", file.as_path())])))
        {
            let (paths, options) = (paths.clone(), options.clone());
            self.told(DATA, &asked, "the motion is imported anew", "");
            self.begin(1, DATA, "reading the motion");
            let imported = self.args.import.import(&paths, &options, &self.folder, |line| self.say(line))?;
            motion::said(&imported, options.fps).iter().for_each(|line| self.say(line));
            self.lock()?;
            self.book.forget(DATA)?;
            data::npz::write(&file, &imported.set)?;
            self.book.write(DATA, with(&asked, "data", crc([("", file.as_path())])))?;
        }
        let settings = crc32c(self.asked_of_model().to_string().as_bytes());
        let asked = with(&toml::Table::new(), "motion and settings", i64::from(settings).into());
        if self.book.is(CHECK, &asked) {
            return Ok(());
        }
        if self.made.is_empty() {
            self.begin(1, CHECK, "checking the motion");
        }
        let threads = self.args.compute.threads();
        let report = motion::checked(&self.config, threads, &|line| self.whole.say(&line))?;
        report.warnings.iter().for_each(|warning| self.say(&format!("warning: {warning}")));
        if !report.ready {
            let what = report.problems.join("; ");
            return Err(Error::Gate(format!("the motion is not ready to train on: {what}; give more or longer clips")));
        }
        self.lock()?;
        self.book.write(CHECK, asked)
    }

    /// Says of a stage that is made anew what has changed.
    fn told(&self, stage: &str, asked: &toml::Table, what: &str, kept: &str) {
        let changes = self.book.changes(stage, asked);
        let changes: Vec<_> = changes.into_iter().filter(|key| key != "data").collect();
        if !changes.is_empty() {
            self.say(&format!("{what}, as {} changed{kept}", changes.join(", ")));
        }
    }

    /// Finds the work that a run needs, of which `all` tells the number of epochs or updates.
    /// One that was made of something else is put aside.
    fn state(
        &mut self,
        stage: &'static str,
        asked: &toml::Table,
        what: &str,
        all: impl FnOnce(&Path) -> Result<usize>,
    ) -> Result<State> {
        let run = self.run(stage);
        let folder = RunFolder::open(&run).ok();
        if let Some(folder) = folder.filter(|_| self.book.is(stage, asked)) {
            let progress = progress(&folder.last_checkpoint())?;
            self.earlier += progress.elapsed_seconds;
            return Ok(if progress.epoch > all(&folder.config())? { State::Done } else { State::Resume });
        }
        let before = run.with_file_name(format!("{stage}-before"));
        if run.exists() {
            self.told(
                stage,
                asked,
                &format!("{what} is trained anew"),
                &format!("; the run before it is {}", before.display()),
            );
            self.book.forget(stage)?;
            if before.exists() {
                std::fs::remove_dir_all(&before).map_err(Error::io(&before, "cannot remove"))?;
            }
            std::fs::rename(&run, &before).map_err(Error::io(&run, "cannot rename"))?;
        }
        Ok(State::New)
    }

    /// A sitting of the run of a stage.
    fn sitting<'s>(&'s self, runs: &'s Path, stage: &'s str, resume: Option<&'s Path>) -> Sitting<'s> {
        Sitting {
            runs,
            name: Some(stage),
            resume,
            compute: &self.args.compute,
            serve: None,
            stop: Some(self.stop.clone()),
            voice: Voice::Part(self.whole.clone()),
        }
    }

    /// Calls a training that saves by itself when a signal comes.
    fn training<T>(&self, train: impl FnOnce() -> Result<T>) -> Result<T> {
        self.at_once.store(false, Ordering::Relaxed);
        let trained = train();
        self.at_once.store(true, Ordering::Relaxed);
        trained
    }

    /// Settings and inputs that a model depends on.
    fn asked_of_model(&self) -> toml::Table {
        let table = toml::Table::try_from(&self.config).expect("a checked configuration can be written");
        let files = crc(self.config.data.iter().map(|file| ("", file.as_path())));
        self.asked(table, &["data"], ("motion", files))
    }

    /// Settings and inputs that a controller depends on.
    fn asked_of_controller(&self) -> toml::Table {
        let table = toml::Table::try_from(&self.policy).expect("a checked configuration can be written");
        self.asked(table, &["vae"], ("model", crc([("", self.last(MODEL).as_path())])))
    }

    fn asked(&self, mut table: toml::Table, without: &[&str], (key, of): (&str, toml::Value)) -> toml::Table {
        table.retain(|key, _| !without.contains(&key) && !["checkpoint_every", "max_minutes"].contains(&key));
        table.extend(self.args.minutes.map(|minutes| ("minutes".to_owned(), minutes.into())));
        with(&table, key, of)
    }

    /// Trains the model.
    fn model(&mut self) -> Result<()> {
        let asked = self.asked_of_model();
        let state = self.state(MODEL, &asked, "the model", |file| Ok(Config::load(file)?.epochs()))?;
        let run = self.run(MODEL);
        let mut config = match state {
            State::Done => return self.pace(),
            State::Resume => {
                let data = Overrides { data: Some(self.config.data.clone()), ..Overrides::default() };
                train::resumed(&RunFolder::open(&run)?, &Overrides::default(), &data)?
            }
            State::New => self.config.clone(),
        };
        self.begin(2, MODEL, "training the model");
        if let (State::New, Some(given)) = (&state, self.args.minutes) {
            let backend = self.args.compute.open()?;
            let (steps, minibatches) = {
                let whole = self.whole.clone();
                let mut setup =
                    Setup::on(&config, backend.as_ref(), Start::Fresh, data::read, &|line| whole.say(&line))?;
                self.budget.step = crate::train::trainer::seconds_a_step(&mut setup, MEASURED)?;
                (config.epochs() * setup.minibatches() * config.rollout, setup.minibatches())
            };
            let [seconds, ..] = self.budget.stages(self.spent(), steps, &self.policy);
            let step = 1e3 * self.budget.step;
            match self.budget.model(&config, minibatches, seconds) {
                Some(shorter) => {
                    let fewer = shorter.epochs() * shorter.minibatches * shorter.rollout;
                    self.say(&format!(
                        "--minutes {given}: the model trains for {fewer} of {steps} steps of {step:.1} ms, {} in all",
                        minutes(fewer as f64 * step / 1e3)
                    ));
                    config = shorter;
                }
                None => self.say(&format!("--minutes {given}: all {steps} steps of the model fit, {step:.1} ms each")),
            }
            self.begin_again(&config);
        }
        let (runs, resume) = (self.folder.join("runs"), matches!(state, State::Resume).then_some(run.as_path()));
        self.book.write(MODEL, asked)?;
        self.training(|| train::sit(&self.sitting(&runs, MODEL, resume), &mut config, None))?;
        self.pace()
    }

    /// Shows the time of a training whose length is now known.
    fn begin_again(&mut self, config: &Config) {
        self.made.pop();
        let planned = std::mem::replace(&mut self.config, config.clone());
        self.begin(2, MODEL, "training the model");
        self.config = planned;
    }

    /// Takes the speed of the machine from the model's training.
    fn pace(&mut self) -> Result<()> {
        let (records, _) = logs::read_metrics::<EpochRecord>(&RunFolder::open(&self.run(MODEL))?.metrics())?;
        let speed = records.last().map(|record| record.timing.samples_per_second).filter(|speed| *speed > 0.0);
        self.budget.step = speed.map_or(self.budget.step, |speed| self.config.batch_size as f64 / speed);
        Ok(())
    }

    /// Measures the model; returns the evaluation.
    fn measure_model(&mut self) -> Result<Value> {
        let (last, file) = (self.last(MODEL), self.folder.join("model.json"));
        let walks = self.args.walks.unwrap_or_else(|| self.budget.walks());
        let mut asked = toml::Table::new();
        asked.insert("model".into(), crc([("", last.as_path())]));
        asked.insert("walks".into(), (walks as i64).into());
        if let Some(value) = self.kept(MODEL_EVAL, &asked, &file) {
            return Ok(value);
        }
        self.begin(3, MODEL_EVAL, "measuring the model");
        let options = WalkOptions { walks, frames: budget::FRAMES, seed: 0 };
        let (trained, gate) = (Trained::load(&last)?, Thresholds::default());
        let (report, gate) = eval::measure(trained, &[], &self.args.compute, &options, Some(&gate))?;
        self.keep(MODEL_EVAL, asked, &file, json!({ "checkpoint": last, "report": report, "gate": gate }))
    }

    /// Trains the controller.
    fn controller(&mut self) -> Result<()> {
        let asked = self.asked_of_controller();
        let updates = |file: &Path| Ok(PolicyConfig::load(file)?.updates());
        let state = self.state(STICK, &asked, "the controller", updates)?;
        let run = self.run(STICK);
        let mut config = match state {
            State::Done => return Ok(()),
            State::Resume => {
                PolicyConfig { vae: self.policy.vae.clone(), ..PolicyConfig::load(&run.join("config.toml"))? }
            }
            State::New => self.policy.clone(),
        };
        self.begin(4, STICK, "training the controller");
        if let (State::New, Some(all)) = (&state, self.budget.seconds) {
            let backend = self.args.compute.open()?;
            let mut setup = PolicySetup::new(&config, backend.as_ref(), None)?;
            let update = crate::control::trainer::seconds_an_update(&mut setup, MEASURED)?;
            drop(setup);
            let [.., episodes, page] = self.budget.stages(self.spent(), 0, &config);
            let all_updates = config.updates();
            let said = match self.budget.updates(&config, update, all - self.spent() - episodes - page) {
                Some(fewer) => {
                    config.updates = fewer;
                    format!("the controller trains for {fewer} of {all_updates} updates")
                }
                None => format!("all {all_updates} updates of the controller fit"),
            };
            self.say(&format!("--minutes {}: {said}, {update:.2} s each", all / 60.0));
        }
        let (runs, resume) = (self.folder.join("runs"), matches!(state, State::Resume).then_some(run.as_path()));
        self.book.write(STICK, asked)?;
        self.training(|| control::sit(&self.sitting(&runs, STICK, resume), &config)).map(drop)
    }

    /// Measures the controller; returns the evaluation.
    fn measure_controller(&mut self) -> Result<Value> {
        let (run, file) = (self.run(STICK), self.folder.join("stick.json"));
        let characters = self.budget.characters();
        let mut asked = toml::Table::new();
        asked.insert("model".into(), crc([("", self.last(MODEL).as_path())]));
        asked.insert("controller".into(), crc([("", self.last(STICK).as_path())]));
        asked.insert("characters".into(), (characters as i64).into());
        if let Some(value) = self.kept(STICK_EVAL, &asked, &file) {
            return Ok(value);
        }
        self.begin(5, STICK_EVAL, "measuring the controller");
        let mut trained = control::Trained::of_run(&RunFolder::open(&run)?)?;
        // The folder may have been moved since.
        trained.config.vae = self.policy.vae.clone();
        let backend = self.args.compute.open()?;
        let gate = PolicyThresholds::default();
        let measured = control::measure(&trained, &[], backend.as_ref(), (characters, 1), None, Some(&gate))?;
        self.keep(STICK_EVAL, asked, &file, measured.json(&trained))
    }

    /// Writes the page, which shows a line `note` if there is one.
    fn page(&mut self, note: Option<String>) -> Result<()> {
        let file = self.folder.join(PAGE_FILE);
        let mut asked = toml::Table::new();
        asked.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        asked.insert("model".into(), crc([("", self.last(MODEL).as_path())]));
        asked.insert("controller".into(), crc([("", self.last(STICK).as_path())]));
        asked.extend(note.iter().map(|note| ("note".to_owned(), note.as_str().into())));
        if self.book.is(PAGE, &asked) && file.is_file() {
            return Ok(());
        }
        self.begin(6, PAGE, "writing the page");
        let args = ShipArgs {
            run: self.run(MODEL),
            controller: Some(self.run(STICK)),
            format: Some(Format::Html),
            opset: None,
            data: Vec::new(),
            output: None,
            runs: self.folder.join("runs"),
            json: false,
        };
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        let mut shipped = ship::shipped(&args, &name)?;
        shipped.note = note;
        self.book.forget(PAGE)?;
        shipped.write(Format::Html, Opset::default(), &file)?;
        self.book.write(PAGE, asked)
    }

    /// The evaluation in a file, if it is of what is `asked` for.
    fn kept(&self, stage: &str, asked: &toml::Table, file: &Path) -> Option<Value> {
        let text = crate::host::files::text(file, 64 << 20).ok().filter(|_| self.book.is(stage, asked))?;
        serde_json::from_str(&text).ok()
    }

    /// Writes an evaluation and returns it.
    fn keep(&mut self, stage: &str, asked: toml::Table, file: &Path, evaluation: Value) -> Result<Value> {
        self.book.forget(stage)?;
        atomic::write(file, format!("{evaluation:#}\n").as_bytes())?;
        self.book.write(stage, asked)?;
        Ok(evaluation)
    }
}

/// A table with one more entry.
fn with(table: &toml::Table, key: &str, value: toml::Value) -> toml::Table {
    let mut table = table.clone();
    table.insert(key.to_owned(), value);
    table
}

/// The progress in the last checkpoint of a run. Errors: it cannot be read.
fn progress(last: &Path) -> Result<Progress> {
    let progress = Checkpoint::load(last)?.meta.and_then(|meta| meta.progress);
    progress.ok_or_else(|| Error::checkpoint(last, "holds no training state", "remove the run, and it is trained anew"))
}

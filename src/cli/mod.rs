//! The command line: its arguments, and one small function for each command.
//!
//! Results go to standard output (through [`print()`]), everything else to standard error.
mod compute;
mod control;
mod controlled;
pub mod doctor;
pub mod environment;
mod eval;
mod export;
mod gate;
mod generate;
mod import;
mod info;
mod output;
mod population;
mod train;
mod usage;

use crate::backend::{self, Device};
use crate::config::{Config, Overrides, Preset, Variant, layers};
use crate::data::bridges::Means;
use crate::data::{check, counted, npz, synth};
use crate::host::progress::say;
use crate::host::shown::shown;
use crate::infer::trained::Trained;
use crate::run::folder::RunFolder;
use crate::train::setup::require_room;
use crate::{Error, Result, host::memory};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use compute::Compute;
use environment::{OfControl, OfTrain};
use import::{IMPORT_EXAMPLES, ImportArgs};
use std::any::TypeId;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use usage::usage;

/// Trains Motion VAEs: from motion capture to a model that moves.
#[derive(Debug, Parser)]
#[command(name = "mvae-fast", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  mvae-fast train                       train on the built-in synthetic motion
  mvae-fast train walk.npz run.npz      train on motion of your own
  mvae-fast data check walk.npz         what is in a file, before training on it
  mvae-fast doctor                      what this machine offers

Exit codes: 0 done, 1 failure, 2 usage, 3 device, 4 data or checkpoint, 5 a quality gate not met,
128 and a signal's number (HUP 129, INT 130, USR1 138, TERM 143) stopped by it with everything saved";

const TRAIN_EXAMPLES: &str = "\
Examples:
  mvae-fast train
  mvae-fast train walk.npz run.npz --name walk --kl-weight auto
  mvae-fast train walk.npz --preset paper --seed 3
  mvae-fast train --config runs/walk/config.toml --student-epochs 200
  mvae-fast train --resume walk
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

const GRADCHECK_HELP: &str = "\
With --device auto or cpu, gradients are compared with finite differences; with cuda (or simt, in
a build with --features simt) every kernel is compared with its operation's definition, and the
gradients of whole steps with double precision.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a Motion VAE; without data, on a built-in synthetic set
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(Box<TrainArgs>),
    /// Make motion with a trained model
    #[command(after_help = generate::EXAMPLES)]
    Generate(generate::GenerateArgs),
    /// Measure how good a trained model is; with --gate, exit 5 when it is not good enough
    #[command(after_help = eval::EXAMPLES)]
    Eval(eval::EvalArgs),
    /// Train policies that steer a trained model
    #[command(subcommand)]
    Control(control::ControlCommand),
    /// Say what is in a run folder or a checkpoint
    Info(InfoArgs),
    /// Look at motion data, or make some
    #[command(subcommand)]
    Data(DataCommand),
    /// Compare every gradient with finite differences in f64, or kernels with the definitions of
    /// their operations
    #[command(after_help = GRADCHECK_HELP)]
    Gradcheck(GradcheckArgs),
    /// Say what this machine offers
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// Write one page for each command into this folder instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

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
    /// Start from the parameters and statistics of this run or checkpoint, or of a safetensors file
    /// of a bare state dict
    #[arg(long, value_name = "RUN|CHECKPOINT")]
    pub init: Option<PathBuf>,
    /// Train several models side by side: N of them, by seeds from --seed on, or one for each value
    /// of a key; given more than once, one for each combination
    #[arg(long, value_name = "N|KEY=VALUE,...", conflicts_with_all = ["resume", "print_config"])]
    pub population: Vec<population::Axis>,
    /// TOML file of configuration keys, such as a run's config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where every key starts from (default: default); a file may say preset = "paper"
    #[arg(long)]
    pub preset: Option<Preset>,
    /// The device to compute on, and how.
    #[command(flatten)]
    pub compute: Compute,
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

/// Arguments of `info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// A run folder, its name under --runs, or a checkpoint file
    #[arg(value_name = "RUN|CHECKPOINT")]
    pub path: PathBuf,
    /// Folder that holds the run folders
    #[arg(long, value_name = "DIR", env = "MVAE_RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
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

/// Arguments of `gradcheck`.
#[derive(Debug, Args)]
pub struct GradcheckArgs {
    /// Only this network (default: all)
    #[arg(long)]
    pub variant: Option<Variant>,
    /// The device to compute on, and how.
    #[command(flatten)]
    pub compute: Compute,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Folder that holds the run folders
    #[arg(long, value_name = "DIR", env = "MVAE_RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

impl TrainArgs {
    /// The configuration from flags, environment, file and preset; earlier ones win.
    ///
    /// With `--resume` it is the run's own configuration. Flags may then change only
    /// [`Config::FREE`] keys, the environment only `checkpoint_every` and `max_minutes`.
    pub fn config(&self) -> Result<Config> {
        match &self.resume {
            Some(run) => self.resumed(&RunFolder::open(&run_folder(&self.runs, run))?),
            None => self.with(Overrides::default()),
        }
    }

    /// The configuration of a new run; the keys in `own` win over all others.
    fn with(&self, own: Overrides) -> Result<Config> {
        let environment = &self.environment;
        let text = self.config.as_deref().map(layers::read).transpose()?;
        let file = self.config.as_deref().zip(text.as_deref());
        Config::layered(self.preset.or(environment.preset), file, &environment.keys, &own.or(self.flags()))
    }

    /// The configuration of a resumed run, with the keys that may change.
    fn resumed(&self, folder: &RunFolder) -> Result<Config> {
        let Overrides { checkpoint_every, max_minutes, .. } = self.environment.keys;
        let environment = Overrides { checkpoint_every, max_minutes, ..Overrides::default() };
        resumed(folder, &environment, &self.flags())
    }

    /// Keys from flags, and from the positional arguments, which are data files.
    fn flags(&self) -> Overrides {
        let mut flags = self.overrides.clone();
        if !self.files.is_empty() {
            flags.data.get_or_insert_default().splice(0..0, self.files.iter().cloned());
        }
        flags
    }

    /// Variables that are set but ignored, because a resumed run already has its configuration.
    fn unheard(&self) -> Vec<String> {
        let OfTrain { keys, preset, .. } = &self.environment;
        let keys = Overrides { checkpoint_every: None, max_minutes: None, ..keys.clone() }.keys();
        let unheard = keys.into_iter().chain(preset.map(|_| "preset")).map(layers::variable);
        unheard.filter(|_| self.resume.is_some()).collect()
    }
}

/// Refuses the run of a Motion VAE where a controller is expected, and the reverse. A configuration
/// that cannot be read passes: loading it reports the error.
fn of_kind(folder: &RunFolder, controller: bool, mend: &str) -> Result<()> {
    let table = layers::read(&folder.config()).ok().and_then(|text| text.parse::<toml::Table>().ok());
    match table.map(|table| table.contains_key("task")) {
        Some(true) if !controller => Err(Error::checkpoint(folder.path(), "is the run of a controller", mend)),
        Some(false) if controller => Err(Error::checkpoint(folder.path(), "is the run of a Motion VAE", mend)),
        _ => Ok(()),
    }
}

/// Turns the error of an unreadable configuration into an error about the run.
fn not_as_written(path: &Path) -> impl Fn(Error) -> Error + Copy + use<'_> {
    let mend = "restore the file as the run wrote it, or take the version of mvae-fast that did";
    move |e| Error::checkpoint(path, e.to_string(), mend)
}

/// The configuration of a resumed run, with the keys that may change.
fn resumed(folder: &RunFolder, environment: &Overrides, flags: &Overrides) -> Result<Config> {
    of_kind(folder, false, "go on with it by mvae-fast control train --resume")?;
    let file = folder.config();
    let restore = not_as_written(folder.path());
    let text = layers::read(&file).map_err(restore)?;
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

/// Makes paths absolute, so that a run may be resumed from another folder.
fn absolute(paths: &mut [PathBuf]) -> Result<()> {
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
fn checkpoint_file(runs: &Path, run: &Path) -> Result<(PathBuf, Option<RunFolder>)> {
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
fn trained(runs: &Path, run: &Path) -> Result<Trained> {
    let trained = Trained::load(&checkpoint_file(runs, run)?.0)?;
    trained.unfinished().iter().for_each(|note| say(note));
    Ok(trained)
}

/// Lets every flag that takes a value take a negative number, so that our own message refuses it.
/// Lets a flag that takes true or false stand alone for true.
fn with_lenient_values(command: clap::Command) -> clap::Command {
    let allow = |arg: clap::Arg| {
        if arg.is_positional() || !arg.get_action().takes_values() {
            return arg;
        }
        let arg = arg.allow_negative_numbers(true);
        match arg.get_value_parser().type_id() == TypeId::of::<bool>() {
            true => arg.num_args(0..=1).default_missing_value("true"),
            false => arg,
        }
    };
    command.mut_args(allow).mut_subcommands(with_lenient_values)
}

/// Adds the default value of each key to the help of a command; `defaults` is a configuration in
/// TOML.
fn with_defaults(command: clap::Command, defaults: &str) -> clap::Command {
    let defaults: toml::Table = defaults.parse().expect("it is TOML");
    command.mut_args(|arg| {
        let value = match defaults.get(arg.get_id().as_str()) {
            None | Some(toml::Value::Array(_)) => return arg,
            Some(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        if value.is_empty() { arg } else { arg.help(format!("{help} [default: {value}]")) }
    })
}

/// The whole command line, with the default preset's values in the help of `train`, `control train`
/// and `data check`.
pub fn command() -> clap::Command {
    let (train, control) = (Config::default().to_toml(), crate::control::config::Config::default().to_toml());
    let command = Cli::command()
        .mut_subcommand("train", |command| with_defaults(command, &train))
        .mut_subcommand("data", |data| data.mut_subcommand("check", |command| with_defaults(command, &train)))
        .mut_subcommand("control", |all| all.mut_subcommand("train", |command| with_defaults(command, &control)));
    with_lenient_values(command)
}

/// Reads the arguments and the environment of this process; `--help` and `--version` end it.
/// Errors: invalid arguments or variables.
pub fn parse() -> Result<Cli> {
    let matches = command().try_get_matches();
    if let Err(error) = &matches
        && (!error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
    {
        let printed = error.print().and_then(|()| std::io::stdout().flush());
        if !error.use_stderr() {
            printed.map_err(cannot_print)?;
        }
        std::process::exit(error.exit_code());
    }
    // If the command cannot be parsed, the environment is read as that of `train`.
    let control = matches.as_ref().is_ok_and(|matches| matches.subcommand_name() == Some("control"));
    let (mut of_train, mut of_control) = (OfTrain::default(), OfControl::default());
    match control {
        true => of_control = OfControl::read(std::env::vars_os())?,
        false => of_train = OfTrain::read(std::env::vars_os())?,
    }
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    let mut cli = cli.map_err(|error| usage(&error, str::to_owned))?;
    match &mut cli.command {
        Command::Train(train) => train.environment = of_train,
        Command::Control(control::ControlCommand::Train(train)) => train.environment = of_control,
        _ => (),
    }
    Ok(cli)
}

/// Runs the command.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Train(args) => train::train(&args),
        Command::Generate(args) => generate::generate(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::Control(command) => control::control(&command),
        Command::Info(args) => info::info(&args),
        Command::Data(DataCommand::Check { files, keys, json }) => data_check(&files, &keys, json),
        Command::Data(DataCommand::Export(args)) => export::export(&args.file, args.clip.as_deref(), &args.output),
        Command::Data(DataCommand::Import(args)) => import::import(&args),
        Command::Data(DataCommand::Synth { output, frames, clip_frames, seed }) => {
            data_synth(&output, (frames.get(), clip_frames.get()), seed)
        }
        Command::Gradcheck(args) => gradcheck(&args),
        Command::Doctor(args) => doctor(&args),
        Command::Completions { shell } => completions(shell),
        Command::Man { dir } => man(dir.as_deref()),
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

fn gradcheck(args: &GradcheckArgs) -> Result<()> {
    let all = Variant::value_variants();
    let variants = args.variant.as_ref().map_or(all, std::slice::from_ref);
    if matches!(args.compute.device, Device::Auto | Device::Cpu) {
        // Finite differences need double precision, which the kernels lack.
        let Compute { precision, engine, .. } = args.compute;
        let backend = backend::open(Device::Cpu, precision, engine, args.compute.threads(), 1)?;
        let report = crate::check::gradcheck::run(variants, backend.as_ref())?;
        return print_report(&report, args.json, report.verdict());
    }
    let backend = args.compute.open()?;
    let report = crate::check::kernelcheck::run(variants, backend.as_ref())?;
    print_report(&report, args.json, report.verdict())
}

fn print_report(report: &(impl serde::Serialize + std::fmt::Display), json: bool, verdict: Result<()>) -> Result<()> {
    let text = match json {
        true => format!("{}\n", serde_json::to_string(report).expect("plain values")),
        false => report.to_string(),
    };
    print_and(&text, verdict)
}

fn doctor(args: &DoctorArgs) -> Result<()> {
    let report = doctor::Report::new(&args.runs);
    if args.json {
        let json = serde_json::to_string_pretty(&report).expect("plain values");
        return print(&format!("{json}\n"));
    }
    print(&report.to_string())
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "mvae-fast", &mut script);
    print(&String::from_utf8_lossy(&script))
}

fn man(dir: Option<&Path>) -> Result<()> {
    if let Some(dir) = dir {
        std::fs::create_dir_all(dir).map_err(Error::io(dir, "cannot make the folder"))?;
        let written = clap_mangen::generate_to(command(), dir);
        return written.map_err(Error::io(dir, "cannot write the manual pages"));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command()).render(&mut page).expect("memory takes every write");
    print(&String::from_utf8_lossy(&page))
}

/// Writes a result to standard output, with invisible characters [escaped](shown). A closed pipe is
/// an [`Error::Io`] of kind `BrokenPipe`.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(shown(text).as_bytes()).and_then(|()| out.flush());
    written.map_err(cannot_print)
}

/// Prints a result and returns its verdict; a verdict that is an error wins over an error of
/// printing.
fn print_and(text: &str, verdict: Result<()>) -> Result<()> {
    let printed = print(text);
    verdict.and(printed)
}

fn cannot_print(error: std::io::Error) -> Error {
    Error::io(Path::new("standard output"), "cannot write")(error)
}

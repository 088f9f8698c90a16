//! The command line: its arguments, and one small function for each command.
//!
//! Results go to standard output (through [`print()`]), everything else to standard error.
mod axis;
mod character;
mod compute;
mod control;
mod controlled;
mod data;
pub mod doctor;
mod eval;
mod export;
mod generate;
mod gradcheck;
mod import;
mod info;
mod output;
mod pilot;
mod plan;
mod population;
mod print;
mod runs;
mod ship;
mod steering;
mod stop;
mod sweep;
mod thresholds;
mod train;
mod usage;
pub mod variables;

use crate::config::Config;
use crate::host::say::say;
use crate::{Error, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
pub use compute::Compute;
pub use output::require_new_set;
use print::cannot_print;
pub use print::print;
pub use runs::{Kind, checkpoint_file};
use std::any::TypeId;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use usage::usage;
use variables::{OfControl, OfTrain};

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
  mvae-fast character walks/ -o walk    from a folder of BVH files to a page to play with
  mvae-fast train                       train on the built-in synthetic motion
  mvae-fast train walk.npz run.npz      train on motion of your own
  mvae-fast data check walk.npz         what is in a file, before training on it
  mvae-fast doctor                      what this machine offers

Exit codes: 0 done, 1 failure, 2 usage, 3 device, 4 data or checkpoint, 5 a quality gate not met,
128 and a signal's number (HUP 129, INT 130, USR1 138, TERM 143) stopped by it with everything saved";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a Motion VAE; without data, on a built-in synthetic set
    #[command(after_help = train::EXAMPLES)]
    Train(Box<train::TrainArgs>),
    /// Make motion with a trained model
    #[command(after_help = generate::EXAMPLES)]
    Generate(Box<generate::GenerateArgs>),
    /// Train and measure many models or controllers that differ in some keys
    #[command(after_help = sweep::EXAMPLES)]
    Sweep(Box<sweep::SweepArgs>),
    /// From motion to a character to play with: import, train, steer, measure and export
    #[command(after_help = character::EXAMPLES)]
    Character(Box<character::CharacterArgs>),
    /// Write a trained character for other programs
    #[command(after_help = ship::EXAMPLES)]
    Export(ship::ShipArgs),
    /// Measure how good a trained model is; with --gate, exit 5 when it is not good enough
    #[command(after_help = eval::EXAMPLES)]
    Eval(eval::EvalArgs),
    /// Train policies that steer a trained model
    #[command(subcommand)]
    Control(control::ControlCommand),
    /// Say what is in a run folder or a checkpoint
    Info(info::InfoArgs),
    /// Look at motion data, or make some
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Compare every gradient with finite differences in f64, or kernels with the definitions of
    /// their operations
    #[command(after_help = gradcheck::HELP)]
    Gradcheck(gradcheck::GradcheckArgs),
    /// Show a training step as it runs: its calls, what waits for what, the modelled time
    #[command(after_help = plan::HELP)]
    Plan(Box<plan::PlanArgs>),
    /// Say what this machine offers
    Doctor(doctor::DoctorArgs),
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

/// The whole command line, with the default preset's values in the help of `train`, `plan`,
/// `control train` and `data check`.
pub fn command() -> clap::Command {
    let (train, control) = (Config::default().to_toml(), crate::control::config::PolicyConfig::default().to_toml());
    let command = Cli::command()
        .mut_subcommand("train", |command| with_defaults(command, &train))
        .mut_subcommand("plan", |command| with_defaults(command, &train))
        .mut_subcommand("data", |data| data.mut_subcommand("check", |command| with_defaults(command, &train)))
        .mut_subcommand("control", |all| all.mut_subcommand("train", |command| with_defaults(command, &control)));
    with_lenient_values(command)
}

/// Parses the arguments, of which the first is the program, runs the command, prints an error on
/// one line and returns the exit code. `--help` and `--version` end the process.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let error = match parse(arguments).and_then(run) {
        Ok(()) => return 0,
        Err(error) => error,
    };
    if matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe) {
        return 0; // the reader has what it wanted, as in `| head`
    }
    say(&format!("error: {}", error.line()));
    error.exit_code()
}

/// Reads the arguments and the environment of this process; `--help` and `--version` end it.
/// Errors: invalid arguments or variables.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli> {
    let matches = command().try_get_matches_from(arguments);
    if let Err(error) = &matches
        && (!error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
    {
        let printed = error.print().and_then(|()| io::stdout().flush());
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
fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Train(args) => {
            args.say_unheard();
            match population::members(&args)? {
                Some(members) => population::run(&args, members),
                None => train::run(&args),
            }
        }
        Command::Generate(args) if args.is_steered() => controlled::generate(&args),
        Command::Generate(args) => generate::generate(&args),
        Command::Sweep(args) => sweep::sweep(&args),
        Command::Character(args) => character::character(&args),
        Command::Export(args) => ship::export(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::Control(command) => control::control(&command),
        Command::Info(args) => info::info(&args),
        Command::Data(command) => data::data(&command),
        Command::Gradcheck(args) => gradcheck::gradcheck(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions { shell } => completions(shell),
        Command::Man { dir } => man(dir.as_deref()),
    }
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

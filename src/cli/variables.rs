//! The environment as a layer of the configuration: `MVAE_<KEY>` for every key of a command, and
//! for a few other flags.
use super::usage::usage;
use crate::backend::{Devices, Engine};
use crate::config;
use crate::config::layers::{flag, nearest, variable};
use crate::control;
use crate::plan::Precision;
use crate::{Error, Result};
use clap::builder::EnumValueParser;
use clap::{Args, CommandFactory, Parser, ValueEnum};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Variables for builds, tests and benchmarks, which are not flags of this program.
const OTHERS: &[&str] = &[
    "MVAE_CUBINS",
    "MVAE_CUDA",
    "MVAE_GIT_COMMIT",
    "MVAE_GOLDEN_DIR",
    "MVAE_NVCC",
    "MVAE_SYNC",
    "MVAE_TEST_WRITER",
    "MVAE_TIMELINE",
];

/// The environment as `train` reads it.
pub type OfTrain = Variables<config::Preset, config::Overrides>;
/// The environment as `control train` reads it.
pub type OfControl = Variables<control::config::Preset, control::config::Overrides>;

/// The values of the environment variables. Each field is one variable that a command reads, and
/// its value is written like that of the flag of the same name.
#[derive(Debug, Clone, Default, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub struct Variables<P: ValueEnum + Clone + Send + Sync + 'static, K: Args> {
    /// `MVAE_PRESET`.
    #[arg(long, value_parser = EnumValueParser::<P>::new())]
    pub preset: Option<P>,
    /// `MVAE_DEVICE`. The flags read it by themselves, like the next four.
    #[arg(long)]
    pub device: Option<Devices>,
    /// `MVAE_PRECISION`.
    #[arg(long)]
    pub precision: Option<Precision>,
    /// `MVAE_ENGINE`.
    #[arg(long)]
    pub engine: Option<Engine>,
    /// `MVAE_THREADS`.
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
    /// `MVAE_RUNS`.
    #[arg(long)]
    pub runs: Option<PathBuf>,
    /// `MVAE_<KEY>`.
    #[command(flatten)]
    pub keys: K,
}

impl<P: ValueEnum + Clone + Send + Sync + 'static, K: Args> Variables<P, K> {
    /// Reads `variables`. It skips those that do not start with `MVAE_` and those of other
    /// commands. Errors: an unknown variable, with the nearest name, and a bad value.
    pub fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self> {
        let names = |command: clap::Command| -> Vec<String> {
            command.get_arguments().map(|argument| argument.get_id().to_string()).collect()
        };
        let (own, known) = (names(Self::command()), [OfTrain::command(), OfControl::command()].map(names).concat());
        let mut flags = Vec::new();
        for (name, value) in variables {
            let name = name.to_string_lossy();
            let Some(key) = name.strip_prefix("MVAE_").filter(|_| !OTHERS.contains(&&*name)) else {
                continue;
            };
            let Some(key) = known.iter().find(|known| variable(known) == name) else {
                let near = variable(nearest(key, known.iter().map(String::as_str)));
                return Err(Error::Usage(format!(
                    "unknown environment variable {name}; did you mean {near}? if not, unset it"
                )));
            };
            if own.contains(key) {
                let mut words = OsString::from(flag(key) + "=");
                words.push(value);
                flags.push(words);
            }
        }
        let name = |flag: &str| variable(flag.trim_start_matches('-')).replace('-', "_");
        Self::try_parse_from(flags).map_err(|error| usage(&error, name))
    }
}

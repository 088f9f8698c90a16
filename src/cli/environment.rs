//! The environment as a layer of the configuration: `MVAE_<KEY>` for every key, and for a few flags besides.
use super::usage::usage;
use crate::backend::{Device, Engine};
use crate::config::{Overrides, Preset, flag, nearest, variable};
use crate::plan::Precision;
use crate::{Error, Result};
use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Variables of builds, tests and benchmarks, which are none of this program's.
const OTHERS: &[&str] = &["MVAE_GIT_COMMIT", "MVAE_GOLDEN_DIR", "MVAE_PTXAS", "MVAE_SYNC", "MVAE_TEST_WRITER"];

/// What the variables say, each in the words of the flag of its name. Every variable that may be set is a field.
#[derive(Debug, Clone, Default, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub struct Environment {
    /// `MVAE_PRESET`.
    #[arg(long)]
    pub preset: Option<Preset>,
    /// `MVAE_DEVICE`, which the flags fall back on by themselves, as on the next four.
    #[arg(long)]
    pub device: Option<Device>,
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
    pub keys: Overrides,
}

impl Environment {
    /// Reads `variables`, of which those that do not start with `MVAE_` are passed over. Errors: an unknown one, which
    /// names the nearest, and a bad value.
    pub fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self> {
        let command = Environment::command();
        let known: Vec<&str> = command.get_arguments().map(|argument| argument.get_id().as_str()).collect();
        let mut flags = Vec::new();
        for (name, value) in variables {
            let name = name.to_string_lossy();
            let Some(key) = name.strip_prefix("MVAE_").filter(|_| !OTHERS.contains(&&*name)) else {
                continue;
            };
            let Some(&key) = known.iter().find(|known| variable(known) == name) else {
                let near = variable(nearest(key, known));
                return Err(Error::Usage(format!(
                    "unknown environment variable {name}; did you mean {near}? if not, unset it"
                )));
            };
            let mut words = OsString::from(flag(key) + "=");
            words.push(value);
            flags.push(words);
        }
        let name = |flag: &str| variable(flag.trim_start_matches('-')).replace('-', "_");
        Environment::try_parse_from(flags).map_err(|error| usage(&error, name))
    }
}

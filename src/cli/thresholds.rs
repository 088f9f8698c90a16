//! `--gate`: thresholds; the program exits with 5 unless they are met.
use crate::Result;
use crate::quality::thresholds;
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// The thresholds that must be met.
#[derive(Debug, clap::Args)]
pub struct GateArg {
    /// Exit 5 unless these thresholds (TOML; without a file the built-in ones) are met
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub gate: Option<Option<PathBuf>>,
}

impl GateArg {
    /// The thresholds of the flag, if it is given; `docs` names the page that lists the keys.
    /// Errors: a file that cannot be read.
    pub fn load<G: Default + DeserializeOwned>(&self, docs: &str) -> Result<Option<G>> {
        self.gate
            .as_ref()
            .map(|file| file.as_ref().map_or_else(|| Ok(G::default()), |file| thresholds::load(file, docs)))
            .transpose()
    }
}

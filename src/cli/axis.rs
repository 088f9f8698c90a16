//! The values of `--population`: in what its runs differ.
use crate::Result;
use crate::config::Config;
use crate::config::layers::nearest;
use std::str::FromStr;

/// Largest number of runs in a population.
pub const MOST: usize = 1024;

/// One way in which the runs of a population differ.
#[derive(Debug, Clone)]
pub enum Axis {
    /// This number of seeds.
    Seeds(usize),
    /// A key, with one run for each of these values.
    Values(String, Vec<String>),
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((key, values)) = text.split_once('=') else {
            let seeds = text.parse().ok().filter(|seeds| (1..=MOST).contains(seeds));
            return seeds.map(Axis::Seeds).ok_or(format!("expected a number from 1 to {MOST}, or KEY=VALUE,VALUE,..."));
        };
        let key = key.trim_start_matches('-').replace('-', "_");
        let keys = || Config::KEYS.iter().copied().filter(|key| !Config::FREE.contains(key));
        if !keys().any(|known| known == key) {
            return Err(format!("expected a key that changes the model, such as {}", nearest(&key, keys())));
        }
        Ok(Axis::Values(key, values.split(',').map(str::to_owned).collect()))
    }
}

//! Thresholds that a model must meet, and how thresholds of any kind are read and held against
//! numbers.
use super::Report;
use crate::config::layers;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Bounds; a key that is absent bounds nothing. The default asks for a model that is alive, stays
/// among the data's poses and goes as they do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Smallest share of latent dimensions that are active.
    pub active_units: Option<f64>,
    /// Smallest share of walks that never leave the envelope.
    pub inside: Option<f64>,
    /// Largest difference of a speed quantile from the data's, as a share of it.
    pub speed_share: Option<f64>,
    /// A difference that is always allowed, m/s.
    pub speed_metres: Option<f64>,
    /// Largest foot skate, in those of the data.
    pub skate: Option<f64>,
    /// Smallest share of frames in which a foot is in contact, in that of the data.
    pub contact: Option<f64>,
    /// Largest held-out one-step error.
    pub one_step_error: Option<f64>,
    /// Largest held-out error after 30 frames.
    pub error_30: Option<f64>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate {
            active_units: Some(0.75),
            inside: Some(0.98),
            speed_share: Some(0.1),
            speed_metres: Some(0.1),
            skate: Some(1.5),
            contact: Some(0.75),
            one_step_error: None,
            error_30: None,
        }
    }
}

/// One threshold, looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// What was asked.
    pub name: String,
    /// What was found; none where it could not be measured.
    pub value: Option<f64>,
    /// What it must not pass.
    pub bound: f64,
    /// Whether it was met. What could not be measured is not.
    pub met: bool,
}

impl Verdict {
    /// Whether a number is as large as it is to be.
    pub fn at_least(name: impl Into<String>, value: Option<f64>, bound: f64) -> Self {
        Verdict { name: name.into(), value, bound, met: value.is_some_and(|x| x >= bound) }
    }

    /// Whether a number is as small as it is to be.
    pub fn at_most(name: impl Into<String>, value: Option<f64>, bound: f64) -> Self {
        Verdict { name: name.into(), value, bound, met: value.is_some_and(|x| x <= bound) }
    }
}

/// Reads thresholds: TOML, the keys those of `G`, which `docs` lists. Errors: no such file, no
/// TOML, a key that is not known, no key at all.
pub fn load<G: DeserializeOwned>(path: &Path, docs: &str) -> Result<G> {
    let text = layers::read(path)?;
    let usage = |error: String| Error::Usage(format!("{error}; see {docs} for the keys"));
    // A file means what it says: a key that it leaves out bounds nothing. Without any, every model
    // would pass.
    let gate = layers::parse(path, &text).map_err(|error| usage(error.to_string()))?;
    match layers::parse::<toml::Table>(path, &text)?.is_empty() {
        true => Err(usage(format!("{}: holds no threshold", path.display()))),
        false => Ok(gate),
    }
}

impl Gate {
    /// Holds a report against the thresholds.
    pub fn judge(&self, report: &Report) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut at_least = |name: &str, value: Option<f64>, bound: Option<f64>| {
            verdicts.extend(bound.map(|bound| Verdict::at_least(name, value, bound)));
        };
        let (p, w) = (&report.posterior, &report.walks);
        let feet = |gait: &Option<super::gait::GaitReport>| gait.as_ref().and_then(|gait| gait.feet.clone());
        let both = feet(&w.gait).zip(feet(&w.data_gait));
        // Codes stand in for latent dimensions in vq: those that are used.
        let active = match p.active_units {
            Some(active) => active as f64 / p.latents as f64,
            None => p.expert_use.iter().filter(|&&share| share > 0.0).count() as f64 / p.expert_use.len().max(1) as f64,
        };
        at_least("active_units", Some(active), self.active_units);
        at_least("inside", Some(w.inside), self.inside);
        at_least("contact", both.as_ref().map(|(walks, data)| walks.contact / data.contact), self.contact);

        let mut at_most = |name: String, value: Option<f64>, bound: Option<f64>| {
            verdicts.extend(bound.map(|bound| Verdict::at_most(name, value, bound)));
        };
        at_most("skate".into(), both.as_ref().map(|(walks, data)| walks.skate / data.skate), self.skate);
        if self.speed_share.is_some() || self.speed_metres.is_some() {
            for (i, quantile) in [5, 50, 95].into_iter().enumerate() {
                let speeds = w.gait.as_ref().zip(w.data_gait.as_ref()).map(|(a, b)| (a.speed[i], b.speed[i]));
                let share = self.speed_share.unwrap_or(0.0) * speeds.map_or(0.0, |(_, data)| data);
                let bound = share.max(self.speed_metres.unwrap_or(0.0));
                let off = speeds.map(|(walks, data)| (walks - data).abs());
                at_most(format!("speed, {quantile} % quantile: off by m/s"), off, Some(bound));
            }
        }
        let error = |frames| report.reconstruction.iter().find(|h| h.frames == frames).and_then(|h| h.error);
        at_most("one_step_error".into(), error(1), self.one_step_error);
        at_most("error_30".into(), error(30), self.error_30);
        verdicts
    }
}

/// An error that names the thresholds that were not met, if any.
pub fn verdict(verdicts: &[Verdict]) -> Result<()> {
    let number = |x: Option<f64>| x.map_or_else(|| "not measured".into(), |x| format!("{x:.3}"));
    let missed: Vec<String> = verdicts
        .iter()
        .filter(|verdict| !verdict.met)
        .map(|verdict| format!("{} is {}, bound {:.3}", verdict.name, number(verdict.value), verdict.bound))
        .collect();
    if missed.is_empty() { Ok(()) } else { Err(Error::Gate(format!("not met: {}", missed.join("; ")))) }
}

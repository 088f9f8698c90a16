//! Thresholds that a model must meet. Also reads thresholds of any kind and compares numbers with
//! them.
use super::Report;
use crate::host::toml as toml_file;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Thresholds for a model; an absent key sets no threshold. The defaults require a model that uses
/// its latent, stays among the data's poses and moves as fast and as firmly as the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Smallest share of latent dimensions that are active.
    pub active_units: Option<f64>,
    /// Smallest share of walks that never leave the envelope.
    pub inside: Option<f64>,
    /// Largest difference of a speed quantile from the data's, as a share of the latter.
    pub speed_share: Option<f64>,
    /// A difference of speed quantiles that is always allowed, m/s.
    pub speed_metres: Option<f64>,
    /// Largest foot skate, as a multiple of the data's.
    pub skate: Option<f64>,
    /// Smallest share of frames in which a foot is in contact, as a multiple of the data's.
    pub contact: Option<f64>,
    /// Largest held-out one-step error.
    pub one_step_error: Option<f64>,
    /// Largest held-out error after 30 frames.
    pub error_30: Option<f64>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
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

/// One threshold, and the number that was compared with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Name of the measured quantity.
    pub name: String,
    /// The measured number; none where it could not be measured.
    pub value: Option<f64>,
    /// The threshold: an upper or a lower bound.
    pub bound: f64,
    /// True if the threshold was met. A number that could not be measured does not meet it.
    pub met: bool,
}

impl Verdict {
    /// Compares a number with a lower bound.
    pub fn at_least(name: impl Into<String>, value: Option<f64>, bound: f64) -> Self {
        Verdict { name: name.into(), value, bound, met: value.is_some_and(|x| x >= bound) }
    }

    /// Compares a number with an upper bound.
    pub fn at_most(name: impl Into<String>, value: Option<f64>, bound: f64) -> Self {
        Verdict { name: name.into(), value, bound, met: value.is_some_and(|x| x <= bound) }
    }
}

/// Reads thresholds from TOML. The keys are those of `G`, which the page `docs` lists. Errors: no
/// such file, no TOML, an unknown key, no key at all.
pub fn load<G: DeserializeOwned>(path: &Path, docs: &str) -> Result<G> {
    let text = toml_file::read(path)?;
    let usage = |error: String| Error::Usage(format!("{error}; see {docs} for the keys"));
    // A key that the file leaves out sets no threshold. A file without any key is an error, as
    // every model would pass.
    let gate = toml_file::parse(path, &text).map_err(|error| usage(error.to_string()))?;
    match toml_file::parse::<toml::Table>(path, &text)?.is_empty() {
        true => Err(usage(format!("{}: holds no threshold", path.display()))),
        false => Ok(gate),
    }
}

impl Thresholds {
    /// Compares a report with the thresholds.
    pub fn judge(&self, report: &Report) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut at_least = |name: &str, value: Option<f64>, bound: Option<f64>| {
            verdicts.extend(bound.map(|bound| Verdict::at_least(name, value, bound)));
        };
        let (p, w) = (&report.posterior, &report.walks);
        let feet = |gait: &Option<super::gait::GaitReport>| gait.as_ref().and_then(|gait| gait.feet.clone());
        let both = feet(&w.gait).zip(feet(&w.data_gait));
        // A vq model has codes instead of latent dimensions: the codes in use count as active.
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

/// An error that names the thresholds that were not met; `Ok` if all were.
pub fn verdict(verdicts: &[Verdict]) -> Result<()> {
    let number = |x: Option<f64>| x.map_or_else(|| "not measured".into(), |x| format!("{x:.3}"));
    let missed: Vec<String> = verdicts
        .iter()
        .filter(|verdict| !verdict.met)
        .map(|verdict| format!("{} is {}, bound {:.3}", verdict.name, number(verdict.value), verdict.bound))
        .collect();
    if missed.is_empty() { Ok(()) } else { Err(Error::Gate(format!("not met: {}", missed.join("; ")))) }
}

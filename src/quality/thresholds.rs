//! Thresholds that a model must meet. Also reads thresholds of any kind and compares numbers with
//! them.
use super::distance::Distance;
use super::gait::GaitReport;
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
    /// Largest difference of a quantile of the turn rate from the data's, as a share of the latter.
    pub turn_share: Option<f64>,
    /// A difference of quantiles of the turn rate that is always allowed, degrees/s.
    pub turn_degrees: Option<f64>,
    /// Largest factor between the share of the time that walks stand still and the data's.
    pub standing: Option<f64>,
    /// Smallest coverage of held-out poses and velocities, as a multiple of what training frames
    /// cover.
    pub coverage: Option<f64>,
    /// Largest Fréchet distance of poses and velocities, as a multiple of that of training frames.
    pub frechet: Option<f64>,
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
            turn_share: Some(0.15),
            turn_degrees: Some(10.0),
            standing: Some(1.5),
            coverage: Some(0.8),
            frechet: Some(2.0),
            skate: Some(1.5),
            contact: Some(0.75),
            one_step_error: None,
            error_30: None,
        }
    }
}

/// A share of the time that is too small to compare, as few walks show it.
const SELDOM: f64 = 0.01;

/// Quantiles that are compared: their name and unit, where they stand, and the difference allowed
/// as a share and at all times.
type Quantiles = (&'static str, &'static str, fn(&GaitReport) -> [f64; 3], Option<f64>, Option<f64>);

/// The numbers of a model that thresholds bound.
pub struct Measured<'a> {
    /// Share of latent dimensions that are active, or of codes that are in use.
    pub active: f64,
    /// Share of walks that never leave the envelope.
    pub inside: f64,
    /// Gait of the walks, if it was measured.
    pub gait: Option<&'a GaitReport>,
    /// Gait of the data.
    pub data_gait: Option<&'a GaitReport>,
    /// Distances of poses and of velocities from held-out ones.
    pub distances: [Option<&'a Distance>; 2],
    /// Held-out errors after 1 and 30 frames.
    pub errors: [Option<f64>; 2],
}

/// One threshold, and the number that was compared with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub(crate) fn at_least(name: impl Into<String>, value: Option<f64>, bound: f64) -> Self {
        Verdict { name: name.into(), value, bound, met: value.is_some_and(|x| x >= bound) }
    }

    /// Compares a number with an upper bound.
    pub(crate) fn at_most(name: impl Into<String>, value: Option<f64>, bound: f64) -> Self {
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
    /// These thresholds without those of distances from held-out poses, which take long to measure.
    pub(crate) fn without_distances(self) -> Self {
        Thresholds { coverage: None, frechet: None, ..self }
    }

    /// Compares measured numbers with the thresholds.
    pub(crate) fn judge(&self, measured: &Measured) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut at_least = |name: &str, value: Option<f64>, bound: Option<f64>| {
            verdicts.extend(bound.map(|bound| Verdict::at_least(name, value, bound)));
        };
        let gaits = measured.gait.zip(measured.data_gait);
        let feet = gaits.and_then(|(walks, data)| walks.feet.as_ref().zip(data.feet.as_ref()));
        let distances = ["poses", "velocities"].into_iter().zip(measured.distances);
        at_least("active_units", Some(measured.active), self.active_units);
        at_least("inside", Some(measured.inside), self.inside);
        at_least("contact", feet.map(|(walks, data)| walks.contact / data.contact), self.contact);
        for (of, distance) in distances.clone() {
            let share = distance.map(|d| d.coverage / d.coverage_of_training);
            at_least(&format!("coverage of {of}"), share, self.coverage);
        }

        let mut at_most = |name: String, value: Option<f64>, bound: Option<f64>| {
            verdicts.extend(bound.map(|bound| Verdict::at_most(name, value, bound)));
        };
        at_most("skate".into(), feet.map(|(walks, data)| walks.skate / data.skate), self.skate);
        let quantiles: [Quantiles; 2] = [
            ("speed", "m/s", |gait| gait.speed, self.speed_share, self.speed_metres),
            ("turn rate", "degrees/s", |gait| gait.turn, self.turn_share, self.turn_degrees),
        ];
        for (name, unit, of, share, always) in quantiles {
            for (i, quantile) in [5, 50, 95].into_iter().enumerate().filter(|_| share.or(always).is_some()) {
                let pair = gaits.map(|(walks, data)| (of(walks)[i], of(data)[i]));
                let share = share.unwrap_or(0.0) * pair.map_or(0.0, |(_, data)| data.abs());
                let off = pair.map(|(walks, data)| (walks - data).abs());
                at_most(format!("{name} at {quantile} % (off by {unit})"), off, Some(share.max(always.unwrap_or(0.0))));
            }
        }
        let factor = |(walks, data): (&GaitReport, &GaitReport)| {
            let (more, less) = (walks.standing.max(data.standing), walks.standing.min(data.standing));
            if more < SELDOM { 1.0 } else { more / less }
        };
        at_most("standing".into(), gaits.map(factor), self.standing);
        for (of, distance) in distances {
            let times = distance.map(|d| d.frechet / d.frechet_of_training);
            at_most(format!("Fréchet distance of {of}"), times, self.frechet);
        }
        at_most("one_step_error".into(), measured.errors[0], self.one_step_error);
        at_most("error_30".into(), measured.errors[1], self.error_30);
        verdicts
    }
}

/// The number of thresholds that are met, and the names of the others, in a line.
pub fn summary(verdicts: &[Verdict]) -> String {
    let missed: Vec<&str> = verdicts.iter().filter(|verdict| !verdict.met).map(|verdict| &*verdict.name).collect();
    let met = verdicts.len() - missed.len();
    match missed.is_empty() {
        true => format!("gate: all {met} met"),
        false => format!("gate: {met} of {} met, not {}", verdicts.len(), missed.join(", ")),
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

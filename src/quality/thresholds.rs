//! Thresholds that a model must meet. Also reads thresholds of any kind and compares numbers with
//! them.
use super::distance::Distance;
use super::gait::GaitReport;
use crate::host::toml as toml_file;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
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
    /// cover; bounds nothing where too few frames are held out.
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

/// Units of numbers that are multiples of the data's and of those of training frames.
const OF_DATA: &str = "times the data's";
const OF_TRAINING: &str = "times training frames'";

/// Measures of a model by name, each with true if the largest value is the best: those of the
/// verdicts, and the held-out errors.
pub const MEASURES: [(&str, bool); 17] = [
    ("active_units", true),
    ("inside", true),
    ("contact", true),
    ("coverage of poses", true),
    ("coverage of velocities", true),
    ("skate", false),
    ("speed at 5 %", false),
    ("speed at 50 %", false),
    ("speed at 95 %", false),
    ("turn rate at 5 %", false),
    ("turn rate at 50 %", false),
    ("turn rate at 95 %", false),
    ("standing", false),
    ("Fréchet distance of poses", false),
    ("Fréchet distance of velocities", false),
    ("one_step_error", false),
    ("error_30", false),
];

/// Smallest share of the time that is compared. A smaller one counts as this, as few walks show it.
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
    /// Distances of poses and of velocities from held-out ones. Without enough held-out frames
    /// there are none, and their thresholds bound nothing.
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
    /// Unit of the number, in words; empty for numbers whose name says it.
    pub unit: String,
    /// The threshold.
    pub bound: f64,
    /// True if the bound is the smallest number that meets the threshold, false if the largest.
    pub least: bool,
    /// True if the threshold was met. A number that could not be measured does not meet it.
    pub met: bool,
}

impl Verdict {
    /// Compares a number with a lower bound.
    pub(crate) fn at_least(name: impl Into<String>, value: Option<f64>, unit: &str, bound: f64) -> Self {
        let value = value.filter(|x| x.is_finite());
        let met = value.is_some_and(|x| x >= bound);
        Verdict { name: name.into(), value, unit: unit.into(), bound, least: true, met }
    }

    /// Compares a number with an upper bound.
    pub(crate) fn at_most(name: impl Into<String>, value: Option<f64>, unit: &str, bound: f64) -> Self {
        let value = value.filter(|x| x.is_finite());
        let met = value.is_some_and(|x| x <= bound);
        Verdict { name: name.into(), value, unit: unit.into(), bound, least: false, met }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let short = |x: f64| format!("{x:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
        let value = self.value.map_or_else(|| "not measured".to_owned(), short);
        let (space, unit) = (if self.unit.is_empty() { "" } else { " " }, &self.unit);
        let asked = if self.least { "at least" } else { "at most" };
        write!(f, "{} is {value}{space}{unit} ({asked} {})", self.name, short(self.bound))
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
    /// Compares measured numbers with the thresholds.
    pub(crate) fn judge(&self, measured: &Measured) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut at_least = |name: &str, value: Option<f64>, unit: &str, bound: Option<f64>| {
            verdicts.extend(bound.map(|bound| Verdict::at_least(name, value, unit, bound)));
        };
        let gaits = measured.gait.zip(measured.data_gait);
        let feet = gaits.and_then(|(walks, data)| walks.feet.as_ref().zip(data.feet.as_ref()));
        let distances = ["poses", "velocities"].into_iter().zip(measured.distances);
        let distances = distances.filter_map(|(of, distance)| Some((of, distance?)));
        at_least("active_units", Some(measured.active), "of all", self.active_units);
        at_least("inside", Some(measured.inside), "of walks", self.inside);
        at_least("contact", feet.map(|(walks, data)| walks.contact / data.contact), OF_DATA, self.contact);
        for (of, d) in distances.clone() {
            let share = d.coverage / d.coverage_of_training;
            at_least(&format!("coverage of {of}"), Some(share), OF_TRAINING, self.coverage);
        }

        let mut at_most = |name: String, value: Option<f64>, unit: &str, bound: Option<f64>| {
            verdicts.extend(bound.map(|bound| Verdict::at_most(name, value, unit, bound)));
        };
        at_most("skate".into(), feet.map(|(walks, data)| walks.skate / data.skate), OF_DATA, self.skate);
        let quantiles: [Quantiles; 2] = [
            ("speed", "m/s off", |gait| gait.speed, self.speed_share, self.speed_metres),
            ("turn rate", "degrees/s off", |gait| gait.turn, self.turn_share, self.turn_degrees),
        ];
        for (name, unit, of, share, always) in quantiles {
            for (i, quantile) in [5, 50, 95].into_iter().enumerate().filter(|_| share.or(always).is_some()) {
                let pair = gaits.map(|(walks, data)| (of(walks)[i], of(data)[i]));
                let share = share.unwrap_or(0.0) * pair.map_or(0.0, |(_, data)| data.abs());
                let off = pair.map(|(walks, data)| (walks - data).abs());
                let bound = share.max(always.unwrap_or(0.0));
                at_most(format!("{name} at {quantile} %"), off, unit, Some(bound));
            }
        }
        let factor = |(walks, data): (&GaitReport, &GaitReport)| {
            let (more, less) = (walks.standing.max(data.standing), walks.standing.min(data.standing));
            more.max(SELDOM) / less.max(SELDOM)
        };
        at_most("standing".into(), gaits.map(factor), "times the data's or less than it", self.standing);
        for (of, d) in distances {
            let factor = d.frechet / d.frechet_of_training;
            at_most(format!("Fréchet distance of {of}"), Some(factor), OF_TRAINING, self.frechet);
        }
        at_most("one_step_error".into(), measured.errors[0], "", self.one_step_error);
        at_most("error_30".into(), measured.errors[1], "", self.error_30);
        verdicts
    }
}

/// The number of thresholds that are met, and the names of the others, in a line.
pub fn summary(verdicts: &[Verdict]) -> String {
    let missed: Vec<_> = verdicts.iter().filter(|verdict| !verdict.met).map(|verdict| &*verdict.name).collect();
    let met = verdicts.len() - missed.len();
    match missed.is_empty() {
        true => format!("gate: all {met} met"),
        false => format!("gate: {met} of {} met, not {}", verdicts.len(), missed.join(", ")),
    }
}

/// An error that names the thresholds that were not met; `Ok` if all were.
pub fn verdict(verdicts: &[Verdict]) -> Result<()> {
    let missed: Vec<_> = verdicts.iter().filter(|verdict| !verdict.met).map(Verdict::to_string).collect();
    if missed.is_empty() { Ok(()) } else { Err(Error::Gate(format!("not met: {}", missed.join("; ")))) }
}

#[cfg(test)]
mod tests {
    use super::super::gait::FeetReport;
    use super::*;

    fn gait(turn: [f64; 3], standing: f64) -> GaitReport {
        let feet = FeetReport {
            contact: 0.4,
            skate: 2.0,
            low_toe_speed: 40.0,
            paper_skate: [0.5; 2],
            paces: Default::default(),
        };
        GaitReport { speed: [0.0, 1.0, 3.0], turn, standing, feet: Some(feet) }
    }

    fn distance(frechet: f64, coverage: f64) -> Distance {
        let (features, components) = (10, 5);
        Distance { features, components, frechet, frechet_of_training: 2.0, coverage, coverage_of_training: 0.8 }
    }

    /// Names of the thresholds that are missed by walks of this gait and these distances, beside
    /// data that turn by -70, 0 and 70 degrees/s and stand for a tenth of the time.
    fn missed(walks: &GaitReport, distances: [Option<&Distance>; 2]) -> Vec<String> {
        let data = gait([-70.0, 0.0, 70.0], 0.1);
        let (gait, data_gait, errors) = (Some(walks), Some(&data), [None; 2]);
        let measured = Measured { active: 0.9, inside: 1.0, gait, data_gait, distances, errors };
        let verdicts = Thresholds::default().judge(&measured);
        verdicts.into_iter().filter(|verdict| !verdict.met).map(|verdict| verdict.name).collect()
    }

    #[test]
    fn walks_that_lean_to_a_side_or_hardly_stand_are_told() {
        let (near, far) = (distance(3.9, 0.65), distance(4.1, 0.63));
        assert!(missed(&gait([-80.0, 10.0, 60.0], 0.07), [Some(&near); 2]).is_empty());
        let leaning = missed(&gait([-81.0, 11.0, 59.0], 0.06), [Some(&near), Some(&far)]);
        let said = leaning.join("; ");
        for name in ["turn rate at 5 %", "turn rate at 50 %", "turn rate at 95 %", "standing", "of velocities"] {
            assert!(said.contains(name), "{name}: {said}");
        }
        assert!(leaning.len() == 6 && !said.contains("of poses"), "{said}");
    }

    #[test]
    fn rare_standing_counts_alike_and_absent_distances_bound_nothing() {
        let data = gait([0.0; 3], 0.0);
        let judge = |standing: f64| {
            let walks = gait([0.0; 3], standing);
            let (gait, data_gait, distances, errors) = (Some(&walks), Some(&data), [None; 2], [None; 2]);
            Thresholds::default().judge(&Measured { active: 0.9, inside: 1.0, gait, data_gait, distances, errors })
        };
        let of = |verdicts: &[Verdict]| verdicts.iter().find(|verdict| verdict.name == "standing").cloned().unwrap();
        assert_eq!(of(&judge(0.009)).value, Some(1.0));
        let names: Vec<_> = judge(0.02).iter().map(|verdict| verdict.name.clone()).collect();
        assert!(names.iter().all(|name| MEASURES.iter().any(|(known, _)| known == name)), "{names:?}");
        let more = of(&judge(0.02)).value.unwrap();
        assert!((more - 2.0).abs() < 1e-9, "twice the share that is too small to compare: {more}");
        assert!(judge(0.0).iter().all(|verdict| verdict.met && !verdict.name.contains("coverage")));
    }
}

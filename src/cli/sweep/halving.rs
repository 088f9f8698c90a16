//! Successive halving: all runs train for a few epochs, and the best of them go on. Decisions are
//! asynchronous, as in ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning",
//! 2018): a run goes on as soon as it is among the best of those measured so far.
use super::super::axis::MOST;
use super::super::runs::Kind;
use crate::config::layers::nearest;
use crate::control::thresholds as policy;
use crate::quality::thresholds as model;
use crate::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// The table `[halving]` of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    measure: String,
    #[serde(default = "third")]
    reduce: usize,
    largest: Option<bool>,
}

fn third() -> usize {
    3
}

/// How runs are halved.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Halving {
    /// Measure by which runs are compared.
    pub measure: String,
    /// Whether the largest value of the measure is the best.
    pub largest: bool,
    /// One of so many runs goes on, for so many times the epochs.
    pub reduce: usize,
    /// Number of measurements of a run that trains to its end.
    pub levels: usize,
}

/// Whether the largest value of a measure is the best, if that is known.
pub(super) fn is_largest_best(kind: Kind, measure: &str) -> Option<bool> {
    match kind {
        Kind::Model => model::MEASURES.iter().find(|(name, _)| *name == measure).map(|(_, largest)| *largest),
        Kind::Controller => policy::is_largest_best(measure),
    }
}

impl Written {
    /// The halving of so many runs of this kind. Errors: a measure that there is not, too few runs.
    pub fn checked(self, path: &Path, kind: Kind, runs: usize) -> Result<Halving> {
        let Written { measure, reduce, largest } = self;
        let refuse = |what: String| Err(Error::Usage(format!("{}: halving: {what}", path.display())));
        if !(2..=MOST).contains(&reduce) {
            return refuse(format!("reduce is {reduce}, expected 2 to {MOST}"));
        }
        if runs < reduce {
            return refuse(format!("reduce is {reduce}, but there are {runs} runs; give more, or drop the table"));
        }
        if kind == Kind::Model && !measure.contains('.') && is_largest_best(kind, &measure).is_none() {
            let near = nearest(&measure, model::MEASURES.iter().map(|(name, _)| *name));
            return refuse(format!("unknown measure {measure:?}; did you mean {near:?}?"));
        }
        let Some(largest) = largest.or(is_largest_best(kind, &measure)) else {
            return refuse(format!("{measure:?} has no threshold; say largest = true or false"));
        };
        Ok(Halving { measure, largest, reduce, levels: 1 + runs.ilog(reduce) as usize })
    }
}

impl Halving {
    /// Epochs after which a run of `all` epochs is measured, the last time at its end.
    pub fn rungs(&self, all: usize) -> Vec<usize> {
        (0..self.levels as u32).rev().map(|down| all.div_ceil(self.reduce.saturating_pow(down))).collect()
    }

    /// Numbers of the runs that may go on, best first, of those measured at a level. A run that
    /// failed has no value.
    pub fn best(&self, mut measured: Vec<(usize, Option<f64>)>) -> Vec<usize> {
        let top = measured.len() / self.reduce;
        measured.sort_by(|(run, a), (other, b)| self.order(*a, *b).then(run.cmp(other)));
        measured.iter().take(top).filter(|(_, value)| value.is_some()).map(|(run, _)| *run).collect()
    }

    /// The order of two values, the better one first.
    fn order(&self, a: Option<f64>, b: Option<f64>) -> std::cmp::Ordering {
        order(self.largest, a, b)
    }
}

/// The order of two values of a measure, the better one first and missing ones last.
pub(super) fn order(largest: bool, a: Option<f64>, b: Option<f64>) -> std::cmp::Ordering {
    match (a, b) {
        (Some(a), Some(b)) if largest => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halving(measure: &str, reduce: usize, runs: usize) -> Result<Halving> {
        Written { measure: measure.into(), reduce, largest: None }.checked(Path::new("s.toml"), Kind::Model, runs)
    }

    #[test]
    fn the_last_level_is_reached_by_one_of_all() {
        // 9 runs: 9 for a ninth, 3 for a third, 1 to the end.
        assert_eq!(halving("skate", 3, 9).unwrap().rungs(24), [3, 8, 24]);
        assert_eq!(halving("skate", 3, 26).unwrap().rungs(24), [3, 8, 24]);
        assert_eq!(halving("skate", 2, 2).unwrap().rungs(5), [3, 5]);
        assert_eq!(halving("skate", 3, 27).unwrap().rungs(1), [1, 1, 1, 1]);
    }

    #[test]
    fn the_best_of_those_measured_go_on() {
        let of = |measure: &str, values: &[f64]| {
            let values = values.iter().map(|&x| Some(x).filter(|x| x.is_finite())).enumerate().collect();
            halving(measure, 3, 9).unwrap().best(values)
        };
        assert!(of("skate", &[3.0, 1.0]).is_empty());
        assert_eq!(of("skate", &[3.0, 1.0, 2.0]), [1]);
        assert_eq!(of("inside", &[3.0, 1.0, 2.0, 3.0, 0.0, f64::NAN]), [0, 3]);
        assert!(of("skate", &[f64::NAN; 3]).is_empty(), "runs that failed do not go on");
    }

    #[test]
    fn a_measure_is_known_by_its_threshold() {
        assert!(halving("inside", 3, 3).unwrap().largest && !halving("one_step_error", 3, 3).unwrap().largest);
        let said = halving("skates", 3, 3).unwrap_err().to_string();
        assert_eq!(said, "s.toml: halving: unknown measure \"skates\"; did you mean \"skate\"?");
        let said = halving("walks.inside", 3, 3).unwrap_err().to_string();
        assert!(said.ends_with("has no threshold; say largest = true or false"), "{said}");
        assert!(halving("skate", 3, 2).unwrap_err().to_string().contains("but there are 2 runs"));
    }
}

//! Thresholds that a controller must meet. Each task lists its own ([`TaskInfo::bounds`]).
//!
//! [`TaskInfo::bounds`]: crate::ops::world::task::TaskInfo::bounds
use super::evaluate::Comparison;
use crate::ops::world::Task;
use crate::ops::world::task::Bound;
use crate::quality::thresholds::Verdict;
use crate::{Error, Result};
use serde::de::{Deserialize, Deserializer, Error as _};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Bounds of numbers that are measured of every task: smallest share of feet in contact (%),
/// largest skate of feet in contact (cm/s).
const COMMON: [Bound; 2] = [Bound::least("contact_percent", None), Bound::most("foot_skate_cm_s", None)];

/// The keys of all bounds.
static KEYS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut keys = Vec::new();
    for bound in Task::ALL.iter().flat_map(|task| task.info().bounds).chain(&COMMON) {
        if !keys.contains(&bound.key) {
            keys.push(bound.key);
        }
    }
    keys
});

/// Whether the largest value of a measure is the best; `None` if no threshold bounds it.
pub fn is_largest_best(key: &str) -> Option<bool> {
    let mut bounds = Task::ALL.iter().flat_map(|task| task.info().bounds).chain(&COMMON);
    bounds.find(|bound| bound.key == key).map(|bound| bound.least)
}

/// Bounds of the numbers that [`super::evaluate`] measures, under the same names. A key that is
/// absent, or belongs to another task, bounds nothing. The default asks for controllers that do
/// what their data can do.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct PolicyThresholds {
    /// Bounds by key; `None`: each task's own.
    given: Option<BTreeMap<Key, f64>>,
}

/// The key of a bound that there is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let key = String::deserialize(from)?;
        if KEYS.contains(&&*key) { Ok(Key(key)) } else { Err(D::Error::unknown_field(&key, &KEYS)) }
    }
}

impl PolicyThresholds {
    /// Refuses thresholds that bound nothing measured in a task, so that everything would pass.
    pub fn check(&self, task: Task) -> Result<()> {
        let name = task.name();
        let what = format!("--gate bounds nothing that is measured of task {name}");
        let nothing = || Error::Usage(format!("{what}; give a file with a key of its own, see docs/controllers.md"));
        self.asked(task).next().map(|_| ()).ok_or_else(nothing)
    }

    /// Compares a report with the thresholds of its task.
    pub(crate) fn judge(&self, report: &Comparison) -> Vec<Verdict> {
        let judged = |(Bound { key, least, .. }, value)| match least {
            true => Verdict::at_least(key, report.get(key), "", value),
            false => Verdict::at_most(key, report.get(key), "", value),
        };
        // Data that are not there ask for nothing, unless somebody asks for it by name.
        let there = |(bound, _): &(Bound, f64)| {
            self.given.is_some() || !bound.key.ends_with("_of_data") || report.get(bound.key).is_some()
        };
        self.asked(report.task).filter(there).map(judged).collect()
    }

    /// The bounds of a task that has any, each with its value.
    fn asked(&self, task: Task) -> impl Iterator<Item = (Bound, f64)> {
        let value = |bound: &Bound| match &self.given {
            None => bound.value,
            Some(given) => given.get(&Key(bound.key.to_owned())).copied(),
        };
        task.info().bounds.iter().chain(&COMMON).filter_map(move |bound| Some((*bound, value(bound)?)))
    }
}

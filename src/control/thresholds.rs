//! PolicyThresholds that a controller must meet.
use super::evaluate::Report;
use crate::ops::world::Task;
use crate::quality::thresholds::Verdict;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Bounds of the numbers that [`super::evaluate`] measures, under the same names. A key that is
/// absent, or belongs to another task, bounds nothing. The default asks for controllers that do
/// what their data can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyThresholds {
    /// Target: smallest number of targets reached, % of the ideal point's.
    pub of_ideal_percent: Option<f64>,
    /// Target: smallest number of targets reached, as a multiple of the prior's.
    pub times_the_prior: Option<f64>,
    /// Joystick: largest mean error of the heading, degrees.
    pub heading_error_degrees: Option<f64>,
    /// Joystick: smallest correlation of commanded and achieved speed.
    pub speed_correlation: Option<f64>,
    /// Joystick: largest mean error of the speed, % of the range.
    pub speed_error_percent: Option<f64>,
    /// Path: smallest share of the time near the point, %.
    pub near_percent: Option<f64>,
    /// All tasks: smallest share of feet in contact, %.
    pub contact_percent: Option<f64>,
    /// All tasks: largest skate of feet in contact, cm/s.
    pub foot_skate_cm_s: Option<f64>,
    /// Maze: smallest share of cells seen, %.
    pub coverage_percent: Option<f64>,
    /// Maze: largest number of walls hit per character.
    pub walls_hit: Option<f64>,
}

impl Default for PolicyThresholds {
    fn default() -> Self {
        PolicyThresholds {
            of_ideal_percent: Some(60.0),
            times_the_prior: Some(3.0),
            heading_error_degrees: Some(20.0),
            speed_correlation: Some(0.8),
            speed_error_percent: Some(25.0),
            near_percent: Some(50.0),
            contact_percent: None,
            foot_skate_cm_s: None,
            coverage_percent: None,
            walls_hit: None,
        }
    }
}

impl PolicyThresholds {
    /// Refuses thresholds that bound nothing measured in a task, so that everything would pass.
    pub fn check(&self, task: Task) -> Result<()> {
        let name = task.name();
        let what = format!("--gate bounds nothing that is measured of task {name}");
        let nothing = || Error::Usage(format!("{what}; give a file with a key of its own, see docs/controllers.md"));
        (!self.asked(task).is_empty()).then_some(()).ok_or_else(nothing)
    }

    /// Compares a report with the thresholds of its task.
    pub fn judge(&self, report: &Report) -> Vec<Verdict> {
        self.asked(report.task).into_iter().map(|(key, bound, judged)| judged(key, report.get(key), bound)).collect()
    }

    /// The bounds of a task: name of the number, bound, and its kind (lower or upper).
    fn asked(&self, task: Task) -> Vec<(&'static str, f64, Judge)> {
        let (least, most): (Judge, Judge) =
            (|k, x, bound| Verdict::at_least(k, x, bound), |k, x, bound| Verdict::at_most(k, x, bound));
        let all = [
            (Some(Task::Target), "of_ideal_percent", self.of_ideal_percent, least),
            (Some(Task::Target), "times_the_prior", self.times_the_prior, least),
            (Some(Task::Joystick), "heading_error_degrees", self.heading_error_degrees, most),
            (Some(Task::Joystick), "speed_correlation", self.speed_correlation, least),
            (Some(Task::Joystick), "speed_error_percent", self.speed_error_percent, most),
            (Some(Task::Path), "near_percent", self.near_percent, least),
            (Some(Task::Maze), "coverage_percent", self.coverage_percent, least),
            (Some(Task::Maze), "walls_hit", self.walls_hit, most),
            (None, "contact_percent", self.contact_percent, least),
            (None, "foot_skate_cm_s", self.foot_skate_cm_s, most),
        ];
        all.into_iter()
            .filter(|row| row.0.is_none_or(|of| of == task))
            .filter_map(|(_, key, bound, judge)| Some((key, bound?, judge)))
            .collect()
    }
}

type Judge = fn(&'static str, Option<f64>, f64) -> Verdict;

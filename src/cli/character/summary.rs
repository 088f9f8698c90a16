//! The last lines of the command: how well a character walks, where its page is, and what is next.
use crate::quality::thresholds::Verdict;
use serde_json::Value;
use std::fmt;
use std::path::Path;

/// The results of a character, as its files have them.
pub(super) struct Summary<'a> {
    /// Folder of the character.
    pub folder: &'a Path,
    /// The page, and its size in bytes.
    pub page: (&'a Path, u64),
    /// Notes and warnings of this sitting.
    pub notes: &'a [String],
    /// The model's evaluation.
    pub model: &'a Value,
    /// The controller's evaluation.
    pub controller: &'a Value,
    /// True if trainings were shortened.
    pub shortened: bool,
}

/// The thresholds of an evaluation.
pub(super) fn verdicts(evaluation: &Value) -> Vec<Verdict> {
    serde_json::from_value(evaluation["gate"].clone()).unwrap_or_default()
}

/// A line for the page: a training was shortened, or thresholds are not met. `None`: all is well.
pub(super) fn note(model: &Value, controller: &Value, shortened: bool) -> Option<String> {
    let all = [verdicts(model), verdicts(controller)].concat();
    let met = all.iter().filter(|verdict| verdict.met).count();
    let met = format!("{met} of {} thresholds of quality met", all.len());
    let slow = verdicts(controller).iter().any(|verdict| verdict.name.starts_with("speed_") && !verdict.met);
    let said = [
        shortened.then_some("short training"),
        slow.then_some("does not keep to the speed that is asked"),
        (shortened || all.iter().any(|verdict| !verdict.met)).then_some(&*met),
    ];
    let said: Vec<_> = said.into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join(", "))
}

/// Verdicts in a line.
fn list(verdicts: &[&Verdict]) -> String {
    let words: Vec<_> = verdicts.iter().map(ToString::to_string).collect();
    if words.is_empty() { "none".to_owned() } else { words.join("; ") }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        let gate = verdicts(self.model);
        let (met, missed): (Vec<_>, Vec<_>) = gate.iter().partition(|verdict| verdict.met);
        let names = met.iter().map(|verdict| &*verdict.name).collect::<Vec<_>>().join(", ");
        writeln!(f, "model meets {} of {} thresholds: {names}", met.len(), gate.len())?;
        writeln!(f, "model does not meet: {}", list(&missed))?;
        let of_policy = verdicts(self.controller);
        let (kept, not_kept): (Vec<_>, Vec<_>) = of_policy.iter().partition(|verdict| verdict.met);
        let (count, all) = (kept.len(), of_policy.len());
        writeln!(f, "controller meets {count} of {all} thresholds; not met: {}", list(&not_kept))?;
        let policy = |key: &str| self.controller["policy"][key].as_f64();
        let said = |key: &str, digits: usize| policy(key).map_or("unknown".to_owned(), |x| format!("{x:.digits$}"));
        let feet = match policy("skate_of_data").zip(policy("contact_of_data")) {
            Some((skate, contact)) => {
                format!("slide {skate:.2} times as fast as the data's, in contact {contact:.2} times as much")
            }
            None => "do not stand, or the data's are not known".to_owned(),
        };
        let (speed, direction) = (said("speed_error_m_s", 2), said("heading_error_degrees", 0));
        writeln!(f, "controller is off by {speed} m/s and {direction} degrees from what is asked; its feet {feet}")?;
        let (page, bytes) = self.page;
        let size = bytes as f64 / 1e6;
        writeln!(f, "page: {} ({size:.1} MB), to open in a browser; keys, finger or gamepad steer", page.display())?;
        let folder = self.folder.display();
        match (missed.is_empty(), self.shortened) {
            (false, true) => writeln!(f, "next: the same without --minutes trains in full, as the thresholds expect"),
            (false, false) => {
                writeln!(f, "next: look at {folder}/runs/model/report.html; more motion, or --preset long")
            }
            (true, _) => writeln!(f, "next: mvae-fast export {folder} -o walk.h (or .js, .onnx)"),
        }
    }
}

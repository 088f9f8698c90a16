//! Results of a sweep, as its run folders hold them.
use super::file::{Run, Sweep, Training};
use super::halving::{is_largest_best, order};
use crate::cli::runs::Kind;
use crate::control::record::UpdateRecord;
use crate::host::files;
use crate::quality::thresholds::Verdict;
use crate::run::logs;
use crate::run::record::{EpochRecord, Record};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Largest file of an evaluation that is read, bytes.
const MAX_EVAL: u64 = 64 << 20;
/// File in the folder of a run whose numbers became infinite: the error.
const FAILED: &str = "failed.txt";

impl Sweep {
    /// The folder of a run.
    pub fn path(&self, run: usize) -> PathBuf {
        self.folder.join(&self.runs[run].name)
    }

    /// The last checkpoint of a run.
    pub fn last(&self, run: usize) -> PathBuf {
        self.path(run).join("checkpoints").join("last.safetensors")
    }

    /// The file of the evaluation of a run at a level (from 0).
    pub fn evaluation(&self, run: usize, level: usize) -> PathBuf {
        self.path(run).join(format!("eval-{}.json", self.runs[run].rungs[level]))
    }

    /// The file that says why a run does not go on.
    pub fn failed(&self, run: usize) -> PathBuf {
        self.path(run).join(FAILED)
    }

    /// Number of levels at which a run is measured.
    pub fn level(&self, run: usize) -> usize {
        (0..self.runs[run].rungs.len()).take_while(|&level| self.evaluation(run, level).is_file()).count()
    }

    /// The value of a measure of a run at a level, if it was measured.
    pub fn value(&self, run: usize, level: usize, measure: &str) -> Option<f64> {
        find(&read(&self.evaluation(run, level))?, measure)
    }

    /// The results of all runs.
    pub fn rows(&self) -> Vec<Row<'_>> {
        (0..self.runs.len()).map(|run| Row::new(self, run)).collect()
    }
}

fn read(evaluation: &Path) -> Option<Value> {
    serde_json::from_str(&files::text(evaluation, MAX_EVAL).ok()?).ok()
}

/// A measure of an evaluation by its name, or a number of its report by the names on the way
/// (`walks.inside`).
fn find(evaluation: &Value, measure: &str) -> Option<f64> {
    found(evaluation, measure).and_then(Value::as_f64).filter(|x| x.is_finite())
}

/// A measure as it is written in an evaluation: `null` if the number is not finite.
pub(super) fn found<'a>(evaluation: &'a Value, measure: &str) -> Option<&'a Value> {
    let number = evaluation["measures"].get(measure);
    let number = number.or_else(|| evaluation["report"].pointer(&format!("/{}", measure.replace('.', "/"))));
    number.filter(|number| number.is_number() || number.is_null())
}

/// The results of one run.
pub(super) struct Row<'a> {
    pub run: &'a Run,
    /// Number of epochs or updates that are done.
    pub done: usize,
    /// True if its training and its last measurement are.
    pub finished: bool,
    /// The error of a run that does not go on.
    pub failed: Option<String>,
    /// Its last evaluation.
    pub evaluation: Option<Value>,
}

impl<'a> Row<'a> {
    fn new(sweep: &'a Sweep, number: usize) -> Self {
        let (run, level, metrics) =
            (&sweep.runs[number], sweep.level(number), sweep.path(number).join("metrics.jsonl"));
        let done = match &run.training {
            Training::Model(_) => last::<EpochRecord>(&metrics),
            Training::Controller(_) => last::<UpdateRecord>(&metrics),
        };
        let failed = files::text(&sweep.failed(number), 1 << 16).ok().map(|text| text.trim().to_owned());
        let evaluation = level.checked_sub(1).and_then(|level| read(&sweep.evaluation(number, level)));
        Row { run, done, finished: level == run.rungs.len(), failed, evaluation }
    }

    /// The verdicts of the gate.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let gate = self.evaluation.as_ref().map(|evaluation| evaluation["gate"].clone());
        gate.and_then(|gate| serde_json::from_value(gate).ok()).unwrap_or_default()
    }

    /// The value of a measure in the last evaluation.
    pub fn value(&self, measure: &str) -> Option<f64> {
        find(self.evaluation.as_ref()?, measure)
    }

    /// True if there is anything to say of it.
    fn is_begun(&self) -> bool {
        self.done > 0 || self.failed.is_some()
    }

    pub fn json(&self) -> Value {
        json!({
            "run": self.run.name, "keys": self.run.keys.iter().cloned().collect::<toml::Table>(),
            "all": self.run.training.all(), "done": self.done, "finished": self.finished, "failed": self.failed,
            "measures": self.evaluation.as_ref().map(|evaluation| &evaluation["measures"]),
            "gate": self.evaluation.as_ref().map(|evaluation| &evaluation["gate"]),
        })
    }

    /// How far the run is, in words.
    fn state(&self) -> String {
        let all = self.run.training.all();
        match (&self.failed, self.done) {
            (Some(_), done) => format!("{done}/{all}, failed"),
            (None, done) => format!("{done}/{all}"),
        }
    }
}

/// Number of the last record of a log.
fn last<R: Record>(metrics: &Path) -> usize {
    if !metrics.is_file() {
        return 0;
    }
    let records = logs::read_metrics::<R>(metrics).map_or_else(|_| Vec::new(), |(records, _)| records);
    records.last().map_or(0, R::number)
}

/// Orders rows by a measure, the best first. Errors: no row has it, or nobody says which value is
/// the best.
pub(super) fn sort(rows: &mut [Row], measure: &str, largest: Option<bool>) -> Result<()> {
    if rows.iter().all(|row| row.value(measure).is_none()) {
        let known = rows.iter().find_map(|row| row.evaluation.as_ref()?["measures"].as_object());
        let names =
            known.map_or("no run is measured yet".into(), |known| known.keys().cloned().collect::<Vec<_>>().join(", "));
        return Err(Error::Usage(format!("--best {measure}: no run has such a measure; there are: {names}")));
    }
    let kind = rows.iter().find(|row| row.value(measure).is_some()).map_or(Kind::Model, |row| row.run.training.kind());
    let largest = largest.or_else(|| is_largest_best(kind, measure));
    let unknown = || Error::Usage(format!("--best {measure} has no threshold; say --largest true or false"));
    let largest = largest.ok_or_else(unknown)?;
    rows.sort_by(|a, b| order(largest, a.value(measure), b.value(measure)));
    Ok(())
}

/// A table of the rows that are begun, with a column for each of these measures.
pub(super) fn table(rows: &[Row], measures: &[&str]) -> String {
    let mut text = String::new();
    for (kind, title, unit) in [(Kind::Model, "model", "epochs"), (Kind::Controller, "controller", "updates")] {
        let rows: Vec<_> = rows.iter().filter(|row| row.is_begun() && row.run.training.kind() == kind).collect();
        if rows.is_empty() {
            continue;
        }
        let head = [title, unit, "gate"].into_iter().chain(measures.iter().copied());
        let mut lines: Vec<Vec<String>> = vec![head.map(str::to_owned).collect()];
        for row in rows {
            let verdicts = row.verdicts();
            let met = verdicts.iter().filter(|verdict| verdict.met).count();
            let gate = if verdicts.is_empty() { "-".to_owned() } else { format!("{met}/{}", verdicts.len()) };
            let values = measures.iter().map(|measure| row.value(measure).map_or("-".into(), |x| format!("{x:.4}")));
            lines.push([row.run.name.clone(), row.state(), gate].into_iter().chain(values).collect());
        }
        text += &aligned(&lines);
    }
    text
}

/// Lines of words in columns, the first to the left and the others to the right.
pub(super) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| lines.iter().filter_map(|line| Some(line.get(i)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (i, (word, &width)) in line.iter().zip(&widths).enumerate() {
            text += &if i == 0 { format!("{word:width$}") } else { format!("  {word:>width$}") };
        }
        text.truncate(text.trim_end().len());
        text += "\n";
    }
    text
}

/// The thresholds of the gates, each with the number of runs that meet it.
pub(super) fn gates(rows: &[Row]) -> String {
    let mut gates: Vec<(Kind, String, f64, usize, usize)> = Vec::new();
    for row in rows {
        for Verdict { name, bound, met, .. } in row.verdicts() {
            let kind = row.run.training.kind();
            let at = gates.iter().position(|(of, known, ..)| (*of, known) == (kind, &name)).unwrap_or_else(|| {
                gates.push((kind, name.clone(), bound, 0, 0));
                gates.len() - 1
            });
            let (.., met_by, of) = &mut gates[at];
            *met_by += usize::from(met);
            *of += 1;
        }
    }
    let mut lines = vec![["threshold", "bound", "met by"].map(str::to_owned).to_vec()];
    lines.extend(
        gates.iter().map(|(_, name, bound, met, of)| vec![name.clone(), format!("{bound:.3}"), format!("{met}/{of}")]),
    );
    if gates.is_empty() { String::new() } else { aligned(&lines) }
}

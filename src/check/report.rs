//! The findings of a check: how far each tensor is off, as a table, as JSON and as a verdict.
use crate::{Error, Result};
use serde::Serialize;
use std::fmt;

/// The comparison of one tensor, over all cases of its subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The operation, kernel or network.
    pub subject: String,
    /// The tensor of it that is compared; `all` are a network's parameters as one vector.
    pub tensor: String,
    /// Numbers compared.
    pub entries: usize,
    /// Largest relative error; infinite (in JSON null) where a number is not finite but should be.
    pub worst: f64,
    /// Largest error that passes where it was found; `None` if the tensor counts only with others.
    pub bound: Option<f64>,
    /// The sizes at which it was found.
    pub at: String,
}

impl Row {
    /// True if the error is above its bound.
    pub fn failed(&self) -> bool {
        self.excess() > 1.0
    }

    /// The error in units of its bound.
    fn excess(&self) -> f64 {
        self.bound.map_or(0.0, |bound| self.worst / bound)
    }
}

/// The findings of a check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deviations {
    /// A row a tensor.
    pub rows: Vec<Row>,
    /// Time that it took.
    pub seconds: f64,
    /// The cause of a failure, such as `its kernel`.
    #[serde(skip)]
    culprit: &'static str,
}

impl Deviations {
    /// A report without rows, of a check whose failures have this cause.
    pub fn new(culprit: &'static str) -> Self {
        Deviations { rows: Vec::new(), seconds: 0.0, culprit }
    }

    /// Adds rows; one of a tensor that has a row is merged with it.
    pub fn add(&mut self, rows: Vec<Row>) {
        for row in rows {
            match self.rows.iter_mut().find(|r| r.subject == row.subject && r.tensor == row.tensor) {
                None => self.rows.push(row),
                Some(known) => {
                    let entries = known.entries + row.entries;
                    if row.excess() > known.excess() {
                        *known = row;
                    }
                    known.entries = entries;
                }
            }
        }
    }

    /// The tensors whose error is above their bound.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.failed())
    }

    /// Turns a failure into an error. Errors: [`Error::Check`], which names the worst tensor, when
    /// one failed.
    pub fn verdict(&self) -> Result<()> {
        let Some(row) = self.failures().max_by(|a, b| a.excess().total_cmp(&b.excess())) else { return Ok(()) };
        let (Row { subject, tensor, worst, at, .. }, bound) = (row, row.bound.unwrap_or_default());
        let (failed, all) = (self.failures().count(), self.bounded().count());
        Err(Error::Check(format!(
            "gradcheck: {subject} {tensor} is off by {worst:.1e} at {at}, expected at most {bound:.1e}; \
             {failed} of {all} tensors are off, {} is wrong",
            self.culprit
        )))
    }

    /// The rows that pass or fail.
    fn bounded(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.bound.is_some())
    }
}

impl fmt::Display for Deviations {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let width = |of: fn(&Row) -> &str| self.bounded().map(|row| of(row).len()).max().unwrap_or(0);
        let (w1, w2) = (width(|r| &r.subject).max(7), width(|r| &r.tensor).max(6));
        writeln!(f, "{:w1$}  {:w2$}  {:>8}  worst error    bound  at", "subject", "tensor", "entries")?;
        for row in self.bounded() {
            let (Row { subject, tensor, entries, worst, at, .. }, bound) = (row, row.bound.unwrap_or_default());
            let failed = if row.failed() { "  FAILED" } else { "" };
            writeln!(f, "{subject:w1$}  {tensor:w2$}  {entries:8}  {worst:11.1e}  {bound:7.1e}  {at}{failed}")?;
        }
        let entries: usize = self.bounded().map(|row| row.entries).sum();
        let (all, failed, seconds) = (self.bounded().count(), self.failures().count(), self.seconds);
        writeln!(
            f,
            "{entries} entries of {all} tensors in {seconds:.1} s; {failed} tensors off by more than their bound"
        )
    }
}

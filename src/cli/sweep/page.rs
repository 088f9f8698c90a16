//! `sweep.html`: the runs of a sweep beside one another, in one self-contained page.
use super::file::Sweep;
use super::halving::is_largest_best;
use super::results::Row;
use crate::Result;
use crate::cli::runs::Kind;
use crate::host::shown::counted;
use crate::host::{atomic, template};
use crate::run::report::{self, escape};
use serde_json::{Map, Value, json};

/// Name of the page in the folder of a sweep.
pub(super) const PAGE_FILE: &str = "sweep.html";

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Writes the page. Errors: those of the disk.
pub(super) fn write(sweep: &Sweep) -> Result<()> {
    let rows = sweep.rows();
    let name = sweep.folder.file_name().unwrap_or_default().to_string_lossy();
    let finished = rows.iter().filter(|row| row.finished).count();
    let part = |key: &str| match key {
        "name" => escape(&name),
        "state" => format!("{finished} of {} are trained to the end", counted(rows.len(), "run")),
        "style" => [report::STYLE, STYLE].concat(),
        "data" => report::json(&data(sweep, &rows)),
        "script" => SCRIPT.to_owned(),
        other => unreachable!("sweep.html asks for {other}"),
    };
    atomic::write(&sweep.folder.join(PAGE_FILE), template::page(PAGE, part).as_bytes())
}

/// The data that the script draws.
fn data(sweep: &Sweep, rows: &[Row]) -> Value {
    let (mut runs, mut largest) = (Vec::new(), Map::new());
    for row in rows {
        let kind = row.run.training.kind();
        let mut run = row.json();
        run["kind"] = json!(if kind == Kind::Model { "model" } else { "controller" });
        for measure in run["measures"].as_object().into_iter().flat_map(Map::keys) {
            largest.entry(measure).or_insert_with(|| json!(is_largest_best(kind, measure)));
        }
        runs.push(run);
    }
    let measure = sweep.halving.as_ref().map(|halving| &halving.measure);
    if let Some(halving) = &sweep.halving {
        largest.insert(halving.measure.clone(), halving.largest.into());
    }
    json!({ "runs": runs, "largest": largest, "measure": measure })
}

//! Results on standard output.
use crate::host::shown::shown;
use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Writes a result to standard output, with invisible characters [escaped](shown). A closed pipe is
/// an [`Error::Io`] of kind `BrokenPipe`.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(shown(text).as_bytes()).and_then(|()| out.flush());
    written.map_err(cannot_print)
}

/// Prints a result and returns its verdict; a verdict that is an error wins over an error of
/// printing.
pub fn print_and(text: &str, verdict: Result<()>) -> Result<()> {
    let printed = print(text);
    verdict.and(printed)
}

pub fn print_report(
    report: &(impl serde::Serialize + std::fmt::Display),
    json: bool,
    verdict: Result<()>,
) -> Result<()> {
    let text = match json {
        true => format!("{}\n", serde_json::to_string(report).expect("plain values")),
        false => report.to_string(),
    };
    print_and(&text, verdict)
}

pub fn cannot_print(error: std::io::Error) -> Error {
    Error::io(Path::new("standard output"), "cannot write")(error)
}

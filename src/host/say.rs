//! Lines on standard error, and times as a person says them.
use crate::host::shown::shown;
use std::io::{self, Write};

/// Writes a line to standard error, with invisible characters [escaped](shown). An error is
/// ignored: a failed message must not end the work.
pub fn say(line: &str) {
    let _ = io::stderr().write_all(format!("{}\n", shown(line)).as_bytes());
}

/// `3m 07s`.
pub fn minutes(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    format!("{}m {:02}s", seconds / 60, seconds % 60)
}

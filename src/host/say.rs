//! Lines on standard error, and times as a person says them.
use crate::host::shown::shown;
use std::io::{self, Write};
use std::time::SystemTime;

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

/// A time, UTC, such as `2026-01-31T12:34:56Z`.
pub fn stamp(time: SystemTime) -> String {
    let [year, month, day, hour, minute, second] = utc(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month, day, hour, minute, second of a time, UTC.
pub(crate) fn utc(time: SystemTime) -> [u64; 6] {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let (mut year, mut day) = (1970, seconds / 86_400);
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    [year, month, day + 1, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60]
}

//! TOML files that a person wrote: their text, and errors that name the line.
use crate::host::files;
use crate::{Error, Result};
use serde::de;
use std::io::ErrorKind;
use std::path::Path;

/// Longest configuration file that is read, bytes.
const MAX_FILE: u64 = 1 << 20;

/// The text of a configuration file of at most 1 MiB.
pub fn read(path: &Path) -> Result<String> {
    files::text(path, MAX_FILE).map_err(|error| {
        let what = match error.kind() {
            ErrorKind::IsADirectory => "a folder; give a TOML file, such as the config.toml of a run".to_owned(),
            ErrorKind::FileTooLarge => format!("{error}; a configuration is a few lines of TOML"),
            ErrorKind::InvalidData => format!("{error}; a configuration is TOML"),
            _ => format!("cannot be read: {error}; check the path"),
        };
        Error::Usage(format!("{}: {what}", path.display()))
    })
}

/// Parses a file of TOML; the error names the line.
pub fn parse<T: de::DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    ::toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        in_line(path, line_of(text, at), plain_words(&one_line(error.message())))
    })
}

/// The error for a line of a file.
pub(crate) fn in_line(path: &Path, line: usize, what: String) -> Error {
    Error::Usage(format!("{}:{line}: {what}", path.display()))
}

/// The line in which a byte lies, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// Joins the lines of a parser's message into one.
pub fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// Replaces the names of Rust types in a message by plain words.
pub(crate) fn plain_words(message: &str) -> String {
    let words = [
        ("expected f64", "expected a number"),
        ("expected usize", "expected a whole number of 0 or more"),
        ("expected u64", "expected a whole number of 0 or more"),
        ("expected a sequence", "expected a list such as [\"walk.npz\"]"),
        ("expected path string", "expected a path"),
        ("unknown variant", "unknown value"),
    ];
    words.iter().fold(message.to_owned(), |message, (theirs, ours)| message.replace(theirs, ours))
}

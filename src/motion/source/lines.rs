//! A text file line by line, whatever its line ends, with a bound on what a line may take.
use std::io::{self, BufRead};

/// Longest line believed: ten thousand channels of a frame take a tenth of it.
const MAX_LINE: usize = 2 << 20;

/// What is wrong with a file, and in which line (from 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What was found and what was expected.
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Lines that end in LF, CRLF or CR, also within one file.
pub struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: usize,
    /// The line before ended in CR: an LF that follows belongs to it.
    after_cr: bool,
}

impl<R: BufRead> Lines<R> {
    /// The lines of a file.
    pub fn new(reader: R) -> Self {
        Lines { reader, line: Vec::new(), number: 0, after_cr: false }
    }

    /// The next line that is not blank, without the space around it; `None` at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, Fault> {
        while self.advance()? {
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(self.line.trim_ascii()));
            }
        }
        self.line.clear();
        Ok(None)
    }

    /// A fault in the line that was read last.
    pub fn fault(&self, what: impl Into<String>) -> Fault {
        Fault { line: self.number.max(1), what: what.into() }
    }

    fn advance(&mut self) -> Result<bool, Fault> {
        self.line.clear();
        self.number += 1;
        loop {
            let found = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.fault(format!("cannot be read: {error}"))),
                Ok(bytes) => bytes,
            };
            if found.is_empty() {
                return Ok(!self.line.is_empty());
            }
            if std::mem::take(&mut self.after_cr) && found[0] == b'\n' {
                self.reader.consume(1);
                continue;
            }
            let end = found.iter().position(|&byte| byte == b'\n' || byte == b'\r');
            let length = end.unwrap_or(found.len());
            if self.line.len() + length > MAX_LINE {
                return Err(self.fault("is longer than 2 MiB, which no line of motion is"));
            }
            self.line.extend_from_slice(&found[..length]);
            let ended = end.map(|end| found[end]);
            self.reader.consume(length + usize::from(ended.is_some()));
            if let Some(byte) = ended {
                self.after_cr = byte == b'\r';
                return Ok(true);
            }
        }
    }
}

/// A finite number.
pub(super) fn number(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok().filter(|x: &f64| x.is_finite())
}

/// A word as it may be shown in a message.
pub(super) fn shown(word: &[u8]) -> String {
    const LONGEST: usize = 40;
    let text = String::from_utf8_lossy(word);
    let mut shown: String = text.chars().take(LONGEST).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().count() > LONGEST {
        shown.push_str("...");
    }
    format!("'{shown}'")
}

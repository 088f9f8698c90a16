//! A reader of text lines with any line ends, and with a bound on a line's length.
use crate::Error;
use std::io::{self, BufRead};
use std::path::Path;

/// Longest accepted line: ten thousand channels of a frame take a tenth of it.
const MAX_LINE: usize = 2 << 20;

/// A fault of a file, and its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The content found and the content expected.
    pub what: String,
}

impl Fault {
    /// The error for the file that has the fault.
    pub fn of(&self, path: &Path) -> Error {
        Error::data(path, self.to_string(), "mend the file or leave it out")
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Bytes that some programs append after the last line: NULs, and the end mark of DOS.
const END_MARKS: [u8; 2] = [0, 0x1a];

/// Lines that end in LF, CRLF or CR, even mixed within one file.
pub struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: usize,
    /// The byte that ended the line before. An LF after a CR belongs to it.
    ended: u8,
    /// True once an end mark was read.
    marked: bool,
}

impl<R: BufRead> Lines<R> {
    /// The lines of a file.
    pub fn new(reader: R) -> Self {
        Lines { reader, line: Vec::new(), number: 0, ended: b'\n', marked: false }
    }

    /// True if an end mark (0x1A) or NULs follow the lines read so far.
    pub(crate) fn marked(&self) -> bool {
        self.marked
    }

    /// The next line that is not blank, without the space around it. `None` at the end of the file,
    /// which end marks may precede.
    pub(crate) fn next_line(&mut self) -> Result<Option<&[u8]>, Fault> {
        let mut marked = self.marked;
        while self.advance()? {
            if !self.line.trim_ascii().is_empty() {
                if marked {
                    return Err(self.fault("text behind a NUL or an end mark (0x1A), expected the end of the file"));
                }
                return Ok(Some(self.line.trim_ascii()));
            }
            marked = self.marked;
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
        self.number += usize::from(!END_MARKS.contains(&self.ended));
        loop {
            let found = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.fault(format!("cannot be read: {error}"))),
                Ok(bytes) => bytes,
            };
            if found.is_empty() {
                return Ok(!self.line.is_empty());
            }
            if std::mem::replace(&mut self.ended, b'\n') == b'\r' && found[0] == b'\n' {
                self.reader.consume(1);
                continue;
            }
            let end = found.iter().position(|byte| b"\n\r".contains(byte) || END_MARKS.contains(byte));
            let length = end.unwrap_or(found.len());
            if self.line.len() + length > MAX_LINE {
                return Err(self.fault("is longer than 2 MiB, which no line of motion is"));
            }
            self.line.extend_from_slice(&found[..length]);
            let ended = end.map(|end| found[end]);
            self.reader.consume(length + usize::from(ended.is_some()));
            if let Some(byte) = ended {
                self.ended = byte;
                self.marked |= END_MARKS.contains(&byte);
                return Ok(true);
            }
        }
    }
}

/// A finite number.
pub(super) fn number(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok().filter(|x: &f64| x.is_finite())
}

/// Content of a line that should hold the numbers of a frame.
pub(super) enum Frame {
    /// All of them.
    Whole,
    /// Fewer numbers; the last of them may be cut short, too.
    Short,
    /// A fault, in words.
    Bad(String),
}

/// Reads the `width` numbers of a frame into `values`.
pub(super) fn frame<'a>(words: impl Iterator<Item = &'a [u8]>, width: usize, values: &mut Vec<f64>) -> Frame {
    values.clear();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        match number(word) {
            _ if values.len() == width => return Frame::Bad(format!("more than the {width} numbers of a frame")),
            Some(value) => values.push(value),
            None if words.peek().is_none() && is_cut(word) => return Frame::Short,
            None => return Frame::Bad(format!("found {}, expected a finite number", shown(word))),
        }
    }
    if values.len() < width { Frame::Short } else { Frame::Whole }
}

/// True if a word is the beginning of a number but not a number itself.
fn is_cut(word: &[u8]) -> bool {
    number(&[word, b"0"].concat()).is_some()
}

/// A word in a form that is safe in a message.
pub(super) fn shown(word: &[u8]) -> String {
    const LONGEST: usize = 40;
    let text = String::from_utf8_lossy(word);
    let mut shown: String = text.chars().take(LONGEST).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().count() > LONGEST {
        shown.push_str("...");
    }
    format!("'{shown}'")
}

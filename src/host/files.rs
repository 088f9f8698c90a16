//! Files that a user names, opened for reading. This is the only place that opens them.
//!
//! Opening never waits for another program. A reader that seeks takes regular files only
//! ([`open`]). A reader that goes from beginning to end also takes pipes ([`read`], [`text`]), and
//! states the largest number of bytes that it takes.
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longest wait for a first writer at the other end of a pipe.
const NO_WRITER: Duration = Duration::from_secs(1);
/// Longest silence of the program at the other end of a pipe.
const SILENCE: Duration = Duration::from_secs(30);
/// Time between two looks at a pipe.
const NAP: Duration = Duration::from_millis(2);

/// Opens a regular file; also returns its length in bytes. Errors: it cannot be opened, or is a
/// folder ([`ErrorKind::IsADirectory`]), a pipe or a device ([`ErrorKind::InvalidInput`]).
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    let (file, about) = opened(path)?;
    if about.is_file() { Ok((file, about.len())) } else { Err(no_file(&about)) }
}

/// The bytes of a regular file or of a pipe. Errors: those of [`open`], more than `limit` bytes
/// ([`ErrorKind::FileTooLarge`]), and a pipe that sends nothing ([`ErrorKind::TimedOut`]).
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let (file, about) = opened(path)?;
    let too_large = || Err(io::Error::new(ErrorKind::FileTooLarge, format!("more than {}", size(limit))));
    if about.is_file() && about.len() > limit {
        return too_large();
    }
    let source: Box<dyn Read> = match about.is_file() {
        true => Box::new(file),
        false if is_pipe(&about) => Box::new(Pipe { file, begun: false }),
        false => return Err(no_file(&about)),
    };
    let mut bytes = Vec::new();
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { too_large() } else { Ok(bytes) }
}

/// The text of a regular file or of a pipe, without a byte order mark. Errors: those of [`read`],
/// and bytes that are not UTF-8 ([`ErrorKind::InvalidData`]).
pub fn text(path: &Path, limit: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, limit)?);
    let text = text.map_err(|_| io::Error::new(ErrorKind::InvalidData, "not UTF-8 text"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Opens a file of any kind without waiting. (A plain open of a pipe waits for a program that
/// writes to it.)
fn opened(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    let about = file.metadata()?;
    Ok((file, about))
}

/// The error for a path that is not a regular file.
fn no_file(about: &Metadata) -> io::Error {
    let (kind, what) = match about.is_dir() {
        true => (ErrorKind::IsADirectory, "a folder"),
        false if is_pipe(about) => (ErrorKind::InvalidInput, "a pipe"),
        false => (ErrorKind::InvalidInput, "a device"),
    };
    io::Error::new(kind, format!("{what}, not a file"))
}

fn is_pipe(about: &Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::FileTypeExt::is_fifo(&about.file_type());
    #[cfg(not(unix))]
    return false;
}

/// A number of bytes in words.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// A pipe that was opened without waiting.
struct Pipe {
    file: File,
    /// True once a byte has come: from then on, a pipe without a writer has ended.
    begun: bool,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let asked = Instant::now();
        loop {
            let (patience, what) = match self.file.read(buffer) {
                Ok(0) if !self.begun && !buffer.is_empty() => (NO_WRITER, "a pipe that no program writes to"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => (SILENCE, "a pipe through which nothing comes"),
                read => {
                    self.begun = true;
                    return read;
                }
            };
            if asked.elapsed() > patience {
                return Err(io::Error::new(ErrorKind::TimedOut, what));
            }
            sleep(NAP);
        }
    }
}

//! The one error type. Every message is one line: what, where, how to mend.
use crate::host::shown::shown;
use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, grouped by what the user can do about it (see
/// [`Error::exit_code`]).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Flags, environment or configuration file ask for something impossible.
    #[error("{0}")]
    Usage(String),
    /// The requested device is not available.
    #[error("{0}")]
    Device(String),
    /// A data file cannot be used.
    #[error("{}: {what}; {mend}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// The fault of the file.
        what: String,
        /// How to mend it.
        mend: String,
    },
    /// A checkpoint or run folder cannot be used.
    #[error("{}: {what}; {mend}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// The fault of the file or folder.
        what: String,
        /// How to mend it.
        mend: String,
    },
    /// An operation was given tensors whose shapes do not fit.
    #[error("{op}: {what} is {got}, expected {want}; {hint}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// Which of the sizes is wrong.
        what: &'static str,
        /// The size found.
        got: usize,
        /// The size needed.
        want: usize,
        /// Where the size comes from.
        hint: &'static str,
    },
    /// Training met a loss that is not a number.
    #[error("epoch {epoch}, step {step}: the loss is not finite, first made so by {operation}; {mend}")]
    NonFinite {
        /// Epoch, from 1.
        epoch: usize,
        /// Optimizer step, from 1.
        step: u64,
        /// First operation whose output is not finite, and which output.
        operation: String,
        /// How to mend it.
        mend: String,
    },
    /// The operating system refused a read or a write.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The attempted operation.
        what: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// A check of the program itself failed.
    #[error("{0}")]
    Check(String),
    /// A quality gate was not met.
    #[error("{0}")]
    Gate(String),
    /// One of several runs failed.
    #[error("{name}: {source}")]
    Member {
        /// The run's name.
        name: String,
        /// The run's error.
        source: Box<Error>,
    },
    /// Stopped by a signal, with everything saved.
    #[error("stopped by signal {signal}, everything saved; continue with {again}")]
    Stopped {
        /// The number of the signal.
        signal: i32,
        /// The flag or the command that continues.
        again: String,
    },
}

impl Error {
    /// Makes the error for a data file that cannot be used.
    pub fn data(path: &Path, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Error::Data { path: path.to_owned(), what: what.into(), mend: mend.into() }
    }

    /// Makes the error for a checkpoint or run folder that cannot be used.
    pub fn checkpoint(path: &Path, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Error::Checkpoint { path: path.to_owned(), what: what.into(), mend: mend.into() }
    }

    /// For `map_err`: a failed read or write of `path`.
    pub fn io(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, what, source }
    }

    /// The error and its causes on one line, without causes that it already states, and with
    /// invisible characters escaped.
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.contains(&text) {
                line = format!("{line}: {text}");
            }
            cause = error.source();
        }
        shown(&line.replace('\n', " ")).into_owned()
    }

    /// The process exit code, as in the table of docs/guide.md: 1 failure, 2 usage, 3 device, 4
    /// data or checkpoint, 5 quality gate, 128 + signal when stopped.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Device(_) => 3,
            Error::Data { .. } | Error::Checkpoint { .. } => 4,
            Error::Gate(_) => 5,
            Error::Member { source, .. } => source.exit_code(),
            Error::Stopped { signal, .. } => 128 + *signal as u8,
            Error::Shape { .. } | Error::NonFinite { .. } | Error::Io { .. } | Error::Check(_) => 1,
        }
    }
}

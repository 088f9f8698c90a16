//! Parses the arguments, runs the command, prints an error on one line and sets the exit code.
#![deny(clippy::print_stdout, clippy::print_stderr)]
use mvae_fast::host::shown::shown;
use mvae_fast::{Error, cli};
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let error = match cli::parse().and_then(cli::run) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    if matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS; // the reader has what it wanted, as in `| head`
    }
    let _ = writeln!(std::io::stderr(), "error: {}", chain(&error));
    ExitCode::from(error.exit_code())
}

/// The error and its causes on one line, without causes that the error already states.
fn chain(error: &Error) -> String {
    let mut line = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    shown(&line.replace('\n', " ")).into_owned()
}

//! The program: the command line, and its exit code.
use std::process::ExitCode;

fn main() -> ExitCode {
    mvae_fast::cli::main(std::env::args_os()).into()
}

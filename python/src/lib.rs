//! The Python module `mvae_fast`. Its classes hold what the library already has: they check what
//! Python hands over, let other Python threads run while they compute, and turn errors into
//! exceptions.
#![deny(unsafe_code)]
mod arrays;
mod environment;
mod held;
mod model;
mod motion;

use mvae_fast::cli;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::ffi::OsString;
use std::panic::catch_unwind;
use std::path::PathBuf;

/// Exit code of a program that panics.
const PANIC: i32 = 101;

create_exception!(
    mvae_fast,
    Error,
    PyException,
    "An input that cannot be used: one line says what, where and how to mend it."
);

/// The compiled part of the Python package.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::environment::Environment;
    #[pymodule_export]
    use super::model::{Model, Walk, load};
    #[pymodule_export]
    use super::motion::{MotionSet, Skeleton, import_bvh, read_set};
    #[pymodule_export]
    use super::run_command;
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("Error", module.py().get_type::<super::Error>())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// Runs the command line of `sys.argv` and ends the process with its exit code.
#[pyfunction]
fn run_command(py: Python<'_>) -> PyResult<()> {
    // Ctrl-C ends a command as it ends the program, unless the command listens to it.
    let signal = py.import("signal")?;
    signal.call_method1("signal", (signal.getattr("SIGINT")?, signal.getattr("SIG_DFL")?))?;
    let arguments: Vec<OsString> = py.import("sys")?.getattr("argv")?.extract()?;
    py.detach(|| std::process::exit(catch_unwind(|| cli::main(arguments)).map_or(PANIC, i32::from)))
}

/// The exception for an error of the library.
fn raised(error: mvae_fast::Error) -> PyErr {
    Error::new_err(error.line())
}

/// One path, or several.
#[derive(FromPyObject)]
enum Paths {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

impl Paths {
    fn list(self) -> Vec<PathBuf> {
        match self {
            Paths::One(path) => vec![path],
            Paths::Several(paths) => paths,
        }
    }
}

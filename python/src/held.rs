//! Values that Python objects hold, and the devices that compute for them.
use super::raised;
use mvae_fast::backend::{Backend, Device};
use mvae_fast::cli::Compute;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::num::NonZeroUsize;
use std::process;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError, TryLockError};

/// A value that one thread at a time may use, until it is closed.
pub(super) struct Held<T> {
    /// The noun for messages.
    what: &'static str,
    /// The process that made it: threads of the device do not survive a fork.
    process: u32,
    value: Mutex<Option<T>>,
}

impl<T> Held<T> {
    pub fn new(what: &'static str, value: T) -> Self {
        Held { what, process: process::id(), value: Mutex::new(Some(value)) }
    }

    /// Uses the value. Errors (Python): it is closed, in use by another thread, or of another
    /// process.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> PyResult<R>) -> PyResult<R> {
        let what = self.what;
        self.require_own_process()?;
        let mut held = match self.value.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let message = format!("this {what} is at work in another thread; give each thread its own");
                return Err(PyRuntimeError::new_err(message));
            }
        };
        work(held.as_mut().ok_or_else(|| self.closed())?)
    }

    /// A copy of the value. Errors (Python): it is closed, or of another process.
    pub fn get(&self) -> PyResult<T>
    where
        T: Clone,
    {
        self.require_own_process()?;
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| self.closed())
    }

    /// Frees the value once no thread uses it. In a process that was forked, nothing is freed: a
    /// thread that used it is not there to end.
    pub fn close(&self, py: Python<'_>)
    where
        T: Send,
    {
        if self.process != process::id() {
            return;
        }
        let value = py.detach(|| self.value.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(value);
    }

    fn closed(&self) -> PyErr {
        PyValueError::new_err(format!("this {} is closed; make another one", self.what))
    }

    fn require_own_process(&self) -> PyResult<()> {
        if self.process == process::id() {
            return Ok(());
        }
        let what = self.what;
        let message = format!("this {what} belongs to the process that forked this one; make one in this process");
        Err(PyRuntimeError::new_err(message))
    }
}

/// An open device: the process that opened it, its name, its threads.
type Open = (u32, String, Option<usize>, &'static dyn Backend);

/// The device of this name, with so many threads (default: as many as the machine offers). It is
/// opened once and lasts as long as the process. Errors (Python): there is none, or 0 threads.
pub(super) fn device(py: Python<'_>, name: &str, threads: Option<usize>) -> PyResult<&'static dyn Backend> {
    static OPEN: Mutex<Vec<Open>> = Mutex::new(Vec::new());
    let device =
        Device::from_str(name).map_err(|expected| PyValueError::new_err(format!("device is {name:?}, {expected}")))?;
    let zero = || PyValueError::new_err("threads is 0, expected 1 or more, or None");
    let number = threads.map(|threads| NonZeroUsize::new(threads).ok_or_else(zero)).transpose()?;
    py.detach(|| {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |(process, at, with, _): &&Open| *process == process::id() && at == name && *with == threads;
        if let Some((.., backend)) = open.iter().find(is_it) {
            return Ok(*backend);
        }
        let backend: &'static dyn Backend = Box::leak(Compute::new(device, number).open()?);
        open.push((process::id(), name.to_owned(), threads, backend));
        Ok(backend)
    })
    .map_err(raised)
}

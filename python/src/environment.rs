//! Characters of a task, steered from Python. `mvae_fast.gym` makes environments of gymnasium of
//! them.
use super::arrays::{Numbers, array};
use super::held::{Held, device};
use super::{Paths, raised};
use clap::ValueEnum;
use mvae_fast::cli::{Kind, checkpoint_file};
use mvae_fast::control::config::{Algorithm, Overrides, PolicyConfig, Preset};
use mvae_fast::control::episodes::{Episodes, Outcome};
use mvae_fast::ops::world::Task;
use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::{Path, PathBuf};

/// Keys of a controller's configuration that describe its surroundings.
const KEYS: [&str; 11] = [
    "frame_skip",
    "horizon",
    "literal",
    "lower",
    "maze",
    "normalize_observations",
    "path",
    "path_pace",
    "stagger_episodes",
    "top_speed",
    "units",
];

/// Observations, rewards, terminated, truncated, and the observations in which episodes ended, if
/// any did.
type Step<'py> = (
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<bool>>,
    Bound<'py, PyArray1<bool>>,
    Option<Bound<'py, PyArray2<f32>>>,
);

/// P characters that do a task in the decoder of a run. One whose episode ends starts anew in the
/// same step. `mvae_fast.gym` wraps it.
#[pyclass(frozen, module = "mvae_fast")]
pub(super) struct Environment {
    held: Held<Episodes<'static>>,
    characters: usize,
    sizes: [usize; 2],
}

#[pymethods]
impl Environment {
    /// Lays out `characters` characters. `keys` are keys of a controller's configuration that
    /// describe its surroundings; the other arguments are those of `load`.
    ///
    /// Raises `ValueError` for an unknown task or key, `Error` for what cannot be used.
    #[new]
    #[pyo3(signature = (task, run, characters, *, keys=None, data=None, device="auto", threads=None, runs=PathBuf::from("runs")))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        task: &str,
        run: PathBuf,
        characters: usize,
        keys: Option<&Bound<'_, PyDict>>,
        data: Option<Paths>,
        device: &str,
        threads: Option<usize>,
        runs: PathBuf,
    ) -> PyResult<Self> {
        let task = Task::from_str(task, false).map_err(|_| {
            let known = Task::ALL.iter().map(|task| task.name()).collect::<Vec<_>>().join(", ");
            PyValueError::new_err(format!("there is no task {task:?}; expected one of {known}"))
        })?;
        let mut table = keys.map(table).transpose()?.unwrap_or_default();
        let lower = table.remove("lower").and_then(|lower| Some(PathBuf::from(lower.as_str()?)));
        table.entry("stagger_episodes").or_insert(toml::Value::Boolean(false));
        let backend = self::device(py, device, threads)?;
        let episodes = py.detach(|| {
            let checkpoint = |run: PathBuf, kind| checkpoint_file(&runs, &run, kind).map(|(file, _)| file);
            let given = Overrides {
                task: Some(task.name().to_owned()),
                algorithm: Some(Algorithm::Ppo), // the only one that serves every task; nothing is trained
                vae: Some(checkpoint(run, Kind::Model)?),
                lower: lower.map(|lower| checkpoint(lower, Kind::Controller)).transpose()?,
                characters: Some(characters),
                ..Overrides::default()
            };
            let text = toml::to_string(&table).expect("a table is TOML");
            let file = Some((Path::new("the environment's arguments"), &*text));
            let config = PolicyConfig::layered(Some(Preset::Default), file, &Overrides::default(), &given)?;
            Episodes::open(&config, &data.map_or_else(Vec::new, Paths::list), backend, characters)
        });
        let episodes = episodes.map_err(raised)?;
        Ok(Environment { characters, sizes: episodes.sizes(), held: Held::new("environment", episodes) })
    }

    /// Puts every character at a start, and returns the observations [P, D] float32. The same seed
    /// makes the same starts and the same wishes of the task.
    fn reset<'py>(&self, py: Python<'py>, seed: u64) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let observations = self.held.with(|episodes| py.detach(|| episodes.restart(seed)).map_err(raised))?;
        Ok(array(py, [self.characters, self.sizes[0]], observations))
    }

    /// Carries out actions [P, A] float32, whose numbers are about in [-1, 1]. Returns observations
    /// [P, D] float32, rewards [P] float64, terminated [P] and truncated [P]. The last value is the
    /// observations [P, D] in which episodes ended, or None if none did.
    fn step<'py>(&self, py: Python<'py>, actions: &Bound<'py, PyAny>) -> PyResult<Step<'py>> {
        let (p, [d, a]) = (self.characters, self.sizes);
        let actions = Numbers::of("actions", actions)?;
        actions.require(actions.shape == [p, a], &format!("[{p}, {a}]"))?;
        let outcome = self.held.with(|episodes| py.detach(|| episodes.step(&actions.values)).map_err(raised))?;
        let Outcome { observations, rewards, terminated, truncated, last } = outcome;
        let rewards: Vec<f64> = rewards.into_iter().map(f64::from).collect();
        Ok((
            array(py, [p, d], observations),
            rewards.into_pyarray(py),
            terminated.into_pyarray(py),
            truncated.into_pyarray(py),
            last.map(|last| array(py, [p, d], last)),
        ))
    }

    /// P: number of characters.
    #[getter]
    fn characters(&self) -> usize {
        self.characters
    }

    /// D: numbers of an observation.
    #[getter]
    fn observation_size(&self) -> usize {
        self.sizes[0]
    }

    /// A: numbers of an action.
    #[getter]
    fn action_size(&self) -> usize {
        self.sizes[1]
    }

    /// Frees the characters.
    fn close(&self, py: Python<'_>) {
        self.held.close(py);
    }
}

/// The keys as a layer of a configuration. Errors (Python): a key that no environment has, a value
/// that no key takes.
fn table(keys: &Bound<'_, PyDict>) -> PyResult<toml::Table> {
    let value = |key: &str, value: &Bound<'_, PyAny>| {
        Ok(if let Ok(value) = value.extract::<bool>() {
            value.into()
        } else if let Ok(value) = value.extract::<i64>() {
            value.into()
        } else if let Ok(value) = value.extract::<f64>() {
            value.into()
        } else if let Ok(value) = value.extract::<PathBuf>() {
            value.display().to_string().into()
        } else {
            let kind = value.get_type().name()?;
            return Err(PyTypeError::new_err(format!("{key} is a {kind}, expected a number, a bool or a text")));
        })
    };
    let entry = |(key, of): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let key: String = key.extract()?;
        if !KEYS.contains(&&*key) {
            let known = KEYS.join(", ");
            return Err(PyValueError::new_err(format!("an environment has no {key}; expected some of {known}")));
        }
        let value: toml::Value = value(&key, &of)?;
        Ok((key, value))
    };
    keys.iter().map(entry).collect()
}

//! Trained models, and the characters that they move.
use super::arrays::{Numbers, array};
use super::held::{Held, device};
use super::motion::Skeleton;
use super::{Error, Paths, raised};
use mvae_fast::Result;
use mvae_fast::backend::Backend;
use mvae_fast::cli::{Kind, checkpoint_file};
use mvae_fast::control::config::MAX_CHARACTERS;
use mvae_fast::data::world;
use mvae_fast::infer::generate::encode;
use mvae_fast::infer::rollout::Latent;
use mvae_fast::infer::trained::{Source, Trained};
use mvae_fast::infer::walk;
use mvae_fast::motion::features;
use mvae_fast::motion::rig::{DEFAULT_FPS, METRES, Rig};
use numpy::{PyArray2, PyArrayDyn};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Opens a trained model.
///
/// `run` is a run folder, its name under the folder `runs`, or a checkpoint file. `data` names the
/// motion that characters start from, by default what the model was trained on. `device` is "auto",
/// "cpu", "cuda" or "cuda:N". `threads` defaults to as many as the machine offers; results do not
/// depend on it.
///
/// Raises `Error` if the checkpoint cannot be used or the device cannot be had.
#[pyfunction]
#[pyo3(signature = (run, *, data=None, device="auto", threads=None, runs=PathBuf::from("runs")))]
pub(super) fn load(
    py: Python<'_>,
    run: PathBuf,
    data: Option<Paths>,
    device: &str,
    threads: Option<usize>,
    runs: PathBuf,
) -> PyResult<Model> {
    let backend = self::device(py, device, threads)?;
    let trained = py.detach(|| Trained::load(&checkpoint_file(&runs, &run, Kind::Model)?.0)).map_err(raised)?;
    let data = data.map_or_else(Vec::new, Paths::list);
    let opened = Opened { trained, backend, data, source: Mutex::new(None) };
    Ok(Model { held: Held::new("model", Arc::new(opened)) })
}

/// All that a model needs to run.
struct Opened {
    trained: Trained,
    backend: &'static dyn Backend,
    data: Vec<PathBuf>,
    source: Mutex<Option<Arc<Source>>>,
}

impl Opened {
    /// The motion to start from, which is read once.
    fn source(&self) -> Result<Arc<Source>> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        if source.is_none() {
            *source = Some(Arc::new(self.trained.source(&self.data)?));
        }
        Ok(source.clone().expect("just read"))
    }

    /// The skeleton of the features: the model's, else that of its data.
    fn rig(&self) -> Result<Option<Rig>> {
        let own = self.trained.meta.rig.clone();
        Ok(if own.is_some() { own } else { self.source()?.set.rig.clone() })
    }
}

/// A trained model. `load` opens one.
#[pyclass(frozen, module = "mvae_fast")]
pub(super) struct Model {
    held: Held<Arc<Opened>>,
}

#[pymethods]
impl Model {
    /// Puts `n` characters at starts, and returns them as a `Walk`.
    ///
    /// Starts are drawn from the training data by `seed`, as `mvae-fast generate --seed` draws
    /// them. `start` [n, C, F] (float32, oldest frame first) gives the conditions instead.
    /// `temperature` is the standard deviation of latents that the walk draws from the prior.
    ///
    /// Raises `Error` if the training data cannot be read, `ValueError` for another shape.
    #[pyo3(signature = (n=None, seed=0, *, start=None, temperature=1.0))]
    fn reset(
        &self,
        py: Python<'_>,
        n: Option<usize>,
        seed: u64,
        start: Option<&Bound<'_, PyAny>>,
        temperature: f64,
    ) -> PyResult<Walk> {
        let opened = self.held.get()?;
        let (f, conditions) = (opened.trained.model().frame_size, opened.trained.model().condition_frames);
        if !(temperature >= 0.0 && temperature.is_finite()) {
            return Err(PyValueError::new_err(format!("temperature is {temperature}, expected a number of 0 or more")));
        }
        let start = start.map(|start| Numbers::of("start", start)).transpose()?;
        let characters = match &start {
            None => n.unwrap_or(1),
            Some(start) => {
                let n = n.or(start.shape.first().copied()).unwrap_or_default();
                start.require(start.shape == [n, conditions, f], &format!("[{n}, {conditions}, {f}]"))?;
                n
            }
        };
        if !(1..=MAX_CHARACTERS).contains(&characters) {
            return Err(PyValueError::new_err(format!("n is {characters}, expected 1 to {MAX_CHARACTERS}")));
        }
        let walk = py.detach(|| {
            let (trained, row) = (&opened.trained, conditions * f);
            let (source, starts, given);
            let tracks: Vec<&[f32]> = match start {
                Some(start) => {
                    given = start.values;
                    given.chunks_exact(row).collect()
                }
                None => {
                    source = opened.source()?;
                    starts = source.starts(conditions, characters, seed)?;
                    starts.iter().map(|&start| &source.set.frames[start * f..][..row]).collect()
                }
            };
            let mut walk = walk::Walk::new(trained, opened.backend, characters, characters * conditions, temperature)?;
            walk.begin(trained, &tracks, seed, 0)?;
            Ok(walk)
        });
        let walk = walk.map_err(raised)?;
        Ok(Walk { n: characters, held: Held::new("walk", Walking { walk, opened }) })
    }

    /// The latents of a clip, [N - C - K + 1, L] float32: the posterior's mean for each frame that
    /// has C frames before it and K - 1 behind it. `frames` is [N, F] float32, in the units of the
    /// data.
    ///
    /// Raises `ValueError` for another shape, or for fewer than C + K frames.
    fn encode<'py>(&self, py: Python<'py>, frames: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let opened = self.held.get()?;
        let (model, frames) = (opened.trained.model(), Numbers::of("frames", frames)?);
        let (f, span) = (model.frame_size, model.condition_frames + model.future_predictions);
        let fits = frames.shape.len() == 2 && frames.shape[1] == f && frames.shape[0] >= span;
        frames.require(fits, &format!("[N, {f}] with N of {span} or more"))?;
        let latents = py.detach(|| encode(&opened.trained, opened.backend, &frames.values)).map_err(raised)?;
        let l = model.latent_size;
        Ok(array(py, [latents.len() / l, l], latents))
    }

    /// The places of the joints in the world, [..., T, J, 3] float32, metres, y up. `poses` is
    /// [T, F] or [n, T, F] float32: the frames of each character in their order. A character begins
    /// at the origin and faces +z.
    ///
    /// Raises `ValueError` for another shape, `Error` if the frames are not of joints.
    fn positions<'py>(&self, py: Python<'py>, poses: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let opened = self.held.get()?;
        let (f, poses) = (opened.trained.model().frame_size, Numbers::of("poses", poses)?);
        let fits = matches!(poses.shape[..], [_, last] | [_, _, last] if last == f);
        poses.require(fits, &format!("[T, {f}] or [n, T, {f}]"))?;
        let joints = features::joints(f).ok_or_else(|| {
            Error::new_err(format!("{f} features a frame are not those of joints, so they have no places"))
        })?;
        let frames = poses.shape[poses.shape.len() - 2];
        let places = py.detach(|| {
            let mut places = Vec::with_capacity(poses.values.len() / f * joints * 3);
            for walk in poses.values.chunks_exact((frames * f).max(1)) {
                let mut root = world::START;
                for frame in walk.chunks_exact(f) {
                    root = root.advanced(world::root_motion(frame));
                    places.extend(world::positions(frame, &root).into_iter().map(|x| x * METRES as f32));
                }
            }
            places
        });
        let mut shape = poses.shape.clone();
        shape.pop();
        shape.extend([joints, 3]);
        Ok(array(py, shape, places))
    }

    /// The skeleton of the poses, or None if neither model nor data name one.
    #[getter]
    fn skeleton(&self, py: Python<'_>) -> PyResult<Option<Skeleton>> {
        let opened = self.held.get()?;
        Ok(py.detach(|| opened.rig()).map_err(raised)?.map(|rig| Skeleton(rig.skeleton)))
    }

    /// Frames a second.
    #[getter]
    fn fps(&self, py: Python<'_>) -> PyResult<f64> {
        let opened = self.held.get()?;
        Ok(py.detach(|| opened.rig()).map_err(raised)?.map_or(DEFAULT_FPS, |rig| rig.fps))
    }

    /// F: features of a frame.
    #[getter]
    fn frame_size(&self) -> PyResult<usize> {
        Ok(self.held.get()?.trained.model().frame_size)
    }

    /// L: numbers of a latent.
    #[getter]
    fn latent_size(&self) -> PyResult<usize> {
        Ok(self.held.get()?.trained.model().latent_size)
    }

    /// C: frames that a prediction is conditioned on.
    #[getter]
    fn condition_frames(&self) -> PyResult<usize> {
        Ok(self.held.get()?.trained.model().condition_frames)
    }

    /// K: frames that are predicted at once.
    #[getter]
    fn future_predictions(&self) -> PyResult<usize> {
        Ok(self.held.get()?.trained.model().future_predictions)
    }

    /// The network: mixture, posevae, specialist or vq.
    #[getter]
    fn variant(&self) -> PyResult<String> {
        Ok(self.held.get()?.trained.model().variant.name())
    }

    /// The checkpoint that it was read from.
    #[getter]
    fn path(&self) -> PyResult<PathBuf> {
        Ok(self.held.get()?.trained.path.clone())
    }

    /// Frees the model. Walks that it has begun go on.
    fn close(&self, py: Python<'_>) {
        self.held.close(py);
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, pyo3::types::PyTuple>) {
        self.held.close(py);
    }

    fn __repr__(&self) -> String {
        match self.held.get() {
            Ok(opened) => {
                let (model, path) = (opened.trained.model(), opened.trained.path.display());
                format!(
                    "<mvae_fast.Model {path}: {}, F={}, L={}>",
                    model.variant.name(),
                    model.frame_size,
                    model.latent_size
                )
            }
            Err(_) => "<mvae_fast.Model, closed>".into(),
        }
    }
}

/// Characters under way, with the model that moves them.
struct Walking {
    walk: walk::Walk<'static>,
    opened: Arc<Opened>,
}

/// Characters side by side, each conditioned on its own last frames. `Model.reset` makes them.
#[pyclass(frozen, module = "mvae_fast")]
pub(super) struct Walk {
    n: usize,
    held: Held<Walking>,
}

#[pymethods]
impl Walk {
    /// The next frame of every character, [n, F] float32, in the units of the data (feet).
    /// `latents` is [n, L] float32; without it, they are drawn from the prior.
    ///
    /// Raises `TypeError` or `ValueError` for other arrays, `RuntimeError` while another thread
    /// steps the same characters.
    #[pyo3(signature = (latents=None))]
    fn step<'py>(&self, py: Python<'py>, latents: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let latents = latents.map(|latents| Numbers::of("latents", latents)).transpose()?;
        let rows = self.held.with(|Walking { walk, opened }| {
            let (trained, l) = (&opened.trained, opened.trained.model().latent_size);
            if let Some(latents) = &latents {
                latents.require(latents.shape == [self.n, l], &format!("[{}, {l}]", self.n))?;
            }
            let latent = latents.as_ref().map_or(Latent::Prior, |latents| Latent::Given(&latents.values));
            py.detach(|| {
                walk.step(latent)?;
                let mut rows = walk.frames()?;
                trained.statistics.denormalize(trained.meta.normalization, &mut rows);
                Ok(rows)
            })
            .map_err(raised)
        })?;
        Ok(array(py, [self.n, rows.len() / self.n], rows))
    }

    /// The latents of the last step, [n, L] float32.
    #[getter]
    fn latents<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let latents = self.held.with(|Walking { walk, .. }| walk.latents().map_err(raised))?;
        Ok(array(py, [self.n, latents.len() / self.n], latents))
    }

    /// Frames so far.
    #[getter]
    fn frames(&self) -> PyResult<usize> {
        self.held.with(|Walking { walk, .. }| Ok(walk.steps()))
    }

    /// Number of characters.
    #[getter]
    fn n(&self) -> usize {
        self.n
    }

    /// Frees the characters.
    fn close(&self, py: Python<'_>) {
        self.held.close(py);
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, pyo3::types::PyTuple>) {
        self.held.close(py);
    }

    fn __repr__(&self) -> String {
        format!("<mvae_fast.Walk, n={}>", self.n)
    }
}

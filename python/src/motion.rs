//! Sets of motion and their skeletons.
use super::arrays::{Numbers, array};
use super::{Paths, raised};
use clap::ValueEnum;
use mvae_fast::cli::require_new_set;
use mvae_fast::data::{Dataset, npz};
use mvae_fast::exchange::import::{self, FPS, ImportOptions};
use mvae_fast::motion;
use mvae_fast::motion::rig::METRES;
use mvae_fast::motion::units::{Scale, Up};
use numpy::PyArray2;
use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;
use std::ffi::CString;
use std::path::PathBuf;
use std::thread::available_parallelism;

/// Named joints in a tree.
#[pyclass(frozen, module = "mvae_fast")]
pub(super) struct Skeleton(pub(super) motion::Skeleton);

#[pymethods]
impl Skeleton {
    /// Names of the J joints, in the order of the features.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.0.names.clone()
    }

    /// Parent of each joint; -1 for the one without.
    #[getter]
    fn parents(&self) -> Vec<i64> {
        self.0.parents.iter().map(|parent| parent.map_or(-1, |parent| parent as i64)).collect()
    }

    /// Place of each joint in its parent's axes, [J, 3] float32, metres. That of the joint without
    /// parent has no meaning.
    #[getter]
    fn offsets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f32>> {
        let offsets = self.0.offsets.as_flattened().iter().map(|x| (x * METRES) as f32).collect();
        array(py, [self.0.len(), 3], offsets)
    }

    /// Numbers of the left and the right toe.
    #[getter]
    fn toes(&self) -> (usize, usize) {
        self.0.toes.into()
    }

    /// Number of the joint that carries the body.
    #[getter]
    fn hips(&self) -> usize {
        self.0.hips
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __repr__(&self) -> String {
        format!("<mvae_fast.Skeleton, {} joints>", self.0.len())
    }
}

/// Clips of motion. `read_set` and `import_bvh` make one.
#[pyclass(frozen, module = "mvae_fast")]
pub(super) struct MotionSet {
    /// Everything but the frames, which numpy owns.
    set: Dataset,
    frames: Py<PyArray2<f32>>,
    report: Option<String>,
    refused: Vec<String>,
}

impl MotionSet {
    fn new(py: Python<'_>, mut set: Dataset) -> Self {
        let frames = std::mem::take(&mut set.frames);
        let frames = array(py, [frames.len() / set.frame_size.max(1), set.frame_size], frames).unbind();
        MotionSet { set, frames, report: None, refused: Vec::new() }
    }
}

#[pymethods]
impl MotionSet {
    /// Features of all frames, [N, F] float32, in feet and radians.
    #[getter]
    fn frames(&self, py: Python<'_>) -> Py<PyArray2<f32>> {
        self.frames.clone_ref(py)
    }

    /// First frame of each clip, and the frame behind its last.
    #[getter]
    fn clips(&self) -> Vec<(usize, usize)> {
        let ends = self.set.end_indices.iter().map(|end| end + 1);
        let starts = [0].into_iter().chain(ends.clone());
        starts.zip(ends).collect()
    }

    /// Names of the clips; empty if they have none.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.set.clip_names.clone()
    }

    /// Frames a second.
    #[getter]
    fn fps(&self) -> f64 {
        self.set.fps()
    }

    /// The skeleton, if it is known.
    #[getter]
    fn skeleton(&self) -> Option<Skeleton> {
        self.set.rig.as_ref().map(|rig| Skeleton(rig.skeleton.clone()))
    }

    /// Findings and assumptions of an import, for a person to check; None of a set that was read.
    #[getter]
    fn report(&self) -> Option<String> {
        self.report.clone()
    }

    /// Why files were not imported, in lines.
    #[getter]
    fn refused(&self) -> Vec<String> {
        self.refused.clone()
    }

    /// Writes the set as an `.npz` that `mvae-fast train` reads. Never overwrites a file.
    ///
    /// Raises `Error` if the file exists or cannot be written, `ValueError` if `frames` was changed
    /// to another shape or to numbers that are not finite.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let frames = Numbers::of("frames", self.frames.bind(py).as_any())?;
        let rows = self.set.end_indices.last().map_or(0, |end| end + 1);
        let f = self.set.frame_size;
        frames.require(frames.shape == [rows, f], &format!("[{rows}, {f}]"))?;
        let set = Dataset { frames: frames.values, ..self.set.clone() };
        py.detach(|| require_new_set(&path).and_then(|()| npz::write(&path, &set))).map_err(raised)
    }

    fn __repr__(&self) -> String {
        let frames = self.set.end_indices.last().map_or(0, |end| end + 1);
        format!(
            "<mvae_fast.MotionSet, {} clips, {frames} frames, F={}>",
            self.set.end_indices.len(),
            self.set.frame_size
        )
    }
}

/// Reads the clips of one `.npz` file or of several, in their order.
///
/// Raises `Error` if one cannot be used, or if they do not fit together.
#[pyfunction]
pub(super) fn read_set(py: Python<'_>, paths: Paths) -> PyResult<MotionSet> {
    let paths = paths.list();
    let set = py.detach(|| Dataset::load(&paths)).map_err(raised)?;
    Ok(MotionSet::new(py, set))
}

/// Imports files of motion (BVH, also compressed) and folders of them, as `mvae-fast data import`
/// does. `fps` is the rate of the set, `mirror` adds the mirror image of each clip. `units` and
/// `up` of the files are guessed by default.
///
/// Warns of each file that cannot be read; raises `Error` if none can.
#[pyfunction]
#[pyo3(signature = (paths, *, fps=30.0, units=None, up=None, mirror=false, threads=None))]
pub(super) fn import_bvh(
    py: Python<'_>,
    paths: Paths,
    fps: f64,
    units: Option<&str>,
    up: Option<&str>,
    mirror: bool,
    threads: Option<usize>,
) -> PyResult<MotionSet> {
    let wrong = |message: String| PyValueError::new_err(message);
    if !FPS.contains(&fps) {
        return Err(wrong(format!("fps is {fps}, expected {} to {}", FPS.start(), FPS.end())));
    }
    if threads == Some(0) {
        return Err(wrong("threads is 0, expected 1 or more, or None".into()));
    }
    let paths = paths.list();
    let options = ImportOptions {
        fps,
        units: units.map(str::parse::<Scale>).transpose().map_err(|why| wrong(format!("units: {why}")))?,
        up: up.map(|up| Up::from_str(up, true)).transpose().map_err(|why| wrong(format!("up: {why}")))?,
        mirror,
        threads: threads.unwrap_or_else(|| available_parallelism().map_or(1, |n| n.get())),
        ..ImportOptions::default()
    };
    let imported = py.detach(|| import::import(&paths, &options)).map_err(raised)?;
    let refused: Vec<String> = imported.refused.iter().map(mvae_fast::Error::line).collect();
    if imported.set.rig.is_none() {
        return Err(super::Error::new_err(format!("no file could be imported: {}", refused.join("; "))));
    }
    for line in &refused {
        let line = CString::new(format!("refused: {line}")).expect("a line shows no NUL");
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &line, 1)?;
    }
    Ok(MotionSet { report: Some(imported.report.to_string()), refused, ..MotionSet::new(py, imported.set) })
}

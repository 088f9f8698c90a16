//! Courses of tasks: paths to follow, and walls of a maze. Lengths are in body units.
pub mod maze;
pub mod path;

use super::config::PolicyConfig;
use crate::checkpoint::{Checkpoint, Tensor};
use crate::motion::Rig;
use crate::motion::rig::METRES;
use crate::ops::world::Task;
use crate::ops::world::task::Course;
use crate::{Error, Result, host::files};
use path::Shape;
use std::io::ErrorKind;
use std::path::Path;

/// Largest file that is read, bytes.
const MAX_FILE: u64 = 16 << 20;
/// Largest coordinate accepted from a file, body units.
const FARTHEST: f64 = 1e6;
/// Name of the course's tensor in a checkpoint.
const TENSOR: &str = "task.course";

/// The course that a configuration names, for a character whose body unit is `body` feet. A path is
/// one point a step, a maze is both ends of each wall, and other tasks have no course. Errors: a
/// file that cannot be used, an unknown pace.
pub fn configured(c: &PolicyConfig, rig: &Rig, body: f64) -> Result<Vec<[f64; 2]>> {
    let unit = c.units.metres() / METRES / body;
    match c.task.info().course {
        Course::Nothing => Ok(Vec::new()),
        Course::Walls if c.maze.as_os_str().is_empty() => Ok(maze::walls().concat()),
        Course::Walls => Ok(maze::from_file(&c.maze, unit)?.concat()),
        Course::Path => {
            let shape = Shape::named(&c.path);
            if c.literal && shape == Some(Shape::Eight) && c.path_pace == 0.0 {
                return Ok(path::figure_eight(c.horizon()));
            }
            let points = shape.map_or_else(|| path::from_file(c.path.as_ref(), unit), |shape| Ok(shape.points()))?;
            let pace = if c.path_pace > 0.0 { c.path_pace } else { rig.speeds.median / body };
            if pace <= 0.0 {
                let what = "its data never moves, so no pace is known";
                return Err(Error::checkpoint(&c.vae, what, "give one with --path-pace"));
            }
            path::paced(&points, pace * c.frame_skip as f64)
        }
    }
}

/// The largest distance of a maze's walls from the origin along x and along z.
pub fn arena(walls: &[[f64; 2]]) -> [f64; 2] {
    [0, 1].map(|axis| walls.iter().map(|end| end[axis].abs()).fold(0.0, f64::max))
}

/// The course as a tensor of a checkpoint: a run resumes on it, whatever happened to the file.
pub fn tensor(course: &[[f64; 2]]) -> Tensor<'_> {
    Tensor::f64(TENSOR, &[course.len(), 2], course.as_flattened())
}

/// The course of a task in a checkpoint, if there is one. Errors: the tensor is no course of this
/// task.
pub fn kept(checkpoint: &Checkpoint, path: &Path, task: Task) -> Result<Option<Vec<[f64; 2]>>> {
    let Some(tensor) = checkpoint.get(TENSOR) else {
        return Ok(None);
    };
    let points = tensor.shape.first().copied().unwrap_or_default();
    let numbers: Vec<f64> = checkpoint.numbers(path, TENSOR, &[points, 2])?;
    let near = numbers.iter().all(|x| x.abs() <= FARTHEST);
    let counts = match task.info().course {
        Course::Nothing => points == 0,
        Course::Path => (1..=path::MAX_POINTS).contains(&points),
        Course::Walls => (2..=2 * maze::MAX_WALLS).contains(&points) && points.is_multiple_of(2),
    };
    if !(near && counts) {
        let what = format!("its course of {points} points is none of task {}", task.name());
        return Err(Error::checkpoint(path, what, "use the checkpoint as the run wrote it"));
    }
    Ok(Some(numbers.as_chunks().0.to_vec()))
}

/// The text of a file written by the user. Errors: it cannot be read, is too large, or is not text.
fn read(path: &Path, mend: &str) -> Result<String> {
    files::text(path, MAX_FILE).map_err(|error| {
        let what = match error.kind() {
            ErrorKind::FileTooLarge | ErrorKind::InvalidData => error.to_string(),
            _ => format!("cannot be read: {error}"),
        };
        Error::data(path, what, mend)
    })
}

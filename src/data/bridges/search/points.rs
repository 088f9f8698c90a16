//! Frames as points: coordinates of each in the few directions in which frames differ most.
use super::Field;
use nalgebra::DMatrix;

/// Number of directions in which frames are compared first: those in which they differ most, in
/// descending order.
pub(super) const PROBED: usize = 32;
/// Iterations that find the directions.
const ROUNDS: usize = 4;
/// Number of frames, spread over all, that the directions are found from.
const SAMPLED: usize = 2000;
/// Largest coordinate. (Clamping points to it never increases their distances.)
const FARTHEST: f32 = 1e9;
/// Number of products summed at a time, which keeps rounding errors small.
const SUMMED: usize = 16;

/// Coordinates of a frame along the directions.
pub(super) type Point = [f32; PROBED];

/// The point of every frame, and the largest rounding error of the distance of two points.
pub(super) fn points(field: &Field, threads: usize) -> (Vec<Point>, f32) {
    let frames = field.frames.chunks_exact(field.frame_size);
    let sampled: Vec<&[f32]> = field.clips.iter().cloned().flatten().map(|i| field.frame(i)).collect();
    let sampled = sampled.iter().step_by(sampled.len().div_ceil(SAMPLED).max(1)).copied();
    let sampled: Vec<&[f32]> = sampled.filter(|frame| frame.iter().all(|x| x.is_finite())).collect();
    let directions = directions(&sampled, field.frame_size);
    let mut points = vec![[0.0; PROBED]; frames.len()];
    let share = points.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (points, frames) in points.chunks_mut(share).zip(field.frames.chunks(share * field.frame_size)) {
            let directions = &directions;
            scope.spawn(move || {
                for (point, frame) in points.iter_mut().zip(frames.chunks_exact(field.frame_size)) {
                    *point = project(frame, directions);
                }
            });
        }
    });
    // A coordinate is a sum of sums of rounded products. Its rounding error is bounded by the
    // length of the longest frame.
    let squares = frames.map(|frame| frame.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>());
    let longest = squares.filter(|square| square.is_finite()).fold(0.0, f64::max).sqrt() as f32;
    let sums = (SUMMED + field.frame_size.div_ceil(SUMMED)) as f32;
    let slack = 2.0 * (PROBED as f32).sqrt() * f32::EPSILON * sums * longest;
    (points, slack)
}

/// Approximate directions in which frames of F features, with a mean near 0, differ most. They have
/// unit length and are orthogonal, in descending order, [F, PROBED]; zeros where there are fewer.
/// (Computed by orthogonal iteration. They need not be exact, as the lower bound holds for any
/// orthonormal directions.)
fn directions(frames: &[&[f32]], frame_size: usize) -> Vec<Point> {
    let count = PROBED.min(frames.len()).min(frame_size);
    let mut all = vec![[0.0; PROBED]; frame_size];
    if count == 0 {
        return all;
    }
    let rows = DMatrix::from_fn(frames.len(), frame_size, |i, j| f64::from(frames[i][j]));
    let mut basis = DMatrix::from_fn(frame_size, count, |j, i| rows[(i * frames.len() / count, j)]);
    for _ in 0..ROUNDS {
        basis = rows.tr_mul(&(&rows * basis)).qr().q();
    }
    for (i, direction) in basis.column_iter().enumerate().filter(|(_, d)| d.iter().all(|x| x.is_finite())) {
        all.iter_mut().zip(direction.iter()).for_each(|(all, &x)| all[i] = x as f32);
    }
    all
}

/// Coordinates of a frame in the directions.
fn project(frame: &[f32], directions: &[Point]) -> Point {
    let mut point = [0f32; PROBED];
    for (frame, directions) in frame.chunks(SUMMED).zip(directions.chunks(SUMMED)) {
        let mut sums = [0f32; PROBED];
        for (x, direction) in frame.iter().zip(directions) {
            (0..PROBED).for_each(|i| sums[i] += x * direction[i]);
        }
        (0..PROBED).for_each(|i| point[i] += sums[i]);
    }
    point.map(|x| x.clamp(-FARTHEST, FARTHEST))
}

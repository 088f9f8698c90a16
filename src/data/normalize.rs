//! Statistics of each feature, and normalisation with them. Statistics are f64 whatever the type of
//! the data, and are saved with the model.
use super::Dataset;
use crate::config::Normalization;
use crate::cpu::real::Real;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Maximum, minimum, mean, standard deviation and weight of each feature: `frame_size` values each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Largest value.
    pub max: Vec<f64>,
    /// Smallest value.
    pub min: Vec<f64>,
    /// Mean.
    pub avg: Vec<f64>,
    /// Standard deviation with divisor N - 1; 1 where it is exactly 0 or there is one frame only.
    pub std: Vec<f64>,
    /// Weight of the feature's squared error, 1 in fresh statistics. The normalised values are
    /// larger by the root of it.
    pub weight: Vec<f64>,
}

impl Statistics {
    /// Statistics of frames [num_frames, frame_size], row major; at least one frame.
    pub fn of<T: Real>(frames: &[T], frame_size: usize) -> Self {
        Self::of_rows(frames.chunks_exact(frame_size), frame_size)
    }

    /// Statistics of rows of `frame_size` values each, such as the frames of the training clips; at
    /// least one row.
    pub fn of_rows<'a, T: Real>(rows: impl Iterator<Item = &'a [T]> + Clone, frame_size: usize) -> Self {
        let mut count = 0;
        let mut max = vec![f64::NEG_INFINITY; frame_size];
        let mut min = vec![f64::INFINITY; frame_size];
        let mut avg = vec![0.0; frame_size];
        for row in rows.clone() {
            count += 1;
            for (i, x) in row.iter().map(|x| x.f64()).enumerate() {
                max[i] = max[i].max(x);
                min[i] = min[i].min(x);
                avg[i] += x;
            }
        }
        assert!(count > 0, "statistics need at least one frame");
        for i in 0..frame_size {
            // Rounding in the sum of equal values would give a constant feature a tiny deviation,
            // by which it would be divided.
            avg[i] = if max[i] == min[i] { max[i] } else { avg[i] / count as f64 };
        }
        let mut std = vec![0.0; frame_size];
        for row in rows {
            for (i, x) in row.iter().map(|x| x.f64()).enumerate() {
                std[i] += (x - avg[i]) * (x - avg[i]);
            }
        }
        for s in &mut std {
            *s = if *s == 0.0 { 1.0 } else { (*s / (count - 1) as f64).sqrt() };
        }
        Statistics { max, min, avg, std, weight: vec![1.0; frame_size] }
    }

    /// Statistics of some clips of a set.
    pub(crate) fn of_clips(set: &Dataset, clips: &[Range<usize>]) -> Self {
        Self::of_rows(clips.iter().cloned().flatten().map(|i| set.frame(i)), set.frame_size)
    }

    /// Scale and shift, `frame_size` values each: normalised = (x - shift) / scale. A constant
    /// feature counts as one of range 1 in [`Normalization::Minmax`].
    pub fn scale_and_shift(&self, mode: Normalization) -> (Vec<f64>, Vec<f64>) {
        let (mut scale, shift) = match mode {
            Normalization::Zscore => (self.std.clone(), self.avg.clone()),
            Normalization::Minmax => {
                let range = |(&max, &min)| if max == min { 1.0 } else { max - min };
                let scale: Vec<f64> = self.max.iter().zip(&self.min).map(|x| range(x) / 2.0).collect();
                let shift = self.min.iter().zip(&scale).map(|(min, scale)| min + scale).collect();
                (scale, shift)
            }
            Normalization::None => (vec![1.0; self.avg.len()], vec![0.0; self.avg.len()]),
        };
        scale.iter_mut().zip(&self.weight).for_each(|(scale, weight)| *scale /= weight.sqrt());
        (scale, shift)
    }

    /// Normalises frames [num_frames, frame_size] in place.
    pub fn normalize<T: Real>(&self, mode: Normalization, frames: &mut [T]) {
        self.map(mode, frames, |x, scale, shift| (x - shift) / scale);
    }

    /// Undoes [`Statistics::normalize`], in place.
    pub fn denormalize<T: Real>(&self, mode: Normalization, frames: &mut [T]) {
        self.map(mode, frames, |x, scale, shift| x * scale + shift);
    }

    /// Applies `f(x, scale, shift)`, in f64, to every value.
    fn map<T: Real>(&self, mode: Normalization, frames: &mut [T], f: impl Fn(f64, f64, f64) -> f64) {
        let (scale, shift) = self.scale_and_shift(mode);
        for row in frames.chunks_exact_mut(scale.len()) {
            for ((x, &scale), &shift) in row.iter_mut().zip(&scale).zip(&shift) {
                *x = T::of(f(x.f64(), scale, shift));
            }
        }
    }
}

//! Features of the data as the network sees them: their range, spread and weight.

/// Distance, as a share of a feature's range, by which a walk may leave the data's range.
const MARGIN: f32 = 0.25;

/// Squared distance of two frames, in which all features have equal weight.
pub(crate) fn square_distance(a: &[f32], b: &[f32], features: &[Feature]) -> f64 {
    a.iter().zip(b).zip(features).map(|((&a, &b), feature)| feature.square(a, b)).sum()
}

/// One feature of the data, as the network sees it.
pub struct Feature {
    min: f32,
    max: f32,
    mean: f64,
    std: f64,
    weight: f64,
}

impl Feature {
    /// Measures each feature of `frames`. `weight` is the weight of each feature's squared errors.
    pub fn all(frames: &[f32], weight: &[f64]) -> Vec<Feature> {
        let frame_size = weight.len();
        let n = (frames.len() / frame_size) as f64;
        let (min, max) = (f32::INFINITY, f32::NEG_INFINITY);
        let mut features: Vec<Feature> =
            weight.iter().map(|&weight| Feature { min, max, mean: 0.0, std: 0.0, weight }).collect();
        for frame in frames.chunks_exact(frame_size) {
            for (feature, &x) in features.iter_mut().zip(frame) {
                (feature.min, feature.max) = (feature.min.min(x), feature.max.max(x));
                feature.mean += f64::from(x) / n;
            }
        }
        for frame in frames.chunks_exact(frame_size) {
            for (feature, &x) in features.iter_mut().zip(frame) {
                feature.std += (f64::from(x) - feature.mean).powi(2) / n;
            }
        }
        features.iter_mut().for_each(|feature| feature.std = feature.std.sqrt());
        features
    }

    /// True if the value `x` of a walk is near the data. A constant feature has no range and must
    /// only stay finite.
    pub fn inside(&self, x: f32) -> bool {
        let margin = MARGIN * (self.max - self.min);
        if margin > 0.0 { (self.min - margin..=self.max + margin).contains(&x) } else { x.is_finite() }
    }

    /// True if the feature has more than one value in the data.
    pub(crate) fn varies(&self) -> bool {
        self.max > self.min
    }

    /// Factor of the feature's normalised values that gives all features equal weight.
    pub fn unit(&self) -> f64 {
        1.0 / self.weight.sqrt()
    }

    /// Squared difference of two values, in units of [`Feature::unit`].
    pub fn square(&self, x: f32, y: f32) -> f64 {
        f64::from(x - y).powi(2) / self.weight
    }

    /// Distance of `x` from the mean in standard deviations; for a constant feature the plain
    /// difference.
    pub fn deviation(&self, x: f32) -> f64 {
        (f64::from(x) - self.mean) / if self.varies() { self.std } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::philox::{Purpose, Stream};

    #[test]
    fn the_spread_of_the_data_is_1_whatever_its_scale() {
        let (columns, rows) = (3, 1000);
        let stream = Stream::new(7, Purpose::Check, 0);
        let value = |row: usize, column: usize| match column {
            0 => 100.0 + 0.01 * stream.uniform(row) as f32,
            1 => 50.0 * stream.uniform(rows + row) as f32,
            _ => 4.0,
        };
        let frames: Vec<f32> = (0..rows * columns).map(|i| value(i / columns, i % columns)).collect();
        let features = Feature::all(&frames, &vec![1.0; columns]);
        for (column, expected) in [1.0, 1.0, 0.0].into_iter().enumerate() {
            let square: f64 = (0..rows).map(|row| features[column].deviation(value(row, column)).powi(2)).sum();
            approx::assert_relative_eq!((square / rows as f64).sqrt(), expected, epsilon = 1e-6);
        }
        assert!(features[1].inside(61.0) && !features[1].inside(64.0) && !features[1].inside(f32::NAN));
        assert!(features[2].inside(-1e9) && !features[2].inside(f32::INFINITY));
    }
}

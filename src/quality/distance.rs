//! Distance of generated poses from real ones: Fréchet distance and coverage, in the principal
//! components of the data.
use nalgebra::{DMatrix, DVector};
use serde::Serialize;

/// Share of the data's variance that the components kept explain.
const EXPLAINED: f64 = 0.99;
/// Neighbours that span a real pose's ball.
const NEIGHBOURS: usize = 5;
/// Largest number of poses of each kind that coverage compares.
const COMPARED: usize = 2000;

/// Distance of generated poses from held-out ones. Training poses in place of the generated ones
/// give the score of a model that repeats its training data.
#[derive(Debug, Clone, Serialize)]
pub struct Distance {
    /// Number of features compared.
    pub features: usize,
    /// Principal components kept.
    pub components: usize,
    /// Fréchet distance of the generated poses from the held-out ones.
    pub frechet: f64,
    /// Fréchet distance of training poses from the held-out ones.
    pub frechet_of_training: f64,
    /// Share of held-out poses with a generated pose no farther away than their fifth nearest
    /// held-out neighbour.
    pub coverage: f64,
    /// Coverage of the held-out poses by training poses.
    pub coverage_of_training: f64,
}

/// A feature to compare: its index, and the factor for its values.
pub(crate) type Column = (usize, f64);

/// Smallest number of rows of each kind that can be compared.
pub(crate) const LEAST: usize = 100;

/// Compares rows of normalised features; `columns` are the features to compare. `None` with fewer
/// than [`LEAST`] rows of a kind.
pub fn measure(columns: &[Column], training: &[&[f32]], held_out: &[&[f32]], generated: &[&[f32]]) -> Option<Distance> {
    if columns.is_empty() || training.len().min(held_out.len()).min(generated.len()) < LEAST {
        return None;
    }
    let space = Space::of(columns, training);
    let [training, held_out, generated] = [training, held_out, generated].map(|rows| space.project(rows));
    Some(Distance {
        features: columns.len(),
        components: space.basis.ncols(),
        frechet: frechet(&held_out, &generated),
        frechet_of_training: frechet(&held_out, &training),
        coverage: coverage(&held_out, &generated),
        coverage_of_training: coverage(&held_out, &training),
    })
}

/// Principal components of some features.
struct Space<'a> {
    columns: &'a [Column],
    mean: DVector<f64>,
    basis: DMatrix<f64>,
}

impl<'a> Space<'a> {
    fn of(columns: &'a [Column], rows: &[&[f32]]) -> Self {
        let matrix = matrix(columns, rows);
        let (mean, covariance) = moments(&matrix);
        let eigen = covariance.symmetric_eigen();
        let mut order: Vec<usize> = (0..columns.len()).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let all: f64 = eigen.eigenvalues.sum();
        let mut explained = 0.0;
        let kept = order.iter().take_while(|&&i| {
            let more = explained < EXPLAINED * all;
            explained += eigen.eigenvalues[i];
            more
        });
        let kept: Vec<_> = kept.map(|&i| eigen.eigenvectors.column(i).into_owned()).collect();
        Space { columns, mean, basis: DMatrix::from_columns(&kept) }
    }

    /// Projects rows into the space; each row of the result is one of them.
    fn project(&self, rows: &[&[f32]]) -> DMatrix<f64> {
        let mut matrix = matrix(self.columns, rows);
        matrix.row_iter_mut().for_each(|mut row| row -= self.mean.transpose());
        matrix * &self.basis
    }
}

fn matrix(columns: &[Column], rows: &[&[f32]]) -> DMatrix<f64> {
    DMatrix::from_fn(rows.len(), columns.len(), |row, column| {
        let (column, unit) = columns[column];
        unit * f64::from(rows[row][column])
    })
}

/// Mean and covariance (divisor n - 1) of the rows.
fn moments(rows: &DMatrix<f64>) -> (DVector<f64>, DMatrix<f64>) {
    let mean = rows.row_mean();
    let mut centred = rows.clone();
    centred.row_iter_mut().for_each(|mut row| row -= &mean);
    let covariance = centred.tr_mul(&centred) / (rows.nrows() - 1) as f64;
    (mean.transpose(), covariance)
}

/// Squared 2-Wasserstein distance of two normal distributions, those with the mean and covariance
/// of the rows: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2).
fn frechet(a: &DMatrix<f64>, b: &DMatrix<f64>) -> f64 {
    let ((mean_a, cov_a), (mean_b, cov_b)) = (moments(a), moments(b));
    let root = root(&cov_a);
    let between = (&root * &cov_b * &root).symmetric_eigen().eigenvalues;
    let trace_of_root: f64 = between.iter().map(|x| x.max(0.0).sqrt()).sum();
    (mean_a - mean_b).norm_squared() + cov_a.trace() + cov_b.trace() - 2.0 * trace_of_root
}

/// The square root of a positive semidefinite matrix.
fn root(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let eigen = matrix.clone().symmetric_eigen();
    let roots = eigen.eigenvalues.map(|x| x.max(0.0).sqrt());
    &eigen.eigenvectors * DMatrix::from_diagonal(&roots) * eigen.eigenvectors.transpose()
}

/// Share of real rows with a generated row no farther away than their fifth nearest real neighbour
/// (Naeem et al. 2020).
fn coverage(real: &DMatrix<f64>, generated: &DMatrix<f64>) -> f64 {
    let points = |rows: &DMatrix<f64>| -> Vec<Vec<f64>> {
        let count = rows.nrows().min(COMPARED);
        (0..count).map(|i| rows.row(i * rows.nrows() / count).iter().copied().collect()).collect()
    };
    let (real, generated) = (points(real), points(generated));
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let covered = real.iter().filter(|point| {
        let mut others: Vec<f64> = real.iter().map(|other| distance(point, other)).collect();
        others.sort_unstable_by(f64::total_cmp); // the first is the point itself
        let reach = others[NEIGHBOURS.min(others.len() - 1)];
        generated.iter().any(|other| distance(point, other) <= reach)
    });
    covered.count() as f64 / real.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::philox::{Purpose, Stream};

    /// `n` points in three dimensions: standard normal numbers, stretched and moved.
    fn cloud(seed: u64, n: usize, stretch: [f64; 3], mean: [f64; 3]) -> DMatrix<f64> {
        let stream = Stream::new(seed, Purpose::Check, 0);
        DMatrix::from_fn(n, 3, |i, j| mean[j] + stretch[j] * f64::from(stream.normals(i as u32)[j]))
    }

    #[test]
    fn the_frechet_distance_of_normal_clouds_is_the_formula_of_their_moments() {
        let a = cloud(1, 40_000, [1.0, 2.0, 0.5], [0.0; 3]);
        let b = cloud(2, 40_000, [1.0, 1.0, 1.0], [1.0, 0.0, -2.0]);
        // The axes agree, so that the trace is the sum of (s1 - s2)^2.
        let want = 1.0 + 4.0 + 1.0 + 0.25;
        approx::assert_relative_eq!(frechet(&a, &b), want, max_relative = 0.03);
        assert!(frechet(&a, &a).abs() < 1e-9);
        approx::assert_relative_eq!(frechet(&a, &b), frechet(&b, &a), max_relative = 1e-9);
    }

    #[test]
    fn coverage_is_1_of_the_same_cloud_and_falls_when_a_part_is_missing() {
        let real = cloud(3, 1000, [1.0; 3], [0.0; 3]);
        assert!(coverage(&real, &cloud(4, 1000, [1.0; 3], [0.0; 3])) > 0.9);
        assert!(coverage(&real, &cloud(5, 1000, [0.05; 3], [0.0; 3])) < 0.2, "all poses alike");
        assert_eq!(coverage(&real, &cloud(6, 1000, [1.0; 3], [50.0; 3])), 0.0);
    }

    #[test]
    fn components_keep_what_varies() {
        let (flat, wide) = (cloud(7, 500, [1e-3, 3.0, 1.0], [0.0; 3]), [0, 1, 2].map(|column| (column, 1.0)));
        let rows: Vec<Vec<f32>> = flat.row_iter().map(|row| row.iter().map(|&x| x as f32).collect()).collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let space = Space::of(&wide, &rows);
        assert_eq!(space.basis.ncols(), 2);
        let far = |d: &Distance| (d.frechet, d.coverage);
        let same = measure(&wide, &rows, &rows, &rows).unwrap();
        assert!(same.frechet.abs() < 1e-9 && same.coverage == 1.0, "{:?}", far(&same));
    }
}

//! Statistics of the latent: the dimensions in use, and the difference between codes of the data
//! and the prior that walks are drawn from. Also statistics of the experts.
use super::Bench;
use crate::Result;
use crate::config::Variant;
use crate::data::windows;
use crate::infer::rollout::Latent;
use nalgebra::{DMatrix, DVector};
use serde::Serialize;

/// Largest number of training windows that are encoded.
const WINDOWS: usize = 8192;
/// Variance of a dimension's posterior mean over the data above which the dimension is active.
const ACTIVE_VARIANCE: f64 = 0.01;

/// Statistics of the latent over training windows, with true conditions.
#[derive(Debug, Clone, Serialize)]
pub struct Posterior {
    /// Windows that were encoded.
    pub windows: usize,
    /// L: latent dimensions.
    pub latents: usize,
    /// Active dimensions; none for vq.
    pub active_units: Option<usize>,
    /// KL of each dimension, nats (empty for vq).
    pub kl: Vec<f64>,
    /// The aggregated posterior; none for vq.
    pub aggregated: Option<Aggregated>,
    /// Mean gate weight of each expert (vq: share of each code; posevae: empty).
    pub expert_use: Vec<f64>,
    /// exp of the entropy of `expert_use`: the number of experts (codes) that have the same entropy
    /// if used equally.
    pub experts_in_use: Option<f64>,
    /// exp of the mean entropy of the gate: the number of experts that share one pose.
    pub experts_a_pose: Option<f64>,
}

/// The mixture of the posteriors of all windows, described by its mean and covariance.
#[derive(Debug, Clone, Serialize)]
pub struct Aggregated {
    /// Mean of a dimension with the largest magnitude.
    pub largest_mean: f64,
    /// Smallest and largest standard deviation.
    pub std: [f64; 2],
    /// Correlation of largest magnitude between two dimensions.
    pub largest_correlation: f64,
    /// KL divergence of the normal distribution with this mean and covariance from N(0, I), nats a
    /// dimension.
    pub kl_from_prior: f64,
}

/// Encodes training windows and measures the latent.
pub fn measure(bench: &mut Bench) -> Result<Posterior> {
    let model = bench.trained.model().clone();
    let l = model.latent_size;
    let span = windows::span(1, model.condition_frames, model.future_predictions);
    let windows = super::spread(&windows::starts(&bench.train, span), WINDOWS);
    let vq = model.variant == Variant::Vq;
    let mut sums = Sums { l, count: windows.len() as f64, ..Sums::new(l) };
    let mut expert_use = vec![0.0; if vq { model.codes } else { bench.decoder.network.gate.cols() }];
    let mut entropy = 0.0;
    for batch in windows.chunks(bench.decoder.batch()) {
        let network = &bench.decoder.network;
        let mut rollout = bench.decoder.begin(&mut bench.memory, batch, 0, 0)?;
        rollout.step(Latent::Posterior)?;
        if vq {
            rollout.read(network.code)?.iter().take(batch.len()).for_each(|&code| expert_use[code as usize] += 1.0);
            continue;
        }
        let (mu, logvar) = (rollout.read(network.mu.value)?, rollout.read(network.logvar.value)?);
        mu.chunks_exact(l).zip(logvar.chunks_exact(l)).take(batch.len()).for_each(|(mu, logvar)| sums.add(mu, logvar));
        if !expert_use.is_empty() {
            for gate in rollout.read(network.gate.value)?.chunks_exact(expert_use.len()).take(batch.len()) {
                expert_use.iter_mut().zip(gate).for_each(|(sum, &g)| *sum += f64::from(g));
                entropy += entropy_of(gate.iter().map(|&g| f64::from(g)));
            }
        }
    }
    let count = windows.len().max(1) as f64;
    expert_use.iter_mut().for_each(|sum| *sum /= count);
    let measured = !vq && !windows.is_empty();
    let (covariance, mean) = sums.mean_posterior();
    let active = || (0..l).filter(|&i| covariance[(i, i)] > ACTIVE_VARIANCE).count();
    Ok(Posterior {
        windows: windows.len(),
        latents: l,
        active_units: measured.then(active),
        kl: if measured { sums.kl.iter().map(|kl| kl / count).collect() } else { Vec::new() },
        aggregated: measured.then(|| aggregated(&mean, &covariance, &sums.variance.map(|x| x / count))),
        experts_in_use: (!expert_use.is_empty()).then(|| entropy_of(expert_use.iter().copied()).exp()),
        experts_a_pose: (!expert_use.is_empty() && !vq).then(|| (entropy / count).exp()),
        expert_use,
    })
}

/// Entropy of a distribution, nats.
fn entropy_of(shares: impl Iterator<Item = f64>) -> f64 {
    shares.filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum()
}

/// Sums over windows.
struct Sums {
    l: usize,
    count: f64,
    mean: DVector<f64>,
    product: DMatrix<f64>,
    variance: DVector<f64>,
    kl: Vec<f64>,
}

impl Sums {
    fn new(l: usize) -> Self {
        let zeros = DVector::zeros(l);
        Sums { l, count: 0.0, mean: zeros.clone(), product: DMatrix::zeros(l, l), variance: zeros, kl: vec![0.0; l] }
    }

    fn add(&mut self, mu: &[f32], logvar: &[f32]) {
        let mu = DVector::from_iterator(self.l, mu.iter().map(|&x| f64::from(x)));
        self.mean += &mu;
        self.product.ger(1.0, &mu, &mu, 1.0);
        for (i, logvar) in logvar.iter().map(|&x| f64::from(x)).enumerate() {
            self.variance[i] += logvar.exp();
            self.kl[i] += 0.5 * (mu[i] * mu[i] + logvar.exp() - 1.0 - logvar);
        }
    }

    /// Covariance and mean of the posterior means.
    fn mean_posterior(&self) -> (DMatrix<f64>, DVector<f64>) {
        let count = self.count.max(1.0);
        let mean = &self.mean / count;
        (&self.product / count - &mean * mean.transpose(), mean)
    }
}

fn aggregated(mean: &DVector<f64>, covariance_of_means: &DMatrix<f64>, variance: &DVector<f64>) -> Aggregated {
    let l = mean.len();
    let covariance = covariance_of_means + DMatrix::from_diagonal(variance);
    let std: Vec<f64> = (0..l).map(|i| covariance[(i, i)].sqrt()).collect();
    let pairs = (0..l).flat_map(|i| (0..i).map(move |j| (i, j)));
    let correlation = pairs.map(|(i, j)| covariance[(i, j)] / (std[i] * std[j]));
    let log_determinant =
        covariance.clone().symmetric_eigen().eigenvalues.iter().map(|x| x.max(1e-300).ln()).sum::<f64>();
    Aggregated {
        largest_mean: mean.amax(),
        std: [std.iter().copied().fold(f64::INFINITY, f64::min), std.iter().copied().fold(0.0, f64::max)],
        largest_correlation: correlation.fold(0.0, |most: f64, x| if x.abs() > most.abs() { x } else { most }),
        kl_from_prior: 0.5 * (covariance.trace() + mean.norm_squared() - l as f64 - log_determinant) / l as f64,
    }
}

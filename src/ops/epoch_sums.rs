//! Sums over an epoch's steps, in double precision: losses, and what shows that a latent or a gate
//! has died.
use super::recon_loss::{LOSSES, slot};
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::{Arena, Mat};
use crate::plan::{Call, Grid, Output, Plan, Ptr, size};

/// Number of scalars that are summed: the losses up to the total, then these two.
const SCALARS: usize = LOSSES + 2;
const GRAD_NORM: usize = LOSSES;
const GATE_ENTROPY: usize = LOSSES + 1;
/// Number of sums per latent dimension: KL, mu, mu^2, sigma^2.
const PER_LATENT: usize = 4;

crate::kernel_args! {
    reads {
        /// See [`slot`].
        losses: f64 [LOSSES],
        /// \[L\] KL of each dimension; absent for vq.
        kl: f64 [l],
        /// [B, L] posterior mean.
        mu: T [b * l],
        /// [B, L] posterior standard deviation; absent for vq.
        sigma: T [b * l],
        /// [B, E] gate; absent where there is none.
        gate: T [b * e],
        /// \[B\] code of each sample; absent but for vq.
        code: u32 [b],
        /// Partial sums of the squared gradient.
        squares: f64 [chunks],
    }
    writes {
        /// Scalars, then KL, mu, mu^2, sigma^2 of each latent dimension, then use of each expert or
        /// code.
        sums: f64 [SCALARS + PER_LATENT * l + e],
    }
    sizes {
        /// Samples.
        b,
        /// Latent.
        l,
        /// Experts or codes.
        e,
        /// Partial sums.
        chunks,
    }
}

/// The tensors that are summed.
#[allow(missing_docs)]
#[derive(Clone, Copy)]
pub struct EpochSums<T> {
    pub losses: Mat<f64>,
    pub kl: Mat<f64>,
    pub mu: Mat<T>,
    pub sigma: Mat<T>,
    pub gate: Mat<T>,
    pub code: Mat<u32>,
    pub squares: Mat<f64>,
    /// Experts or codes.
    pub experts: usize,
}

impl<T: Real> EpochSums<T> {
    /// A place for the sums.
    pub fn place(&self, arena: &mut Arena) -> Mat<f64> {
        arena.mat(1, SCALARS + PER_LATENT * self.mu.cols() + self.experts)
    }

    /// Appends the calls that add this step to the sums. The gradient's norm has a call of its own,
    /// as it is known last.
    pub fn push(&self, plan: &mut Plan, sums: Mat<f64>) {
        let all = Args {
            losses: self.losses.into(),
            kl: self.kl.into(),
            mu: self.mu.into(),
            sigma: self.sigma.into(),
            gate: self.gate.into(),
            code: self.code.into(),
            squares: self.squares.into(),
            sums: sums.into(),
            b: size(self.mu.rows()),
            l: size(self.mu.cols()),
            e: size(self.experts),
            chunks: size(self.squares.len()),
            scalar: Default::default(),
        };
        let step = Args { squares: Ptr::NONE, ..all };
        let (none, numbers) = (Ptr::NONE, Ptr::NONE);
        let norm = Args { losses: none, kl: none, mu: numbers, sigma: numbers, gate: numbers, code: Ptr::NONE, ..all };
        plan.push(Call::new("epoch_sums", Grid::one(256), &[Output::part("sums")], step, cpu::epoch_sums::<T>));
        plan.push(Call::new("grad_norm", Grid::one(256), &[Output::part("sums")], norm, cpu::grad_norm::<T>));
    }

    /// The means over `steps` steps of sums that were read back.
    pub fn means(&self, sums: &[f64], steps: u64) -> Means {
        let l = self.mu.cols();
        let (scalars, rest) = sums.split_at(SCALARS);
        let scalar = |i: usize| scalars[i] / steps as f64;
        let samples = (steps as usize * self.mu.rows()) as f64;
        let latent = |i: usize, by: f64| rest[i * l..][..l].iter().map(|x| x / by).collect::<Vec<f64>>();
        let (mean, square, variance) = (latent(1, samples), latent(2, samples), latent(3, samples));
        let mean_variance: Vec<f64> = square.iter().zip(&mean).map(|(s, m)| (s - m * m).max(0.0)).collect();
        Means {
            recon_loss: scalar(slot::RECON),
            kl_loss: scalar(slot::KL),
            perplexity: scalar(slot::PERPLEXITY),
            kl_weight: scalar(slot::WEIGHT),
            grad_norm: scalar(GRAD_NORM),
            gate_entropy: scalar(GATE_ENTROPY),
            kl_per_latent: if self.kl.is_none() { Vec::new() } else { latent(0, steps as f64) },
            posterior_std: mean_variance.iter().zip(&variance).map(|(a, b)| (a + b).sqrt()).collect(),
            mean_variance,
            posterior_mean: mean,
            expert_usage: rest[PER_LATENT * l..].iter().map(|x| x / samples).collect(),
        }
    }
}

/// Means over an epoch.
#[allow(missing_docs)]
#[derive(Debug, Clone)]
pub struct Means {
    pub recon_loss: f64,
    pub kl_loss: f64,
    pub perplexity: f64,
    pub kl_weight: f64,
    pub grad_norm: f64,
    pub gate_entropy: f64,
    pub kl_per_latent: Vec<f64>,
    /// Mean of the aggregated posterior.
    pub posterior_mean: Vec<f64>,
    /// Standard deviation of the aggregated posterior.
    pub posterior_std: Vec<f64>,
    /// Variance of the posterior mean over samples.
    pub mean_variance: Vec<f64>,
    pub expert_usage: Vec<f64>,
}

/// The definition.
pub mod cpu {
    use super::*;

    /// Adds the gradient's norm to the sums.
    pub fn grad_norm<T: Real>(v: View<'_, T>, _: &Team) {
        v.sums[GRAD_NORM] += v.squares.iter().sum::<f64>().sqrt();
    }

    /// Adds all else to the sums.
    pub fn epoch_sums<T: Real>(v: View<'_, T>, _: &Team) {
        let View { b, l, e, .. } = v;
        let (scalars, rest) = v.sums.split_at_mut(SCALARS);
        let (latent, usage) = rest.split_at_mut(PER_LATENT * l);
        scalars.iter_mut().zip(v.losses).for_each(|(s, x)| *s += x);
        latent.iter_mut().zip(v.kl).for_each(|(s, x)| *s += x);
        for mu in v.mu.chunks_exact(l.max(1)) {
            for (i, mu) in mu.iter().enumerate() {
                latent[l + i] += mu.f64();
                latent[2 * l + i] += mu.f64() * mu.f64();
            }
        }
        for sigma in v.sigma.chunks_exact(l.max(1)) {
            for (i, sigma) in sigma.iter().enumerate() {
                latent[3 * l + i] += sigma.f64() * sigma.f64();
            }
        }
        for gate in v.gate.chunks_exact(e.max(1)) {
            for (sum, g) in usage.iter_mut().zip(gate) {
                *sum += g.f64();
                scalars[GATE_ENTROPY] -= g.f64() * g.f64().max(f64::MIN_POSITIVE).ln() / b as f64;
            }
        }
        v.code.iter().for_each(|&code| usage[code as usize] += 1.0);
    }
}

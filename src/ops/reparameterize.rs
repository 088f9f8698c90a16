//! The latent and its KL: z = mu + eps exp(logvar / 2), KL = -1/2 mean over B and L of (1 + logvar
//! - mu^2 - exp logvar).
use super::recon_loss::{LOSSES, slot};
use super::{Operation, expect};
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::cpu::vector;
use crate::plan::arena::{Arena, Mat, Var};
use crate::plan::{Call, Grid, Output, Plan, Ptr, size};

crate::kernel_args! {
    reads {
        /// [B, L].
        mu: T [b * l],
        /// [B, L].
        logvar: T [b * l],
        /// [B, L] standard normal.
        eps: T [b * l],
        /// [B, L].
        dz: T [b * l],
        /// [P, B, L] parts that are added to dz; absent when P is 0.
        parts: T [p * b * l],
    }
    writes {
        /// [B, L].
        z: T [b * l],
        /// [B, L] exp(logvar / 2).
        sigma: T [b * l],
        /// \[L\] KL of each dimension, nats, mean over the batch.
        kl: f64 [l],
        /// See [`slot`].
        losses: f64 [LOSSES],
        /// [B, L].
        dmu: T [b * l],
        /// [B, L].
        dlogvar: T [b * l],
    }
    numbers {
        /// KL of a dimension that costs nothing, nats (free bits).
        free_bits,
    }
    sizes {
        /// Samples.
        b,
        /// Latent.
        l,
        /// Further parts of dz.
        p,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// The operation.
pub struct Reparameterize<T> {
    mu: Var<T>,
    logvar: Var<T>,
    eps: Mat<T>,
    z: Var<T>,
    parts: Mat<T>,
    sigma: Mat<T>,
    kl: Mat<f64>,
    losses: Mat<f64>,
    free_bits: f64,
}

impl<T: Real> Reparameterize<T> {
    /// The operation from mean and log variance of the posterior to z. Errors: shapes that do not
    /// fit.
    pub fn new(
        arena: &mut Arena,
        (mu, logvar): (Var<T>, Var<T>),
        eps: Mat<T>,
        z: Var<T>,
        losses: Mat<f64>,
        free_bits: f64,
    ) -> Result<Self> {
        for (what, mat) in [("logvar", logvar.value), ("eps", eps), ("z", z.value)] {
            expect("reparameterize", what, mat.cols(), mu.cols(), "latent entries")?;
            expect("reparameterize", what, mat.rows(), mu.rows(), "one a sample")?;
        }
        let (sigma, kl) = (arena.mat(mu.rows(), mu.cols()), arena.mat(1, mu.cols()));
        Ok(Reparameterize { mu, logvar, eps, z, parts: Mat::NONE, sigma, kl, losses, free_bits })
    }

    /// The operation with the gradient of z as the sum of that of `z` and of further parts [P B,
    /// L]. Each part is written by another operation, so these need not wait for one another.
    /// Errors: shapes that do not fit.
    pub(crate) fn with_parts(self, parts: Mat<T>) -> Result<Self> {
        expect("reparameterize", "columns of parts", parts.cols(), self.mu.cols(), "latent entries")?;
        expect("reparameterize", "rows of parts", parts.rows() % self.mu.rows(), 0, "a multiple of the samples")?;
        Ok(Reparameterize { parts, ..self })
    }

    /// The posterior's standard deviations [B, L], and the KL of each dimension [1, L].
    pub fn posterior(&self) -> (Mat<T>, Mat<f64>) {
        (self.sigma, self.kl)
    }

    fn args(&self) -> Args<T> {
        Args {
            mu: self.mu.value.into(),
            logvar: self.logvar.value.into(),
            eps: self.eps.into(),
            dz: self.z.grad.into(),
            parts: self.parts.into(),
            z: self.z.value.into(),
            sigma: self.sigma.into(),
            kl: self.kl.into(),
            losses: self.losses.into(),
            dmu: self.mu.grad.into(),
            dlogvar: self.logvar.grad.into(),
            free_bits: self.free_bits,
            b: size(self.mu.rows()),
            l: size(self.mu.cols()),
            p: size(self.parts.rows() / self.mu.rows()),
            pad: 0,
            scalar: Default::default(),
        }
    }
}

impl<T: Real> Operation for Reparameterize<T> {
    fn forward(&self, plan: &mut Plan) {
        plan.push(
            Call::new(
                "reparameterize_forward",
                Grid::items(self.mu.rows() + 1, 256),
                &[Output::whole("z"), Output::whole("sigma"), Output::whole("kl"), Output::part("losses")],
                Args { dz: Ptr::NONE, parts: Ptr::NONE, dmu: Ptr::NONE, dlogvar: Ptr::NONE, p: 0, ..self.args() },
                cpu::forward::<T>,
            )
            .in_shares(&[("z", self.mu.cols()), ("sigma", self.mu.cols())]),
        );
    }

    fn backward(&self, plan: &mut Plan) {
        assert_eq!(
            plan.gradients.accumulate(self.mu.grad) + plan.gradients.accumulate(self.logvar.grad),
            0,
            "mu and logvar have one reader"
        );
        plan.push(
            Call::new(
                "reparameterize_backward",
                Grid::items(self.mu.rows(), 64),
                &[Output::whole("dmu"), Output::whole("dlogvar")],
                Args { z: Ptr::NONE, ..self.args() },
                cpu::backward::<T>,
            )
            .in_shares(&["dz", "dmu", "dlogvar"].map(|field| (field, self.mu.cols()))),
        );
    }
}

/// The definition.
pub mod cpu {
    use super::*;

    /// z, sigma, the KL of each dimension, and their means: never below 0, and with free bits.
    pub fn forward<T: Real>(v: View<'_, T>, _: &Team) {
        let half = T::of(0.5);
        v.kl.fill(0.0);
        v.sigma.iter_mut().zip(v.logvar).for_each(|(sigma, &logvar)| *sigma = half * logvar);
        vector::exp(v.sigma);
        for row in 0..v.b {
            let at = row * v.l..(row + 1) * v.l;
            let inputs = v.mu[at.clone()].iter().zip(&v.logvar[at.clone()]).zip(&v.eps[at.clone()]);
            let outputs = v.z[at.clone()].iter_mut().zip(&v.sigma[at]).zip(&mut *v.kl);
            for (((&mu, &logvar), &eps), ((z, &sigma), kl)) in inputs.zip(outputs) {
                *z = mu + eps * sigma;
                *kl -= 0.5 * (1.0 + logvar.f64() - mu.f64() * mu.f64() - sigma.f64() * sigma.f64());
            }
        }
        v.kl.iter_mut().for_each(|kl| *kl /= v.b as f64);
        let mean = |f: &dyn Fn(f64) -> f64| v.kl.iter().map(|&kl| f(kl)).sum::<f64>() / v.l as f64;
        v.losses[slot::KL] = mean(&|kl| kl).max(0.0);
        v.losses[slot::REGULARIZER] =
            if v.free_bits > 0.0 { mean(&|kl| kl.max(v.free_bits)) } else { v.losses[slot::KL] };
        if v.kl.iter().any(|kl| kl.is_nan()) {
            v.losses[slot::KL] = f64::NAN; // max() would hide it
            v.losses[slot::REGULARIZER] = f64::NAN;
        }
    }

    /// dmu = dz + weight mu / (B L), dlogvar = dz eps sigma / 2 + weight (sigma^2 - 1) / (2 B L);
    /// the terms of the KL are absent where it is clamped or costs nothing
    pub fn backward<T: Real>(v: View<'_, T>, _: &Team) {
        let weight = v.losses[slot::WEIGHT] / (v.b * v.l) as f64;
        let sum: f64 = v.kl.iter().sum();
        let half = T::of(0.5);
        for i in 0..v.b * v.l {
            let costs = if v.free_bits > 0.0 { v.kl[i % v.l] > v.free_bits } else { sum >= 0.0 };
            let weight = if costs { T::of(weight) } else { T::zero() };
            let parts = v.parts.iter().skip(i).step_by(v.b * v.l);
            let (dz, sigma) = (parts.fold(v.dz[i], |dz, &part| dz + part), v.sigma[i]);
            v.dmu[i] = dz + weight * v.mu[i];
            v.dlogvar[i] = half * (dz * v.eps[i] * sigma + weight * (sigma * sigma - T::one()));
        }
    }
}

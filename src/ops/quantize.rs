//! Vector quantiser: the latent is the nearest code. The codebook follows the encoder by
//! exponential moving averages (van den Oord et al., "Neural Discrete Representation Learning",
//! 2017, appendix A.1). The decoder's gradient passes straight to the encoder.
use super::recon_loss::{LOSSES, slot};
use super::{Operation, expect};
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::{Mat, Var};
use crate::plan::{Call, Grid, Output, Plan, size};

/// Share of the past in the codebook's moving averages.
const DECAY: f64 = 0.99;
/// Keeps the size of an unused cluster above zero.
const SMOOTHING: f64 = 1e-5;

crate::kernel_args! {
    reads {
        /// [B, L] the encoder's output.
        v: T [b * l],
        /// [B, L] gradient of the code z.
        dz: T [b * l],
        /// [B, N] action, whose largest entry picks the code when there is no encoder.
        action: T [b * n],
    }
    writes {
        /// [L, N] one code a column.
        embed: T [l * n],
        /// \[N\] moving average of the number of samples of a code.
        cluster_size: T [n],
        /// [L, N] moving average of the sum of a code's samples.
        embed_avg: T [l * n],
        /// [B, L] the code of each sample.
        z: T [b * l],
        /// \[B\] its number.
        code: u32 [b],
        /// \[N\] samples of each code.
        count: T [n],
        /// See [`slot`].
        losses: f64 [LOSSES],
        /// [B, L].
        dv: T [b * l],
    }
    sizes {
        /// Samples.
        b,
        /// Latent.
        l,
        /// Codes.
        n,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// The tensors of the quantiser.
#[allow(missing_docs)]
#[derive(Clone, Copy)]
pub struct Quantize<T> {
    pub v: Var<T>,
    pub embed: Mat<T>,
    pub cluster_size: Mat<T>,
    pub embed_avg: Mat<T>,
    pub z: Var<T>,
    pub action: Mat<T>,
    pub code: Mat<u32>,
    pub count: Mat<T>,
    pub losses: Mat<f64>,
}

impl<T: Real> Quantize<T> {
    /// The quantiser, if its shapes fit. Errors: they do not.
    pub fn check(self) -> Result<Self> {
        let (l, n) = (self.v.cols(), self.cluster_size.len());
        expect("quantize", "z columns", self.z.cols(), l, "latent entries")?;
        expect("quantize", "rows of embed", self.embed.rows(), l, "embed is [latent, codes]")?;
        expect("quantize", "columns of embed", self.embed.cols(), n, "embed is [latent, codes]")?;
        expect("quantize", "embed_avg", self.embed_avg.len(), l * n, "embed_avg is [latent, codes]")?;
        Ok(self)
    }

    fn args(&self) -> Args<T> {
        Args {
            v: self.v.value.into(),
            dz: self.z.grad.into(),
            action: self.action.into(),
            embed: self.embed.into(),
            cluster_size: self.cluster_size.into(),
            embed_avg: self.embed_avg.into(),
            z: self.z.value.into(),
            code: self.code.into(),
            count: self.count.into(),
            losses: self.losses.into(),
            dv: self.v.grad.into(),
            b: size(self.v.rows()),
            l: size(self.v.cols()),
            n: size(self.cluster_size.len()),
            pad: 0,
            scalar: Default::default(),
        }
    }

    /// Appends the call that makes z the code of the action's largest entry.
    pub fn choose(&self, plan: &mut Plan) {
        plan.push(Call::new(
            "quantize_choose",
            Grid::items(self.v.rows(), 64),
            &[Output::whole("z"), Output::whole("code")],
            self.args(),
            cpu::choose::<T>,
        ));
    }

    /// Appends the codebook's update (training only), which has to follow the forward call.
    pub fn update(&self, plan: &mut Plan) {
        plan.push(Call::new(
            "quantize_update",
            Grid::one(1024),
            &[Output::part("embed"), Output::part("cluster_size"), Output::part("embed_avg")],
            self.args(),
            cpu::update::<T>,
        ));
    }
}

impl<T: Real> Operation for Quantize<T> {
    fn forward(&self, plan: &mut Plan) {
        plan.push(Call::new(
            "quantize_forward",
            Grid::one(1024),
            &[Output::whole("z"), Output::whole("code"), Output::whole("count"), Output::part("losses")],
            self.args(),
            cpu::forward::<T>,
        ));
    }

    fn backward(&self, plan: &mut Plan) {
        assert_eq!(plan.gradients.accumulate(self.v.grad), 0, "the encoder's output has one reader");
        plan.push(Call::new(
            "quantize_backward",
            Grid::elements(self.v.value.len(), 256),
            &[Output::whole("dv")],
            self.args(),
            cpu::backward::<T>,
        ));
    }
}

/// The definition.
pub mod cpu {
    use super::*;
    use crate::ops::noise::pick::largest;

    /// Nearest codes (the first one on a tie), losses\[KL\] = mean (code - v)^2, perplexity of the
    /// codes' use
    pub fn forward<T: Real>(q: View<'_, T>, _: &Team) {
        let View { l, n, .. } = q;
        q.count.fill(T::zero());
        let mut loss = 0.0;
        for ((v, z), code) in q.v.chunks_exact(l).zip(q.z.chunks_exact_mut(l)).zip(&mut *q.code) {
            let distance = |k: usize| {
                let terms = v.iter().enumerate().map(|(i, &x)| {
                    let c = q.embed[i * n + k];
                    c * c - (x + x) * c
                });
                terms.sum::<T>()
            };
            let (mut best, mut least) = (0, distance(0));
            for k in 1..n {
                let d = distance(k);
                if d < least {
                    (best, least) = (k, d);
                }
            }
            *code = best as u32;
            q.count[best] += T::one();
            for (i, (z, &v)) in z.iter_mut().zip(v).enumerate() {
                *z = q.embed[i * n + best];
                loss += (*z - v).f64().powi(2);
            }
        }
        let entropy = q.count.iter().map(|c| c.f64() / q.b as f64).map(|u| -u * (u + 1e-10).ln()).sum::<f64>();
        q.losses[slot::KL] = loss / (q.b * l) as f64;
        q.losses[slot::REGULARIZER] = q.losses[slot::KL];
        q.losses[slot::PERPLEXITY] = entropy.exp();
    }

    /// z = the code of the action's largest entry
    pub fn choose<T: Real>(q: View<'_, T>, _: &Team) {
        let View { l, n, .. } = q;
        for ((action, z), code) in q.action.chunks_exact(n).zip(q.z.chunks_exact_mut(l)).zip(&mut *q.code) {
            let best = largest(action);
            *code = best as u32;
            z.iter_mut().enumerate().for_each(|(i, z)| *z = q.embed[i * n + best]);
        }
    }

    /// Updates the moving averages of cluster sizes and sums, and from them the codes. Does nothing
    /// once a loss was not finite.
    pub fn update<T: Real>(q: View<'_, T>, _: &Team) {
        let View { l, n, .. } = q;
        if q.losses[slot::NONFINITE_STEP] != 0.0 {
            return;
        }
        let (decay, rest) = (T::of(DECAY), T::of(1.0 - DECAY));
        for (size, &count) in q.cluster_size.iter_mut().zip(&*q.count) {
            *size = decay * *size + rest * count;
        }
        q.embed_avg.iter_mut().for_each(|x| *x *= decay);
        for (v, &code) in q.v.chunks_exact(l).zip(&*q.code) {
            for (i, &x) in v.iter().enumerate() {
                q.embed_avg[i * n + code as usize] += rest * x;
            }
        }
        let all = q.cluster_size.iter().copied().sum::<T>();
        let smoothing = T::of(SMOOTHING);
        for (k, &size) in q.cluster_size.iter().enumerate() {
            let size = (size + smoothing) / (all + T::of(n as f64) * smoothing) * all;
            for i in 0..l {
                q.embed[i * n + k] = q.embed_avg[i * n + k] / size;
            }
        }
    }

    /// dv = dz + weight 2 (v - code) / (B L)
    pub fn backward<T: Real>(q: View<'_, T>, _: &Team) {
        let scale = T::of(2.0 * q.losses[slot::WEIGHT] / (q.b * q.l) as f64);
        for (((dv, &dz), &v), &z) in q.dv.iter_mut().zip(q.dz).zip(q.v).zip(&*q.z) {
            *dv = dz + scale * (v - z);
        }
    }
}

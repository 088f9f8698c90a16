//! An action of a diagonal Gaussian policy: a = clip(mean + exp(logstd) noise, -1, 1), with its
//! log-density, which is taken at the clipped value. Without noise the mean is the action.
use super::{ROWS, expect};
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::{Team, pieces};
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

crate::kernel_args! {
    reads {
        /// [B, A] in [-1, 1].
        mean: T [b * a],
        /// \[A\].
        logstd: T [a],
        /// [B, A] standard normal, or absent.
        noise: T [b * a],
    }
    writes {
        /// [B, A].
        action: T [b * a],
        /// \[B\] log-density of the action, summed over A.
        log_prob: T [b],
    }
    sizes {
        /// Samples.
        b,
        /// Entries of an action.
        a,
    }
}

/// Appends the call. Errors: shapes that do not fit.
pub fn push<T: Real>(
    plan: &mut Plan,
    (mean, logstd): (Mat<T>, Mat<T>),
    noise: Mat<T>,
    (action, log_prob): (Mat<T>, Mat<T>),
) -> Result<()> {
    expect("gaussian_action", "logstd", logstd.len(), mean.cols(), "one an entry of the action")?;
    expect("gaussian_action", "action", action.len(), mean.len(), "as many as means")?;
    expect("gaussian_action", "log_prob", log_prob.len(), mean.rows(), "one a sample")?;
    let args = Args {
        mean: mean.into(),
        logstd: logstd.into(),
        noise: noise.into(),
        action: action.into(),
        log_prob: log_prob.into(),
        b: size(mean.rows()),
        a: size(mean.cols()),
        scalar: Default::default(),
    };
    let writes = [Output::whole("action"), Output::whole("log_prob")];
    plan.push(Call::new("gaussian_action", Grid::elements(mean.rows(), 64), &writes, args, cpu::gaussian_action::<T>));
    Ok(())
}

/// Arguments of `gaussian_action_backward`.
pub mod back {
    crate::kernel_args! {
        reads {
            /// [B, A] gradient of the action.
            daction: T [b * a],
            /// [B, A] action, clipped.
            action: T [b * a],
            /// [B, A].
            mean: T [b * a],
        }
        writes {
            /// [B, A].
            dmean: T [b * a],
        }
        numbers {
            /// Factor of the mean in its gradient: twice the weight of its square.
            pull,
        }
        sizes {
            /// Samples.
            b,
            /// Entries of an action.
            a,
        }
    }
}

/// Appends the gradient of the mean, from that of the action and from `pull` / 2 times the mean's
/// square. Errors: shapes that do not fit.
pub fn backward<T: Real>(
    plan: &mut Plan,
    (action, daction): (Mat<T>, Mat<T>),
    pull: f64,
    (mean, dmean): (Mat<T>, Mat<T>),
) -> Result<()> {
    expect("gaussian_action", "gradient", daction.len(), mean.len(), "one an entry")?;
    let (b, a) = (size(mean.rows()), size(mean.cols()));
    let (daction, action, mean, dmean) = (daction.into(), action.into(), mean.into(), dmean.into());
    let args = back::Args { daction, action, mean, dmean, pull, b, a, scalar: Default::default() };
    let (grid, writes) = (Grid::elements((b * a) as usize, 256), [Output::whole("dmean")]);
    plan.push(Call::new("gaussian_action_backward", grid, &writes, args, cpu::backward::<T>));
    Ok(())
}

/// The standard deviation of each entry.
pub(super) fn deviations<T: Real>(logstd: &[T]) -> Vec<T> {
    logstd.iter().map(|logstd| logstd.exp()).collect()
}

/// log N(action; mean, std^2), summed over the entries; `std` are the [`deviations`].
pub(super) fn log_prob<T: Real>(action: &[T], mean: &[T], logstd: &[T], std: &[T]) -> T {
    let normalizer = T::of(0.5 * std::f64::consts::TAU.ln());
    let entries = action.iter().zip(mean).zip(logstd).zip(std);
    let density = entries.map(|(((&action, &mean), &logstd), &std)| {
        let off = (action - mean) / std;
        -T::of(0.5) * off * off - logstd - normalizer
    });
    density.sum()
}

/// The definition.
pub mod cpu {
    use super::*;

    /// dmean = daction (0 where the action is clipped) + pull mean
    pub fn backward<T: Real>(v: back::View<'_, T>, _: &Team) {
        for (i, dmean) in v.dmean.iter_mut().enumerate() {
            let inside = v.action[i].abs() < T::one();
            *dmean = T::of(v.pull) * v.mean[i] + if inside { v.daction[i] } else { T::zero() };
        }
    }

    /// action and log_prob
    pub fn gaussian_action<T: Real>(v: View<'_, T>, team: &Team) {
        let (a, mean, logstd, noise) = (v.a, v.mean, v.logstd, v.noise);
        let std = &deviations(logstd);
        team.each((pieces(v.action, ROWS * a), pieces(v.log_prob, ROWS)), |task, (action, density)| {
            for (row, (action, density)) in action.chunks_exact_mut(a).zip(density).enumerate() {
                let at = (task * ROWS + row) * a..(task * ROWS + row + 1) * a;
                let mean = &mean[at.clone()];
                action.copy_from_slice(mean);
                if !noise.is_empty() {
                    for ((action, &noise), &std) in action.iter_mut().zip(&noise[at]).zip(std) {
                        *action = (*action + std * noise).max(-T::one()).min(T::one());
                    }
                }
                *density = log_prob(action, mean, logstd, std);
            }
        });
    }
}

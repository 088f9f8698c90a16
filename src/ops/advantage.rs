//! The worth of actions: generalised advantage estimation (Schulman et al. 2016) over a rollout.
//! The advantages are brought to mean 0 and standard deviation 1.
use super::expect;
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

/// Number of columns of an outcome. The first is the reward r. The second, m, is 0 where the
/// episode ended. The third, b, is 0 where what comes next is not the step's doing: time was out,
/// or something else is asked for.
pub const OUTCOME: usize = 3;

/// Added to the standard deviation.
const EPS: f64 = 1e-5;

crate::kernel_args! {
    reads {
        /// [T, P, OUTCOME] outcomes of each step.
        outcomes: T [t * p * OUTCOME],
        /// [T + 1, P] V, also of the last observation.
        values: T [(t + 1) * p],
    }
    writes {
        /// [T, P] R.
        returns: T [t * p],
        /// [T, P] R - V, then normalised.
        advantages: T [t * p],
    }
    numbers {
        /// Discount.
        gamma,
        /// Decay of the estimator.
        lambda,
        /// Factor of rewards.
        reward_scale,
    }
    sizes {
        /// Steps.
        t,
        /// Characters.
        p,
        /// 1: generalised advantages, 0: plain discounted returns.
        gae,
        /// Keeps the number of sizes even.
        pad,
    }
}

/// The tensors of [`push`], and the parameters of the estimate.
#[allow(missing_docs)]
pub struct Advantage<T> {
    pub outcomes: Mat<T>,
    pub values: Mat<T>,
    pub returns: Mat<T>,
    pub advantages: Mat<T>,
    pub gamma: f64,
    /// `None`: plain discounted returns.
    pub lambda: Option<f64>,
    /// Factor of rewards.
    pub reward_scale: f64,
}

/// Appends the estimate and its normalisation. `returns` is [T, P]. Errors: shapes that do not fit.
pub fn push<T: Real>(plan: &mut Plan, a: &Advantage<T>) -> Result<()> {
    let (t, p) = (a.returns.rows(), a.returns.cols());
    expect("advantage", "outcomes", a.outcomes.len(), t * p * OUTCOME, "one a step and character")?;
    expect("advantage", "values", a.values.len(), (t + 1) * p, "one an observation")?;
    expect("advantage", "advantages", a.advantages.len(), t * p, "one a step and character")?;
    let args = Args {
        outcomes: a.outcomes.into(),
        values: a.values.into(),
        returns: a.returns.into(),
        advantages: a.advantages.into(),
        gamma: a.gamma,
        lambda: a.lambda.unwrap_or_default(),
        reward_scale: a.reward_scale,
        t: size(t),
        p: size(p),
        gae: u32::from(a.lambda.is_some()),
        pad: 0,
        scalar: Default::default(),
    };
    let writes = [Output::whole("returns"), Output::whole("advantages")];
    plan.push(Call::new("advantage_estimate", Grid::elements(p, 64), &writes, args, cpu::estimate::<T>));
    plan.push(Call::new(
        "advantage_normalize",
        Grid::one(1024),
        &[Output::part("advantages")],
        args,
        cpu::normalize::<T>,
    ));
    Ok(())
}

/// The definition.
pub mod cpu {
    use super::*;

    /// From the last step back, with r times reward_scale: A_t = b (r + gamma m V_{t+1} - V_t +
    /// gamma lambda m A_{t+1}), R_t = A_t + V_t.
    ///
    /// Without lambda: R_t = b (r + gamma m R_{t+1}) + (1 - b) V_t, A_t = R_t - V_t.
    pub fn estimate<T: Real>(v: View<'_, T>, _: &Team) {
        let [gamma, lambda, reward_scale] = [v.gamma, v.lambda, v.reward_scale].map(T::of);
        for p in 0..v.p {
            let mut later = if v.gae == 1 { T::zero() } else { v.values[v.t * v.p + p] };
            for t in (0..v.t).rev() {
                let i = t * v.p + p;
                let (reward, mask, bad) =
                    (reward_scale * v.outcomes[i * 3], v.outcomes[i * 3 + 1], v.outcomes[i * 3 + 2]);
                let (now, next) = (v.values[i], v.values[i + v.p]);
                if v.gae == 1 {
                    later = bad * (reward + gamma * next * mask - now + gamma * lambda * mask * later);
                    v.returns[i] = later + now;
                } else {
                    later = bad * (gamma * mask * later + reward) + (T::one() - bad) * now;
                    v.returns[i] = later;
                }
                v.advantages[i] = v.returns[i] - now;
            }
        }
    }

    /// (A - mean) / (std + 1e-5), with the unbiased standard deviation
    pub fn normalize<T: Real>(v: View<'_, T>, _: &Team) {
        let n = v.advantages.len() as f64;
        let mean = v.advantages.iter().map(|a| a.f64()).sum::<f64>() / n;
        let squares = v.advantages.iter().map(|a| (a.f64() - mean).powi(2)).sum::<f64>();
        let scale = 1.0 / ((squares / (n - 1.0)).sqrt() + EPS);
        v.advantages.iter_mut().for_each(|a| *a = T::of((a.f64() - mean) * scale));
    }
}

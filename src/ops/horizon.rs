//! The share that each reward and each value has in the objective of short-horizon actor-critic (Xu
//! et al., "Accelerated Policy Learning with Parallel Differentiable Simulation", ICLR 2022). A
//! character's rollout is cut into pieces where the next state is not the step's doing, or where it
//! is lost. The objective is the sum over all pieces of their discounted rewards, with the critic's
//! value of the observation at which a piece ends.
use super::advantage::OUTCOME;
use super::expect;
use crate::Result;
use crate::cpu::real::Real;
use crate::cpu::team::Team;
use crate::plan::arena::Mat;
use crate::plan::{Call, Grid, Output, Plan, size};

crate::kernel_args! {
    reads {
        /// [T, P, OUTCOME] outcomes of each step: reward, goes on, its doing.
        outcomes: T [t * p * OUTCOME],
    }
    writes {
        /// [T, P] derivative of the loss by each reward; 0 where a piece ends.
        rewards: T [t * p],
        /// [T + 1, P] derivative of the loss by the value of each observation.
        values: T [(t + 1) * p],
    }
    numbers {
        /// Discount.
        gamma,
        /// Factor of rewards in values.
        reward_scale,
    }
    sizes {
        /// Steps.
        t,
        /// Characters.
        p,
    }
}

/// Appends the call. `rewards` is [T, P], `values` [T + 1, P]. Errors: shapes that do not fit.
pub fn push<T: Real>(
    plan: &mut Plan,
    outcomes: Mat<T>,
    (rewards, values): (Mat<T>, Mat<T>),
    (gamma, reward_scale): (f64, f64),
) -> Result<()> {
    let (t, p) = (rewards.rows(), rewards.cols());
    expect("horizon", "outcomes", outcomes.len(), t * p * OUTCOME, "one a step and character")?;
    expect("horizon", "values", values.len(), (t + 1) * p, "one an observation")?;
    let args = Args {
        outcomes: outcomes.into(),
        rewards: rewards.into(),
        values: values.into(),
        gamma,
        reward_scale,
        t: size(t),
        p: size(p),
        scalar: Default::default(),
    };
    let writes = ["rewards", "values"].map(Output::whole);
    plan.push(Call::new("horizon", Grid::elements(p, 64), &writes, args, cpu::weights::<T>));
    Ok(())
}

/// The definition.
pub mod cpu {
    use super::*;

    /// With D = 1 at the start and after each cut, else gamma times that of the step before: a step
    /// that goes on has the weight -D / (T P). Where it ends because something else was asked for,
    /// its observation's value has the weight -D / (reward_scale T P), and so has the last.
    pub fn weights<T: Real>(v: View<'_, T>, _: &Team) {
        let share = T::of(-1.0 / (v.t * v.p) as f64);
        let (gamma, of_value) = (T::of(v.gamma), share / T::of(v.reward_scale));
        for p in 0..v.p {
            let mut discount = T::one();
            for t in 0..v.t {
                let i = t * v.p + p;
                let [alive, own] = [1, 2].map(|j| v.outcomes[i * OUTCOME + j] != T::zero());
                v.rewards[i] = if alive && own { share * discount } else { T::zero() };
                v.values[i] = if own { T::zero() } else { of_value * discount };
                discount = if alive && own { gamma * discount } else { T::one() };
            }
            v.values[v.t * v.p + p] = of_value * discount;
        }
    }
}

//! Sizes worth testing and timing of every operation, with what it takes to run one: for
//! `gradcheck`, tests and benches.
mod built;
mod composed;
mod control;
mod layers;
mod losses;
mod pull;
mod step;
mod trained;

pub use built::{Build, Built, Case, Fill, Input, WEIGHT, normals};
pub use trained::{ADAM_OF_CHECKS, Held, Trained};

use crate::cpu::real::Real;

/// All cases of all operations.
pub fn cases<T: Real>() -> Vec<Case<T>> {
    [layers::cases, losses::cases, step::cases, control::cases, pull::cases]
        .into_iter()
        .flat_map(|cases| cases())
        .collect()
}

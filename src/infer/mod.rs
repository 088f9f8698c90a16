//! Inference: [`trained`] opens a trained model, [`rollout`] runs its decoder frame by frame, and
//! [`generate`] makes motion.
pub mod generate;
pub mod rollout;
pub mod trained;

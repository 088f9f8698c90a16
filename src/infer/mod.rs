//! A trained model at work: [`trained`] opens it, [`rollout`] runs its decoder frame by frame,
//! [`generate`] makes motion.
pub mod generate;
pub mod rollout;
pub mod trained;

//! Inference: [`trained`] opens a trained model, [`rollout`] runs its decoder frame by frame,
//! [`walk`] moves any number of characters with it, and [`generate`] makes motion.
pub mod generate;
pub mod rollout;
pub mod trained;
pub mod walk;

//! Controllers: by reinforcement learning, a policy learns which latents make the frozen decoder do
//! what a task asks for.
//!
//! Reading order:
//!
//! - [`policy`]: actor and critic.
//! - [`environment`]: the decoder as a world with a task.
//! - [`shac`], [`ppo`]: how the policy learns, by gradients through the decoder or without.
//! - [`learner`]: one algorithm or the other, and what both have.
//! - [`stage`]: the files that are read, and characters laid out from them.
//! - [`trainer`]: the training loop.
//! - [`play`]: a trained policy at work; [`planner`]: control without one; [`episodes`]:
//!   characters that others steer.
//!
//! Each task is a file of [`crate::ops::world`].
pub mod config;
pub mod course;
pub mod environment;
pub mod episodes;
pub(crate) mod evaluate;
pub mod learner;
pub mod lower;
pub mod planner;
pub mod play;
pub mod policy;
pub mod poses;
pub mod ppo;
pub mod record;
pub mod setup;
pub mod shac;
pub mod show;
pub mod stage;
pub(crate) mod steer;
pub mod thresholds;
pub mod trainer;

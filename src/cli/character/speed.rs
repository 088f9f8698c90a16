//! The speed of this machine, measured on real steps before the work begins.
use crate::backend::Backend;
use crate::config::Config;
use crate::control::config::PolicyConfig;
use crate::control::setup::PolicySetup;
use crate::control::trainer::seconds_an_update;
use crate::train::setup::{Setup, Start};
use crate::train::trainer::seconds_a_step;
use crate::{Result, data};
use std::path::Path;
use std::time::Duration;

/// Time over which each speed is measured.
const MEASURED: Duration = Duration::from_millis(1500);

/// Seconds that parts of the trainings take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    /// A training step of the model.
    pub step: f64,
    /// An update of the controller.
    pub update: f64,
}

impl Speed {
    /// Measures both trainings. An untrained model, on which the controller's updates are measured,
    /// is written to `file` for a while. Returns the number of mini-batches of an epoch, too.
    /// Errors: those of the data, the backend and the disk.
    pub fn of_both(
        (config, policy): (&Config, &PolicyConfig),
        backend: &dyn Backend,
        file: &Path,
        say: &dyn Fn(String),
    ) -> Result<(Self, usize)> {
        let (step, minibatches) = {
            let mut setup = Setup::on(config, backend, Start::Fresh, data::read, say)?;
            setup.save(file)?;
            (seconds_a_step(&mut setup, MEASURED)?, setup.minibatches())
        };
        let policy = PolicyConfig { vae: file.to_owned(), ..policy.clone() };
        let update = Speed::of_update(&policy, backend);
        let _ = std::fs::remove_file(file);
        Ok((Speed { step, update: update? }, minibatches))
    }

    /// Measures an update of the controller. Errors: those of the model and the backend.
    pub fn of_update(policy: &PolicyConfig, backend: &dyn Backend) -> Result<f64> {
        seconds_an_update(&mut PolicySetup::new(policy, backend, None)?, MEASURED)
    }
}

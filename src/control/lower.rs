//! The lower level of the maze task: a policy of the target task, on the same decoder.
use super::config::Config;
use super::environment::action_size;
use super::stage::misfit;
use crate::checkpoint::foreign::Controller;
use crate::checkpoint::{Checkpoint, Fingerprint};
use crate::infer::trained::{Trained, configuration};
use crate::model::layout::Layout;
use crate::ops::world::Task;
use crate::{Error, Result};

/// The policy of the lower level. Only the actor's values are loaded.
pub struct Walker {
    /// Layout of the policy's tensors.
    pub layout: Layout,
    /// Values of the tensors.
    pub values: Vec<f32>,
    /// Whether the policy sees normalised observations.
    pub normalized: bool,
}

impl Walker {
    /// Reads the controller that a configuration names as `lower`, whose observations have
    /// `observation` numbers. Errors: the file is no controller, belongs to another task, or was
    /// trained on another decoder.
    pub fn load(c: &Config, decoder: &Trained, acts_in: &Fingerprint, observation: usize) -> Result<Self> {
        let path = c.lower.as_path();
        let (checkpoint, described) = Checkpoint::load_described(path)?;
        let refuse = |what: String| Error::checkpoint(path, what, "give the run of a target controller");
        if let Some(described) = described {
            let controller = Controller::of(path, &described, &checkpoint.tensors)?;
            controller.require(path, Task::Target, observation, action_size(Task::Target, decoder.model()))?;
            let (layout, values) = controller.policy();
            return Ok(Walker { layout, values, normalized: false });
        }
        let meta = checkpoint.meta.as_ref().filter(|meta| meta.is_controller());
        let meta = meta.ok_or_else(|| refuse("is no controller".into()))?;
        let trained: Config = configuration(meta, path)?;
        trained.validate().map_err(|error| refuse(format!("configuration: {error}")))?;
        if trained.task != Task::Target {
            return Err(refuse(format!("its task is {}", trained.task.name())));
        }
        if let Some(what) = misfit(meta, decoder, acts_in) {
            let mend = format!("train a target controller on {}", c.vae.display());
            return Err(Error::checkpoint(path, what, mend));
        }
        let actions = action_size(Task::Target, decoder.model());
        let layout = Layout::of_policy(observation, actions, trained.hidden_size, trained.actor_gain);
        checkpoint.holds(path, &layout)?;
        let mut values = vec![0.0; layout.len];
        for tensor in layout.tensors.iter().filter(|tensor| tensor.name.starts_with("actor.")) {
            checkpoint.copy(path, &tensor.name, &tensor.shape, &mut values[tensor.first()..][..tensor.len()])?;
        }
        Ok(Walker { layout, values, normalized: trained.normalize_observations })
    }
}

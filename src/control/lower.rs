//! The lower level of a task whose actions are goals: a policy of another task, on the same
//! decoder.
use super::config::PolicyConfig;
use super::environment::action_size;
use crate::checkpoint::foreign::Controller;
use crate::checkpoint::{Checkpoint, Fingerprint, Meta};
use crate::infer::trained::{Trained, carried};
use crate::model::layout::Layout;
use crate::ops::world::Task;
use crate::{Error, Result};

/// The policy of the lower level. Only the actor's values are loaded.
pub(crate) struct Walker {
    /// Layout of the policy's tensors.
    pub layout: Layout,
    /// Values of the tensors.
    pub values: Vec<f32>,
    /// Whether the policy sees normalised observations.
    pub normalized: bool,
}

impl Walker {
    /// Reads the controller of `task` that a configuration names as `lower`, whose poses have `row`
    /// numbers. Errors: the file is no controller, belongs to another task, or was
    /// trained on another decoder.
    pub fn load(c: &PolicyConfig, task: Task, decoder: &Trained, acts_in: &Fingerprint, row: usize) -> Result<Self> {
        let path = c.lower.as_path();
        let actions = action_size(task, decoder.model());
        let observation = row + task.info().extra.of(decoder.model().latent_size);
        let (checkpoint, described) = Checkpoint::load_described(path)?;
        let refuse =
            |what: String| Error::checkpoint(path, what, format!("give the run of a {} controller", task.name()));
        if let Some(described) = described {
            let controller = Controller::of(path, &described, &checkpoint.tensors)?;
            controller.require(path, task, observation, actions)?;
            let (layout, values) = controller.policy();
            return Ok(Walker { layout, values, normalized: false });
        }
        let meta = checkpoint.meta.as_ref().filter(|meta| meta.is_controller());
        let meta = meta.ok_or_else(|| refuse("is no controller".into()))?;
        let trained: PolicyConfig = carried(meta, path)?;
        trained.validate().map_err(|error| refuse(format!("configuration: {error}")))?;
        if trained.task != task {
            return Err(refuse(format!("its task is {}", trained.task.name())));
        }
        if let Some(what) = misfit(meta, decoder, acts_in) {
            let mend = format!("train a {} controller on {}", task.name(), c.vae.display());
            return Err(Error::checkpoint(path, what, mend));
        }
        let layout = Layout::of_policy(observation, actions, trained.hidden_size, trained.actor_gain);
        checkpoint.holds(path, &layout)?;
        let mut values = vec![0.0; layout.len];
        for tensor in layout.tensors.iter().filter(|tensor| tensor.name.starts_with("actor.")) {
            checkpoint.copy(path, &tensor.name, &tensor.shape, &mut values[tensor.first()..][..tensor.len()])?;
        }
        Ok(Walker { layout, values, normalized: trained.normalize_observations })
    }
}

/// The reason why a controller does not fit this decoder and its poses to start from, if there is
/// one.
pub(crate) fn misfit(controller: &Meta, decoder: &Trained, acts_in: &Fingerprint) -> Option<String> {
    let joints = |meta: &Meta| meta.rig.as_ref().map(|rig| rig.skeleton.names.clone()).unwrap_or_default();
    let (theirs, ours) = (joints(controller), joints(&decoder.meta));
    let vae = decoder.path.display();
    if theirs != ours {
        let (theirs, ours) = (theirs.len(), ours.len());
        return Some(format!("steers another skeleton ({theirs} joints) than that of {vae} ({ours} joints)"));
    }
    let (theirs, ours) = (controller.model.latent_size, decoder.model().latent_size);
    if theirs != ours {
        return Some(format!("steers a decoder of {theirs} latents, and {vae} has {ours}"));
    }
    let same = controller.progress.as_ref().is_some_and(|progress| progress.data == *acts_in);
    (!same).then(|| format!("was trained with another decoder, or other poses to start from, than {vae}"))
}

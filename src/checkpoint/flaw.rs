//! Checks of a checkpoint's metadata: values that no run writes. A matching checksum does not make
//! them true.
use super::{Meta, Progress};

/// Most epochs (controllers: updates) of a run.
const MAX_EPOCHS: usize = 1 << 20;
/// Most optimizer steps: up to here a float represents every whole number.
const MAX_STEPS: u64 = 1 << 53;

impl Meta {
    /// The reason why no model has this metadata, or `None` if all is well.
    pub(super) fn flaw(&self) -> Option<String> {
        let of_rig =
            || self.rig.as_ref().and_then(|rig| rig.flaw(self.model.frame_size)).map(|flaw| format!("rig: {flaw}"));
        let of_progress = || self.progress.as_ref().and_then(Progress::flaw).map(|flaw| format!("progress: {flaw}"));
        let mut places = self.clip_roots.iter().flat_map(|root| [root.x, root.z, root.facing]);
        let of_places = || places.any(|x| !x.is_finite()).then(|| "clip_roots: a number is not finite".to_owned());
        self.model.flaw(&|key| format!("model.{key}")).or_else(of_rig).or_else(of_progress).or_else(of_places)
    }
}

impl Progress {
    fn flaw(&self) -> Option<String> {
        let Progress { epoch, minibatch, rollout_step, step, elapsed_seconds, .. } = self;
        if !(1..=MAX_EPOCHS + 1).contains(epoch) {
            return Some(format!("epoch is {epoch}, expected 1 to {}", MAX_EPOCHS + 1));
        }
        if *minibatch.max(rollout_step) > u32::MAX as usize || *step > MAX_STEPS {
            return Some(format!("mini-batch {minibatch} and step {step} are more than any run has"));
        }
        (!(elapsed_seconds.is_finite() && *elapsed_seconds >= 0.0))
            .then(|| format!("elapsed_seconds is {elapsed_seconds}, expected 0 or more"))
    }
}

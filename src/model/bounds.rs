//! Bounds of the sizes of a network, so that no plan is too large for a backend.
use super::layout::Layout;
use crate::config::{CodebookInit, ExpertInit, MAX_SIZE, ModelConfig, Variant};

/// Most decoders of a specialist, each of which has operations of its own.
const MAX_SPECIALISTS: usize = 256;
/// Most numbers in a window's condition frames, or in the frames predicted at once.
const MAX_ROW: usize = 1 << 24;

impl ModelConfig {
    /// The reason why no network can have these sizes, if there is one. Bounded are each size, the
    /// rows and the weights of a layer. `name` turns a key into its name in the message.
    pub fn flaw(&self, name: &dyn Fn(&str) -> String) -> Option<String> {
        for (key, value) in [
            ("frame_size", self.frame_size),
            ("latent_size", self.latent_size),
            ("hidden_size", self.hidden_size),
            ("gate_hidden_size", self.gate_hidden_size),
            ("experts", self.experts),
            ("codes", self.codes),
            ("condition_frames", self.condition_frames),
            ("future_predictions", self.future_predictions),
        ] {
            if !(1..=MAX_SIZE).contains(&value) {
                return Some(format!("{} is {value}, expected 1 to {MAX_SIZE}", name(key)));
            }
        }
        if !(self.position_gain > 0.0 && self.position_gain <= 1.0) {
            let (name, gain) = (name("position_gain"), self.position_gain);
            return Some(format!("{name} is {gain}, expected a number above 0 and at most 1"));
        }
        if self.variant == Variant::Specialist && self.experts > MAX_SPECIALISTS {
            return Some(format!("{} is {}, expected 1 to {MAX_SPECIALISTS}", name("experts"), self.experts));
        }
        let features = self.frame_size;
        for (key, frames) in
            [("condition_frames", self.condition_frames), ("future_predictions", self.future_predictions)]
        {
            if frames * features > MAX_ROW {
                let name = name(key);
                return Some(format!(
                    "{name} is {frames}, which with {features} features is more than {MAX_ROW} numbers"
                ));
            }
        }
        let layout = Layout::of(self, ExpertInit::Reference, CodebookInit::Fixed);
        layout.too_large().map(|what| {
            let keys = ["hidden_size", "experts", "condition_frames", "future_predictions", "latent_size"].map(name);
            format!("{what}; make {} or {} smaller", keys[..4].join(", "), keys[4])
        })
    }

    /// The keys that decide the widest activation, and its numbers for one sample.
    pub(crate) fn widest(&self) -> (&'static [&'static str], usize) {
        let f = self.frame_size;
        let of_experts = if self.variant == Variant::Specialist { self.experts } else { 1 };
        let blended = if self.variant == Variant::Mixture { self.experts } else { 1 };
        let all: [(&'static [&'static str], usize); 7] = [
            (&["latent_size"], 3 * self.latent_size),
            (&["hidden_size", "experts"], self.hidden_size * of_experts.max(blended)),
            (&["gate_hidden_size"], self.gate_hidden_size),
            (&["experts"], 3 * self.experts),
            (&["codes"], self.codes),
            (&["condition_frames"], self.condition_frames * f),
            (&["future_predictions", "experts"], self.future_predictions * f * of_experts.max(blended)),
        ];
        all.into_iter().max_by_key(|(_, numbers)| *numbers).expect("there are some")
    }
}

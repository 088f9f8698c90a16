//! The data that lets a person steer in the report's page: decoder and policy of a joystick
//! controller, packed for `steer.js`, which runs them.
use super::environment::task_gain;
use super::play::Performance;
use super::stage::Material;
use crate::Result;
use crate::config::Variant;
use crate::model::layout::{Layout, Tensor};
use crate::motion::rig::METRES;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use half::f16;
use serde_json::{Value, json};

/// Packed networks for the page. The decoder is packed once, since it does not change while the
/// policy learns.
#[derive(Clone)]
pub(crate) struct Steering {
    fixed: Value,
    /// Number of the recorded pair that is the command.
    command: usize,
    tensors: Vec<Value>,
    weights: Vec<f16>,
}

impl Steering {
    /// Packs the decoder. `command` is the number of the recorded pair that is the command. Errors:
    /// a tensor is missing.
    pub fn new(material: &Material, frame_skip: usize, command: usize) -> Result<Self> {
        let (decoder, rules) = (&material.decoder, &material.rules);
        let m = decoder.model();
        let (scale, shift) = decoder.statistics.scale_and_shift(decoder.meta.normalization);
        let single = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        let gain = task_gain(m.frame_size * m.condition_frames, (rules.task.info().extra)(m.latent_size));
        let fixed = json!({
            "variant": m.variant, "frame_size": m.frame_size, "condition_frames": m.condition_frames, "experts": m.experts,
            "position_gain": m.position_gain,
            "frame_skip": frame_skip, "normalized": material.normalizes(), "unit": rules.unit(), "task_gain": gain, "body": rules.body,
            "top": rules.speed, "fps": material.rig.fps, "metres": METRES, "lost": crate::ops::world::LOST * rules.body,
            "scale": single(scale), "shift": single(shift),
        });
        let mut steering = Steering { fixed, command, tensors: Vec::new(), weights: Vec::new() };
        steering.add(&decoder.layout(), &decoder.values()?, |tensor| decodes(m.variant, &tensor.name));
        Ok(steering)
    }

    /// All of it as JSON, with the policy's `values` and the starts of the characters that are
    /// shown.
    pub fn with_policy(&self, layout: &Layout, values: &[f32], shown: &[Performance]) -> Value {
        let mut whole = self.clone();
        whole.add(layout, values, |tensor| tensor.name.starts_with("actor."));
        let start = |one: &Performance| json!({ "pose": one.start, "command": one.recorded[self.command].first() });
        let starts: Vec<Value> = shown.iter().map(start).collect();
        let mut json = whole.fixed;
        json["tensors"] = whole.tensors.into();
        json["weights"] = BASE64_STANDARD.encode(bytemuck::cast_slice(&whole.weights)).into();
        json["starts"] = starts.into();
        json
    }

    fn add(&mut self, layout: &Layout, values: &[f32], of: impl Fn(&Tensor) -> bool) {
        for tensor in layout.tensors.iter().filter(|tensor| of(tensor)) {
            self.tensors.push(json!([tensor.name, self.weights.len(), tensor.len()]));
            self.weights.extend(values[tensor.first()..][..tensor.len()].iter().map(|&x| f16::from_f32(x)));
        }
    }
}

/// True if a tensor takes part in decoding.
fn decodes(variant: Variant, name: &str) -> bool {
    let prefixes: &[&str] = match variant {
        Variant::Mixture => &["decoder."],
        Variant::Posevae => &["fc4.", "fc5.", "out."],
        Variant::Specialist => &["d", "g_fc"],
        Variant::Vq => &["fc4.", "fc5.", "fc6.", "out.", "quantizer.embed"],
    };
    prefixes.iter().any(|prefix| name.starts_with(prefix)) && name != "quantizer.embed_avg"
}

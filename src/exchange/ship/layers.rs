//! The networks of an exported character as a list of layers of one kind:
//!
//! ```text
//! y = act(sum over e of gate_e (x W_e + b_e))
//! ```
//!
//! - Dense layers have one expert and no gate.
//! - A mixture's layers are blended by a softmax.
//! - Specialists, and the codebook of vq, are chosen by a gate of one 1 among zeros.
//!
//! Every format is written from this list.
use crate::config::{ModelConfig, Variant};
use crate::model::layout::Layout;
use serde::Serialize;

/// Most outputs that are computed at once: outputs are padded to a multiple of it.
pub(super) const LANES: usize = 16;
/// Rows of weights that are read at once: inputs are padded to a multiple of it.
pub(super) const ROWS: usize = 4;

/// Value that is 1. The bias is its row of weights.
pub(super) const ONE: usize = 0;
/// Value that holds the latent (vq: the action, whose largest entry chooses the code).
pub(super) const LATENT: usize = 1;
/// Value that holds the normalised condition, [C F].
pub(super) const CONDITION: usize = 2;
/// Value that holds the command that a policy is asked to follow, two numbers a vector.
pub(super) const COMMAND: usize = 3;

/// Function of a layer's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Act {
    /// x.
    Same,
    /// x for x > 0, else e^x - 1.
    Elu,
    /// max(x, 0).
    Relu,
    /// 4 tanh x: a policy's latent.
    Action,
    /// e^x over the sum of all e^x.
    Softmax,
    /// 1 for the first of the largest entries, 0 for the others.
    Largest,
}

/// One layer, see the module.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Values whose entries, one after another, are x.
    pub inputs: Vec<usize>,
    /// Value that holds a weight for each expert.
    pub gate: Option<usize>,
    /// Experts.
    pub experts: usize,
    /// [E, I, O].
    pub weights: Vec<f32>,
    /// [E, O].
    pub bias: Vec<f32>,
    pub act: Act,
    /// Value that holds y.
    pub into: usize,
}

/// The layers of policy and decoder, and the values that they read and write.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    /// Size of each value.
    pub sizes: Vec<usize>,
    /// The policy's layers, then the decoder's.
    pub all: Vec<Layer>,
    /// Number of the policy's layers.
    pub policy: usize,
}

/// Tensors of a network by name.
#[derive(Clone, Copy)]
pub(super) struct Tensors<'a> {
    pub layout: &'a Layout,
    pub values: &'a [f32],
}

impl<'a> Tensors<'a> {
    fn get(&self, name: &str) -> &'a [f32] {
        let tensor = self.layout.tensors.iter().find(|tensor| tensor.name == name).expect("the layout has it");
        &self.values[tensor.first()..][..tensor.len()]
    }

    /// Weights [I, O] and bias of a dense layer, which are stored [O, I].
    fn dense(&self, name: &str) -> (Vec<f32>, &'a [f32]) {
        let (weights, bias) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        let (inputs, outputs) = (weights.len() / bias.len(), bias.len());
        let turned = (0..inputs).flat_map(|i| (0..outputs).map(move |o| weights[o * inputs + i]));
        (turned.collect(), bias)
    }
}

impl Layers {
    /// The decoder; of the frames that it predicts at once, the first `frames`.
    pub fn decoder(model: &ModelConfig, tensors: Tensors, frames: usize) -> Self {
        let latent = if model.variant == Variant::Vq { model.codes } else { model.latent_size };
        let sizes = vec![1, latent, model.condition_frames * model.frame_size, 0];
        let mut layers = Layers { sizes, all: Vec::new(), policy: 0 };
        let names = |names: [&str; 3]| names.map(|name| vec![name.to_owned()]);
        let outputs = [Act::Elu, Act::Elu, Act::Same];
        match model.variant {
            Variant::Posevae => layers.skips(tensors, names(["fc4", "fc5", "out"]), None, outputs),
            Variant::Specialist => {
                let gate = [Act::Elu, Act::Elu, Act::Largest];
                let gate = layers.skips(tensors, names(["g_fc1", "g_fc2", "g_fc3"]), None, gate);
                let each = |name: &str| (0..model.experts).map(|e| format!("d{e}.{name}")).collect();
                layers.skips(tensors, ["fc4", "fc5", "out"].map(each), Some(gate), outputs)
            }
            Variant::Mixture => {
                let mut gate = |layer: usize, inputs: &[usize], act| {
                    layers.dense(tensors, &[format!("decoder.gate.{layer}")], inputs, None, act)
                };
                let hidden = gate(0, &[LATENT, CONDITION], Act::Elu);
                let hidden = gate(2, &[hidden], Act::Elu);
                let gate = gate(4, &[hidden], Act::Softmax);
                outputs.into_iter().enumerate().fold(CONDITION, |h, (i, act)| {
                    let part = |part: char| tensors.get(&format!("decoder.{part}{i}")).to_vec();
                    layers.push(&[LATENT, h], Some((gate, model.experts)), (part('w'), part('b')), act)
                })
            }
            Variant::Vq => {
                let codes = model.codes;
                let same = (0..codes * codes).map(|i| if i / codes == i % codes { 1.0 } else { 0.0 }).collect();
                let chosen = layers.push(&[LATENT], None, (same, vec![0.0; codes]), Act::Largest);
                let embed = tensors.get("quantizer.embed");
                let code = |n: usize| (0..model.latent_size).map(move |k| embed[k * codes + n]);
                let book = (0..codes).flat_map(code).collect();
                let z = layers.push(&[], Some((chosen, codes)), (Vec::new(), book), Act::Same);
                let hidden = ["fc4", "fc5", "fc6"].iter().fold(None, |h, name| {
                    let inputs = h.map_or(vec![z, CONDITION], |h| vec![h]);
                    Some(layers.dense(tensors, &[(*name).into()], &inputs, None, Act::Relu))
                });
                layers.dense(tensors, &["out".into()], &hidden.into_iter().collect::<Vec<_>>(), None, Act::Same)
            }
        };
        layers.crop(frames * model.frame_size);
        layers
    }

    /// Puts a policy before the decoder. `raw` are scale and shift of the condition's entries if
    /// the policy sees poses that are not normalised. The command has `asked` numbers.
    pub fn steer(&mut self, tensors: Tensors, raw: Option<(&[f32], &[f32])>, asked: usize) {
        let decoder = std::mem::take(&mut self.all);
        self.sizes[COMMAND] = asked;
        let inputs = [CONDITION, COMMAND];
        let hidden = [0, 2, 4].iter().fold(None, |h, i| {
            let inputs = h.map_or(inputs.to_vec(), |h| vec![h]);
            Some(self.dense(tensors, &[format!("actor.actor.{i}")], &inputs, None, Act::Relu))
        });
        let (weights, bias) = tensors.dense("actor.actor.6");
        let inputs = hidden.into_iter().collect();
        self.all.push(Layer {
            inputs,
            gate: None,
            experts: 1,
            weights,
            bias: bias.to_vec(),
            act: Act::Action,
            into: LATENT,
        });
        if let Some((scale, shift)) = raw {
            // W (scale x + shift) + b = (W scale) x + (b + W shift)
            let Layer { weights, bias, .. } = &mut self.all[0];
            let outputs = bias.len();
            for (i, row) in weights.chunks_exact_mut(outputs).take(self.sizes[CONDITION]).enumerate() {
                let i = i % scale.len();
                for (w, b) in row.iter_mut().zip(bias.iter_mut()) {
                    *b += *w * shift[i];
                    *w *= scale[i];
                }
            }
        }
        self.policy = self.all.len();
        self.all.extend(decoder);
    }

    /// Appends a layer of one dense layer for each expert; returns its output.
    fn dense(&mut self, tensors: Tensors, names: &[String], inputs: &[usize], gate: Option<usize>, act: Act) -> usize {
        let (mut weights, mut bias) = (Vec::new(), Vec::new());
        for (w, b) in names.iter().map(|name| tensors.dense(name)) {
            weights.extend(w);
            bias.extend(b);
        }
        self.push(inputs, gate.map(|gate| (gate, names.len())), (weights, bias), act)
    }

    /// Appends three layers on [latent | condition] and twice on [latent | hidden]; returns the
    /// output.
    fn skips(&mut self, tensors: Tensors, names: [Vec<String>; 3], gate: Option<usize>, acts: [Act; 3]) -> usize {
        names.iter().zip(acts).fold(CONDITION, |h, (names, act)| self.dense(tensors, names, &[LATENT, h], gate, act))
    }

    fn push(
        &mut self,
        inputs: &[usize],
        gate: Option<(usize, usize)>,
        (weights, bias): (Vec<f32>, Vec<f32>),
        act: Act,
    ) -> usize {
        let (gate, experts) = gate.map_or((None, 1), |(gate, experts)| (Some(gate), experts));
        let into = self.sizes.len();
        self.sizes.push(bias.len() / experts);
        self.all.push(Layer { inputs: inputs.to_vec(), gate, experts, weights, bias, act, into });
        into
    }

    /// Keeps the first `outputs` of the last layer.
    fn crop(&mut self, outputs: usize) {
        let last = self.all.last_mut().expect("a decoder has layers");
        let all = std::mem::replace(&mut self.sizes[last.into], outputs);
        for numbers in [&mut last.weights, &mut last.bias] {
            *numbers = numbers.chunks_exact(all).flat_map(|row| row[..outputs].to_vec()).collect();
        }
    }

    /// Value that holds the predicted frames.
    pub fn prediction(&self) -> usize {
        self.all.last().expect("a decoder has layers").into
    }

    /// The layers as programs read them.
    pub fn packed(&self) -> Packed {
        let mut offsets = Vec::new();
        let stride = self.sizes.iter().fold(0, |at, size| {
            offsets.push(at);
            at + size.next_multiple_of(LANES)
        });
        let mut weights = Vec::new();
        let layers = self.all.iter().map(|layer| {
            let outputs = self.sizes[layer.into];
            let width = outputs.next_multiple_of(LANES);
            let first = weights.len();
            let inputs: usize = layer.inputs.iter().map(|&value| self.sizes[value]).sum();
            let mut row = |row: Option<&[f32]>| {
                let end = weights.len() + width;
                weights.extend_from_slice(row.unwrap_or_default());
                weights.resize(end, 0.0);
            };
            for e in 0..layer.experts {
                row(Some(&layer.bias[e * outputs..][..outputs]));
                (1..ROWS).for_each(|_| row(None));
                let mut rows = layer.weights[e * inputs * outputs..][..inputs * outputs].chunks_exact(outputs);
                for &value in &layer.inputs {
                    let size = self.sizes[value];
                    (0..size.next_multiple_of(ROWS)).for_each(|i| row(if i < size { rows.next() } else { None }));
                }
            }
            let inputs = [&[ONE][..], &layer.inputs].concat();
            let inputs = inputs.iter().map(|&value| (offsets[value], self.sizes[value].next_multiple_of(ROWS)));
            Packing {
                inputs: inputs.collect(),
                gate: layer.gate.map(|gate| offsets[gate]),
                experts: layer.experts,
                weights: first,
                into: offsets[layer.into],
                outputs,
                width,
                act: layer.act,
            }
        });
        let layers = layers.collect();
        Packed { weights, layers, policy: self.policy, offsets, stride }
    }
}

/// Layers with all weights in one list, and all values of a character in one block. Blocks begin on
/// multiples of [`LANES`] numbers. What is padded is zero, and stays so.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    /// Of each layer [E, rows of all inputs, padded outputs]. The first input is the value 1.
    pub weights: Vec<f32>,
    pub layers: Vec<Packing>,
    /// Number of the policy's layers, which come first.
    pub policy: usize,
    /// Place of each value in a block.
    pub offsets: Vec<usize>,
    /// Numbers of a block.
    pub stride: usize,
}

/// Places of one layer.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Packing {
    /// Places of the inputs, and their padded sizes.
    pub inputs: Vec<(usize, usize)>,
    /// Place of the gate.
    pub gate: Option<usize>,
    pub experts: usize,
    /// Place of the weights.
    pub weights: usize,
    /// Place of the outputs.
    pub into: usize,
    pub outputs: usize,
    /// Padded number of outputs.
    pub width: usize,
    pub act: Act,
}

impl Packed {
    /// Computes the layers from `first` on over the values of one character.
    pub fn run(&self, first: usize, values: &mut [f32]) {
        for layer in &self.layers[first..] {
            let mut y = vec![0.0; layer.width];
            let mut rows = self.weights[layer.weights..].chunks_exact(layer.width);
            for e in 0..layer.experts {
                let gate = layer.gate.map_or(1.0, |gate| values[gate + e]);
                for &(place, size) in &layer.inputs {
                    for (x, row) in values[place..][..size].iter().zip(&mut rows) {
                        let factor = gate * x;
                        y.iter_mut().zip(row).for_each(|(y, w)| *y += factor * w);
                    }
                }
            }
            layer.act.apply(&mut y[..layer.outputs]);
            values[layer.into..][..layer.width].copy_from_slice(&y);
        }
    }
}

impl Act {
    fn apply(self, y: &mut [f32]) {
        let largest = || (0..y.len()).fold(0, |best, i| if y[i] > y[best] { i } else { best });
        match self {
            Act::Same => (),
            Act::Elu => y.iter_mut().filter(|y| **y <= 0.0).for_each(|y| *y = y.exp_m1()),
            Act::Relu => y.iter_mut().for_each(|y| *y = y.max(0.0)),
            Act::Action => y.iter_mut().for_each(|y| *y = 4.0 * y.tanh()),
            Act::Softmax => {
                let most = y[largest()];
                y.iter_mut().for_each(|y| *y = (*y - most).exp());
                let sum: f32 = y.iter().sum();
                y.iter_mut().for_each(|y| *y /= sum);
            }
            Act::Largest => {
                let best = largest();
                y.iter_mut().enumerate().for_each(|(i, y)| *y = if i == best { 1.0 } else { 0.0 });
            }
        }
    }
}

//! The list of a model's parameters: name, shape, initialiser, place. Checkpoints, Adam and
//! gradient checks follow it.
use crate::Result;
use crate::backend::Memory;
use crate::config::{CodebookInit, ExpertInit, ModelConfig, Normalization, Variant};
use crate::cpu::real::Real;
use crate::data::normalize::Statistics;
use crate::ops::adam::CHUNK;
use crate::ops::update::TILE;
use crate::philox::{Purpose, Stream};
use crate::plan::arena::{Arena, Mat, Var};
use crate::plan::{Call, MAX_BLOCKS};
use std::ops::Range;

/// The initial values of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Uniform between minus and plus this bound.
    Uniform(f64),
    /// This value.
    Constant(f64),
    /// Standard normal.
    Normal,
    /// A copy of the tensor before it.
    Previous,
    /// Rows (or columns, where those are fewer) at right angles to one another and of this length.
    Orthogonal(f64),
}

/// One tensor of a model, under the reference's state-dict name.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// State-dict name.
    pub name: String,
    /// State-dict shape.
    pub shape: Vec<usize>,
    /// True if Adam trains it, false for a buffer.
    pub trainable: bool,
    /// Its initial values.
    pub init: Init,
    /// Place of its first element among those of all tensors.
    first: usize,
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its first element among [`Layout::initial`] values.
    pub fn first(&self) -> usize {
        self.first
    }

    /// True if it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and columns when seen as a matrix: the last size is the columns.
    fn matrix(&self) -> (usize, usize) {
        let cols = *self.shape.last().expect("every tensor has a size");
        (self.len() / cols, cols)
    }
}

/// All tensors of a model, trainable ones first, in state-dict order.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The tensors.
    pub tensors: Vec<Tensor>,
    /// Number of elements of the trainable part, gaps included.
    trainable: usize,
    /// Number of elements, gaps included.
    pub(crate) len: usize,
    /// Features of a frame; 0 for policies.
    frame_size: usize,
}

/// Number of elements whose multiples tensors start on, so that vectors and cache lines do not
/// straddle two tensors.
const ELEMENTS: usize = 64;

impl Layout {
    /// The tensors of a model.
    pub fn of(config: &ModelConfig, expert_init: ExpertInit, codebook_init: CodebookInit) -> Self {
        let mut layout = Layout { tensors: Vec::new(), trainable: 0, len: 0, frame_size: config.frame_size };
        let (latent, hidden, experts) = (config.latent_size, config.hidden_size, config.experts);
        let x = config.frame_size * config.future_predictions;
        let c = config.frame_size * config.condition_frames;
        match config.variant {
            Variant::Posevae => {
                layout.encoder("", x, c, hidden, latent);
                layout.decoder("", x, c, hidden, latent);
            }
            Variant::Mixture => {
                layout.encoder("encoder.", x, c, hidden, latent);
                let sizes = [(latent + c, hidden), (latent + hidden, hidden), (latent + hidden, x)];
                for (i, (inputs, outputs)) in sizes.into_iter().enumerate() {
                    let bound = match expert_init {
                        ExpertInit::Reference => (6.0 / (inputs * outputs) as f64).sqrt(),
                        ExpertInit::FanIn => (6.0 / inputs as f64).sqrt(),
                    };
                    layout.add(format!("decoder.w{i}"), &[experts, inputs, outputs], Init::Uniform(bound));
                    layout.add(format!("decoder.b{i}"), &[experts, outputs], Init::Constant(0.01));
                }
                let gate = config.gate_hidden_size;
                layout.dense("decoder.gate.0", latent + c, gate);
                layout.dense("decoder.gate.2", gate, gate);
                layout.dense("decoder.gate.4", gate, experts);
            }
            Variant::Specialist => {
                layout.encoder("encoder.", x, c, hidden, latent);
                for e in 0..experts {
                    layout.decoder(&format!("d{e}."), x, c, hidden, latent);
                }
                layout.dense("g_fc1", latent + c, hidden);
                layout.dense("g_fc2", latent + hidden, hidden);
                layout.dense("g_fc3", latent + hidden, experts);
            }
            Variant::Vq => {
                for (name, inputs, outputs) in [
                    ("fc1", x + c, hidden),
                    ("fc2", hidden, hidden),
                    ("fc3", hidden, hidden),
                    ("mu", hidden, latent),
                    ("fc4", latent + c, hidden),
                    ("fc5", hidden, hidden),
                    ("fc6", hidden, hidden),
                    ("out", hidden, x),
                ] {
                    layout.dense(name, inputs, outputs);
                }
            }
        }
        layout.trainable = layout.len;
        if config.variant == Variant::Vq {
            let size = match codebook_init {
                CodebookInit::Fixed => 1.0,
                CodebookInit::Reference => 0.0,
            };
            layout.add("quantizer.embed".into(), &[latent, config.codes], Init::Normal);
            layout.add("quantizer.embed_avg".into(), &[latent, config.codes], Init::Previous);
            layout.add("quantizer.cluster_size".into(), &[config.codes], Init::Constant(size));
            layout.tensors.iter_mut().rev().take(3).for_each(|t| t.trainable = false);
        }
        layout
    }

    /// The tensors of a policy: actor, log standard deviations and critic. Both networks have three
    /// hidden layers; `gain` is that of the actor's last layer.
    pub fn of_policy(observation: usize, action: usize, hidden: usize, gain: f64) -> Self {
        let mut layout = Layout { tensors: Vec::new(), trainable: 0, len: 0, frame_size: 0 };
        layout.perceptron("actor.actor.", [observation, hidden, hidden, hidden, action], gain);
        layout.add("dist.logstd._bias".into(), &[action, 1], Init::Constant(0.0));
        layout.perceptron("critic.", [observation, hidden, hidden, hidden, 1], 1.0);
        layout.trainable = layout.len;
        layout
    }

    fn perceptron(&mut self, prefix: &str, sizes: [usize; 5], last_gain: f64) {
        for (i, pair) in sizes.windows(2).enumerate() {
            let gain = if i == 3 { last_gain } else { 2f64.sqrt() };
            self.add(format!("{prefix}{}.weight", 2 * i), &[pair[1], pair[0]], Init::Orthogonal(gain));
            self.add(format!("{prefix}{}.bias", 2 * i), &[pair[1]], Init::Constant(0.0));
        }
    }

    fn add(&mut self, name: String, shape: &[usize], init: Init) {
        let tensor = Tensor { name, shape: shape.to_vec(), trainable: true, init, first: self.len };
        self.len = (self.len + tensor.len()).next_multiple_of(ELEMENTS);
        self.tensors.push(tensor);
    }

    fn dense(&mut self, name: &str, inputs: usize, outputs: usize) {
        let bound = Init::Uniform(1.0 / (inputs as f64).sqrt());
        self.add(format!("{name}.weight"), &[outputs, inputs], bound);
        self.add(format!("{name}.bias"), &[outputs], bound);
    }

    fn encoder(&mut self, prefix: &str, x: usize, c: usize, hidden: usize, latent: usize) {
        self.dense(&format!("{prefix}fc1"), x + c, hidden);
        self.dense(&format!("{prefix}fc2"), x + hidden, hidden);
        self.dense(&format!("{prefix}mu"), x + hidden, latent);
        self.dense(&format!("{prefix}logvar"), x + hidden, latent);
    }

    fn decoder(&mut self, prefix: &str, x: usize, c: usize, hidden: usize, latent: usize) {
        self.dense(&format!("{prefix}fc4"), latent + c, hidden);
        self.dense(&format!("{prefix}fc5"), latent + hidden, hidden);
        self.dense(&format!("{prefix}out"), latent + hidden, x);
    }

    /// The reason why the tensors are too large for a plan, if they are. Either a layer has more
    /// tiles than kernels have blocks, or there are more numbers in all than kernels count.
    pub(crate) fn too_large(&self) -> Option<String> {
        let tiles = |tensor: &Tensor| match tensor.shape[..] {
            [.., rows, cols] => tensor.len() / (rows * cols) * rows.div_ceil(TILE) * cols.div_ceil(TILE),
            _ => 1,
        };
        if let Some(large) = self.tensors.iter().find(|tensor| tiles(tensor) > MAX_BLOCKS) {
            let shape: Vec<String> = large.shape.iter().map(usize::to_string).collect();
            let most = MAX_BLOCKS * TILE * TILE;
            return Some(format!("{} would have {} weights, expected at most {most}", large.name, shape.join(" * ")));
        }
        let all = self.tensors.iter().map(Tensor::len).sum::<usize>();
        let most = MAX_BLOCKS * CHUNK;
        (all > most).then(|| format!("{all} parameters, expected at most {most}"))
    }

    /// Number of parameters that Adam trains.
    pub fn num_parameters(&self) -> usize {
        self.tensors.iter().filter(|t| t.trainable).map(Tensor::len).sum()
    }

    /// Initial values of all tensors, gaps (zeros) included.
    pub fn initial<T: Real>(&self, seed: u64) -> Vec<T> {
        let mut values = vec![T::zero(); self.len];
        for (index, tensor) in self.tensors.iter().enumerate() {
            let stream = Stream::new(seed, Purpose::Init, index as u64);
            let (before, here) = values.split_at_mut(tensor.first);
            let here = &mut here[..tensor.len()];
            match tensor.init {
                Init::Constant(value) => here.fill(T::of(value)),
                Init::Uniform(bound) => {
                    here.iter_mut().enumerate().for_each(|(i, x)| *x = T::of(bound * (2.0 * stream.uniform(i) - 1.0)))
                }
                Init::Normal => here
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, x)| *x = T::of(f64::from(stream.normals((i / 4) as u32)[i % 4]))),
                Init::Orthogonal(gain) => {
                    let (rows, cols) = tensor.matrix();
                    let values = orthogonal(&stream, rows, cols);
                    here.iter_mut().zip(values).for_each(|(x, value)| *x = T::of(gain * value));
                }
                Init::Previous => here.copy_from_slice(&before[self.tensors[index - 1].first..][..tensor.len()]),
            }
        }
        values
    }
}

/// A matrix whose rows are orthonormal, or its columns where those are fewer. Its vectors start as
/// normal numbers; each then loses its parts along those before it (Gram and Schmidt, twice against
/// rounding).
fn orthogonal(stream: &Stream, rows: usize, cols: usize) -> Vec<f64> {
    let (few, many) = (rows.min(cols), rows.max(cols));
    let normal = |i: usize| f64::from(stream.normals((i / 4) as u32)[i % 4]);
    let mut vectors: Vec<Vec<f64>> = Vec::new();
    for i in 0..few {
        let mut vector: Vec<f64> = (0..many).map(|j| normal(i * many + j)).collect();
        for before in vectors.iter().chain(&vectors) {
            let along: f64 = vector.iter().zip(before).map(|(x, y)| x * y).sum();
            vector.iter_mut().zip(before).for_each(|(x, y)| *x -= along * y);
        }
        let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
        vectors.push(vector);
    }
    let entry = |row: usize, col: usize| if rows <= cols { vectors[row][col] } else { vectors[col][row] };
    (0..rows * cols).map(|i| entry(i / cols, i % cols)).collect()
}

/// A model's tensors in an arena: values, gradients and Adam's moments, each one run of elements.
pub struct Parameters<T> {
    /// The names, shapes and places of the tensors.
    pub layout: Layout,
    /// All tensors, gaps included; the trainable ones come first.
    pub values: Mat<T>,
    /// Gradients of the trainable part. They are absent if nothing is trained, or if parameters are
    /// updated where gradients are computed.
    pub grads: Mat<T>,
    /// Adam's first moments, or absent.
    pub m: Mat<T>,
    /// Adam's second moments, or absent.
    pub v: Mat<T>,
    /// Scale and shift of each feature, \[F\], that take normalisation back; they follow from the
    /// statistics.
    pub normalization: [Mat<T>; 2],
}

impl<T: Real> Parameters<T> {
    /// Places for values, and with `training` for gradients and moments.
    pub fn new(arena: &mut Arena, layout: Layout, training: bool) -> Self {
        let grads = if training { arena.mat(1, layout.trainable) } else { Mat::NONE };
        Parameters { grads, ..Self::places(arena, layout, training) }
    }

    /// Places for values and moments, without gradients: parameters are updated where their
    /// gradients are computed.
    pub fn updated(arena: &mut Arena, layout: Layout) -> Self {
        Self::places(arena, layout, true)
    }

    fn places(arena: &mut Arena, layout: Layout, training: bool) -> Self {
        let grads = Mat::NONE;
        let values = arena.mat(1, layout.len);
        let [m, v] = [(); 2].map(|()| if training { arena.mat(1, layout.trainable) } else { Mat::NONE });
        let normalization = [(); 2].map(|()| arena.mat(1, layout.frame_size));
        Parameters { layout, values, grads, m, v, normalization }
    }

    /// Writes scale and shift of the features. Errors: those of the backend.
    pub(crate) fn write_normalization(
        &self,
        memory: &mut Memory,
        statistics: &Statistics,
        mode: Normalization,
    ) -> Result<()> {
        let (scale, shift) = statistics.scale_and_shift(mode);
        for (mat, values) in self.normalization.into_iter().zip([scale, shift]) {
            memory.write(mat, &values.into_iter().map(T::of).collect::<Vec<T>>())?;
        }
        Ok(())
    }

    /// The trainable part of the values.
    pub fn trainable(&self) -> Mat<T> {
        self.part(self.values, 0, 1, self.layout.trainable)
    }

    /// Values, gradients and both moments of a range of the trainable part.
    pub fn range(&self, range: &Range<usize>) -> [Mat<T>; 4] {
        [self.values, self.grads, self.m, self.v].map(|all| self.part(all, range.start, 1, range.len()))
    }

    /// Place of a tensor's first element among all values.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn first(&self, name: &str) -> usize {
        self.named(name).first
    }

    fn named(&self, name: &str) -> &Tensor {
        let tensor = self.layout.tensors.iter().find(|t| t.name == name);
        tensor.unwrap_or_else(|| panic!("no parameter {name}"))
    }

    fn part(&self, of: Mat<T>, first: usize, rows: usize, cols: usize) -> Mat<T> {
        if of.is_none() { of } else { of.reshaped(of.len(), 1).rows_at(first, rows * cols).reshaped(rows, cols) }
    }

    /// A tensor's value and gradient as a matrix (the last size is the columns).
    ///
    /// # Panics
    /// When the model has no tensor of that name.
    pub fn var(&self, name: &str) -> Var<T> {
        let tensor = self.named(name);
        let (rows, cols) = tensor.matrix();
        let grad = if tensor.trainable { self.part(self.grads, tensor.first, rows, cols) } else { Mat::NONE };
        Var { value: self.part(self.values, tensor.first, rows, cols), grad }
    }

    /// The layer that a call computes, from the first tensor that the call gets: `encoder.fc1`. For
    /// several layers, the common beginning of their names: `decoder.gate`.
    pub fn layer(&self, call: &Call) -> Option<&str> {
        let starts = |place: Mat<T>| call.fields().iter().any(|field| field.bytes.start == place.offset());
        let given = self.layout.tensors.iter().filter(|tensor| starts(self.place(self.values, tensor)));
        let mut names = given.map(|tensor| tensor.name.as_str());
        let first = names.next()?;
        let Some(layer) = first.strip_suffix(".weight") else { return Some(first) };
        let several = names.any(|name| name.ends_with(".weight"));
        Some(layer.rsplit_once('.').filter(|_| several).map_or(layer, |(begin, _)| begin))
    }

    /// A tensor's place among [`Parameters::values`] or, for trainable ones, `grads`, `m` and `v`.
    pub fn place(&self, of: Mat<T>, tensor: &Tensor) -> Mat<T> {
        self.part(of, tensor.first, 1, tensor.len())
    }
}

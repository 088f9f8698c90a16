//! One operation at one size: how it is laid out, and what fills its inputs.
use crate::Result;
use crate::cpu::real::Real;
use crate::ops::Operation;
use crate::ops::begin_step::StepState;
use crate::ops::recon_loss::{LOSSES, slot};
use crate::philox::{Purpose, Stream};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};
use crate::plan::contents::Contents;

/// The KL weight under which losses are checked.
pub const WEIGHT: f64 = 0.37;

/// One operation at one size.
pub struct Case<T> {
    /// The operation's file.
    pub op: &'static str,
    /// Its sizes, for people.
    pub sizes: String,
    /// True for the sizes of the published model: benches use them, and checks take a few entries.
    pub full: bool,
    /// Floating point operations of the products, forward and backward; 0 where there are none.
    pub flops: [f64; 2],
    /// Terms of the longest sum that single precision adds up.
    pub terms: usize,
    /// The function that lays the case out.
    pub build: Build<T>,
}

/// A function that lays a case out.
pub type Build<T> = Box<dyn Fn(&mut Arena) -> Result<Built<T>>>;

/// The numbers that fill an input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    /// Normal, with this standard deviation.
    Normal(f64),
    /// Rows of positive numbers that sum to 1.
    Simplex,
}

/// A tensor that is read.
pub struct Input<T> {
    /// Its name in the operation's file.
    pub name: &'static str,
    /// Its place; with a gradient when the operation gives one.
    pub var: Var<T>,
    /// The numbers that fill it.
    pub fill: Fill,
}

/// A function that writes the arguments that are not floats.
type Prepare = Box<dyn Fn(&mut Contents)>;

/// An operation laid out in an arena.
pub struct Built<T> {
    /// Its forward calls.
    pub forward: Plan,
    /// Its backward calls; none when it has no gradient.
    pub backward: Plan,
    /// The tensors that it reads.
    pub inputs: Vec<Input<T>>,
    /// The tensors that it computes, with the gradients that backward reads. A quantiser passes the
    /// gradient of its code straight to its input. There the value stands for the input, whose
    /// gradient that is.
    pub outputs: Vec<Var<T>>,
    /// The losses it writes, or absent. The loss that backward takes the gradient of is
    /// sum(outputs * their gradients) + recon + [`WEIGHT`] * regularizer.
    pub losses: Mat<f64>,
    prepare: Prepare,
}

impl<T: Real> Built<T> {
    /// Operations that follow one another, with their gradients.
    pub fn new(op: &[&dyn Operation], inputs: Vec<Input<T>>, outputs: Vec<Var<T>>, losses: Mat<f64>) -> Self {
        let (mut forward, mut backward) = (Plan::default(), Plan::default());
        op.iter().for_each(|op| op.forward(&mut forward));
        op.iter().rev().for_each(|op| op.backward(&mut backward));
        Built { forward, backward, inputs, outputs, losses, prepare: Box::new(|_| ()) }
    }

    /// An operation that has no gradient.
    pub(super) fn step(forward: Plan, inputs: Vec<Input<T>>, outputs: Vec<Var<T>>) -> Self {
        let prepare: Prepare = Box::new(|_| ());
        Built { forward, backward: Plan::default(), inputs, outputs, losses: Mat::NONE, prepare }
    }

    pub(super) fn prepared(self, prepare: impl Fn(&mut Contents) + 'static) -> Self {
        Built { prepare: Box::new(prepare), ..self }
    }

    /// Random inputs, all different for another seed.
    pub fn contents(&self, seed: u64) -> Contents {
        let mut contents = Contents::default();
        for (i, input) in self.inputs.iter().enumerate() {
            let mat = input.var.value;
            let mut values = normals(Stream::new(seed, Purpose::Check, i as u64), mat.len());
            match input.fill {
                Fill::Normal(scale) => values.iter_mut().for_each(|x| *x *= scale),
                Fill::Simplex => values.chunks_exact_mut(mat.cols()).for_each(|row| {
                    row.iter_mut().for_each(|x| *x = x.exp());
                    let sum: f64 = row.iter().sum();
                    row.iter_mut().for_each(|x| *x /= sum);
                }),
            }
            contents.write(mat, &values.into_iter().map(T::of).collect::<Vec<T>>());
        }
        if !self.losses.is_none() {
            let mut losses = [0.0; LOSSES];
            losses[slot::WEIGHT] = WEIGHT;
            contents.write(self.losses, &losses);
        }
        (self.prepare)(&mut contents);
        contents
    }

    /// Bytes of all tensors, each once: values forward, values and gradients backward.
    pub fn bytes(&self) -> [usize; 2] {
        let vars = || self.inputs.iter().map(|input| input.var).chain(self.outputs.iter().copied());
        let forward: usize = vars().map(|var| var.value.len()).sum();
        let backward: usize = vars().map(|var| var.value.len() + var.grad.len()).sum();
        [forward, backward].map(|n| n * size_of::<T>())
    }
}

/// The first `n` standard normal numbers of a stream.
pub fn normals(stream: Stream, n: usize) -> Vec<f64> {
    (0..n.div_ceil(4)).flat_map(|i| stream.normals(i as u32)).take(n).map(f64::from).collect()
}

/// A tensor of normal numbers with this standard deviation.
pub(super) fn input<T>(name: &'static str, var: Var<T>, scale: f64) -> Input<T> {
    Input { name, var, fill: Fill::Normal(scale) }
}

/// A tensor of normal numbers that needs no gradient.
pub(super) fn constant<T>(name: &'static str, mat: Mat<T>) -> Input<T> {
    input(name, Var::constant(mat), 1.0)
}

/// The state of step 1 of a run.
pub(super) fn first_step() -> [StepState; 1] {
    [StepState { seed: 1, kl_scale: 1.0, ..crate::ops::adam::adam_state(1e-4, [0.9, 0.999], 1) }]
}

/// A case of full size without products, whose sums are short.
pub(super) fn step_case<T: Real>(
    op: &'static str,
    sizes: String,
    build: impl Fn(&mut Arena) -> Result<Built<T>> + 'static,
) -> Case<T> {
    Case { op, sizes, full: true, flops: [0.0; 2], terms: 1, build: Box::new(build) }
}

/// A case without products over `b` samples, whose longest sum has this many terms.
pub(super) fn batch_case<T: Real>(
    op: &'static str,
    sizes: String,
    b: usize,
    terms: usize,
    build: impl Fn(&mut Arena) -> Result<Built<T>> + 'static,
) -> Case<T> {
    Case { full: b == 64, terms, ..step_case(op, sizes, build) }
}

//! Sizes worth testing and timing of every operation, with what it takes to run one: for
//! `gradcheck`, tests and benches.
mod control;

use super::Operation;
use super::adam::{self, Adam};
use super::begin_step::{self, StepState};
use super::blend_linear::BlendLinear;
use super::epoch_sums::EpochSums;
use super::gate::Gate;
use super::kl_weight::{self, CONTROLLER, KlWeight, Rule};
use super::linear::{Linear, Twins};
use super::noise::{normal, pick};
use super::quantize::Quantize;
use super::recon_loss::{LOSSES, ReconLoss, slot};
use super::reconcile::Reconcile;
use super::reparameterize::Reparameterize;
use super::softmax::Softmax;
use super::specialist_loss::SpecialistLoss;
use super::update::{Optimizer, Update};
use super::window::{self, Window};
use crate::Result;
use crate::backend::Memory;
use crate::cpu::activation::Activation::{self, Elu, None as Identity, Relu};
use crate::cpu::real::Real;
use crate::philox::{Purpose, Stream};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat, Var};

/// The KL weight under which losses are checked.
pub const WEIGHT: f64 = 0.37;

/// Adam whose first moments are the gradients of its last step: beta1 is 0.
pub const ADAM_OF_CHECKS: [f64; 3] = [0.0, 0.999, 1e-8];

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
type Prepare = Box<dyn Fn(&mut Memory) -> Result<()>>;

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
        Built { forward, backward, inputs, outputs, losses, prepare: Box::new(|_| Ok(())) }
    }

    /// An operation that has no gradient.
    fn step(forward: Plan, inputs: Vec<Input<T>>, outputs: Vec<Var<T>>) -> Self {
        let prepare: Prepare = Box::new(|_| Ok(()));
        Built { forward, backward: Plan::default(), inputs, outputs, losses: Mat::NONE, prepare }
    }

    fn prepared(self, prepare: impl Fn(&mut Memory) -> Result<()> + 'static) -> Self {
        Built { prepare: Box::new(prepare), ..self }
    }

    /// Writes random inputs, all different for another seed. Errors: those of the backend.
    pub fn fill(&self, memory: &mut Memory, seed: u64) -> Result<()> {
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
            memory.write(mat, &values.into_iter().map(T::of).collect::<Vec<T>>())?;
        }
        if !self.losses.is_none() {
            let mut losses = [0.0; LOSSES];
            losses[slot::WEIGHT] = WEIGHT;
            memory.write(self.losses, &losses)?;
        }
        (self.prepare)(memory)
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

fn input<T>(name: &'static str, var: Var<T>, scale: f64) -> Input<T> {
    Input { name, var, fill: Fill::Normal(scale) }
}

fn constant<T>(name: &'static str, mat: Mat<T>) -> Input<T> {
    input(name, Var::constant(mat), 1.0)
}

/// A layer and the updates of its parameters, as in a training step. Adam has a step size of 0 and
/// forgets earlier first moments, so the first moments become the gradients.
pub struct Trained<'a, T> {
    layer: &'a dyn Operation,
    updates: Vec<(Update<T>, Mat<f64>)>,
    optimizer: Optimizer<T>,
}

impl<'a, T: Real> Trained<'a, T> {
    /// A layer whose parameters `held` get these updates.
    pub fn new(arena: &mut Arena, layer: &'a dyn Operation, held: &Held<T>, updates: Vec<Update<T>>) -> Self {
        let gradient = updates.iter().map(|update| update.w.len()).max().expect("a layer has weights");
        let updates = updates.into_iter().map(|update| (arena.mat(1, update.tiles()), update));
        let updates = updates.map(|(squares, update)| (update, squares)).collect();
        let (state, losses, gradient) = (arena.mat(1, 1), arena.mat(1, LOSSES), arena.mat(1, gradient));
        let [values, moments @ ..] = held.0;
        Trained {
            layer,
            updates,
            optimizer: Optimizer { values, moments, state, losses, adam: ADAM_OF_CHECKS, gradient },
        }
    }
}

impl<T: Real> Operation for Trained<'_, T> {
    fn forward(&self, plan: &mut Plan) {
        self.layer.forward(plan);
    }

    fn backward(&self, plan: &mut Plan) {
        self.layer.backward(plan);
        self.updates.iter().for_each(|(update, squares)| update.push(plan, &self.optimizer, *squares));
    }
}

/// Parameters side by side: values, first and second moments.
pub struct Held<T>([Mat<T>; 3]);

impl<T: Real> Held<T> {
    /// Places for parameters of these rows and columns. The gradient of each lies where its first
    /// moments are.
    pub fn new<const N: usize>(arena: &mut Arena, shapes: [(usize, usize); N]) -> (Self, [Var<T>; N]) {
        let all = shapes.iter().map(|(rows, cols)| rows * cols).sum();
        let held = [(); 3].map(|()| arena.mat(all, 1));
        let mut first = 0;
        let parameters = shapes.map(|(rows, cols)| {
            let [value, grad] = [held[0], held[1]].map(|all| all.rows_at(first, rows * cols).reshaped(rows, cols));
            first += rows * cols;
            Var { value, grad }
        });
        (Held(held), parameters)
    }
}

/// All cases of all operations.
pub fn cases<T: Real>() -> Vec<Case<T>> {
    let mut cases = Vec::new();
    for (b, x, h, o, act) in [
        (1, 1, 0, 1, Identity),
        (3, 2, 0, 5, Elu),
        (5, 7, 3, 11, Elu),
        (7, 13, 5, 1, Relu),
        (11, 1, 2, 17, Relu),
        (64, 267, 256, 256, Elu),
        (64, 256, 0, 64, Elu),
    ] {
        cases.push(linear(b, x, h, o, act, false));
    }
    cases.push(linear(3, 5, 2, 7, Elu, true));
    cases.push(toward(5, 7, 11, Relu, None));
    cases.extend([(5, 3, 4, 7, Elu), (64, 267, 256, 32, Identity)].map(|(b, x, h, o, act)| twins(b, x, h, o, act)));
    for (b, l, h, o, e, act) in [
        (1, 1, 1, 1, 1, Identity),
        (3, 2, 3, 5, 2, Elu),
        (5, 3, 7, 11, 3, Elu),
        (9, 1, 4, 1, 7, Relu),
        (64, 32, 267, 256, 6, Elu),
        (64, 32, 256, 267, 6, Identity),
    ] {
        cases.push(blend_linear(b, l, h, o, e, act, false));
    }
    cases.push(blend_linear(5, 2, 3, 7, 3, Elu, true));
    cases.push(toward(64, 288, 267, Identity, Some((32, 6))));
    cases.push(toward(5, 5, 11, Elu, Some((2, 3))));
    cases.extend(
        [(5, 2, 3, 7, 3), (17, 3, 7, 33, 6)].map(|(b, l, h, o, e)| blend_linear_without_gradient(b, l, h, o, e)),
    );
    cases.extend([(1, 1), (3, 2), (5, 7), (64, 6)].map(|(b, e)| softmax(b, e)));
    for (b, l, c, g, e) in [(1, 1, 1, 1, 1), (3, 2, 0, 5, 2), (5, 35, 7, 33, 7), (64, 32, 267, 64, 6)] {
        cases.push(gate(b, l, c, g, e, false));
    }
    cases.push(gate(5, 2, 3, 7, 3, true));
    cases.extend(
        [(1, 1, 0.0, 0), (3, 5, 0.0, 1), (7, 13, 0.9, 0), (64, 32, 0.0, 3)]
            .map(|(b, l, free, parts)| reparameterize(b, l, free, parts)),
    );
    cases.extend([(1, 1), (3, 5), (5, 37), (64, 267)].map(|(b, x)| recon_loss(b, x)));
    cases.extend([(1, 1, 1), (3, 5, 2), (5, 37, 7), (64, 267, 6)].map(|(b, x, e)| specialist_loss(b, x, e)));
    cases.extend([(1, 1, 1, 1), (3, 2, 3, 3), (64, 1, 1, 22)].map(|(b, k, c, joints)| reconcile(b, k, c, joints)));
    cases.extend([(1, 1, 1), (3, 5, 2), (17, 3, 7), (64, 32, 12)].map(|(b, l, n)| quantize(b, l, n)));
    cases.extend([window(64, 267, 1, 1), noise(64, 32, 0.7), pick_expert(64, 6), adam(1_696_072)]);
    for (b, r, c, e, of_left) in [
        (1, [1, 0], [1, 0], 1, true),
        (5, [33, 0], [3, 37], 1, true),
        (7, [2, 35], [11, 0], 3, false),
        (64, [256, 0], [267, 256], 1, true),
        (64, [32, 256], [267, 0], 6, false),
    ] {
        cases.push(update(b, r, c, e, of_left));
    }
    cases.extend([kl(), sums(64, 32, 6), begin()]);
    cases.extend(control::cases());
    cases
}

fn linear<T: Real>(b: usize, x: usize, h: usize, o: usize, act: Activation, twice: bool) -> Case<T> {
    let product = (2 * b * (x + h) * o) as f64;
    Case {
        op: "linear",
        sizes: format!("B={b} X={x} H={h} O={o} {act:?}{}", if twice { " twice" } else { "" }).to_lowercase(),
        full: b == 64,
        flops: [product, 2.0 * product],
        terms: (x + h).max(o).max(b),
        build: Box::new(move |arena| {
            let [xs, w, bias, y, again] = [(b, x), (o, x + h), (1, o), (b, o), (b, o)].map(|(r, c)| arena.var(r, c));
            let hs = if h == 0 { Var::none() } else { arena.var(b, h) };
            let mut inputs = vec![input("x", xs, 1.0), input("w", w, ((x + h) as f64).powf(-0.5))];
            inputs.push(input("bias", bias, 1.0));
            if h > 0 {
                inputs.push(input("h", hs, 1.0));
            }
            let first = Linear::new(xs, hs, w, bias, y, act)?;
            if !twice {
                return Ok(Built::new(&[&first], inputs, vec![y], Mat::NONE));
            }
            let second = Linear::new(xs, hs, w, bias, again, Identity)?;
            Ok(Built::new(&[&first, &second], inputs, vec![y, again], Mat::NONE))
        }),
    }
}

/// Two layers on the same input.
fn twins<T: Real>(b: usize, x: usize, h: usize, o: usize, act: Activation) -> Case<T> {
    let case = linear(b, x, h, o, act, false);
    let build: Build<T> = Box::new(move |arena| {
        let (xs, hs) = (arena.var(b, x), arena.var(b, h));
        let (mut inputs, mut outputs) = (vec![input("x", xs, 1.0), input("h", hs, 1.0)], vec![]);
        let mut layer = |of_w, of_bias| {
            let [w, bias, y] = [(o, x + h), (1, o), (b, o)].map(|(r, c)| arena.var(r, c));
            inputs.extend([input(of_w, w, ((x + h) as f64).powf(-0.5)), input(of_bias, bias, 1.0)]);
            outputs.push(y);
            Linear::new(xs, hs, w, bias, y, act)
        };
        let op = Twins::new(layer("w", "bias")?, layer("w2", "bias2")?)?;
        Ok(Built::new(&[&op], inputs, outputs, Mat::NONE))
    });
    let flops = case.flops.map(|flops| 2.0 * flops);
    Case { sizes: format!("{} twins", case.sizes), flops, terms: case.terms.max(2 * o), build, ..case }
}

fn blend_linear<T: Real>(b: usize, l: usize, h: usize, o: usize, e: usize, act: Activation, twice: bool) -> Case<T> {
    let product = (2 * b * (l + h) * o * e) as f64;
    Case {
        op: "blend_linear",
        sizes: format!("B={b} L={l} H={h} O={o} E={e} {act:?}{}", if twice { " twice" } else { "" }).to_lowercase(),
        full: b == 64,
        flops: [product, 2.0 * product],
        terms: (e * (l + h)).max(e * o).max(b),
        build: Box::new(move |arena| {
            let [z, hs, gate, y, again] = [l, h, e, o, o].map(|cols| arena.var(b, cols));
            let (held, [w, bias]) = Held::new(arena, [(e * (l + h), o), (e, o)]);
            let mut inputs =
                vec![input("z", z, 1.0), input("h", hs, 1.0), Input { name: "gate", var: gate, fill: Fill::Simplex }];
            let mut parameters = [input("w", w, ((l + h) as f64).powf(-0.5)), input("bias", bias, 1.0)];
            let [w, bias] = [w, bias].map(|parameter| Var::constant(parameter.value));
            let first = BlendLinear::new(arena, z, hs, gate, w, bias, y, act)?;
            if !twice {
                inputs.extend(parameters);
                let updates = vec![first.update()];
                return Ok(Built::new(&[&Trained::new(arena, &first, &held, updates)], inputs, vec![y], Mat::NONE));
            }
            parameters.iter_mut().for_each(|parameter| parameter.var.grad = Mat::NONE);
            inputs.extend(parameters);
            let second = BlendLinear::new(arena, z, hs, gate, w, bias, again, Identity)?;
            Ok(Built::new(&[&first, &second], inputs, vec![y, again], Mat::NONE))
        }),
    }
}

/// A layer of I inputs whose loss is the mean squared error to a target: dense, or blended with
/// this number of latent entries and of experts.
fn toward<T: Real>(b: usize, i: usize, o: usize, act: Activation, blended: Option<(usize, usize)>) -> Case<T> {
    let case = match blended {
        None => linear(b, i, 0, o, act, false),
        Some((l, e)) => blend_linear(b, l, i - l, o, e, act, false),
    };
    let build: Build<T> = Box::new(move |arena| {
        let (l, e) = blended.unwrap_or((i, 1));
        let (z, y, losses) = (arena.var(b, l), arena.var(b, o), arena.mat(1, LOSSES));
        let target = arena.mat(b, o);
        let scale = (i as f64).powf(-0.5);
        let mut inputs = vec![constant("target", target)];
        let loss = ReconLoss::new(y.value, target, losses)?;
        let layer: Box<dyn Operation> = if blended.is_none() {
            let (w, bias) = (arena.var(o, i), arena.var(1, o));
            inputs.extend([input("x", z, 1.0), input("w", w, scale), input("bias", bias, 1.0)]);
            Box::new(Linear::new(z, Var::none(), w, bias, y, act)?.toward(target)?)
        } else {
            let (h, gate) = (arena.var(b, i - l), arena.var(b, e));
            let [w, bias] = [(e * i, o), (e, o)].map(|(rows, cols)| Var::constant(arena.mat(rows, cols)));
            inputs.extend([input("z", z, 1.0), input("h", h, 1.0), input("w", w, scale), input("bias", bias, 1.0)]);
            inputs.push(Input { name: "gate", var: gate, fill: Fill::Simplex });
            Box::new(BlendLinear::new(arena, z, h, gate, w, bias, y, act)?.toward(target)?)
        };
        Ok(Built::new(&[&*layer, &loss], inputs, vec![], losses))
    });
    Case { sizes: format!("{} toward a target", case.sizes), build, ..case }
}

/// The blended layer as a walk uses it: it does not keep the experts' outputs.
fn blend_linear_without_gradient<T: Real>(b: usize, l: usize, h: usize, o: usize, e: usize) -> Case<T> {
    let case = blend_linear(b, l, h, o, e, Elu, false);
    let build: Build<T> = Box::new(move |arena| {
        let [z, hs, gate, y] = [l, h, e, o].map(|cols| Var::constant(arena.mat(b, cols)));
        let [w, bias] = [e * (l + h), e].map(|rows| Var::constant(arena.mat(rows, o)));
        let named = [("z", z), ("h", hs), ("w", w), ("bias", bias)];
        let mut inputs: Vec<_> = named.into_iter().map(|(name, var)| input(name, var, 1.0)).collect();
        inputs.push(Input { name: "gate", var: gate, fill: Fill::Simplex });
        let mut plan = Plan::default();
        BlendLinear::new(arena, z, hs, gate, w, bias, y, Elu)?.forward(&mut plan);
        Ok(Built::step(plan, inputs, vec![y]))
    });
    Case { sizes: format!("{} without gradient", case.sizes), flops: [case.flops[0], 0.0], build, ..case }
}

fn softmax<T: Real>(b: usize, e: usize) -> Case<T> {
    Case {
        op: "softmax",
        sizes: format!("b={b} e={e}"),
        full: b == 64,
        flops: [0.0; 2],
        terms: e,
        build: Box::new(move |arena| {
            let [x, y] = [(); 2].map(|()| arena.var(b, e));
            Ok(Built::new(&[&Softmax::new(x, y)?], vec![input("x", x, 2.0)], vec![y], Mat::NONE))
        }),
    }
}

fn gate<T: Real>(b: usize, l: usize, c: usize, g: usize, e: usize, twice: bool) -> Case<T> {
    let weights = (l + c + g + e) * g;
    Case {
        op: "gate",
        sizes: format!("b={b} l={l} c={c} g={g} e={e}{}", if twice { " twice" } else { "" }),
        full: b == 64,
        flops: [(2 * b * weights) as f64, (2 * b * (2 * weights - c * g)) as f64],
        terms: (l + c).max(g).max(b),
        build: Box::new(move |arena| {
            let z = arena.var(b, l);
            let condition = if c > 0 { arena.mat(b, c) } else { Mat::NONE };
            let (held, [w1, bias1, w2, bias2, w3, bias3]) =
                Held::new(arena, [(g, l + c), (1, g), (g, g), (1, g), (e, g), (1, e)]);
            let scale = |w: Var<T>| 2.0 * (w.cols() as f64).powf(-0.5);
            let mut inputs = vec![input("z", z, 1.0), constant("c", condition)];
            let mut parameters = [
                input("w1", w1, scale(w1)),
                input("bias1", bias1, 1.0),
                input("w2", w2, scale(w2)),
                input("bias2", bias2, 1.0),
                input("w3", w3, scale(w3)),
                input("bias3", bias3, 1.0),
            ];
            let layers = [(w1, bias1), (w2, bias2), (w3, bias3)]
                .map(|(w, bias)| (Var::constant(w.value), Var::constant(bias.value)));
            let mut op = || {
                let [h1, h2, logits, y] = [g, g, e, e].map(|cols| arena.var(b, cols));
                Ok((Gate::new(&mut *arena, z, Var::constant(condition), layers, [h1, h2], logits, y)?, y))
            };
            let (first, y) = op()?;
            if !twice {
                inputs.extend(parameters);
                let updates = first.updates().into();
                return Ok(Built::new(&[&Trained::new(arena, &first, &held, updates)], inputs, vec![y], Mat::NONE));
            }
            parameters.iter_mut().for_each(|parameter| parameter.var.grad = Mat::NONE);
            inputs.extend(parameters);
            // The gradient of the second one's gate in parts.
            let (second, again) = op()?;
            let parts = arena.mat(2 * b, e);
            let outputs = [0, 1].map(|i| Var { grad: parts.rows_at(i * b, b), ..again });
            let second = second.with_parts(parts)?;
            Ok(Built::new(&[&first, &second], inputs, [vec![y], outputs.to_vec()].concat(), Mat::NONE))
        }),
    }
}

fn reparameterize<T: Real>(b: usize, l: usize, free_bits: f64, parts: usize) -> Case<T> {
    Case {
        op: "reparameterize",
        sizes: format!("b={b} l={l} free bits {free_bits} parts {parts}"),
        full: b == 64,
        flops: [0.0; 2],
        terms: b,
        build: Box::new(move |arena| {
            let [mu, logvar, z] = [(); 3].map(|()| arena.var(b, l));
            let (eps, losses) = (arena.mat(b, l), arena.mat(1, LOSSES));
            let inputs = vec![input("mu", mu, 1.0), input("logvar", logvar, 1.0), constant("eps", eps)];
            let mut op = Reparameterize::new(arena, (mu, logvar), eps, z, losses, free_bits)?;
            let mut outputs = vec![z];
            if parts > 0 {
                let grads = arena.mat(parts * b, l);
                op = op.with_parts(grads)?;
                outputs.extend((0..parts).map(|i| Var { grad: grads.rows_at(i * b, b), ..z }));
            }
            Ok(Built::new(&[&op], inputs, outputs, losses))
        }),
    }
}

fn recon_loss<T: Real>(b: usize, x: usize) -> Case<T> {
    Case {
        op: "recon_loss",
        sizes: format!("b={b} x={x}"),
        full: b == 64,
        flops: [0.0; 2],
        terms: 1,
        build: Box::new(move |arena| {
            let (y, truth, losses) = (arena.mat(b, x), arena.mat(b, x), arena.mat(1, LOSSES));
            let mut plan = Plan::default();
            ReconLoss::new(y, truth, losses)?.forward(&mut plan);
            let built = Built::step(plan, vec![constant("y", y), constant("truth", truth)], vec![]);
            Ok(Built { losses, ..built })
        }),
    }
}

fn reconcile<T: Real>(b: usize, k: usize, c: usize, joints: usize) -> Case<T> {
    let case = step_case("reconcile", format!("b={b} k={k} c={c} joints={joints}"), move |arena| {
        let f = 3 + 12 * joints;
        let (x, condition, y) = (arena.mat(b, k * f), arena.mat(b, c * f), arena.mat(b, k * f));
        let (scale, shift) = (arena.mat(1, f), arena.mat(1, f));
        let mut plan = Plan::default();
        Reconcile { x, condition, scale, shift, y, gain: 0.3 }.check()?.push(&mut plan);
        let inputs = vec![constant("x", x), constant("condition", condition), constant("shift", shift)];
        let spreads: Vec<T> = (0..f).map(|i| T::of(0.5 + 0.1 * (i % 7) as f64)).collect();
        let built = Built::step(plan, inputs, vec![Var::constant(y)]);
        Ok(built.prepared(move |memory| memory.write(scale, &spreads)))
    });
    Case { full: b == 64, ..case }
}

fn specialist_loss<T: Real>(b: usize, x: usize, e: usize) -> Case<T> {
    Case {
        op: "specialist_loss",
        sizes: format!("b={b} x={x} e={e}"),
        full: b == 64,
        flops: [0.0; 2],
        terms: x,
        build: Box::new(move |arena| {
            let (each, gate) = (arena.var(e * b, x), arena.var(b, e));
            let (truth, y, pick, losses) = (arena.mat(b, x), arena.mat(b, x), arena.mat(b, 1), arena.mat(1, LOSSES));
            let inputs = vec![
                input("each", each, 1.0),
                Input { name: "gate", var: gate, fill: Fill::Simplex },
                constant("truth", truth),
            ];
            let op = SpecialistLoss::new(arena, each, gate, truth, pick, y, losses)?;
            Ok(Built::new(&[&op], inputs, vec![], losses))
        }),
    }
}

fn quantize<T: Real>(b: usize, l: usize, n: usize) -> Case<T> {
    Case {
        op: "quantize",
        sizes: format!("b={b} l={l} n={n}"),
        full: b == 64,
        flops: [0.0; 2],
        terms: l.max(b),
        build: Box::new(move |arena| {
            let [v, z] = [(); 2].map(|()| arena.var(b, l));
            let [embed, embed_avg] = [(); 2].map(|()| arena.mat(l, n));
            let [cluster_size, count] = [(); 2].map(|()| arena.mat(1, n));
            let (action, code, losses) = (arena.mat(b, n), arena.mat(b, 1), arena.mat(1, LOSSES));
            let op = Quantize { v, embed, cluster_size, embed_avg, z, action, code, count, losses }.check()?;
            let inputs = vec![input("v", v, 1.0), constant("embed", embed)];
            let straight_through = Var { value: v.value, grad: z.grad };
            Ok(Built::new(&[&op], inputs, vec![straight_through], losses))
        }),
    }
}

/// The state of step 1 of a run.
fn first_step() -> [StepState; 1] {
    [StepState { seed: 1, kl_scale: 1.0, ..crate::ops::adam::adam_state(1e-4, [0.9, 0.999], 1) }]
}

/// A case of an operation without gradient.
fn step_case<T: Real>(
    op: &'static str,
    sizes: String,
    build: impl Fn(&mut Arena) -> Result<Built<T>> + 'static,
) -> Case<T> {
    Case { op, sizes, full: true, flops: [0.0; 2], terms: 1, build: Box::new(build) }
}

fn window<T: Real>(b: usize, f: usize, c: usize, k: usize) -> Case<T> {
    const FRAMES: usize = 4096;
    step_case("window", format!("b={b} f={f} c={c} k={k}"), move |arena| {
        let (data, starts) = (arena.mat(FRAMES, f), arena.mat(1, b));
        let (schedule, cursor) = (arena.mat(1, 1), arena.mat(1, 2));
        let [prediction, truth] = [(); 2].map(|()| arena.mat(b, k * f));
        let condition = arena.mat(b, c * f);
        let mut plan = Plan::default();
        let losses = Mat::NONE;
        window::push(&mut plan, &Window { data, starts, schedule, cursor, prediction, losses, condition, truth });
        let outputs = vec![Var::constant(condition), Var::constant(truth)];
        // Not the whole data set: the bytes of a window are what is read.
        let built = Built::step(plan, vec![constant("prediction", prediction)], outputs);
        Ok(built.prepared(move |memory| {
            memory.write(schedule, &first_step())?;
            let order = Stream::new(1, Purpose::Check, 0).permutation(FRAMES - c - k);
            memory.write(starts, &order[..b])
        }))
    })
}

fn noise<T: Real>(b: usize, l: usize, scale: f64) -> Case<T> {
    step_case("noise", format!("normal b={b} l={l}"), move |arena| {
        let (state, out) = (arena.mat(1, 1), arena.mat(b, l));
        let mut plan = Plan::default();
        normal::push::<T>(&mut plan, state, out, Purpose::Eps, scale);
        let built = Built::step(plan, vec![], vec![Var::constant(out)]);
        Ok(built.prepared(move |memory| memory.write(state, &first_step())))
    })
}

fn pick_expert<T: Real>(b: usize, e: usize) -> Case<T> {
    step_case("noise", format!("pick b={b} e={e}"), move |arena| {
        let (state, gate, drawn) = (arena.mat(1, 1), arena.mat(b, e), arena.mat(b, 1));
        let mut plan = Plan::default();
        pick::push::<T>(&mut plan, state, gate, drawn);
        let inputs = vec![Input { name: "gate", var: Var::constant(gate), fill: Fill::Simplex }];
        Ok(Built::step(plan, inputs, vec![]).prepared(move |memory| memory.write(state, &first_step())))
    })
}

fn update<T: Real>(b: usize, r: [usize; 2], c: [usize; 2], e: usize, bias_of_left: bool) -> Case<T> {
    let [rows, cols] = [r, c].map(|parts| parts.iter().sum::<usize>());
    let sizes = format!("b={b} r={}+{} c={}+{} e={e}", r[0], r[1], c[0], c[1]);
    let case = step_case("update", sizes, move |arena| {
        let part = |arena: &mut Arena, cols| if cols > 0 { arena.mat(b, cols) } else { Mat::NONE };
        let left = r.map(|cols| part(arena, cols));
        let right = [part(arena, e * c[0]), part(arena, c[1])];
        let (weights, biases) = (e * rows * cols, if bias_of_left { r[0] } else { e * c[0] });
        let [values, m, v] = [(); 3].map(|()| arena.mat(weights + biases, 1));
        let (w, bias) = (values.rows_at(0, weights), values.rows_at(weights, biases));
        let op = Update { left, right, experts: e, w, bias, bias_of_left };
        let squares = arena.mat(1, op.tiles());
        let (state, losses) = (arena.mat(1, 1), arena.mat(1, LOSSES));
        let mut plan = Plan::default();
        let (adam, gradient) = ([0.9, 0.999, 1e-8], arena.mat(1, weights));
        op.push(&mut plan, &Optimizer { values, moments: [m, v], state, losses, adam, gradient }, squares);
        let inputs = ["left", "left2", "right", "right2"].into_iter().zip(left.into_iter().chain(right));
        let mut inputs: Vec<_> =
            inputs.filter(|(_, mat)| !mat.is_none()).map(|(name, mat)| constant(name, mat)).collect();
        inputs.extend([constant("values", values), constant("m", m)]);
        let built = Built::step(plan, inputs, [values, m, v].map(Var::constant).to_vec());
        Ok(built.prepared(move |memory| {
            memory.write(v, &vec![T::one(); v.len()])?;
            memory.write(state, &first_step())
        }))
    });
    Case { full: b == 64, flops: [(2 * b * e * rows * cols) as f64, 0.0], terms: b, ..case }
}

fn adam<T: Real>(n: usize) -> Case<T> {
    step_case("adam", format!("n={n}"), move |arena| {
        let [param, grad, m, v] = [(); 4].map(|()| arena.mat(1, n));
        let squares = arena.mat(1, n.div_ceil(adam::CHUNK));
        let (state, losses) = (arena.mat(1, 1), arena.mat(1, LOSSES));
        let [beta1, beta2, eps] = [0.9, 0.999, 1e-8];
        let mut plan = Plan::default();
        adam::push(&mut plan, &Adam { param, grad, m, v, squares, state, losses, beta1, beta2, eps });
        let outputs = [param, m, v].map(Var::constant).to_vec(); // read and written: their bytes count twice
        let inputs = vec![constant("grad", grad), constant("param", param), constant("m", m)];
        let built = Built::step(plan, inputs, outputs);
        Ok(built.prepared(move |memory| {
            memory.write(v, &vec![T::one(); n])?;
            memory.write(state, &first_step())
        }))
    })
}

fn kl<T: Real>() -> Case<T> {
    step_case("kl_weight", "auto".into(), move |arena| {
        let (state, losses, controller) = (arena.mat(1, 1), arena.mat(1, LOSSES), arena.mat(1, CONTROLLER));
        let mut plan = Plan::default();
        let (kept, rule) = ((arena.mat(1, 1), arena.mat(1, LOSSES)), Rule::Auto { units: 0.24, floor: 1e-4 });
        kl_weight::push::<T>(&mut plan, &KlWeight { state, losses, controller, kept, rule });
        Ok(Built::step(plan, vec![], vec![]).prepared(move |memory| memory.write(state, &first_step())))
    })
}

fn sums<T: Real>(b: usize, l: usize, e: usize) -> Case<T> {
    step_case("epoch_sums", format!("b={b} l={l} e={e}"), move |arena| {
        let (losses, kl, squares) = (arena.mat(1, LOSSES), arena.mat(1, l), arena.mat(1, 104));
        let (mu, sigma, gate) = (arena.mat(b, l), arena.mat(b, l), arena.mat(b, e));
        let op = EpochSums { losses, kl, mu, sigma, gate, code: Mat::NONE, squares, experts: e };
        let sums = op.place(arena);
        let mut plan = Plan::default();
        op.push(&mut plan, sums);
        let inputs = vec![
            constant("mu", mu),
            constant("sigma", sigma),
            Input { name: "gate", var: Var::constant(gate), fill: Fill::Simplex },
        ];
        Ok(Built::step(plan, inputs, vec![]))
    })
}

fn begin<T: Real>() -> Case<T> {
    step_case("begin_step", String::new(), move |arena| {
        // Each run takes an entry: enough of them for a bench.
        let (schedule, cursor, state) = (arena.mat(1, 1 << 16), arena.mat(1, 2), arena.mat(1, 1));
        let mut plan = Plan::default();
        begin_step::push::<T>(&mut plan, schedule, Mat::NONE, cursor, state);
        Ok(Built::step(plan, vec![], vec![]))
    })
}

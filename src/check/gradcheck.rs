//! Compares gradients with central differences in f64: every operation, and every parameter of
//! whole training steps.
//!
//! A step is the plan that trains. It keeps no gradient of a parameter, as Adam takes it where it
//! is computed. With beta1 = 0 Adam's first moment is that gradient; the check compares this
//! moment.
//!
//! The step of a difference is 1e-5 max(1, |x|). The error of an entry is |gradient - difference|,
//! relative to the largest of four numbers: the sizes of these two, the root mean square of the
//! tensor's gradient, and a floor. The rounding of the differences needs the floor. Cotangents are
//! random: a plain sum would hide a mistake in a softmax, whose rows sum to one.
use crate::Result;
use crate::backend::{Backend, Memory};
use crate::check::report::{Deviations, Row};
use crate::config::{CodebookInit, ExpertInit, ModelConfig, Variant};
use crate::cpu::real::Real;
use crate::model::layout::{Layout, Parameters};
use crate::ops::adam::adam_state;
use crate::ops::case::{ADAM_OF_CHECKS, Case, cases, normals};
use crate::ops::kl_weight::Rule;
use crate::ops::recon_loss::slot;
use crate::philox::{Purpose, Stream};
use crate::plan::Plan;
use crate::plan::arena::{Arena, Mat};
use crate::train::step::{StepOptions, TrainStep};
use clap::ValueEnum;
use std::time::Instant;

/// Largest relative error that passes.
pub(crate) const TOLERANCE: f64 = 1e-6;
/// Step of a difference, relative to max(1, |x|).
const STEP: f64 = 1e-5;
/// Smallest size that gradients of losses of order one are compared with: differences of f64
/// numbers of order one, 1e-5 apart, carry errors of 1e-11.
const FLOOR: f64 = 1e-4;
/// Value of a gradient before it is computed. A call that adds to it, or never writes it, is far
/// off. It is finite, since Adam multiplies the old value by beta1 = 0.
const UNWRITTEN: f64 = 1e30;
/// Number of entries of a tensor that are differenced in cases of full size.
const FEW: usize = 8;

/// Checks all operations and these networks. Errors: those of the backend; a wrong gradient is in
/// the report.
pub fn run(variants: &[Variant], backend: &dyn Backend) -> Result<Deviations> {
    let start = Instant::now();
    let mut report = Deviations::new("its backward call");
    for case in cases::<f64>() {
        report.add(operation(&case, backend, 1)?);
    }
    for &variant in variants {
        for c in 1..=3 {
            for k in 1..=3 {
                let model = ModelCheck { free_bits: 0.25 * (c % 2) as f64, ..ModelCheck::small(variant, c, k) };
                report.add(model.run(backend, 1)?);
            }
        }
    }
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// Checks the gradients of one operation at one size; nothing when it has none. Errors: those of
/// the backend.
pub fn operation(case: &Case<f64>, backend: &dyn Backend, seed: u64) -> Result<Vec<Row>> {
    let mut arena = Arena::default();
    let built = (case.build)(&mut arena)?;
    if built.backward.calls().is_empty() {
        return Ok(Vec::new());
    }
    let mut memory = Memory::new(backend, arena)?;
    memory.fill(&built.contents(seed))?;
    let stream = |i: usize| Stream::new(seed, Purpose::Check, 1000 + i as u64);
    let cotangents: Vec<Vec<f64>> =
        built.outputs.iter().enumerate().map(|(i, output)| normals(stream(i), output.value.len())).collect();

    memory.run(&built.forward)?;
    for (output, cotangent) in built.outputs.iter().zip(&cotangents) {
        memory.write(output.grad, cotangent)?;
    }
    let inputs = || built.inputs.iter().filter(|input| !input.var.grad.is_none());
    for input in inputs() {
        memory.write(input.var.grad, &vec![UNWRITTEN; input.var.grad.len()])?; // the first writer must overwrite
    }
    memory.run(&built.backward)?;

    let mut loss = |memory: &mut Memory| {
        memory.run(&built.forward)?;
        let mut loss = 0.0;
        for (output, cotangent) in built.outputs.iter().zip(&cotangents) {
            loss += memory.read(output.value)?.iter().zip(cotangent).map(|(y, r)| y * r).sum::<f64>();
        }
        if !built.losses.is_none() {
            let losses = memory.read(built.losses)?;
            loss += losses[slot::RECON] + losses[slot::WEIGHT] * losses[slot::REGULARIZER];
        }
        Ok(loss)
    };
    let limit = if case.full { FEW } else { usize::MAX };
    let mut rows = Vec::new();
    for input in inputs() {
        let gradient = memory.read(input.var.grad)?;
        let (entries, worst) = differences(&mut memory, input.var.value, &gradient, limit, &mut loss)?;
        let (subject, tensor, at) = (case.op.to_owned(), input.name.to_owned(), case.sizes.clone());
        rows.push(Row { subject, tensor, entries, worst, bound: Some(TOLERANCE), at });
    }
    Ok(rows)
}

/// Compares gradients with differences. Returns the number of entries differenced (at most about
/// `limit`, evenly spread) and the largest relative error.
fn differences(
    memory: &mut Memory,
    value: Mat<f64>,
    gradient: &[f64],
    limit: usize,
    loss: &mut dyn FnMut(&mut Memory) -> Result<f64>,
) -> Result<(usize, f64)> {
    let values = memory.read(value)?;
    let n = values.len();
    let scale = (gradient.iter().map(|g| g * g).sum::<f64>() / n as f64).sqrt().max(FLOOR);
    let (mut entries, mut worst) = (0, 0f64);
    for i in (0..n).step_by(n.div_ceil(limit)) {
        let (x, entry) = (values[i], value.reshaped(n, 1).rows_at(i, 1));
        let mut error = f64::INFINITY; // it stays so when something is not a number
        // If a rectifier bends inside the step, a shorter step sees only one side of it. A wrong
        // gradient fails both.
        for h in [STEP, STEP / 16.0].map(|h| h * x.abs().max(1.0)) {
            let (above, below) = (x + h, x - h);
            memory.write(entry, &[above])?;
            let more = loss(memory)?;
            memory.write(entry, &[below])?;
            let less = loss(memory)?;
            let difference = (more - less) / (above - below);
            error = error.min((gradient[i] - difference).abs() / scale.max(difference.abs()).max(gradient[i].abs()));
            if error <= TOLERANCE {
                break;
            }
        }
        memory.write(entry, &[x])?;
        entries += 1;
        worst = error.max(worst);
    }
    Ok((entries, worst))
}

/// A whole training step whose parameters' gradients are compared.
#[derive(Debug, Clone)]
pub struct ModelCheck {
    /// The network.
    pub model: ModelConfig,
    /// Samples.
    pub batch: usize,
    /// KL of a latent dimension that costs nothing, nats.
    pub free_bits: f64,
    /// KL weight.
    pub kl_weight: f64,
}

/// A training step that has been taken.
pub(crate) struct Stepped<'b, T> {
    /// The parameters, whose first moments are their gradients.
    pub parameters: Parameters<T>,
    /// The tensors of the step.
    pub step: TrainStep<T>,
    /// The memory that holds them.
    pub memory: Memory<'b>,
}

impl ModelCheck {
    /// A network of odd sizes with `c` condition frames and `k` future predictions, small enough
    /// for every entry.
    pub fn small(variant: Variant, c: usize, k: usize) -> Self {
        let model = ModelConfig {
            variant,
            frame_size: 5,
            latent_size: 3,
            hidden_size: 7,
            gate_hidden_size: 4,
            experts: 3,
            condition_frames: c,
            future_predictions: k,
            codes: 4,
            position_gain: 1.0,
        };
        ModelCheck { model, batch: 2 * k + 1, free_bits: 0.0, kl_weight: 0.3 }
    }

    /// A network of the published sizes, with 64 samples.
    pub fn full(variant: Variant) -> Self {
        let model = ModelConfig::published(variant);
        ModelCheck { model, batch: 64, free_bits: 0.0, kl_weight: 0.3 }
    }

    /// Takes one training step with a learning rate of 0, which leaves the gradients as first
    /// moments. Everything random in it is the same in single and double precision.
    pub(crate) fn step<'b, T: Real>(&self, backend: &'b dyn Backend, seed: u64) -> Result<Stepped<'b, T>> {
        let (model, batch) = (&self.model, self.batch);
        let mut arena = Arena::default();
        let layout = Layout::of(model, ExpertInit::FanIn, CodebookInit::Fixed);
        let parameters = Parameters::<T>::updated(&mut arena, layout);
        let frames = batch + model.condition_frames + model.future_predictions;
        let data = arena.mat::<T>(frames, model.frame_size);
        let options = StepOptions {
            model,
            batch,
            kl_rule: Rule::Fixed(self.kl_weight),
            free_bits: self.free_bits,
            adam: ADAM_OF_CHECKS,
            minibatches: 1,
            rollout: 1,
            draw: false,
        };
        let step = TrainStep::new(&mut arena, &parameters, data, &options)?;
        let mut memory = Memory::new(backend, arena)?;
        let singles: Vec<f32> = parameters.layout.initial(seed);
        let initial: Vec<T> = singles.into_iter().map(|x| T::of(f64::from(x))).collect();
        memory.write(parameters.values, &initial)?;
        memory.write(parameters.m, &vec![T::of(UNWRITTEN); parameters.m.len()])?;
        for (i, mat) in [data, step.network.eps].into_iter().enumerate() {
            let values = normals(Stream::new(seed, Purpose::Check, i as u64), mat.len());
            memory.write(mat, &values.into_iter().map(T::of).collect::<Vec<T>>())?;
        }
        memory.write(step.starts, &(0..batch as u32).collect::<Vec<_>>())?;
        memory.write(step.schedule, &[adam_state(0.0, [ADAM_OF_CHECKS[0], ADAM_OF_CHECKS[1]], 1)])?;
        memory.repeat(&step.plan, 1)?; // as the trainer does, by the engine that was asked for
        memory.write(parameters.values, &initial)?; // the step has moved a codebook
        Ok(Stepped { parameters, step, memory })
    }

    /// Compares the gradient of recon + weight * regularizer with respect to every parameter.
    /// Errors: the backend's.
    ///
    /// A codebook has no useful derivative; training follows that of a surrogate. There the decoder
    /// sees the encoder's output plus a constant, code - output at the point where the gradient is
    /// taken, and the codes stay.
    pub fn run(&self, backend: &dyn Backend, seed: u64) -> Result<Vec<Row>> {
        let (model, batch) = (&self.model, self.batch);
        let (c, k) = (model.condition_frames, model.future_predictions);
        let Stepped { parameters, step, mut memory } = self.step::<f64>(backend, seed)?;
        let network = &step.network;
        let mut encode = Plan::default();
        network.encode(&mut encode);
        let mut decode = Plan::default();
        network.decode(&mut decode);
        network.loss(&mut decode);
        let offset = match model.variant {
            Variant::Vq => {
                let (code, v) = (memory.read(network.z.value)?, memory.read(network.mu.value)?);
                Some(code.iter().zip(&v).map(|(code, v)| code - v).collect::<Vec<f64>>())
            }
            _ => None,
        };
        let mut loss = |memory: &mut Memory| {
            memory.run(&encode)?;
            if let Some(offset) = &offset {
                let v = memory.read(network.mu.value)?;
                let z: Vec<f64> = v.iter().zip(offset).map(|(v, offset)| v + offset).collect();
                memory.write(network.z.value, &z)?;
            }
            memory.run(&decode)?;
            let losses = memory.read(network.losses)?;
            Ok(losses[slot::RECON] + losses[slot::WEIGHT] * losses[slot::REGULARIZER])
        };
        let subject = model.variant.to_possible_value().expect("no variant is hidden").get_name().to_owned();
        let at = format!("b={batch} c={c} k={k} free bits {}", self.free_bits);
        let mut rows = Vec::new();
        for tensor in parameters.layout.tensors.iter().filter(|tensor| tensor.trainable) {
            let gradient = memory.read(parameters.place(parameters.m, tensor))?;
            let value = parameters.place(parameters.values, tensor);
            let (entries, worst) = differences(&mut memory, value, &gradient, usize::MAX, &mut loss)?;
            let (subject, tensor, at) = (subject.clone(), tensor.name.clone(), at.clone());
            rows.push(Row { subject, tensor, entries, worst, bound: Some(TOLERANCE), at });
        }
        Ok(rows)
    }
}

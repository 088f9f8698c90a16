//! A small training run, and a test that every backend must pass with it.
#![allow(dead_code)] // each test uses a part
use clap::ValueEnum;
use mvae_fast::backend::{Memory, cpu::Cpu};
use mvae_fast::check::gradcheck::ModelCheck;
use mvae_fast::config::{CodebookInit, ExpertInit, ModelConfig, Variant};
use mvae_fast::cpu::real::Real;
use mvae_fast::model::layout::{Layout, Parameters};
use mvae_fast::ops::adam::adam_state;
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::case::normals;
use mvae_fast::ops::kl_weight::Rule;
use mvae_fast::ops::recon_loss::slot;
use mvae_fast::philox::{Purpose, Stream};
use mvae_fast::plan::arena::{Arena, Mat};
use mvae_fast::train::step::{StepOptions, TrainStep, initialize};

pub const FRAMES: usize = 60;
pub const BATCH: usize = 17;
pub const ROLLOUT: usize = 4;
pub const MINIBATCHES: usize = 5;
pub const SEED: u64 = 3;

/// A small training run, ready for its first step.
pub struct Run<T> {
    pub memory: Memory<'static>,
    pub parameters: Parameters<T>,
    pub data: Mat<T>,
    pub step: TrainStep<T>,
}

impl<T: Real> Run<T> {
    pub fn new(variant: Variant, threads: usize) -> Self {
        Run::on(variant, |arena| Memory::new(Box::leak(Box::new(Cpu::new(threads))), arena).unwrap())
    }

    pub fn on(variant: Variant, memory: impl FnOnce(Arena) -> Memory<'static>) -> Self {
        Run::of(&small(variant), memory)
    }

    /// A run of the full-size model, on the CPU.
    pub fn full(variant: Variant, batch: usize) -> Self {
        let memory = |arena| Memory::new(Box::leak(Box::new(Cpu::new(1))), arena).unwrap();
        Run::of_batch(&ModelCheck::full(variant).model, batch, memory)
    }

    pub fn of(model: &ModelConfig, memory: impl FnOnce(Arena) -> Memory<'static>) -> Self {
        Run::of_batch(model, BATCH, memory)
    }

    pub fn of_batch(model: &ModelConfig, batch: usize, memory: impl FnOnce(Arena) -> Memory<'static>) -> Self {
        let mut arena = Arena::default();
        let layout = Layout::of(model, ExpertInit::FanIn, CodebookInit::Fixed);
        let parameters = Parameters::updated(&mut arena, layout);
        let data = arena.mat(FRAMES, model.frame_size);
        let options = StepOptions {
            model,
            batch,
            kl_rule: Rule::Auto { units: 0.1, floor: 1e-3 },
            free_bits: 0.0,
            adam: [0.9, 0.999, 1e-8],
            minibatches: MINIBATCHES,
            rollout: ROLLOUT,
            draw: true,
        };
        let step = TrainStep::new(&mut arena, &parameters, data, &options).unwrap();
        let mut memory = memory(arena);
        initialize(&mut memory, &parameters, SEED).unwrap();
        let stream = Stream::new(SEED, Purpose::Check, 0);
        let frames: Vec<T> = normals(stream, data.len()).into_iter().map(T::of).collect();
        memory.write(data, &frames).unwrap();
        let last = FRAMES - ROLLOUT - 4;
        let starts: Vec<u32> = (0..MINIBATCHES * batch).map(|i| stream.bits(i) % last as u32).collect();
        memory.write(step.starts, &starts).unwrap();
        let schedule: Vec<StepState> = (0..MINIBATCHES * ROLLOUT)
            .map(|i| StepState {
                seed: SEED,
                minibatch: (i / ROLLOUT) as u32,
                rollout_step: (i % ROLLOUT) as u32,
                student: stream.bits(1000 + i) % 2,
                ..adam_state(1e-3, [0.9, 0.999], i as u64 + 1)
            })
            .collect();
        memory.write(step.schedule, &schedule).unwrap();
        Run { memory, parameters, data, step }
    }

    pub fn steps(&mut self, steps: usize) {
        self.memory.repeat(&self.step.plan, steps).unwrap();
    }

    pub fn parameters(&self) -> Vec<T> {
        self.memory.read(self.parameters.values).unwrap()
    }

    /// Everything that lasts, to be compared bit for bit: parameters, moments, sums.
    pub fn state(&self) -> (Vec<T>, Vec<T>, Vec<T>, Vec<u64>) {
        let read = |mat| self.memory.read(mat).unwrap();
        let sums = self.memory.read(self.step.sums).unwrap().iter().map(|x| x.to_bits()).collect();
        (read(self.parameters.values), read(self.parameters.m), read(self.parameters.v), sums)
    }

    pub fn loss(&self, slot: usize) -> f64 {
        self.memory.read(self.step.network.losses).unwrap()[slot]
    }
}

/// Odd sizes, which are no multiples of a tile or vector.
pub fn small(variant: Variant) -> ModelConfig {
    ModelConfig {
        variant,
        frame_size: 37,
        latent_size: 5,
        hidden_size: 70,
        gate_hidden_size: 9,
        experts: 3,
        condition_frames: 2,
        future_predictions: 2,
        codes: 6,
        position_gain: 1.0,
    }
}

/// Fails if steps in single precision deviate from those in double precision. `tolerance` is for
/// losses of order one.
pub fn follows_double_precision(tolerance: f64, single: impl Fn(Variant) -> Run<f32>) {
    for &variant in Variant::value_variants() {
        let (mut single, mut double) = (single(variant), Run::<f64>::new(variant, 1));
        let start = double.parameters();
        for step in 1..=MINIBATCHES * ROLLOUT {
            single.steps(1);
            double.steps(1);
            let (got, want) = (single.loss(slot::TOTAL), double.loss(slot::TOTAL));
            assert!(
                (got - want).abs() < tolerance * want.abs().max(1.0),
                "{variant:?} step {step}: {got}, expected {want}"
            );
        }
        // Adam divides by the size of the gradient, so entries whose gradient is mere rounding may
        // go either way. They are few.
        let (got, want) = (single.parameters(), double.parameters());
        let length = |of: &dyn Fn(usize) -> f64| (0..want.len()).map(|i| of(i).powi(2)).sum::<f64>().sqrt();
        let change = length(&|i| want[i] - start[i]);
        let error = length(&|i| f64::from(got[i]) - want[i]);
        assert!(error < 1e-2 * change, "{variant:?}: parameters moved by {change}, differ by {error}");
    }
}

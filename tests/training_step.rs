//! Whole training steps: the same bits on any number of threads, f32 beside f64, numbers that go bad.
use clap::ValueEnum;
use common::memory_on;
use mvae_fast::arena::{Arena, Mat};
use mvae_fast::backend::Memory;
#[cfg(unix)]
use mvae_fast::backend::simt::Simt;
use mvae_fast::config::{CodebookInit, ExpertInit, ModelConfig, Variant};
use mvae_fast::layout::{Layout, Parameters};
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::case::normals;
use mvae_fast::ops::kl_weight::Rule;
use mvae_fast::ops::recon_loss::slot;
use mvae_fast::philox::{Purpose, Stream};
#[cfg(unix)]
use mvae_fast::plan::Precision;
use mvae_fast::real::Real;
use mvae_fast::step::{StepOptions, TrainStep, adam_state, initialize};

mod common;

const FRAMES: usize = 60;
const BATCH: usize = 17;
const ROLLOUT: usize = 4;
const MINIBATCHES: usize = 5;
const SEED: u64 = 3;

/// A small training run, ready for its first step.
struct Run<T> {
    memory: Memory<'static>,
    parameters: Parameters<T>,
    data: Mat<T>,
    step: TrainStep<T>,
}

impl<T: Real> Run<T> {
    fn new(variant: Variant, threads: usize) -> Self {
        Run::on(variant, |arena| memory_on(arena, threads))
    }

    fn on(variant: Variant, memory: impl FnOnce(Arena) -> Memory<'static>) -> Self {
        let model = ModelConfig {
            variant,
            frame_size: 37,
            latent_size: 5,
            hidden_size: 70,
            gate_hidden_size: 9,
            experts: 3,
            condition_frames: 2,
            future_predictions: 2,
            codes: 6,
        };
        let mut arena = Arena::default();
        let layout = Layout::of(&model, ExpertInit::FanIn, CodebookInit::Fixed);
        let parameters = Parameters::new(&mut arena, layout, true);
        let data = arena.mat(FRAMES, model.frame_size);
        let options = StepOptions {
            model: &model,
            batch: BATCH,
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
        let starts: Vec<u32> = (0..MINIBATCHES * BATCH).map(|i| stream.bits(i) % last as u32).collect();
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

    fn steps(&mut self, steps: usize) {
        (0..steps).for_each(|_| self.memory.run(&self.step.plan).unwrap());
    }

    fn parameters(&self) -> Vec<T> {
        self.memory.read(self.parameters.values).unwrap()
    }

    fn loss(&self, slot: usize) -> f64 {
        self.memory.read(self.step.network.losses).unwrap()[slot]
    }
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    for &variant in Variant::value_variants() {
        let [one, two, three] = [1, 2, 3].map(|threads| {
            let mut run = Run::<f32>::new(variant, threads);
            run.steps(MINIBATCHES * ROLLOUT);
            let bits = |mat| run.memory.read(mat).unwrap().iter().map(|x: &f32| x.to_bits()).collect::<Vec<u32>>();
            let sums: Vec<u64> = run.memory.read(run.step.sums).unwrap().iter().map(|x| x.to_bits()).collect();
            let (values, m, v) = (run.parameters.values, run.parameters.m, run.parameters.v);
            ([values, m, v].map(bits), sums)
        });
        assert!(one == two, "{variant:?}, seed {SEED}: 2 threads");
        assert!(one == three, "{variant:?}, seed {SEED}: 3 threads");
    }
}

#[cfg(unix)]
fn on_kernels(variant: Variant, seed: u64, precision: Precision) -> Run<f32> {
    Run::on(variant, |arena| Memory::new(Box::leak(Box::new(Simt::new(seed).at(precision))), arena).unwrap())
}

#[cfg(unix)]
const PRECISIONS: &[Precision] = &[Precision::Fp32, Precision::Bf16x3];

#[cfg(unix)]
#[test]
fn kernels_give_the_same_bits_in_any_order_of_their_threads() {
    let all = || Variant::value_variants().iter().flat_map(|&v| PRECISIONS.iter().map(move |&p| (v, p)));
    for (variant, precision) in all() {
        let [one, two] = [1, 2].map(|seed| {
            let mut run = on_kernels(variant, seed, precision);
            run.steps(2);
            let sums: Vec<u64> = run.memory.read(run.step.sums).unwrap().iter().map(|x| x.to_bits()).collect();
            (run.parameters().iter().map(|x| x.to_bits()).collect::<Vec<u32>>(), sums)
        });
        assert!(one == two, "{variant:?} {precision}");
    }
}

#[cfg(unix)]
#[test]
fn kernels_follow_double_precision() {
    follows_double_precision(5e-5, |variant| on_kernels(variant, 1, Precision::Fp32));
}

#[cfg(unix)]
#[test]
fn tensor_cores_follow_double_precision() {
    // Products are off by up to 3 2^-16 = 5e-5 of their size, with random signs, in each of a dozen layers and their steps.
    follows_double_precision(3e-4, |variant| on_kernels(variant, 1, Precision::Bf16x3));
}

#[test]
fn single_precision_follows_double_precision() {
    // Sums of up to 150 terms of order one: 150 eps = 2e-5, and as much again for what earlier steps moved.
    follows_double_precision(5e-5, |variant| Run::<f32>::new(variant, 1));
}

/// `tolerance` is that of losses of order one.
fn follows_double_precision(tolerance: f64, single: impl Fn(Variant) -> Run<f32>) {
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
        // Adam divides by the gradient's own size, so entries whose gradient is all rounding may go either way: few do.
        let (got, want) = (single.parameters(), double.parameters());
        let length = |of: &dyn Fn(usize) -> f64| (0..want.len()).map(|i| of(i).powi(2)).sum::<f64>().sqrt();
        let change = length(&|i| want[i] - start[i]);
        let error = length(&|i| got[i].f64() - want[i]);
        assert!(error < 1e-2 * change, "{variant:?}: parameters moved by {change}, differ by {error}");
    }
}

#[test]
fn variants_and_steps_differ() {
    let mut run = Run::<f64>::new(Variant::Mixture, 1);
    let start = run.parameters();
    run.steps(1);
    let (first, loss) = (run.parameters(), run.loss(slot::TOTAL));
    run.steps(1);
    assert!(start != first && first != run.parameters() && loss != run.loss(slot::TOTAL));
}

#[test]
fn steps_on_one_batch_lower_its_loss() {
    for &variant in Variant::value_variants() {
        let mut run = Run::<f64>::new(variant, 2);
        let first = run.memory.read(run.step.schedule).unwrap()[0];
        let mut recon = Vec::new();
        for step in 1..=300 {
            run.memory.write(run.step.cursor, &[0, 0]).unwrap();
            let state = StepState { seed: SEED, ..adam_state(3e-3, [0.9, 0.999], step) };
            run.memory
                .write(
                    run.step.schedule.reshaped(20, 1).rows_at(0, 1),
                    &[StepState { minibatch: first.minibatch, ..state }],
                )
                .unwrap();
            run.steps(1);
            recon.push(run.loss(slot::RECON));
        }
        let (start, end) = (recon[0], recon[290..].iter().sum::<f64>() / 10.0);
        assert!(end < 0.7 * start, "{variant:?}: from {start} to {end}");
    }
}

#[test]
fn a_number_that_goes_bad_is_traced_and_stops_all_updates() {
    for &variant in Variant::value_variants() {
        let mut run = Run::<f32>::new(variant, 2);
        run.steps(2);
        let before = run.parameters();
        let mut frames = run.memory.read(run.data).unwrap();
        frames.fill(f32::NAN);
        run.memory.write(run.data, &frames).unwrap();
        run.steps(2);
        assert!(before == run.parameters(), "{variant:?}");
        assert_eq!(run.loss(slot::NONFINITE_STEP), 3.0, "{variant:?}");
        assert_eq!(run.memory.first_nonfinite(&run.step.forward).unwrap().as_deref(), Some("linear_forward (y)"));
    }
}

#[test]
fn steps_after_one_that_went_bad_are_that_step_again() {
    for &variant in Variant::value_variants() {
        // The device may be several rollouts ahead before anybody looks.
        let [late, soon] = [3 * ROLLOUT, 1].map(|steps| {
            let mut run = Run::<f32>::new(variant, 1);
            run.steps(ROLLOUT + 1);
            let (name, mat) = run.parameters.layout.tensors.iter().rev().find(|tensor| tensor.trainable).map_or_else(
                || panic!("no parameters"),
                |tensor| (tensor.name.clone(), run.parameters.place(run.parameters.values, tensor)),
            );
            run.memory.write(mat, &vec![f32::NAN; mat.len()]).unwrap();
            run.memory.repeat(&run.step.plan, steps).unwrap();
            assert_eq!(run.loss(slot::NONFINITE_STEP), (ROLLOUT + 2) as f64, "{variant:?}");
            let n = &run.step.network;
            let bits = |mat| run.memory.read(mat).unwrap().iter().map(|x: &f32| x.to_bits()).collect::<Vec<u32>>();
            let start = [n.condition, n.truth, run.parameters.values].map(bits);
            let (state, cursor) = (run.memory.read(run.step.state).unwrap(), run.memory.read(run.step.cursor).unwrap());
            (name, start, state, cursor, run.step.culprit(&mut run.memory).unwrap())
        });
        assert!(late == soon, "{variant:?}: {} and {}", late.4, soon.4);
        assert!(!soon.4.starts_with("kl_weight"), "{}", soon.4);
    }
}

/// What is blamed after something was done to a mixture run.
fn blamed(spoil: impl FnOnce(&mut Run<f32>)) -> Option<String> {
    let mut run = Run::<f32>::new(Variant::Mixture, 1);
    run.steps(1);
    spoil(&mut run);
    run.memory.first_nonfinite(&run.step.forward).unwrap()
}

#[test]
fn the_first_operation_is_blamed() {
    assert_eq!(blamed(|_| ()), None);
    let spoilt = |name: &'static str, value: f32| {
        blamed(move |run| {
            let mat = run.parameters.var(name).value;
            run.memory.write(mat, &vec![value; mat.len()]).unwrap();
        })
    };
    assert_eq!(spoilt("decoder.w1", f32::NAN).as_deref(), Some("blend_linear_forward (y)"));
    assert_eq!(spoilt("encoder.logvar.bias", 1e3).as_deref(), Some("reparameterize_forward (z)"));
    assert_eq!(spoilt("decoder.gate.4.bias", f32::INFINITY).as_deref(), Some("linear_forward (y)"));
}

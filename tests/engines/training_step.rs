//! Whole training steps: the same bits on any number of threads, f32 beside f64, and numbers that
//! are not finite.
use crate::steps::{MINIBATCHES, ROLLOUT, Run, SEED, follows_double_precision};
use clap::ValueEnum;
use mvae_fast::backend::Memory;
#[cfg(unix)]
use mvae_fast::backend::simt::Simt;
use mvae_fast::config::Variant;
use mvae_fast::ops::adam::adam_state;
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::recon_loss::slot;
#[cfg(unix)]
use mvae_fast::plan::Precision;

#[test]
fn the_same_bits_on_any_number_of_threads() {
    for &variant in Variant::value_variants() {
        let [one, two, three] = [1, 2, 3].map(|threads| {
            let mut run = Run::<f32>::new(variant, threads);
            run.steps(MINIBATCHES * ROLLOUT);
            run.state()
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
            run.state()
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
    // Products are off by up to 3 2^-16 = 5e-5 of their size, with random signs, in each of a dozen
    // layers and their steps.
    follows_double_precision(3e-4, |variant| on_kernels(variant, 1, Precision::Bf16x3));
}

#[test]
fn single_precision_follows_double_precision() {
    // Sums of up to 150 terms of order one: 150 eps = 2e-5, and as much again for what earlier
    // steps moved.
    follows_double_precision(5e-5, |variant| Run::<f32>::new(variant, 1));
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
        let (call, field) = run.memory.first_nonfinite(&run.step.forward).unwrap().unwrap();
        assert_eq!((call.kernel(), field.name), ("linear_forward", "y"));
    }
}

#[test]
fn steps_after_one_that_went_bad_are_that_step_again() {
    for &variant in Variant::value_variants() {
        // The device may be several rollouts ahead before the host looks.
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
            (name, start, state, cursor, run.step.culprit(&mut run.memory, &run.parameters).unwrap())
        });
        assert!(late == soon, "{variant:?}: {} and {}", late.4, soon.4);
        assert!(!soon.4.starts_with("kl_weight"), "{}", soon.4);
    }
}

/// The operation that is blamed after `spoil` has changed a mixture run.
fn blamed(spoil: impl FnOnce(&mut Run<f32>)) -> String {
    let mut run = Run::<f32>::new(Variant::Mixture, 1);
    run.steps(1);
    spoil(&mut run);
    run.step.culprit(&mut run.memory, &run.parameters).unwrap()
}

#[test]
fn the_first_operation_is_blamed() {
    assert_eq!(blamed(|_| ()), "kl_weight (losses)", "when all that is forward is fine");
    let spoilt = |name: &'static str, value: f32| {
        blamed(move |run| {
            let mat = run.parameters.var(name).value;
            run.memory.write(mat, &vec![value; mat.len()]).unwrap();
        })
    };
    assert_eq!(spoilt("decoder.w1", f32::NAN), "blend_linear_forward (y) of decoder.w1");
    assert_eq!(spoilt("encoder.logvar.bias", 1e3), "reparameterize_forward (z)");
    assert_eq!(spoilt("decoder.gate.4.bias", f32::INFINITY), "gate_forward (logits) of decoder.gate");
}

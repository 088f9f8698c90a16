//! The CUDA backend, on a GPU when there is one (`gpu_*`): right kernels, engines that give the
//! same bits, runs that repeat.
//!
//! Without a GPU they run over a driver whose device is this machine (tests/driver/driver.cpp). It
//! runs the kernels compiled for the host (without_a_gpu.rs), or the images (image.rs).
use crate::steps::{ROLLOUT, Run};
use clap::ValueEnum;
use mvae_fast::backend::{Backend, Engine, Memory, cpu::Cpu, cuda, cuda::Cuda, simt::Simt};
use mvae_fast::check::kernelcheck;
use mvae_fast::config::{ModelConfig, Variant};
use mvae_fast::ops::case::cases;
use mvae_fast::plan::Precision;
use mvae_fast::plan::arena::Arena;

/// True if there is a driver; prints a line when there is none.
fn driver_found() -> bool {
    let found = cuda::driver_found();
    if !found {
        println!("cuda: skipped, no driver");
    }
    found
}

/// The engines of the device that give the same bits; the last one only if launches may start
/// early.
fn engines() -> impl Iterator<Item = Engine> {
    let early = Cuda::new(0, Precision::Fp32, Engine::Pdl).is_ok();
    [Engine::Calls, Engine::Graph, Engine::Pdl].into_iter().filter(move |&engine| engine != Engine::Pdl || early)
}

fn run(model: &ModelConfig, backend: impl Backend + 'static) -> Run<f32> {
    Run::of(model, |arena: Arena| Memory::new(Box::leak(Box::new(backend)), arena).unwrap())
}

fn kernels_follow_their_definitions(full: bool, seeds: u64) {
    for precision in [Precision::Fp32, Precision::Bf16x3] {
        follow(precision, seeds, |_, is_full| is_full == full);
    }
}

/// Checks the kernels of those operations that are wanted, by name and size.
fn follow(precision: Precision, seeds: u64, wanted: impl Fn(&str, bool) -> bool) {
    let (reference, backend) = (Cpu::new(0), Cuda::new(0, precision, Engine::Calls).unwrap());
    for (single, double) in cases::<f32>().iter().zip(&cases::<f64>()) {
        if wanted(single.op, single.full) {
            for seed in 1..=seeds {
                for row in kernelcheck::operation(single, double, &backend, &reference, seed).unwrap() {
                    assert!(!row.failed(), "{precision}: {row:?}");
                }
            }
        }
    }
}

#[test]
fn gpu_small_kernels_follow_their_definitions() {
    if driver_found() {
        kernels_follow_their_definitions(false, 2);
    }
}

#[test]
fn gpu_full_kernels_follow_their_definitions() {
    if driver_found() {
        kernels_follow_their_definitions(true, 1);
    }
}

#[test]
fn long_products_follow_their_definitions() {
    if driver_found() {
        follow(Precision::Bf16x3, 1, |op, full| full && op == "linear");
    }
}

fn steps_follow_double_precision(engine: Engine) {
    if driver_found() {
        // As in tests/engines/training_step.rs.
        for (precision, tolerance) in [(Precision::Fp32, 5e-5), (Precision::Bf16x3, 3e-4)] {
            crate::steps::follows_double_precision(tolerance, |variant| {
                run(&crate::steps::small(variant), Cuda::new(0, precision, engine).unwrap())
            });
        }
    }
}

#[test]
fn gpu_graphs_follow_double_precision() {
    steps_follow_double_precision(Engine::Graph);
}

#[test]
fn gpu_plans_of_one_launch_follow_double_precision() {
    steps_follow_double_precision(Engine::Persistent);
}

/// Checks the promise of `--engine`. Each engine repeats its own bits. All but `persistent` give
/// the same bits; `persistent` sums over a block in another order and is off by rounding.
fn engines_keep_their_promise(model: &ModelConfig, precision: Precision) {
    let start = run(model, Cpu::new(1)).state().0;
    let calls = the_bits_of_one(model, precision, engines().chain([Engine::Calls]));
    let persistent = the_bits_of_one(model, precision, [Engine::Persistent; 2]);
    let length = |of: &dyn Fn(usize) -> f32| (0..start.len()).map(|i| f64::from(of(i)).powi(2)).sum::<f64>().sqrt();
    let (moved, off) = (length(&|i| calls[i] - start[i]), length(&|i| calls[i] - persistent[i]));
    assert!(off < 1e-4 * moved, "{:?}, {precision}: parameters moved by {moved}, differ by {off}", model.variant);
}

/// Runs these engines, checks that they leave the same parameters, and returns these.
fn the_bits_of_one(model: &ModelConfig, wanted: Precision, engines: impl IntoIterator<Item = Engine>) -> Vec<f32> {
    let mut want = None;
    for engine in engines {
        let mut run = run(model, Cuda::new(0, wanted, engine).unwrap());
        let start = run.state();
        (0..2).for_each(|_| run.memory.repeat(&run.step.plan, ROLLOUT).unwrap());
        let end = run.state();
        assert!(start.0 != end.0 && end.0.iter().all(|x| x.is_finite()), "{:?}: nothing moved", model.variant);
        let want = want.get_or_insert_with(|| end.clone());
        assert!(*want == end, "{:?}, {wanted}, engine {engine}", model.variant);
    }
    want.expect("an engine").0
}

/// Checks that steps on the device leave parameters near those that the host's kernels leave.
fn steps_are_near_those_of_the_host(model: &ModelConfig, precision: Precision, engine: Engine, steps: usize) {
    let after = |mut run: Run<f32>| {
        run.memory.repeat(&run.step.plan, steps).unwrap();
        run.parameters()
    };
    let start = run(model, Cpu::new(1)).parameters();
    let want = after(run(model, Simt::new(1).at(precision).persistent(3)));
    let got = after(run(model, Cuda::new(0, precision, engine).unwrap()));
    let length = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
    let (moved, off) = (length(&want, &start), length(&got, &want));
    assert!(moved > 0.0 && off < 1e-3 * moved, "{precision}, {engine}: moved by {moved}, differ by {off}");
}

#[test]
fn near_the_host_after_two_steps() {
    if driver_found() {
        let small = crate::steps::small(Variant::Mixture);
        steps_are_near_those_of_the_host(&small, Precision::Bf16x3, Engine::Persistent, 2);
    }
}

#[test]
fn near_the_host_by_each_engine() {
    if driver_found() {
        let small = crate::steps::small(Variant::Mixture);
        for engine in engines().chain([Engine::Persistent]) {
            for precision in [Precision::Fp32, Precision::Bf16x3] {
                steps_are_near_those_of_the_host(&small, precision, engine, 1);
            }
        }
    }
}

#[test]
fn near_the_host_at_full_size() {
    if driver_found() {
        let full = ModelConfig::published(Variant::Mixture);
        steps_are_near_those_of_the_host(&full, Precision::Bf16x3, Engine::Persistent, 1);
    }
}

#[test]
fn gpu_engines_agree_on_small_models() {
    if driver_found() {
        Variant::value_variants()
            .iter()
            .for_each(|&variant| engines_keep_their_promise(&crate::steps::small(variant), Precision::Fp32));
        engines_keep_their_promise(&crate::steps::small(Variant::Mixture), Precision::Bf16x3);
    }
}

#[test]
fn gpu_engines_agree_at_full_size() {
    if driver_found() {
        for &variant in Variant::value_variants() {
            [Precision::Fp32, Precision::Bf16x3]
                .iter()
                .for_each(|&precision| engines_keep_their_promise(&ModelConfig::published(variant), precision));
        }
    }
}

#[test]
fn gpu_memories_and_plans_do_not_meet() {
    if driver_found() {
        [Engine::Graph, Engine::Persistent].into_iter().for_each(memories_and_plans_do_not_meet);
    }
}

/// Checks more graphs than are kept, over memories that come and go.
fn memories_and_plans_do_not_meet(engine: Engine) {
    let backend: &'static Cuda = Box::leak(Box::new(Cuda::new(0, Precision::Fp32, engine).unwrap()));
    let model = crate::steps::small(Variant::Mixture);
    let on = |backend| Run::<f32>::of(&model, |arena| Memory::new(backend, arena).unwrap());
    let run = |times: &[usize]| {
        let mut run = on(backend);
        times.iter().for_each(|&times| run.memory.repeat(&run.step.plan, times).unwrap());
        run.state()
    };
    let want = run(&[ROLLOUT]);
    assert!(run(&[1, 1, 2]) == want && run(&[2, 2]) == want && run(&[3, 1]) == want);
    let mut one = on(backend);
    for times in 1..=10 {
        one.memory.repeat(&one.step.plan, times % 2).unwrap();
    }
    assert!(run(&[ROLLOUT]) == want && one.state() == run(&[5]));
}

//! The whole training step at full size (267 features, 32 latent entries, 6 experts, 64 samples), as the trainer runs
//! it, and what each call of its plan takes. `cargo bench --bench step [-- VARIANT] [THREADS] [--device cuda --engine graph
//! --precision bf16x3] [--json]` (see [`timer::Options`]); medians (10th .. 90th percentile) of one run. `STEPS` sets how
//! many are timed (1600).
use clap::{Parser, ValueEnum};
use mvae_fast::Result;
use mvae_fast::arena::Arena;
use mvae_fast::backend::{Backend, Memory};
use mvae_fast::config::{CodebookInit, ExpertInit, ModelConfig, Variant};
use mvae_fast::layout::{Layout, Parameters};
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::kl_weight::Rule;
use mvae_fast::ops::recon_loss::slot;
use mvae_fast::philox::{Purpose, Stream};
use mvae_fast::step::{StepOptions, TrainStep, adam_state, initialize};
use serde_json::json;
use std::time::Instant;
use timer::{Options, Times};

mod timer;

const BATCH: usize = 64;
/// As in the peers' own synthetic set, about 11 minutes.
const FRAMES: usize = 20_000;
const ROLLOUT: usize = 8;
const MINIBATCHES: usize = 8;
/// Rollouts before the first that is timed.
const WARM_UP: usize = 5;
/// Steps that are timed call by call.
const RUNS: usize = 200;

fn model(variant: Variant) -> ModelConfig {
    ModelConfig {
        variant,
        frame_size: 267,
        latent_size: 32,
        hidden_size: variant.hidden_size(),
        gate_hidden_size: 64,
        experts: 6,
        condition_frames: 1,
        future_predictions: 1,
        codes: 12,
        position_gain: 1.0,
    }
}

fn name(variant: Variant) -> String {
    format!("{variant:?}").to_lowercase()
}

fn bench(variant: Variant, backend: &dyn Backend, threads: usize, steps: usize, options: &Options) -> Result<()> {
    let device = backend.describe();
    let (mut arena, model) = (Arena::default(), model(variant));
    let layout = Layout::of(&model, ExpertInit::FanIn, CodebookInit::Fixed);
    let parameters = Parameters::<f32>::updated(&mut arena, layout);
    let data = arena.mat::<f32>(FRAMES, model.frame_size);
    let step_options = StepOptions {
        model: &model,
        batch: BATCH,
        kl_rule: Rule::Auto { units: 64.0 / 267.0, floor: 1e-4 },
        free_bits: 0.0,
        adam: [0.9, 0.999, 1e-8],
        minibatches: MINIBATCHES,
        rollout: ROLLOUT,
        draw: true,
    };
    let step = TrainStep::new(&mut arena, &parameters, data, &step_options)?;
    let megabytes = arena.bytes() as f64 / 1e6;

    let mut memory = Memory::new(backend, arena)?;
    initialize(&mut memory, &parameters, 1)?;
    let stream = Stream::new(1, Purpose::Check, 0);
    let frames: Vec<f32> =
        (0..data.len().div_ceil(4)).flat_map(|i| stream.normals(i as u32)).take(data.len()).collect();
    memory.write(data, &frames)?;
    let starts: Vec<u32> = stream.permutation(FRAMES - ROLLOUT - 2)[..MINIBATCHES * BATCH].to_vec();
    memory.write(step.starts, &starts)?;
    let schedule: Vec<StepState> = (0..MINIBATCHES * ROLLOUT)
        .map(|i| StepState {
            seed: 1,
            minibatch: (i / ROLLOUT) as u32,
            rollout_step: (i % ROLLOUT) as u32,
            student: (i % 2) as u32,
            ..adam_state(1e-4, [0.9, 0.999], i as u64 + 1)
        })
        .collect();
    memory.write(step.schedule, &schedule)?;

    // A rollout is timed as one, as the peers do, from its launch to its end; on a GPU also by the device's clock, and
    // many in a row, as the trainer runs them.
    let (mut whole, mut on_device) = (Times::default(), Times::default());
    for rollout in 0..WARM_UP + steps.div_ceil(ROLLOUT) {
        if rollout % MINIBATCHES == 0 {
            memory.write(step.cursor, &[0, 0])?;
        }
        let start = Instant::now();
        let seconds = backend.seconds(&mut || memory.repeat(&step.plan, ROLLOUT))?;
        if rollout >= WARM_UP {
            whole.add(start.elapsed().as_secs_f64() * 1e6);
            on_device.add(seconds * 1e6);
        }
    }
    let (whole, on_device) = (whole.divided(ROLLOUT), on_device.divided(ROLLOUT));
    let mut in_a_row = Times::default();
    for _ in 0..steps.div_ceil(MINIBATCHES * ROLLOUT) {
        memory.write(step.cursor, &[0, 0])?;
        in_a_row
            .add(1e6 * backend.seconds(&mut || (0..MINIBATCHES).try_for_each(|_| memory.repeat(&step.plan, ROLLOUT)))?);
    }
    let in_a_row = in_a_row.divided(MINIBATCHES * ROLLOUT);
    assert_eq!(memory.read(step.network.losses)?[slot::NONFINITE_STEP], 0.0, "the loss is not finite");

    let together = options.together();
    let calls = timer::calls(step.plan, &mut memory, (RUNS, together), |memory, run| {
        let over = together > 1 || run % schedule.len() == 0;
        if over { memory.write(step.cursor, &[0, 0]) } else { Ok(()) }
    })?;
    let sum: f64 = calls.iter().map(|(_, times)| times.median()).sum();
    if options.json {
        let by_kernel: Vec<_> = timer::by_kernel(&calls)
            .into_iter()
            .map(|(kernel, calls, us)| json!({"kernel": kernel, "calls": calls, "us": us}))
            .collect();
        let report = json!({
            "impl": "mvae-fast", "variant": name(variant), "device": device, "threads": threads, "batch": BATCH, "rollout": ROLLOUT,
            "frame": model.frame_size, "latent": model.latent_size, "experts": model.experts, "frames": FRAMES,
            "timed_steps": steps.div_ceil(ROLLOUT) * ROLLOUT, "ms_median": whole.median() / 1e3,
            "device_ms_median": on_device.median() / 1e3, "in_a_row_ms_median": in_a_row.median() / 1e3,
            "calls": calls.len(),
            "ms_min": whole.quantile(0.0) / 1e3, "ms_max": whole.quantile(1.0) / 1e3, "by_kernel": by_kernel,
        });
        println!("{report}");
        return Ok(());
    }

    println!("{}, {device}: {}, {} calls, arena {megabytes:.1} MB", name(variant), whole.summary(), calls.len());
    println!("  {} by the device's clock, {:.1} us with rollouts in a row", on_device.summary(), in_a_row.median());
    println!("  {sum:9.1} us when summed call by call:");
    for (plan, times) in &calls {
        let call = &plan.calls()[0];
        let written: usize = call.written().map(|field| field.bytes.len()).sum();
        let all: usize = call.fields().iter().map(|field| field.bytes.len()).sum();
        println!(
            "  {} {:5.1} % {:28} writes {:7.1} of {:7.1} KB",
            times.summary(),
            100.0 * times.median() / sum,
            call.kernel(),
            written as f64 / 1e3,
            all as f64 / 1e3
        );
    }
    timer::print_kernels(&calls);
    println!();
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    if !options.json {
        println!("{}\n", timer::machine());
    }
    let names = options.names();
    let steps = std::env::var("STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(1600);
    let backends = options.backends()?;
    for &variant in Variant::value_variants() {
        if names.is_empty() || names.contains(&name(variant).as_str()) {
            for (threads, backend) in &backends {
                bench(variant, backend.as_ref(), *threads, steps, &options)?;
            }
        }
    }
    Ok(())
}

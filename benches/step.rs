//! The whole training step at full size (267 features, 32 latent entries, 6 experts, 64 samples),
//! as the trainer runs it, and the time of each call of its plan. `cargo bench --bench step [--
//! VARIANT] [THREADS] [--device cuda --engine graph --precision bf16x3] [--json]` (see
//! [`timer::Options`]); medians (10th to 90th percentile) of one run. `STEPS` sets how many are
//! timed (1600).
//!
//! With `--soak N` it instead takes N steps twice from the same start and compares every bit: a
//! missing barrier or fence shows once in many steps. With `--small` it takes a tiny model, to
//! rehearse.
use clap::{Parser, ValueEnum};
use mvae_fast::Result;
use mvae_fast::backend::{Backend, Memory};
use mvae_fast::config::{CodebookInit, ExpertInit, ModelConfig, Variant};
use mvae_fast::model::layout::{Layout, Parameters};
use mvae_fast::ops::adam::adam_state;
use mvae_fast::ops::begin_step::StepState;
use mvae_fast::ops::kl_weight::Rule;
use mvae_fast::ops::recon_loss::slot;
use mvae_fast::philox::{Purpose, Stream};
use mvae_fast::plan::arena::Arena;
use mvae_fast::train::step::{StepOptions, TrainStep, initialize};
use serde_json::json;
use std::time::Instant;
use timer::{Options, Times};

mod timer;

/// Number of frames, as in the peers' own synthetic set: about 11 minutes.
const FRAMES: usize = 20_000;
const ROLLOUT: usize = 8;

/// The amounts of work that are run.
#[derive(Clone, Copy)]
struct Amount {
    /// Samples.
    batch: usize,
    /// Mini-batches of an epoch. On a GPU there are as many as the trainer asks for at once: a
    /// tenth of a second.
    minibatches: usize,
    /// Epochs that are timed.
    epochs: usize,
    /// Rollouts before the first that is timed, at least.
    warm_up: usize,
    /// Steps that are timed call by call, and how many of them at once.
    calls: (usize, usize),
}

impl Amount {
    fn of(steps: usize, options: &Options) -> Self {
        let rollouts = steps.div_ceil(ROLLOUT);
        let together = options.together();
        if options.small {
            return Amount {
                batch: 4,
                minibatches: rollouts.min(2),
                epochs: 1,
                warm_up: 1,
                calls: (1, together.min(2)),
            };
        }
        let (minibatches, least) = if options.on_gpu() { (rollouts.min(128), 5) } else { (8, 1) };
        let epochs = rollouts.div_ceil(minibatches).max(least);
        Amount { batch: 64, minibatches, epochs, warm_up: 5, calls: (200, together) }
    }
}

fn model(variant: Variant, small: bool) -> ModelConfig {
    let published = ModelConfig::published(variant);
    let small_sizes = ModelConfig {
        frame_size: 37,
        latent_size: 5,
        hidden_size: 70,
        gate_hidden_size: 9,
        experts: 3,
        ..published.clone()
    };
    if small { small_sizes } else { published }
}

fn name(variant: Variant) -> String {
    format!("{variant:?}").to_lowercase()
}

/// A training run, ready for its first step.
struct Run<'b> {
    memory: Memory<'b>,
    parameters: Parameters<f32>,
    step: TrainStep<f32>,
    megabytes: f64,
    minibatches: usize,
}

impl<'b> Run<'b> {
    fn new(model: &ModelConfig, backend: &'b dyn Backend, amount: Amount) -> Result<Self> {
        let Amount { batch, minibatches, .. } = amount;
        let mut arena = Arena::default();
        let layout = Layout::of(model, ExpertInit::FanIn, CodebookInit::Fixed);
        let parameters = Parameters::<f32>::updated(&mut arena, layout);
        let data = arena.mat::<f32>(FRAMES, model.frame_size);
        let step_options = StepOptions {
            model,
            batch,
            kl_rule: Rule::Auto { units: 64.0 / 267.0, floor: 1e-4 },
            free_bits: 0.0,
            adam: [0.9, 0.999, 1e-8],
            minibatches,
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
        let starts: Vec<u32> = stream.permutation(FRAMES - ROLLOUT - 2)[..minibatches * batch].to_vec();
        memory.write(step.starts, &starts)?;
        let schedule: Vec<StepState> = (0..minibatches * ROLLOUT)
            .map(|i| StepState {
                seed: 1,
                minibatch: (i / ROLLOUT) as u32,
                rollout_step: (i % ROLLOUT) as u32,
                student: (i % 2) as u32,
                ..adam_state(1e-4, [0.9, 0.999], i as u64 + 1)
            })
            .collect();
        memory.write(step.schedule, &schedule)?;
        Ok(Run { memory, parameters, step, megabytes, minibatches })
    }

    /// Starts the schedule anew.
    fn rewind(&mut self) -> Result<()> {
        self.memory.write(self.step.cursor, &[0, 0])
    }

    /// Seconds of the device for an epoch: one launch if the engine can do that, else a launch for
    /// each rollout.
    fn epoch(&mut self) -> Result<f64> {
        self.rewind()?;
        let (backend, memory, plan) = (self.memory.backend(), &mut self.memory, &self.step.plan);
        let (launches, steps) =
            if backend.is_one_launch() { (1, self.minibatches * ROLLOUT) } else { (self.minibatches, ROLLOUT) };
        backend.seconds(&mut || (0..launches).try_for_each(|_| memory.repeat(plan, steps)))
    }

    fn is_finite(&self) -> Result<bool> {
        Ok(self.memory.read(self.step.network.losses)?[slot::NONFINITE_STEP] == 0.0)
    }

    /// The bits of all numbers that a step changes and the next one reads.
    fn bits(&self) -> Result<Vec<u32>> {
        let Parameters { values, m, v, .. } = &self.parameters;
        let parts = [*values, *m, *v].map(|mat| self.memory.read(mat));
        Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.concat().into_iter().map(f32::to_bits).collect())
    }
}

/// Takes at least `steps` steps twice. Fails when a bit differs.
fn soak(variant: Variant, backend: &dyn Backend, steps: usize, options: &Options) -> Result<()> {
    let model = model(variant, options.small);
    let amount = Amount::of(steps, options);
    let minibatches = amount.minibatches;
    let epochs = steps.div_ceil(minibatches * ROLLOUT);
    let run = || -> Result<(Vec<u32>, f64)> {
        let mut run = Run::new(&model, backend, amount)?;
        let seconds = (0..epochs).map(|_| run.epoch()).sum::<Result<f64>>()?;
        assert!(run.is_finite()?, "the loss is not finite");
        Ok((run.bits()?, seconds))
    };
    let [(first, _), (second, seconds)] = [run()?, run()?];
    let different = first.iter().zip(&second).filter(|(a, b)| a != b).count();
    let steps = epochs * minibatches * ROLLOUT;
    let line = json!({
        "bench": "soak", "variant": name(variant), "device": backend.describe(), "steps": steps, "different": different,
        "of": first.len(), "us_a_step": 1e6 * seconds / steps as f64,
    });
    println!("{line}");
    assert!(different == 0, "{different} of {} numbers are others after {steps} steps taken twice", first.len());
    Ok(())
}

fn bench(variant: Variant, backend: &dyn Backend, threads: usize, steps: usize, options: &Options) -> Result<()> {
    let (device, model) = (backend.describe(), model(variant, options.small));
    let amount = Amount::of(steps, options);
    let Amount { batch, minibatches, calls: (runs, together), .. } = amount;
    let mut run = Run::new(&model, backend, amount)?;
    let megabytes = run.megabytes;

    // A rollout is timed as a whole, as the peers do, from its launch to its end. On a GPU it is
    // also timed by the device's clock, with many in a row, as the trainer runs them.
    let (mut whole, mut on_device) = (Times::default(), Times::default());
    let (begun, mut warm_ups, mut rollout) = (Instant::now(), 0, 0);
    while whole.len() < steps.div_ceil(ROLLOUT) {
        if rollout % minibatches == 0 {
            run.rewind()?;
        }
        rollout += 1;
        let start = Instant::now();
        let (memory, plan) = (&mut run.memory, &run.step.plan);
        let seconds = backend.seconds(&mut || memory.repeat(plan, ROLLOUT))?;
        if warm_ups < amount.warm_up || whole.len() == 0 && begun.elapsed() < options.warm_up() {
            warm_ups += 1;
            continue;
        }
        whole.add(start.elapsed().as_secs_f64() * 1e6);
        on_device.add(seconds * 1e6);
    }
    let (whole, on_device) = (whole.divided(ROLLOUT), on_device.divided(ROLLOUT));
    let mut in_a_row = Times::default();
    for epoch in 0..=amount.epochs {
        let seconds = run.epoch()?;
        if epoch > 0 {
            in_a_row.add(1e6 * seconds);
        }
    }
    let in_a_row = in_a_row.divided(minibatches * ROLLOUT);
    assert!(run.is_finite()?, "the loss is not finite");

    let Run { mut memory, step, .. } = run;
    let count = step.plan.calls().len();
    let calls = if options.times_calls() {
        timer::calls(step.plan, &mut memory, (runs, together), |memory, run| {
            let over = together > 1 || run % (minibatches * ROLLOUT) == 0;
            if over { memory.write(step.cursor, &[0, 0]) } else { Ok(()) }
        })?
    } else {
        Vec::new()
    };
    let sum: f64 = calls.iter().map(|(_, times)| times.median()).sum();
    if options.json {
        let by_kernel: Vec<_> = timer::by_kernel(&calls)
            .into_iter()
            .map(|(kernel, calls, us)| json!({"kernel": kernel, "calls": calls, "us": us}))
            .collect();
        let report = json!({
            "impl": "mvae-fast", "variant": name(variant), "device": device, "threads": threads, "batch": batch, "rollout": ROLLOUT,
            "frame": model.frame_size, "latent": model.latent_size, "experts": model.experts, "frames": FRAMES,
            "timed_steps": steps.div_ceil(ROLLOUT) * ROLLOUT, "ms_median": whole.median() / 1e3,
            "device_ms_median": on_device.median() / 1e3, "in_a_row_ms_median": in_a_row.median() / 1e3,
            "calls": count, "launch_steps": if backend.is_one_launch() { minibatches * ROLLOUT } else { ROLLOUT },
            "ms_min": whole.quantile(0.0) / 1e3, "ms_max": whole.quantile(1.0) / 1e3, "by_kernel": by_kernel,
        });
        println!("{report}");
        return Ok(());
    }

    println!("{}, {device}: {}, {count} calls, arena {megabytes:.1} MB", name(variant), whole.summary());
    println!("  {} by the device's clock, {:.1} us with rollouts in a row", on_device.summary(), in_a_row.median());
    if calls.is_empty() {
        return Ok(());
    }
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
                match options.soak {
                    Some(steps) => soak(variant, backend.as_ref(), steps, &options)?,
                    None => bench(variant, backend.as_ref(), *threads, steps, &options)?,
                }
            }
        }
    }
    Ok(())
}

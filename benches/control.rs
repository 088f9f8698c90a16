//! A bench of training a controller at full size (267 features, 32 latent entries, 6 experts). It
//! takes the Target task with the settings of the public implementation: rollouts of 120 steps,
//! mini-batches of 1000, 10 epochs. `cargo bench --bench control [-- THREADS] [--device cuda
//! --engine graph] [--json]`; medians (10th to 90th percentile) of one run.
//!
//! Learning by gradients through the decoder follows: the joystick as `control train` learns it by
//! default, its environment steps, the way back through them, and whole updates. It is timed as the
//! built-in task and as one composed from terms.
//!
//! The decoder is not trained, which costs the same. `CHARACTERS` (100, 4096) sets how many run
//! side by side in the first. `UPDATES` (3) sets how many updates are timed; 0: the environment
//! step alone. `ALGORITHM` (ppo, shac) leaves the other one out.
use clap::Parser;
use mvae_fast::backend::Backend;
use mvae_fast::control::config::PolicyConfig;
use mvae_fast::control::learner::Learner;
use mvae_fast::control::setup::PolicySetup;
use mvae_fast::control::trainer::{learn, rollout};
use mvae_fast::ops::world::Task;
use mvae_fast::train::setup::{self, Start};
use mvae_fast::{Result, config};
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use timer::{Options, Times};

mod timer;

const STEPS: usize = 120;
const MINIBATCH: usize = 1000;
const EPOCHS: usize = 10;
/// The joystick, composed.
const COMPOSED: &str = include_str!("../examples/tasks/joystick.toml");
/// Number of environment steps, and of optimizer steps, that are timed as one.
const TOGETHER: usize = 10;
/// Number of environment steps that are timed call by call.
const RUNS: usize = 120;

fn bench(
    vae: &Path,
    backend: &dyn Backend,
    threads: usize,
    characters: usize,
    updates: usize,
    o: &Options,
) -> Result<()> {
    let config = PolicyConfig {
        task: Task::Target,
        vae: vae.to_owned(),
        characters,
        steps: STEPS,
        minibatches: characters * STEPS / MINIBATCH,
        epochs: EPOCHS,
        noise_correlation: 0.0,
        final_std: None,
        critic_learning_rate: None,
        ..PolicyConfig::ppo()
    };
    let mut run = PolicySetup::new(&config, backend, None)?;
    let (mut step, mut optimizer, mut update) = (Times::default(), Times::default(), Times::default());
    for number in 0..=updates {
        let begun = Instant::now();
        rollout(&mut run, &|| false)?;
        if updates > 0 {
            learn(&mut run, &|| false)?;
        }
        if number > 0 {
            update.add(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    for _ in 0..updates.max(1) {
        run.stage.write_steps(&mut run.memory, 0, STEPS)?;
        for _ in 0..STEPS / TOGETHER {
            step.add(1e6 * backend.seconds(&mut || run.memory.repeat(&run.explore, TOGETHER))?);
        }
    }
    let Learner::Ppo(learning) = &mut run.update else { unreachable!("the configuration says ppo") };
    for _ in 0..updates {
        learning.rewind(&mut run.memory)?;
        for _ in 0..STEPS.min(learning.schedule.len()) / TOGETHER {
            optimizer.add(1e6 * backend.seconds(&mut || run.memory.repeat(&learning.step, TOGETHER))?);
        }
    }
    let (step, optimizer) = (step.divided(TOGETHER), optimizer.divided(TOGETHER));
    if o.json {
        let of_updates = |times: &Times, unit: f64| (updates > 0).then(|| times.median() / unit);
        let report = json!({
            "impl": "mvae-fast", "device": backend.describe(), "threads": threads, "characters": characters, "steps": STEPS,
            "minibatch": MINIBATCH, "step_ms": step.median() / 1e3, "optimizer_ms": of_updates(&optimizer, 1e3),
            "update_s": of_updates(&update, 1e6), "parameters": run.policy.layout.num_parameters(),
        });
        println!("{report}");
        return Ok(());
    }
    println!("{characters} characters, {}:", backend.describe());
    let per_second = characters as f64 / step.median() * 1e6;
    println!("  environment step {} = {per_second:.0} steps of a character a second", step.summary());
    if updates > 0 {
        let per_second = (characters * STEPS) as f64 / update.median() * 1e6;
        println!("  optimizer step   {}, {MINIBATCH} samples", optimizer.summary());
        println!("  whole update     {} = {per_second:.0} steps of a character a second", update.summary());
    }
    let explore = std::mem::take(&mut run.explore);
    let calls = timer::calls(explore, &mut run.memory, (RUNS, 1), |memory, step| match step % STEPS {
        0 => run.stage.write_steps(memory, 0, STEPS),
        _ => Ok(()),
    })?;
    println!("  environment step");
    timer::print_kernels(&calls);
    if updates > 0 {
        let step = std::mem::take(&mut learning.step);
        let steps = learning.schedule.len();
        let calls = timer::calls(step, &mut run.memory, (RUNS, 1), |memory, step| match step % steps {
            0 => learning.rewind(memory),
            _ => Ok(()),
        })?;
        println!("  optimizer step");
        timer::print_kernels(&calls);
    }
    Ok(())
}

/// Learning by gradients through the decoder: the joystick with its default numbers, built in or
/// composed.
fn bench_gradients(
    task: Task,
    vae: &Path,
    backend: &dyn Backend,
    threads: usize,
    updates: usize,
    o: &Options,
) -> Result<()> {
    let config = PolicyConfig { task, vae: vae.to_owned(), ..PolicyConfig::default() };
    let (characters, steps) = (config.characters, config.steps());
    let mut run = PolicySetup::new(&config, backend, None)?;
    let [mut forward, mut back, mut gradient, mut update] = [(); 4].map(|()| Times::default());
    for number in 0..=updates {
        let begun = Instant::now();
        rollout(&mut run, &|| false)?;
        learn(&mut run, &|| false)?;
        if number > 0 {
            update.add(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    let Learner::Shac(learning) = &run.update else { unreachable!("the configuration says shac") };
    for _ in 0..updates.max(1) {
        let begun = Instant::now();
        run.stage.write_steps(&mut run.memory, 0, steps)?;
        forward.add(1e6 * backend.seconds(&mut || run.memory.repeat(&run.explore, steps))?);
        run.memory.run(&learning.estimate)?;
        learning.rewind(&mut run.memory)?;
        run.stage.write_way_back(&mut run.memory, steps)?;
        run.memory.run(&learning.end)?;
        back.add(1e6 * backend.seconds(&mut || run.memory.repeat(&learning.pull, steps))?);
        // Waits for the device, too.
        gradient.add(
            backend
                .seconds(&mut || run.memory.run(&learning.gradients))
                .map(|_| begun.elapsed().as_secs_f64() * 1e6)?,
        );
    }
    let each = characters * steps;
    let [forward, back, gradient, update] = [forward, back, gradient, update].map(|times| times.divided(each));
    if o.json {
        let report = json!({
            "impl": "mvae-fast", "task": task.name(), "device": backend.describe(), "threads": threads,
            "characters": characters, "steps": steps, "forward_us": forward.median(), "back_us": back.median(),
            "gradient_us": gradient.median(), "update_us": (updates > 0).then(|| update.median()),
        });
        println!("{report}");
        return Ok(());
    }
    let task = task.name();
    println!(
        "task {task}, {characters} characters, {steps} steps, gradients through the decoder, {}:",
        backend.describe()
    );
    println!("  for a step of a character");
    println!("  forward          {}", forward.summary());
    println!("  way back         {}", back.summary());
    println!("  all to gradient  {}", gradient.summary());
    if updates > 0 {
        println!("  whole update     {}", update.summary());
    }
    Ok(())
}

/// A checkpoint of a decoder with its initial weights, on the built-in data.
fn decoder(folder: &Path, backend: &dyn Backend) -> Result<std::path::PathBuf> {
    let path = folder.join("decoder.safetensors");
    let config = config::Config::preset(config::Preset::Paper);
    setup::Setup::new(&config, backend, Start::Fresh)?.save(&path)?;
    Ok(path)
}

fn main() -> Result<()> {
    let options = Options::parse();
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<usize>().ok());
    let updates = number("UPDATES").unwrap_or(3);
    let crowds = number("CHARACTERS").map_or(vec![100, 4096], |one| vec![one]);
    let algorithm = std::env::var("ALGORITHM").unwrap_or_default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    if !options.json {
        println!("{}\n", timer::machine());
    }
    for (threads, backend) in options.backends()? {
        let vae = decoder(folder.path(), backend.as_ref())?;
        for &characters in crowds.iter().filter(|_| algorithm != "shac") {
            bench(&vae, backend.as_ref(), threads, characters, updates, &options)?;
        }
        for task in [Task::read(COMPOSED)?, Task::Joystick].into_iter().filter(|_| algorithm != "ppo") {
            bench_gradients(task, &vae, backend.as_ref(), threads, updates, &options)?;
        }
    }
    Ok(())
}

//! The training loop: epochs of mini-batches of rollouts, one Adam step a rollout step, as in spec sections 7 and 7.1.
//!
//! Everything a step does is in its plan ([`crate::step`]); logs, report, warnings and checkpoints observe the records.
use crate::arena::{Arena, Mat};
use crate::backend::{Backend, Memory};
use crate::checkpoint::{Checkpoint, Meta, Progress};
use crate::config::{Config, KlWeight, ModelConfig};
use crate::data::normalize::Statistics;
use crate::data::{Dataset, synth, windows};
use crate::evaluate::Evaluation;
use crate::layout::{Layout, Parameters};
use crate::ops::begin_step::StepState;
use crate::ops::kl_weight::Rule;
use crate::ops::recon_loss::slot;
use crate::philox::{Purpose, Stream};
use crate::progress::Console;
use crate::record::{EpochRecord, Timing};
use crate::run::folder::RunFolder;
use crate::run::logs::{self, Logs};
use crate::run::report;
use crate::state::{self, State};
use crate::step::{StepOptions, TrainStep, adam_state, initialize};
use crate::{Error, Result, diagnose, schedule};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Frames of the built-in set, and its seed.
const SYNTH_FRAMES: usize = 4000;
const SYNTH_SEED: u64 = 0;
/// Shortest clip that is held out: a few windows.
const HELD_OUT_FRAMES: usize = 40;
/// A latent dimension is active when the variance of its posterior mean over the data is above this (Burda et al. 2016).
const ACTIVE_VARIANCE: f64 = 0.01;
/// Smallest KL weight of `--kl-weight auto`.
const AUTO_FLOOR: f64 = 1e-4;

/// What a run is given besides its configuration.
pub struct Run<'a> {
    /// The run folder, locked.
    pub folder: RunFolder,
    /// Go on from the folder's last checkpoint.
    pub resume: bool,
    /// Parameters to start from.
    pub init: Option<PathBuf>,
    /// Where it runs.
    pub backend: &'a dyn Backend,
    /// Say nothing but errors.
    pub quiet: bool,
    /// Signal that asked to stop (0 = none).
    pub stop: Arc<AtomicUsize>,
}

/// Trains as `c` says; returns the records of all epochs. Errors: data that cannot be used, a checkpoint that does not
/// fit, a loss that is not finite, a stop by signal (after everything was saved).
pub fn train(c: &Config, run: &Run) -> Result<Vec<EpochRecord>> {
    let begun = Instant::now();
    // ---- data
    let (mut set, source) = match c.data.first() {
        None => (synth::locomotion(SYNTH_FRAMES, SYNTH_SEED), PathBuf::from("built-in synthetic set")),
        Some(first) => (Dataset::load(&c.data)?, first.clone()),
    };
    let model = c.model(set.frame_size);
    let clips = set.clips();
    let split = windows::split(&clips, c.validation, c.seed, HELD_OUT_FRAMES);
    let span = windows::span(c.rollout, c.condition_frames, c.future_predictions);
    let windows = windows::training_starts(&source, &split.train, span, c.batch_size)?;
    let minibatches = windows.len() / c.batch_size;

    let last = run.folder.last_checkpoint();
    let resumed = if run.resume && last.exists() { Some(Checkpoint::load(&last)?) } else { None };
    let init = run.init.as_deref().map(|path| Ok::<_, Error>((Checkpoint::load(path)?, path))).transpose()?;
    let given = match (&resumed, &init) {
        (Some(checkpoint), _) => state::statistics(checkpoint, &last, set.frame_size)?,
        (None, Some((checkpoint, path))) => state::statistics(checkpoint, path, set.frame_size)?,
        (None, None) => None,
    };
    let training_frames = split.train.iter().cloned().flatten().map(|i| set.frame(i));
    let statistics = given.unwrap_or_else(|| Statistics::of_rows(training_frames, set.frame_size));
    statistics.normalize(c.normalization, &mut set.frames);
    let range = ranges(&set);

    // ---- the step as a plan, in one arena
    let mut arena = Arena::default();
    let parameters = Parameters::new(&mut arena, Layout::of_run(c, set.frame_size), true);
    let data = arena.mat(set.num_frames(), set.frame_size);
    let options = StepOptions {
        model: &model,
        batch: c.batch_size,
        kl_rule: kl_rule(c, &model),
        free_bits: c.free_bits,
        adam: [c.adam_beta1, c.adam_beta2, c.adam_eps],
        minibatches,
        rollout: c.rollout,
        draw: true,
    };
    let step = TrainStep::new(&mut arena, &parameters, data, &options)?;
    let held_out = split.validation.clone();
    let evaluation = Evaluation::new(&mut arena, &parameters, data, &model, &clips, held_out, &range, c.seed)?;
    let mut memory = Memory::new(run.backend, arena)?;
    for plan in [&step.plan, &step.forward].into_iter().chain(evaluation.plans()) {
        memory.check(plan);
    }
    memory.write(data, &set.frames)?;
    drop(set);
    let state = State {
        parameters: &parameters,
        statistics: &statistics,
        trainer: [("sums", step.sums), ("controller", step.controller)],
    };

    // ---- where training stands
    let mut at =
        Progress { epoch: 1, minibatch: 0, step: 0, elapsed_seconds: 0.0, log_lengths: Default::default(), best: None };
    if let Some(checkpoint) = resumed {
        state.restore(&mut memory, &checkpoint, &last)?;
        let progress = checkpoint.meta.and_then(|meta| meta.progress);
        at = progress
            .ok_or_else(|| Error::checkpoint(&last, "holds no training state", "start a new run with --init"))?;
    } else if let Some((checkpoint, path)) = &init {
        state.restore_parameters(&mut memory, checkpoint, path)?;
    } else {
        initialize(&mut memory, &parameters, c.seed)?;
    }
    drop(init);
    let mut logs = Logs::open(&run.folder, (at.step > 0).then_some(&at.log_lengths))?;
    let mut records = logs::read_metrics(&run.folder.metrics())?;
    let before = at.elapsed_seconds;
    let (epochs, steps_an_epoch) = (c.epochs(), minibatches * c.rollout);
    let interval = evaluation.interval(steps_an_epoch, c.batch_size);
    let mut console = Console::new(epochs, minibatches, (at.epoch - 1) * minibatches + at.minibatch, run.quiet);
    if at.step == 0 {
        console.say(&format!(
            "{} parameters, {} windows in {} clips ({} held out), {steps_an_epoch} steps an epoch, {}",
            parameters.layout.num_parameters(),
            windows.len(),
            split.train.len(),
            split.validation.len(),
            run.backend.describe()
        ));
    } else {
        console.say(&format!("resuming at epoch {}, step {}", at.epoch, at.step));
    }
    let save = |memory: &Memory, at: &Progress, path: &Path, resumable: bool| {
        let config = serde_json::to_value(c).expect("a configuration is plain data");
        let meta = Meta::new(model.clone(), c.normalization, config, resumable.then(|| at.clone()));
        state.save(memory, meta, path)
    };
    let mut saved = Instant::now();

    // ---- the loop
    while at.epoch <= epochs {
        let epoch_begun = Instant::now();
        let first_minibatch = at.minibatch;
        let order = Stream::new(c.seed, Purpose::Shuffle, at.epoch as u64).permutation(windows.len());
        let starts: Vec<u32> = order[..minibatches * c.batch_size].iter().map(|&i| windows[i as usize]).collect();
        memory.write(step.starts, &starts)?;
        memory.write(step.schedule, &epoch_schedule(c, at.epoch, minibatches))?;
        memory.write(step.cursor, &[(at.minibatch * c.rollout) as u32, 0])?;
        if at.minibatch == 0 {
            memory.write(step.sums, &vec![0.0; step.sums.len()])?;
        }
        while at.minibatch < minibatches {
            for _ in 0..c.rollout {
                memory.run(&step.plan)?;
                at.step += 1;
                let losses = memory.read(step.network.losses)?;
                if losses[slot::NONFINITE_STEP] != 0.0 {
                    return Err(nonfinite(&mut memory, &step, at.epoch, at.step)?);
                }
            }
            at.minibatch += 1;
            console.step();
            let signal = run.stop.load(Ordering::Relaxed);
            let elapsed = before + begun.elapsed().as_secs_f64();
            let late = c.max_minutes.is_some_and(|limit| begun.elapsed().as_secs_f64() > 60.0 * limit);
            if at.minibatch < minibatches && (signal != 0 || late) {
                at.elapsed_seconds = elapsed;
                at.log_lengths = logs.sync()?;
                save(&memory, &at, &last, true)?;
                console.finish();
                if signal != 0 {
                    return Err(Error::Stopped(signal as i32));
                }
                console.say(&format!(
                    "stopped after --max-minutes {}; continue with --resume",
                    c.max_minutes.unwrap_or(0.0)
                ));
                return Ok(records);
            }
        }

        let seconds = epoch_begun.elapsed().as_secs_f64();
        let samples = ((minibatches - first_minibatch) * c.rollout * c.batch_size) as f64;
        let sums = memory.read(step.sums)?;
        let means = step.epoch_sums.means(&sums, steps_an_epoch as u64);
        let due = at.epoch.is_multiple_of(interval) || at.epoch == epochs;
        let mut record = EpochRecord {
            epoch: at.epoch,
            step: at.step,
            phase: schedule::phase(c, at.epoch).to_owned(),
            recon_loss: means.recon_loss,
            kl_loss: means.kl_loss,
            perplexity: means.perplexity,
            kl_weight: means.kl_weight,
            learning_rate: schedule::learning_rate(c, at.epoch),
            student_probability: schedule::student_probability(c, at.epoch, minibatches - 1, minibatches),
            grad_norm: means.grad_norm,
            kl_per_latent: means.kl_per_latent,
            active_units: means.mean_variance.iter().filter(|&&v| v > ACTIVE_VARIANCE).count(),
            posterior_mean: means.posterior_mean,
            posterior_std: means.posterior_std,
            expert_usage: means.expert_usage,
            gate_entropy: means.gate_entropy,
            validation: if due { Some(evaluation.measure(&mut memory, at.epoch == epochs)?) } else { None },
            warnings: Vec::new(),
            timing: Timing {
                seconds: epoch_begun.elapsed().as_secs_f64(),
                samples_per_second: samples / seconds,
                elapsed_seconds: before + begun.elapsed().as_secs_f64(),
            },
        };
        record.warnings = diagnose::warnings(c, &record);
        logs.append(&record)?;
        console.epoch(&record);

        // The best model is looked for among those that were trained on their own predictions.
        let error = record.validation.as_ref().and_then(|v| v.rollout_30_error.or(v.one_step_error));
        let error = error.filter(|_| record.phase == "student" || epochs == at.epoch);
        let is_best =
            error.is_some_and(|e| at.best.is_none_or(|best| e < best)) || (error.is_none() && at.epoch == epochs);
        at.best = if is_best { error.or(at.best) } else { at.best };
        records.push(record);
        at.epoch += 1;
        at.minibatch = 0;
        at.elapsed_seconds = before + begun.elapsed().as_secs_f64();
        if is_best {
            save(&memory, &at, &run.folder.best_checkpoint(), false)?;
        }
        let signal = run.stop.load(Ordering::Relaxed);
        if signal != 0 || at.epoch > epochs || saved.elapsed().as_secs() >= c.checkpoint_every {
            at.log_lengths = logs.sync()?;
            save(&memory, &at, &last, true)?;
            write_report(c, run, &model, &records)?;
            saved = Instant::now();
        }
        if signal != 0 {
            console.finish();
            return Err(Error::Stopped(signal as i32));
        }
    }
    console.finish();
    Ok(records)
}

/// The states of an epoch's steps.
fn epoch_schedule(c: &Config, epoch: usize, minibatches: usize) -> Vec<StepState> {
    let learning_rate = schedule::learning_rate(c, epoch);
    let mut states = Vec::with_capacity(minibatches * c.rollout);
    let coin = |step: u64, probability: f64| Stream::new(c.seed, Purpose::Coin, step).uniform(0) < probability;
    for minibatch in 0..minibatches {
        let probability = schedule::student_probability(c, epoch, minibatch, minibatches);
        for rollout_step in 0..c.rollout {
            let step = (((epoch - 1) * minibatches + minibatch) * c.rollout + rollout_step + 1) as u64;
            states.push(StepState {
                seed: c.seed,
                kl_scale: schedule::kl_scale(c, epoch, minibatch, minibatches),
                minibatch: minibatch as u32,
                rollout_step: rollout_step as u32,
                // The coin of the step before decides what this one is conditioned on.
                student: u32::from(rollout_step > 0 && coin(step - 1, probability)),
                ..adam_state(learning_rate, [c.adam_beta1, c.adam_beta2], step)
            });
        }
    }
    states
}

/// How the KL weight is found. A calibrated decoder weighs the mean KL by 2 v L / (K F), v the residual variance; that is
/// the reconstruction loss itself, or (specialist) twice it in a loss of half the size, which comes to the same.
fn kl_rule(c: &Config, model: &ModelConfig) -> Rule {
    match (c.target_kl, c.kl_weight) {
        (Some(kl), KlWeight::Fixed(start)) => Rule::Target { kl, start },
        (None, KlWeight::Fixed(weight)) => Rule::Fixed(weight),
        (_, KlWeight::Auto) => {
            let units = 2.0 * model.latent_size as f64 / (model.future_predictions * model.frame_size) as f64;
            Rule::Auto { units, floor: AUTO_FLOOR }
        }
    }
}

/// Smallest and largest value of each feature.
fn ranges(set: &Dataset) -> Vec<(f32, f32)> {
    let mut ranges = vec![(f32::INFINITY, f32::NEG_INFINITY); set.frame_size];
    for frame in set.frames.chunks_exact(set.frame_size) {
        for (range, &x) in ranges.iter_mut().zip(frame) {
            *range = (range.0.min(x), range.1.max(x));
        }
    }
    ranges
}

/// The error for a loss that is not finite: runs the step's forward calls again, one by one, to name the first culprit.
fn nonfinite(memory: &mut Memory, step: &TrainStep<f32>, epoch: usize, number: u64) -> Result<Error> {
    let inputs: [(&str, Mat<f32>); 2] = [("condition", step.network.condition), ("truth", step.network.truth)];
    let mut operation = None;
    for (name, mat) in inputs {
        if operation.is_none() && memory.read(mat)?.iter().any(|x| !x.is_finite()) {
            operation = Some(format!("window ({name}: the last prediction was not finite)"));
        }
    }
    let operation = match operation {
        Some(operation) => operation,
        None => memory.first_nonfinite(&step.forward)?.unwrap_or_else(|| "kl_weight (losses)".into()),
    };
    let mend =
        "the last checkpoint is intact; try a smaller --learning-rate or look at the data with `data check`".into();
    Ok(Error::NonFinite { epoch, step: number, operation, mend })
}

/// The run's page.
fn write_report(c: &Config, run: &Run, model: &ModelConfig, records: &[EpochRecord]) -> Result<()> {
    let data = match c.data.as_slice() {
        [] => "built-in synthetic set".to_owned(),
        files => files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", "),
    };
    let lines = [
        ("Data", data),
        ("Model", format!("{:?}, {} features, {} latents", model.variant, model.frame_size, model.latent_size)),
        (
            "Schedule",
            format!("{} teacher, {} ramp, {} student epochs", c.teacher_epochs, c.ramp_epochs, c.student_epochs),
        ),
        ("Mini-batch", format!("{} rollouts of {} steps", c.batch_size, c.rollout)),
        ("Seed", c.seed.to_string()),
        ("Device", run.backend.describe()),
    ];
    report::write(&run.folder, &lines, records)
}

//! The training loop: epochs of mini-batches of rollouts, one Adam step a rollout step.
//!
//! What it starts from is in [`Setup`], everything a step does in its plan ([`crate::step`]), all that changes over a run
//! in [`schedule`]; logs, report, warnings and checkpoints observe the records.
use crate::config::Config;
use crate::data::windows::HELD_OUT_FRAMES;
use crate::ops::recon_loss::slot;
use crate::philox::{Purpose, Stream};
use crate::progress::{Console, Pace};
use crate::record::{EpochRecord, Timing};
use crate::run::folder::RunFolder;
use crate::run::logs::{self, Logs};
use crate::run::player::Motion;
use crate::run::report;
use crate::setup::Setup;
use crate::{Error, Result, diagnose, schedule};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A latent dimension is active when the variance of its posterior mean over the data is above this (Burda et al. 2016).
const ACTIVE_VARIANCE: f64 = 0.01;

/// How long the device may run ahead before its losses are looked at, which waits for it. A bad step loses nothing by
/// being found late: training stands still from it on.
const LOOK: Duration = Duration::from_millis(100);

/// Trains to the end, or until `stop` holds the number of a signal or `max_minutes` are over; returns the records of all
/// epochs. Errors: a loss that is not finite, a stop by signal (after everything was saved), those of the disk.
pub fn train(run: &mut Setup, folder: &RunFolder, quiet: bool, stop: &AtomicUsize) -> Result<Vec<EpochRecord>> {
    let begun = Instant::now();
    let c = run.config;
    let (epochs, minibatches) = (c.epochs(), run.minibatches());
    let mut logs = Logs::open(folder, (run.at.step > 0).then_some(&run.at.log_lengths))?;
    let mut records = logs::read_metrics(&folder.metrics())?;
    let interval = run.evaluation.interval(epochs, minibatches * c.rollout, c.batch_size);
    let pace = Pace::new(epochs, minibatches, interval, (run.at.epoch - 1) * minibatches + run.at.minibatch);
    let mut console = Console::new(pace, quiet);
    console.say(&opening(run));
    if c.validation > 0.0 && run.split.validation.is_empty() {
        console.say(&format!(
            "note: nothing is held out, as that takes clips of at least {HELD_OUT_FRAMES} frames; there will be no \
             held-out errors"
        ));
    }
    let before = run.at.elapsed_seconds;
    let elapsed = || before + begun.elapsed().as_secs_f64();
    let late = || c.max_minutes.filter(|limit| begun.elapsed().as_secs_f64() > 60.0 * limit);
    let stopped = || stop.load(Ordering::Relaxed) != 0 || late().is_some();
    let (mut saved, mut looked) = (Instant::now(), Instant::now());

    'training: while run.at.epoch <= epochs {
        let (epoch, epoch_begun, first_minibatch) = (run.at.epoch, Instant::now(), run.at.minibatch);
        begin_epoch(run)?;
        while run.at.minibatch < minibatches {
            run.memory.repeat(&run.step.plan, c.rollout)?;
            run.at.step += c.rollout as u64;
            run.at.minibatch += 1;
            console.step();
            let (stop, ended) = (stopped(), run.at.minibatch == minibatches);
            if stop || ended || looked.elapsed() > LOOK {
                check_finite(run)?;
                looked = Instant::now();
            }
            if stop && !ended {
                break 'training;
            }
        }

        let seconds = epoch_begun.elapsed().as_secs_f64();
        let samples = ((minibatches - first_minibatch) * c.rollout * c.batch_size) as f64;
        let mut record = record(run)?;
        if !record.grad_norm.is_finite() {
            // A gradient too large to be squared has left moments that never recover.
            let operation = "a backward call (a gradient beyond the range of f32)".into();
            return Err(not_finite(run, run.at.step, operation));
        }
        if epoch.is_multiple_of(interval) || epoch == epochs {
            let evaluation_begun = Instant::now();
            record.validation = Some(run.evaluation.measure(&mut run.memory, epoch == epochs)?);
            if let Some(shown) = &mut run.shown {
                shown.make(&mut run.memory, epoch)?;
            }
            console.evaluated(evaluation_begun.elapsed().as_secs_f64());
        }
        record.warnings = diagnose::warnings(c, &record);
        record.timing = Timing {
            seconds: epoch_begun.elapsed().as_secs_f64(),
            samples_per_second: samples / seconds,
            elapsed_seconds: elapsed(),
        };
        logs.append(&record)?;
        console.epoch(&record);

        // The best model is looked for among those that were trained on their own predictions.
        let error = record.validation.as_ref().and_then(|v| v.rollout_30_error.or(v.one_step_error));
        let error = error.filter(|_| record.phase == "student" || epoch == epochs);
        let is_best = match error {
            Some(error) => run.at.best.is_none_or(|best| error < best),
            None => epoch == epochs && run.at.best.is_none(),
        };
        records.push(record);
        (run.at.epoch, run.at.minibatch) = (epoch + 1, 0);
        if is_best {
            run.at.best = error;
            checkpoint(run, &folder.best_checkpoint(), &logs, elapsed())?;
        }
        if run.finished() || stopped() {
            break;
        }
        if saved.elapsed().as_secs() >= c.checkpoint_every {
            save(run, folder, &logs, &records, elapsed())?;
            saved = Instant::now();
        }
    }

    save(run, folder, &logs, &records, elapsed())?;
    console.finish();
    if run.finished() {
        return Ok(records);
    }
    match stop.load(Ordering::Relaxed) {
        0 => {
            let limit = late().unwrap_or_default();
            console.say(&format!(
                "stopped after --max-minutes {limit}; continue with --resume {}",
                folder.path().display()
            ));
            Ok(records)
        }
        signal => Err(Error::Stopped { signal: signal as i32, run: folder.path().to_owned() }),
    }
}

/// Writes the epoch's windows and what its steps are, from the mini-batch on at which training stands.
fn begin_epoch(run: &mut Setup) -> Result<()> {
    let (c, at, step, minibatches) = (run.config, &run.at, &run.step, run.minibatches());
    let order = Stream::new(c.seed, Purpose::Shuffle, at.epoch as u64).permutation(run.windows.len());
    let starts: Vec<u32> = order[..step.starts.len()].iter().map(|&i| run.windows[i as usize]).collect();
    run.memory.write(step.starts, &starts)?;
    run.memory.write(step.schedule, &schedule::steps(c, at.epoch, minibatches))?;
    run.memory.write(step.cursor, &[(at.minibatch * c.rollout) as u32, 0])?;
    if at.minibatch == 0 {
        run.memory.write(step.sums, &vec![0.0; step.sums.len()])?;
    }
    Ok(())
}

/// The record of an epoch whose steps are done, with nothing measured yet.
fn record(run: &Setup) -> Result<EpochRecord> {
    let (c, epoch, minibatches) = (run.config, run.at.epoch, run.minibatches());
    let means = run.step.epoch_sums.means(&run.memory.read(run.step.sums)?, (minibatches * c.rollout) as u64);
    Ok(EpochRecord {
        epoch,
        step: run.at.step,
        phase: schedule::phase(c, epoch).to_owned(),
        recon_loss: means.recon_loss,
        kl_loss: means.kl_loss,
        perplexity: means.perplexity,
        kl_weight: means.kl_weight,
        learning_rate: schedule::learning_rate(c, epoch),
        student_probability: schedule::student_probability(c, epoch, minibatches - 1, minibatches),
        grad_norm: means.grad_norm,
        kl_per_latent: means.kl_per_latent,
        active_units: means.mean_variance.iter().filter(|&&v| v > ACTIVE_VARIANCE).count(),
        posterior_mean: means.posterior_mean,
        posterior_std: means.posterior_std,
        expert_usage: means.expert_usage,
        gate_entropy: means.gate_entropy,
        validation: None,
        warnings: Vec::new(),
        timing: Timing { seconds: 0.0, samples_per_second: 0.0, elapsed_seconds: 0.0 },
    })
}

/// Writes the last checkpoint and the report.
fn save(
    run: &mut Setup,
    folder: &RunFolder,
    logs: &Logs<EpochRecord>,
    records: &[EpochRecord],
    elapsed: f64,
) -> Result<()> {
    checkpoint(run, &folder.last_checkpoint(), logs, elapsed)?;
    let unknown = Motion::of_no_skeleton();
    let motion = run.shown.as_ref().map_or(&unknown, |shown| &shown.motion);
    report::write(folder, &summary(run), records, motion)
}

/// Writes a checkpoint, after the logs it speaks of.
fn checkpoint(run: &mut Setup, path: &Path, logs: &Logs<EpochRecord>, elapsed: f64) -> Result<()> {
    run.at.elapsed_seconds = elapsed;
    run.at.log_lengths = logs.sync()?;
    run.save(path)
}

/// Errors: a loss was not finite; at which step, and what made it so.
fn check_finite(run: &mut Setup) -> Result<()> {
    match run.memory.read(run.step.network.losses)?[slot::NONFINITE_STEP] as u64 {
        0 => Ok(()),
        step => {
            let operation = run.step.culprit(&mut run.memory, &run.parameters)?;
            Err(not_finite(run, step, operation))
        }
    }
}

/// The error that names what first was not finite.
fn not_finite(run: &Setup, step: u64, operation: String) -> Error {
    let mend =
        "the last checkpoint is intact; try a smaller --learning-rate or look at the data with `data check`".into();
    Error::NonFinite { epoch: run.at.epoch, step, operation, mend }
}

/// What is said at the start.
fn opening(run: &Setup) -> String {
    if run.at.step > 0 {
        return format!("resuming at epoch {}, step {}", run.at.epoch, run.at.step);
    }
    format!(
        "{} parameters, {} windows in {} clips ({} held out), {} steps an epoch, {}",
        run.parameters.layout.num_parameters(),
        run.windows.len(),
        run.split.train.len(),
        run.split.validation.len(),
        run.minibatches() * run.config.rollout,
        run.memory.backend().describe()
    )
}

/// What the report says of the configuration.
fn summary(run: &Setup) -> [(&'static str, String); 6] {
    let Config { teacher_epochs, ramp_epochs, student_epochs, batch_size, rollout, seed, .. } = run.config;
    let data = match run.config.data.as_slice() {
        [] => "built-in synthetic set".to_owned(),
        files => files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
    };
    let m = &run.model;
    [
        ("Data", data),
        ("Model", format!("{:?}, {} features, {} latents", m.variant, m.frame_size, m.latent_size)),
        ("Schedule", format!("{teacher_epochs} teacher, {ramp_epochs} ramp, {student_epochs} student epochs")),
        ("Mini-batch", format!("{batch_size} rollouts of {rollout} steps")),
        ("Seed", seed.to_string()),
        ("Device", run.memory.backend().describe()),
    ]
}

//! The training loop: epochs of mini-batches of rollouts, with one Adam step per rollout step.
//!
//! [`Setup`] is the initial state, [`crate::train::step`] the plan of a step, and [`schedule`] has
//! the numbers that change over a run. Logs, report, warnings and checkpoints are made from the
//! records.
use crate::config::Config;
use crate::data::windows::HELD_OUT_FRAMES;
use crate::host::shown::counted;
use crate::ops::recon_loss::slot;
use crate::run::console::{Console, Pace, Voice};
use crate::run::folder::RunFolder;
use crate::run::player::Motion;
use crate::run::record::{EpochRecord, Timing};
use crate::run::report;
use crate::run::session::{Limits, Session, Watch};
use crate::train::setup::Setup;
use crate::{Error, Result, host::memory, train::diagnose, train::schedule};
use std::path::Path;
use std::time::{Duration, Instant};

/// A latent dimension is active when the variance of its posterior mean over the data is above this
/// (Burda et al. 2016).
const ACTIVE_VARIANCE: f64 = 0.01;

/// Longest time the device may run ahead before the host reads its losses, which waits for the
/// device. Finding a bad step late costs nothing, since training stands still from that step on.
const LOOK: Duration = Duration::from_millis(100);

/// Most steps in one request where calls are launched one by one. So training can stop within a
/// longer rollout.
const STEPS: usize = 256;

/// Trains to the end, or until a signal asks to stop or `max_minutes` are over; returns the records
/// of all epochs. Errors: a loss that is not finite, a stop by signal (after everything was saved),
/// those of the disk.
pub fn train<'a>(
    run: &mut Setup,
    folder: &'a RunFolder,
    voice: impl Into<Voice>,
    watch: impl Into<Watch<'a>>,
) -> Result<Vec<EpochRecord>> {
    let voice = voice.into();
    let opening = opening(run);
    let mut training = Training::new(run, folder, watch.into(), |pace| Console::new(pace, voice))?;
    opening.iter().for_each(|line| training.session.console.say(line));
    training.session.begin(&summary(training.run));
    while training.epoch()? {}
    let (session, finished) = training.end()?;
    session.end(finished)
}

/// Writes the report of a finished run once more, in which a person steers with the data that
/// `player.js` reads as `steering`. Errors: those of the backend and the disk.
pub(crate) fn report(
    run: &mut Setup,
    folder: &RunFolder,
    records: &[EpochRecord],
    steering: serde_json::Value,
) -> Result<()> {
    let mut motion = Motion::of_no_skeleton();
    if let Some(shown) = &mut run.shown {
        shown.make(&mut run.memory, run.at.epoch - 1)?;
        motion = shown.motion.clone();
    }
    motion.tracks.iter_mut().for_each(|tracks| tracks["steering"] = steering.clone());
    report::write(folder, &summary(run), records, &motion, None)
}

/// Seconds that a step takes here, measured over about `time`. The steps leave the run's parameters
/// changed, so it must not be trained afterwards. Errors: those of the backend.
pub fn seconds_a_step(run: &mut Setup, time: Duration) -> Result<f64> {
    let (mut taken, mut steps) = (Duration::ZERO, 0);
    let portion = run.config.rollout.min(STEPS);
    begin_epoch(run)?;
    run.memory.repeat(&run.step.plan, portion)?;
    while taken < time {
        begin_epoch(run)?;
        let begun = Instant::now();
        run.memory.repeat(&run.step.plan, portion)?;
        check_finite(run)?;
        taken += begun.elapsed();
        steps += portion;
    }
    Ok(taken.as_secs_f64() / steps as f64)
}

/// A run under way.
pub struct Training<'r, 'b> {
    run: &'r mut Setup<'b>,
    session: Session<'r, EpochRecord>,
    /// Epochs from one evaluation to the next.
    interval: usize,
    looked: Instant,
    /// Portions ([`STEPS`] steps, or a shorter rollout) in one launch, where one launch runs many
    /// steps.
    portions: usize,
}

impl<'r, 'b> Training<'r, 'b> {
    /// Opens the logs of a run. Errors: those of the disk.
    pub fn new(
        run: &'r mut Setup<'b>,
        folder: &'r RunFolder,
        watch: Watch<'r>,
        console: impl FnOnce(Pace) -> Console,
    ) -> Result<Self> {
        let (c, minibatches) = (run.config, run.minibatches());
        let interval = run.evaluation.interval(c.epochs(), minibatches * c.rollout, c.batch_size);
        let pace = Pace::new(c.epochs(), minibatches, interval, (run.at.epoch - 1) * minibatches + run.at.minibatch);
        let limits = Limits { max_minutes: c.max_minutes, checkpoint_every: c.checkpoint_every };
        let session = Session::open(folder, watch, limits, (&run.at, run.at.step > 0), console(pace))?;
        Ok(Training { run, session, interval, looked: Instant::now(), portions: 1 })
    }

    /// Finished mini-batches, as a share of all.
    pub fn done(&self) -> f64 {
        let at = &self.run.at;
        ((at.epoch - 1) as f64 + at.minibatch as f64 / self.run.minibatches() as f64) / self.run.config.epochs() as f64
    }

    /// Trains an epoch or the rest of it, at least some steps. Returns true if there is more to do
    /// now. Errors: a loss that is not finite, those of the disk.
    pub fn epoch(&mut self) -> Result<bool> {
        let (c, minibatches, epoch_begun) = (self.run.config, self.run.minibatches(), Instant::now());
        let (epoch, epochs, first_step) = (self.run.at.epoch, c.epochs(), self.run.at.step);
        begin_epoch(self.run)?;
        let one_launch = self.run.memory.backend().is_one_launch();
        while self.run.at.minibatch < minibatches {
            let (at, asked) = (&mut self.run.at, Instant::now());
            let portion = c.rollout.min(STEPS);
            let steps = match one_launch {
                true => (self.portions * portion).min((minibatches - at.minibatch) * c.rollout - at.rollout_step),
                false => portion.min(c.rollout - at.rollout_step),
            };
            self.run.memory.repeat(&self.run.step.plan, steps)?;
            let rollouts = (at.rollout_step + steps) / c.rollout;
            at.step += steps as u64;
            at.minibatch += rollouts;
            at.rollout_step = (at.rollout_step + steps) % c.rollout;
            self.session.step(rollouts);
            let (stop, ended) = (self.session.stopped(), self.run.at.minibatch == minibatches);
            if stop || ended || one_launch || self.looked.elapsed() > LOOK {
                check_finite(self.run)?;
                self.looked = Instant::now();
            }
            if one_launch {
                // Doubles the portions until a launch takes about [`LOOK`], or an epoch if that is
                // shorter; halves them when it takes longer.
                let asked_for = steps.div_ceil(portion);
                self.portions =
                    if asked.elapsed() < LOOK { self.portions.max(2 * asked_for) } else { asked_for.div_ceil(2) };
            }
            if stop && !ended {
                return Ok(false);
            }
        }

        let seconds = epoch_begun.elapsed().as_secs_f64();
        let samples = ((self.run.at.step - first_step) as usize * c.batch_size) as f64;
        let mut record = record(self.run)?;
        if !record.grad_norm.is_finite() {
            // The square of this gradient overflowed; it has left moments that never recover.
            let operation = "a backward call (a gradient beyond the range of f32)".into();
            return Err(not_finite(self.run, self.run.at.step, operation));
        }
        if epoch.is_multiple_of(self.interval) || epoch == epochs {
            let evaluation_begun = Instant::now();
            record.validation =
                Some(self.run.evaluation.measure(&mut self.run.memory, record.active(), epoch == epochs)?);
            if let Some(shown) = &mut self.run.shown {
                shown.make(&mut self.run.memory, epoch)?;
            }
            self.session.console.evaluated(evaluation_begun.elapsed().as_secs_f64());
        }
        record.warnings = diagnose::warnings(c, &record);
        record.timing = Timing {
            seconds: epoch_begun.elapsed().as_secs_f64(),
            samples_per_second: samples / seconds,
            elapsed_seconds: self.session.elapsed(),
        };
        // The best model is chosen among those that were trained on their own predictions, and the
        // last one.
        let error = record.validation.as_ref().and_then(|v| v.rollout_30_error.or(v.one_step_error));
        let error = error.filter(|error| error.is_finite() && (record.phase == "student" || epoch == epochs));
        let best = self.run.at.best;
        let is_best = match error {
            Some(error) => best.is_none_or(|best| error < best),
            None => epoch == epochs && best.is_none(),
        };
        self.session.records.push(record);
        self.session.log()?;
        (self.run.at.epoch, self.run.at.minibatch) = (epoch + 1, 0);
        if is_best {
            self.run.at.best = error;
            self.checkpoint(&self.session.folder().best_checkpoint())?;
        }
        if self.run.finished() || self.session.stopped() || self.session.is_enough() {
            return Ok(false);
        }
        if self.session.is_due() {
            self.save()?;
        }
        Ok(true)
    }

    /// Saves everything. Returns the session, and whether all epochs are done. Errors: those of the
    /// disk.
    pub fn end(mut self) -> Result<(Session<'r, EpochRecord>, bool)> {
        self.save()?;
        Ok((self.session, self.run.finished()))
    }

    /// Writes the report, then the last checkpoint. So a run whose checkpoint is finished has its
    /// report.
    fn save(&mut self) -> Result<()> {
        let unknown = Motion::of_no_skeleton();
        let motion = self.run.shown.as_ref().map_or(&unknown, |shown| &shown.motion);
        let reported = self.session.report(&summary(self.run), motion, self.run.finished());
        self.checkpoint(&self.session.folder().last_checkpoint())?;
        reported
    }

    /// Writes a checkpoint, after the logs it refers to.
    fn checkpoint(&mut self, path: &Path) -> Result<()> {
        self.session.sync(&mut self.run.at)?;
        self.run.save(path)
    }
}

/// Writes the windows of the epoch and the states of its steps, and sets the cursor to where
/// training stands.
fn begin_epoch(run: &mut Setup) -> Result<()> {
    let (c, at, step, minibatches) = (run.config, &run.at, &run.step, run.minibatches());
    run.memory.write(step.starts, &schedule::starts(c, &run.windows, at.epoch, minibatches))?;
    run.memory.write(step.schedule, &schedule::steps(c, at.epoch, minibatches))?;
    run.memory.write(step.cursor, &[(at.minibatch * c.rollout + at.rollout_step) as u32, 0])?;
    if (at.minibatch, at.rollout_step) == (0, 0) {
        run.memory.write(step.sums, &vec![0.0; step.sums.len()])?;
    }
    Ok(())
}

/// The record of an epoch whose steps are done, without evaluation, warnings and timing.
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
        learning_rate: schedule::learning_rate(c, run.at.step, minibatches * c.rollout),
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

/// Checks that all losses so far are finite. Errors: one is not; the error names the step and the
/// operation.
fn check_finite(run: &mut Setup) -> Result<()> {
    match run.memory.read(run.step.network.losses)?[slot::NONFINITE_STEP] as u64 {
        0 => Ok(()),
        step => {
            let operation = run.step.culprit(&mut run.memory, &run.parameters)?;
            Err(not_finite(run, step, operation))
        }
    }
}

/// The error for a number that is not finite, which names the operation.
fn not_finite(run: &Setup, step: u64, operation: String) -> Error {
    let mend =
        "the last checkpoint is intact; try a smaller --learning-rate or look at the data with `data check`".into();
    Error::NonFinite { epoch: run.at.epoch, step, operation, mend }
}

/// The lines printed at the start.
pub fn opening(run: &Setup) -> Vec<String> {
    let mut lines = vec![match run.at.step {
        0 => format!(
            "{} parameters, {} windows in {} clips{} ({} held out), {} of {} steps, {} of memory, {}",
            run.parameters.layout.num_parameters(),
            run.windows.len(),
            run.split.train.len(),
            if run.mirrored { " and mirror images" } else { "" },
            run.split.validation.len(),
            counted(run.config.epochs(), "epoch"),
            run.minibatches() * run.config.rollout,
            memory::said(run.memory.bytes()),
            run.memory.backend().describe()
        ),
        step => format!("resuming at epoch {}, step {step}", run.at.epoch),
    }];
    if run.bridges > 0 {
        lines.push(format!("{} clips go on in another near their end, where both are alike", run.bridges));
    }
    lines.extend(run.notes.iter().cloned());
    if run.config.validation > 0.0 && run.split.validation.is_empty() {
        lines.push(format!(
            "note: nothing is held out, as that takes clips of at least {HELD_OUT_FRAMES} frames; there will be no \
             held-out errors"
        ));
    }
    lines
}

/// The report's summary of the configuration.
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

//! A sitting of a run: all that a training loop needs around its steps, whatever it trains.
use super::console::Console;
use super::folder::RunFolder;
use super::live::Live;
use super::logs::{self, Logs};
use super::player::Motion;
use super::record::Record;
use super::report::{self, Reported};
use crate::checkpoint::Progress;
use crate::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Shortest and longest time after which the page of a run that goes on reloads, seconds.
const SOONEST: f64 = 5.0;
const LATEST: f64 = 600.0;

/// When a sitting ends, and how often it saves.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Minutes after which it stops.
    pub max_minutes: Option<f64>,
    /// Seconds from one checkpoint to the next.
    pub checkpoint_every: u64,
}

/// The watchers of a run: the signal that asks it to stop, and the browser that shows it.
#[derive(Clone, Copy)]
pub struct Watch<'r> {
    /// Number of a signal that asks to stop, or 0.
    pub stop: &'r AtomicUsize,
    /// The server that shows the run, if there is one.
    pub live: Option<&'r Live>,
    /// Number of the epoch or update after which the sitting ends with everything saved, if it is
    /// not to be the last.
    pub until: Option<usize>,
}

impl<'r> From<&'r AtomicUsize> for Watch<'r> {
    fn from(stop: &'r AtomicUsize) -> Self {
        Watch { stop, live: None, until: None }
    }
}

/// Logs, records, console and clock of a run that trains, and those who watch it.
pub struct Session<'r, R> {
    folder: &'r RunFolder,
    watch: Watch<'r>,
    limits: Limits,
    logs: Logs<R>,
    /// The records of all sittings.
    pub records: Vec<R>,
    /// The console of the run.
    pub console: Console,
    /// The time this sitting began, and the seconds of the earlier sittings.
    begun: (Instant, f64),
    saved: Instant,
}

impl<'r, R: Record + Reported> Session<'r, R> {
    /// Opens the logs of a run that stands at `at`: anew, or cut back to there if it `resumes`.
    /// Errors: those of the disk.
    pub fn open(
        folder: &'r RunFolder,
        watch: Watch<'r>,
        limits: Limits,
        (at, resumes): (&Progress, bool),
        console: Console,
    ) -> Result<Self> {
        let now = Instant::now();
        let logs = Logs::open(folder, resumes.then_some(&at.log_lengths))?;
        let (records, note) = logs::read_metrics(&folder.metrics())?;
        logs.notes.iter().chain(&note).for_each(|line| console.say(line));
        let begun = (now, at.elapsed_seconds);
        Ok(Session { folder, watch, limits, logs, records, console, begun, saved: now })
    }

    /// Shows a page without new records, until the first report comes.
    pub fn begin(&self, summary: &[(&str, String); 6]) {
        if let Some(live) = self.watch.live {
            let motion = Motion { note: "The first motion comes with the first report.".into(), tracks: None };
            live.page(&report::page(&self.folder.name(), summary, &self.records, &motion, &[], None));
        }
    }

    /// The folder of the run.
    pub fn folder(&self) -> &'r RunFolder {
        self.folder
    }

    /// Seconds that the run has taken in all its sittings.
    pub fn elapsed(&self) -> f64 {
        self.begun.1 + self.begun.0.elapsed().as_secs_f64()
    }

    /// True once a signal came, or the minutes of the sitting are over.
    pub fn stopped(&self) -> bool {
        let limit = self.limits.max_minutes.unwrap_or(f64::INFINITY);
        self.watch.stop.load(Ordering::Relaxed) != 0 || self.begun.0.elapsed().as_secs_f64() > 60.0 * limit
    }

    /// True once as many epochs or updates are done as the sitting is to do.
    pub fn is_enough(&self) -> bool {
        let done = self.records.last().map_or(0, R::number);
        self.watch.until.is_some_and(|until| done >= until)
    }

    /// Counts `minibatches` more mini-batches as done, and shows the progress.
    pub fn step(&mut self, minibatches: usize) {
        self.console.step(minibatches);
        if let Some(live) = self.watch.live {
            live.progress(self.console.done(), &self.console.remaining());
        }
    }

    /// True if the next checkpoint is due.
    pub(crate) fn is_due(&self) -> bool {
        let asked = self.watch.live.is_some_and(Live::checkpoint_is_asked);
        asked || self.saved.elapsed() >= Duration::from_secs(self.limits.checkpoint_every)
    }

    /// Writes the last record to the logs, and shows it. Errors: those of the disk.
    ///
    /// # Panics
    /// If there is no record.
    pub fn log(&mut self) -> Result<()> {
        self.folder.require_lock()?;
        let record = self.records.last().expect("a record was pushed");
        self.logs.append(record)?;
        self.console.epoch(record);
        if let Some(live) = self.watch.live {
            live.say(&format!("{} {}: {}", R::UNIT, record.number(), record.line()));
        }
        Ok(())
    }

    /// Writes the report, with which a save begins: the last checkpoint is written after it, so
    /// that a run whose checkpoint is finished has its report. The page of a run that is not
    /// `finished` reloads itself. Errors: those of the disk.
    pub fn report(&mut self, summary: &[(&str, String); 6], motion: &Motion, finished: bool) -> Result<()> {
        self.folder.require_lock()?;
        let every = self.saved.elapsed().as_secs_f64().clamp(SOONEST, LATEST);
        self.saved = Instant::now();
        let goes_on = !finished && !self.stopped();
        if let Some(live) = self.watch.live {
            // Its files are not served, so it has no links to them.
            live.page(&report::page(&self.folder.name(), summary, &self.records, motion, &[], None));
        }
        report::write(self.folder, summary, &self.records, motion, goes_on.then_some(every))
    }

    /// Syncs the logs, and notes their lengths and the time taken in the place of the next
    /// checkpoint. Errors: those of the disk.
    pub fn sync(&mut self, at: &mut Progress) -> Result<()> {
        self.folder.require_lock()?;
        at.elapsed_seconds = self.elapsed();
        at.log_lengths = self.logs.sync()?;
        Ok(())
    }

    /// Ends the display, and returns the records.
    pub fn finish(self) -> Vec<R> {
        self.console.finish();
        self.records
    }

    /// Ends the display, says of a run that is neither `finished` nor was to end here why it
    /// stopped, and returns the records. Errors: a signal stopped it.
    pub fn end(self, finished: bool) -> Result<Vec<R>> {
        self.console.finish();
        if !finished && !self.is_enough() {
            self.console.say(&stopped_by(self.watch.stop, self.limits.max_minutes, self.folder.path())?);
        }
        Ok(self.records)
    }
}

/// The message for runs that ended early. Errors: a signal ended them. The message on how to resume
/// is printed elsewhere, at the end.
pub(crate) fn stopped_by(stop: &AtomicUsize, max_minutes: Option<f64>, run: &Path) -> Result<String> {
    match stop.load(Ordering::Relaxed) {
        0 => Ok(format!("stopped after --max-minutes {}", max_minutes.unwrap_or_default())),
        signal => {
            let again = format!("--resume {}", run.display());
            Err(Error::Stopped { signal: signal as i32, again })
        }
    }
}

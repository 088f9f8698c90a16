//! Progress of a run on standard error: a bar on a terminal, otherwise one line for each epoch.
use crate::host::say::{minutes, say};
use crate::run::record::Record;
use crate::run::whole::Whole;
use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time after which a run without a bar prints its remaining time, unless a line has done so
/// before.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// The speed of a run in this sitting, and the remaining time that follows from it.
pub struct Pace {
    epochs: usize,
    minibatches: usize,
    interval: usize,
    /// Mini-batches done: of all sittings, and in this sitting.
    done: [usize; 2],
    /// Evaluations measured in this sitting, and the seconds they took.
    evaluations: (usize, f64),
}

impl Pace {
    /// The pace of `epochs` epochs of `minibatches` mini-batches, of which `done` are done, with an
    /// evaluation every `interval` epochs and after the last.
    pub fn new(epochs: usize, minibatches: usize, interval: usize, done: usize) -> Self {
        Pace { epochs, minibatches, interval, done: [done, 0], evaluations: (0, 0.0) }
    }

    /// Counts `minibatches` more mini-batches as done.
    pub fn step(&mut self, minibatches: usize) {
        self.done = self.done.map(|done| done + minibatches);
    }

    /// True if the run is in the middle of an epoch, so that the next line, with the remaining
    /// time, is not due yet.
    fn is_within_an_epoch(&self) -> bool {
        !self.done[0].is_multiple_of(self.minibatches)
    }

    /// Counts an evaluation that took `seconds`.
    pub fn evaluated(&mut self, seconds: f64) {
        let (count, sum) = self.evaluations;
        self.evaluations = (count + 1, sum + seconds);
    }

    /// Remaining seconds, from the mean times of a mini-batch and of an evaluation in the `elapsed`
    /// seconds of this sitting. Evaluations count once one was measured.
    pub fn remaining(&self, elapsed: f64) -> f64 {
        let ([all, here], (count, evaluation)) = (self.done, self.evaluations);
        let mean = |seconds: f64, count: usize| if count == 0 { 0.0 } else { seconds / count as f64 };
        let minibatches = self.epochs * self.minibatches - all;
        let epoch = all / self.minibatches;
        let last = usize::from(epoch < self.epochs && !self.epochs.is_multiple_of(self.interval));
        let to_come = self.epochs / self.interval - epoch / self.interval + last;
        minibatches as f64 * mean(elapsed - evaluation, here) + to_come as f64 * mean(evaluation, count)
    }
}

/// How a run shows its progress.
#[derive(Clone)]
pub enum Voice {
    /// By itself, with a bar or lines of its own.
    Alone,
    /// Not at all.
    Quiet,
    /// As a part of a longer work, whose line shows it.
    Part(Arc<Whole>),
}

impl From<bool> for Voice {
    fn from(quiet: bool) -> Self {
        if quiet { Voice::Quiet } else { Voice::Alone }
    }
}

impl Voice {
    /// Prints a line, unless it is quiet.
    pub fn say(&self, line: &str) {
        match self {
            Voice::Alone => say(line),
            Voice::Quiet => {}
            Voice::Part(whole) => whole.say(line),
        }
    }
}

/// The console of a run.
pub struct Console {
    bar: Option<ProgressBar>,
    /// The longer work that the run is a part of.
    whole: Option<Arc<Whole>>,
    /// The beginning of each line.
    name: String,
    quiet: bool,
    pace: Pace,
    begun: Instant,
    /// True once the remaining time needs no further line before the end of an epoch.
    timed: bool,
    said: BTreeSet<String>,
}

impl Console {
    /// A console for a run of this pace.
    pub fn new(pace: Pace, voice: Voice) -> Self {
        match voice {
            Voice::Part(whole) => Console { whole: Some(whole), ..Console::with(pace, true, String::new(), |bar| bar) },
            Voice::Alone | Voice::Quiet => Console::with(pace, matches!(voice, Voice::Quiet), String::new(), |bar| bar),
        }
    }

    /// A console for a run among others, whose bars stand below one another. The run may have to
    /// wait for its turn, so that its first estimate of the remaining time comes with an epoch.
    pub fn among(others: &MultiProgress, name: &str, pace: Pace, quiet: bool) -> Self {
        Console { timed: true, ..Console::with(pace, quiet, format!("{name}: "), |bar| others.add(bar)) }
    }

    fn with(pace: Pace, quiet: bool, name: String, place: impl FnOnce(ProgressBar) -> ProgressBar) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let total = (pace.epochs * pace.minibatches) as u64;
            let bar = place(ProgressBar::with_draw_target(Some(total), terminal(Term::buffered_stderr())));
            let style = format!("{name}{{elapsed_precise}} (- {{prefix}}) {{bar:30}} {{percent:>3}}% {{msg}}");
            bar.set_style(ProgressStyle::with_template(&style).expect("the template is right"));
            bar.set_position(pace.done[0] as u64);
            bar
        });
        let (begun, said) = (Instant::now(), BTreeSet::new());
        Console { bar, whole: None, name, quiet, pace, begun, timed: false, said }
    }

    /// Counts `minibatches` more mini-batches as done, and updates the display.
    pub fn step(&mut self, minibatches: usize) {
        self.pace.step(minibatches);
        if let Some(whole) = &self.whole {
            whole.left(self.pace.remaining(self.begun.elapsed().as_secs_f64()));
        } else if let Some(bar) = &self.bar {
            bar.set_prefix(self.remaining());
            bar.inc(minibatches as u64);
        } else if !self.timed && self.pace.is_within_an_epoch() && self.begun.elapsed() > FIRST_WORD {
            self.timed = true;
            self.say(&format!("about {} to go", self.remaining()));
        }
    }

    /// Counts an evaluation that took `seconds`.
    pub fn evaluated(&mut self, seconds: f64) {
        self.pace.evaluated(seconds);
    }

    /// Share of the run that is done.
    pub fn done(&self) -> f64 {
        self.pace.done[0] as f64 / (self.pace.epochs * self.pace.minibatches) as f64
    }

    /// The time to go, in words.
    pub fn remaining(&self) -> String {
        minutes(self.pace.remaining(self.begun.elapsed().as_secs_f64()))
    }

    /// Prints a line, above the bar if there is one. A quiet console without a bar prints nothing.
    pub fn say(&self, line: &str) {
        let name = &self.name;
        if let Some(whole) = &self.whole {
            return whole.say(line);
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| say(&format!("{name}{line}"))),
            None if !self.quiet => say(&format!("{name}{line}")),
            None => {}
        }
    }

    /// Shows a finished epoch (or update). Each kind of warning is printed when it first appears.
    pub fn epoch<R: Record>(&mut self, record: &R) {
        self.timed = true;
        let (losses, number, unit, epochs) = (record.line(), record.number(), R::UNIT, self.pace.epochs);
        match (&self.whole, &self.bar) {
            (Some(_), _) => {} // its line shows the share that is done
            (None, Some(bar)) => bar.set_message(format!("{unit} {number}/{epochs} {losses}")),
            (None, None) => self.say(&format!(
                "{} (- {}) ({} {:.0}%) | {losses}",
                minutes(record.timing().elapsed_seconds),
                self.remaining(),
                number,
                100.0 * number as f64 / epochs as f64
            )),
        }
        for warning in record.warnings() {
            let kind = warning.split(':').next().unwrap_or_default().to_owned();
            if self.said.insert(kind) {
                self.say(&format!("warning: {unit} {number}: {warning}"));
            }
        }
    }

    /// Removes the bar at the end of the run.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Several bars below one another, on standard error.
pub(crate) fn bars() -> MultiProgress {
    MultiProgress::with_draw_target(terminal(Term::buffered_stderr()))
}

/// A drawing target for bars on a terminal that may go away at any time.
pub(super) fn terminal(terminal: impl TermLike + 'static) -> ProgressDrawTarget {
    ProgressDrawTarget::term_like_with_hz(Box::new(Lenient(terminal)), 20)
}

/// A terminal whose errors are dropped. (A bar among several panics at an error.)
#[derive(Debug)]
struct Lenient<T>(T);

impl<T: TermLike> Lenient<T> {
    /// Writes, and ignores an error.
    fn dropping(&self, write: impl FnOnce(&T) -> io::Result<()>) -> io::Result<()> {
        let _ = write(&self.0);
        Ok(())
    }
}

impl<T: TermLike> TermLike for Lenient<T> {
    fn width(&self) -> u16 {
        self.0.width()
    }

    fn height(&self) -> u16 {
        self.0.height()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.dropping(|terminal| terminal.move_cursor_up(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.dropping(|terminal| terminal.move_cursor_down(n))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.dropping(|terminal| terminal.move_cursor_right(n))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.dropping(|terminal| terminal.move_cursor_left(n))
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.dropping(|terminal| terminal.write_line(line))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.dropping(|terminal| terminal.write_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.dropping(T::clear_line)
    }

    fn flush(&self) -> io::Result<()> {
        self.dropping(T::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that went away.
    #[derive(Debug)]
    struct Gone;

    fn gone() -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    impl TermLike for Gone {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            gone()
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            gone()
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            gone()
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            gone()
        }

        fn write_line(&self, _: &str) -> io::Result<()> {
            gone()
        }

        fn write_str(&self, _: &str) -> io::Result<()> {
            gone()
        }

        fn clear_line(&self) -> io::Result<()> {
            gone()
        }

        fn flush(&self) -> io::Result<()> {
            gone()
        }
    }

    #[test]
    fn bars_outlive_their_terminal() {
        let bars = MultiProgress::with_draw_target(terminal(Gone));
        let [one, _other] = [0, 1].map(|_| bars.add(ProgressBar::new(9)));
        one.force_draw();
        one.inc(1);
        assert_eq!(one.suspend(|| 7), 7);
        one.finish_and_clear();
    }
}

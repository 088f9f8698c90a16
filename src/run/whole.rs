//! A work of several stages, shown by one line: its stage, and the time until all of it is done.
use super::console::terminal;
use crate::host::say::{minutes, say};
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(20);

/// The line of a work of several stages. On a terminal it is rewritten, elsewhere it is printed
/// anew now and then.
pub struct Whole {
    bar: Option<ProgressBar>,
    quiet: bool,
    state: Mutex<State>,
}

/// The stage that runs.
struct State {
    /// The stage in words, such as `3 of 6, training the model`.
    stage: String,
    /// The place in the stage, in words.
    at: String,
    /// Seconds that the stage takes from `known` on.
    left: f64,
    known: Instant,
    /// Seconds that all later stages take.
    later: f64,
    said: Instant,
}

impl Whole {
    /// A line that nothing was shown on yet; a quiet one never shows anything.
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, terminal(Term::buffered_stderr()));
            bar.set_style(ProgressStyle::with_template("{elapsed_precise} {wide_msg}").expect("the template is right"));
            bar
        });
        let now = Instant::now();
        let (stage, at) = (String::new(), String::new());
        Whole { bar, quiet, state: Mutex::new(State { stage, at, left: 0.0, known: now, later: 0.0, said: now }) }
    }

    /// Begins a stage that takes about `seconds`, before others that take about `later` seconds.
    pub fn begin(&self, stage: String, seconds: f64, later: f64) {
        let now = Instant::now();
        *self.state() = State { stage, at: String::new(), left: seconds, known: now, later, said: now };
        match &self.bar {
            // The time runs on, too, in a stage that tells nothing.
            Some(bar) => bar.enable_steady_tick(Duration::from_secs(1)),
            None => self.print(),
        }
        self.show();
    }

    /// Learns how many seconds the stage still takes.
    pub fn left(&self, seconds: f64) {
        let now = Instant::now();
        {
            let mut state = self.state();
            (state.left, state.known) = (seconds, now);
        }
        self.show();
    }

    /// Learns where the stage is, in words.
    pub fn at(&self, at: &str) {
        self.state().at = at.to_owned();
        self.show();
    }

    /// Prints a line beside that of the work.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None if self.quiet => {}
            None => say(line),
        }
    }

    /// Removes the line.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.line());
        } else if !self.quiet && self.state().said.elapsed() > EVERY {
            self.print();
        }
    }

    /// Prints the line where there is no terminal.
    fn print(&self) {
        if !self.quiet {
            self.state().said = Instant::now();
            say(&self.line());
        }
    }

    fn line(&self) -> String {
        let state = self.state();
        let left = (state.left - state.known.elapsed().as_secs_f64()).max(0.0) + state.later;
        let at = if state.at.is_empty() { String::new() } else { format!(": {}", state.at) };
        format!("(all of it: about {} to go) {}{at}", minutes(left), state.stage)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

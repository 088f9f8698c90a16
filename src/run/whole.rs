//! A work of one or several stages, shown by one line: the time until all of it is done, the stage,
//! and the share of it that is done.
use super::console::terminal;
use crate::host::say::{minutes, say};
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(20);
/// Share of a stage's planned time after which the measured speed alone tells the time that is
/// left. Until then, the plan counts too: the first steps of a stage are slow.
const SURE: f64 = 0.2;
/// Time from the first word of a share until its speed counts.
const FIRST: Duration = Duration::from_secs(1);

/// The line of a work. On a terminal it is rewritten, elsewhere it is printed anew now and then.
pub struct Whole {
    bar: Option<ProgressBar>,
    /// Number of stages.
    stages: usize,
    /// True if the line is printed where there is no terminal.
    lines: bool,
    quiet: bool,
    state: Mutex<State>,
    /// Notes and warnings so far.
    notes: Mutex<Vec<String>>,
}

/// The stage that runs.
struct State {
    /// Number of the stage, from 1, and the stage in words.
    stage: (usize, String),
    begun: Instant,
    /// The first share that was told, and when.
    first: Option<(Instant, f64)>,
    /// Seconds that the stage takes as planned.
    planned: Option<f64>,
    /// Seconds that the stage takes from `known` on.
    left: Option<f64>,
    known: Instant,
    /// Seconds that all later stages take.
    later: f64,
    said: Instant,
}

impl Whole {
    /// A line of so many stages that nothing was shown on yet; a quiet one never shows anything.
    pub fn new(stages: usize, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, terminal(Term::buffered_stderr()));
            bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is right"));
            bar
        });
        let state = Mutex::new(State::new((0, String::new()), None));
        Whole { bar, stages, lines: !quiet, quiet, state, notes: Mutex::default() }
    }

    /// A line of one stage, shown on a terminal alone.
    pub fn single(words: &str) -> Self {
        let mut whole = Whole::new(1, false);
        whole.lines = false;
        whole.begin(1, words, None);
        whole
    }

    /// Begins stage `number`. `times` are the seconds that it takes and those of all later stages,
    /// about, if they are known.
    pub fn begin(&self, number: usize, words: &str, times: Option<(f64, f64)>) {
        *locked(&self.state) = State::new((number, words.to_owned()), times);
        match &self.bar {
            // A stage that tells nothing is seen to run all the same.
            Some(bar) => bar.enable_steady_tick(Duration::from_secs(1)),
            None => self.print(),
        }
        self.show();
    }

    /// Learns how many seconds the stage still takes by its speed so far.
    pub fn left(&self, seconds: f64) {
        {
            let mut state = locked(&self.state);
            let spent = state.begun.elapsed().as_secs_f64();
            state.left = Some(match state.planned {
                Some(planned) if spent < SURE * planned => {
                    let sure = spent / (SURE * planned);
                    sure * seconds + (1.0 - sure) * (planned - spent)
                }
                _ => seconds,
            });
            state.known = Instant::now();
        }
        self.show();
    }

    /// Learns the share of the stage that is done.
    pub fn done(&self, share: f64) {
        let now = Instant::now();
        let (begun, from) = *locked(&self.state).first.get_or_insert((now, share));
        let spent = now - begun;
        if spent > FIRST && share > from {
            self.left(spent.as_secs_f64() * (1.0 - share) / (share - from));
        }
    }

    /// Prints a line beside that of the work. Notes and warnings are kept for its end.
    pub fn say(&self, line: &str) {
        let mut notes = locked(&self.notes);
        if ["note: ", "warning: "].iter().any(|kind| line.starts_with(kind)) {
            if notes.iter().any(|note| note == line) {
                return;
            }
            notes.push(line.to_owned());
        }
        drop(notes);
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None if self.quiet => {}
            None => say(line),
        }
    }

    /// Notes and warnings that were said, each once.
    pub fn notes(&self) -> Vec<String> {
        locked(&self.notes).clone()
    }

    /// Removes the line.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message(locked(&self.state).line(self.stages));
        } else if locked(&self.state).said.elapsed() > EVERY {
            self.print();
        }
    }

    /// Prints the line where there is no terminal.
    fn print(&self) {
        if self.lines {
            let mut state = locked(&self.state);
            state.said = Instant::now();
            say(&state.line(self.stages));
        }
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.end();
    }
}

impl State {
    fn new(stage: (usize, String), times: Option<(f64, f64)>) -> Self {
        let now = Instant::now();
        let (planned, later) = times.unzip();
        let later = later.unwrap_or_default();
        State { stage, begun: now, first: None, planned, left: planned, known: now, later, said: now }
    }

    /// The line. A terminal that is too narrow cuts off its end, so that the words come last.
    fn line(&self, stages: usize) -> String {
        let (number, words) = &self.stage;
        let stage = if stages > 1 { format!("stage {number} of {stages}") } else { String::new() };
        let Some(left) = self.left else {
            return if stage.is_empty() { words.clone() } else { format!("{stage}: {words}") };
        };
        let left = (left - self.known.elapsed().as_secs_f64()).max(0.0);
        let spent = self.begun.elapsed().as_secs_f64();
        let share = 100.0 * spent / (spent + left).max(f64::MIN_POSITIVE);
        let stage = if stage.is_empty() { stage } else { format!(", {stage}") };
        format!("{} to go{stage} ({share:.0} %): {words}", minutes(left + self.later))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of a stage planned to take 100 s, after `spent` s, before others of 60.5 s.
    fn line(spent: u64, left: f64, stages: usize) -> String {
        let whole = Whole::new(stages, true);
        whole.begin(4, "training the controller", Some((100.0, 60.5)));
        locked(&whole.state).begun -= Duration::from_secs(spent);
        whole.left(left);
        locked(&whole.state).line(stages)
    }

    #[test]
    fn the_line_says_time_stage_and_share_in_forty_columns() {
        let line = line(40, 60.4, 6);
        assert_eq!(line, "2m 00s to go, stage 4 of 6 (40 %): training the controller");
        assert!(line.find(':').unwrap() < 40);
    }

    #[test]
    fn the_time_moves_from_the_plan_to_what_was_measured() {
        // The first steps say that the stage takes ten times as long as planned.
        let left = |spent| line(spent, 1000.5, 1);
        assert!(left(0).starts_with("2m 40s to go (0 %)"), "{}", left(0));
        assert!(left(10).starts_with("10m 05s"), "{}", left(10));
        assert!(left(20).starts_with("17m 40s"), "{}", left(20));
    }

    #[test]
    fn the_speed_of_a_stage_without_a_plan_counts_from_its_first_word() {
        let whole = Whole::new(1, true);
        whole.begin(1, "measuring", None);
        whole.done(0.1);
        assert_eq!(locked(&whole.state).line(1), "measuring");
        locked(&whole.state).first.as_mut().unwrap().0 -= Duration::from_secs(10);
        whole.done(0.6);
        let left = locked(&whole.state).left.unwrap();
        assert!((8.0..8.5).contains(&left), "{left}");
    }

    #[test]
    fn a_note_is_kept_once() {
        let whole = Whole::new(1, true);
        ["note: feet", "a line", "warning: odd", "note: feet"].iter().for_each(|line| whole.say(line));
        assert_eq!(whole.notes(), ["note: feet", "warning: odd"]);
    }
}

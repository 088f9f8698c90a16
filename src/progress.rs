//! What a person sees while a run goes on: a bar on a terminal, a line an epoch elsewhere, both on standard error.
use crate::record::EpochRecord;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeSet;
use std::io::IsTerminal;

/// The console of a run.
pub struct Console {
    bar: Option<ProgressBar>,
    quiet: bool,
    epochs: usize,
    said: BTreeSet<String>,
}

impl Console {
    /// A console for `epochs` epochs of `minibatches` mini-batches, of which `done` mini-batches are done.
    pub fn new(epochs: usize, minibatches: usize, done: usize, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let total = (epochs * minibatches) as u64;
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = "{elapsed_precise} (- {eta_precise}) {bar:30} {percent:>3}% {msg}";
            bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
            bar.set_position(done as u64);
            bar.reset_eta();
            bar
        });
        Console { bar, quiet, epochs, said: BTreeSet::new() }
    }

    /// A mini-batch is done.
    pub fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None if !self.quiet => eprintln!("{line}"),
            None => {}
        }
    }

    /// An epoch is done; each kind of warning is said when it first appears.
    pub fn epoch(&mut self, record: &EpochRecord) {
        let losses =
            format!("Recon: {:.3e} | KL: {:.3e} | PP: {:.3e}", record.recon_loss, record.kl_loss, record.perplexity);
        match &self.bar {
            Some(bar) => bar.set_message(format!("epoch {}/{} {losses}", record.epoch, self.epochs)),
            None => {
                let elapsed = record.timing.elapsed_seconds;
                let remaining = elapsed * self.epochs as f64 / record.epoch as f64 - elapsed;
                self.say(&format!(
                    "{} (- {}) ({} {:.0}%) | {losses}",
                    minutes(elapsed),
                    minutes(remaining),
                    record.epoch,
                    100.0 * record.epoch as f64 / self.epochs as f64
                ));
            }
        }
        for warning in &record.warnings {
            let kind = warning.split(':').next().unwrap_or_default().to_owned();
            if self.said.insert(kind) {
                self.say(&format!("warning: epoch {}: {warning}", record.epoch));
            }
        }
    }

    /// The run ends.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `3m 07s`.
pub fn minutes(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    format!("{}m {:02}s", seconds / 60, seconds % 60)
}

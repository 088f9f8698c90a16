//! `mvae-fast train`: opens run folder and device, trains, and says what came of it.
use super::{TrainArgs, print, run_folder};
use crate::backend;
use crate::config::Config;
use crate::record::EpochRecord;
use crate::run::folder::{Env, RunFolder};
use crate::trainer::{self, Run};
use crate::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Trains as the arguments say; the result goes to standard output.
pub fn train(args: &TrainArgs) -> Result<()> {
    let mut config = args.config()?;
    if args.print_config {
        return print(&config.to_toml());
    }
    args.device.check()?;
    let backend = backend::open("cpu", args.threads.map_or(0, |n| n.get()))?;
    // A run may be resumed from another folder.
    for path in &mut config.data {
        *path = std::path::absolute(&*path).map_err(Error::io(path, "cannot find the folder"))?;
    }
    let threads = args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()), |n| n.get());
    let env = Env::collect(&backend.describe(), threads);
    let folder = match &args.resume {
        Some(run) => RunFolder::resume(&run_folder(&args.runs, run), &env)?,
        None => RunFolder::create(&args.runs, args.name.as_deref(), config.variant, &config.to_toml(), &env)?,
    };
    let path = folder.path().to_owned();
    if !args.quiet {
        eprintln!("run folder {}", path.display());
    }
    let run = Run {
        folder,
        resume: args.resume.is_some(),
        init: args.init.clone(),
        backend: backend.as_ref(),
        quiet: args.quiet,
        stop: stop_flag()?,
    };
    let records = trainer::train(&config, &run)?;
    let Some(last) = records.last() else {
        return print("no epoch was finished\n");
    };
    if args.json {
        let done = last.epoch == config.epochs();
        let result = serde_json::json!({ "run": path, "finished": done, "record": last });
        return print(&format!("{result}\n"));
    }
    print(&summary(&config, last, &path.display().to_string()))
}

/// What a person wants to know at the end.
fn summary(config: &Config, last: &EpochRecord, path: &str) -> String {
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments| writeln!(text, "{args}").expect("memory takes every write");
    let state = if last.epoch == config.epochs() { "trained" } else { "stopped" };
    let elapsed = crate::progress::minutes(last.timing.elapsed_seconds);
    line(format_args!("{state} {} of {} epochs, {} steps, in {elapsed}", last.epoch, config.epochs(), last.step));
    line(format_args!("reconstruction {:.4}, KL {:.3} nats a dimension", last.recon_loss, last.kl_loss));
    if !last.kl_per_latent.is_empty() {
        line(format_args!("{} of {} latent dimensions are active", last.active_units, last.posterior_mean.len()));
    }
    if let Some(v) = &last.validation {
        if let Some(error) = v.one_step_error {
            line(format_args!("held-out one-step error {error:.4}"));
        }
        line(format_args!("{:.0} % of walks from the prior stay in the data's range", 100.0 * v.prior_inside));
    }
    for warning in &last.warnings {
        line(format_args!("warning: {warning}"));
    }
    line(format_args!("run folder: {path}"));
    line(format_args!("next: open {path}/report.html, or `mvae-fast info {path}`"));
    if last.epoch < config.epochs() {
        line(format_args!("continue: mvae-fast train --resume {path}"));
    }
    text
}

/// A flag that becomes the number of the signal (interrupt or terminate) that asked to stop; a second one kills.
fn stop_flag() -> Result<Arc<AtomicUsize>> {
    let stop = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM] {
        let registered = signal_hook::flag::register_usize(signal, stop.clone(), signal as usize);
        registered.map_err(|e| Error::Device(format!("cannot listen for signal {signal}: {e}")))?;
    }
    Ok(stop)
}

//! `mvae-fast train`: opens device, data and run folder, trains, and prints the result.
use super::{TrainArgs, absolute, checkpoint_file, population, print, run_folder};
use crate::checkpoint::Progress;
use crate::config::Config;
use crate::data;
use crate::quality::text::fixed;
use crate::run::folder::{Env, RunFolder};
use crate::run::logs;
use crate::train::record::EpochRecord;
use crate::train::setup::{Setup, Start};
use crate::{Error, Result, host::files, host::progress, train::trainer};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// Trains as the arguments say; the result goes to standard output.
pub fn train(args: &TrainArgs) -> Result<()> {
    let say = |line: String| {
        if !args.quiet {
            progress::say(&line);
        }
    };
    let unheard = args.unheard();
    if !unheard.is_empty() && !args.print_config {
        say(format!("note: --resume goes on as the run was configured, without {}", unheard.join(", ")));
    }
    if !args.print_config
        && let Some(members) = population::members(args)?
    {
        return population::train(args, members);
    }
    let mut config = args.config()?;
    if args.print_config {
        return print(&config.to_toml());
    }
    absolute(&mut config.data)?;
    let backend = args.compute.open()?;

    // All errors in data or checkpoint are found before a new run folder is made.
    let resumed = args.resume.as_deref().map(|run| RunFolder::resume(&run_folder(&args.runs, run))).transpose()?;
    let last = resumed.as_ref().map(RunFolder::last_checkpoint);
    let init = args.init.as_deref().map(|init| checkpoint_file(&args.runs, init)).transpose()?;
    let start = Start::of(last.as_deref(), init.as_ref().map(|(init, _)| init.as_path()));
    let mut setup = Setup::on(&config, backend.as_ref(), start, data::read, &say)?;
    let stop = stop_flag()?;
    let env = Env::collect(&backend.describe(), args.compute.threads());
    let folder = match resumed {
        None => {
            let first = |folder: &RunFolder| setup.save(&folder.last_checkpoint());
            RunFolder::create(&args.runs, args.name.as_deref(), &config.variant.name(), &config.to_toml(), &env, first)?
        }
        Some(folder) => {
            if !setup.finished() {
                folder.add_sitting(&env)?.into_iter().for_each(say);
            }
            folder
        }
    };
    let path = folder.path().display().to_string();
    let records = if setup.finished() {
        say(format!("run folder {path}: all {} epochs are done, nothing to do", config.epochs()));
        let (records, note) = logs::read_metrics(&folder.metrics())?;
        note.into_iter().for_each(say);
        records
    } else {
        say(format!("run folder {path}"));
        trainer::train(&mut setup, &folder, args.quiet, &stop)?
    };

    let last = records.last();
    if args.json {
        let result = serde_json::json!({ "run": path, "finished": setup.finished(), "record": last });
        return print(&format!("{result}\n"));
    }
    match last {
        Some(last) => print(&summary(&config, &setup.at, last, &path)),
        None => print(&format!("no epoch was finished\ncontinue: mvae-fast train --resume {path}\n")),
    }
}

/// The summary that is printed at the end.
fn summary(config: &Config, at: &Progress, last: &EpochRecord, path: &str) -> String {
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments| writeln!(text, "{args}").expect("memory takes every write");
    let state = if last.epoch == config.epochs() { "trained" } else { "stopped" };
    let elapsed = crate::host::progress::minutes(at.elapsed_seconds);
    line(format_args!("{state} {} of {} epochs, {} steps, in {elapsed}", last.epoch, config.epochs(), at.step));
    line(format_args!("{}", last.losses()));
    if let Some(v) = &last.validation {
        if let Some(error) = v.one_step_error {
            line(format_args!("held-out one-step error {error:.4}"));
        }
        let inside = 100.0 * v.prior_inside;
        line(format_args!(
            "{inside:.0} % of walks from the prior stay in the data's range, with {} of its spread",
            fixed(v.prior_rms, 2)
        ));
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

/// A flag that becomes the number of the signal that asks to stop; a second signal kills the
/// process.
pub fn stop_flag() -> Result<Arc<AtomicUsize>> {
    let (stop, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    for signal in signals() {
        flag::register_conditional_shutdown(signal, 128 + signal, asked.clone())
            .and_then(|_| flag::register(signal, asked.clone()))
            .and_then(|_| flag::register_usize(signal, stop.clone(), signal as usize))
            .map_err(|e| Error::Device(format!("cannot listen for signal {signal}: {e}")))?;
    }
    Ok(stop)
}

/// The signals that ask to stop. A signal that the process ignores, such as SIGHUP under `nohup`,
/// is not one of them.
fn signals() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM];
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGHUP, SIGUSR1};
        let about = files::text("/proc/self/status".as_ref(), 1 << 20).unwrap_or_default();
        let ignored = about.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
        let asks = |signal: &i32| ignored.unwrap_or(0) >> (signal - 1) & 1 == 0;
        signals.extend([SIGHUP, SIGUSR1].iter().filter(|signal| asks(signal)));
    }
    signals
}

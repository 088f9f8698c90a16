//! `mvae-fast train --population`: several runs side by side in one process, in one folder.
use super::axis::{Axis, MOST};
use super::print::print_and;
use super::runs::{Kind, all_absolute, checkpoint_file, of_kind, run_folder};
use super::stop::stop_flag;
use super::train::{self, TrainArgs};
use super::usage::usage;
use crate::config::layers::flag;
use crate::config::{Config, Overrides};
use crate::data::{self, Dataset};
use crate::host::say::minutes;
use crate::run::console::{self, Console};
use crate::run::folder::{Env, RunFolder};
use crate::run::record::EpochRecord;
use crate::run::{logs, session};
use crate::train::setup::{Setup, Start};
use crate::train::trainer::{self, Training};
use crate::{Error, Result, host::say, train::population};
use clap::Parser;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Configuration keys of one run.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Own {
    #[command(flatten)]
    keys: Overrides,
}

/// One run of a population.
pub struct Member {
    name: String,
    config: Config,
    /// The folder of a resumed run.
    folder: Option<RunFolder>,
}

/// The runs of a population, or `None` if the arguments ask for a single run. Errors: invalid keys
/// and values.
pub fn members(args: &TrainArgs) -> Result<Option<Vec<Member>>> {
    if args.print_config {
        return Ok(None);
    }
    if let Some(run) = &args.resume {
        let mut paths = RunFolder::members(&run_folder(&args.runs, run, Kind::Model));
        // A controller beside them is none of them.
        paths.retain(|path| RunFolder::open(path).is_ok_and(|folder| of_kind(&folder, Kind::Model, "").is_ok()));
        if args.controller.is_some() && !paths.is_empty() {
            let what = "--controller is for one run, and this folder holds several; give one of them";
            return Err(Error::Usage(what.into()));
        }
        let member = |path: &PathBuf| {
            let folder = RunFolder::resume(path)?;
            Ok(Member { name: folder.name(), config: args.resumed(&folder)?, folder: Some(folder) })
        };
        let members = paths.iter().map(member).collect::<Result<Vec<_>>>()?;
        return Ok(Some(members).filter(|members| !members.is_empty()));
    }
    if args.population.is_empty() {
        return Ok(None);
    }
    let base = args.with(Overrides::default())?;
    // The keys that differ between runs, as words of a command line: all combinations.
    let mut all: Vec<Vec<(&str, String)>> = vec![Vec::new()];
    for axis in &args.population {
        let (key, values) = match axis {
            Axis::Seeds(n) => ("seed", (0..*n as u64).map(|i| base.seed.saturating_add(i).to_string()).collect()),
            Axis::Values(key, values) => (key.as_str(), values.clone()),
        };
        let given = || all.iter().any(|own| own.iter().any(|(other, _)| *other == key));
        if given() || matches!(axis, Axis::Values(..)) && args.overrides.keys().contains(&key) {
            return Err(Error::Usage(format!("--population sets {key}, which is set already; drop one of them")));
        }
        if all.len() * values.len() > MOST {
            return Err(Error::Usage(format!("--population asks for more than {MOST} runs")));
        }
        all = all.iter().flat_map(|own| values.iter().map(|v| [&own[..], &[(key, v.clone())]].concat())).collect();
    }
    let mut members: Vec<Member> = Vec::new();
    for own in &all {
        let words = own.iter().map(|(key, value)| format!("{}={value}", flag(key)));
        let name = |flag: &str| format!("--population {}", flag.trim_start_matches('-'));
        let config = args.with(Own::try_parse_from(words).map_err(|error| usage(&error, name))?.keys)?;
        let values = toml::Table::try_from(&config).expect("a checked configuration can be written");
        let parts = own.iter().map(|(key, _)| format!("{}-{}", key.replace('_', "-"), short(&values[*key])));
        let name = parts.collect::<Vec<_>>().join("-");
        if members.iter().any(|other| other.name == name) {
            return Err(Error::Usage(format!("--population asks for {name} twice; drop one of them")));
        }
        members.push(Member { name, config, folder: None });
    }
    if let Some(begun) = args.begun() {
        for member in &mut members {
            let folder = RunFolder::wait(&begun.join(&member.name))?;
            train::as_begun(&folder, &member.config)?;
            member.folder = Some(folder);
        }
    }
    Ok(Some(members))
}

/// A value in the form used in a run's name.
pub(super) fn short(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Float(number) => number.to_string(),
        other => other.to_string(),
    }
}

/// Trains these runs and prints their results to standard output.
pub fn run(args: &TrainArgs, mut members: Vec<Member>) -> Result<()> {
    all_absolute(members.iter_mut().flat_map(|member| &mut member.config.data))?;
    let begun = args.resume.as_deref().map(|run| run_folder(&args.runs, run, Kind::Model)).or_else(|| args.begun());
    let resumed: Vec<RunFolder> = members.iter_mut().filter_map(|member| member.folder.take()).collect();
    let runs = members.len();
    let backends = args.compute.open_for(runs)?;
    let say = |line: String| {
        if !args.quiet {
            say::say(&line);
        }
    };

    // All errors in data or checkpoints are found before new run folders are made.
    let init = args.init.as_deref().map(|init| checkpoint_file(&args.runs, init, Kind::Model)).transpose()?;
    let (mut setups, mut motion) = (Vec::with_capacity(runs), None);
    for (run, (member, backend)) in members.iter().zip(&backends).enumerate() {
        let last = resumed.get(run).map(RunFolder::last_checkpoint);
        let start = Start::of(last.as_deref(), init.as_ref().map(|(init, _)| init.as_path()));
        setups.push(Setup::on(&member.config, backend.as_ref(), start, |files| read_once(&mut motion, files), &say)?);
    }
    drop(motion);
    let stop = stop_flag()?;
    let env = |run: usize| Env::collect(&backends[run].describe(), args.compute.share(run, runs));
    let resumes = begun.is_some();
    let (path, folders) = match begun {
        Some(path) => {
            for run in (0..runs).filter(|&run| !setups[run].finished()) {
                resumed[run].add_sitting(&env(run))?.into_iter().for_each(say);
            }
            (path, resumed)
        }
        None => {
            let new = |(i, m): (usize, &Member)| (m.name.clone(), m.config.to_toml(), env(i));
            let new: Vec<_> = members.iter().enumerate().map(new).collect();
            let kind = members[0].config.variant.name();
            let first = |run: usize, folder: &RunFolder| setups[run].save(&folder.last_checkpoint());
            RunFolder::create_all(&args.runs, args.name.as_deref(), &kind, &new, first)?
        }
    };

    let left = setups.iter().filter(|setup| !setup.finished()).count();
    let drivers = args.compute.drivers(left);
    say(match left {
        0 => format!("run folder {}: all {runs} models are trained, nothing to do", path.display()),
        _ => format!("run folder {}: {left} models side by side, {drivers} at a time", path.display()),
    });
    match resumes {
        false => trainer::opening(&setups[0]).into_iter().for_each(say),
        true => {
            for (setup, member) in setups.iter().zip(&members).filter(|(setup, _)| !setup.finished()) {
                trainer::opening(setup).iter().for_each(|line| say(format!("{}: {line}", member.name)));
            }
        }
    }
    let (bars, mut trainings, mut trained) = (console::bars(), Vec::new(), Vec::new());
    for (run, (setup, folder)) in setups.iter_mut().zip(&folders).enumerate() {
        if !setup.finished() {
            let console = |pace| Console::among(&bars, &members[run].name, pace, args.quiet);
            trainings.push(Training::new(setup, folder, (&*stop).into(), console)?);
            trained.push(run);
        }
    }
    let outcomes = population::train_all(trainings, drivers);

    let mut failed = Vec::new();
    for (run, outcome) in trained.into_iter().zip(outcomes) {
        if let Err(source) = outcome {
            let error = Error::Member { name: members[run].name.clone(), source: Box::new(source) };
            say(error.to_string());
            failed.push(error);
        }
    }
    let finished = setups.iter().filter(|setup| setup.finished()).count();
    if finished + failed.len() < runs {
        let stopped = setups.iter().find(|setup| !setup.finished()).expect("there is one");
        say(session::stopped_by(&stop, stopped.config.max_minutes, &path)?);
    }
    let rows = members.iter().zip(&folders).map(|(member, folder)| Row::new(&member.name, folder));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let text = if args.json {
        let members: Vec<_> = rows.iter().map(Row::json).collect();
        format!("{}\n", json!({ "run": path, "finished": finished == runs, "members": members }))
    } else {
        let mut text = format!("{finished} of {runs} models are trained, after {}\n", minutes(elapsed(&rows)));
        text += &table(&rows);
        let (path, example) = (path.display(), folders[0].path().display());
        text += &format!("run folder: {path}\nnext: open {example}/report.html, or `mvae-fast info {example}`\n");
        if finished < runs {
            text += &format!("continue: mvae-fast train --resume {path}\n");
        }
        text
    };
    print_and(&text, failed.into_iter().next().map_or(Ok(()), Err))
}

/// The motion in `files`. Runs with the same files share one read.
fn read_once(motion: &mut Option<(Vec<PathBuf>, (Dataset, PathBuf))>, files: &[PathBuf]) -> Result<(Dataset, PathBuf)> {
    if motion.as_ref().is_none_or(|(of, _)| of != files) {
        *motion = Some((files.to_owned(), data::read(files)?));
    }
    Ok(motion.as_ref().expect("it was read").1.clone())
}

/// The results of one run, read from its folder.
pub struct Row {
    name: String,
    path: PathBuf,
    records: Vec<EpochRecord>,
    epochs: usize,
}

impl Row {
    fn new(name: &str, folder: &RunFolder) -> Result<Self> {
        let epochs = Config::load(&folder.config())?.epochs();
        let (records, note) = match folder.metrics().exists() {
            true => logs::read_metrics(&folder.metrics())?,
            false => (Vec::new(), None),
        };
        note.iter().for_each(|note| say::say(note));
        Ok(Row { name: name.to_owned(), path: folder.path().to_owned(), records, epochs })
    }

    /// Number of finished epochs.
    fn done(&self) -> usize {
        self.records.last().map_or(0, |record| record.epoch)
    }

    fn json(&self) -> serde_json::Value {
        json!({ "run": self.path, "finished": self.done() == self.epochs, "record": self.records.last() })
    }
}

/// The results of the runs in a folder. Errors: a run that cannot be read.
pub fn rows(path: &Path) -> Result<Vec<Row>> {
    let row = |path: &PathBuf| {
        let folder = RunFolder::open(path)?;
        Row::new(&folder.name(), &folder)
    };
    RunFolder::members(path).iter().map(row).collect()
}

/// The runs in a folder as JSON.
pub fn rows_json(rows: &[Row]) -> Vec<serde_json::Value> {
    rows.iter().map(Row::json).collect()
}

/// Training time of the longest run, seconds.
fn elapsed(rows: &[Row]) -> f64 {
    let last = rows.iter().filter_map(|row| row.records.last());
    last.map(|record| record.timing.elapsed_seconds).fold(0.0, f64::max)
}

/// A table of the runs: the losses of the last epoch, and the quality measured last.
pub fn table(rows: &[Row]) -> String {
    let head = ["model", "epochs", "reconstruction", "KL", "active", "one-step error", "walks inside"];
    let mut lines = vec![head.map(str::to_owned)];
    for row in rows {
        let Row { name, records, epochs, .. } = row;
        let none = || "-".to_owned();
        let measured = records.iter().rev().find_map(|record| record.validation.as_ref());
        let of_last = |say: &dyn Fn(&EpochRecord) -> String| records.last().map_or_else(none, say);
        lines.push([
            name.clone(),
            format!("{}/{epochs}", row.done()),
            of_last(&|r| format!("{:.4}", r.recon_loss)),
            of_last(&|r| format!("{:.3}", r.kl_loss)),
            of_last(&|r| match r.kl_per_latent.len() {
                0 => none(), // vq
                latents => format!("{}/{latents}", r.active_units),
            }),
            measured.and_then(|v| v.one_step_error).map_or_else(none, |error| format!("{error:.4}")),
            measured.map_or_else(none, |v| format!("{:.0} %", 100.0 * v.prior_inside)),
        ]);
    }
    let widths: Vec<usize> =
        (0..head.len()).map(|i| lines.iter().map(|line| line[i].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for [name, others @ ..] in &lines {
        text += &format!("{name:0$}", widths[0]);
        others.iter().zip(&widths[1..]).for_each(|(word, width)| text += &format!("  {word:>width$}"));
        text += "\n";
    }
    text
}

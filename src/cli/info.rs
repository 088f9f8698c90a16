//! `mvae-fast info`: shows the contents of a run folder or a checkpoint.
use super::population;
use super::print::print;
use super::runs::{Kind, checkpoint_file, run_folder};
use super::sweep;
use crate::checkpoint::foreign::Controller;
use crate::checkpoint::{Checkpoint, Meta};
use crate::config::Variant;
use crate::control::record::UpdateRecord;
use crate::data::mirrored::MIRRORED;
use crate::host::say::say;
use crate::host::shown::counted;
use crate::motion::rig::{METRES, Speeds};
use crate::motion::{Rig, Skeleton};
use crate::ops::world::Task;
use crate::run::logs;
use crate::run::record::{EpochRecord, Record};
use crate::{Error, Result};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Arguments of `info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// A run folder or that of a character or a sweep, its name under --runs, or a checkpoint file
    #[arg(value_name = "RUN|CHECKPOINT")]
    pub path: PathBuf,
    /// Folder that holds the run folders
    #[arg(long, value_name = "DIR", env = "MVAE_RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// Measure that orders the runs of a sweep, the best first
    #[arg(long, value_name = "MEASURE")]
    pub best: Option<String>,
    /// Whether its largest value is the best [default: as its threshold says]
    #[arg(long, value_name = "BOOL", requires = "best")]
    pub largest: Option<bool>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the contents of a run folder (its last checkpoint, else its best, and its last record) or
/// of a checkpoint file. For a folder of runs it prints a comparison.
pub fn info(args: &InfoArgs) -> Result<()> {
    let path = run_folder(&args.runs, &args.path, Kind::Model);
    if sweep::is_sweep(&path) {
        return sweep::info(&path, args.best.as_deref(), args.largest, args.json);
    }
    if let Some(best) = &args.best {
        return Err(Error::Usage(format!("--best {best}: {} is no sweep; drop it", path.display())));
    }
    let members = population::rows(&path)?;
    if !members.is_empty() {
        return print(&match args.json {
            true => format!("{:#}\n", json!({ "path": path, "members": population::rows_json(&members) })),
            false => format!("{}\n{}", path.display(), population::table(&members)),
        });
    }
    let (file, run) = checkpoint_file(&args.runs, &args.path, Kind::Model)?;
    let metrics = run.map(|run| run.metrics()).filter(|metrics| metrics.is_file());
    let (checkpoint, described) = Checkpoint::load_described(&file)?;
    let controls = checkpoint.meta.as_ref().is_some_and(Meta::is_controller);
    let last = match metrics {
        None => None,
        Some(metrics) if controls => last(&metrics, |r: &UpdateRecord| format!("update {}, {}", r.update, r.line()))?,
        Some(metrics) => last(&metrics, |r: &EpochRecord| format!("epoch {} ({}), {}", r.epoch, r.phase, r.losses()))?,
    };

    if args.json {
        let tensors = checkpoint.tensors.iter().map(|t| (t.name.clone(), json!(t.shape)));
        let value = json!({
            "path": path,
            "checkpoint": {
                "file": file,
                "meta": checkpoint.meta,
                "class": described.as_ref().map(|described| &described.class),
                "tensors": tensors.collect::<serde_json::Map<String, Value>>(),
            },
            "record": last.map(|(record, _)| record),
        });
        return print(&format!("{value:#}\n"));
    }
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments| writeln!(text, "{args}").expect("memory takes every write");
    line(format_args!("{}", file.display()));
    match (&checkpoint.meta, described) {
        (Some(meta), _) => describe(meta, &mut line),
        (None, None) => line(format_args!("a state dict without metadata, for --init")),
        (None, Some(described)) => {
            let Controller { sizes: [sees, acts], hidden_size, frame_skip, .. } =
                Controller::of(&file, &described, &checkpoint.tensors)?;
            line(format_args!("a controller of the public implementation ({})", described.class));
            line(format_args!("sees {sees} numbers, acts by {acts}, hidden {hidden_size}, frame skip {frame_skip}"));
        }
    }
    let parameters = checkpoint.tensors.iter().filter(|t| !is_state(&t.name));
    let count: usize = parameters.clone().map(|t| t.shape.iter().product::<usize>()).sum();
    line(format_args!("{count} parameters in {} tensors:", parameters.clone().count()));
    parameters.for_each(|t| line(format_args!("  {} {:?}", t.name, t.shape)));
    last.iter().flat_map(|(_, lines)| lines).for_each(|text| line(format_args!("{text}")));
    print(&text)
}

/// The last record of a run, and its lines: `words`, then its warnings.
fn last<R: Record>(metrics: &Path, words: impl Fn(&R) -> String) -> Result<Option<(Value, Vec<String>)>> {
    let (records, note) = logs::read_metrics::<R>(metrics)?;
    note.iter().for_each(|note| say(note));
    Ok(records.last().map(|record| {
        let warnings = record.warnings().iter().map(|warning| format!("warning: {warning}"));
        let lines = [format!("last record: {}", words(record))].into_iter().chain(warnings).collect();
        (json!(record), lines)
    }))
}

/// True if a tensor is state around the model (optimiser, trainer, normalisation, world,
/// exploration or task) and not a parameter of it.
fn is_state(name: &str) -> bool {
    ["adam.", "trainer.", "normalization.", "world.", "explore.", "task."].iter().any(|prefix| name.starts_with(prefix))
}

fn describe(meta: &Meta, line: &mut impl FnMut(std::fmt::Arguments)) {
    let m = &meta.model;
    let said = |key: &str| meta.config.get(key).and_then(Value::as_str).unwrap_or("?");
    let by = if meta.version.starts_with(|c: char| c.is_ascii_digit()) { "version " } else { "" };
    if meta.is_controller() {
        let task = Task::read(said("task"));
        let about = task.as_ref().map_or("?", |task| task.info().about);
        let task = task.as_ref().map_or("?", |task| task.name());
        line(format_args!("a controller: task {task} ({about}), written by version {}", meta.version));
        line(format_args!("acts in {}, model {}", said("vae"), m.variant.name()));
    } else {
        line(format_args!("model {}, written by {by}{}", m.variant.name(), meta.version));
    }
    let parts = match m.variant {
        Variant::Mixture => format!(", experts {}, gate hidden {}", m.experts, m.gate_hidden_size),
        Variant::Specialist => format!(", experts {}", m.experts),
        Variant::Vq => format!(", codes {}", m.codes),
        Variant::Posevae => String::new(),
    };
    line(format_args!(
        "sizes: frame {}, latent {}, hidden {}{parts}, condition frames {}, future predictions {}",
        m.frame_size, m.latent_size, m.hidden_size, m.condition_frames, m.future_predictions
    ));
    line(format_args!("normalisation {:?}", meta.normalization));
    if let Some(rig) = &meta.rig {
        describe_rig(rig, &meta.clip_names, line);
    }
    match &meta.progress {
        Some(p) if meta.is_controller() => line(format_args!("trained {} updates, {} steps", p.epoch - 1, p.step)),
        Some(p) => {
            let next = match (p.minibatch, p.rollout_step) {
                (0, 0) => String::new(),
                (done, 0) => format!(", the next to mini-batch {done}"),
                (done, step) => format!(", the next to mini-batch {done} and step {step} of the one behind it"),
            };
            line(format_args!("trained {}{next}: {}", counted(p.epoch - 1, "epoch"), counted(p.step as usize, "step")))
        }
        None => {}
    }
}

/// Describes the rig of a model's poses: skeleton, heights, speeds, training clips and terms of
/// use.
fn describe_rig(rig: &Rig, clips: &[String], line: &mut impl FnMut(std::fmt::Arguments)) {
    let metres = |feet: f64| METRES * feet;
    let speed = |feet: f64| METRES * feet * rig.fps;
    let Skeleton { names, hips, toes, .. } = &rig.skeleton;
    let [left, right] = toes.map(|toe| &names[toe]);
    line(format_args!(
        "skeleton: {} joints, hips {}, toes {left} and {right}; {} frames a second",
        names.len(),
        names[*hips],
        rig.fps
    ));
    let [left, right] = rig.toe_floors.map(metres);
    line(format_args!("hips at {:.2} m, toes on the ground at {left:.3} and {right:.3} m", metres(rig.hip_height)));
    let Speeds { median, q75, q95 } = rig.speeds;
    line(format_args!(
        "moves at {:.2} m/s (median), {:.2} (75 %), {:.2} (95 %)",
        speed(median),
        speed(q75),
        speed(q95)
    ));
    if !clips.is_empty() {
        let mirrored = clips.iter().any(|name| name.ends_with(MIRRORED));
        let mirrored = if mirrored { " and mirror images" } else { "" };
        line(format_args!("trained on a set of {}, held-out ones{mirrored} among them", counted(clips.len(), "clip")));
    }
    for terms in &rig.terms {
        line(format_args!("terms of the motion: {terms}"));
    }
}

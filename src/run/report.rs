//! `report.html`: a run in one self-contained page. Numbers and text are filled in here; the page's
//! script draws the curves.
use super::folder::RunFolder;
use super::player::{self, Motion};
use crate::Result;
use crate::host::atomic;
use crate::host::template;
use crate::run::record::{EpochRecord, Record};
use serde::Serialize;
use serde_json::json;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

const PAGE: &str = include_str!("report/page.html");
/// The style of all pages.
pub(crate) const STYLE: &str = include_str!("report/page.css");
const CHARTS: &str = include_str!("report/charts.js");
const SCRIPT: &str = include_str!("report/page.js");
const LIVE: &str = include_str!("report/live.js");
/// Largest error that is drawn (features have variance 1). Larger errors are drawn as this value,
/// so that one exploding rollout does not hide the rest.
const EXPLODED: f64 = 10.0;

/// Largest number of epochs in a heat map; the last epoch is always among them.
const COLUMNS: usize = 240;

/// Files and folders that a run folder may hold, each with its purpose.
pub const FILES: [(&str, &str); 7] = [
    ("checkpoints/best.safetensors", "smallest held-out error"),
    ("checkpoints/last.safetensors", "what --resume goes on from"),
    ("config.toml", "the whole configuration"),
    ("env.json", "the machine, versions and command line"),
    ("metrics.jsonl", "every number of every epoch"),
    ("progress.csv", "losses, in the reference's columns"),
    ("tensorboard", "for tensorboard --logdir"),
];

/// A record that a page can be made from.
pub trait Reported: Record {
    /// The kind of thing that was trained.
    const TITLE: &'static str;
    /// The table of final numbers.
    fn numbers(records: &[Self]) -> Vec<(&'static str, String)>;
    /// The data that the page's script draws; its fields are read by name in `page.js`.
    fn curves(records: &[Self]) -> serde_json::Value;
}

/// Writes the page of a run, whole. `configuration` holds the main settings as
/// (name, value). The page of a run that goes on reloads itself after `every` seconds.
pub fn write<R: Reported>(
    folder: &RunFolder,
    configuration: &[(&str, String)],
    records: &[R],
    motion: &Motion,
    every: Option<f64>,
) -> Result<()> {
    let files = FILES.into_iter().filter(|(file, _)| folder.path().join(file).exists()).collect::<Vec<_>>();
    let page = page(&folder.name(), configuration, records, motion, &files, every);
    atomic::write(&folder.report(), page.as_bytes())
}

/// The page. `files` are linked by their paths relative to the run folder. `every` is that of
/// [`write()`].
pub fn page<R: Reported>(
    name: &str,
    configuration: &[(&str, String)],
    records: &[R],
    motion: &Motion,
    files: &[(&str, &str)],
    every: Option<f64>,
) -> String {
    let state = match records.last() {
        Some(last) => {
            let elapsed = duration(last.timing().elapsed_seconds);
            format!("{} {}, {} steps, {elapsed}", R::UNIT, last.number(), last.step())
        }
        None => format!("no {} is done yet", R::UNIT),
    };
    let part = |key: &str| match key {
        "name" => escape(name),
        "title" => R::TITLE.to_owned(),
        "state" => escape(&state),
        "warnings" => warnings(records),
        "numbers" => rows(&R::numbers(records)),
        "configuration" => rows(configuration),
        "files" => files
            .iter()
            .map(|(file, about)| format!("<li><a href=\"{file}\">{file}</a>: {}</li>\n", escape(about)))
            .collect(),
        "motion-note" => escape(&motion.note),
        "style" => [STYLE, player::STYLE].concat(),
        "data" => json(&R::curves(records)),
        "renewed" => json(&every.map(|every| json!({ "at": seconds(), "every": every }))),
        "motion" => json(&motion.tracks),
        "scripts" => [CHARTS].into_iter().chain(player::STEERING).chain([player::PLAYER, SCRIPT, LIVE]).collect(),
        other => unreachable!("report.html asks for {other}"),
    };
    template::page(PAGE, part)
}

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The warnings of the last epoch, or of the last epoch that had some.
fn warnings<R: Reported>(records: &[R]) -> String {
    if records.is_empty() {
        return String::new();
    }
    let Some(warned) = records.iter().rfind(|record| !record.warnings().is_empty()) else {
        return "<p class=\"good\">The training gave no warnings.</p>".to_owned();
    };
    let items: String = warned.warnings().iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
    let gone = match records.last() {
        Some(last) if last.number() != warned.number() => format!(
            "<p class=\"good\">No warnings in {unit} {}. The last were in {unit} {}:</p>",
            last.number(),
            warned.number(),
            unit = R::UNIT
        ),
        _ => String::new(),
    };
    format!("{gone}<ul class=\"warnings\">{items}</ul>{}", history(records))
}

/// The epochs of each kind of warning, with its latest text; empty when each kind appeared only
/// once.
fn history<R: Reported>(records: &[R]) -> String {
    let mut kinds: Vec<(&str, &str, Vec<Range<usize>>)> = Vec::new();
    for record in records {
        for warning in record.warnings() {
            let kind = warning.split(':').next().unwrap_or_default();
            let at = kinds.iter().position(|known| known.0 == kind).unwrap_or_else(|| {
                kinds.push((kind, warning, Vec::new()));
                kinds.len() - 1
            });
            let (_, words, times) = &mut kinds[at];
            *words = warning;
            match times.last_mut() {
                Some(run) if run.end == record.number() => run.end += 1,
                _ => times.push(record.number()..record.number() + 1),
            }
        }
    }
    if kinds.iter().all(|(.., times)| matches!(&times[..], [only] if only.len() == 1)) {
        return String::new();
    }
    let span = |run: &Range<usize>| match run.len() {
        1 => run.start.to_string(),
        _ => format!("{} to {}", run.start, run.end - 1),
    };
    let items: String = kinds
        .iter()
        .map(|(_, words, times)| {
            let times = times.iter().map(span).collect::<Vec<_>>().join(", ");
            format!("<li>{}s {times}: {}</li>", R::UNIT, escape(words))
        })
        .collect();
    format!("<details class=\"soft\"><summary>Warnings of all {}s</summary><ul>{items}</ul></details>", R::UNIT)
}

impl Reported for EpochRecord {
    const TITLE: &'static str = "Motion VAE training";

    fn numbers(records: &[Self]) -> Vec<(&'static str, String)> {
        numbers(records)
    }

    fn curves(records: &[Self]) -> serde_json::Value {
        data(records)
    }
}

/// The table of final numbers.
fn numbers(records: &[EpochRecord]) -> Vec<(&'static str, String)> {
    let Some(last) = records.last() else {
        return Vec::new();
    };
    let latents = last.posterior_mean.len();
    let mut rows = vec![
        ("Reconstruction, training (mean squared error, weighted)", number(last.recon_loss)),
        ("KL (nats a latent dimension; vq: codebook loss)", number(last.kl_loss)),
        ("KL weight", number(last.kl_weight)),
    ];
    if latents > 0 {
        rows.push(("Active latent units", format!("{} of {latents}", last.active_units)));
    }
    if last.perplexity > 0.0 {
        rows.push(("Codebook perplexity", number(last.perplexity)));
    }
    rows.push(("Gradient norm", number(last.grad_norm)));
    if let Some((epoch, validation)) =
        records.iter().rev().find_map(|record| Some((record.epoch, record.validation.as_ref()?)))
    {
        let error = |error: Option<f64>| error.map_or("no clip, or too short ones".to_owned(), number);
        let inside = 100.0 * validation.prior_inside;
        rows.extend([
            ("Held-out quality measured in epoch", epoch.to_string()),
            ("Held-out one-step error (mean squared)", error(validation.one_step_error)),
            ("Held-out error at frame 30 of rollouts", error(validation.rollout_30_error)),
            ("Held-out error at frame 300 of rollouts", error(validation.rollout_300_error)),
            ("Rollouts from the prior that stay in range", format!("{inside:.1} %")),
            ("Spread of their poses at frame 300 (data: 1)", number(validation.prior_rms)),
        ]);
    }
    rows.extend([
        ("Speed (samples a second)", number(last.timing.samples_per_second)),
        ("Training time", duration(last.timing.elapsed_seconds)),
    ]);
    rows
}

fn rows(rows: &[(&str, String)]) -> String {
    rows.iter().map(|(name, value)| format!("<tr><th>{}</th><td>{}</td></tr>\n", escape(name), escape(value))).collect()
}

/// JSON in a form that cannot end the script element around it.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what the page draws is plain data").replace('<', "\\u003c")
}

/// All curves that the script draws. Numbers that are not finite become null, which is drawn as a
/// gap.
fn data(records: &[EpochRecord]) -> serde_json::Value {
    /// Fields are read by name in report.html.
    #[derive(Serialize)]
    struct Curves<'a> {
        unit: &'static str,
        epoch: Vec<usize>,
        phase: Vec<&'a str>,
        recon_loss: Vec<f32>,
        one_step_error: Vec<Option<f32>>,
        rollout_30_error: Vec<Option<f32>>,
        rollout_300_error: Vec<Option<f32>>,
        kl_loss: Vec<f32>,
        kl_weight: Vec<f32>,
        active_units: Vec<usize>,
        perplexity: Vec<f32>,
        learning_rate: Vec<f32>,
        student_probability: Vec<f32>,
        grad_norm: Vec<f32>,
        gate_entropy: Vec<f32>,
        samples_per_second: Vec<f32>,
        kl_per_latent: Vec<f32>,
        posterior_mean: Vec<f32>,
        posterior_std: Vec<f32>,
        expert_usage: Vec<f32>,
        prior_inside: Vec<Option<f32>>,
        prior_rms: Vec<Option<f32>>,
        prior_1800_inside: Vec<Option<f32>>,
        prior_1800_rms: Vec<Option<f32>>,
        /// Epochs of the heat maps, whose fields end in `_over`.
        sampled: Vec<usize>,
        kl_per_latent_over: Vec<Vec<f32>>,
        posterior_mean_over: Vec<Vec<f32>>,
        posterior_std_over: Vec<Vec<f32>>,
        expert_usage_over: Vec<Vec<f32>>,
    }
    let curve = |field: fn(&EpochRecord) -> f64| records.iter().map(|record| field(record) as f32).collect::<Vec<_>>();
    let measured = |field: fn(&crate::run::record::Validation) -> Option<f64>| {
        let field = |record: &EpochRecord| Some(field(record.validation.as_ref()?)?.min(EXPLODED) as f32);
        records.iter().map(field).collect::<Vec<_>>()
    };
    let last = |field: fn(&EpochRecord) -> &Vec<f64>| {
        records.last().map_or(Vec::new(), |last| field(last).iter().map(|x| *x as f32).collect())
    };
    let (count, columns) = (records.len(), records.len().min(COLUMNS));
    let sampled: Vec<&EpochRecord> = (0..columns).map(|i| &records[(i + 1) * count / columns - 1]).collect();
    let over = |field: fn(&EpochRecord) -> &Vec<f64>| {
        let short = |record: &&EpochRecord| field(record).iter().map(|&x| short(x)).collect();
        sampled.iter().map(short).collect()
    };
    let curves = Curves {
        unit: EpochRecord::UNIT,
        epoch: records.iter().map(|record| record.epoch).collect(),
        phase: records.iter().map(|record| record.phase.as_str()).collect(),
        recon_loss: curve(|record| record.recon_loss),
        one_step_error: measured(|validation| validation.one_step_error),
        rollout_30_error: measured(|validation| validation.rollout_30_error),
        rollout_300_error: measured(|validation| validation.rollout_300_error),
        kl_loss: curve(|record| record.kl_loss),
        kl_weight: curve(|record| record.kl_weight),
        active_units: records.iter().map(|record| record.active_units).collect(),
        perplexity: curve(|record| record.perplexity),
        learning_rate: curve(|record| record.learning_rate),
        student_probability: curve(|record| record.student_probability),
        grad_norm: curve(|record| record.grad_norm),
        gate_entropy: curve(|record| record.gate_entropy),
        samples_per_second: curve(|record| record.timing.samples_per_second),
        kl_per_latent: last(|record| &record.kl_per_latent),
        posterior_mean: last(|record| &record.posterior_mean),
        posterior_std: last(|record| &record.posterior_std),
        expert_usage: last(|record| &record.expert_usage),
        prior_inside: measured(|validation| Some(validation.prior_inside)),
        prior_rms: measured(|validation| Some(validation.prior_rms)),
        prior_1800_inside: measured(|validation| Some(validation.prior_1800.as_ref()?.inside)),
        prior_1800_rms: measured(|validation| Some(validation.prior_1800.as_ref()?.rms)),
        sampled: sampled.iter().map(|record| record.epoch).collect(),
        kl_per_latent_over: over(|record| &record.kl_per_latent),
        posterior_mean_over: over(|record| &record.posterior_mean),
        posterior_std_over: over(|record| &record.posterior_std),
        expert_usage_over: over(|record| &record.expert_usage),
    };
    serde_json::to_value(&curves).expect("curves are plain data")
}

/// A number with three significant digits, which is enough for a colour.
fn short(x: f64) -> f32 {
    format!("{x:.2e}").parse().expect("a number that was written is read")
}

/// A number with four significant digits, with an exponent where it would be long.
pub fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e6).contains(&size) => format!("{x:.3e}"),
        size => format!("{x:.*}", (3 - size.log10().floor() as i32).max(0) as usize),
    }
}

/// Hours, minutes and seconds in words.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

//! `mvae-fast eval`: measures a trained model and compares it with thresholds.
use super::compute::Compute;
use super::print::print_and;
use super::runs::trained;
use super::thresholds::GateArg;
use crate::infer::trained::Trained;
use crate::quality::thresholds::{self, Thresholds, Verdict};
use crate::quality::{Bench, PaperTable, Quality, WalkOptions};
use crate::run::whole::Whole;
use crate::{Error, Result};
use std::num::NonZeroUsize;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  mvae-fast eval walk
  mvae-fast eval walk --json > walk.json
  mvae-fast eval walk --gate                 exit 5 unless the built-in thresholds are met
  mvae-fast eval walk --gate=mine.toml       thresholds of your own, such as: inside = 0.95
  mvae-fast eval walk --data other.npz       on motion the model has never seen

docs/math.md defines every number.";

/// Arguments of `eval`.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// A run folder or that of a character, its name under --runs, or a checkpoint file
    #[arg(value_name = "RUN|CHECKPOINT")]
    pub run: PathBuf,
    /// npz file of motion to compare with (may be repeated) [default: what the model was trained
    /// on]
    #[arg(long, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Walks with latents from the prior
    #[arg(long, value_name = "N", default_value = "512")]
    pub walks: NonZeroUsize,
    /// Frames of each walk
    #[arg(long, value_name = "N", default_value = "1800")]
    pub frames: NonZeroUsize,
    /// Seed of starts and latents
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// The thresholds that the model must meet.
    #[command(flatten)]
    pub gate: GateArg,
    /// Folder that holds the run folders
    #[arg(long, value_name = "DIR", env = "MVAE_RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// The device to compute on, and how.
    #[command(flatten)]
    pub compute: Compute,
    /// Print the paper's Table 1, too: foot skate by its formula, beside the data's
    #[arg(long)]
    pub paper: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Largest number of frames of all walks together.
const MAX_FRAMES: usize = 1 << 28;
/// Smallest number of frames of a walk: speeds are measured from frame 30 on.
const MIN_FRAMES: usize = 60;

/// Measures a model beside this motion, or beside what it was trained on, and compares the numbers
/// with a gate. `whole` shows how far it is. Errors: motion that cannot be read or does not fit,
/// those of the device.
pub(super) fn measure(
    trained: Trained,
    data: &[PathBuf],
    compute: &Compute,
    options: &WalkOptions,
    gate: Option<&Thresholds>,
    whole: &Whole,
) -> Result<(Quality, Vec<Verdict>)> {
    let source = trained.source(data)?;
    let backend = compute.open()?;
    let report = Bench::new(trained, source, backend.as_ref())?.measure(options, &|share| whole.done(share))?;
    let verdicts = gate.map(|gate| gate.judge(&report.measured())).unwrap_or_default();
    Ok((report, verdicts))
}

/// Refuses walks that are too short, or too many frames in all.
pub(super) fn walks_fit(walks: usize, frames: usize) -> Result<()> {
    if walks > 0 && frames >= MIN_FRAMES && walks.checked_mul(frames).is_some_and(|all| all <= MAX_FRAMES) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--walks {walks} of --frames {frames}: expected at least {MIN_FRAMES} frames, and at most {MAX_FRAMES} in all"
    )))
}

/// Evaluates as the arguments say.
pub fn eval(args: &EvalArgs) -> Result<()> {
    let (walks, frames) = (args.walks.get(), args.frames.get());
    walks_fit(walks, frames)?;
    let gate: Option<Thresholds> = args.gate.load("docs/guide.md")?;
    let trained = trained(&args.runs, &args.run)?;
    let file = trained.path.clone();
    let options = WalkOptions { walks, frames, seed: args.seed };
    let whole = Whole::single(&format!("measuring {}", file.display()));
    let (report, verdicts) = measure(trained, &args.data, &args.compute, &options, gate.as_ref(), &whole)?;
    whole.end();
    let text = match args.json {
        true => {
            let result = serde_json::json!({ "checkpoint": file, "report": report, "gate": verdicts });
            format!("{result:#}\n")
        }
        false if args.paper => format!("{}\n{report}{}", file.display(), PaperTable(&report)),
        false => format!("{}\n{report}", file.display()),
    };
    print_and(&text, thresholds::verdict(&verdicts))
}

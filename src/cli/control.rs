//! `mvae-fast control`: trains and measures policies that steer a trained decoder.
use super::compute::Compute;
use super::pilot::{EffortArgs, ForeignArgs, Pilot, controller};
use super::print::{print, print_and};
use super::runs::{
    self, Done, Kind, Sitting, absolute, all_absolute, checkpoint_file, continued, not_as_written, of_kind, run_folder,
};
use super::thresholds::GateArg;
use super::variables::OfControl;
use crate::backend::Backend;
use crate::config::layers;
use crate::control::config::{Overrides, PolicyConfig, Preset};
use crate::control::course::path::Shape;
use crate::control::evaluate::{Comparison, Number, PAPER_SECONDS, PaperTables, compare};
use crate::control::record::UpdateRecord;
use crate::control::setup::PolicySetup;
use crate::control::thresholds::PolicyThresholds;
use crate::control::trainer;
use crate::host::toml as toml_file;
use crate::ops::world::Task;
use crate::quality::gait::{Gait, GaitReport};
use crate::quality::thresholds::{self, Verdict};
use crate::run::console::Voice;
use crate::run::folder::RunFolder;
use crate::run::session::Watch;
use crate::run::whole::Whole;
use crate::{Error, Result};
use clap::{Args, Subcommand};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The text below the help of `control train`.
pub const EXAMPLES: &str = "\
Examples:
  mvae-fast control train --task target --vae walk --name catch
  mvae-fast control train --task joystick --vae walk --characters 512
  mvae-fast control train --task path --path slalom --vae walk
  mvae-fast control train --task mine.toml --vae walk    your own task, from terms
  mvae-fast control train --task maze --maze office.toml --lower catch --vae walk
  mvae-fast control train --resume catch
  mvae-fast control eval catch
  mvae-fast control eval catch --gate    exit 5 unless the built-in thresholds are met
  mvae-fast control eval --planner target --vae walk    control without learning, by the same measures

Every key of the configuration is a flag (--characters), an environment variable (MVAE_CHARACTERS) and a
line of a file given with --config (characters = 512); flags win over the environment, the environment
over the file, the file over --preset.";

/// The commands under `control`.
#[derive(Debug, Subcommand)]
pub enum ControlCommand {
    /// Train a policy that makes a trained decoder do what a task asks for
    #[command(after_help = EXAMPLES)]
    Train(Box<TrainArgs>),
    /// Measure a trained policy, or a planner, beside latents from the prior
    Eval(Box<EvalArgs>),
    /// Say which tasks there are
    List,
}

/// Flags of both commands: the folder of runs, the device, and the form of the result.
#[derive(Debug, Args)]
pub struct Where {
    /// Folder that holds the run folders
    #[arg(long, value_name = "DIR", env = "MVAE_RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// The device to compute on, and how.
    #[command(flatten)]
    pub compute: Compute,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `control train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Name of the run folder (default: made from the date and the task)
    #[arg(long)]
    pub name: Option<String>,
    /// Continue this run (a folder, or its name under --runs) where it stopped
    #[arg(long, value_name = "RUN", conflicts_with_all = ["name", "config", "preset"])]
    pub resume: Option<PathBuf>,
    /// Continue the run of --name if there is one, else start it: so that the same command may be
    /// given again and again
    #[arg(long, requires = "name", conflicts_with = "resume")]
    pub resume_or_start: bool,
    /// TOML file of configuration keys, such as a run's config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where every key starts from (default: default)
    #[arg(long)]
    pub preset: Option<Preset>,
    /// Show the run in a browser while it trains: prints an address on this machine
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    pub serve: Option<u16>,
    /// Print no progress
    #[arg(long)]
    pub quiet: bool,
    /// Print the configuration as TOML and stop
    #[arg(long)]
    pub print_config: bool,
    /// The folder of runs, the device, and the form of the result.
    #[command(flatten)]
    pub at: Where,
    /// Configuration keys from flags.
    #[command(flatten)]
    pub overrides: Overrides,
    /// The configuration that the environment gives.
    #[arg(skip)]
    pub environment: OfControl,
}

/// Arguments of `control eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Run folder of a controller, its name under --runs, or a controller of the public
    /// implementation
    #[arg(value_name = "RUN|CHECKPOINT", required_unless_present = "plan")]
    pub run: Option<PathBuf>,
    /// Measure control without learning for this task in the decoder --vae: before each step, a
    /// character tries sequences of latents from the prior, and takes the first of the best one
    #[arg(id = "plan", long = "planner", value_name = "TASK", conflicts_with_all = ["run", "task", "lower"], requires = "vae")]
    pub planner: Option<String>,
    /// Amount of planning.
    #[command(flatten)]
    pub effort: EffortArgs,
    /// Task and decoder of a controller of the public implementation.
    #[command(flatten)]
    pub foreign: ForeignArgs,
    /// npz file of motion that a planner or a controller of the public implementation starts from
    /// (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Characters side by side
    #[arg(long, value_name = "N", default_value = "100")]
    pub characters: NonZeroUsize,
    /// Seed of the episode
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Print the paper's Tables 1 and 2, too: foot skate beside the data's, and how fast it turns
    #[arg(long)]
    pub paper: bool,
    /// The thresholds that the controller must meet.
    #[command(flatten)]
    pub gate: GateArg,
    /// The folder of runs, the device, and the form of the result.
    #[command(flatten)]
    pub at: Where,
}

/// Runs one of the commands under `control`.
pub fn control(command: &ControlCommand) -> Result<()> {
    match command {
        ControlCommand::Train(args) => train(args),
        ControlCommand::Eval(args) => eval(args),
        ControlCommand::List => tasks(),
    }
}

impl TrainArgs {
    /// The configuration from flags, environment, file and preset, in which the runs of `vae` and
    /// `lower` become the paths of their checkpoints. With `--resume` it is the run's own
    /// configuration, of which flags and environment may change only [`PolicyConfig::FREE`] keys.
    fn config(&self) -> Result<PolicyConfig> {
        let (mut flags, mut environment) = (self.overrides.clone(), self.environment.keys.clone());
        if self.resume.is_some() {
            let Overrides { checkpoint_every, max_minutes, .. } = environment;
            environment = Overrides { checkpoint_every, max_minutes, ..Overrides::default() };
        }
        for keys in [&mut flags, &mut environment] {
            for (run, kind) in [(&mut keys.vae, Kind::Model), (&mut keys.lower, Kind::Controller)] {
                let Some(run) = run else { continue };
                *run = absolute(checkpoint_file(&self.at.runs, run, kind)?.0)?;
            }
            all_absolute(&mut keys.maze)?;
            if let Some(path) = keys.path.as_mut().filter(|path| Shape::named(path).is_none()) {
                *path = absolute(&*path)?.display().to_string();
            }
        }
        let Some(run) = &self.resume else {
            let text = self.config.as_deref().map(toml_file::read).transpose()?;
            let file = self.config.as_deref().zip(text.as_deref());
            return PolicyConfig::layered(self.preset.or(self.environment.preset), file, &environment, &flags);
        };
        let folder = RunFolder::open(&run_folder(&self.at.runs, run, Kind::Controller))?;
        of_kind(&folder, Kind::Controller, "go on with it by mvae-fast train --resume")?;
        let file = folder.config();
        let restore = not_as_written(&file);
        let text = toml_file::read(&file).map_err(restore)?;
        let own = PolicyConfig::load(&file).map_err(restore)?;
        let given = PolicyConfig::layered(None, Some((&file, &text)), &environment, &flags)?;
        match own.differences(&given).iter().find(|key| !PolicyConfig::FREE.contains(key)) {
            None => Ok(given),
            Some(key) => Err(Error::Usage(format!(
                "--resume goes on as the run was configured, which {} would change; \
                 drop it, or start a new run with --config {}",
                layers::flag(key),
                file.display()
            ))),
        }
    }
}

fn train(args: &TrainArgs) -> Result<()> {
    let config = args.config()?;
    if args.print_config {
        return print(&config.to_toml());
    }
    let begun = runs::begun(args.resume_or_start, &args.at.runs, args.name.as_deref());
    let folder = continued(&args.at.runs, args.resume.as_deref(), begun.as_deref(), Kind::Controller)?;
    if let (Some(_), Some(folder)) = (begun, &folder) {
        as_begun(folder, &config)?;
    }
    let sitting = Sitting {
        runs: &args.at.runs,
        name: args.name.as_deref(),
        compute: &args.at.compute,
        serve: args.serve,
        stop: None,
        until: None,
        voice: args.quiet.into(),
    };
    let Done { folder, finished, records } = sit(&sitting, folder, &config)?;
    let (last, path) = (records.last(), folder.path().display().to_string());
    if args.at.json {
        let result = serde_json::json!({ "run": path, "finished": finished, "record": last });
        return print(&format!("{result}\n"));
    }
    let mut text = match last {
        None => "no update was finished\n".to_owned(),
        Some(last) => {
            let state = if finished { "trained" } else { "stopped" };
            let elapsed = crate::host::say::minutes(last.timing.elapsed_seconds);
            let (update, updates, steps) = (last.update, config.updates(), last.num_steps);
            let warnings: String = last.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
            format!(
                "{state} {update} of {updates} updates, {steps} environment steps, in {elapsed}\n\
                 reward {:.4} a step\n{warnings}run folder: {path}\n\
                 next: mvae-fast control eval {path}, or open {path}/report.html\n",
                last.step_reward
            )
        }
    };
    if !finished {
        text += &format!("continue: mvae-fast control train --resume {path}\n");
    }
    print(&text)
}

/// Refuses to continue a run that was not begun with this configuration.
pub(super) fn as_begun(folder: &RunFolder, config: &PolicyConfig) -> Result<()> {
    of_kind(folder, Kind::Controller, "give another --name")?;
    let own = PolicyConfig::load(&folder.config()).map_err(not_as_written(folder.path()))?;
    runs::as_begun(folder, &config.differences(&own), &PolicyConfig::FREE)
}

/// Trains a new controller of this configuration, or continues the one that is `resumed`. Errors:
/// those of decoder, checkpoints and disk, and a stop by a signal.
pub(super) fn sit(sitting: &Sitting, resumed: Option<RunFolder>, config: &PolicyConfig) -> Result<Done<UpdateRecord>> {
    let backend = sitting.compute.open()?;
    let last = resumed.as_ref().map(RunFolder::last_checkpoint);
    let mut setup = PolicySetup::new(config, backend.as_ref(), last.as_deref())?;
    sitting.train(&mut setup, resumed, &backend.describe())
}

impl runs::Training for PolicySetup<'_> {
    type Record = UpdateRecord;

    fn word(&self) -> String {
        self.config.task.name().to_owned()
    }

    fn config(&self) -> String {
        self.config.to_toml()
    }

    fn all(&self) -> usize {
        self.config.updates()
    }

    fn finished(&self) -> bool {
        PolicySetup::finished(self)
    }

    fn save(&self, file: &Path) -> Result<()> {
        PolicySetup::save(self, file)
    }

    fn train(&mut self, folder: &RunFolder, voice: Voice, watch: Watch) -> Result<Vec<UpdateRecord>> {
        trainer::train_policy(self, folder, voice, watch)
    }
}

/// The measurements of a controller or planner.
pub(super) struct Measured {
    /// It beside latents from the prior.
    pub report: Comparison,
    /// The thresholds, each with the measured number.
    pub verdicts: Vec<Verdict>,
    /// The gait of the data, if they are there.
    data: Option<GaitReport>,
    /// Characters, steps of the episode, seed.
    sizes: (usize, usize, u64),
}

/// Measures a number of characters that a controller or planner steers, and compares them with a
/// gate. `whole` shows how far it is. Errors: those of [`Pilot::open`], episodes of one step.
pub(super) fn measure(
    pilot: &Pilot,
    data: &[PathBuf],
    backend: &dyn Backend,
    (characters, seed): (usize, u64),
    gate: Option<&PolicyThresholds>,
    whole: &Whole,
) -> Result<Measured> {
    let sizes @ (_, horizon, _) = (characters, pilot.config().horizon(), seed);
    if horizon < 2 {
        return Err(Error::Usage(format!(
            "episodes of {horizon} step cannot be measured; train with a longer --horizon"
        )));
    }
    let (mut play, planner) = pilot.open(data, backend, sizes, None)?;
    let gait = match play.material.decoder.source(data) {
        Ok(source) => Gait::of(&source.set, Some(&play.material.rig)),
        Err(error) => {
            whole.say(&format!("note: no feet of the data to compare with: {error}"));
            None
        }
    };
    let report = compare(&mut play, planner, gait.as_ref(), (horizon, seed), &|share| whole.done(share))?;
    let verdicts = gate.map(|gate| gate.judge(&report)).unwrap_or_default();
    Ok(Measured { report, verdicts, data: gait, sizes })
}

impl Measured {
    /// Everything by name, as `--json` prints it.
    pub fn json(&self, of: &Pilot) -> serde_json::Value {
        let (Comparison { seconds, who, numbers, prior, .. }, (characters, horizon, _)) = (&self.report, self.sizes);
        serde_json::json!({
            "run": of.path(), "task": of.config().task.name(), "characters": characters, "horizon": horizon,
            "seconds": seconds, *who: named(numbers), "prior": named(prior), "gate": self.verdicts, "paper": null,
        })
    }
}

/// Numbers by name.
fn named(numbers: &[Number]) -> serde_json::Map<String, serde_json::Value> {
    numbers.iter().map(|number| (number.key.to_string(), number.value.into())).collect()
}

fn eval(args: &EvalArgs) -> Result<()> {
    let pilot = match (&args.planner, &args.foreign.vae, &args.run) {
        (Some(task), Some(vae), _) => Pilot::planner(&args.at.runs, ("--planner", task), vae, &args.effort)?,
        (_, _, Some(run)) => Pilot::Controller(controller(&args.at.runs, run, &args.foreign, &args.data)?),
        _ => unreachable!("clap asks for a run, or for a planner with its decoder"),
    };
    let gate: Option<PolicyThresholds> = args.gate.load("docs/controllers.md")?;
    gate.as_ref().map_or(Ok(()), |gate| gate.check(pilot.config().task))?;
    let backend = args.at.compute.open()?;
    let sizes = (args.characters.get(), args.seed);
    let whole = Whole::single(&format!("measuring {}", pilot.path().display()));
    let measured = measure(&pilot, &args.data, backend.as_ref(), sizes, gate.as_ref(), &whole)?;
    let paper = if args.paper {
        let (sizes @ (_, horizon, seed), data) = (measured.sizes, measured.data.clone());
        let (mut play, planner) = pilot.open(&args.data, backend.as_ref(), sizes, Some(PAPER_SECONDS))?;
        let report = compare(&mut play, planner, data.as_ref(), (horizon, seed), &|share| whole.done(share))?;
        Some(PaperTables { report, data })
    } else {
        None
    };
    whole.end();
    let text = if args.at.json {
        let mut result = measured.json(&pilot);
        if let Some(PaperTables { report, data }) = &paper {
            result["paper"] = serde_json::json!({ report.who: named(&report.numbers), "data": data });
        }
        format!("{result}\n")
    } else {
        let path = pilot.path().display();
        format!("{path}: {}{}", measured.report, paper.map_or(String::new(), |paper| paper.to_string()))
    };
    print_and(&text, thresholds::verdict(&measured.verdicts))
}

fn tasks() -> Result<()> {
    let about = |task: &Task| format!("{:10} {}\n", task.name(), task.info().about);
    let own = format!("{:10} Your own, composed from terms (docs/controllers.md)\n", "FILE.toml");
    print(&Task::ALL.iter().map(about).chain([own]).collect::<String>())
}

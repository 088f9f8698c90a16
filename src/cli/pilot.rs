//! Who steers the characters of a command: a trained controller, or a planner that learns nothing.
use super::runs::{Kind, checkpoint_file, not_as_written, of_kind, run_folder};
use crate::backend::Backend;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::foreign::Controller;
use crate::control::config::{MAX_CHARACTERS, PolicyConfig, Preset};
use crate::control::planner::{Effort, Planner};
use crate::control::play::{Play, Policy};
use crate::ops::world::Task;
use crate::run::folder::RunFolder;
use crate::{Error, Result};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Flags that give what the file of a controller of the public implementation leaves out.
#[derive(Debug, Args)]
pub struct ForeignArgs {
    /// Task of a controller of the public implementation
    #[arg(long)]
    pub task: Option<Task>,
    /// Run or checkpoint of the Motion VAE that it acts in
    #[arg(long, value_name = "RUN|CHECKPOINT")]
    pub vae: Option<PathBuf>,
    /// Run or checkpoint of the target controller that a maze is walked with
    #[arg(long, value_name = "RUN|CHECKPOINT")]
    pub lower: Option<PathBuf>,
}

impl ForeignArgs {
    /// Refuses the flags where something else says what they do, for the reason `why`.
    pub(super) fn refuse(&self, why: &str) -> Result<()> {
        match self.given(&[]).iter().any(|(_, given)| *given) {
            true => Err(Error::Usage(format!("--task, --vae and --lower {why}"))),
            false => Ok(()),
        }
    }

    /// Names of the flags, and of the one for `data`, each with true if it was given.
    fn given(&self, data: &[PathBuf]) -> [(&'static str, bool); 4] {
        let Self { task, vae, lower } = self;
        let data = ("--data", !data.is_empty());
        [("--task", task.is_some()), ("--vae", vae.is_some()), data, ("--lower", lower.is_some())]
    }
}

/// The words that are marked by true, as a list in a sentence.
fn list(words: &[(&str, bool)]) -> String {
    let marked: Vec<_> = words.iter().filter(|(_, marked)| *marked).map(|(word, _)| *word).collect();
    match marked.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
        None => String::new(),
    }
}

/// A trained controller: its path, its checkpoint, and its configuration.
pub(super) struct Trained {
    /// The run's folder, or the controller's file.
    pub path: PathBuf,
    /// The checkpoint.
    pub file: PathBuf,
    /// The configuration that it was trained with.
    pub config: PolicyConfig,
}

/// The controller at `run`: one of our runs, or a file of the public implementation together with
/// the flags that give what the file leaves out.
pub(super) fn controller(runs: &Path, run: &Path, foreign: &ForeignArgs, data: &[PathBuf]) -> Result<Trained> {
    let path = run_folder(runs, run, Kind::Controller);
    if path.is_file() {
        let (checkpoint, described) = Checkpoint::load_described(&path)?;
        let described = described.ok_or_else(|| {
            let mend = "give a run of `control train`, or a controller that the public implementation exported";
            Error::checkpoint(&path, "is no controller of the public implementation", mend)
        })?;
        let Controller { frame_skip, hidden_size, .. } = Controller::of(&path, &described, &checkpoint.tensors)?;
        let (Some(task), Some(vae), false) = (foreign.task, &foreign.vae, data.is_empty()) else {
            let what = "a controller of the public implementation says neither task nor decoder nor motion";
            let missing = list(&foreign.given(data).map(|(flag, given)| (flag, !given))[..3]);
            return Err(Error::Usage(format!("{}: {what}; give {missing}, too", path.display())));
        };
        let vae = checkpoint_file(runs, vae, Kind::Model)?.0;
        let lower = foreign.lower.as_deref().map(|lower| checkpoint_file(runs, lower, Kind::Controller)).transpose()?;
        let lower = lower.map(|(lower, _)| lower).unwrap_or_default();
        let config =
            PolicyConfig { task, vae, lower, frame_skip, hidden_size, ..PolicyConfig::preset(Preset::Reference) };
        config.validate()?;
        return Ok(Trained { file: path.clone(), path, config });
    }
    let folder = RunFolder::open(&path)?;
    of_kind(&folder, Kind::Controller, "give the run of a controller")?;
    let given = list(&foreign.given(data));
    if !given.is_empty() {
        let what = format!(
            "the run {} says by itself what controllers of the public implementation leave out",
            path.display()
        );
        return Err(Error::Usage(format!("{what}; drop {given}")));
    }
    Trained::of_run(&folder)
}

impl Trained {
    /// The controller of a run. Errors: its configuration cannot be read.
    pub fn of_run(folder: &RunFolder) -> Result<Self> {
        let restore = not_as_written(folder.path());
        let config = PolicyConfig::load(&folder.config()).map_err(restore)?;
        Ok(Trained { path: folder.path().to_owned(), file: folder.last_checkpoint(), config })
    }
}

/// Refuses more than `MAX_CHARACTERS` characters.
pub(super) fn few_enough(characters: usize) -> Result<()> {
    if !(1..=MAX_CHARACTERS).contains(&characters) {
        return Err(Error::Usage(format!("--characters is {characters}, expected 1 to {MAX_CHARACTERS}")));
    }
    Ok(())
}

/// Amount of planning. The flag that asks for a planner has the id `plan`.
#[derive(Debug, Args)]
pub struct EffortArgs {
    /// N: sequences of latents that a planned character tries before each step [default: 200]
    #[arg(long, value_name = "N", requires = "plan")]
    pub rollouts: Option<NonZeroUsize>,
    /// H: steps of each sequence [default: 4]
    #[arg(long, value_name = "H", requires = "plan")]
    pub horizon: Option<NonZeroUsize>,
}

impl EffortArgs {
    fn effort(&self) -> Effort {
        let Effort { rollouts, horizon } = Effort::default();
        Effort {
            rollouts: self.rollouts.map_or(rollouts, NonZeroUsize::get),
            horizon: self.horizon.map_or(horizon, NonZeroUsize::get),
        }
    }
}

/// Who steers.
pub(super) enum Pilot {
    /// A trained controller.
    Controller(Trained),
    /// A planner, with the decoder's checkpoint and the configuration that names task and decoder.
    Planner(PathBuf, PolicyConfig, Effort),
}

impl Pilot {
    /// A planner of a task, as the flag `flag` names it, in the decoder `vae`. Errors: no such task
    /// or decoder, a task whose actions are no latents.
    pub fn planner(runs: &Path, (flag, task): (&str, &str), vae: &Path, effort: &EffortArgs) -> Result<Self> {
        let task = Task::read(task).map_err(|error| match error {
            Error::Usage(what) => Error::Usage(format!("{flag}: {what}")),
            other => other,
        })?;
        if task.info().lower.is_some() {
            let task = task.name();
            return Err(Error::Usage(format!("{flag}: actions of the {task} are no latents; give another task")));
        }
        let (vae, _) = checkpoint_file(runs, vae, Kind::Model)?;
        let config = PolicyConfig { task, vae: vae.clone(), ..PolicyConfig::default() };
        config.validate()?;
        Ok(Pilot::Planner(vae, config, effort.effort()))
    }

    /// The run's folder, or the file of the controller or decoder.
    pub fn path(&self) -> &Path {
        match self {
            Pilot::Controller(trained) => &trained.path,
            Pilot::Planner(vae, ..) => vae,
        }
    }

    /// The configuration, which names task and decoder.
    pub fn config(&self) -> &PolicyConfig {
        match self {
            Pilot::Controller(trained) => &trained.config,
            Pilot::Planner(_, config, _) => config,
        }
    }

    /// Lays out characters for steps an episode and a seed, and the planner if they have one. The
    /// task asks for something new after `anew` seconds, if that is given. Errors: those of
    /// [`Policy::open`], [`Play::open`] and [`Planner::new`], too many characters.
    pub fn open<'a>(
        &self,
        data: &[PathBuf],
        backend: &'a dyn Backend,
        sizes: (usize, usize, u64),
        anew: Option<f64>,
    ) -> Result<(Play<'a>, Option<Planner<'a>>)> {
        few_enough(sizes.0)?;
        match self {
            Pilot::Controller(Trained { file, config, .. }) => {
                Ok((Play::open(Policy::open(file, config, data)?, backend, sizes, anew)?, None))
            }
            Pilot::Planner(_, config, effort) => {
                let play = Play::open(Policy::untrained(config, data)?, backend, sizes, anew)?;
                let planner = Planner::new(Policy::untrained(config, data)?, backend, sizes, anew, *effort)?;
                Ok((play, Some(planner)))
            }
        }
    }
}

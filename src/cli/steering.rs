//! `mvae-fast train --controller`: a controller of the model that was trained, with which a person
//! steers in the model's report.
use super::control;
use super::runs::{Done, Kind, Sitting, absolute, not_as_written, of_kind};
use crate::backend::Backend;
use crate::config::Config;
use crate::config::layers::flag_of;
use crate::control::config::{Overrides, PolicyConfig};
use crate::control::play::Policy;
use crate::control::show;
use crate::host::atomic;
use crate::host::shown::counted;
use crate::ops::world::Task;
use crate::run::folder::RunFolder;
use crate::run::record::EpochRecord;
use crate::train::setup::Setup;
use crate::train::trainer;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Updates of the controller unless others are asked for: about a minute of two threads.
const UPDATES: usize = 400;

/// The controller that a model is to get.
pub(super) struct Controller {
    /// Its task.
    pub task: Task,
    /// Updates of its training, if they are asked for.
    pub updates: Option<usize>,
}

impl Controller {
    /// The flags that ask for it.
    pub fn flags(&self) -> String {
        let updates = self.updates.map_or(String::new(), |updates| format!(" --controller-updates {updates}"));
        format!(" --controller {}{updates}", self.task.name())
    }

    /// The folder of its run, beside that of the model.
    fn folder(&self, model: &Path) -> PathBuf {
        // A path such as `.` has no name of its own.
        let full = model.file_name().is_none().then(|| fs::canonicalize(model).ok()).flatten();
        let model = full.as_deref().unwrap_or(model);
        let name = model.file_name().unwrap_or_default().to_string_lossy();
        model.with_file_name(format!("{name}-{}", self.task.name()))
    }

    /// Its configuration as a new run.
    fn config(&self, vae: &Path, seed: u64) -> Result<PolicyConfig> {
        let vae = Some(absolute(vae)?);
        let (task, seed) = (Some(self.task.name().to_owned()), Some(seed));
        let updates = self.updates.or(Some(UPDATES));
        let keys = Overrides { task, vae, seed, updates, ..Overrides::default() };
        PolicyConfig::layered(None, None, &Overrides::default(), &keys)
    }

    /// Its configuration as a run that is there, for the decoder `vae`. Errors: it is another run,
    /// or has other updates than are asked for.
    fn resumed(&self, folder: &RunFolder, vae: &Path) -> Result<PolicyConfig> {
        let path = folder.path();
        of_kind(folder, Kind::Controller, "give the model another name")?;
        let config = PolicyConfig::load(&folder.config()).map_err(not_as_written(path))?;
        if config.task != self.task {
            let what = format!("{} is a controller of another task; remove it", path.display());
            return Err(Error::Usage(format!("--controller: {what}")));
        }
        let updates = config.updates();
        if self.updates.is_some_and(|asked| asked != updates) {
            let (path, updates) = (path.display(), counted(updates, "update"));
            let what = format!("{path} goes on as it was configured, with {updates}; leave the flag out");
            return Err(Error::Usage(format!("--controller-updates: {what}")));
        }
        // The folder may have been moved since.
        Ok(PolicyConfig { vae: absolute(vae)?, ..config })
    }

    /// Refuses, before the model is trained, what would be refused afterwards. That is a task by
    /// which no report can be steered, a decoder without a gradient, wrong keys, or a controller
    /// that is there and does not fit. `resumed` is the folder of a model that goes on. `new` is
    /// that of another, if it is known, which must have no controller yet.
    pub fn check(&self, config: &Config, resumed: Option<&Path>, new: Option<&Path>) -> Result<()> {
        let name = self.task.name();
        let refuse = |what: String| Err(Error::Usage(format!("--controller: {what}")));
        if self.task.info().steered.is_none() {
            return refuse(format!("a report cannot be steered by task {name}; give joystick, or use `control train`"));
        }
        let policy = self.config(Path::new("model"), config.seed)?;
        if let Some((what, mend)) = policy.unfit(config.variant, config.future_predictions) {
            return refuse(format!("{what}; leave it out, and use `control train {}`", flag_of(&mend)));
        }
        if let Some(model) = resumed
            && let there = self.folder(model)
            && there.exists()
        {
            self.resumed(&RunFolder::open(&there)?, model)?;
        }
        match new.map(|model| self.folder(model)).filter(|folder| folder.exists()) {
            Some(folder) => refuse(format!("{} is there already; remove it, or give another --name", folder.display())),
            None => Ok(()),
        }
    }

    /// Refuses data whose features are not known to be poses.
    pub fn check_data(&self, run: &Setup) -> Result<()> {
        let what = "--controller: the data name no skeleton, so no task knows its toes and its size; leave it out";
        if run.shown.is_some() { Ok(()) } else { Err(Error::Usage(what.into())) }
    }

    /// Trains it on the finished model, or continues a training that was stopped, and writes the
    /// model's report anew. Returns the controller's folder. Errors: those of [`control::sit`] and
    /// of the disk.
    pub fn train(
        &self,
        sitting: &Sitting,
        run: &mut Setup,
        done: &Done<EpochRecord>,
        backend: &dyn Backend,
    ) -> Result<String> {
        let model = &done.folder;
        let (path, seed) = (self.folder(model.path()), run.config.seed);
        let resumed = path.exists().then(|| RunFolder::resume(&path)).transpose()?;
        let config = match &resumed {
            Some(folder) => self.resumed(folder, &model.last_checkpoint())?,
            None => self.config(&model.last_checkpoint(), seed)?,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let sitting = Sitting {
            runs: atomic::folder_of(&path),
            name: Some(&name),
            compute: sitting.compute,
            serve: None,
            stop: sitting.stop.clone(),
            until: None,
            voice: sitting.voice.clone(),
        };
        let controller = control::sit(&sitting, resumed, &config)?;
        let policy = Policy::open(&RunFolder::open(&path)?.last_checkpoint(), &config, &[])?;
        trainer::report(run, model, &done.records, show::steering(policy, backend, seed)?)?;
        Ok(controller.folder.path().display().to_string())
    }
}

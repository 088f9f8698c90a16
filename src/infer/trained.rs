//! A trained model, opened for inference: sizes, normalisation, parameters, and its training data.
use crate::backend::Memory;
use crate::checkpoint::{Checkpoint, Fingerprint, Meta};
use crate::config::{CodebookInit, Config, ExpertInit, ModelConfig};
use crate::data::normalize::Statistics;
use crate::data::{self, Dataset, windows};
use crate::host::shown::counted;
use crate::model::layout::{Layout, Parameters};
use crate::philox::{Purpose, Stream};
use crate::plan::arena::Arena;
use crate::{Error, Result, checkpoint::state};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// A checkpoint with metadata and statistics, from which the model can run.
pub struct Trained {
    /// The file it was read from.
    pub path: PathBuf,
    /// Metadata of the checkpoint.
    pub meta: Meta,
    /// Configuration of the training run.
    pub config: Config,
    /// Statistics that normalise frames.
    pub statistics: Statistics,
    checkpoint: Checkpoint<'static>,
}

/// Motion to start from or to compare with.
pub struct Source {
    /// The data set.
    pub set: Dataset,
    /// Name of the set in messages.
    pub name: PathBuf,
    /// Whether the model was trained on it.
    pub own: bool,
    /// Whether mirror images were added to the set, as in training.
    pub mirrored: bool,
}

impl Source {
    /// The first (oldest) condition frame of each of `characters` characters, drawn from all
    /// windows of `conditions` frames. Errors: no clip is long enough.
    pub fn starts(&self, conditions: usize, characters: usize, seed: u64) -> Result<Vec<usize>> {
        let windows = windows::starts(&self.set.clips(), conditions);
        if windows.is_empty() {
            let what = format!("no clip has the {conditions} frames that the model is conditioned on");
            return Err(Error::data(&self.name, what, "give longer clips by --data"));
        }
        let stream = Stream::new(seed, Purpose::Starts, 0);
        let any = |c: usize| windows[(stream.uniform(c) * windows.len() as f64) as usize] as usize;
        Ok((0..characters).map(any).collect())
    }
}

impl Trained {
    /// Opens a checkpoint. Errors: the file cannot be read, or lacks sizes and statistics (a bare
    /// state dict).
    pub fn load(path: &Path) -> Result<Self> {
        let mut checkpoint = Checkpoint::load(path)?;
        let Some(meta) = checkpoint.meta.take() else {
            let mend = "train from it with --init and use the checkpoint of that run";
            return Err(Error::checkpoint(path, "a state dict without metadata: its sizes are not known", mend));
        };
        let config = configuration(&meta, path)?;
        let layout = Layout::of(&meta.model, ExpertInit::Reference, CodebookInit::Fixed); // initial values are unused
        checkpoint.holds(path, &layout)?;
        let statistics = state::statistics(&checkpoint, path, meta.model.frame_size, meta.normalization)?
            .ok_or_else(|| Error::checkpoint(path, "holds no normalisation statistics", "use a checkpoint of a run"))?;
        Ok(Trained { path: path.to_owned(), meta, config, statistics, checkpoint })
    }

    /// A note if the checkpoint is from before the end of its run.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let (done, all) = (self.meta.progress.as_ref()?.epoch - 1, self.config.epochs());
        (done < all).then(|| format!("note: {} is of {done} of {}", self.path.display(), counted(all, "epoch")))
    }

    /// Sizes of the network.
    pub fn model(&self) -> &ModelConfig {
        &self.meta.model
    }

    /// The tensors of the network.
    pub fn layout(&self) -> Layout {
        Layout::of(self.model(), ExpertInit::Reference, CodebookInit::Fixed) // initial values are unused
    }

    /// Lays out the parameters, without gradients.
    pub fn parameters(&self, arena: &mut Arena) -> Parameters<f32> {
        Parameters::new(arena, self.layout(), false)
    }

    /// The values of the parameters, in the order of the layout. Errors: one is missing, or has
    /// another shape than the sizes say.
    pub fn values(&self) -> Result<Vec<f32>> {
        let layout = self.layout();
        let mut values = vec![0.0; layout.len];
        for tensor in &layout.tensors {
            let to = &mut values[tensor.first()..][..tensor.len()];
            self.checkpoint.copy(&self.path, &tensor.name, &tensor.shape, to)?;
        }
        Ok(values)
    }

    /// Writes the parameters. Errors: one is missing, or has another shape than the sizes say.
    pub(crate) fn restore(&self, parameters: &Parameters<f32>, memory: &mut Memory) -> Result<()> {
        parameters.write_normalization(memory, &self.statistics, self.meta.normalization)?;
        state::restore_parameters(parameters, memory, &self.checkpoint, &self.path)
    }

    /// Frames, normalised as the network sees them.
    pub fn normalized(&self, frames: &[f32]) -> Vec<f32> {
        let mut frames = frames.to_vec();
        self.statistics.normalize(self.meta.normalization, &mut frames);
        frames
    }

    /// Reads the motion in `files`, or the model's training data if there are none. The training
    /// data is mirrored if it was in training.
    ///
    /// Errors: the data cannot be read, has another frame size, or is no longer what the
    /// configuration names (another file lies there now).
    pub fn source(&self, files: &[PathBuf]) -> Result<Source> {
        let given = !files.is_empty();
        if !given && self.meta.progress.is_none() {
            let what = "does not say which motion it was trained on";
            return Err(Error::checkpoint(&self.path, what, "name motion by --data"));
        }
        let (mut set, name) =
            data::read(if given { files } else { &self.config.data }).map_err(|error| match error {
                Error::Data { path, what, mend } if !given => {
                    let mend = format!("{mend}; or name the data by --data");
                    Error::Data { path, what: format!("the model was trained on it: {what}"), mend }
                }
                other => other,
            })?;
        let want = self.model().frame_size;
        if set.frame_size != want {
            let what = format!("{} features a frame, but the model knows {want}", set.frame_size);
            return Err(Error::data(&name, what, "name the data the model was trained on by --data"));
        }
        let own = self.meta.progress.as_ref().is_some_and(|progress| progress.data == Fingerprint::of(&set));
        if !own && !given {
            let mend = "put the old data back, or name this file by --data to use it all the same";
            return Err(Error::data(&name, "its clips or values are not those the model was trained on", mend));
        }
        let frames = set.num_frames();
        if own && self.config.mirror {
            set.rig = self.meta.rig.clone(); // as in training, whatever the file says now
            set.mirror_if_named(); // its notes were printed in training
        }
        let mirrored = set.num_frames() > frames;
        Ok(Source { set, name, own, mirrored })
    }
}

/// The configuration in a checkpoint. Errors: it cannot be read.
pub(crate) fn carried<C: DeserializeOwned>(meta: &Meta, path: &Path) -> Result<C> {
    serde_path_to_error::deserialize(&meta.config).map_err(|error| {
        Error::checkpoint(path, format!("configuration: {error}"), "use the version of mvae-fast that wrote it")
    })
}

/// The configuration in the checkpoint of a Motion VAE. Errors: it is a controller, or its
/// configuration cannot be read or contradicts its sizes.
pub(crate) fn configuration(meta: &Meta, path: &Path) -> Result<Config> {
    if meta.is_controller() {
        let acts_in = meta.config.get("vae").and_then(|vae| vae.as_str()).unwrap_or("...");
        let mend = format!(
            "give it to `mvae-fast control eval` or `generate --controller`, or give the Motion VAE that it acts in: {acts_in}"
        );
        return Err(Error::checkpoint(path, "is a controller", mend));
    }
    let config: Config = carried(meta, path)?;
    let refuse = |what: String| Error::checkpoint(path, what, "use the checkpoint as the run wrote it");
    config.validate().map_err(|error| refuse(format!("configuration: {error}")))?;
    if config.model(meta.model.frame_size) != meta.model {
        return Err(refuse("its sizes are not those of its configuration".into()));
    }
    Ok(config)
}

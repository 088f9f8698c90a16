//! The state of a run before its first step: data, split and normalised, the plans of a step in one
//! arena, and parameters. These are fresh, given, or from a checkpoint. Nothing is written to disk
//! except on request.
use crate::backend::{Backend, Memory};
use crate::checkpoint::state::{self, State};
use crate::checkpoint::{Checkpoint, Fingerprint, Meta, Progress};
use crate::config::{Config, KlWeight, MAX_MATRIX, ModelConfig};
use crate::data::bridges::{self, Bridged, Means};
use crate::data::normalize::Statistics;
use crate::data::windows::{self, Split};
use crate::data::{self, Dataset};
use crate::infer::trained::configuration;
use crate::model::layout::{Layout, Parameters};
use crate::motion::features::moved_features;
use crate::motion::{Rig, Root};
use crate::ops::kl_weight::Rule;
use crate::plan::arena::Arena;
use crate::quality::feature::Feature;
use crate::quality::gait::{Gait, GaitReport};
use crate::train::clips::{Clips, Shown};
use crate::train::evaluate::{Evaluation, Reference};
use crate::train::step::{StepOptions, TrainStep, initialize};
use crate::{Error, Result, checkpoint::foreign, host::memory};
use std::path::{Path, PathBuf};

/// Smallest KL weight of `--kl-weight auto`.
const AUTO_FLOOR: f64 = 1e-4;
/// First KL weight of `--target-kl` when `--kl-weight` is not a number.
const TARGET_START: f64 = 0.003;

/// Where training starts.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// Fresh parameters.
    Fresh,
    /// The parameters of this file, and its statistics if it has any.
    Init(&'a Path),
    /// The state of the same run in this checkpoint.
    Resume(&'a Path),
}

impl<'a> Start<'a> {
    /// The last checkpoint of a run if there is one, else the file `init`, else fresh parameters.
    pub fn of(last: Option<&'a Path>, init: Option<&'a Path>) -> Self {
        let init = init.map(Start::Init);
        last.map(Start::Resume).or(init).unwrap_or(Start::Fresh)
    }
}

/// A run, ready for its next step.
pub struct Setup<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Sizes of the network.
    pub model: ModelConfig,
    /// Start frames of the training windows.
    pub windows: Vec<u32>,
    /// Clips to train on, clips held out.
    pub split: Split,
    /// Whether mirror images were added to the data.
    pub mirrored: bool,
    /// Number of clips that are bridged: near their end, motion continues in another clip.
    pub bridges: usize,
    /// Notes for the user where the treatment of toes or positions differs from the configuration,
    /// or from the model that `--init` brought.
    pub notes: Vec<String>,
    /// Statistics of the training frames.
    pub statistics: Statistics,
    /// Parameters, gradients and moments, as places in the arena.
    pub parameters: Parameters<f32>,
    /// The training step.
    pub step: TrainStep<f32>,
    /// The measurement of held-out quality.
    pub evaluation: Evaluation,
    /// Memory of the arena that holds all of them.
    pub memory: Memory<'a>,
    /// Where training stands.
    pub at: Progress,
    /// Clips that the report shows; `None` if the data has no rig.
    pub shown: Option<Clips>,
    /// The character whose poses the features are.
    rig: Option<Rig>,
    clip_names: Vec<String>,
    clip_roots: Vec<Root>,
}

impl<'a> Setup<'a> {
    /// Reads the data and lays out everything. Errors: unusable data, a checkpoint that does not
    /// fit, data other than that of the resumed run, not enough memory.
    pub fn new(config: &'a Config, backend: &'a dyn Backend, start: Start) -> Result<Self> {
        Setup::on(config, backend, start, data::read, &|_| ())
    }

    /// Like [`Setup::new`], with the data read by `read`. `say` is called with a message about
    /// anything slow.
    pub fn on(
        config: &'a Config,
        backend: &'a dyn Backend,
        start: Start,
        read: impl FnOnce(&[PathBuf]) -> Result<(Dataset, PathBuf)>,
        say: &dyn Fn(String),
    ) -> Result<Self> {
        let c = config;
        let given = match start {
            Start::Fresh => None,
            Start::Init(path) | Start::Resume(path) => Some((Checkpoint::load(path)?, path)),
        };
        if let (Start::Resume(path), Some((Checkpoint { meta: Some(meta), .. }, _))) = (start, &given) {
            same_configuration(c, meta, path)?;
        }
        let (mut set, source) = read(&c.data)?;
        let fingerprint = Fingerprint::of(&set);
        let at = match (start, &given) {
            (Start::Resume(path), Some((checkpoint, _))) => stand(checkpoint, path, &fingerprint, &source)?,
            _ => Progress::start(fingerprint),
        };

        c.fits(set.frame_size, &str::to_owned)?;
        let model = c.model(set.frame_size);
        let layout = Layout::of(&model, c.expert_init, c.codebook_init);
        if let (Start::Init(path), Some((checkpoint @ Checkpoint { meta: None, .. }, _))) = (start, &given) {
            foreign::require_known(path, checkpoint, &layout)?;
        }
        given.iter().try_for_each(|(checkpoint, path)| checkpoint.holds(path, &layout))?;
        let given_frames = set.num_frames();
        if let (true, Start::Resume(_), Some((Checkpoint { meta: Some(meta), .. }, _))) = (c.mirror, start, &given) {
            set.rig = meta.rig.clone(); // what the file says of left and right may have changed
        }
        let means = Means { threads: backend.threads(), beside: c.data.first().map(PathBuf::as_path), say };
        let Material { set, split, statistics, gait, bridged, windows, mut notes } =
            Material::new(c, set, &source, given.as_ref(), means)?;
        let minibatches = c.minibatches_of(windows.len());
        let steps = c.epochs() * minibatches * c.rollout;
        if c.warmup_steps >= steps {
            let warmup = c.warmup_steps;
            notes.push(format!("note: the warm-up of {warmup} steps is as long as the training, which has {steps}"));
        }
        if let Start::Resume(path) = start {
            possible(&at, c, minibatches, path)?;
        }
        notes.extend(differences(c, &model, &statistics, start, given.as_ref().map(|(checkpoint, _)| checkpoint)));

        let mut arena = Arena::default();
        let parameters = Parameters::updated(&mut arena, layout);
        let frames = set.num_frames();
        let data = arena.mat(frames + bridged.frames.len() / set.frame_size, set.frame_size);
        let options = StepOptions {
            model: &model,
            batch: c.batch_size,
            kl_rule: kl_rule(c, &model),
            free_bits: c.free_bits,
            adam: [c.adam_beta1, c.adam_beta2, c.adam_eps],
            minibatches,
            rollout: c.rollout,
            draw: true,
        };
        let step = TrainStep::new(&mut arena, &parameters, data, &options)?;
        let reference = Reference {
            features: Feature::all(&set.frames, &statistics.weight),
            scale_and_shift: statistics.scale_and_shift(c.normalization),
            rig: set.rig.clone(),
            gait,
        };
        let held_out = split.validation.clone();
        let evaluation =
            Evaluation::new(&mut arena, &parameters, data, &model, &set.clips(), held_out, reference, c.seed)?;
        let as_given = split.before(given_frames);
        let shown = Shown { set: &set, split: &as_given, normalization: (c.normalization, &statistics) };
        let shown = Clips::new(&mut arena, &parameters, data, &model, &shown, c.seed)?;
        let mut memory = Memory::new(backend, arena)?;
        memory.write(data.rows_at(0, frames), &set.frames)?;
        memory.write(data.rows_at(frames, data.rows() - frames), &bridged.frames)?;
        parameters.write_normalization(&mut memory, &statistics, c.normalization)?;

        let state = State::new(&parameters, step.kept(at.rollout_step > 0));
        match (start, &given) {
            (Start::Resume(_), Some((checkpoint, path))) => state.restore(&mut memory, checkpoint, path)?,
            (_, Some((checkpoint, path))) => state::restore_parameters(&parameters, &mut memory, checkpoint, path)?,
            (_, None) => initialize(&mut memory, &parameters, c.seed)?,
        }
        let mirrored = set.num_frames() > given_frames;
        let Dataset { rig, clip_names, clip_roots, .. } = set;
        Ok(Setup {
            config,
            model,
            windows,
            split,
            mirrored,
            bridges: bridged.pieces.len(),
            notes,
            statistics,
            parameters,
            step,
            evaluation,
            memory,
            at,
            shown,
            rig,
            clip_names,
            clip_roots,
        })
    }

    /// Number of mini-batches in an epoch.
    pub fn minibatches(&self) -> usize {
        self.config.minibatches_of(self.windows.len())
    }

    /// True if every epoch is done.
    pub fn finished(&self) -> bool {
        self.at.epoch > self.config.epochs()
    }

    /// Writes a checkpoint from which training can resume.
    pub fn save(&self, path: &Path) -> Result<()> {
        let meta = Meta::new(self.model.clone(), self.config.normalization, json(self.config), Some(self.at.clone()));
        let (rig, clip_names, clip_roots) = (self.rig.clone(), self.clip_names.clone(), self.clip_roots.clone());
        let meta = Meta { rig, clip_names, clip_roots, ..meta };
        let kept = self.step.kept(self.at.rollout_step > 0);
        let more = state::statistics_tensors(&self.statistics);
        State::new(&self.parameters, kept).save(&self.memory, more, meta, path)
    }
}

/// The data of a run, ready to be trained on.
struct Material {
    /// All clips, with mirror images, normalised.
    set: Dataset,
    split: Split,
    statistics: Statistics,
    /// The gait of all clips, if they are of a body.
    gait: Option<GaitReport>,
    /// The training clips, and the motion from one into another, normalised.
    bridged: Bridged,
    /// Start frames of the training windows.
    windows: Vec<u32>,
    /// Notes for the user.
    notes: Vec<String>,
}

impl Material {
    /// Mirrors, splits, bridges and normalises a set, which was read from `source`. Statistics are
    /// those of the checkpoint if it has any. Errors: not enough memory, too few or too many
    /// frames.
    fn new(
        c: &Config,
        mut set: Dataset,
        source: &Path,
        given: Option<&(Checkpoint, &Path)>,
        means: Means,
    ) -> Result<Self> {
        require_room(c, &set, source)?;
        let notes = if c.mirror { set.mirror_if_named().into_iter().collect() } else { Vec::new() };
        let split = set.split(c.validation, c.seed);
        let span = windows::span(c.rollout, c.condition_frames, c.future_predictions);
        let given_statistics = match given {
            Some((checkpoint, path)) => state::statistics(checkpoint, path, set.frame_size, c.normalization)?,
            None => None,
        };
        let statistics = given_statistics.unwrap_or_else(|| {
            let mut statistics = Statistics::of_clips(&set, &split.train);
            let toes = set.rig.iter().flat_map(|rig| moved_features(&rig.skeleton.toes, rig.skeleton.len()));
            toes.for_each(|feature| statistics.weight[feature] = c.toe_weight);
            statistics
        });
        let mut bridged = Bridged::new(&set, &split.train, c.bridge_clips, &statistics.std, span, means);
        let frames = set.num_frames() + bridged.frames.len() / set.frame_size;
        if u32::try_from(frames).is_err() {
            let what = format!("{frames} frames with mirror images and bridges, expected at most {}", u32::MAX);
            return Err(Error::data(source, what, "train on fewer files"));
        }
        let windows = windows::training_starts(source, &bridged.stretches(), &split.validation, span, c.batch_size)?;
        let steps = c.minibatches_of(windows.len()) * c.rollout;
        if steps > MAX_MATRIX {
            let what = format!("an epoch of {steps} steps, expected at most {MAX_MATRIX}");
            let (said, mend) = match c.minibatches {
                0 => (format!("batch_size {}", c.batch_size), "make the batch larger or the rollout shorter"),
                given => (format!("minibatches {given}"), "make one of them smaller"),
            };
            return Err(Error::Usage(format!("rollout is {} and {said}: {what}; {mend}", c.rollout)));
        }
        let gait = Gait::of(&set, set.rig.as_ref());
        statistics.normalize(c.normalization, &mut set.frames);
        statistics.normalize(c.normalization, &mut bridged.frames);
        Ok(Material { set, split, statistics, gait, bridged, windows, notes })
    }
}

/// Notes where the treatment of toes or positions differs from the configuration, or from the model
/// that `--init` brought.
fn differences(
    c: &Config,
    model: &ModelConfig,
    statistics: &Statistics,
    start: Start,
    given: Option<&Checkpoint>,
) -> Vec<String> {
    let counted = statistics.weight.iter().copied().find(|weight| *weight != 1.0).unwrap_or(1.0);
    match (start, given) {
        (Start::Fresh, _) if counted != c.toe_weight => {
            vec![format!("note: toes do not count {} times: the data does not say which joints they are", c.toe_weight)]
        }
        (Start::Init(_), Some(checkpoint)) => {
            let gain = checkpoint.meta.as_ref().map_or(1.0, |meta| meta.model.position_gain);
            let pairs = [("toe_weight", counted, c.toe_weight), ("position_gain", gain, model.position_gain)];
            let differ = pairs.into_iter().filter(|(_, brought, ours)| brought != ours);
            let note = |(key, brought, ours)| {
                format!("note: what --init brings was trained with {key} = {brought}, this run has {ours}")
            };
            differ.map(note).collect()
        }
        _ => Vec::new(),
    }
}

fn json(config: &Config) -> serde_json::Value {
    serde_json::to_value(config).expect("a configuration is plain data")
}

/// Refuses data whose mirror images, or whose search for bridges, do not fit in memory.
pub(crate) fn require_room(c: &Config, set: &Dataset, source: &Path) -> Result<()> {
    let given = size_of_val(&set.frames[..]) as u64;
    let (images, all) = if c.mirror { (given, 2 * given) } else { (0, given) };
    let search = if c.bridge_clips { bridges::bytes(all, set.frame_size) } else { 0 };
    memory::require(images + search, |words| {
        let mend = "train on fewer files, or with --mirror false or --bridge-clips false";
        Error::data(source, format!("its mirror images and bridges take {words}"), mend)
    })
}

/// Refuses to resume with a configuration other than the checkpoint's, except for the keys
/// [`Config::FREE`].
fn same_configuration(config: &Config, meta: &Meta, path: &Path) -> Result<()> {
    let trained = configuration(meta, path)?;
    let keys: Vec<_> = config.differences(&trained).into_iter().filter(|key| !Config::FREE.contains(key)).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let say = |config: &Config| {
        let values = json(config);
        keys.iter().map(|key| format!("{key} = {}", values[key])).collect::<Vec<_>>().join(", ")
    };
    let what = format!("trained with {}, but by its config.toml the run has {}", say(&trained), say(config));
    let mend = format!("set {} there, or start a new run with --init {}", say(&trained), path.display());
    Err(Error::checkpoint(path, what, mend))
}

/// The progress in a checkpoint. Errors: there is none, or its run was trained on other data.
fn stand(checkpoint: &Checkpoint, path: &Path, data: &Fingerprint, source: &Path) -> Result<Progress> {
    let progress = checkpoint.meta.as_ref().and_then(|meta| meta.progress.clone());
    let progress =
        progress.ok_or_else(|| Error::checkpoint(path, "holds no training state", "start a new run with --init"))?;
    if progress.data == *data {
        return Ok(progress);
    }
    let Fingerprint { frames, features, .. } = progress.data;
    let what = if (frames, features) == (data.frames, data.features) {
        "its clips or values are not those this run was trained on".to_owned()
    } else {
        let found = format!("{} frames of {} features", data.frames, data.features);
        format!("{found}, but this run was trained on {frames} of {features}")
    };
    let mend = format!("put the old data back, or start a new run with --init {}", path.display());
    Err(Error::data(source, what, mend))
}

/// Refuses progress that no run of this configuration can have.
fn possible(at: &Progress, c: &Config, minibatches: usize, path: &Path) -> Result<()> {
    let done = (at.epoch - 1) as u64 * minibatches as u64 + at.minibatch as u64;
    let ended = at.epoch == c.epochs() + 1 && (at.minibatch, at.rollout_step) == (0, 0);
    let under_way = at.epoch <= c.epochs() && at.minibatch < minibatches && at.rollout_step < c.rollout;
    if (under_way || ended) && at.step == done * c.rollout as u64 + at.rollout_step as u64 {
        return Ok(());
    }
    let Progress { epoch, minibatch, rollout_step, step, .. } = at;
    let at = format!("epoch {epoch}, mini-batch {minibatch}, step {rollout_step} of its rollout, step {step} in all");
    let what = format!("{at}: no run of its configuration stands there");
    Err(Error::checkpoint(path, what, "use the checkpoint as the run wrote it"))
}

/// The rule for the KL weight.
///
/// A calibrated decoder weighs the mean KL by 2 v L / (K F), where v is the residual variance. That
/// variance is the reconstruction loss itself. For the specialist it is twice that loss, but the
/// loss has half the size, which comes to the same.
fn kl_rule(c: &Config, model: &ModelConfig) -> Rule {
    match (c.target_kl, c.kl_weight) {
        (Some(kl), KlWeight::Fixed(start)) => Rule::Target { kl, start },
        (Some(kl), KlWeight::Auto) => Rule::Target { kl, start: TARGET_START },
        (None, KlWeight::Fixed(weight)) => Rule::Fixed(weight),
        (None, KlWeight::Auto) => {
            let units = 2.0 * model.latent_size as f64 / (model.future_predictions * model.frame_size) as f64;
            Rule::Auto { units, floor: AUTO_FLOOR }
        }
    }
}

//! Checkpoints of the public implementation: safetensors whose statistics are buffers `data_max`,
//! `data_min`, `data_avg` and `data_std`, and whose metadata has a `config`. A Motion VAE becomes a
//! checkpoint in our format; [`Controller::of`] reads a controller. A file that cannot be
//! represented exactly is refused.
use crate::checkpoint::{Checkpoint, Meta, Tensor};
use crate::config::{CodebookInit, Config, ExpertInit, ModelConfig, Normalization, Preset, Variant};
use crate::model::layout::Layout;
use crate::ops::world::Task;
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// Metadata keys: the version of the format, and the configuration.
const VERSION: &str = "cmv_format_version";
const CONFIG: &str = "config";
/// The only version that can be read.
const FORMAT: &str = "1";
/// Prefixes of the names of statistics: in the public implementation's files and in ours.
const THEIRS: &str = "data_";
const OURS: &str = "normalization.";
const STATISTICS: [&str; 4] = ["max", "min", "avg", "std"];

/// Most numbers in the condition frames together, and in the predicted frames together.
const MOST: usize = 1 << 20;

/// The `config` of a file; a key that its class lacks is `None`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Described {
    /// Name of the class.
    pub class: String,
    frame_size: Option<usize>,
    latent_size: Option<usize>,
    num_condition_frames: Option<usize>,
    num_future_predictions: Option<usize>,
    num_experts: Option<usize>,
    num_embeddings: Option<usize>,
    normalization_mode: Option<String>,
    /// Controllers: numbers of an observation.
    pub observation_dim: Option<usize>,
    /// Controllers: numbers of an action.
    pub action_dim: Option<usize>,
    /// Controllers: frames that pass for one action.
    pub frame_skip: Option<usize>,
}

impl Described {
    /// Reads the configuration in a file's metadata; `None` if the public implementation did not
    /// write the file. Errors: another version of the format, or no configuration that can be read.
    pub fn read(path: &Path, metadata: Option<&HashMap<String, String>>) -> Result<Option<Self>> {
        let Some(metadata) = metadata else { return Ok(None) };
        let Some(version) = metadata.get(VERSION) else { return Ok(None) };
        let refuse = |what: String| Error::checkpoint(path, what, "export it again from the public implementation");
        if version != FORMAT {
            return Err(refuse(format!("{VERSION} is {version}, this is a reader of {FORMAT}")));
        }
        let json = metadata.get(CONFIG).ok_or_else(|| refuse(format!("its metadata holds no {CONFIG}")))?;
        serde_json::from_str(json).map(Some).map_err(|error| refuse(format!("metadata: {CONFIG}: {error}")))
    }

    /// True if the file holds a controller.
    pub fn is_controller(&self) -> bool {
        matches!(self.class.as_str(), "PoseVAEController" | "PoseVAEPolicy")
    }
}

/// Renames the tensors of a foreign file to our names. If the file describes a Motion VAE, the
/// checkpoint also gets metadata. Errors: an unknown class or value, tensors that do not fit the
/// class, statistics that are incomplete or in another layout.
pub(crate) fn adopt<'a>(
    path: &Path,
    described: Option<&Described>,
    mut tensors: Vec<Tensor<'a>>,
) -> Result<Checkpoint<'a>> {
    let ours = tensors.iter().any(|tensor| tensor.name.starts_with(OURS));
    for tensor in &mut tensors {
        let statistic = tensor.name.strip_prefix(THEIRS).filter(|name| STATISTICS.contains(name));
        let Some(name) = statistic.map(|name| format!("{OURS}{name}")) else { continue };
        if ours {
            let what = format!("holds statistics twice, as {OURS}* and as {}", tensor.name);
            return Err(Error::checkpoint(path, what, "save those that the model was trained with"));
        }
        tensor.name = name;
    }
    let checkpoint = Checkpoint { tensors, meta: None };
    let Some(described) = described.filter(|described| !described.is_controller()) else { return Ok(checkpoint) };
    let model = model(path, described, &checkpoint)?;
    if let Some(missing) = STATISTICS.iter().find(|name| checkpoint.get(&format!("{OURS}{name}")).is_none()) {
        let mend = "a model without the statistics it was trained with is another: export it again";
        return Err(Error::checkpoint(path, format!("holds no {THEIRS}{missing}"), mend));
    }
    let normalization = normalization(path, described, &checkpoint, model.frame_size)?;
    if let Some(flaw) = model.flaw(&str::to_owned) {
        return Err(Error::checkpoint(path, flaw, "its config and its tensors do not fit: export it again"));
    }
    let layout = Layout::of(&model, ExpertInit::Reference, CodebookInit::Fixed);
    for tensor in &layout.tensors {
        let theirs = checkpoint.get(&tensor.name).map(|theirs| theirs.shape.as_slice());
        if theirs != Some(&tensor.shape) {
            let found = theirs.map_or("is missing".into(), |shape| format!("has shape {shape:?}"));
            let what = format!(
                "tensor {} {found}, but {} of these sizes has {:?}",
                tensor.name, described.class, tensor.shape
            );
            return Err(Error::checkpoint(path, what, "its config and its tensors do not fit: export it again"));
        }
    }
    require_known(path, &checkpoint, &layout)?;
    let config = Config {
        variant: model.variant,
        latent_size: model.latent_size,
        hidden_size: model.hidden_size,
        gate_hidden_size: model.gate_hidden_size,
        experts: model.experts,
        codes: model.codes,
        condition_frames: model.condition_frames,
        future_predictions: model.future_predictions,
        normalization,
        ..Config::preset(Preset::Reference)
    };
    let config = serde_json::to_value(config).expect("a configuration is plain data");
    let version = format!("the public implementation ({})", described.class);
    Ok(Checkpoint { meta: Some(Meta { version, ..Meta::new(model, normalization, config, None) }), ..checkpoint })
}

/// Refuses a foreign file with a tensor that is neither a parameter of the model nor a statistic in
/// a known layout: it might be a statistic in an unknown layout.
pub(crate) fn require_known(path: &Path, checkpoint: &Checkpoint, layout: &Layout) -> Result<()> {
    let known = |name: &str| {
        let statistic = name.strip_prefix(OURS).is_some_and(|name| name == "weight" || STATISTICS.contains(&name));
        let of_training = ["adam.", "trainer."].iter().any(|prefix| name.starts_with(prefix));
        statistic || of_training || layout.tensors.iter().any(|tensor| tensor.name == name)
    };
    let unknown: Vec<&str> =
        checkpoint.tensors.iter().map(|tensor| tensor.name.as_str()).filter(|name| !known(name)).collect();
    let Some(first) = unknown.first() else { return Ok(()) };
    let more = if unknown.len() > 1 { format!(" and {} more", unknown.len() - 1) } else { String::new() };
    let what =
        format!("holds {first}{more}, neither a parameter of the model nor statistics in a layout that is known");
    let mend = "save statistics as data_max, data_min, data_avg and data_std, and nothing else beside the parameters";
    Err(Error::checkpoint(path, what, mend))
}

/// The network's sizes: from the configuration, and from the shapes of the layers where the
/// configuration does not give them.
fn model(path: &Path, d: &Described, checkpoint: &Checkpoint) -> Result<ModelConfig> {
    let refuse = |what: String, mend: &str| Error::checkpoint(path, what, mend);
    let variant = match d.class.as_str() {
        "PoseMixtureVAE" => Variant::Mixture,
        "PoseVAE" => Variant::Posevae,
        "PoseMixtureSpecialistVAE" => Variant::Specialist,
        "PoseVQVAE" => Variant::Vq,
        class => {
            let mend = "PoseMixtureVAE, PoseVAE, PoseMixtureSpecialistVAE and PoseVQVAE are, and controllers in `control eval`";
            return Err(refuse(format!("is of class {class}, which is not one that can be read"), mend));
        }
    };
    let said = |key: &str, size: Option<usize>| match size {
        Some(size) if (1..=1 << 16).contains(&size) => Ok(size),
        Some(size) => Err(refuse(format!("config: {key} is {size}"), "expected 1 to 65536")),
        None => Err(refuse(format!("config: {key} is missing"), "export it again from the public implementation")),
    };
    let rows = |name: &str| {
        let tensor = checkpoint.get(name).filter(|tensor| tensor.shape.len() == 2);
        let missing =
            || refuse(format!("holds no matrix {name}"), "its config and its tensors do not fit: export it again");
        said(name, Some(tensor.ok_or_else(missing)?.shape[0]))
    };
    let of = |wanted: bool, key: &str, size: Option<usize>| if wanted { said(key, size) } else { Ok(1) };
    let (mixture, vq) = (variant == Variant::Mixture, variant == Variant::Vq);
    let first = if matches!(variant, Variant::Posevae | Variant::Vq) { "fc1.weight" } else { "encoder.fc1.weight" };
    let frame_size = said("frame_size", d.frame_size)?;
    let [c, k] =
        [("num_condition_frames", d.num_condition_frames), ("num_future_predictions", d.num_future_predictions)]
            .map(|(key, frames)| said(key, frames));
    let (condition_frames, future_predictions) = (c?, k?);
    if frame_size * condition_frames.max(future_predictions) > MOST {
        return Err(refuse(
            format!("config: conditions or predictions of more than {MOST} numbers"),
            "use another file",
        ));
    }
    Ok(ModelConfig {
        variant,
        frame_size,
        latent_size: said("latent_size", d.latent_size)?,
        hidden_size: rows(first)?,
        gate_hidden_size: if mixture { rows("decoder.gate.0.weight")? } else { 1 },
        experts: of(mixture || variant == Variant::Specialist, "num_experts", d.num_experts)?,
        condition_frames,
        future_predictions,
        codes: of(vq, "num_embeddings", d.num_embeddings)?,
        position_gain: 1.0,
    })
}

fn normalization(path: &Path, d: &Described, checkpoint: &Checkpoint, frame_size: usize) -> Result<Normalization> {
    let refuse = |what: String, mend: &str| Err(Error::checkpoint(path, what, mend));
    match d.normalization_mode.as_deref() {
        Some("zscore") => Ok(Normalization::Zscore),
        Some("none") => Ok(Normalization::None),
        Some("minmax") => {
            let read = |name: &str| {
                let mut values = vec![0f64; frame_size];
                checkpoint.copy(path, &format!("{OURS}{name}"), &[frame_size], &mut values).map(|()| values)
            };
            // The public implementation divides by 0 for a constant feature.
            match read("max")?.iter().zip(read("min")?).position(|(max, min)| *max == min) {
                Some(i) => {
                    refuse(format!("normalization_mode is minmax, and feature {i} is constant"), "train with zscore")
                }
                None => Ok(Normalization::Minmax),
            }
        }
        mode => {
            let mode = mode.unwrap_or("missing");
            refuse(format!("config: normalization_mode is {mode}"), "zscore, minmax and none can be read")
        }
    }
}

/// A controller: the sizes of its policy, and its actor's tensors under our names.
#[derive(Debug)]
pub(crate) struct Controller<'a> {
    /// Numbers of an observation and of an action.
    pub sizes: [usize; 2],
    /// Frames that pass for one action.
    pub frame_skip: usize,
    /// Width of its hidden layers.
    pub hidden_size: usize,
    /// The actor's tensors.
    pub tensors: Vec<Tensor<'a>>,
}

impl<'a> Controller<'a> {
    /// Takes a controller from a file's tensors. Errors: the file is no controller, or its sizes
    /// are missing or differ from those of its layers.
    pub fn of(path: &Path, d: &Described, tensors: &[Tensor<'a>]) -> Result<Self> {
        let refuse = |what: String| {
            Error::checkpoint(
                path,
                what,
                "give a controller that the public implementation exported, or a run of `control train`",
            )
        };
        if !d.is_controller() {
            return Err(refuse(format!("is of class {}, no controller", d.class)));
        }
        let size = |key: &str, size: Option<usize>| {
            size.filter(|size| (1..=1 << 20).contains(size)).ok_or_else(|| refuse(format!("config: {key} is {size:?}")))
        };
        let sizes = [size("observation_dim", d.observation_dim)?, size("action_dim", d.action_dim)?];
        let frame_skip = size("frame_skip", d.frame_skip.or(Some(1)))?;
        let prefix = if d.class == "PoseVAEPolicy" { "actor.actor." } else { "actor." };
        let actor = tensors.iter().filter_map(|tensor| {
            let name = tensor.name.strip_prefix(prefix).map(|name| format!("actor.actor.{name}"))?;
            Some(Tensor { name, ..tensor.clone() })
        });
        let tensors: Vec<Tensor> = actor.collect();
        let first = tensors.iter().find(|tensor| tensor.name == "actor.actor.0.weight");
        let hidden_size =
            first.and_then(|tensor| tensor.shape.first().copied()).filter(|size| (1..=1 << 20).contains(size));
        let hidden_size = hidden_size.ok_or_else(|| refuse(format!("holds no {prefix}0.weight")))?;
        let layout = Layout::of_policy(sizes[0], sizes[1], hidden_size, 1.0);
        for tensor in layout.tensors.iter().filter(|tensor| tensor.name.starts_with("actor.")) {
            let theirs = tensors.iter().find(|theirs| theirs.name == tensor.name).map(|theirs| &theirs.shape);
            if theirs != Some(&tensor.shape) {
                let what = format!("{} is {theirs:?}, expected {:?}", tensor.name, tensor.shape);
                return Err(refuse(what));
            }
        }
        Ok(Controller { sizes, frame_skip, hidden_size, tensors })
    }

    /// Checks that a task has observations and actions of the controller's sizes. Errors: they
    /// differ.
    pub fn require(&self, path: &Path, task: Task, observation: usize, action: usize) -> Result<()> {
        let [sees, acts] = self.sizes;
        if (sees, acts) == (observation, action) {
            return Ok(());
        }
        let what = format!("sees {sees} numbers and acts by {acts}");
        let mend = format!(
            "task {} on this decoder shows {observation} and wants {action}: give its own task and decoder",
            task.name()
        );
        Err(Error::checkpoint(path, what, mend))
    }

    /// The layout and parameter values of a policy of ours with this actor; the critic has its
    /// initial values.
    pub fn policy(&self) -> (Layout, Vec<f32>) {
        let layout = Layout::of_policy(self.sizes[0], self.sizes[1], self.hidden_size, 1.0);
        let mut values = layout.initial::<f32>(0);
        let actor = Checkpoint { tensors: self.tensors.clone(), meta: None };
        for tensor in layout.tensors.iter().filter(|tensor| actor.get(&tensor.name).is_some()) {
            let to = &mut values[tensor.first()..][..tensor.len()];
            actor.copy(Path::new(""), &tensor.name, &tensor.shape, to).expect("shapes were looked at");
        }
        (layout, values)
    }
}

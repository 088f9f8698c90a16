//! Characters for other programs: a decoder, and a policy that steers it, as one description
//! ([`Shipped`]) from which every format is written.
//!
//! Reading order: [`layers`] (the networks), [`walker`] (a character at work, the definition that
//! the formats translate), then a file for each format.
mod c;
mod html;
pub(crate) mod js;
mod layers;
mod onnx;
mod protobuf;
pub mod walker;
mod wasm;

use crate::control::environment::task_gain;
use crate::control::stage::{Material, REFERENCE_HIPS};
use crate::host::atomic;
use crate::infer::trained::Trained;
use crate::model::layout::Layout;
use crate::motion::Rig;
use crate::motion::features::{Part, frame_size, slot};
use crate::motion::rig::METRES;
use crate::motion::vector::{length, sub};
use crate::ops::world::{LOST, Task, path};
use crate::philox::{Purpose, Stream};
use crate::{Error, Result};
use layers::{Layers, Tensors};
pub use onnx::Opset;
use std::fmt;
use std::path::{Path, PathBuf};
use walker::Walker;

/// Most poses to start from that are exported.
const STARTS: usize = 16;

/// A format of exported characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A C header, and a binary of weights beside it
    C,
    /// A page of one file to play with
    Html,
    /// An ES module, and its types beside it
    Js,
    /// An ONNX graph, and its description beside it
    Onnx,
}

impl Format {
    /// Extension of the main file.
    pub fn extension(self) -> &'static str {
        match self {
            Format::C => "h",
            Format::Html => "html",
            Format::Js => "js",
            Format::Onnx => "onnx",
        }
    }

    /// The files of a character; the main one comes first.
    pub fn files(self, output: &Path) -> Vec<PathBuf> {
        let beside: &[&str] = match self {
            Format::C => &["bin"],
            Format::Html => &[],
            Format::Js => &["d.ts"],
            Format::Onnx => &["json"],
        };
        let beside = beside.iter().map(|extension| output.with_extension(extension));
        [output.to_owned()].into_iter().chain(beside).collect()
    }
}

/// A character to export.
#[derive(Clone)]
pub struct Shipped {
    /// Name of the run it comes from.
    pub name: String,
    /// Skeleton, frame rate and floor.
    pub rig: Rig,
    /// F: features of a frame.
    pub frame_size: usize,
    /// C: frames of a condition.
    pub condition_frames: usize,
    /// Predicted frames that are applied in a step.
    pub frame_skip: usize,
    /// Scale and shift of each feature that take normalisation back, \[F\].
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// Share of the predicted place in each joint's place (see [`crate::ops::reconcile`]), [3 J].
    share: Vec<f32>,
    /// Distance from the root, feet, beyond which a joint belongs to no body.
    lost: f32,
    /// Conditions to start from, [n, C F], feet.
    starts: Vec<f32>,
    /// The command that the policy obeys, if there is a policy.
    pub command: Option<Command>,
    /// A line about how good the character is, which the page shows.
    pub note: Option<String>,
    layers: Layers,
}

/// The command of a controller: vectors of the ground, seen by the character.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Command {
    /// The meaning of the vectors.
    pub aim: Aim,
    /// Metres, or metres a second, in one unit of a vector.
    pub metres: f64,
    /// A policy with normalised observations sees a vector of length r as one of length
    /// `gain` ln(1 + r), others see it as it is (`None`).
    pub gain: Option<f64>,
}

/// The meaning of a command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aim {
    /// The velocity to walk at.
    Velocity {
        /// Largest speed, m/s.
        top: f64,
    },
    /// Points to walk to.
    Points {
        /// Number of points.
        count: usize,
        /// Seconds of the way from one to the next.
        apart: f64,
    },
}

impl Command {
    /// Largest speed that is obeyed, m/s, if velocities are.
    pub fn top(&self) -> Option<f64> {
        if let Aim::Velocity { top } = self.aim { Some(top) } else { None }
    }

    /// Number of vectors.
    pub fn vectors(&self) -> usize {
        if let Aim::Points { count, .. } = self.aim { count } else { 1 }
    }
}

/// True if characters of this task's controllers can be exported: what they are asked for are
/// velocities or points.
pub fn exports(task: Task) -> bool {
    matches!(task, Task::Joystick | Task::Target | Task::Path)
}

impl Shipped {
    /// A character without a policy. `starts` are conditions, [n, C F]. Errors: a tensor is
    /// missing, or the features are not known to be poses.
    pub fn new(name: &str, decoder: &Trained, starts: &[f32]) -> Result<Self> {
        let model = decoder.model();
        let rig = decoder.meta.rig.clone().ok_or_else(|| {
            let what = "does not say which skeleton its features are of";
            Error::checkpoint(&decoder.path, what, "train it on data with a skeleton, such as `data import` makes")
        })?;
        let (scale, shift) = decoder.statistics.scale_and_shift(decoder.meta.normalization);
        let joints = rig.skeleton.len();
        debug_assert_eq!(model.frame_size, frame_size(joints));
        let share = |i: usize| {
            let at = |part| slot(part, 0, joints) + i;
            let [place, velocity] = [Part::Position, Part::Velocity].map(|part| scale[at(part)].powi(2));
            if model.position_gain < 1.0 { (velocity / (velocity + place)).max(model.position_gain) } else { 1.0 }
        };
        let (layout, values) = (decoder.layout(), decoder.values()?);
        let layers = Layers::decoder(model, Tensors { layout: &layout, values: &values }, 1);
        let row = model.condition_frames * model.frame_size;
        let count = starts.len() / row;
        let chosen = (0..count.min(STARTS)).flat_map(|i| &starts[i * count / count.min(STARTS) * row..][..row]);
        let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        Ok(Shipped {
            name: name.to_owned(),
            frame_size: model.frame_size,
            condition_frames: model.condition_frames,
            frame_skip: 1,
            share: (0..3 * joints).map(|i| share(i) as f32).collect(),
            lost: (LOST * rig.hip_height / REFERENCE_HIPS) as f32,
            starts: chosen.copied().collect(),
            command: None,
            note: None,
            layers,
            rig,
            scale: single(&scale),
            shift: single(&shift),
        })
    }

    /// A character that obeys the policy of a controller of one of the tasks of [`exports`], once
    /// it has one ([`Shipped::with_policy`]). Errors: those of [`Shipped::new`].
    pub fn steerable(name: &str, material: &Material) -> Result<Self> {
        let (decoder, rules) = (&material.decoder, &material.rules);
        let (model, frame_skip) = (decoder.model(), material.frame_skip());
        let shipped = Shipped::new(name, decoder, material.poses())?;
        let (layout, values) = (decoder.layout(), decoder.values()?);
        let layers = Layers::decoder(model, Tensors { layout: &layout, values: &values }, frame_skip);
        // Lengths are body units, speeds body units a frame.
        let (length, fps) = (METRES * rules.body, shipped.rig.fps);
        let (aim, metres) = match rules.task {
            Task::Joystick => (Aim::Velocity { top: rules.speed * length * fps }, length * fps),
            Task::Path => (Aim::Points { count: path::AHEAD, apart: (path::GAP * frame_skip) as f64 / fps }, length),
            _ => (Aim::Points { count: 1, apart: 0.0 }, length),
        };
        let pose = model.frame_size * model.condition_frames;
        let gain = task_gain(pose, rules.task.info().extra.of(model.latent_size));
        let command = match material.normalizes() {
            true => Command { aim, metres: rules.unit(0) * metres, gain: Some(gain) },
            false => Command { aim, metres, gain: None },
        };
        Ok(Shipped { frame_skip, layers, command: Some(command), ..shipped })
    }

    /// The character with a policy.
    pub fn with_policy(&self, layout: &Layout, values: &[f32]) -> Self {
        let mut shipped = self.clone();
        let raw = self.command.is_some_and(|command| command.gain.is_none());
        let raw = raw.then_some((&self.scale[..], &self.shift[..]));
        let vectors = self.command.map_or(0, |command| command.vectors());
        shipped.layers.steer(Tensors { layout, values }, raw, 2 * vectors);
        shipped
    }

    /// Number of joints.
    pub fn joints(&self) -> usize {
        self.rig.skeleton.len()
    }

    /// A line that says where the character comes from, and the terms of its motion.
    fn about(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let steered = match self.command.map(|command| command.aim) {
            Some(Aim::Velocity { .. }) => " It follows a joystick.",
            Some(Aim::Points { .. }) => " It walks to points.",
            None => "",
        };
        let terms = self.rig.terms.iter().map(|terms| format!(" Terms of the motion: {terms}.")).collect::<String>();
        format!("{}, exported by mvae-fast {version}.{steered}{terms}", self.name)
            .replace(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'), " ")
    }

    /// Entries of a latent.
    pub fn latent_size(&self) -> usize {
        self.layers.sizes[layers::LATENT]
    }

    /// Writes the character. `output` is the main file; others are written beside it. `opset` is
    /// the version of ONNX's operators.
    pub fn write(&self, format: Format, opset: Opset, output: &Path) -> Result<Written> {
        let contents = match format {
            Format::C => c::contents(self, output),
            Format::Html => html::contents(self),
            Format::Js => js::contents(self),
            Format::Onnx => onnx::contents(self, opset),
        };
        let files = format.files(output);
        // The main file comes last: it is there only if all the others are.
        files.iter().zip(&contents).rev().try_for_each(|(path, bytes)| atomic::write(path, bytes))?;
        let sizes = contents.iter().map(Vec::len);
        let halves = matches!(format, Format::Html | Format::Js).then(|| self.error_of_halves());
        Ok(Written { files: files.into_iter().zip(sizes).collect(), halves })
    }

    /// Largest distance between the places that weights of 16 and of 32 bits give a joint, metres.
    /// Each frame of a walk of 10 s is predicted by both from the same pose and latent.
    fn error_of_halves(&self) -> f64 {
        let (mut exact, mut halved) = (Walker::new(self), Walker::new(self).halved());
        let mut far: f64 = 0.0;
        for frame in 0..300 {
            let stream = Stream::new(0, Purpose::Prior, frame);
            let latent = (0..self.latent_size()).map(|i| stream.normals((i / 4) as u32)[i % 4]);
            let latent: Vec<f32> = latent.collect();
            halved.history.clone_from(&exact.history);
            halved.root = exact.root;
            exact.step(&latent);
            halved.step(&latent);
            let pairs = exact.joints().into_iter().zip(halved.joints());
            far = pairs.map(|(a, b)| length(sub(a, b))).fold(far, f64::max);
        }
        far
    }
}

/// Files that were written.
pub struct Written {
    /// The files and their sizes, bytes.
    pub files: Vec<(PathBuf, usize)>,
    /// Largest error of a joint in a frame by weights of 16 bits, metres; `None` if they have 32.
    pub halves: Option<f64>,
}

impl Written {
    /// Everything by name.
    pub fn json(&self, shipped: &Shipped) -> serde_json::Value {
        serde_json::json!({
            "files": self.files.iter().map(|(file, _)| file).collect::<Vec<_>>(),
            "bytes": self.files.iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(),
            "joints": shipped.joints(), "latent": shipped.latent_size(), "fps": shipped.rig.fps,
            "top_speed": shipped.command.and_then(|command| command.top()), "error_of_16_bits_m": self.halves,
        })
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (file, bytes) in &self.files {
            let bytes = *bytes as f64;
            let size = if bytes < 1e5 { format!("{:.0} kB", bytes / 1e3) } else { format!("{:.2} MB", bytes / 1e6) };
            writeln!(f, "{}: {size}", file.display())?;
        }
        match self.halves {
            Some(far) => writeln!(f, "weights of 16 bits: a joint is at most {:.2} mm off in a frame", 1e3 * far),
            None => Ok(()),
        }
    }
}

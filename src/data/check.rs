//! A report on a motion file, to be read before training on it.
use super::bridges::{Bridged, Means};
use super::normalize::Statistics;
use super::{Dataset, windows};
use crate::config::Config;
use crate::data::view::View;
use crate::host::shown::counted;
use crate::motion::features::joints;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Factor by which a change exceeds the usual maximum of its feature when it counts as a jump (see
/// [`Jump`]).
const JUMP_FACTOR: f32 = 5.0;
/// Seconds of motion below which hardly a model comes out.
const LITTLE: f64 = 60.0;
/// The quantile of a feature's changes that is its usual maximum.
const USUAL_QUANTILE: f64 = 0.99;
/// Number of places listed of each kind.
const LISTED: usize = 10;

/// The result of [`check`]; `Display` writes it for a person, serde for a program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataCheck {
    /// Frames in all.
    pub frames: usize,
    /// Features a frame.
    pub frame_size: usize,
    /// Clips.
    pub clips: usize,
    /// Frames a second: the set's own rate, else 30.
    pub fps: f64,
    /// Duration.
    pub minutes: f64,
    /// J, when there are 3 + 12 J features: root motion, positions, velocities, two axes of each
    /// joint.
    pub joints: Option<usize>,
    /// Ranges of the groups of features, over finite values.
    pub groups: Vec<Group>,
    /// Joint axes whose length is off 1 by more than 1 %.
    pub axes_off_length: usize,
    /// Features that never change.
    pub constant_features: Vec<Feature>,
    /// Values that are not finite.
    pub non_finite: usize,
    /// The first places of such values.
    pub non_finite_places: Vec<Place>,
    /// Frames where some feature jumps (see [`Jump`]).
    pub jumps: usize,
    /// The worst of these jumps by change over usual maximum, worst first.
    pub worst_jumps: Vec<Jump>,
    /// The motion, when the skeleton is known.
    pub motion: Option<View>,
    /// Frames of a window.
    pub span: usize,
    /// Clips shorter than a window.
    pub short_clips: usize,
    /// Whether mirror images were added for training.
    pub mirrored: bool,
    /// A note about mirror images, such as why there are none.
    pub mirror_note: Option<String>,
    /// Windows to train on, including those of added mirror images.
    pub windows: usize,
    /// Windows held out.
    pub held_out_windows: usize,
    /// Held-out clips, without added mirror images: index of the first frame, and of the one after
    /// the last.
    pub held_out: Vec<[usize; 2]>,
    /// Windows of a mini-batch.
    pub batch_size: usize,
    /// Whole mini-batches of an epoch.
    pub batches: usize,
    /// Epochs of a training.
    pub epochs: usize,
    /// Steps of an epoch.
    pub epoch_steps: usize,
    /// Whether training can start; the reasons why not are in `problems`.
    pub ready: bool,
    /// Problems that prevent training.
    pub problems: Vec<String>,
    /// Findings that deserve attention before training.
    pub warnings: Vec<String>,
}

/// Features of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Name of the group.
    pub name: &'static str,
    /// Index of the first one.
    pub first: usize,
    /// Index of the last one, inclusive.
    pub last: usize,
    /// Smallest finite value; 0 when there is none.
    pub min: f32,
    /// Largest finite value; 0 when there is none.
    pub max: f32,
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Feature {
    /// Its index.
    pub index: usize,
    /// Name of the feature, such as `velocity y of joint 3`.
    pub name: String,
}

/// One value of the set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Place {
    /// The clip, counted from 0.
    pub clip: usize,
    /// The clip's name, when the file has names.
    pub clip_name: Option<String>,
    /// The frame, counted from 0 over the whole set.
    pub frame: usize,
    /// The frame's time in its clip.
    pub seconds: f64,
    /// The feature.
    pub feature: Feature,
}

/// A frame in which a feature changes by more than 5 times its usual maximum from the frame before,
/// in the same clip. The usual maximum is the 99 % quantile of that feature's changes over the
/// whole set, without changes of exactly 0. Real motion, stamping and turning included, stays below
/// the bound; a lost marker, a flipped axis or a missing clip end does not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Jump {
    /// The frame, and the feature with the largest jump in it.
    pub place: Place,
    /// Size of that feature's change.
    pub change: f32,
    /// The usual maximum of that feature's changes.
    pub usual: f32,
    /// Number of features that jump in this frame.
    pub features: usize,
}

/// A warning about so few frames that hardly a model learns from them.
pub(crate) fn too_little(frames: usize, fps: f64) -> Option<String> {
    let seconds = frames as f64 / fps;
    (seconds < LITTLE).then(|| format!("only {seconds:.0} s of motion, and a model needs minutes: give more clips"))
}

/// Checks a set as training data for a run of this configuration. The set may hold values that are
/// not finite (see [`super::npz::read_lenient`]).
pub fn check(dataset: &Dataset, config: &Config) -> DataCheck {
    check_by(dataset, config, Means::quiet())
}

/// Checks a set as [`check`] does, with the given settings for the search for bridges.
pub(crate) fn check_by(dataset: &Dataset, config: &Config, means: Means) -> DataCheck {
    let clips = dataset.clips();
    let span = windows::span(config.rollout, config.condition_frames, config.future_predictions);
    let mut trained_on = Cow::Borrowed(dataset);
    let mirror_note = if config.mirror { trained_on.to_mut().mirror_if_named() } else { None };
    let split = trained_on.split(config.validation, config.seed);
    let statistics = Statistics::of_clips(&trained_on, &split.train);
    let bridged = Bridged::new(&trained_on, &split.train, config.bridge_clips, &statistics.std, span, means);
    let [windows, held_out_windows] =
        [&bridged.stretches(), &split.validation].map(|clips| windows::starts(clips, span).len());
    let batches = config.minibatches_of(windows);
    let held_out = split.before(dataset.num_frames()).validation;
    let joints = joints(dataset.frame_size);
    let non_finite = || (0..dataset.frames.len()).filter(|&i| !dataset.frames[i].is_finite());
    let jumps = jumps(dataset);
    let mut worst: Vec<_> = jumps.iter().collect();
    worst.sort_by(|a, b| b.1.ratio().total_cmp(&a.1.ratio()));

    let mut report = DataCheck {
        frames: dataset.num_frames(),
        frame_size: dataset.frame_size,
        clips: clips.len(),
        fps: dataset.fps(),
        minutes: dataset.num_frames() as f64 / dataset.fps() / 60.0,
        joints,
        groups: groups(dataset, joints),
        axes_off_length: joints.map_or(0, |joints| axes_off_length(dataset, joints)),
        constant_features: constant_features(dataset),
        non_finite: non_finite().count(),
        non_finite_places: non_finite()
            .take(LISTED)
            .map(|i| place(dataset, i / dataset.frame_size, i % dataset.frame_size))
            .collect(),
        jumps: jumps.len(),
        worst_jumps: worst
            .into_iter()
            .take(LISTED)
            .map(|(&frame, jump)| Jump {
                place: place(dataset, frame, jump.feature),
                change: jump.change,
                usual: jump.usual,
                features: jump.features,
            })
            .collect(),
        motion: View::of(dataset),
        span,
        short_clips: clips.iter().filter(|clip| clip.len() < span).count(),
        mirror_note,
        mirrored: trained_on.num_frames() > dataset.num_frames(),
        windows,
        held_out_windows,
        held_out: held_out.iter().map(|clip| [clip.start, clip.end]).collect(),
        batch_size: config.batch_size,
        batches,
        epochs: config.epochs(),
        epoch_steps: batches * config.rollout,
        ready: false,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let many = (dataset.frame_size / 25).max(2);
    report.judge(jumps.values().filter(|jump| jump.features >= many).count());
    report
}

impl DataCheck {
    /// Fills in the verdict; `seams` is the number of frames where many features jump.
    fn judge(&mut self, seams: usize) {
        if self.non_finite > 0 {
            self.problems.push(format!("{} values are not finite: mend or cut those frames", self.non_finite));
        }
        if self.batches == 0 {
            let held_out = match self.held_out_windows {
                0 => String::new(),
                windows => format!(" beside {windows} held out"),
            };
            self.problems.push(format!(
                "{} windows{held_out} are fewer than one mini-batch of {}: give more data or clips of at least {} \
                 frames, or lower the batch size or the rollout",
                self.windows, self.batch_size, self.span
            ));
        }
        self.ready = self.problems.is_empty();
        if self.jumps > 0 {
            self.warnings.push(format!("{} frames jump: look at them in the source", self.jumps));
        }
        if seams > 0 {
            self.warnings.push(format!(
                "in {seams} of them many features jump at once: perhaps the end of a clip is missing from end_indices"
            ));
        }
        if self.axes_off_length > 0 {
            self.warnings.push(format!(
                "{} joint axes are not of length 1: perhaps not the layout of root motion, positions, velocities, axes",
                self.axes_off_length
            ));
        }
        self.warnings.extend(self.motion.iter().flat_map(|view| view.doubts.iter().cloned()));
        self.warnings.extend(too_little(self.frames, self.fps));
        if self.short_clips > 0 {
            self.warnings.push(format!(
                "{} clips are shorter than {} frames: alone they give no window",
                self.short_clips, self.span
            ));
        }
    }
}

impl fmt::Display for DataCheck {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "frames      {} of {} features, {}, {:.1} minutes at {} frames a second",
            self.frames,
            self.frame_size,
            counted(self.clips, "clip"),
            self.minutes,
            self.fps
        )?;
        for (i, group) in self.groups.iter().enumerate() {
            let title = if i == 0 { "ranges" } else { "" };
            let features = format!("{} to {}", group.first, group.last);
            writeln!(f, "{title:11} {:11} {features:>10}  {:>10.4} to {:.4}", group.name, group.min, group.max)?;
        }
        let constant = self.constant_features.iter().map(|feature| format!("{feature}"));
        list(f, "constant", "features", self.constant_features.len(), constant.take(LISTED))?;
        let places = self.non_finite_places.iter().map(|place| format!("{place}"));
        list(f, "not finite", "values", self.non_finite, places)?;
        let jumps = self.worst_jumps.iter().map(|jump| format!("{jump}"));
        list(f, "jumps", "frames", self.jumps, jumps)?;
        match &self.motion {
            Some(view) => write!(f, "{view}")?,
            None => writeln!(f, "motion      not looked at: the file names no skeleton (see `mvae-fast data import`)")?,
        }
        writeln!(f, "short clips {} of less than {} frames", self.short_clips, self.span)?;
        let (windows, batches, size) = (self.windows, self.batches, self.batch_size);
        let held_out = self.held_out_windows;
        let mirrored = if self.mirrored { ", mirror images among them" } else { "" };
        writeln!(
            f,
            "windows     {windows}{mirrored}, {batches} mini-batches of {size} an epoch; {held_out} more are held out"
        )?;
        writeln!(f, "training    {} of {} steps", counted(self.epochs, "epoch"), self.epoch_steps)?;
        if let Some(note) = &self.mirror_note {
            writeln!(f, "{note}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning     {warning}")?;
        }
        for problem in &self.problems {
            writeln!(f, "problem     {problem}")?;
        }
        write!(f, "verdict     {}", if self.ready { "ready to train" } else { "not ready: mend the problems above" })
    }
}

/// Writes a title and count, then the listed places, then the number of places left out.
fn list(
    f: &mut fmt::Formatter,
    title: &str,
    what: &str,
    count: usize,
    items: impl Iterator<Item = String>,
) -> fmt::Result {
    if count == 0 {
        return writeln!(f, "{title:11} none");
    }
    writeln!(f, "{title:11} {count} {what}")?;
    let mut listed = 0;
    for item in items {
        writeln!(f, "{:11} {item}", "")?;
        listed += 1;
    }
    if count > listed { writeln!(f, "{:11} and {} more", "", count - listed) } else { Ok(()) }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "feature {} ({})", self.index, self.name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "clip {}", self.clip)?;
        if let Some(name) = &self.clip_name {
            write!(f, " ({name})")?;
        }
        write!(f, " at {:.2} s, frame {}, {}", self.seconds, self.frame, self.feature)
    }
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} changes by {:.4}, usually {:.4} at most", self.place, self.change, self.usual)?;
        if self.features > 1 { write!(f, "; {} features jump", self.features) } else { Ok(()) }
    }
}

fn groups(dataset: &Dataset, joints: Option<usize>) -> Vec<Group> {
    let bounds = match joints {
        Some(joints) => {
            let j = 3 * joints;
            vec![
                ("root motion", 0, 3),
                ("positions", 3, 3 + j),
                ("velocities", 3 + j, 3 + 2 * j),
                ("axes", 3 + 2 * j, 3 + 4 * j),
            ]
        }
        None => vec![("features", 0, dataset.frame_size)],
    };
    let range = |(name, first, stop): (&'static str, usize, usize)| {
        let rows = dataset.frames.chunks_exact(dataset.frame_size);
        let finite = rows.flat_map(|row| &row[first..stop]).filter(|x| x.is_finite());
        let (min, max) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &x| (min.min(x), max.max(x)));
        let (min, max) = if min <= max { (min, max) } else { (0.0, 0.0) };
        Group { name, first, last: stop - 1, min, max }
    };
    bounds.into_iter().map(range).collect()
}

fn axes_off_length(dataset: &Dataset, joints: usize) -> usize {
    let axes = dataset.frames.chunks_exact(dataset.frame_size).flat_map(|row| row[3 + 6 * joints..].chunks_exact(3));
    let length = |axis: &[f32]| axis.iter().map(|x| x * x).sum::<f32>().sqrt();
    axes.filter(|axis| (length(axis) - 1.0).abs() > 0.01).count()
}

fn constant_features(dataset: &Dataset) -> Vec<Feature> {
    let mut constant = vec![true; dataset.frame_size];
    for row in dataset.frames.chunks_exact(dataset.frame_size) {
        for ((constant, x), first) in constant.iter_mut().zip(row).zip(dataset.frame(0)) {
            *constant &= x == first;
        }
    }
    (0..dataset.frame_size).filter(|&i| constant[i]).map(|i| feature(dataset, i)).collect()
}

/// The worst jump of one frame.
struct FrameJump {
    feature: usize,
    change: f32,
    usual: f32,
    features: usize,
}

impl FrameJump {
    fn ratio(&self) -> f32 {
        self.change / self.usual
    }
}

/// The frames with jumps.
fn jumps(dataset: &Dataset) -> BTreeMap<usize, FrameJump> {
    let clips = dataset.clips();
    let mut found = BTreeMap::new();
    let mut changes = Vec::new(); // of one feature: the later frame, and by how much
    let mut sorted = Vec::new();
    for feature in 0..dataset.frame_size {
        let value = |frame| dataset.frames[frame * dataset.frame_size + feature];
        changes.clear();
        changes.extend(
            clips
                .iter()
                .flat_map(|clip| clip.start + 1..clip.end)
                .map(|frame| (frame, (value(frame) - value(frame - 1)).abs()))
                .filter(|(_, change)| change.is_finite() && *change > 0.0),
        );
        if changes.is_empty() {
            continue;
        }
        sorted.clear();
        sorted.extend(changes.iter().map(|&(_, change)| change));
        let at = (USUAL_QUANTILE * (sorted.len() - 1) as f64).ceil() as usize;
        let usual = *sorted.select_nth_unstable_by(at, f32::total_cmp).1;
        for &(frame, change) in changes.iter().filter(|(_, change)| *change > JUMP_FACTOR * usual) {
            let jump = found.entry(frame).or_insert(FrameJump { feature, change, usual, features: 0 });
            jump.features += 1;
            if change / usual > jump.ratio() {
                *jump = FrameJump { feature, change, usual, ..*jump };
            }
        }
    }
    found
}

fn place(dataset: &Dataset, frame: usize, index: usize) -> Place {
    let clip = dataset.clip_of(frame);
    let start = if clip == 0 { 0 } else { dataset.end_indices[clip - 1] + 1 };
    Place {
        clip,
        clip_name: dataset.clip_names.get(clip).cloned(),
        frame,
        seconds: (frame - start) as f64 / dataset.fps(),
        feature: feature(dataset, index),
    }
}

fn feature(dataset: &Dataset, index: usize) -> Feature {
    let name = match (joints(dataset.frame_size), index) {
        (Some(_), 0..3) => ["root forward", "root sideways", "root turn"][index].into(),
        (Some(joints), _) => {
            let (kind, joint) = ((index - 3) / (3 * joints), (index - 3) / 3 % joints);
            let kind = ["position", "velocity", "Y axis", "Z axis"][kind];
            let axis = ["x", "y", "z"][(index - 3) % 3];
            match &dataset.rig {
                Some(rig) => format!("{kind} {axis} of {}", rig.skeleton.names[joint]),
                None => format!("{kind} {axis} of joint {joint}"),
            }
        }
        (None, _) => "of no known meaning".into(),
    };
    Feature { index, name }
}

//! A reader of exponential maps: a line of numbers for each frame, with the root's place and three
//! numbers for each joint (axis times angle). A skeleton file names the joints. The CMU database is
//! distributed in this form.
use super::lines::{Fault, Frame, Lines, frame};
use super::{Content, Format, Head, Note, Recording, Sniff, SourceJoint};
use crate::host::toml as toml_file;
use crate::motion::quaternion::Quaternion;
use crate::motion::vector::{Vec3, length};
use crate::{Error, Result};
use serde::Deserialize;
use std::io::BufRead;
use std::path::Path;

/// The format.
pub const FORMAT: Format = Format {
    is: "holds lines of numbers",
    endings: &[".txt"],
    skeleton: Some("give --skeleton FILE.toml, which names the joints (--skeleton cmu for the CMU database's)"),
    sniff,
    read,
};

/// The built-in skeleton file, for the CMU database as distributed with Convolutional Sequence to
/// Sequence networks.
const CMU: &str = include_str!("cmu.toml");

/// The skeleton of files without one of their own: `--skeleton FILE.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpmapSkeleton {
    /// Frames a second, where files do not state them.
    pub fps: f64,
    /// True if rotations multiply row vectors, as in CMU's files: the exponential is then the
    /// inverse rotation.
    #[serde(default)]
    pub row_vectors: bool,
    /// The shape of the person whose bones these are, as AMASS files state it.
    pub betas: Option<Vec<f64>>,
    /// The joints, in the order of the numbers; parents come before children.
    pub joints: Vec<ExpmapJoint>,
}

/// One joint.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpmapJoint {
    /// Its name.
    pub name: String,
    /// The name of its parent; the first joint has none.
    pub parent: Option<String>,
    /// Its place in its parent's local axes. For the first joint, its place in the body at rest.
    pub offset: Vec3,
}

impl ExpmapSkeleton {
    /// Reads a skeleton file; the name `cmu` means the built-in one.
    pub fn load(path: &Path) -> Result<Self> {
        let text = if path == Path::new("cmu") { CMU.to_owned() } else { toml_file::read(path)? };
        let usage = |what: String| Error::Usage(format!("{}: {what}", path.display()));
        let skeleton: Self = toml_file::parse(path, &text)?;
        if !(skeleton.fps.is_finite() && skeleton.fps > 0.0) {
            return Err(usage(format!("fps is {}, expected frames a second", skeleton.fps)));
        }
        for (at, joint) in skeleton.joints.iter().enumerate() {
            if (at == 0) != joint.parent.is_none() || joint.parent.is_some() && skeleton.parent(at).is_none() {
                let expected = if at == 0 { "none, as the first joint" } else { "a joint before it" };
                let found = joint.parent.as_deref().unwrap_or("none");
                return Err(usage(format!("the parent of {} is {found}, expected {expected}", joint.name)));
            }
        }
        if skeleton.joints.is_empty() {
            return Err(usage("has no joints, expected [[joints]] with name, parent and offset".into()));
        }
        Ok(skeleton)
    }

    /// The parent of a joint.
    pub(super) fn parent(&self, joint: usize) -> Option<usize> {
        let parent = self.joints[joint].parent.as_ref()?;
        self.joints[..joint].iter().position(|joint| joint.name == *parent)
    }

    /// The joints of a recording of this skeleton. Frames list the place of the first.
    pub(super) fn source_joints(&self) -> Vec<SourceJoint> {
        let joint = |(at, joint): (usize, &ExpmapJoint)| {
            let ExpmapJoint { name, offset, .. } = joint.clone();
            SourceJoint { name, parent: self.parent(at), offset, moves: (at == 0).then_some(0) }
        };
        self.joints.iter().enumerate().map(joint).collect()
    }

    /// Reads the frames of a file.
    pub fn read(&self, reader: impl BufRead) -> Result<Recording, Fault> {
        let (joints, frame_time) = (self.source_joints(), 1.0 / self.fps);
        let mut recording = Recording { joints, frame_time, ..Recording::default() };
        let width = 3 + 3 * self.joints.len();
        let mut lines = Lines::new(reader);
        let mut values = Vec::with_capacity(width);
        let mut short = None;
        while let Some(line) = lines.next_line()? {
            if let Some(fault) = short {
                return Err(fault);
            }
            let words = line.split(|&byte| byte == b',' || byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
            match frame(words, width, &mut values) {
                Frame::Whole => {}
                Frame::Short => {
                    let expected = "3 and 3 for each joint of the skeleton";
                    short = Some(lines.fault(format!("{} numbers, expected {width}: {expected}", values.len())));
                    continue;
                }
                Frame::Bad(what) => return Err(lines.fault(what)),
            }
            recording.places.push([values[0], values[1], values[2]]);
            let sign = if self.row_vectors { -1.0 } else { 1.0 };
            let turns = values[3..].chunks_exact(3);
            recording.rotations.extend(turns.map(|r| exponential([sign * r[0], sign * r[1], sign * r[2]])));
        }
        match short {
            Some(fault) if recording.is_empty() => return Err(fault),
            Some(_) => recording.notes.push(Note::CutShort),
            None if recording.is_empty() => return Err(lines.fault("no frame, expected a line of numbers")),
            None => {}
        }
        recording.notes.extend(lines.marked().then_some(Note::EndMark));
        Ok(recording)
    }
}

fn sniff(head: &Head) -> Sniff {
    let first = head.start.trim_ascii_start().first();
    if first.is_some_and(|first| matches!(first, b'0'..=b'9' | b'-' | b'+' | b'.')) { Sniff::Maybe } else { Sniff::No }
}

fn read(file: Content) -> Result<Recording> {
    let skeleton = file.skeleton(&FORMAT)?;
    skeleton.read(file.bytes).map_err(|fault| fault.of(file.path))
}

/// The rotation about the axis `r` by the angle |r|, rad.
pub(super) fn exponential(r: Vec3) -> Quaternion {
    let angle = length(r);
    // sin(a/2) / a, by its series near 0.
    let share = if angle < 1e-6 { 0.5 - angle * angle / 48.0 } else { (0.5 * angle).sin() / angle };
    [share * r[0], share * r[1], share * r[2], (0.5 * angle).cos()]
}

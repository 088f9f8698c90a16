//! A reader of Biovision hierarchies (BVH) with the variations found in practice: any rotation
//! order for each joint, position channels on any joint, any line ends, any white space. Any other
//! deviation is refused with its line and the expected content.
use super::lines::{Fault, Frame, Lines, frame, number, shown};
use super::{Content, Format, Head, Note, Recording, Sniff, SourceJoint};
use crate::motion::quaternion::{Quaternion, product};
use crate::motion::rig::quantile;
use crate::motion::vector::{Vec3, add, length};
use std::collections::HashSet;
use std::io::BufRead;

/// The format.
pub const FORMAT: Format = Format {
    is: "is a BVH file",
    endings: &[".bvh"],
    skeleton: None,
    sniff,
    read: |file: Content| read(file.bytes).map_err(|fault| fault.of(file.path)),
};

/// The word at the beginning of a file.
const HIERARCHY: &[u8] = b"HIERARCHY";
/// Largest number of joints, more than any skeleton has.
const MAX_JOINTS: usize = 10_000;
/// Usual distance of a joint from 0, as a share of its offset's length, below which its position
/// channels are displacements. Places are as long as the offsets.
const DISPLACED: f64 = 0.5;

/// A channel of a joint: its axis, and whether it turns or moves the joint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Channel {
    axis: usize,
    turns: bool,
}

/// Text that begins otherwise may be BVH, too: the reader says what it expects in its first line.
fn sniff(head: &Head) -> Sniff {
    let word = head.start.trim_ascii_start().get(..HIERARCHY.len());
    if word.is_some_and(|word| word.eq_ignore_ascii_case(HIERARCHY)) { Sniff::Sure } else { Sniff::Maybe }
}

/// Reads a file.
pub fn read(reader: impl BufRead) -> Result<Recording, Fault> {
    let mut words = Words { lines: Lines::new(reader), line: Vec::new(), at: 0 };
    let (mut recording, channels) = read_hierarchy(&mut words)?;
    let frames = read_motion_header(&mut words, &mut recording)?;
    read_frames(&mut words.lines, frames, &channels, &mut recording)?;
    let places = settle_places(&channels, &mut recording);
    recording.notes.extend(places);
    Ok(recording)
}

/// The words of the hierarchy.
struct Words<R> {
    lines: Lines<R>,
    /// The current line, and the number of its bytes that were read.
    line: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Words<R> {
    /// The next word of the line.
    fn in_line(&mut self) -> Option<&[u8]> {
        let left = &self.line[self.at..];
        let start = self.at + left.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let left = &self.line[start..];
        let mut length = left.iter().position(u8::is_ascii_whitespace).unwrap_or(left.len());
        // A brace is a word of its own, even without white space before it.
        if length > 1 && matches!(left[length - 1], b'{' | b'}') {
            length -= 1;
        }
        self.at = start + length;
        Some(&self.line[start..self.at])
    }

    /// The next word; `expected` is for the fault if the file ends.
    fn next(&mut self, expected: &str) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(word) = self.in_line() {
                return Ok(word.to_vec());
            }
            self.line.clear();
            self.at = 0;
            match self.lines.next_line()? {
                Some(line) => self.line.extend_from_slice(line),
                None => return Err(self.lines.fault(format!("the file ends, expected {expected}"))),
            }
        }
    }

    fn expect(&mut self, keyword: &str) -> Result<(), Fault> {
        let word = self.next(keyword)?;
        if word.eq_ignore_ascii_case(keyword.as_bytes()) { Ok(()) } else { Err(self.unexpected(&word, keyword)) }
    }

    fn number(&mut self, expected: &str) -> Result<f64, Fault> {
        let word = self.next(expected)?;
        number(&word).ok_or_else(|| self.unexpected(&word, expected))
    }

    fn vector(&mut self) -> Result<Vec3, Fault> {
        let mut read = || self.number("OFFSET and three finite numbers");
        Ok([read()?, read()?, read()?])
    }

    /// The rest of the line up to a brace, as names may contain spaces.
    fn name(&mut self) -> String {
        let mut name = Vec::new();
        loop {
            let before = self.at;
            match self.in_line() {
                Some(b"{") => self.at = before,
                Some(word) => {
                    name.extend_from_slice(word);
                    name.push(b' ');
                    continue;
                }
                None => {}
            }
            return String::from_utf8_lossy(name.trim_ascii_end()).into_owned();
        }
    }

    fn unexpected(&self, word: &[u8], expected: &str) -> Fault {
        self.lines.fault(format!("found {}, expected {expected}", shown(word)))
    }
}

/// Reads the joints, and the channels of each.
fn read_hierarchy<R: BufRead>(words: &mut Words<R>) -> Result<(Recording, Vec<Vec<Channel>>), Fault> {
    words.expect("HIERARCHY")?;
    words.expect("ROOT")?;
    let (mut recording, mut channels) = (Recording::default(), Vec::new());
    let mut names = HashSet::new();
    let mut open = Vec::new(); // the joints whose braces are open, outermost first
    begin_joint(words, &mut recording, &mut names, &mut channels, &mut open)?;
    while let Some(&joint) = open.last() {
        const EXPECTED: &str = "JOINT, End Site or }";
        let word = words.next(EXPECTED)?;
        match &word.to_ascii_uppercase()[..] {
            b"JOINT" => begin_joint(words, &mut recording, &mut names, &mut channels, &mut open)?,
            b"END" => {
                words.name();
                words.expect("{")?;
                words.expect("OFFSET")?;
                recording.ends.push((joint, words.vector()?));
                words.expect("}")?;
            }
            b"}" => {
                open.pop();
            }
            _ => return Err(words.unexpected(&word, EXPECTED)),
        }
    }
    let (joints, width) = (channels.len(), channels.iter().map(Vec::len).sum::<usize>());
    if joints > width {
        // Joints without channels take memory in every frame, but no byte of the file.
        let what = format!("{joints} joints have {width} channels in all, expected as many at least");
        return Err(words.lines.fault(what));
    }
    Ok((recording, channels))
}

/// Reads a joint from its name to its channels.
fn begin_joint<R: BufRead>(
    words: &mut Words<R>,
    recording: &mut Recording,
    names: &mut HashSet<String>,
    channels: &mut Vec<Vec<Channel>>,
    open: &mut Vec<usize>,
) -> Result<(), Fault> {
    let name = words.name();
    if name.is_empty() {
        return Err(words.lines.fault("expected a name behind ROOT or JOINT"));
    }
    if !names.insert(name.clone()) {
        return Err(words
            .lines
            .fault(format!("a second joint {}, expected a name of its own", shown(name.as_bytes()))));
    }
    if recording.joints.len() == MAX_JOINTS {
        return Err(words.lines.fault(format!("more than {MAX_JOINTS} joints, expected a skeleton")));
    }
    words.expect("{")?;
    words.expect("OFFSET")?;
    let offset = words.vector()?;
    words.expect("CHANNELS")?;
    let list = read_channels(words)?;
    let moves = list.iter().any(|channel| !channel.turns).then(|| recording.moving());
    let parent = open.last().copied();
    open.push(recording.joints.len());
    recording.joints.push(SourceJoint { name, parent, offset, moves });
    channels.push(list);
    Ok(())
}

fn read_channels<R: BufRead>(words: &mut Words<R>) -> Result<Vec<Channel>, Fault> {
    const EXPECTED: &str = "a number of channels from 0 to 6";
    let word = words.next(EXPECTED)?;
    let count = number(&word).filter(|count| (0.0..=6.0).contains(count) && count.fract() == 0.0);
    let count = count.ok_or_else(|| words.unexpected(&word, EXPECTED))?;
    let mut list = Vec::new();
    for _ in 0..count as usize {
        const EXPECTED: &str = "Xposition, Yposition, Zposition, Xrotation, Yrotation or Zrotation, each once";
        let word = words.next(EXPECTED)?;
        let lower = word.to_ascii_lowercase();
        let axis = lower.first().and_then(|letter| b"xyz".iter().position(|axis| axis == letter));
        let turns = match lower.get(1..) {
            Some(b"rotation") => Some(true),
            Some(b"position") => Some(false),
            _ => None,
        };
        match axis.zip(turns).map(|(axis, turns)| Channel { axis, turns }) {
            Some(channel) if !list.contains(&channel) => list.push(channel),
            _ => return Err(words.unexpected(&word, EXPECTED)),
        }
    }
    Ok(list)
}

/// Reads `MOTION`, `Frames:` and `Frame Time:`; returns the number of frames.
fn read_motion_header<R: BufRead>(words: &mut Words<R>, recording: &mut Recording) -> Result<usize, Fault> {
    words.expect("MOTION")?;
    let whole = |frames: f64| (1.0..1e15).contains(&frames) && frames.fract() == 0.0;
    let frames = labelled(words, "frames", "Frames: and how many, at least 1", whole)?;
    // Whether this can be the time between frames is decided later, where another time may be
    // given.
    recording.frame_time = labelled(words, "frame time", "Frame Time: and seconds", |_| true)?;
    Ok(frames as usize)
}

/// Reads a line of a label, a colon with or without space around it, and a number.
fn labelled<R: BufRead>(
    words: &mut Words<R>,
    label: &str,
    expected: &str,
    fits: impl Fn(f64) -> bool,
) -> Result<f64, Fault> {
    let mut line = words.next(expected)?;
    while let Some(word) = words.in_line() {
        line.push(b' ');
        line.extend_from_slice(word);
    }
    let text = String::from_utf8_lossy(&line).to_ascii_lowercase();
    let (found, value) = text.split_once(':').unwrap_or_default();
    let value = number(value.trim().as_bytes()).filter(|&value| found.trim() == label && fits(value));
    value.ok_or_else(|| words.unexpected(&line, expected))
}

/// Reads the frames, one a line: as many as the file states, or one more or less. An incomplete
/// last line is no frame.
fn read_frames<R: BufRead>(
    lines: &mut Lines<R>,
    said: usize,
    channels: &[Vec<Channel>],
    recording: &mut Recording,
) -> Result<(), Fault> {
    let width: usize = channels.iter().map(Vec::len).sum();
    let (mut values, mut found, mut short) = (Vec::with_capacity(width), 0, None);
    while let Some(line) = lines.next_line()? {
        if let Some(fault) = short {
            return Err(fault);
        }
        found += 1;
        if found > said + 1 {
            while lines.next_line()?.is_some() {
                found += 1;
            }
            return Err(
                lines.fault(format!("Frames: says {said}, but {found} lines follow; correct the one or the other"))
            );
        }
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        match frame(words, width, &mut values) {
            Frame::Whole => push_frame(&values, channels, recording),
            Frame::Short => {
                let less =
                    format!("{} numbers, expected {width}: one frame a line, one number a channel", values.len());
                short = Some(lines.fault(less));
            }
            Frame::Bad(what) => return Err(lines.fault(what)),
        }
    }
    if found + 1 < said {
        return Err(lines.fault(format!("the file ends after {found} frames, expected {said} as it says")));
    }
    match short {
        Some(fault) if recording.is_empty() => return Err(fault),
        Some(_) => recording.notes.push(Note::CutShort),
        None if recording.is_empty() => return Err(lines.fault("the file ends, expected a line of numbers")),
        None => {}
    }
    let count = recording.len();
    recording.notes.extend((count > said).then_some(Note::FrameMore));
    recording.notes.extend((found < said).then_some(Note::FrameLess));
    recording.notes.extend(lines.marked().then_some(Note::EndMark));
    Ok(())
}

/// Decides for a whole file how to read the position channels below the root: as places of joints,
/// or as displacements, to which the offsets are then added. Each joint votes by its usual
/// position. Returns the result if there are such channels. The channels of the root are places.
fn settle_places(channels: &[Vec<Channel>], recording: &mut Recording) -> Option<Note> {
    const LOOKS: usize = 64;
    let moving = recording.moving();
    // Indices of joints' places within a frame, and their offsets along the axes that have a
    // channel.
    let (mut joints, mut displaced) = (Vec::new(), 0);
    for (joint, channels) in recording.joints.iter().zip(channels) {
        let (Some(at), Some(_)) = (joint.moves, joint.parent) else { continue };
        let (mut offset, mut usual) = ([0.0; 3], [0.0; 3]);
        for axis in channels.iter().filter(|channel| !channel.turns).map(|channel| channel.axis) {
            offset[axis] = joint.offset[axis];
            let frames = recording.some_frames(LOOKS);
            usual[axis] = quantile(frames.map(|frame| recording.places[frame * moving + at][axis]).collect(), 0.5);
        }
        if offset != [0.0; 3] {
            joints.push((at, offset));
            displaced += usize::from(length(usual) < DISPLACED * length(offset));
        }
    }
    if 2 * displaced <= joints.len() {
        return (!joints.is_empty()).then_some(Note::Places);
    }
    for places in recording.places.chunks_exact_mut(moving) {
        joints.iter().for_each(|&(at, offset)| places[at] = add(places[at], offset));
    }
    Some(Note::Displacements)
}

fn push_frame(mut values: &[f64], channels: &[Vec<Channel>], recording: &mut Recording) {
    for (joint, channels) in recording.joints.iter().zip(channels) {
        let mut rotation = [0.0, 0.0, 0.0, 1.0];
        let mut place = joint.offset;
        for (channel, &value) in channels.iter().zip(values) {
            if channel.turns {
                rotation = product(rotation, about(channel.axis, value.to_radians()));
            } else {
                place[channel.axis] = value;
            }
        }
        values = &values[channels.len()..];
        recording.rotations.push(rotation);
        if joint.moves.is_some() {
            recording.places.push(place);
        }
    }
}

/// The rotation about one axis.
fn about(axis: usize, angle: f64) -> Quaternion {
    let (s, c) = (0.5 * angle).sin_cos();
    let mut q = [0.0, 0.0, 0.0, c];
    q[axis] = s;
    q
}

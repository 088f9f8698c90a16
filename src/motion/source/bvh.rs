//! Reads Biovision hierarchies (BVH) as they are found: any rotation order per joint, position channels on any joint, any
//! line ends, any space; anything else is refused with its line and what was expected there.
use super::lines::{Fault, Lines, number, shown};
use super::{Recording, SourceJoint};
use crate::motion::quaternion::{Quaternion, product};
use crate::motion::vector::Vec3;
use std::collections::{HashSet, VecDeque};
use std::io::BufRead;

/// More joints than any skeleton has.
const MAX_JOINTS: usize = 10_000;

/// A channel of a joint: which axis, and whether it turns or moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Channel {
    axis: usize,
    turns: bool,
}

/// Reads a file; position channels replace the offset.
pub fn read(reader: impl BufRead) -> Result<Recording, Fault> {
    let mut words = Words { lines: Lines::new(reader), line: VecDeque::new() };
    let (mut recording, channels) = read_hierarchy(&mut words)?;
    let frames = read_motion_header(&mut words, &mut recording)?;
    read_frames(&mut words.lines, frames, &channels, &mut recording)?;
    Ok(recording)
}

/// The words of the hierarchy, and those left of the line.
struct Words<R> {
    lines: Lines<R>,
    line: VecDeque<Vec<u8>>,
}

impl<R: BufRead> Words<R> {
    /// The next word; `expected` is for the fault at the end of the file.
    fn next(&mut self, expected: &str) -> Result<Vec<u8>, Fault> {
        while self.line.is_empty() {
            match self.lines.next_line()? {
                None => return Err(self.lines.fault(format!("the file ends, expected {expected}"))),
                Some(line) => {
                    // A brace is a word of its own, also without space around it.
                    for word in line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()) {
                        match word {
                            [name @ .., brace @ (b'{' | b'}')] if !name.is_empty() => {
                                self.line.extend([name.to_vec(), vec![*brace]]);
                            }
                            word => self.line.push_back(word.to_vec()),
                        }
                    }
                }
            }
        }
        Ok(self.line.pop_front().unwrap_or_default())
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

    /// The rest of the line up to a brace: names may hold spaces.
    fn name(&mut self) -> String {
        let mut name = Vec::new();
        while self.line.front().is_some_and(|word| word != b"{") {
            name.extend(self.line.pop_front());
        }
        String::from_utf8_lossy(&name.join(&b' ')).into_owned()
    }

    fn unexpected(&self, word: &[u8], expected: &str) -> Fault {
        self.lines.fault(format!("found {}, expected {expected}", shown(word)))
    }
}

/// The joints, and the channels of each.
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
    recording.frame_time = labelled(words, "frame time", "Frame Time: and seconds, more than 0", |time| time > 0.0)?;
    Ok(frames as usize)
}

/// A line of a label, a colon with or without space around it, and a number.
fn labelled<R: BufRead>(
    words: &mut Words<R>,
    label: &str,
    expected: &str,
    fits: impl Fn(f64) -> bool,
) -> Result<f64, Fault> {
    let mut line = words.next(expected)?;
    for word in words.line.drain(..) {
        line.push(b' ');
        line.extend(word);
    }
    let text = String::from_utf8_lossy(&line).to_ascii_lowercase();
    let (found, value) = text.split_once(':').unwrap_or_default();
    let value = number(value.trim().as_bytes()).filter(|&value| found.trim() == label && fits(value));
    value.ok_or_else(|| words.unexpected(&line, expected))
}

/// Reads the frames, one a line.
fn read_frames<R: BufRead>(
    lines: &mut Lines<R>,
    frames: usize,
    channels: &[Vec<Channel>],
    recording: &mut Recording,
) -> Result<(), Fault> {
    let width: usize = channels.iter().map(Vec::len).sum();
    let mut values = Vec::with_capacity(width);
    for frame in 0..frames {
        let Some(line) = lines.next_line()? else {
            return Err(lines.fault(format!("the file ends after {frame} frames, expected {frames} as it says")));
        };
        values.clear();
        let mut bad = None;
        for word in line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            match number(word) {
                Some(value) if values.len() < width => values.push(value),
                Some(_) => bad = Some(format!("more than the {width} numbers of a frame")),
                None => bad = Some(format!("found {}, expected a finite number", shown(word))),
            }
            if bad.is_some() {
                break;
            }
        }
        if let Some(what) = bad {
            return Err(lines.fault(what));
        }
        if values.len() < width {
            let found = values.len();
            return Err(
                lines.fault(format!("{found} numbers, expected {width}: one frame a line, one number a channel"))
            );
        }
        push_frame(&values, channels, recording);
    }
    if lines.next_line()?.is_some() {
        return Err(lines.fault(format!("a line behind the last frame, expected the {frames} the file says")));
    }
    Ok(())
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

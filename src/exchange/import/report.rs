//! Findings of an import: text for a person and JSON for a program, from one structure.
use crate::host::shown::counted;
use crate::motion::source::Note;
use serde::Serialize;
use std::fmt;

/// Findings and assumptions of an import, under their names in `data import --json`
/// (docs/features.md). Lengths are metres.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Findings {
    /// The joint map that fits; `None` if all joints of the body are kept.
    pub map: Option<String>,
    /// The joints kept, in the order of the features.
    pub joints: Vec<String>,
    /// The joints of the files that are not kept.
    pub left_out: Vec<String>,
    /// The joint taken for the hips.
    pub hips: String,
    /// Left and right upper leg.
    pub up_legs: [String; 2],
    /// Left and right toe.
    pub toes: [String; 2],
    /// Unit of the files.
    pub units: Units,
    /// Direction of the files that is up.
    pub up: Upwards,
    /// Length of the shortest and of the longest leg, upper leg to toe.
    pub legs: [f64; 2],
    /// Distance of the upper legs.
    pub hip_width: f64,
    /// Share of the way that the body walks forwards; negative if it walks backwards, `None` if the
    /// way is shorter than a leg.
    pub facing_share: Option<f64>,
    /// Frames a second of the files.
    pub source_fps: Vec<f64>,
    /// Frames a second of the set.
    pub fps: f64,
    /// Frame times that are rounded forms of another rate's, with the assumed rates.
    pub frame_times: Vec<FrameTime>,
    /// Frames left out at the start of each file, as requested; `None` if they were searched for.
    pub skip_first: Option<usize>,
    /// Frames left out at the end of each file, as requested; `None` if they were searched for.
    pub skip_last: Option<usize>,
    /// The files that lost frames.
    pub frames_left_out: Vec<LeftOut>,
    /// The files with steps that no body makes.
    pub torn: Vec<TornFile>,
    /// Oddities, and the files that have each.
    pub odd_files: Vec<OddFiles>,
    /// Files that were given more than once.
    pub repeated: usize,
    /// Height of the floor, and clips that were moved to it.
    pub floor: Floor,
    /// Other findings, one line each.
    pub notes: Vec<String>,
    /// Possible mistakes, each with its mend.
    pub warnings: Vec<String>,
}

/// A unit, and its source.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Units {
    /// Name of the unit.
    pub name: String,
    /// Metres in one.
    pub metres: f64,
    /// Source of the unit.
    pub by: By,
    /// Length of the first file's leg, in this unit.
    pub leg: f64,
    /// Other units that the files may be in.
    pub alternatives: Vec<Alternative>,
}

/// A unit that files may be in.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Alternative {
    /// Name of the unit.
    pub name: String,
    /// Metres in one.
    pub metres: f64,
    /// Length of the leg in this unit, metres.
    pub leg: f64,
}

/// The direction up, and its source.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Upwards {
    /// x, y, z, -x, -y or -z.
    pub axis: String,
    /// Source of the direction.
    pub by: By,
}

/// The source of a convention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Guessed from the body.
    #[default]
    Guess,
    /// Given as an option.
    Option,
    /// The files are our own exports, which declare it.
    File,
}

/// A frame time that was taken for another rate's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct FrameTime {
    /// Seconds between frames, as the files state.
    pub seconds: f64,
    /// The assumed frames a second.
    pub fps: f64,
}

/// Frames of a file that are left out of the set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Name of the file.
    pub file: String,
    /// Frames left out at its start.
    pub first: usize,
    /// Frames left out at its end.
    pub last: usize,
}

/// A file with steps that no body makes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TornFile {
    /// Name of the file.
    pub file: String,
    /// The worst fault, and its frame.
    pub fault: String,
    /// Frames of the set left out beside the tears; 0 if the file was kept whole.
    pub left_out: usize,
    /// The worst fault as a multiple of its limit.
    #[serde(skip)]
    pub severity: f64,
}

/// Files that share an oddity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OddFiles {
    /// Oddity.
    pub note: Note,
    /// Names of the files.
    pub files: Vec<String>,
}

/// Height of the floor, and clips that were moved to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Floor {
    /// True if clips were left at their heights.
    pub kept: bool,
    /// Lowest height of the toes in the set, metres.
    pub toes: f64,
    /// Clips that were moved up or down.
    pub moved: usize,
    /// Largest distance moved, metres.
    pub most: f64,
    /// Clips in all.
    pub clips: usize,
}

/// Rounds to a tenth of a millimetre, or to four decimals of another quantity.
pub(super) fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

/// A number without trailing zeros.
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Number of items of a list that are named.
const NAMED: usize = 5;

/// The first `most` items of a list, and the number of further ones.
pub(super) fn some(list: &[String], most: usize) -> String {
    let more = list.len().saturating_sub(most);
    let shown = list[..list.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// The report as text: findings first, then a line for each warning.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Findings { hips, up_legs: [left_leg, right_leg], toes: [left_toe, right_toe], .. } = self;
        let map = self.map.as_deref().unwrap_or("none, all joints of the body");
        let joints = counted(self.joints.len(), "joint");
        writeln!(f, "joint map: {map} ({joints}, hips {hips}, toes {left_toe} and {right_toe})")?;
        if !self.left_out.is_empty() {
            writeln!(f, "left out: {}: {}", counted(self.left_out.len(), "joint"), self.left_out.join(", "))?;
        }
        let [shortest, longest] = self.legs;
        let legs = if longest > 1.005 * shortest {
            format!("{shortest:.3} to {longest:.3} m, the skeleton kept is their mean")
        } else {
            format!("{longest:.3} m")
        };
        writeln!(f, "bodies: legs from {left_leg} to {left_toe} {legs}")?;
        writeln!(f, "hip width: {:.3} m, from {left_leg} to {right_leg}", self.hip_width)?;
        match self.facing_share {
            Some(share) => writeln!(f, "facing share: {share:.2} of the way is walked forwards")?,
            None => writeln!(f, "facing share: unknown, the body stays where it is")?,
        }
        let Units { name, metres, by, leg, .. } = &self.units;
        match by {
            By::Guess => writeln!(f, "units: {name}, guessed from a leg of {leg:.4}: {:.2} m (--units)", leg * metres)?,
            By::Option => writeln!(f, "units: {name}, which make a leg {:.2} m", leg * metres)?,
            By::File => writeln!(f, "units: {name}, as the file declares")?,
        }
        match self.up.by {
            By::Guess => writeln!(f, "up: {}, as the hips are above the toes that way (--up)", self.up.axis)?,
            By::Option => writeln!(f, "up: {}", self.up.axis)?,
            By::File => writeln!(f, "up: {}, as the file declares", self.up.axis)?,
        }
        if self.repeated > 0 {
            writeln!(f, "files: {} given more than once, taken once", self.repeated)?;
        }
        if self.source_fps != [self.fps] {
            let rates: Vec<String> = self.source_fps.iter().map(|rate| short(*rate)).collect();
            writeln!(f, "frame rate: {} in the files, resampled to {}", rates.join(", "), self.fps)?;
        }
        for FrameTime { seconds, fps } in &self.frame_times {
            let fps = short(*fps);
            writeln!(f, "frame time: {seconds} s is taken for that of {fps} frames a second (--source-fps)")?;
        }
        self.left_out_at(f, "first", self.skip_first, |file| file.first)?;
        self.left_out_at(f, "last", self.skip_last, |file| file.last)?;
        let cut = || self.torn.iter().filter(|file| file.left_out > 0);
        if cut().next().is_some() {
            let list: Vec<String> = cut().map(|file| format!("{} ({})", file.file, file.fault)).collect();
            let frames = cut().map(|file| file.left_out).sum();
            writeln!(
                f,
                "torn: {} cut at steps that no body makes, {} left out (--torn keep): {}",
                counted(list.len(), "file"),
                counted(frames, "frame"),
                some(&list, NAMED)
            )?;
        }
        for OddFiles { note, files } in &self.odd_files {
            writeln!(f, "{note}: {}", some(files, NAMED))?;
        }
        let Floor { kept, toes, moved, most, clips } = self.floor;
        let toes = format!("toes come down to {:.1} cm", 100.0 * toes);
        match (kept, moved) {
            (true, _) => writeln!(f, "floor: as in the files, {toes}")?,
            (_, 0) => writeln!(f, "floor: {toes}, the same in all clips")?,
            (_, moved) => writeln!(
                f,
                "floor: {toes}; {moved} of {clips} clips were moved, by up to {:.1} cm (--floor keep leaves them)",
                100.0 * most
            )?,
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

impl Findings {
    /// The line about frames left out at one end.
    fn left_out_at(
        &self,
        f: &mut fmt::Formatter,
        end: &str,
        asked: Option<usize>,
        count: fn(&LeftOut) -> usize,
    ) -> fmt::Result {
        let files = self.frames_left_out.iter().filter(|file| count(file) > 0);
        let list: Vec<String> = files.map(|file| format!("{} of {}", count(file), file.file)).collect();
        match asked {
            _ if list.is_empty() => Ok(()),
            Some(frames) => writeln!(f, "{end} frames: {frames} of each file left out"),
            None => {
                let files = counted(list.len(), "file");
                let list = some(&list, NAMED);
                writeln!(f, "{end} frames: not of the motion in {files}, left out (--skip-{end}): {list}")
            }
        }
    }
}

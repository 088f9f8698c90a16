//! Conversion of one file to the frames of one clip.
use super::torn::{Fault, Tear, Tears};
use super::{Alternative, By, Findings, ImportOptions, Units, Upwards, rounded};
use crate::data::kind::{self, Source};
use crate::exchange::export::bvh::DECLARATION;
use crate::host::shown::counted;
use crate::motion::body::{Body, Measures};
use crate::motion::features::Part;
use crate::motion::joint_map::{self, Picked};
use crate::motion::rig::{METRES, quantile};
use crate::motion::source::{Content, Note, Recording, inserted, rate};
use crate::motion::units::{Scale, Unit, Up};
use crate::motion::vector::{length, scale, sub};
use crate::motion::{Pose, Root, Skeleton, features};
use crate::{Error, Result};
use std::io::BufRead;

/// Frame rates of motion, a second.
pub const RATES: std::ops::RangeInclusive<f64> = 1.0..=10_000.0;
/// Ratio of the hips' height above the toes to their distance to any side, above which a file's up
/// counts as different from that of the files before it. (Someone who lies along that axis all the
/// time has to be imported with `--up`.)
const CLEARLY: f64 = 2.0;
/// Ratio of leg lengths above which a file's unit counts as different from that of the files before
/// it, if its leg is a grown-up's in the new unit. Sizes of people differ less.
const OTHER_UNIT: f64 = 2.0;
/// Height of the rest of a body above its hips, as a share of its distance from them, above which
/// the body stands upright. Some poses suffice.
const UPRIGHT: f64 = 0.7;
/// Unit and up direction of our own exports.
const OURS: (Unit, Up) = (Unit::Cm, Up::Y);

/// The conventions of all files of a set, found in the first file.
pub(super) struct Conventions {
    /// The joints kept.
    pub picked: Picked,
    unit: Scale,
    up: Up,
    /// The sources of unit and up direction.
    by: [By; 2],
    /// Other units that the files may be in.
    alternatives: Vec<Unit>,
    /// Doubts about joints, unit and up direction.
    warnings: Vec<String>,
}

/// The joints of a skeleton: the name and the parent of each.
pub(super) type Joints = Vec<(String, Option<usize>)>;

/// The reason why a file does not belong to a set.
pub(super) enum Refusal {
    /// Its skeleton is another one.
    Skeleton(Joints),
    /// Something else.
    Other(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Other(error)
    }
}

/// The frames of one file.
pub(super) struct Clip {
    pub frames: Vec<f32>,
    /// Place and facing of the first frame.
    pub root: Root,
    /// Findings about the file's frames.
    pub file: About,
    /// Speeds, m/s: median and 95 % quantile of the root's, and the 95 % quantile of the toes'.
    pub speeds: [f64; 3],
    /// Steps that no body makes.
    pub tears: Tears,
    /// True if the file is one of our own exports.
    pub ours: bool,
    /// Length of the left leg, feet.
    pub leg: f64,
    /// The joints that are not kept.
    pub left_out: Vec<String>,
}

/// The content of a file.
struct Read {
    /// The frames that belong to the motion.
    recording: Recording,
    about: About,
    /// True if the file is one of our own exports.
    ours: bool,
}

/// Findings about the frames of a file.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// Frames left out at the start and at the end.
    pub left_out: [usize; 2],
    /// Seconds between frames, as the file states.
    pub frame_time: f64,
    /// Frames a second.
    pub rate: f64,
    /// Oddities of the file.
    pub notes: Vec<Note>,
}

impl Conventions {
    /// Reads the first file and finds the conventions of the set.
    pub fn of_first(source: &Source, options: &ImportOptions) -> Result<(Self, Clip)> {
        let refuse = |what: String, mend: &str| Error::data(&source.path, what, mend);
        let file = read(source, options)?;
        let body = Body::new(&file.recording);
        let picked = pick(source, options, &file.recording, &body)?;
        let roles = picked.roles();
        let mut warnings = Vec::new();
        if !picked.measures.fits {
            let [left, right] = picked.skeleton.up_legs.map(|joint| &picked.skeleton.names[joint]);
            warnings.push(format!(
                "{left} and {right} are no pair of upper legs, apart from each other and with toes below: see up_legs and toes \
                 of the map"
            ));
        }

        let above = body.hips_above_toes(&roles);
        let (clearly, found) = (Up::along(above, CLEARLY), Up::along(above, 1.0));
        let (up, up_by) = match (options.up, found) {
            (Some(up), _) => (up, By::Option),
            (None, _) if file.ours => (OURS.1, By::File),
            (None, Some(up)) => (up, By::Guess),
            (None, None) => {
                let what = "the hips are above the toes along no axis";
                return Err(refuse(what.into(), "say which direction is up with --up y, z, -y and so on"));
            }
        };
        let stands = |up| body.stands(&roles, &picked.sources, up);
        if let Some(other) = clearly.filter(|other| *other != up) {
            warnings.push(format!("up is {up}, but the hips are above the toes along {other}: try --up {other}"));
        } else if clearly.is_none() && up_by == By::Guess {
            warnings.push(format!(
                "up is {up}, but the hips are off to another side of the toes more than half as far: if it is wrong, give --up"
            ));
        } else if stands(up) < -UPRIGHT {
            warnings.push(format!("up is {up}, but the body hangs below its hips that way: if it is wrong, give --up"));
        }

        let (leg, upright) = (picked.measures.leg, stands(found.unwrap_or(up)) > UPRIGHT);
        let (with_foot, guess) = (picked.measures.with_foot, Unit::guess(picked.measures.with_foot, upright));
        let (unit, unit_by) = match (options.units, guess) {
            (Some(unit), _) => (unit, By::Option),
            (None, _) if file.ours => (OURS.0.into(), By::File),
            (None, Some(unit)) => (unit.into(), By::Guess),
            (None, None) => {
                let what = format!("its legs are {leg:.4} long, a person's in no unit");
                return Err(refuse(what, "give --units, a unit or a number of metres"));
            }
        };
        let doubtful = guess.filter(|unit| unit_by == By::Guess && !(upright && unit.is_sure(with_foot)));
        let alternatives: Vec<Unit> = doubtful.into_iter().flat_map(|unit| unit.alternatives(with_foot)).collect();
        if let Some(unit) = doubtful {
            let of = |unit: &Unit| format!("{:.2} m in {unit}", leg * unit.metres());
            let others: Vec<String> = alternatives.iter().map(of).collect();
            let who = if upright { "no grown-up's" } else { "and the body does not stand upright, as an animal" };
            let (this, others) = (of(&unit), others.join(", "));
            let others = if others.is_empty() { others } else { format!("; it is {others}") };
            warnings.push(format!("a leg is {this}, {who}{others}: give --units if that is wrong"));
        }
        let conventions = Conventions { picked, unit, up, by: [unit_by, up_by], alternatives, warnings };
        let clip = conventions.take(source, options, &file, &conventions.picked)?;
        Ok((conventions, clip))
    }

    /// Reads another file, which must have the same joints, unit and up direction.
    pub fn clip(&self, source: &Source, options: &ImportOptions) -> Result<Clip, Refusal> {
        let refuse = |what: String, mend: &str| Error::data(&source.path, what, mend);
        let file = read(source, options)?;
        let body = Body::new(&file.recording);
        let picked = match self.picked.again(&file.recording, &body) {
            Some(picked) => picked,
            None => pick(source, options, &file.recording, &body)?,
        };
        let (ours, theirs) = (&self.picked.skeleton, &picked.skeleton);
        if ours.names != theirs.names || ours.parents != theirs.parents {
            let Skeleton { names, parents, .. } = picked.skeleton;
            return Err(Refusal::Skeleton(names.into_iter().zip(parents).collect()));
        }
        let Measures { leg, with_foot, .. } = picked.measures;
        let ratio = leg / self.picked.measures.leg;
        let differs = options.units.is_none() && !file.ours && !(1.0 / OTHER_UNIT..=OTHER_UNIT).contains(&ratio);
        let sure = |unit: &Unit| unit.is_sure(with_foot) && unit.metres() != self.unit.metres;
        if let Some(unit) = Unit::guess(with_foot, true).filter(|_| differs).filter(sure) {
            let what = format!("its legs are {leg:.2} long: {unit}, not {} as in the files before it", self.unit);
            return Err(refuse(what, "import it apart, or give --units").into());
        }
        let up = Up::along(body.hips_above_toes(&picked.roles()), CLEARLY);
        if let Some(up) = up.filter(|up| options.up.is_none() && !file.ours && *up != self.up) {
            let what = format!("its hips are above the toes along {up}, not {} as in the files before it", self.up);
            return Err(refuse(what, &format!("import it apart, or give --up {} if the person lies", self.up)).into());
        }
        Ok(self.take(source, options, &file, &picked)?)
    }

    fn take(&self, source: &Source, options: &ImportOptions, file: &Read, picked: &Picked) -> Result<Clip> {
        let &Read { ref recording, ref about, ours } = file;
        let joints = &picked.sources;
        let unit = if ours && options.units.is_none() { OURS.0.into() } else { self.unit };
        let up = if ours && options.up.is_none() { OURS.1 } else { self.up };
        let pose = |moment| pose(recording, moment, joints, unit, up);
        let refuse = |what: String, mend: &str| Error::data(&source.path, what, mend);
        let step = about.rate / options.fps;
        let span = (recording.len() - 1) as f64;
        let poses = (span / step + 1e-6) as usize + 1;
        if poses < 2 {
            let what = format!(
                "its {} last {:.3} s, and one frame of the set {:.3} s",
                counted(recording.len(), "frame"),
                span / about.rate,
                1.0 / options.fps
            );
            return Err(refuse(what, "leave it out, or give a higher --fps"));
        }
        let skeleton = &self.picked.skeleton;
        let mut frames = Vec::with_capacity((poses - 1) * features::frame_size(skeleton.len()));
        let mut previous = pose(0.0);
        let mut root = Root::default();
        // The speed of a step of one foot, m/s.
        let metres = METRES * options.fps;
        let mut tears = Tears::default();
        for frame in 1..poses {
            let moment = frame as f64 * step;
            // A moment that is a frame of the file except for rounding is taken as that frame.
            let nearest = moment.round();
            let moment = if (moment - nearest).abs() < 1e-6 { nearest } else { moment };
            let pose = pose(moment.min((recording.len() - 1) as f64));
            let row = frames.len();
            features::push(&mut frames, skeleton, &previous, &pose);
            let to = about.left_out[0] + nearest as usize + 1;
            let moves = previous.positions.iter().zip(&pose.positions).map(|(from, to)| length(sub(*to, *from)));
            let faults = moves.enumerate().map(|(joint, feet)| Fault::Fast { joint, speed: metres * feet });
            let spin = Fault::Spin(options.fps * f64::from(frames[row + 2]).to_degrees());
            let fault = faults.fold(spin, |worst, fault| if fault.ratio() > worst.ratio() { fault } else { worst });
            tears.see(frame - 1, Tear { frame: to, fault });
            if frame == 1 {
                root = Root::of(skeleton, &pose);
            }
            previous = pose;
        }
        if let Some(at) = frames.iter().position(|x| !x.is_finite()) {
            let seconds = (at / features::frame_size(skeleton.len())) as f64 / options.fps;
            return Err(refuse(format!("its numbers at {seconds:.2} s are too large"), "mend or cut the file"));
        }
        let leg = picked.measures.leg * unit.metres / METRES;
        let (speeds, left_out) = (speeds(&frames, skeleton, options.fps), picked.left_out.clone());
        Ok(Clip { frames, root, file: about.clone(), speeds, tears, ours, leg, left_out })
    }

    /// Makes the report of the findings in the first file, before all clips are known.
    pub fn report(&self, options: &ImportOptions) -> Findings {
        let skeleton = &self.picked.skeleton;
        let name = |joint: usize| skeleton.names[joint].clone();
        let leg = self.picked.measures.leg;
        let alternative = |unit: &Unit| Alternative {
            name: unit.to_string(),
            metres: unit.metres(),
            leg: rounded(leg * unit.metres()),
        };
        let [unit_by, up_by] = self.by;
        Findings {
            map: self.picked.map.clone(),
            joints: skeleton.names.clone(),
            hips: name(skeleton.hips),
            up_legs: skeleton.up_legs.map(name),
            toes: skeleton.toes.map(name),
            units: Units {
                name: self.unit.to_string(),
                metres: self.unit.metres,
                by: unit_by,
                leg: rounded(leg),
                alternatives: self.alternatives.iter().map(alternative).collect(),
            },
            up: Upwards { axis: self.up.to_string(), by: up_by },
            hip_width: rounded(self.picked.measures.hip_width * self.unit.metres),
            fps: options.fps,
            skip_first: options.skip_first,
            skip_last: options.skip_last,
            warnings: self.warnings.clone(),
            ..Findings::default()
        }
    }
}

/// The pose of the kept joints, in feet and y up.
fn pose(recording: &Recording, moment: f64, joints: &[usize], unit: Scale, up: Up) -> Pose {
    let feet = unit.metres / METRES;
    let pose = recording.pose(moment);
    Pose {
        positions: joints.iter().map(|&joint| scale(up.turned(pose.positions[joint]), feet)).collect(),
        axes: joints.iter().map(|&joint| pose.axes[joint].map(|axis| up.turned(axis))).collect(),
    }
}

/// Reads a file, without the frames that do not belong to its motion.
fn read(source: &Source, options: &ImportOptions) -> Result<Read> {
    let refuse = |what: String, mend: &str| Error::data(&source.path, what, mend);
    let (format, mut bytes) = kind::open(&source.path, options.expansion)?;
    let ours = bytes.fill_buf().is_ok_and(|start| start.starts_with(DECLARATION.as_bytes()));
    let content = Content { path: &source.path, bytes, skeleton: options.skeleton.as_ref() };
    let mut recording = (format.read)(content)?;
    let frame_time = recording.frame_time;
    let rate = options.source_fps.unwrap_or_else(|| rate(frame_time));
    if !RATES.contains(&rate) {
        let what = format!("its frame time is {frame_time}, expected seconds, for 1 to 10,000 frames a second");
        return Err(refuse(what, "give --source-fps, frames a second of the file"));
    }
    let found = match (options.skip_first, options.skip_last) {
        (Some(_), Some(_)) => [0; 2],
        _ => inserted(&recording, rate),
    };
    let left_out = [options.skip_first.unwrap_or(found[0]), options.skip_last.unwrap_or(found[1])];
    let frames = recording.len();
    recording.leave_out(left_out);
    if recording.len() < 2 {
        let has = if frames == 1 { "one frame".into() } else { counted(frames, "frame") };
        let out = frames - recording.len();
        let of_them = if out > 0 { format!(", {out} of them left out") } else { String::new() };
        return Err(refuse(format!("has {has}{of_them}; a clip needs two"), "leave it out"));
    }
    let about = About { left_out, frame_time, rate, notes: std::mem::take(&mut recording.notes) };
    Ok(Read { recording, about, ours })
}

fn pick(source: &Source, options: &ImportOptions, recording: &Recording, body: &Body) -> Result<Picked> {
    let mend = if options.map.is_some() {
        "check the joints' names against the map"
    } else {
        "name hips, upper legs and toes with --map FILE.toml (docs/features.md)"
    };
    joint_map::pick(recording, body, options.map.as_ref()).map_err(|what| Error::data(&source.path, what, mend))
}

/// Computes [`Clip::speeds`].
fn speeds(frames: &[f32], skeleton: &Skeleton, fps: f64) -> [f64; 3] {
    let joints = skeleton.len();
    let rows = || frames.chunks_exact(features::frame_size(joints));
    let root: Vec<f64> = rows().map(|row| f64::from(row[0]).hypot(row[1].into())).collect();
    let toe = |row, toe| length(features::vector(row, features::slot(Part::Velocity, toe, joints)));
    let toes = rows().flat_map(|row| skeleton.toes.map(|at| toe(row, at))).collect();
    [quantile(root.clone(), 0.5), quantile(root, 0.95), quantile(toes, 0.95)].map(|feet| feet * METRES * fps)
}

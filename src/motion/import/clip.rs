//! One file to the frames of one clip.
use super::{Alternative, By, Options, Report, Units, Upwards, rounded};
use crate::data::counted;
use crate::motion::body::{Body, Measures};
use crate::motion::export::bvh::DECLARATION;
use crate::motion::joint_map::{self, Picked};
use crate::motion::rig::{METRES, quantile};
use crate::motion::source::open::{self, Kind, Source};
use crate::motion::source::{Recording, bvh};
use crate::motion::units::{Scale, Unit, Up};
use crate::motion::vector::{length, scale, sub};
use crate::motion::{Pose, Root, features};
use crate::{Error, Result};
use std::io::BufRead;

/// Frame rates of motion, a second.
const RATES: std::ops::RangeInclusive<f64> = 1.0..=10_000.0;
/// A frame rate this near a whole number, relative, is that number.
const RATE_TOLERANCE: f64 = 0.002;
/// The first frame is an inserted pose when joints go from it to the second this many times as far as usually (the
/// median) from frame to frame after it, and this part of a leg's length, in the mean.
const INSERTED: (f64, f64) = (5.0, 0.05);
/// A file's up is another than that of the files before it when its hips are this many times as far above the toes as they are
/// off to any side. (Someone who lies along that axis all the time has to be imported with `--up`.)
const CLEARLY: f64 = 2.0;
/// A file's unit is another than that of the files before it when its legs are this many times as
/// long or short as theirs, and a grown-up's in that unit: sizes of people differ less.
const OTHER_UNIT: f64 = 2.0;
/// A body stands upright when the rest of it is above the hips by this part of its distance in some
/// poses.
const UPRIGHT: f64 = 0.7;
/// What our own exports are in.
const OURS: (Unit, Up) = (Unit::Cm, Up::Y);

/// What the files of a set have in common, found in the first.
pub(super) struct Conventions {
    /// The joints kept.
    pub(super) picked: Picked,
    unit: Scale,
    up: Up,
    /// How unit and up are known.
    by: [By; 2],
    /// Units that it may be in, too.
    alternatives: Vec<Unit>,
    /// What may be wrong with all that.
    warnings: Vec<String>,
}

/// The frames of one file.
pub(super) struct Clip {
    pub(super) frames: Vec<f32>,
    /// Where the first frame stands and faces.
    pub(super) root: Root,
    /// Whether the first frame was found to be an inserted pose.
    pub(super) inserted: bool,
    /// Whether position channels were added to the offsets.
    pub(super) added: bool,
    /// Whether the file is one of our own exports.
    pub(super) ours: bool,
    /// Frames a second of the file.
    pub(super) rate: f64,
    /// Length of the left leg, feet.
    pub(super) leg: f64,
    /// The joints that are not kept.
    pub(super) left_out: Vec<String>,
}

/// A file as it was read.
struct Read {
    recording: Recording,
    /// Whether position channels were added to the offsets.
    added: bool,
    /// Whether it is one of our own exports.
    ours: bool,
}

impl Conventions {
    /// Reads the first file.
    pub(super) fn of_first(source: &Source, options: &Options) -> Result<(Self, Clip)> {
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

    /// Reads another file, which has to have the same joints, unit and up.
    pub(super) fn clip(&self, source: &Source, options: &Options) -> Result<Clip> {
        let refuse = |what: String, mend: &str| Error::data(&source.path, what, mend);
        let file = read(source, options)?;
        let body = Body::new(&file.recording);
        let picked = match self.picked.again(&file.recording, &body) {
            Some(picked) => picked,
            None => pick(source, options, &file.recording, &body)?,
        };
        let (ours, theirs) = (&self.picked.skeleton, &picked.skeleton);
        if ours.names != theirs.names || ours.parents != theirs.parents {
            let what = format!("its skeleton ({} joints) is not that of the files before it", theirs.len());
            return Err(refuse(what, "import skeletons apart, or give --map FILE.toml with joints that all have"));
        }
        let Measures { leg, with_foot, .. } = picked.measures;
        let ratio = leg / self.picked.measures.leg;
        let differs = options.units.is_none() && !file.ours && !(1.0 / OTHER_UNIT..=OTHER_UNIT).contains(&ratio);
        let sure = |unit: &Unit| unit.is_sure(with_foot) && unit.metres() != self.unit.metres;
        if let Some(unit) = Unit::guess(with_foot, true).filter(|_| differs).filter(sure) {
            let what = format!("its legs are {leg:.2} long: {unit}, not {} as in the files before it", self.unit);
            return Err(refuse(what, "import it apart, or give --units"));
        }
        let up = Up::along(body.hips_above_toes(&picked.roles()), CLEARLY);
        if let Some(up) = up.filter(|up| options.up.is_none() && !file.ours && *up != self.up) {
            let what = format!("its hips are above the toes along {up}, not {} as in the files before it", self.up);
            return Err(refuse(what, &format!("import it apart, or give --up {} if the person lies", self.up)));
        }
        self.take(source, options, &file, &picked)
    }

    fn take(
        &self,
        source: &Source,
        options: &Options,
        &Read { ref recording, added, ours }: &Read,
        picked: &Picked,
    ) -> Result<Clip> {
        let joints = &picked.sources;
        let unit = if ours && options.units.is_none() { OURS.0.into() } else { self.unit };
        let up = if ours && options.up.is_none() { OURS.1 } else { self.up };
        let pose = |moment| pose(recording, moment, joints, unit, up);
        let refuse = |what: String, mend: &str| Error::data(&source.path, what, mend);
        let rate = rate(recording.frame_time);
        if !RATES.contains(&rate) {
            let what = format!("its frame time is {}, {rate} frames a second", recording.frame_time);
            return Err(refuse(what, "expected 1 to 10,000 frames a second"));
        }
        let leg = picked.measures.leg;
        let inserted = options.skip_first.is_none() && begins_with_inserted_pose(recording, joints, leg);
        let skipped = options.skip_first.unwrap_or(usize::from(inserted));
        let step = rate / options.fps;
        let span = recording.len().saturating_sub(skipped + 1) as f64;
        let poses = (span / step + 1e-6) as usize + 1;
        if recording.len() <= skipped || poses < 2 {
            let what = format!(
                "its {}, {skipped} of them left out, last {:.3} s, and one frame of the set {:.3} s",
                counted(recording.len(), "frame"),
                span / rate,
                1.0 / options.fps
            );
            return Err(refuse(what, "leave it out, or give a higher --fps"));
        }
        let skeleton = &self.picked.skeleton;
        let mut frames = Vec::with_capacity((poses - 1) * features::frame_size(skeleton.len()));
        let mut previous = pose(skipped as f64);
        let mut root = Root::default();
        for frame in 1..poses {
            let moment = skipped as f64 + frame as f64 * step;
            // What is a frame of the file but for rounding is that frame.
            let nearest = moment.round();
            let moment = if (moment - nearest).abs() < 1e-6 { nearest } else { moment };
            let pose = pose(moment.min((recording.len() - 1) as f64));
            features::push(&mut frames, skeleton, &previous, &pose);
            if frame == 1 {
                root = Root::of(skeleton, &pose);
            }
            previous = pose;
        }
        if let Some(at) = frames.iter().position(|x| !x.is_finite()) {
            let seconds = (at / features::frame_size(skeleton.len())) as f64 / options.fps;
            return Err(refuse(format!("its numbers at {seconds:.2} s are too large"), "mend or cut the file"));
        }
        let (leg, left_out) = (leg * unit.metres / METRES, picked.left_out.clone());
        Ok(Clip { frames, root, inserted, added, ours, rate, leg, left_out })
    }

    /// What was found, before anything is known of all clips together.
    pub(super) fn report(&self, options: &Options) -> Report {
        let skeleton = &self.picked.skeleton;
        let name = |joint: usize| skeleton.names[joint].clone();
        let leg = self.picked.measures.leg;
        let alternative = |unit: &Unit| Alternative {
            name: unit.to_string(),
            metres: unit.metres(),
            leg: rounded(leg * unit.metres()),
        };
        let [unit_by, up_by] = self.by;
        Report {
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
            warnings: self.warnings.clone(),
            ..Report::default()
        }
    }
}

/// The joints kept, in feet and y up.
fn pose(recording: &Recording, moment: f64, joints: &[usize], unit: Scale, up: Up) -> Pose {
    let feet = unit.metres / METRES;
    let pose = recording.pose(moment);
    Pose {
        positions: joints.iter().map(|&joint| scale(up.turned(pose.positions[joint]), feet)).collect(),
        axes: joints.iter().map(|&joint| pose.axes[joint].map(|axis| up.turned(axis))).collect(),
    }
}

fn read(source: &Source, options: &Options) -> Result<Read> {
    let (kind, mut reader) = open::open(&source.path)?;
    let ours = reader.fill_buf().is_ok_and(|start| start.starts_with(DECLARATION.as_bytes()));
    let recording = match (kind, &options.skeleton) {
        (Kind::Bvh, _) => bvh::read(reader),
        (Kind::Numbers, Some(skeleton)) => skeleton.read(reader),
        (Kind::Numbers, None) => {
            let mend = "give --skeleton FILE.toml, which names the joints (--skeleton cmu for the CMU database's)";
            return Err(Error::data(&source.path, "holds lines of numbers without a skeleton", mend));
        }
    };
    let mend = "mend the file or leave it out";
    let mut recording = recording.map_err(|fault| Error::data(&source.path, fault.to_string(), mend))?;
    let added = recording.add_offsets_to_still_places();
    Ok(Read { recording, added, ours })
}

fn pick(source: &Source, options: &Options, recording: &Recording, body: &Body) -> Result<Picked> {
    let mend = if options.map.is_some() {
        "check the joints' names against the map"
    } else {
        "name hips, upper legs and toes with --map FILE.toml (docs/features.md)"
    };
    joint_map::pick(recording, body, options.map.as_ref()).map_err(|what| Error::data(&source.path, what, mend))
}

fn rate(frame_time: f64) -> f64 {
    let rate = 1.0 / frame_time;
    let whole = rate.round();
    if (rate - whole).abs() < RATE_TOLERANCE * whole { whole } else { rate }
}

fn begins_with_inserted_pose(recording: &Recording, joints: &[usize], leg: f64) -> bool {
    const LOOKS: usize = 10;
    let poses: Vec<Pose> = (0..recording.len().min(LOOKS)).map(|frame| recording.pose(frame as f64)).collect();
    let step = |pair: &[Pose]| {
        let far = |&joint: &usize| length(sub(pair[1].positions[joint], pair[0].positions[joint]));
        joints.iter().map(far).sum::<f64>() / joints.len() as f64
    };
    let steps: Vec<f64> = poses.windows(2).map(step).collect();
    let [first, others @ ..] = &steps[..] else { return false };
    let usual = quantile(others.to_vec(), 0.5);
    !others.is_empty() && *first > INSERTED.0 * usual && *first > INSERTED.1 * leg
}

//! One file to the frames of one clip.
use super::Options;
use crate::data::counted;
use crate::motion::features::Part;
use crate::motion::joint_map::{self, Picked};
use crate::motion::rig::{METRES, quantile};
use crate::motion::source::open::{self, Kind, Source};
use crate::motion::source::{Note, Recording, bvh, inserted, rate};
use crate::motion::units::{Unit, Up};
use crate::motion::vector::{Vec3, add, length, scale, sub};
use crate::motion::{Pose, Root, Skeleton, features};
use crate::{Error, Result};

/// Frame rates of motion, a second.
pub const RATES: std::ops::RangeInclusive<f64> = 1.0..=10_000.0;
/// A file's up is another than that of the files before it when its hips are this many times as far above the toes as they are
/// off to any side. (Someone who lies along that axis all the time has to be imported with `--up`.)
const CLEARLY: f64 = 2.0;

/// What the files of a set have in common, found in the first.
pub(super) struct Conventions {
    /// The joints kept.
    pub(super) picked: Picked,
    unit: Unit,
    up: Up,
    /// Length of the first file's left leg, in its unit.
    leg: f64,
}

/// The frames of one file.
pub(super) struct Clip {
    pub(super) frames: Vec<f32>,
    /// Where the first frame stands and faces.
    pub(super) root: Root,
    /// What else there is to say of the file.
    pub(super) file: About,
    /// Speed of the root, m/s: median and 95 % quantile; and the 95 % quantile of the toes'.
    pub(super) speeds: [f64; 3],
    /// Length of the left leg, feet.
    pub(super) leg: f64,
}

/// A file as it was read.
pub(super) struct Read {
    /// The frames that are of the motion.
    recording: Recording,
    about: About,
}

/// What there is to say of the frames of a file.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// Frames left out at the start and at the end.
    pub(super) left_out: [usize; 2],
    /// Seconds between frames, as the file says.
    pub(super) frame_time: f64,
    /// Frames a second.
    pub(super) rate: f64,
    /// What is odd about it.
    pub(super) notes: Vec<Note>,
}

impl Conventions {
    /// Reads the first file.
    pub(super) fn of_first(source: &Source, options: &Options) -> Result<(Self, Clip)> {
        let refuse = |what: String, mend: &str| Error::data(&source.path, what, mend);
        let file = read(source, options)?;
        let recording = &file.recording;
        let picked = pick(source, options, recording)?;
        let leg = leg(recording, &picked);
        let unit = match options.units.or_else(|| Unit::guess(leg)) {
            Some(unit) => unit,
            None => return Err(refuse(format!("its legs are {leg:.4} long, in no unit known"), "give --units")),
        };
        let Some(up) = options.up.or_else(|| upright(recording, &picked, 1.0)) else {
            return Err(refuse("the hips are above the toes along neither y nor z".into(), "give --up"));
        };
        let conventions = Conventions { picked, unit, up, leg };
        let clip = conventions.take(source, options, &file, &conventions.picked)?;
        Ok((conventions, clip))
    }

    /// Reads another file, which has to have the same joints, unit and up.
    pub(super) fn clip(&self, source: &Source, options: &Options) -> Result<Clip> {
        let refuse = |what: String, mend: &str| Error::data(&source.path, what, mend);
        let file = read(source, options)?;
        let recording = &file.recording;
        let picked = pick(source, options, recording)?;
        let (ours, theirs) = (&self.picked.skeleton, &picked.skeleton);
        if ours.names != theirs.names || ours.parents != theirs.parents {
            let what = format!("its skeleton ({} joints) is not that of the files before it", theirs.len());
            return Err(refuse(what, "import skeletons apart, or give --map FILE.toml with joints that all have"));
        }
        let leg = leg(recording, &picked);
        if let Some(unit) = Unit::guess(leg).filter(|unit| options.units.is_none() && *unit != self.unit) {
            let what = format!("its legs are {leg:.2} long: {unit}, not {} as in the files before it", self.unit);
            return Err(refuse(what, "import it apart, or give --units"));
        }
        let up = upright(recording, &picked, CLEARLY).filter(|up| options.up.is_none() && *up != self.up);
        if let Some(up) = up {
            let what = format!("its hips are above the toes along {up}, not {} as in the files before it", self.up);
            return Err(refuse(what, &format!("import it apart, or give --up {} if the person lies", self.up)));
        }
        self.take(source, options, &file, &picked)
    }

    fn take(&self, source: &Source, options: &Options, file: &Read, picked: &Picked) -> Result<Clip> {
        let Read { recording, about } = file;
        let joints = &picked.sources;
        let refuse = |what: String, mend: &str| Error::data(&source.path, what, mend);
        let leg = leg(recording, picked);
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
        let mut previous = self.pose(recording, 0.0, joints);
        let mut root = Root::default();
        for frame in 1..poses {
            let moment = frame as f64 * step;
            // What is a frame of the file but for rounding is that frame.
            let nearest = moment.round();
            let moment = if (moment - nearest).abs() < 1e-6 { nearest } else { moment };
            let pose = self.pose(recording, moment.min((recording.len() - 1) as f64), joints);
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
        let (leg, speeds) = (leg * self.unit.metres() / METRES, speeds(&frames, skeleton, options.fps));
        Ok(Clip { frames, root, file: about.clone(), speeds, leg })
    }

    /// The joints kept, in feet and y up.
    fn pose(&self, recording: &Recording, moment: f64, joints: &[usize]) -> Pose {
        let feet = self.unit.metres() / METRES;
        let upright = |[x, y, z]: Vec3| match self.up {
            Up::Y => [x, y, z],
            Up::Z => [x, z, -y],
        };
        let pose = recording.pose(moment);
        Pose {
            positions: joints.iter().map(|&joint| scale(upright(pose.positions[joint]), feet)).collect(),
            axes: joints.iter().map(|&joint| pose.axes[joint].map(upright)).collect(),
        }
    }

    /// What was found, for a person.
    pub(super) fn said(&self, options: &Options) -> Vec<String> {
        let skeleton = &self.picked.skeleton;
        let [left, right] = skeleton.toes.map(|toe| &skeleton.names[toe]);
        let hips = &skeleton.names[skeleton.hips];
        let mut said = vec![format!(
            "joint map: {} ({} joints, hips {hips}, toes {left} and {right})",
            self.picked.map,
            skeleton.len()
        )];
        let length = self.leg * self.unit.metres();
        said.push(match options.units {
            Some(unit) => format!("units: {unit}, which make a leg {length:.2} m"),
            None => format!("units: {}, guessed from a leg of {:.4}: {length:.2} m (--units)", self.unit, self.leg),
        });
        if options.up.is_none() {
            said.push(format!("up: {}, as the hips are above the toes that way (--up)", self.up));
        }
        said
    }
}

/// Reads a file, and leaves out the frames that are not of its motion.
fn read(source: &Source, options: &Options) -> Result<Read> {
    let refuse = |what: String, mend: &str| Error::data(&source.path, what, mend);
    let (kind, reader) = open::open(&source.path, options.expansion)?;
    let recording = match (kind, &options.skeleton) {
        (Kind::Bvh, _) => bvh::read(reader),
        (Kind::Numbers, Some(skeleton)) => skeleton.read(reader),
        (Kind::Numbers, None) => {
            let mend = "give --skeleton FILE.toml, which names the joints (--skeleton cmu for the CMU database's)";
            return Err(refuse("holds lines of numbers without a skeleton".into(), mend));
        }
    };
    let mut recording = recording.map_err(|fault| refuse(fault.to_string(), "mend the file or leave it out"))?;
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
    Ok(Read { recording, about })
}

fn pick(source: &Source, options: &Options, recording: &Recording) -> Result<Picked> {
    joint_map::pick(recording, options.map.as_ref())
        .map_err(|what| Error::data(&source.path, what, "check the joints' names against the map"))
}

/// See [`Clip::speeds`].
fn speeds(frames: &[f32], skeleton: &Skeleton, fps: f64) -> [f64; 3] {
    let joints = skeleton.len();
    let rows = || frames.chunks_exact(features::frame_size(joints));
    let root: Vec<f64> = rows().map(|row| f64::from(row[0]).hypot(row[1].into())).collect();
    let toe = |row, toe| length(features::vector(row, features::slot(Part::Velocity, toe, joints)));
    let toes = rows().flat_map(|row| skeleton.toes.map(|at| toe(row, at))).collect();
    [quantile(root.clone(), 0.5), quantile(root, 0.95), quantile(toes, 0.95)].map(|feet| feet * METRES * fps)
}

/// Length of the left leg in the first frame, hip joint to toe, along its joints.
fn leg(recording: &Recording, picked: &Picked) -> f64 {
    let pose = recording.pose(0.0);
    let [up_leg, toe] = [picked.skeleton.up_legs[0], picked.skeleton.toes[0]].map(|joint| picked.sources[joint]);
    let up = |joint: &usize| recording.joints[*joint].parent;
    let joints: Vec<usize> = std::iter::successors(Some(toe), up).take_while(|joint| *joint != up_leg).collect();
    let bone = |&joint: &usize| up(&joint).map_or(0.0, |up| length(sub(pose.positions[joint], pose.positions[up])));
    joints.iter().map(bone).sum()
}

/// The axis along which the hips are above the toes, over the file, this many times as far as along the others.
fn upright(recording: &Recording, picked: &Picked, times: f64) -> Option<Up> {
    const LOOKS: usize = 32;
    let [left, right] = picked.skeleton.toes.map(|joint| picked.sources[joint]);
    let hips = picked.sources[picked.skeleton.hips];
    let mut sum = [0.0; 3];
    for look in 0..LOOKS {
        let pose = recording.pose((look * (recording.len() - 1) / (LOOKS - 1)) as f64);
        let toes = scale(add(pose.positions[left], pose.positions[right]), 0.5);
        sum = add(sum, sub(pose.positions[hips], toes));
    }
    let [x, y, z] = sum;
    if y > times * x.abs().max(z.abs()) {
        Some(Up::Y)
    } else if z > times * x.abs().max(y.abs()) {
        Some(Up::Z)
    } else {
        None
    }
}

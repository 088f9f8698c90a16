//! A view of a set's motion: size of the body, speeds and turns, contacts of the feet with the
//! floor, consistency of bones and velocities, and suspicious frames.
mod doubts;

use crate::data::Dataset;
use crate::motion::features::{Part, displacement, slot, vector};
use crate::motion::rig::{METRES, MOVING, Rig, quantile};
use crate::motion::vector::{Vec3, about_y, add, apply, apply_inverse, axes_from_yz, dot, length, scale, sub};
use serde::Serialize;
use std::fmt;

/// Upper ends of the ranges of speed, m/s, and the names of the ranges.
const SPEEDS: [(f64, &str); 5] =
    [(0.1, "standing"), (0.7, "slow"), (1.8, "walking"), (2.5, "jogging"), (f64::INFINITY, "running")];
/// Upper ends of the ranges of turn rate, degrees a second.
const TURNS: [f64; 4] = [20.0, 60.0, 120.0, f64::INFINITY];
/// Number of places listed.
const LISTED: usize = 10;
/// Limits beyond which a frame is suspicious: distance of a toe below its floor, m; distance of
/// velocities from displacements, m a frame; speed of a joint, m/s; turn rate, degrees a second.
const BELOW: f64 = 0.05;
const MISMATCH: f64 = 0.005;
const FAST: f64 = 15.0;
const SPIN: f64 = 720.0;
/// Limits of motion in a clip. The feet move if the toes' mean speed, as seen from the root, is
/// above the first, m/s. The root never moves, and the facing never turns, if 95 % of the frames
/// are below the others, m/s and degrees a second.
const FEET_MOVE: f64 = 0.1;
const STILL: f64 = 0.01;
const STILL_FACING: f64 = 0.5;

/// The motion of a set; `Display` writes it for a person, serde for a program. Lengths are metres.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// Size of the body, and its direction of motion.
    pub body: Body,
    /// Minutes by speed of the root.
    pub speeds: Vec<SpeedRange>,
    /// Minutes by turn rate.
    pub turns: Vec<TurnRange>,
    /// Left and right foot.
    pub feet: [Foot; 2],
    /// Lowest and highest floor of a clip: the 2 % quantile of its lower toe's height.
    pub clip_floors: [f64; 2],
    /// The bone whose length varies most within clips.
    pub stretched_bone: Worst,
    /// The joint whose place on its parent, in the parent's axes, varies most within clips.
    pub loose_joint: Worst,
    /// Root of the mean square of the difference between velocities and the displacements of
    /// positions, m a frame.
    pub velocity_error: f64,
    /// Number of suspicious frames.
    pub suspicious: usize,
    /// The most suspicious frames, worst first.
    pub worst: Vec<Moment>,
    /// Warnings: each names a likely mistake in the data, its cause and the mend.
    #[serde(skip)]
    pub doubts: Vec<String>,
}

/// Size of the body, and its direction of motion. Lengths are metres.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Body {
    /// Shortest and longest left leg of a clip: hip joint to toe, along the bones.
    pub legs: [f64; 2],
    /// Distance of the upper legs from one another.
    pub hip_width: f64,
    /// Length of its way while it moves.
    pub way: f64,
    /// Share of the way that is walked forwards, less the share walked backwards; `None` if there
    /// is no way.
    pub forward: Option<f64>,
    /// Number of clips whose feet move while the root never does.
    pub still_roots: usize,
    /// Number of clips whose feet move while the facing never turns.
    pub still_facings: usize,
}

/// Time spent in a range of speed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpeedRange {
    /// Name of the range, such as walking.
    pub name: &'static str,
    /// Upper end, m/s; `None` for the last range, which has no end.
    pub up_to: Option<f64>,
    /// Minutes.
    pub minutes: f64,
}

/// Time spent in a range of turn rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TurnRange {
    /// Upper end, degrees a second; `None` for the last range, which has no end.
    pub up_to: Option<f64>,
    /// Minutes turning left.
    pub left_minutes: f64,
    /// Minutes turning right.
    pub right_minutes: f64,
}

/// Contacts of a foot with the floor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foot {
    /// The toe.
    pub joint: String,
    /// Height of the toe on the floor.
    pub floor: f64,
    /// Share of the frames in which it is in contact (see [`Rig::contact`]).
    pub contact: f64,
    /// Speed over the ground while in contact, m/s.
    pub skate: f64,
}

/// A joint and its deviation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worst {
    /// The joint.
    pub joint: String,
    /// The deviation: root of the mean square.
    pub off: f64,
}

/// A suspicious frame.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// The clip, counted from 0.
    pub clip: usize,
    /// The clip's name, when known.
    pub clip_name: Option<String>,
    /// Seconds into the clip.
    pub seconds: f64,
    /// The frame, counted from 0 over the whole set.
    pub frame: usize,
    /// The finding, in words.
    pub what: String,
    /// The finding as a multiple of the limit for suspicious values.
    #[serde(skip)]
    ratio: f64,
}

impl View {
    /// Measures the motion of a set; `None` if its skeleton is unknown. Frames with values that are
    /// not finite are skipped.
    pub fn of(set: &Dataset) -> Option<Self> {
        let rig = set.rig.as_ref()?;
        let mut view = View {
            body: body(set, rig),
            speeds: Vec::new(),
            turns: Vec::new(),
            feet: [0, 1].map(|side| foot(set, rig, side)),
            clip_floors: clip_floors(set, rig),
            stretched_bone: stretched_bone(set, rig),
            loose_joint: loose_joint(set, rig),
            velocity_error: 0.0,
            suspicious: 0,
            worst: Vec::new(),
            doubts: Vec::new(),
        };
        view.count_minutes(set, rig);
        view.look_for_oddities(set, rig);
        view.doubts = doubts::of(set, rig, &view);
        Some(view)
    }

    fn count_minutes(&mut self, set: &Dataset, rig: &Rig) {
        let finite = |end: f64| end.is_finite().then_some(end);
        self.speeds = SPEEDS.map(|(end, name)| SpeedRange { name, up_to: finite(end), minutes: 0.0 }).to_vec();
        let empty = |end| TurnRange { up_to: finite(end), left_minutes: 0.0, right_minutes: 0.0 };
        self.turns = TURNS.map(empty).to_vec();
        let minutes = 1.0 / rig.fps / 60.0;
        for frame in finite_frames(set) {
            let speed = METRES * rig.fps * f64::from(frame[0]).hypot(frame[1].into());
            let turn = rig.fps * f64::from(frame[2]).to_degrees();
            self.speeds[SPEEDS.iter().position(|(end, _)| speed < *end).unwrap_or(SPEEDS.len() - 1)].minutes += minutes;
            let range = &mut self.turns[TURNS.iter().position(|end| turn.abs() < *end).unwrap_or(TURNS.len() - 1)];
            *if turn > 0.0 { &mut range.left_minutes } else { &mut range.right_minutes } += minutes;
        }
    }

    fn look_for_oddities(&mut self, set: &Dataset, rig: &Rig) {
        let (mut square, mut count) = (0.0, 0.0);
        let mut moments = Vec::new();
        for (clip, range) in set.clips().into_iter().enumerate() {
            for at in range.clone() {
                let frame = set.frame(at);
                if frame.iter().any(|x| !x.is_finite()) {
                    continue;
                }
                let mut odd = oddities(rig, frame);
                if at > range.start && set.frame(at - 1).iter().all(|x| x.is_finite()) {
                    let mismatches = velocity_errors(rig, set.frame(at - 1), frame);
                    for (joint, off) in mismatches.into_iter().enumerate() {
                        (square, count) = (square + off * off, count + 1.0);
                        let name = &rig.skeleton.names[joint];
                        let centimetres = 100.0 * off;
                        odd.push((
                            off / MISMATCH,
                            format!("the velocity of {name} is {centimetres:.1} cm off its positions"),
                        ));
                    }
                }
                let worst = odd.into_iter().filter(|(ratio, _)| *ratio > 1.0).max_by(|a, b| a.0.total_cmp(&b.0));
                moments.extend(worst.map(|(ratio, what)| Moment {
                    clip,
                    clip_name: set.clip_names.get(clip).cloned(),
                    seconds: (at - range.start) as f64 / rig.fps,
                    frame: at,
                    what,
                    ratio,
                }));
            }
        }
        self.velocity_error = (square / f64::max(count, 1.0)).sqrt();
        self.suspicious = moments.len();
        moments.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
        moments.truncate(LISTED);
        self.worst = moments;
    }
}

fn finite_frames(set: &Dataset) -> impl Iterator<Item = &[f32]> {
    set.frames.chunks_exact(set.frame_size).filter(|frame| frame.iter().all(|x| x.is_finite()))
}

fn foot(set: &Dataset, rig: &Rig, side: usize) -> Foot {
    let slides: Vec<f64> = finite_frames(set).filter_map(|frame| rig.contact(frame, side)).collect();
    let frames = finite_frames(set).count().max(1) as f64;
    Foot {
        joint: rig.skeleton.names[rig.skeleton.toes[side]].clone(),
        floor: METRES * rig.toe_floors[side],
        contact: slides.len() as f64 / frames,
        skate: slides.iter().sum::<f64>() / slides.len().max(1) as f64,
    }
}

fn clip_floors(set: &Dataset, rig: &Rig) -> [f64; 2] {
    let floors = set.clips().into_iter().map(|clip| {
        let lower = clip.map(|at| rig.skeleton.toes.map(|toe| height(rig, set.frame(at), toe))).map(|[a, b]| a.min(b));
        METRES * quantile(lower.collect(), 0.02)
    });
    floors.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], floor| [low.min(floor), high.max(floor)])
}

fn height(rig: &Rig, frame: &[f32], joint: usize) -> f64 {
    frame[slot(Part::Position, joint, rig.skeleton.len()) + 1].into()
}

fn position(rig: &Rig, frame: &[f32], joint: usize) -> Vec3 {
    vector(frame, slot(Part::Position, joint, rig.skeleton.len()))
}

/// The length of a joint's bone, feet; 0 for a joint without parent.
fn bone(rig: &Rig, frame: &[f32], joint: usize) -> f64 {
    let from = |parent| length(sub(position(rig, frame, joint), position(rig, frame, parent)));
    rig.skeleton.parents[joint].map_or(0.0, from)
}

fn stretched_bone(set: &Dataset, rig: &Rig) -> Worst {
    let spread = |joint| within_clips(set, |frame| [bone(rig, frame, joint), 0.0, 0.0]);
    worst(rig, (0..rig.skeleton.len()).map(spread).collect())
}

fn loose_joint(set: &Dataset, rig: &Rig) -> Worst {
    let joints = rig.skeleton.len();
    let spread = |(joint, parent): (usize, &Option<usize>)| {
        let Some(parent) = *parent else { return 0.0 };
        within_clips(set, |frame| {
            let [y, z] = [Part::AxisY, Part::AxisZ].map(|part| vector(frame, slot(part, parent, joints)));
            apply_inverse(&axes_from_yz(y, z), sub(position(rig, frame, joint), position(rig, frame, parent)))
        })
    };
    worst(rig, rig.skeleton.parents.iter().enumerate().map(spread).collect())
}

/// Deviation of a measure from its mean over each clip: the root of the mean square over all clips.
fn within_clips(set: &Dataset, measure: impl Fn(&[f32]) -> Vec3) -> f64 {
    let (mut square, mut count) = (0.0, 0.0);
    for clip in set.clips() {
        let seen = clip.map(|at| measure(set.frame(at))).filter(|x| x.iter().all(|x| x.is_finite()));
        let seen: Vec<Vec3> = seen.collect();
        let mean = scale(seen.iter().fold([0.0; 3], |sum, x| add(sum, *x)), 1.0 / seen.len().max(1) as f64);
        square += seen.iter().map(|x| sub(*x, mean)).map(|off| dot(off, off)).sum::<f64>();
        count += seen.len() as f64;
    }
    (square / f64::max(count, 1.0)).sqrt()
}

fn body(set: &Dataset, rig: &Rig) -> Body {
    let [up_leg, other] = rig.skeleton.up_legs;
    let up = |joint: &usize| rig.skeleton.parents[*joint];
    let leg: Vec<usize> =
        std::iter::successors(Some(rig.skeleton.toes[0]), up).take_while(|joint| *joint != up_leg).collect();
    let (mut still_roots, mut still_facings, mut legs) = (0, 0, [f64::INFINITY, f64::NEG_INFINITY]);
    for clip in set.clips() {
        let frames = || clip.clone().map(|at| set.frame(at)).filter(|frame| frame.iter().all(|x| x.is_finite()));
        let long =
            METRES * quantile(frames().map(|frame| leg.iter().map(|&j| bone(rig, frame, j)).sum()).collect(), 0.5);
        legs = [legs[0].min(long), legs[1].max(long)];
        let root = frames().map(|frame| f64::from(frame[0]).hypot(frame[1].into()));
        let turn = frames().map(|frame| f64::from(frame[2]).abs());
        let moved = |pair: (&[f32], &[f32])| {
            rig.skeleton.toes.map(|toe| sub(position(rig, pair.1, toe), position(rig, pair.0, toe)))
        };
        let steps: Vec<f64> = frames().zip(frames().skip(1)).flat_map(moved).map(length).collect();
        let steps = steps.iter().sum::<f64>() / steps.len().max(1) as f64;
        if METRES * rig.fps * steps > FEET_MOVE {
            still_roots += usize::from(METRES * rig.fps * quantile(root.collect(), 0.95) < STILL);
            still_facings += usize::from(rig.fps * quantile(turn.collect(), 0.95).to_degrees() < STILL_FACING);
        }
    }
    let width = |frame: &[f32]| length(sub(position(rig, frame, up_leg), position(rig, frame, other)));
    let moving = MOVING / METRES / rig.fps;
    let [mut forward, mut way] = [0.0; 2];
    for frame in finite_frames(set) {
        let step = f64::from(frame[0]).hypot(frame[1].into());
        if step > moving {
            (forward, way) = (forward + f64::from(frame[0]), way + step);
        }
    }
    Body {
        legs,
        hip_width: METRES * quantile(finite_frames(set).map(width).collect(), 0.5),
        way: METRES * way,
        forward: (way > 0.0).then(|| forward / way),
        still_roots,
        still_facings,
    }
}

/// The joint with the largest of these deviations, in feet.
fn worst(rig: &Rig, off: Vec<f64>) -> Worst {
    let worst = off.into_iter().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default();
    Worst { joint: rig.skeleton.names[worst.0].clone(), off: METRES * worst.1 }
}

/// Values of one frame that may be suspicious: each as a multiple of its limit, and in words.
fn oddities(rig: &Rig, frame: &[f32]) -> Vec<(f64, String)> {
    let joints = rig.skeleton.len();
    let mut odd = Vec::new();
    for (toe, floor) in rig.skeleton.toes.into_iter().zip(rig.toe_floors) {
        let below = METRES * (floor - height(rig, frame, toe));
        let name = &rig.skeleton.names[toe];
        odd.push((below / BELOW, format!("{name} is {:.0} cm below its floor", 100.0 * below)));
    }
    for (joint, name) in rig.skeleton.names.iter().enumerate() {
        let speed = METRES * rig.fps * length(vector(frame, slot(Part::Velocity, joint, joints)));
        odd.push((speed / FAST, format!("{name} moves at {speed:.0} m/s")));
    }
    let turn = rig.fps * f64::from(frame[2]).to_degrees();
    odd.push((turn.abs() / SPIN, format!("it turns by {turn:.0} degrees a second")));
    odd
}

/// Difference of each joint's velocity from the displacement of its positions, metres, both in the
/// facing of the frame before.
fn velocity_errors(rig: &Rig, before: &[f32], frame: &[f32]) -> Vec<f64> {
    let turn = about_y(frame[2].into());
    let error = |joint: usize| {
        let velocity = vector(frame, slot(Part::Velocity, joint, rig.skeleton.len()));
        METRES * length(sub(displacement(before, frame, joint), apply(&turn, velocity)))
    };
    (0..rig.skeleton.len()).map(error).collect()
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Body { legs: [short, long], hip_width, way, forward, .. } = &self.body;
        let range = if long - short < 0.01 { String::new() } else { format!("{short:.2} to ") };
        let forward =
            forward.map_or(String::new(), |share| format!(", {:.0} % of {way:.0} m walked forwards", 100.0 * share));
        let width = 100.0 * hip_width;
        writeln!(f, "body        legs {range}{long:.2} m, upper legs {width:.1} cm apart{forward}")?;
        let speeds: Vec<String> = self
            .speeds
            .iter()
            .map(|range| {
                let end = range.up_to.map_or("faster".into(), |end| format!("to {end} m/s"));
                format!("{:.1} {} ({end})", range.minutes, range.name)
            })
            .collect();
        writeln!(f, "speed       minutes {}", speeds.join(", "))?;
        let turns: Vec<String> = self
            .turns
            .iter()
            .map(|range| {
                let end = range.up_to.map_or("faster".into(), |end| format!("to {end} degrees/s"));
                format!("{end} {:.1} left {:.1} right", range.left_minutes, range.right_minutes)
            })
            .collect();
        writeln!(f, "turning     minutes {}", turns.join(", "))?;
        for (at, foot) in self.feet.iter().enumerate() {
            writeln!(
                f,
                "{:11} {} comes down to {:.1} cm, is in contact in {:.0} % of the frames and skates {:.1} cm/s there",
                if at == 0 { "feet" } else { "" },
                foot.joint,
                100.0 * foot.floor,
                100.0 * foot.contact,
                100.0 * foot.skate
            )?;
        }
        let [low, high] = self.clip_floors.map(|floor| 100.0 * floor);
        writeln!(f, "floor       toes come down to {low:.1} to {high:.1} cm, by clip")?;
        let (stretched, loose) = (&self.stretched_bone, &self.loose_joint);
        writeln!(
            f,
            "bones       lengths vary by {:.2} cm at most within clips ({}), places on the parent by {:.2} cm ({})",
            100.0 * stretched.off,
            stretched.joint,
            100.0 * loose.off,
            loose.joint
        )?;
        writeln!(f, "velocities  {:.4} cm a frame off the positions (rms)", 100.0 * self.velocity_error)?;
        let minutes = |side: fn(&TurnRange) -> f64| self.turns[1..].iter().map(side).sum::<f64>();
        let (left, right) = (minutes(|range| range.left_minutes), minutes(|range| range.right_minutes));
        let contact = self.feet.each_ref().map(|foot| 100.0 * foot.contact);
        writeln!(
            f,
            "balance     turns {left:.1} minutes left, {right:.1} right; left toe down {:.0} %, right {:.0} %",
            contact[0], contact[1]
        )?;
        if self.suspicious == 0 {
            return writeln!(f, "suspicious  no frame");
        }
        writeln!(f, "suspicious  {} frames", self.suspicious)?;
        for moment in &self.worst {
            let name = moment.clip_name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
            let Moment { clip, seconds, frame, what, .. } = moment;
            writeln!(f, "{:11} clip {clip}{name} at {seconds:.2} s, frame {frame}: {what}", "")?;
        }
        let more = self.suspicious - self.worst.len();
        if more > 0 { writeln!(f, "{:11} and {more} more", "") } else { Ok(()) }
    }
}

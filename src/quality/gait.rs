//! Gait of a character: speed and turn rate of its root, and contacts of its feet with the ground.
//! It is measured alike for the data and for walks.
use crate::data::Dataset;
use crate::motion::Rig;
use crate::motion::Root;
use crate::motion::features::{Part, joints, slot};
use crate::motion::rig::{DEFAULT_FPS, METRES};
use crate::motion::vector::{Vec3, add, apply, sub};
use serde::Serialize;

/// Speed of the root below which a character stands, m/s.
pub(crate) const STANDING: f64 = 0.1;

/// Heights over its floor above which a toe does not skate, cm: the paper's, and the public code's.
pub(crate) const PAPER_HEIGHTS: [f64; 2] = [3.3, 3.0];
/// Frames a second of the paper's motion.
const PAPER_FPS: f64 = 30.0;

/// Measurements of the gait of characters, collected frame by frame.
pub(crate) struct Gait<'a> {
    rig: Option<&'a Rig>,
    fps: f64,
    speeds: Vec<f32>,
    turns: Vec<f32>,
    feet: Feet,
}

/// Width of a range of speeds in which feet are compared, m/s.
const PACE: f64 = 0.25;
/// Number of these ranges; the last one has no end.
const PACES: usize = 16;

/// Feet at one range of speeds of the root.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Pace {
    /// (frame, foot) pairs.
    pub frames: usize,
    /// Pairs in contact.
    pub contact: usize,
    /// Sum of the speeds of toes in contact, m/s.
    pub skate: f64,
}

/// Sums over frames and both feet.
#[derive(Default)]
struct Feet {
    paces: [Pace; PACES],
    frames: usize,
    contact: usize,
    low: usize,
    contact_distance: f64,
    low_distance: f64,
    weighted: [f64; 2],
}

/// The state of one character between two frames.
#[derive(Default, Clone)]
pub(crate) struct Walker {
    root: Root,
    toes: Option<[Vec3; 2]>,
}

/// The gait in numbers.
#[derive(Debug, Clone, Serialize)]
pub struct GaitReport {
    /// 5, 50 and 95 % quantiles of the root's speed, m/s.
    pub speed: [f64; 3],
    /// 5, 50 and 95 % quantiles of the turn rate, degrees/s; left is positive.
    pub turn: [f64; 3],
    /// Share of the time in which the root is slower than [`STANDING`].
    pub standing: f64,
    /// The feet; none without a skeleton.
    pub feet: Option<FeetReport>,
}

/// Contacts and speeds of the feet.
#[derive(Debug, Clone, Serialize)]
pub struct FeetReport {
    /// Share of (frame, foot) pairs in contact (see [`Rig::skate`]).
    pub contact: f64,
    /// Mean horizontal speed of toes in contact, cm/s: foot skate.
    pub skate: f64,
    /// Mean horizontal speed of toes within 3 cm of their floor, whatever their speed, cm/s. It
    /// includes feet that slide too fast to count as in contact.
    pub low_toe_speed: f64,
    /// Foot skate as the paper defines it, cm a frame, for each of [`PAPER_HEIGHTS`].
    pub paper_skate: [f64; 2],
    /// Feet at each range of speeds of the root, 0.25 m/s wide.
    #[serde(skip)]
    pub paces: [Pace; PACES],
}

impl FeetReport {
    /// Contact and skate of these feet, as multiples of those of `data` that went at the same
    /// speeds. A range of speeds that the data lack is left out. NaN where nothing can be compared.
    pub(crate) fn of_data(&self, data: &FeetReport) -> [f64; 2] {
        let both = |there: fn(&Pace) -> bool| self.paces.iter().zip(&data.paces).filter(move |(_, data)| there(data));
        let went = || both(|pace| pace.frames > 0);
        let contact: f64 = went().map(|(ours, _)| ours.contact as f64).sum();
        let theirs = went().map(|(ours, data)| ours.frames as f64 * data.contact as f64 / data.frames as f64);
        let stood = || both(|pace| pace.contact > 0);
        let skate: f64 = stood().map(|(ours, _)| ours.skate).sum();
        let slid = stood().map(|(ours, data)| ours.contact as f64 * data.skate / data.contact as f64);
        [contact / theirs.sum::<f64>(), skate / slid.sum::<f64>()]
    }
}

impl<'a> Gait<'a> {
    /// A gait without a frame yet; without a rig it leaves the feet out.
    pub fn new(rig: Option<&'a Rig>, fps: f64) -> Self {
        Gait { rig, fps, speeds: Vec::new(), turns: Vec::new(), feet: Feet::default() }
    }

    /// Adds one more frame of a character, in the units of the data; `value(i)` is feature i of
    /// `frame_size`.
    pub fn see(&mut self, walker: &mut Walker, frame_size: usize, value: impl Fn(usize) -> f64) {
        let motion = [value(0), value(1), value(2)];
        let pace = METRES * self.fps * motion[0].hypot(motion[1]);
        self.speeds.push(pace as f32);
        self.turns.push((self.fps * motion[2].to_degrees()) as f32);
        let Some(rig) = self.rig else { return };
        walker.root = walker.root.advanced(motion);
        let (rotation, root) = (walker.root.rotation(), [walker.root.x, 0.0, walker.root.z]);
        let joints = (frame_size - 3) / 12;
        let toes = rig.skeleton.toes.map(|toe| {
            let first = slot(Part::Position, toe, joints);
            add(apply(&rotation, std::array::from_fn(|i| value(first + i))), root)
        });
        for (foot, last) in walker.toes.iter().flatten().enumerate() {
            let (height, moved) = (toes[foot][1], sub(toes[foot], *last));
            let pace = &mut self.feet.paces[((pace / PACE) as usize).min(PACES - 1)];
            (self.feet.frames, pace.frames) = (self.feet.frames + 1, pace.frames + 1);
            let (over, went) = (rig.over_floor(foot, height), moved[0].hypot(moved[2]) * METRES);
            for (sum, highest) in self.feet.weighted.iter_mut().zip(PAPER_HEIGHTS) {
                *sum += went * self.fps / PAPER_FPS * (2.0 - (100.0 * over / highest).clamp(0.0, 1.0).exp2());
            }
            if rig.low(foot, height) {
                self.feet.low += 1;
                self.feet.low_distance += METRES * self.fps * moved[0].hypot(moved[2]);
            }
            if let Some(speed) = rig.skate(foot, height, moved) {
                (self.feet.contact, pace.contact) = (self.feet.contact + 1, pace.contact + 1);
                self.feet.contact_distance += speed;
                pace.skate += speed;
            }
        }
        walker.toes = Some(toes);
    }

    /// The gait of a set in the units of the data; none when its features are not those of joints.
    pub fn of(set: &Dataset, rig: Option<&'a Rig>) -> Option<GaitReport> {
        let f = set.frame_size;
        joints(f)?;
        let mut gait = Gait::new(rig, rig.map_or(DEFAULT_FPS, |rig| rig.fps));
        set.clips().iter().for_each(|clip| gait.see_clip(&set.frames[clip.start * f..clip.end * f], f));
        gait.report()
    }

    /// Adds a clip of raw frames.
    pub fn see_clip(&mut self, frames: &[f32], frame_size: usize) {
        let mut walker = Walker::default();
        for frame in frames.chunks_exact(frame_size) {
            self.see(&mut walker, frame_size, |i| frame[i].into());
        }
    }

    /// The measurements in numbers; `None` if there are no finite ones.
    pub fn report(self) -> Option<GaitReport> {
        let Feet { paces, frames, contact, low, contact_distance, low_distance, weighted } = self.feet;
        let mean = |sum: f64, count: usize| if count > 0 { 100.0 * sum / count as f64 } else { 0.0 };
        let feet = (frames > 0).then(|| FeetReport {
            contact: contact as f64 / frames as f64,
            skate: mean(contact_distance, contact),
            low_toe_speed: mean(low_distance, low),
            paper_skate: weighted.map(|sum| mean(sum, frames)),
            paces,
        });
        let standing = self.speeds.iter().filter(|&&speed| f64::from(speed) < STANDING).count();
        let standing = standing as f64 / self.speeds.len() as f64;
        Some(GaitReport { speed: quantiles(self.speeds)?, turn: quantiles(self.turns)?, standing, feet })
    }
}

/// The 5, 50 and 95 % quantiles of values that are finite (nearest rank).
fn quantiles(mut values: Vec<f32>) -> Option<[f64; 3]> {
    values.retain(|x| x.is_finite());
    values.sort_unstable_by(f32::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some([0.05, 0.5, 0.95].map(|q| values[(q * last as f64).round() as usize].into()))
}

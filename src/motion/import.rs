//! Files of motion to a set of clips: which joints, units and axes they are in is found or given, and said.
mod clip;

use super::features;
use super::joint_map::JointMap;
use super::rig::{self, METRES, Rig};
use super::source::expmap::ExpmapSkeleton;
use super::source::open::{self, Source};
use super::units::{Unit, Up};
use crate::data::Dataset;
use crate::{Error, Result};
use clip::{Clip, Conventions};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

/// How far a clip's toes may come down above or below those of the other clips before it is moved, feet.
const FLOOR_TOLERANCE: f64 = 0.015 / METRES;
/// Where the toes' joints of a set come down when y = 0 is its floor, feet; else the set is moved to [`TOE_HEIGHT`].
const TOE_HEIGHTS: std::ops::Range<f64> = -0.01 / METRES..0.15 / METRES;
/// Height of a toe's joint over the floor, feet.
const TOE_HEIGHT: f64 = 0.03 / METRES;
/// A joint further than this from where the skeleton has it, feet, rms, is said.
const LOOSE: f64 = 0.01 / METRES;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Frames a second of the set.
    pub fps: f64,
    /// Joints to keep; found by their names when not given.
    pub map: Option<JointMap>,
    /// What lines of numbers mean.
    pub skeleton: Option<ExpmapSkeleton>,
    /// The files' unit; guessed from the length of the legs when not given.
    pub units: Option<Unit>,
    /// The files' axis that points up; guessed from where the hips are above the toes.
    pub up: Option<Up>,
    /// Frames left out at the start of each file; when not given, the first one where it is an inserted pose.
    pub skip_first: Option<usize>,
    /// Whether the files' floor (y = 0) is kept as it is.
    pub keep_floor: bool,
    /// Whether to add every clip left-right mirrored.
    pub mirror: bool,
    /// Files read at once.
    pub threads: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct Imported {
    /// The set; empty when no file could be read.
    pub set: Dataset,
    /// What was found or assumed, for a person to agree with.
    pub assumed: Vec<String>,
    /// The files that could not be used, and why.
    pub refused: Vec<Error>,
}

/// Reads the files that the paths stand for. Errors: a path that is not there, a folder without motion. A file that cannot
/// be read is in [`Imported::refused`], and loses nothing but itself.
pub fn import(paths: &[PathBuf], options: &Options) -> Result<Imported> {
    let (sources, repeated) = open::find(paths, options.skeleton.is_some())?;
    let mut refused = Vec::new();
    // The first file that can be read decides what the others have to agree with.
    let mut first = None;
    let mut rest = sources.iter();
    for source in rest.by_ref() {
        match Conventions::of_first(source, options) {
            Ok(found) => {
                first = Some((source, found));
                break;
            }
            Err(error) => refused.push(error),
        }
    }
    let Some((source, (conventions, clip))) = first else {
        return Ok(Imported { set: Dataset::default(), assumed: Vec::new(), refused });
    };
    let mut taken = Taken::new(&conventions);
    taken.add(source, Ok(clip));
    let taken = read_in_order(rest.as_slice(), options, &conventions, taken);
    refused.extend(taken.refused);
    let (mut set, summary) = (taken.set, taken.summary);

    let mut assumed = conventions.said(options);
    if repeated > 0 {
        assumed.push(format!("files: {repeated} given more than once, taken once"));
    }
    assumed.extend(summary.said(options));
    assumed.extend(level(&mut set, &conventions, options));
    let skeleton = super::Skeleton {
        offsets: rig::offsets(&conventions.picked.skeleton.parents, &set.frames),
        ..conventions.picked.skeleton
    };
    let loose = rig::looseness(&skeleton, &set.frames).into_iter().enumerate();
    if let Some((joint, off)) = loose.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, off)| *off > LOOSE) {
        assumed.push(format!(
            "skeleton: {} is off its usual place on its parent by {:.1} cm (rms): a joint between was left out, or bodies or \
             axes differ between files (then import those apart)",
            skeleton.names[joint],
            100.0 * METRES * off
        ));
    }
    if options.mirror {
        let mirror = set.add_mirrored(&skeleton).map_err(|what| {
            Error::Usage(format!(
                "--mirror wants a skeleton that is the same left and right: {what}; leave such joints out or rename them by --map \
                 FILE.toml"
            ))
        })?;
        assumed.extend(mirror.and_then(|mirror| mirror.doubt(&skeleton)));
    }
    let mut rig = Rig::new(skeleton, options.fps, &set.frames);
    rig.sources = summary.sources;
    set.rig = Some(rig);
    Ok(Imported { set, assumed, refused })
}

/// The set as it grows, clip by clip in the order of the files.
struct Taken {
    set: Dataset,
    summary: Summary,
    refused: Vec<Error>,
}

/// What there is to say about all clips together.
#[derive(Default)]
struct Summary {
    sources: Vec<String>,
    /// Clips whose first frame was found to be an inserted pose.
    inserted: usize,
    /// Clips whose position channels were added to the offsets.
    added: usize,
    /// The files' frame rates.
    rates: Vec<f64>,
    /// Shortest and longest leg, feet.
    legs: Option<(f64, f64)>,
}

impl Taken {
    fn new(conventions: &Conventions) -> Self {
        let frame_size = features::frame_size(conventions.picked.skeleton.len());
        let set = Dataset { frame_size, ..Dataset::default() };
        Taken { set, summary: Summary::default(), refused: Vec::new() }
    }

    fn add(&mut self, source: &Source, clip: Result<Clip>) {
        let clip = match clip {
            Ok(clip) => clip,
            Err(error) => return self.refused.push(error),
        };
        let Summary { sources, inserted, added, rates, legs } = &mut self.summary;
        sources.push(source.name.clone());
        *inserted += usize::from(clip.inserted);
        *added += usize::from(clip.added);
        if !rates.contains(&clip.rate) {
            rates.push(clip.rate);
        }
        let (shortest, longest) = legs.unwrap_or((clip.leg, clip.leg));
        *legs = Some((shortest.min(clip.leg), longest.max(clip.leg)));
        self.set.frames.extend_from_slice(&clip.frames);
        self.set.end_indices.push(self.set.num_frames() - 1);
        self.set.clip_names.push(open::stem(source.name.as_ref()).to_string_lossy().into_owned());
        self.set.clip_roots.push(clip.root);
    }
}

/// Reads files side by side and adds them one after the other; each waits for its turn, so that no more than one clip a
/// thread is held.
fn read_in_order(sources: &[Source], options: &Options, conventions: &Conventions, taken: Taken) -> Taken {
    let next = AtomicUsize::new(0);
    let (turn, its_turn) = (Mutex::new((0, taken)), Condvar::new());
    std::thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, sources.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(source) = sources.get(at) else { return };
                    let clip = conventions.clip(source, options);
                    let waiting = turn.lock().expect("no thread panics");
                    let mut turn = its_turn.wait_while(waiting, |(turn, _)| *turn != at).expect("no thread panics");
                    turn.1.add(source, clip);
                    turn.0 += 1;
                    its_turn.notify_all();
                }
            });
        }
    });
    turn.into_inner().expect("no thread panics").1
}

impl Summary {
    fn said(&self, options: &Options) -> Vec<String> {
        let mut said = Vec::new();
        let rates: Vec<String> = self.rates.iter().map(|rate| format!("{rate:.6}")).collect();
        let rates: Vec<&str> = rates.iter().map(|rate| rate.trim_end_matches('0').trim_end_matches('.')).collect();
        if self.rates != [options.fps] {
            said.push(format!("frame rate: {} in the files, resampled to {}", rates.join(", "), options.fps));
        }
        match (options.skip_first, self.inserted) {
            (Some(0), _) | (None, 0) => {}
            (Some(skipped), _) => said.push(format!("first frames: {skipped} of each file left out")),
            (None, found) => {
                said.push(format!("first frame: an inserted pose in {found} files, left out (--skip-first)"))
            }
        }
        if self.added > 0 {
            said.push(format!("position channels: always 0 in {} files, so added to the offsets there", self.added));
        }
        if let Some((shortest, longest)) = self.legs
            && longest > 1.005 * shortest
        {
            let (shortest, longest) = (METRES * shortest, METRES * longest);
            said.push(format!("bodies: legs from {shortest:.3} to {longest:.3} m, the skeleton kept is their mean"));
        }
        said
    }
}

/// Moves clips whose floor differs from the others' up or down, and says so.
fn level(set: &mut Dataset, conventions: &Conventions, options: &Options) -> Option<String> {
    if options.keep_floor {
        return Some("floor: as in the files".into());
    }
    let skeleton = &conventions.picked.skeleton;
    let joints = skeleton.len();
    let height = |joint: usize| features::slot(features::Part::Position, joint, joints) + 1;
    let clips = set.clips();
    let level = |clip: &std::ops::Range<usize>| {
        let heights = clip.clone().map(|frame| skeleton.toes.map(|toe| f64::from(set.frame(frame)[height(toe)])));
        rig::quantile(heights.map(|[left, right]| left.min(right)).collect(), 0.02)
    };
    let levels: Vec<f64> = clips.iter().map(level).collect();
    let usual = rig::quantile(levels.clone(), 0.5);
    let target = if TOE_HEIGHTS.contains(&usual) { usual } else { TOE_HEIGHT };
    let centimetres = |feet: f64| 100.0 * METRES * feet;
    let (mut moved, mut most) = (0, 0.0);
    for (clip, level) in clips.iter().zip(levels) {
        let by = target - level;
        if target == usual && by.abs() <= FLOOR_TOLERANCE {
            continue;
        }
        moved += 1;
        most = f64::max(most, by.abs());
        for frame in clip.clone() {
            for joint in 0..joints {
                set.frames[frame * set.frame_size + height(joint)] += by as f32;
            }
        }
    }
    let floor = format!("floor: toes come down to {:.1} cm", centimetres(target));
    Some(if moved == 0 {
        format!("{floor}, the same in all clips")
    } else {
        format!(
            "{floor}; {moved} of {} clips were moved, by up to {:.1} cm (--floor keep leaves them)",
            clips.len(),
            centimetres(most)
        )
    })
}

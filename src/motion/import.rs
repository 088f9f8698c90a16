//! Files of motion to a set of clips: which joints, units and axes they are in is found or given, and said.
mod clip;

use super::features;
use super::joint_map::JointMap;
use super::rig::{self, METRES, Rig};
use super::source::Note;
use super::source::expmap::ExpmapSkeleton;
pub use super::source::open::EXPANSION;
use super::source::open::{self, Source};
use super::units::{Unit, Up};
use crate::data::{Dataset, counted};
use crate::{Error, Result};
pub use clip::RATES;
use clip::{About, Clip, Conventions};
use std::collections::BTreeMap;
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

/// Faster than any walk or run, m/s: the median and the 95 % quantile of the root's speed, and the 95 % quantile of the toes'.
/// Runners go at 4 to 5, sprinters' toes at 10.
const TOO_FAST: [f64; 3] = [5.5, 8.0, 12.0];

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
    /// Frames left out at the start of each file; when not given, inserted poses and what rings beside them.
    pub skip_first: Option<usize>,
    /// The same at the end.
    pub skip_last: Option<usize>,
    /// Frames a second of the files, whatever they say.
    pub source_fps: Option<f64>,
    /// Times its size that a compressed file grows to at most ([`EXPANSION`] is usual).
    pub expansion: u64,
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
    /// What there is to say of each file's frames.
    files: Vec<About>,
    /// The speeds of each ([`Clip::speeds`]).
    speeds: Vec<[f64; 3]>,
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
        let Summary { sources, files, speeds, legs } = &mut self.summary;
        sources.push(source.name.clone());
        files.push(clip.file);
        speeds.push(clip.speeds);
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
        let mut rates: Vec<f64> = self.files.iter().map(|file| file.rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        if rates != [options.fps] {
            let rates: Vec<String> = rates.iter().map(|rate| short(*rate)).collect();
            said.push(format!("frame rate: {} in the files, resampled to {}", rates.join(", "), options.fps));
        }
        let taken = |file: &About| options.source_fps.is_none() && (file.frame_time * file.rate - 1.0).abs() > 5e-4;
        let odd: BTreeMap<String, f64> =
            self.files.iter().filter(|file| taken(file)).map(|file| (file.frame_time.to_string(), file.rate)).collect();
        said.extend(odd.iter().map(|(time, rate)| {
            format!("frame time: {time} s is taken for that of {} frames a second (--source-fps)", short(*rate))
        }));
        for (end, name, given) in [(0, "first", options.skip_first), (1, "last", options.skip_last)] {
            let files = self.sources.iter().zip(&self.files).filter(|(_, file)| file.left_out[end] > 0);
            let list: Vec<String> = files.map(|(name, file)| format!("{} of {name}", file.left_out[end])).collect();
            match given {
                _ if list.is_empty() => {}
                Some(count) => said.push(format!("{name} frames: {count} of each file left out")),
                None => said.push(format!(
                    "{name} frames: not of the motion in {}, left out (--skip-{name}): {}",
                    counted(list.len(), "file"),
                    some(&list)
                )),
            }
        }
        let mut notes: BTreeMap<Note, Vec<String>> = BTreeMap::new();
        for (name, file) in self.sources.iter().zip(&self.files) {
            file.notes.iter().for_each(|note| notes.entry(*note).or_default().push(name.clone()));
        }
        for (note, files) in &notes {
            let which = if files.len() == self.sources.len() { "all files".into() } else { some(files) };
            said.push(format!("{note}: {which}"));
        }
        let fast = |speeds: &[f64; 3]| speeds.iter().zip(TOO_FAST).any(|(speed, most)| *speed > most);
        let fast: Vec<usize> = (0..self.speeds.len()).filter(|&file| fast(&self.speeds[file])).collect();
        if let Some(&worst) = fast.iter().max_by(|a, b| self.speeds[**a][0].total_cmp(&self.speeds[**b][0])) {
            let [median, q95, toes] = self.speeds[worst];
            said.push(format!(
                "warning: {} faster than any walk or run: {} goes at {median:.1} m/s in the median, {q95:.1} in the 95 % \
                 quantile, its toes at {toes:.1}, as its header says {} frames a second; if that is wrong give --source-fps N",
                counted(fast.len(), "file"),
                self.sources[worst],
                short(self.files[worst].rate)
            ));
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

/// A number without zeros at its end.
fn short(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The first of a list, and how many more there are.
fn some(list: &[String]) -> String {
    const MOST: usize = 5;
    let more = list.len().saturating_sub(MOST);
    let shown = list[..list.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
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

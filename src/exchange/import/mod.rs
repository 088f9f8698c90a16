//! Import of motion files as a set of clips. Joints, units and axes are found or given, and
//! reported.
mod clip;
mod report;
mod torn;

use crate::data::Dataset;
pub use crate::data::kind::EXPANSION;
use crate::data::kind::{self, Source};
use crate::host::shown::counted;
use crate::motion::features;
use crate::motion::joint_map::JointMap;
use crate::motion::rig::{self, METRES, Rig};
use crate::motion::source::Note;
use crate::motion::source::expmap::ExpmapSkeleton;
use crate::motion::units::{Scale, Up};
use crate::{Error, Result};
pub use clip::RATES;
use clip::{About, Clip, Conventions, Joints, Refusal};
pub use report::{Alternative, By, Findings, Floor, FrameTime, LeftOut, OddFiles, TornFile, Units, Upwards};
use report::{rounded, short, some};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use torn::Tears;

/// Largest difference of a clip's toe height from that of the other clips before the clip is moved,
/// feet.
const FLOOR_TOLERANCE: f64 = 0.015 / METRES;
/// Lowest heights of the toes' joints, feet, at which y = 0 counts as the floor of a set; other
/// sets are moved to [`TOE_HEIGHT`].
const TOE_HEIGHTS: std::ops::Range<f64> = -0.01 / METRES..0.15 / METRES;
/// Height of a toe's joint over the floor, feet.
const TOE_HEIGHT: f64 = 0.03 / METRES;
/// Distance of a joint from its place in the skeleton, feet, rms, above which it is reported.
const LOOSE: f64 = 0.01 / METRES;
/// Ratio of leg lengths in one set above which it is reported.
const UNLIKE: f64 = 1.4;
/// Share of the way walked forwards, below which the facing is doubted. The share is unknown for a
/// way shorter than a leg.
const FORWARDS: f64 = 0.25;

/// Relative difference of a frame time from a rate's above which it is more than rounding.
const SAME_TIME: f64 = 5e-4;
/// Speeds above those of any walk or run, m/s: the median and the 95 % quantile of the root's
/// speed, and the 95 % quantile of the toes'. Runners go at 4 to 5, sprinters' toes at 10.
const TOO_FAST: [f64; 3] = [5.5, 8.0, 12.0];

/// Accepted frame rates of a set: fewer frames cannot show a step, more are not captured.
pub const FPS: std::ops::RangeInclusive<f64> = 5.0..=240.0;

/// Options of an import.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Frames a second of the set.
    pub fps: f64,
    /// Joints to keep; found by name and place if `None`.
    pub map: Option<JointMap>,
    /// The skeleton of files without one of their own.
    pub skeleton: Option<ExpmapSkeleton>,
    /// The files' unit; guessed from the length of the legs if `None`.
    pub units: Option<Scale>,
    /// The files' direction up; guessed from the place of the hips above the toes if `None`.
    pub up: Option<Up>,
    /// Frames left out at the start of each file; if `None`, inserted poses and the ringing beside
    /// them.
    pub skip_first: Option<usize>,
    /// Frames left out at the end of each file; if `None`, inserted poses and the ringing beside
    /// them.
    pub skip_last: Option<usize>,
    /// Frames a second of the files, in place of their own rates.
    pub source_fps: Option<f64>,
    /// Largest size of a decompressed file, as a multiple of the compressed size (usually
    /// [`EXPANSION`]).
    pub expansion: u64,
    /// True if the files' floor (y = 0) is kept as it is.
    pub keep_floor: bool,
    /// True if clips are not cut at steps that no body makes.
    pub keep_torn: bool,
    /// True if the mirror image of every clip is added.
    pub mirror: bool,
    /// Number of files read at once.
    pub threads: usize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions {
            fps: rig::DEFAULT_FPS,
            map: None,
            skeleton: None,
            units: None,
            up: None,
            skip_first: None,
            skip_last: None,
            source_fps: None,
            expansion: EXPANSION,
            keep_floor: false,
            keep_torn: false,
            mirror: false,
            threads: 1,
        }
    }
}

/// The result of an import.
#[derive(Debug)]
pub struct Imported {
    /// The set; empty when no file could be read.
    pub set: Dataset,
    /// Findings and assumptions, for a person to check.
    pub report: Findings,
    /// The reasons why files could not be used; files of other skeletons have one for all of them.
    pub refused: Vec<Error>,
    /// Number of files that could not be used.
    pub unused: usize,
}

/// Imports the files that `paths` stand for. Errors: a missing path, a folder without motion. A
/// file that cannot be read goes to [`Imported::refused`]; the others are imported.
pub fn import(paths: &[PathBuf], options: &ImportOptions) -> Result<Imported> {
    let (sources, repeated) = kind::find(paths, options.skeleton.is_some())?;
    let mut refused = Vec::new();
    // The first readable file sets the conventions that the others must share.
    let first = (0..sources.len()).find_map(|at| match Conventions::of_first(&sources[at], options) {
        Ok(found) => Some((at, found)),
        Err(error) => {
            refused.push(error);
            None
        }
    });
    let Some((from, found)) = first else {
        let unused = refused.len();
        return Ok(Imported { set: Dataset::default(), report: Findings::default(), refused, unused });
    };
    let readable = &sources[from..];
    let (mut conventions, mut taken) = read_all(readable, 0, found, options);
    // Unless more files have another skeleton: then the first of those does.
    let usual = taken.usual_stranger().and_then(|usual| readable.iter().position(|source| source == usual));
    if let Some((at, found)) = usual.and_then(|at| Some((at, Conventions::of_first(&readable[at], options).ok()?))) {
        (conventions, taken) = read_all(readable, at, found, options);
    }
    let unused = refused.len() + taken.refused.len() + taken.strangers.len();
    refused.extend(taken.strange());
    refused.extend(taken.refused);
    let (mut set, summary) = (taken.set, taken.summary);

    let mut report = conventions.report(options);
    report.repeated = repeated;
    let keep_floor = options.keep_floor || summary.ours == set.end_indices.len();
    report.floor = level(&mut set, &conventions, keep_floor);
    report.torn = torn::cut(&mut set, &summary.tears, &summary.sources, &report.joints, options.fps, options.keep_torn);
    let skeleton = crate::motion::Skeleton {
        offsets: rig::offsets(&conventions.picked.skeleton.parents, &set.frames),
        ..conventions.picked.skeleton
    };
    let sources = summary.report(options, &mut report);
    report.facing_share = facing_share(&set, options.fps, report.legs[1]);
    if let Some(share) = report.facing_share.filter(|share| *share < FORWARDS) {
        report.warnings.push(format!(
            "only {share:.2} of the way is walked forwards: if the body does walk forwards, its left and right are named the \
             other way round, or up is another direction (--up)"
        ));
    }
    let loose = rig::looseness(&skeleton, &set.frames).into_iter().enumerate();
    if let Some((joint, off)) = loose.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, off)| *off > LOOSE) {
        report.warnings.push(format!(
            "{} is off its usual place on its parent by {:.1} cm (rms): a joint between was left out, or bodies or axes differ \
             between files (then import those apart)",
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
        report.warnings.extend(mirror.and_then(|mirror| mirror.doubt(&skeleton)));
    }
    let mut rig = Rig::new(skeleton, options.fps, &set.frames);
    rig.sources = sources;
    set.rig = Some(rig);
    Ok(Imported { set, report, refused, unused })
}

/// Share of the way that is walked forwards, over frames in which the root is faster than
/// [`rig::MOVING`]; `None` if the way is not longer than `leg`.
fn facing_share(set: &Dataset, fps: f64, leg: f64) -> Option<f64> {
    let steps = (0..set.num_frames()).map(|frame| [0, 1].map(|at| f64::from(set.frame(frame)[at]) * METRES));
    let moving = steps.filter(|[forward, right]| forward.hypot(*right) * fps > rig::MOVING);
    let (forward, way) =
        moving.fold((0.0, 0.0), |(forward, way), step| (forward + step[0], way + step[0].hypot(step[1])));
    (way > leg).then(|| rounded(forward / way))
}

/// The set as it grows, clip by clip in the order of the files.
struct Taken {
    set: Dataset,
    summary: Summary,
    refused: Vec<Error>,
    /// Files of other skeletons, each with the skeleton.
    strangers: Vec<(Source, Joints)>,
}

/// Findings about all clips together.
#[derive(Default)]
struct Summary {
    sources: Vec<String>,
    /// Findings about the frames of each file.
    files: Vec<About>,
    /// The speeds of each file ([`Clip::speeds`]).
    speeds: Vec<[f64; 3]>,
    /// Steps that no body makes, of each file.
    tears: Vec<Tears>,
    /// Number of clips from our own exports.
    ours: usize,
    /// Shortest and longest leg, feet.
    legs: Option<(f64, f64)>,
    /// Joints of the files that are not kept.
    left_out: Vec<String>,
}

impl Taken {
    fn new(conventions: &Conventions) -> Self {
        let frame_size = features::frame_size(conventions.picked.skeleton.len());
        let set = Dataset { frame_size, ..Dataset::default() };
        Taken { set, summary: Summary::default(), refused: Vec::new(), strangers: Vec::new() }
    }

    /// The first file of the skeleton that most strangers have, if they are more than the files
    /// that were taken.
    fn usual_stranger(&self) -> Option<&Source> {
        let mut alike: BTreeMap<&Joints, Vec<&Source>> = BTreeMap::new();
        self.strangers.iter().for_each(|(source, joints)| alike.entry(joints).or_default().push(source));
        let most = alike.into_values().max_by_key(|files| files.len())?;
        (most.len() > self.summary.sources.len()).then_some(most[0])
    }

    /// The refusal of all strangers.
    fn strange(&self) -> Option<Error> {
        let ((first, _), more) = self.strangers.split_first()?;
        let taken = some(&self.summary.sources, 1);
        let more = match more {
            [] => String::new(),
            more => {
                let names: Vec<_> = more.iter().map(|(source, _)| source.name.clone()).collect();
                format!(", and so have {}: {}", counted(more.len(), "more file"), some(&names, 2))
            }
        };
        let what = format!("has another skeleton than {taken}{more}");
        let mend = "import skeletons apart, or give --map FILE.toml with joints that all have";
        Some(Error::data(&first.path, what, mend))
    }

    fn add(&mut self, source: &Source, clip: Result<Clip, Refusal>) {
        let clip = match clip {
            Ok(clip) => clip,
            Err(Refusal::Skeleton(joints)) => return self.strangers.push((source.clone(), joints)),
            Err(Refusal::Other(error)) => return self.refused.push(error),
        };
        let Summary { sources, files, speeds, tears, ours, legs, left_out } = &mut self.summary;
        sources.push(source.name.clone());
        files.push(clip.file);
        speeds.push(clip.speeds);
        tears.push(clip.tears);
        *ours += usize::from(clip.ours);
        for joint in clip.left_out {
            if !left_out.contains(&joint) {
                left_out.push(joint);
            }
        }
        let (shortest, longest) = legs.unwrap_or((clip.leg, clip.leg));
        *legs = Some((shortest.min(clip.leg), longest.max(clip.leg)));
        self.set.frames.extend_from_slice(&clip.frames);
        self.set.end_indices.push(self.set.num_frames() - 1);
        self.set.clip_names.push(kind::stem(source.name.as_ref()).to_string_lossy().into_owned());
        self.set.clip_roots.push(clip.root);
    }
}

/// Reads all files by the conventions that were found in the one at `first`, whose clip is there.
fn read_all(
    sources: &[Source],
    first: usize,
    (conventions, clip): (Conventions, Clip),
    options: &ImportOptions,
) -> (Conventions, Taken) {
    let mut taken = Taken::new(&conventions);
    taken.add(&sources[first], Ok(clip));
    let others: Vec<_> = sources.iter().enumerate().filter(|(at, _)| *at != first).map(|(_, source)| source).collect();
    let taken = read_in_order(&others, options, &conventions, taken);
    (conventions, taken)
}

/// Reads files in parallel and adds them in order. A thread with a finished clip waits for its
/// turn, so that each thread holds at most one clip.
fn read_in_order(sources: &[&Source], options: &ImportOptions, conventions: &Conventions, taken: Taken) -> Taken {
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
    /// Writes the findings into `report`, and returns the files' names.
    fn report(self, options: &ImportOptions, report: &mut Findings) -> Vec<String> {
        for (name, file) in self.sources.iter().zip(&self.files) {
            if !report.source_fps.contains(&file.rate) {
                report.source_fps.push(file.rate);
            }
            let time = FrameTime { seconds: file.frame_time, fps: file.rate };
            let rounded = options.source_fps.is_none() && (time.seconds * time.fps - 1.0).abs() > SAME_TIME;
            if rounded && !report.frame_times.contains(&time) {
                report.frame_times.push(time);
            }
            let [first, last] = file.left_out;
            if first + last > 0 {
                report.frames_left_out.push(LeftOut { file: name.clone(), first, last });
            }
        }
        let mut notes: BTreeMap<Note, Vec<String>> = BTreeMap::new();
        for (name, file) in self.sources.iter().zip(&self.files) {
            file.notes.iter().for_each(|note| notes.entry(*note).or_default().push(name.clone()));
        }
        report.odd_files = notes.into_iter().map(|(note, files)| OddFiles { note, files }).collect();
        let fast = |speeds: &[f64; 3]| speeds.iter().zip(TOO_FAST).any(|(speed, most)| *speed > most);
        let fast: Vec<usize> = (0..self.speeds.len()).filter(|&file| fast(&self.speeds[file])).collect();
        if let Some(&worst) = fast.iter().max_by(|a, b| self.speeds[**a][0].total_cmp(&self.speeds[**b][0])) {
            let [median, q95, toes] = self.speeds[worst];
            report.warnings.push(format!(
                "{} faster than any walk or run: {} goes at {median:.1} m/s in the median, {q95:.1} in the 95 % quantile, its toes \
                 at {toes:.1}, as its header says {} frames a second; if that is wrong give --source-fps N",
                counted(fast.len(), "file"),
                self.sources[worst],
                short(self.files[worst].rate)
            ));
        }
        let whole = || report.torn.iter().filter(|file| file.left_out == 0);
        if let Some(worst) = whole().max_by(|a, b| a.severity.total_cmp(&b.severity)) {
            report.warnings.push(format!(
                "{} with steps that no body makes: in {} {}; mend the file there, or leave it out",
                counted(whole().count(), "file"),
                worst.file,
                worst.fault
            ));
        }
        report.left_out = self.left_out;
        let (shortest, longest) = self.legs.unwrap_or_default();
        report.legs = [shortest, longest].map(|leg| rounded(METRES * leg));
        if longest > UNLIKE * shortest {
            let [shortest, longest] = report.legs;
            report.warnings.push(format!(
                "legs are from {shortest:.2} to {longest:.2} m long: bodies of unlike sizes, or files in several units, had better \
                 be imported apart"
            ));
        }
        self.sources
    }
}

/// Moves clips up or down if their floor differs from the others', unless `kept`.
fn level(set: &mut Dataset, conventions: &Conventions, kept: bool) -> Floor {
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
    let target = if kept || TOE_HEIGHTS.contains(&usual) { usual } else { TOE_HEIGHT };
    let (mut moved, mut most) = (0, 0.0);
    for (clip, level) in clips.iter().zip(levels) {
        let by = target - level;
        if kept || target == usual && by.abs() <= FLOOR_TOLERANCE {
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
    let metres = |feet: f64| rounded(METRES * feet);
    Floor { kept, toes: metres(target), moved, most: metres(most), clips: clips.len() }
}

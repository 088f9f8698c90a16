//! `mvae-fast generate`: walks, reconstructed clips and motion of given latents, as files.
use super::compute::Compute;
use super::export::find_clip;
use super::output::Output;
use super::pilot::{EffortArgs, ForeignArgs};
use super::print::print;
use super::runs::trained;
use crate::config::ModelConfig;
use crate::data::npz::Extra;
use crate::data::world;
use crate::data::{Dataset, npz};
use crate::exchange::export::glb::Track;
use crate::host::shown::counted;
use crate::infer::generate::{Latents, Motion, Step, frames_to_encode, stream};
use crate::infer::trained::{Source, Trained};
use crate::motion::features::world_pose;
use crate::motion::local::{Bones, LocalPose};
use crate::motion::rig::DEFAULT_FPS;
use crate::motion::{Rig, Root};
use crate::{Error, Result, host::memory};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(super) const EXAMPLES: &str = "\
Examples:
  mvae-fast generate walk                              one walk of 10 s
  mvae-fast generate walk --characters 1000 -o crowd.npz
  mvae-fast generate walk --start walk_001:40 --temperature 0.7
  mvae-fast generate walk --reconstruct walk_001       a clip through encoder and decoder
  mvae-fast generate walk --latents crowd.npz          the latents of an earlier motion, or your own
  mvae-fast generate --controller catch -o catch.bvh   a controller of `control train` at work
  mvae-fast generate walk --plan target                control without learning

An .npz is a motion file like those that are trained on (a clip for each character), with the
latents [characters, frames, L] (of a controller's characters of which some end early: [all frames, L]),
the places of the joints in the world and the roots beside it.";

/// Default number of frames of a walk: 10 s.
const DEFAULT_FRAMES: usize = 300;
/// Largest number of values in a motion: 16 GiB of them.
const MAX_NUMBERS: u128 = 1 << 32;

/// Refuses motion that does not fit into one file.
pub(super) fn holds(characters: usize, frames: usize, frame_size: usize) -> Result<()> {
    if (characters as u128) * (frames as u128) * (frame_size as u128) > MAX_NUMBERS {
        let said = format!("{characters} characters of {frames} frames are more than one motion holds");
        return Err(Error::Usage(format!("{said}; take fewer --characters or --frames, with several --seed")));
    }
    Ok(())
}

/// Bytes of a frame, which is held twice: once while it is made, once as it is written.
pub(super) fn frame_bytes(model: &ModelConfig) -> usize {
    2 * size_of::<f32>() * (model.frame_size + model.latent_size)
}

/// Refuses motion that does not fit into memory; a frame takes `bytes` bytes.
pub(super) fn there_is_room(characters: usize, frames: usize, bytes: usize) -> Result<()> {
    let bytes = characters as u64 * frames as u64 * bytes as u64;
    memory::require(bytes, |words| {
        let said = format!("{characters} characters of {frames} frames take {words}");
        Error::Usage(format!("{said}; take fewer --characters or --frames, with several --seed"))
    })
}

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// A run folder or that of a character, its name under --runs, or a checkpoint file
    #[arg(value_name = "RUN|CHECKPOINT", required_unless_present = "controller")]
    pub run: Option<PathBuf>,
    /// Let the policy of this run (a folder, or its name under --runs) steer the decoder it was
    /// trained on
    #[arg(long, value_name = "RUN", conflicts_with_all = ["run", "temperature", "start", "reconstruct", "latents"])]
    pub controller: Option<PathBuf>,
    /// Let a planner steer for this task (`control list`), without learning: before each step, a
    /// character tries sequences of latents from the prior, and takes the first of the best one
    #[arg(long, value_name = "TASK", conflicts_with_all = ["controller", "temperature", "start", "reconstruct", "latents"])]
    pub plan: Option<String>,
    /// Amount of planning.
    #[command(flatten)]
    pub effort: EffortArgs,
    /// Task and decoder of a controller of the public implementation.
    #[command(flatten)]
    pub foreign: ForeignArgs,
    /// Frames of each character [default: 300, a whole clip, or as many as there are latents]
    #[arg(long, value_name = "N")]
    pub frames: Option<NonZeroUsize>,
    /// Characters [default: 1, or as many as there are latents for]
    #[arg(long, value_name = "N")]
    pub characters: Option<NonZeroUsize>,
    /// Seed of latents and starts
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Standard deviation of latents drawn from the prior
    #[arg(long, value_name = "T", default_value_t = 1.0, conflicts_with_all = ["reconstruct", "latents"])]
    pub temperature: f64,
    /// Start all characters at this clip (its name or number), from this frame on [default: each
    /// anywhere]
    #[arg(long, value_name = "CLIP[:FRAME]")]
    pub start: Option<String>,
    /// Encode and decode this clip, each frame after the first from what was decoded before it
    #[arg(long, value_name = "CLIP", conflicts_with_all = ["start", "latents", "characters"])]
    pub reconstruct: Option<String>,
    /// npz file whose array latents is [frames, L] or [characters, frames, L]
    #[arg(long, value_name = "FILE")]
    pub latents: Option<PathBuf>,
    /// npz file of motion to start from (may be repeated) [default: what the model was trained on]
    #[arg(long, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Folder that holds the run folders
    #[arg(long, value_name = "DIR", env = "MVAE_RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// The device to compute on, and how.
    #[command(flatten)]
    pub compute: Compute,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl GenerateArgs {
    /// True if the characters do what a task asks for.
    pub(super) fn is_steered(&self) -> bool {
        self.controller.is_some() || self.plan.is_some()
    }

    /// The run that is named.
    pub(super) fn run(&self) -> &Path {
        self.run.as_ref().or(self.controller.as_ref()).expect("clap asks for one of them")
    }
}

/// Generates as the arguments say.
pub fn generate(args: &GenerateArgs) -> Result<()> {
    let run = args.run();
    args.foreign.refuse("are for --controller; leave them out")?;
    let trained = trained(&args.runs, run)?;
    if !(args.temperature >= 0.0 && args.temperature.is_finite()) {
        return Err(Error::Usage(format!("--temperature is {}, expected a number of 0 or more", args.temperature)));
    }
    let source = trained.source(&args.data)?;
    let rig = trained.meta.rig.as_ref().or(source.set.rig.as_ref());
    let given = args.latents.as_deref().map(|file| Given::read(file, trained.model().latent_size)).transpose()?;
    let plan = Request::new(args, &trained, &source, given.as_ref())?;
    let output = Output::new(args.output.as_deref(), run, rig.is_some(), plan.starts.len())?;
    let bytes = match rig.filter(|_| output.takes_tracks()) {
        Some(rig) => Track::frame_bytes(rig),
        None => frame_bytes(trained.model()),
    };
    there_is_room(plan.starts.len(), plan.frames, bytes)?;
    let backend = args.compute.open()?;

    let begun = Instant::now();
    let arranged = given.map(|given| given.arranged(plan.starts.len(), plan.frames));
    let latents = match &arranged {
        Some(arranged) => Latents::Given(arranged),
        None if args.reconstruct.is_some() => Latents::Encoder,
        None => Latents::Prior { seed: args.seed, temperature: args.temperature },
    };
    let tracks = plan.tracks(&trained, &source.set, args.reconstruct.is_some());
    let (characters, frames) = (plan.starts.len(), plan.frames);
    let (files, lost, seconds) = match rig.filter(|_| output.takes_tracks()) {
        Some(rig) => {
            let mut walks = Walks::new(&plan, args, &trained, &source.set, rig);
            stream(&trained, backend.as_ref(), &tracks, frames, latents, |step| walks.see(&step))?;
            let seconds = begun.elapsed().as_secs_f64();
            let lost = walks.lost.iter().enumerate().find(|(_, lost)| lost.is_some());
            lost.map_or(Ok(()), |(c, lost)| output.require_finite(c, *lost))?;
            (output.write_tracks(walks.tracks.into_iter())?, Vec::new(), seconds)
        }
        None => {
            let mut motion = crate::infer::generate::generate(&trained, backend.as_ref(), &tracks, frames, latents)?;
            let seconds = begun.elapsed().as_secs_f64();
            let lost = |c: usize| motion.first_nonfinite(c).map(|frame| (c, frame));
            let lost: Vec<_> = (0..characters).filter_map(lost).collect();
            let set = plan.placed(args, &trained, &source.set, &mut motion);
            let latents = Extra::f32("latents", vec![characters, frames, motion.latent_size], &motion.latents);
            (output.write(&set, Bones::Skeleton, vec![latents])?, lost, seconds)
        }
    };
    let fps = rig.map_or(DEFAULT_FPS, |rig| rig.fps);
    if args.json {
        let starts = plan.starts.iter().map(|&start| {
            let (clip, frame) = plan.place(&source.set, start);
            json!({ "clip": clip_name(&source.set, clip), "frame": frame })
        });
        let result = json!({
            "checkpoint": trained.path, "files": files, "characters": characters, "frames": frames,
            "fps": fps, "starts": starts.collect::<Vec<_>>(), "seconds": seconds,
            "nonfinite": lost.iter().map(|(character, _)| character).collect::<Vec<_>>(),
        });
        return print(&format!("{result}\n"));
    }
    print(&summary(&plan, &source, &files, &lost, fps))
}

/// The summary that is printed at the end.
fn summary(plan: &Request, source: &Source, files: &[PathBuf], lost: &[(usize, usize)], fps: f64) -> String {
    let names = match files {
        [first, .., last] => format!("{} to {}", first.display(), last.display()),
        _ => files[0].display().to_string(),
    };
    let (characters, frames) = (counted(plan.starts.len(), "character"), plan.frames);
    let mut text = format!("{names}: {characters}, {frames} frames ({:.1} s)\n", frames as f64 / fps);
    if let &[start] = &plan.starts[..] {
        let (clip, frame) = plan.place(&source.set, start);
        text += &format!("from frame {frame} of clip {} on\n", clip_name(&source.set, clip));
    }
    if let Some((character, frame)) = lost.first() {
        text += &format!("warning: {} of the walks explode, such as {character} in frame {frame}\n", lost.len());
    }
    text
}

/// The start of each character, and the number of frames.
struct Request {
    /// The first (oldest) condition frame of each character, counted over the whole set.
    starts: Vec<usize>,
    frames: usize,
    /// C.
    conditions: usize,
}

impl Request {
    fn new(args: &GenerateArgs, trained: &Trained, source: &Source, given: Option<&Given>) -> Result<Self> {
        let (model, set) = (trained.model(), &source.set);
        let conditions = model.condition_frames;
        let frames = args.frames.map(NonZeroUsize::get);
        if let Some(clip) = &args.reconstruct {
            let clip = set.clips()[find_clip(set, &source.name, clip)?].clone();
            let most = (clip.len() + 1).saturating_sub(conditions + model.future_predictions);
            if most == 0 || frames.is_some_and(|frames| frames > most) {
                let what = format!("the clip has {} frames, of which {most} can be reconstructed", clip.len());
                return Err(Error::data(&source.name, what, "take a longer clip, or fewer --frames"));
            }
            return Ok(Request { starts: vec![clip.start], frames: frames.unwrap_or(most), conditions });
        }

        let characters = args.characters.map(NonZeroUsize::get);
        let characters = characters.or(given.and_then(|given| given.characters)).unwrap_or(1);
        let frames = frames.or(given.map(|given| given.frames)).unwrap_or(DEFAULT_FRAMES);
        if let Some(given) = given {
            if frames > given.frames {
                let said = format!("--frames is {frames}, but there are latents for {}", given.frames);
                return Err(Error::Usage(said));
            }
            if let Some(most) = given.characters.filter(|&most| characters > most) {
                let said = format!("--characters is {characters}, but there are latents for {most}");
                return Err(Error::Usage(said));
            }
        }
        holds(characters, frames, model.frame_size)?;
        let starts = match &args.start {
            Some(start) => vec![find_start(set, source, start, conditions)?; characters],
            None => source.starts(conditions, characters, args.seed)?,
        };
        Ok(Request { starts, frames, conditions })
    }

    /// Clip and frame (counted within it) of the last condition frame of a start.
    fn place(&self, set: &Dataset, start: usize) -> (usize, usize) {
        let clip = set.clip_of(start);
        (clip, start + self.conditions - 1 - set.clips()[clip].start)
    }

    /// The frames of each character that the model sees: its conditions and, with `encode`, the
    /// frames to encode.
    fn tracks<'a>(&self, trained: &Trained, set: &'a Dataset, encode: bool) -> Vec<&'a [f32]> {
        let behind = if encode { frames_to_encode(trained, self.frames) } else { 0 };
        let frames = trained.model().condition_frames + behind;
        self.starts.iter().map(|&start| &set.frames[start * set.frame_size..][..frames * set.frame_size]).collect()
    }

    /// Name of a character's motion in the output file.
    fn name(&self, c: usize, reconstructed: bool, set: &Dataset) -> String {
        match reconstructed {
            true => format!("{} reconstructed", clip_name(set, set.clip_of(self.starts[c]))),
            false => format!("walk {c}"),
        }
    }

    /// The root of a character before its first frame. A reconstruction follows its clip.
    fn before(&self, c: usize, reconstructed: bool, set: &Dataset) -> Root {
        if !reconstructed {
            return world::START;
        }
        let (clip, frame) = self.place(set, self.starts[c]);
        world::roots(set, clip)[frame]
    }

    /// The motion as a set with one clip for each character. Takes the poses out of `motion`.
    fn placed(&self, args: &GenerateArgs, trained: &Trained, set: &Dataset, motion: &mut Motion) -> Dataset {
        let root = |c: usize| {
            let before = self.before(c, args.reconstruct.is_some(), set);
            before.advanced(world::root_motion(motion.character(c)))
        };
        let clip_roots = (0..motion.characters).map(root).collect();
        Dataset {
            frames: std::mem::take(&mut motion.poses),
            frame_size: motion.frame_size,
            end_indices: (1..=motion.characters).map(|c| c * motion.frames - 1).collect(),
            clip_names: (0..motion.characters).map(|c| self.name(c, args.reconstruct.is_some(), set)).collect(),
            clip_roots,
            rig: trained.meta.rig.clone().or_else(|| set.rig.clone()),
        }
    }
}

/// Walks as tracks of an animation, built frame by frame.
struct Walks<'a> {
    trained: &'a Trained,
    rig: &'a Rig,
    tracks: Vec<Track<'a>>,
    roots: Vec<Root>,
    /// The first frame of each character that is not finite.
    lost: Vec<Option<usize>>,
}

impl<'a> Walks<'a> {
    fn new(plan: &Request, args: &GenerateArgs, trained: &'a Trained, set: &Dataset, rig: &'a Rig) -> Self {
        let (characters, reconstructed) = (0..plan.starts.len(), args.reconstruct.is_some());
        let track = |c| {
            let name = plan.name(c, reconstructed, set);
            Track::new(name, rig, plan.frames, vec![false; rig.skeleton.len()])
        };
        Walks {
            trained,
            rig,
            tracks: characters.clone().map(track).collect(),
            lost: vec![None; characters.len()],
            roots: characters.map(|c| plan.before(c, reconstructed, set)).collect(),
        }
    }

    fn see(&mut self, step: &Step) {
        let mut rows = step.rows.to_vec();
        self.trained.statistics.denormalize(self.trained.meta.normalization, &mut rows);
        for (c, frame) in (step.first..).zip(rows.chunks_exact(self.trained.model().frame_size)) {
            if self.lost[c].is_none() && frame.iter().any(|x| !x.is_finite()) {
                self.lost[c] = Some(step.frame);
            }
            if self.lost[c].is_none() {
                self.roots[c] = self.roots[c].advanced(world::root_motion(frame));
                let pose = world_pose(frame, &self.roots[c]);
                self.tracks[c].push(&LocalPose::new(&self.rig.skeleton, &pose, Bones::Skeleton));
            }
        }
    }
}

/// Latents from a file.
struct Given {
    /// Number of characters they are for; `None` means the same latents for every character.
    characters: Option<usize>,
    frames: usize,
    latent_size: usize,
    values: Vec<f32>,
}

impl Given {
    fn read(file: &Path, latent_size: usize) -> Result<Self> {
        let (shape, values) = npz::read_array(file, "latents")?;
        let (characters, frames) = match shape[..] {
            [frames, l] if l == latent_size => (None, frames),
            [characters, frames, l] if l == latent_size => (Some(characters), frames),
            _ => {
                let what = format!("latents is {shape:?}");
                let mend = format!("save it as [frames, {latent_size}] or [characters, frames, {latent_size}]");
                return Err(Error::data(file, what, mend));
            }
        };
        if values.is_empty() || values.iter().any(|x| !x.is_finite()) {
            return Err(Error::data(
                file,
                "latents is empty or holds a value that is not finite",
                "save other latents",
            ));
        }
        Ok(Given { characters, frames, latent_size, values })
    }

    /// The first `frames` latents of each of `characters`.
    fn arranged(&self, characters: usize, frames: usize) -> Vec<f32> {
        let row = self.frames * self.latent_size;
        let first = |c: usize| if self.characters.is_some() { c * row } else { 0 };
        (0..characters).flat_map(|c| self.values[first(c)..][..frames * self.latent_size].iter().copied()).collect()
    }
}

/// The name of a clip, or its number.
fn clip_name(set: &Dataset, clip: usize) -> String {
    set.clip_names.get(clip).cloned().unwrap_or_else(|| clip.to_string())
}

/// The first (oldest) of the `conditions` frames that end with `CLIP:FRAME`.
fn find_start(set: &Dataset, source: &Source, start: &str, conditions: usize) -> Result<usize> {
    // The name of a clip may contain a colon.
    let (clip, frame) = match find_clip(set, &source.name, start) {
        Ok(clip) => (clip, None),
        Err(error) => match start.rsplit_once(':') {
            None => return Err(error),
            Some((clip, frame)) => {
                let expected = || format!("--start is {start:?}, expected CLIP or CLIP:FRAME, a frame's number");
                (
                    find_clip(set, &source.name, clip)?,
                    Some(frame.parse::<usize>().map_err(|_| Error::Usage(expected()))?),
                )
            }
        },
    };
    let frames = set.clips()[clip].clone();
    let frame = frame.unwrap_or(conditions - 1);
    if frame >= frames.len() || frame + 1 < conditions {
        let (first, last) = (conditions - 1, frames.len() - 1);
        let what = format!("a walk cannot start at frame {frame} of clip {}", clip_name(set, clip));
        let mend = if first > last { "take a longer clip".into() } else { format!("take one from {first} to {last}") };
        return Err(Error::data(&source.name, what, mend));
    }
    Ok(frames.start + frame + 1 - conditions)
}

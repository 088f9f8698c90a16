//! `mvae-fast generate --controller` and `--plan`: motion that a policy or a planner steers, as
//! files.
use super::generate::{GenerateArgs, frame_bytes, holds, there_is_room};
use super::output::Output;
use super::pilot::{Pilot, controller};
use super::print::print;
use crate::control::play::{Performance, Who, record};
use crate::data::Dataset;
use crate::data::npz::Extra;
use crate::motion::local::Bones;
use crate::{Error, Result};
use serde_json::json;
use std::num::NonZeroUsize;
use std::time::Instant;

/// Default number of frames of each character: 20 s.
const DEFAULT_FRAMES: usize = 600;
/// Largest number of frames of one character.
const MAX_FRAMES: usize = 1 << 20;

/// Generates the motion of a controller or planner, as the arguments say.
pub(super) fn generate(args: &GenerateArgs) -> Result<()> {
    let run = args.run();
    let pilot = match &args.plan {
        Some(task) => {
            args.foreign.refuse("are for --controller; leave them out")?;
            Pilot::planner(&args.runs, ("--plan", task), run, &args.effort)?
        }
        None => Pilot::Controller(controller(&args.runs, run, &args.foreign, &args.data)?),
    };
    let (path, config) = (pilot.path(), pilot.config());
    let characters = args.characters.map_or(1, NonZeroUsize::get);
    let frames = args.frames.map_or(DEFAULT_FRAMES, NonZeroUsize::get);
    if frames > MAX_FRAMES {
        return Err(Error::Usage(format!("--frames is {frames}, expected at most {MAX_FRAMES}")));
    }
    holds(characters, frames, 1)?;
    let output = Output::new(args.output.as_deref(), run, true, characters)?;
    let backend = args.compute.open()?;
    let begun = Instant::now();
    let steps = frames.div_ceil(config.frame_skip);
    let sizes = (characters, steps + 1, args.seed);
    let (mut play, mut planner) = pilot.open(&args.data, backend.as_ref(), sizes, None)?;
    there_is_room(characters, frames, frame_bytes(play.material.decoder.model()))?;
    let who = planner.as_mut().map_or(Who::Trained, Who::Planner);
    let mut all = record(&play.stage, &mut play.memory, who, frames)?;
    let seconds = begun.elapsed().as_secs_f64();
    all.retain(|one| !one.roots.is_empty());
    if all.is_empty() {
        let what = "every character's episode ends in its first step, so there is nothing to write";
        return Err(Error::checkpoint(path, what, "give another --seed or more --characters"));
    }
    let rig = play.material.rig.clone();
    let latent_size = play.material.decoder.model().latent_size;
    let set = Dataset {
        frames: all.iter_mut().flat_map(|one| std::mem::take(&mut one.frames)).collect(),
        frame_size: play.material.decoder.model().frame_size,
        end_indices: ends(&all),
        clip_names: (0..all.len()).map(|c| format!("{} {c}", config.task.name())).collect(),
        clip_roots: all.iter().map(|one| one.roots[0]).collect(),
        rig: Some(rig),
    };
    let rows = set.num_frames();
    let latents: Vec<f32> = all.iter().flat_map(|one| one.latents.iter().copied()).collect();
    // The goals or commands at the time when each frame was made.
    let asked = |i: usize| {
        all.iter().flat_map(|one| one.recorded[i][..one.roots.len()].as_flattened().to_vec()).collect::<Vec<f32>>()
    };
    let recorded: Vec<_> = config.task.info().recorded.iter().enumerate().map(|(i, of)| (of.0, asked(i))).collect();
    // A character whose episode ends early has fewer frames.
    let alike = all.iter().all(|one| one.roots.len() == all[0].roots.len());
    let of_each = if alike { vec![all.len(), rows / all.len()] } else { vec![rows] };
    let mut extras = vec![Extra::f32("latents", [of_each, vec![latent_size]].concat(), &latents)];
    extras.extend(recorded.iter().map(|(name, values)| Extra::f32(name, vec![rows, 2], values)));
    let files = output.write(&set, Bones::Skeleton, extras)?;
    if args.json {
        let result = json!({
            (if args.plan.is_some() { "planner" } else { "controller" }): path, "task": config.task.name(), "files": files, "characters": all.len(), "frames": rows,
            "fps": play.material.rig.fps, "seconds": seconds,
        });
        return print(&format!("{result}\n"));
    }
    let name = files.first().map(|file| file.display().to_string()).unwrap_or_default();
    let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
    let (count, fps) = (all.len(), play.material.rig.fps);
    print(&format!(
        "{name}{more}: task {}, characters: {count}, {rows} frames ({:.1} s)\n",
        config.task.name(),
        rows as f64 / fps
    ))
}

/// The last frame of each clip.
fn ends(all: &[Performance]) -> Vec<usize> {
    let lengths = all.iter().map(|one| one.roots.len());
    lengths
        .scan(0, |sum, frames| {
            *sum += frames;
            Some(*sum - 1)
        })
        .collect()
}

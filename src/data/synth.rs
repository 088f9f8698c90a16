//! Procedural locomotion in the reference's layout of 267 features: a person who stands, walks,
//! runs, turns and stops. The motion is built in the world ([`world_clips`]): a path, footholds on
//! it, a body over the feet. Features are then extracted from the world poses, so that velocities,
//! root motion and orientations agree by construction.
mod body;
mod curve;
mod random;
mod skeleton;
mod track;

pub use skeleton::{BONE_ENDS, REST_OFFSETS, TIPS};

use super::Dataset;
use crate::motion::{Pose, Rig, Root, features, reference};
use body::Body;
use random::Random;
use track::{RATE, Script, Track};

/// Frames of the set that is used when no data is given.
pub const DEFAULT_FRAMES: usize = 4000;
/// Frames a second.
pub const FRAME_RATE: usize = 30;
/// F: the reference's 267.
pub const FRAME_SIZE: usize = features::frame_size(reference::NUM_JOINTS);

const SAMPLES_PER_FRAME: usize = RATE / FRAME_RATE;
/// Default number of frames of a clip, approximately.
pub(crate) const CLIP_FRAMES: usize = 300;
/// Samples of a track before and after its clip, so that steps at the clip's ends are whole.
const MARGIN: usize = 3 * RATE;

/// World poses of clips that have `frames` frames in all. Each clip has one more pose at its start,
/// from which the first frame's differences are taken. The same seed gives the same clips; clips do
/// not continue each other.
pub fn world_clips(frames: usize, seed: u64) -> impl Iterator<Item = Vec<Pose>> {
    world_clips_of(CLIP_FRAMES, frames, seed)
}

fn world_clips_of(clip_frames: usize, frames: usize, seed: u64) -> impl Iterator<Item = Vec<Pose>> {
    let mut random = Random::new(seed);
    let mut script = Script::new(random.split());
    let clips = (frames as f64 / clip_frames as f64).round().max(1.0) as usize;
    let skeleton = skeleton::skeleton();
    (0..clips).map(move |clip| {
        let poses = frames / clips + usize::from(clip < frames % clips) + 1;
        let mut random = random.split();
        let len = 2 * MARGIN + poses * SAMPLES_PER_FRAME;
        let track = Track::new(&mut script, &mut random, len);
        let body = Body::new(&skeleton, &track, &mut random);
        (0..poses).map(|i| body.pose(MARGIN + i * SAMPLES_PER_FRAME)).collect()
    })
}

/// `frames` frames of locomotion in clips of about 300 frames, 30 frames a second, features as in
/// the reference's layout ([`FRAME_SIZE`] numbers, feet). The same seed gives the same set.
pub fn locomotion(frames: usize, seed: u64) -> Dataset {
    locomotion_in_clips(frames, CLIP_FRAMES, seed)
}

/// Locomotion as from [`locomotion`], in clips of about `clip_frames` frames.
///
/// # Panics
/// If `clip_frames` is 0.
pub fn locomotion_in_clips(frames: usize, clip_frames: usize, seed: u64) -> Dataset {
    assert!(clip_frames > 0, "a clip has frames");
    let skeleton = skeleton::skeleton();
    let mut set = Dataset { frame_size: FRAME_SIZE, ..Dataset::default() };
    if frames == 0 {
        return set;
    }
    for poses in world_clips_of(clip_frames, frames, seed) {
        for pair in poses.windows(2) {
            features::push(&mut set.frames, &skeleton, &pair[0], &pair[1]);
        }
        set.end_indices.push(set.frames.len() / FRAME_SIZE - 1);
        set.clip_names.push(format!("synthetic {}", set.clip_names.len()));
        set.clip_roots.push(Root::of(&skeleton, &poses[1]));
    }
    set.rig = Some(Rig::new(skeleton, FRAME_RATE as f64, &set.frames));
    set
}

//! Motion to look at: a few clips of the data, for the report's player.
use crate::data::Dataset;
use crate::data::windows::Split;
use crate::motion::Rig;
use crate::run::player::{self, Kind, Motion, Track};
use std::ops::Range;

/// Clips that are shown.
const STARTS: usize = 4;
/// Longest track, seconds.
const SECONDS: f64 = 10.0;
/// Clips shorter than this share of the longest are not chosen while there are others.
const LONG: f64 = 0.6;

/// The clips of a run that its report shows.
pub struct Clips {
    /// What the frames are poses of.
    rig: Rig,
    starts: Vec<Start>,
}

/// One clip to start from.
struct Start {
    name: String,
    /// Its frames, from the newest condition on: raw features.
    frames: Vec<f32>,
}

impl Clips {
    /// Chooses clips of `set` (raw features), held-out ones first; `None` when it is not known what the features are
    /// poses of.
    pub fn choose(set: &Dataset, split: &Split, condition_frames: usize) -> Option<Self> {
        let rig = set.rig.clone()?;
        let most = (SECONDS * rig.fps) as usize + 1;
        let held_out = spread(&split.validation, STARTS);
        let train = spread(&split.train, STARTS - held_out.len());
        let start = |clip: Range<usize>, part: &str| {
            let number = set.clip_of(clip.start);
            let name = set.clip_names.get(number).cloned().unwrap_or_else(|| format!("clip {}", number + 1));
            let first = (clip.start + condition_frames - 1).min(clip.end - 1);
            let frames = first..clip.end.min(first + most);
            let frames = set.frames[frames.start * set.frame_size..frames.end * set.frame_size].to_vec();
            Start { name: format!("{name} ({part})"), frames }
        };
        let starts = held_out.into_iter().map(|clip| start(clip, "held out"));
        let starts = starts.chain(train.into_iter().map(|clip| start(clip, "trained on"))).collect();
        Some(Clips { rig, starts })
    }

    /// The data's own motion.
    fn data(&self) -> Vec<Track> {
        let track = |start: &Start| Track::new("Data".into(), Kind::Data, start.name.clone(), &self.rig, &start.frames);
        self.starts.iter().map(track).collect()
    }

    /// What the report shows.
    pub fn motion(&self) -> Motion {
        Motion { note: "Clips of the data.".into(), tracks: Some(player::pack(&self.rig, &self.data())) }
    }
}

/// At most `count` of the longer clips, spread over the set.
fn spread(clips: &[Range<usize>], count: usize) -> Vec<Range<usize>> {
    let longest = clips.iter().map(Range::len).max().unwrap_or(0);
    let long: Vec<_> = clips.iter().filter(|clip| clip.len() as f64 >= LONG * longest as f64).collect();
    let count = count.min(long.len());
    (0..count).map(|i| long[i * long.len() / count].clone()).collect()
}

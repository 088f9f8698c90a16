//! Walks with latents from the prior, compared with the data: whether they stay among its poses,
//! and their speeds, turns, foot contacts and diversity.
use super::distance::{self, Distance};
use super::feature::square_distance;
use super::gait::{Gait, GaitReport, Walker};
use super::groups::poses_and_velocities;
use super::{Bench, WalkOptions};
use crate::Result;
use crate::data::windows;
use crate::infer::generate::{Latents, stream};
use crate::motion::Root;
use crate::motion::features::joints;
use crate::motion::rig::{DEFAULT_FPS, METRES};
use crate::philox::{Purpose, Stream};
use serde::Serialize;

/// Frames at the start of a walk that are left out of speeds and poses, as they still depend on the
/// true pose before them.
const SETTLING: usize = 30;
/// Step between the later frames that are used for distances of poses.
pub(super) const THINNING: usize = 30;
/// Number of starts for the diversity, and of walks from each.
const STARTS: usize = 8;
const WALKS_A_START: usize = 16;
/// Frames of the walks for the diversity.
pub(super) const DIVERSITY_FRAMES: usize = 300;

/// Measurements of walks.
#[derive(Debug, Clone, Serialize)]
pub struct Walks {
    /// Number of walks.
    pub walks: usize,
    /// Frames of each walk.
    pub frames: usize,
    /// Share that never leaves the envelope: every feature of every frame finite, and beyond the
    /// data's smallest and largest value by at most a quarter of their distance.
    pub inside: f64,
    /// Median frame in which walks leave the envelope, over those that do.
    pub median_exit: Option<usize>,
    /// Speed, turns and feet of the walks; none when the features are not laid out as poses of
    /// joints.
    pub gait: Option<GaitReport>,
    /// Speed, turns and feet of the data.
    pub data_gait: Option<GaitReport>,
    /// Differences between walks from one start.
    pub diversity: Diversity,
    /// Number of finite frames that are compared with held-out ones.
    pub compared: usize,
    /// Distance of features of places and axes from held-out ones.
    pub poses: Option<Distance>,
    /// Distance of root motion and velocities from held-out ones.
    pub velocities: Option<Distance>,
}

/// Differences between walks from the same pose.
#[derive(Debug, Clone, Serialize)]
pub struct Diversity {
    /// Number of starts.
    pub starts: usize,
    /// Number of walks from each start.
    pub walks: usize,
    /// Root mean square difference of a normalised feature between two walks from one start, at
    /// every 30th of 300 frames (see `unrelated` for two unrelated poses of the data).
    pub features: f64,
    /// Root mean square difference of a normalised feature between random pairs of frames of the
    /// data.
    pub unrelated: f64,
    /// Root mean square distance between two walks' places after the last of 300 frames, m.
    pub metres: Option<f64>,
}

/// Generates walks and measures them. `told` hears the share that is done.
pub fn measure(bench: &Bench, options: &WalkOptions, told: &dyn Fn(f64)) -> Result<Walks> {
    let f = bench.trained.model().frame_size;
    let starts = bench.starts(options.walks, Stream::new(options.seed, Purpose::Starts, 0));
    let tracks: Vec<&[f32]> = starts.iter().map(|&start| bench.conditions(start)).collect();
    let (scale, shift) = bench.trained.statistics.scale_and_shift(bench.trained.meta.normalization);
    let rig = bench.rig();
    let fps = rig.map_or(DEFAULT_FPS, |rig| rig.fps);

    let mut exits = vec![None; options.walks];
    let mut gait = Gait::new(rig, fps);
    let mut walkers = vec![Walker::default(); options.walks];
    let mut kept: Vec<f32> = Vec::new();
    let latents = Latents::Prior { seed: options.seed, temperature: 1.0 };
    let (of_walks, of_starts) = (options.walks * options.frames, STARTS * WALKS_A_START * DIVERSITY_FRAMES);
    let mut frames = 0;
    stream(&bench.trained, bench.backend, &tracks, options.frames, latents, |step| {
        frames += step.rows.len() / f;
        told(frames as f64 / (of_walks + of_starts) as f64);
        for (walk, row) in (step.first..).zip(step.rows.chunks_exact(f)) {
            if exits[walk].is_none() && !row.iter().zip(&bench.features).all(|(x, feature)| feature.inside(*x)) {
                exits[walk] = Some(step.frame);
            }
            if step.frame < SETTLING || !row.iter().all(|x| x.is_finite()) {
                continue;
            }
            if joints(f).is_some() {
                gait.see(&mut walkers[walk], f, |i| f64::from(row[i]) * scale[i] + shift[i]);
            }
            if (step.frame - SETTLING).is_multiple_of(THINNING) {
                kept.extend(row);
            }
        }
    })?;

    let mut left: Vec<usize> = exits.iter().copied().flatten().collect();
    left.sort_unstable();
    let data_gait = Gait::of(&bench.set, rig);
    let varies = |column: &usize| bench.features[*column].varies();
    let [poses, velocities] = poses_and_velocities(f).map(|columns| {
        let unit = |column: usize| (column, bench.features[column].unit());
        let columns: Vec<_> = columns.into_iter().filter(varies).map(unit).collect();
        let rows = |clips: &[std::ops::Range<usize>]| -> Vec<&[f32]> {
            clips.iter().cloned().flatten().map(|i| &bench.normalized[i * f..][..f]).collect()
        };
        let generated: Vec<&[f32]> = kept.chunks_exact(f).collect();
        distance::measure(&columns, &rows(&bench.train), &rows(&bench.held_out), &generated)
    });
    Ok(Walks {
        walks: options.walks,
        frames: options.frames,
        inside: 1.0 - left.len() as f64 / options.walks as f64,
        median_exit: left.get(left.len() / 2).copied(),
        gait: joints(f).and_then(|_| gait.report()),
        data_gait,
        diversity: diversity(bench, options)?,
        compared: kept.len() / f,
        poses,
        velocities,
    })
}

fn diversity(bench: &Bench, options: &WalkOptions) -> Result<Diversity> {
    let f = bench.trained.model().frame_size;
    let starts = bench.starts(STARTS, Stream::new(options.seed, Purpose::Starts, 1));
    let tracks: Vec<&[f32]> =
        starts.iter().flat_map(|&start| std::iter::repeat_n(bench.conditions(start), WALKS_A_START)).collect();
    let (scale, shift) = bench.trained.statistics.scale_and_shift(bench.trained.meta.normalization);
    let mut roots = vec![Root::default(); tracks.len()];
    let (mut square, mut pairs) = (0.0, 0);
    // The seed differs from that of the long walks.
    let latents = Latents::Prior { seed: options.seed.wrapping_add(1), temperature: 1.0 };
    let mut rows = vec![0.0; tracks.len() * f];
    stream(&bench.trained, bench.backend, &tracks, DIVERSITY_FRAMES, latents, |step| {
        for (walk, row) in (step.first..).zip(step.rows.chunks_exact(f)) {
            roots[walk] = roots[walk].advanced(std::array::from_fn(|i| f64::from(row[i]) * scale[i] + shift[i]));
        }
        rows[step.first * f..][..step.rows.len()].copy_from_slice(step.rows);
        let last = step.first * f + step.rows.len() == rows.len();
        if last && (step.frame + 1).is_multiple_of(SETTLING) {
            for same in rows.chunks_exact(WALKS_A_START * f) {
                for (i, a) in same.chunks_exact(f).enumerate() {
                    for b in same.chunks_exact(f).take(i) {
                        square += square_distance(a, b, &bench.features) / f as f64;
                        pairs += 1;
                    }
                }
            }
        }
    })?;
    let frames = bench.set.num_frames();
    let stream = Stream::new(options.seed, Purpose::Starts, 2);
    let frame = |i: usize| &bench.normalized[(stream.uniform(i) * frames as f64) as usize * f..][..f];
    let unrelated = (0..2000).map(|i| square_distance(frame(2 * i), frame(2 * i + 1), &bench.features)).sum::<f64>()
        / (2000 * f) as f64;
    let apart = |same: &[Root]| {
        let pair =
            |(i, a): (usize, &Root)| same[..i].iter().map(|b| (a.x - b.x).powi(2) + (a.z - b.z).powi(2)).sum::<f64>();
        same.iter().enumerate().map(pair).sum::<f64>() / (same.len() * (same.len() - 1) / 2) as f64
    };
    let metres = METRES * (roots.chunks(WALKS_A_START).map(apart).sum::<f64>() / STARTS as f64).sqrt();
    Ok(Diversity {
        starts: STARTS,
        walks: WALKS_A_START,
        features: (square / f64::from(pairs)).sqrt(),
        unrelated: unrelated.sqrt(),
        metres: joints(f).map(|_| metres),
    })
}

impl Bench<'_> {
    /// First condition frames of `count` walks, drawn uniformly from the training windows.
    fn starts(&self, count: usize, stream: Stream) -> Vec<usize> {
        let windows = windows::starts(&self.train, self.trained.model().condition_frames + 1);
        (0..count).map(|i| windows[(stream.uniform(i) * windows.len() as f64) as usize] as usize).collect()
    }

    /// The condition frames from `start` on, in the units of the data.
    fn conditions(&self, start: usize) -> &[f32] {
        let f = self.set.frame_size;
        &self.set.frames[start * f..][..self.trained.model().condition_frames * f]
    }
}

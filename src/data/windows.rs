//! The choice of frames to train on: clips, the frames at which a rollout may start, and the clips
//! held out for validation.
use crate::{Error, Result};
use std::ops::Range;
use std::path::Path;

/// Shortest clip that is held out, enough for a few windows.
pub const HELD_OUT_FRAMES: usize = 40;

/// Number of frames that one rollout uses: C conditions, T steps, of which the last predicts K
/// frames.
pub(crate) fn span(rollout: usize, condition_frames: usize, future_predictions: usize) -> usize {
    condition_frames + rollout + future_predictions - 1
}

/// The frames of each clip. Ends may be unsorted and repeated; those past the data are ignored, and
/// the last frame ends a clip whether listed or not.
pub fn clips(num_frames: usize, end_indices: &[usize]) -> Vec<Range<usize>> {
    let mut stops: Vec<usize> = end_indices.iter().filter(|&&end| end < num_frames).map(|end| end + 1).collect();
    stops.push(num_frames);
    stops.sort_unstable();
    stops.dedup();
    let starts = [0].into_iter().chain(stops.iter().copied());
    starts.zip(&stops).map(|(start, &stop)| start..stop).filter(|clip| !clip.is_empty()).collect()
}

/// Start frames (the oldest condition) whose whole window of `span` frames lies in one clip, clip
/// by clip.
pub fn starts(clips: &[Range<usize>], span: usize) -> Vec<u32> {
    clips.iter().flat_map(|clip| clip.start..(clip.end + 1).saturating_sub(span)).map(|start| start as u32).collect()
}

/// The selectable start frames of a whole set, ascending: [`starts`] of its [`clips`].
pub fn selectable(
    num_frames: usize,
    end_indices: &[usize],
    rollout: usize,
    condition_frames: usize,
    future_predictions: usize,
) -> Vec<u32> {
    starts(&clips(num_frames, end_indices), span(rollout, condition_frames, future_predictions))
}

/// The [`starts`] to train on. Fewer than one mini-batch of them is an error ([`Error::Data`];
/// `path` names the data in it): an epoch leaves out its incomplete last mini-batch and would do
/// nothing.
pub fn training_starts(
    path: &Path,
    train: &[Range<usize>],
    validation: &[Range<usize>],
    span: usize,
    batch_size: usize,
) -> Result<Vec<u32>> {
    let windows = starts(train, span);
    if windows.len() >= batch_size {
        return Ok(windows);
    }
    let short = train.iter().filter(|clip| clip.len() < span).count();
    let held_out = starts(validation, span).len();
    let and_held_out = if held_out > 0 { format!(" ({held_out} more are held out)") } else { String::new() };
    let hold_less = if held_out > 0 { "hold out less (--validation), " } else { "" };
    Err(Error::data(
        path,
        format!(
            "{} windows to train on{and_held_out}, fewer than one mini-batch of {batch_size}; clips (and bridges \
             between them) shorter than the {span} frames a window needs: {short} of {}",
            windows.len(),
            train.len()
        ),
        format!("give more data, {hold_less}or lower the batch size or the rollout"),
    ))
}

/// Clips to train on and clips held out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Frames of each training clip, ascending.
    pub train: Vec<Range<usize>>,
    /// Frames of each clip held out, ascending.
    pub validation: Vec<Range<usize>>,
    /// The first held-out frame, if no whole clip was fit to be held out and the tail of one was
    /// cut off instead. It follows the last training frame of that clip.
    pub cut: Option<usize>,
}

impl Split {
    /// The clips whose frames all lie before `frame`.
    pub fn before(&self, frame: usize) -> Split {
        let before = |clips: &[Range<usize>]| clips.iter().filter(|clip| clip.end <= frame).cloned().collect();
        Split { train: before(&self.train), validation: before(&self.validation), cut: self.cut }
    }
}

/// Holds out about `fraction` of the frames, as whole clips of at least `min_clip_len` frames that
/// lie spread over the set. The result depends only on the arguments, and never holds out
/// everything.
///
/// A clip is drawn with a probability proportional to its length. It is held out only if that
/// brings the number of held-out frames nearer to `fraction`. If every clip is too long for that,
/// the tail of the longest is cut off. If the tail would have at least as many frames as the
/// shortest clip, or would leave too few, the shortest clip is held out instead.
///
/// Nothing is held out if `fraction` is not above 0, if no clip has `min_clip_len` frames, or if
/// the only such clip is too short to be cut.
pub fn split(clips: &[Range<usize>], fraction: f64, seed: u64, min_clip_len: usize) -> Split {
    let min_clip_len = min_clip_len.max(1);
    let mut split = Split { train: clips.to_vec(), validation: Vec::new(), cut: None };
    let mut usable: Vec<_> = clips.iter().filter(|clip| clip.len() >= min_clip_len).cloned().collect();
    let frames: usize = usable.iter().map(Range::len).sum();
    let target = fraction * frames as f64;
    let Some(longest) = usable.iter().max_by_key(|clip| clip.len()).cloned() else { return split };
    if target.is_nan() || target <= 0.0 {
        return split;
    }

    // Multiples of the golden ratio from a random start are spread evenly over the frames, however
    // many are taken.
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_8;
    let mut held = 0.0;
    let mut at = splitmix64(seed) as f64 / u64::MAX as f64;
    let shortest = usable.iter().min_by_key(|clip| clip.len()).cloned();
    while usable.len() > 1 && held < target {
        at = (at + GOLDEN_RATIO).fract();
        // Find the clip that holds this frame, counted over the clips that were not drawn yet.
        let mut frame = (at * usable.iter().map(Range::len).sum::<usize>() as f64) as usize;
        let holds = |clip: &Range<usize>| match frame.checked_sub(clip.len()) {
            Some(rest) => {
                frame = rest;
                false
            }
            None => true,
        };
        let index = usable.iter().position(holds).unwrap_or(usable.len() - 1);
        let clip = usable.remove(index);
        if (clip.len() as f64) < 2.0 * (target - held) {
            held += clip.len() as f64;
            split.validation.push(clip);
        }
    }

    if split.validation.is_empty() {
        let tail = (target as usize).clamp(min_clip_len, longest.len());
        let shortest = shortest.filter(|clip| *clip != longest);
        if longest.len() >= tail + min_clip_len && shortest.as_ref().is_none_or(|clip| clip.len() > tail) {
            let cut = longest.end - tail;
            split.cut = Some(cut);
            split.validation.push(cut..longest.end);
            split.train.iter_mut().filter(|clip| **clip == longest).for_each(|clip| clip.end = cut);
        } else {
            split.validation.extend(shortest);
        }
    }
    split.validation.sort_by_key(|clip| clip.start);
    let validation = &split.validation;
    split.train.retain(|clip| !validation.contains(clip));
    split
}

/// Scrambles 64 bits (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
pub(in crate::data) fn splitmix64(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

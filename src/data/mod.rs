//! Motion to train on: clips of frames, normalisation, and the start frames a rollout may begin at.
pub mod synth;

/// Clips of frames, as read from a file or made by [`synth`]. Features are raw (not normalised).
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Features of all frames, row major [num_frames, frame_size].
    pub frames: Vec<f32>,
    /// F: features a frame.
    pub frame_size: usize,
    /// Last frame of each clip, inclusive; ascending, the last one is num_frames - 1.
    pub end_indices: Vec<usize>,
}

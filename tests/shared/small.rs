//! A small periodic motion to train on, and a small model for it.
#![allow(dead_code)] // each test uses a part
use mvae_fast::config::{Config, Decay, KlWeight, Variant};
use mvae_fast::data::{Dataset, npz};
use mvae_fast::run::record::{EpochRecord, Timing};
use std::path::{Path, PathBuf};

/// Features of a frame.
pub const FEATURES: usize = 12;
/// The model of [`config`] with a shorter schedule, as flags.
const FLAGS: [[&str; 2]; 15] = [
    ["--hidden-size", "16"],
    ["--gate-hidden-size", "8"],
    ["--latent-size", "4"],
    ["--experts", "3"],
    ["--codes", "6"],
    ["--batch-size", "16"],
    ["--rollout", "4"],
    ["--learning-rate", "1e-3"],
    ["--decay", "epoch"],
    ["--warmup-steps", "0"],
    ["--minibatches", "0"],
    ["--teacher-epochs", "2"],
    ["--ramp-epochs", "1"],
    ["--student-epochs", "2"],
    ["--threads", "2"],
];

/// The flags of the small model, without those that `arguments` sets, followed by `arguments`.
pub fn flags<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let others = FLAGS.iter().filter(|flag| !arguments.contains(&flag[0]));
    others.flatten().chain(arguments).copied().collect()
}

/// Writes `clips` clips of `frames` frames each. Their features are waves of equal frequency; speed
/// and amplitude vary within a clip, so that the latent has something to encode.
pub fn write(path: &Path, clips: usize, frames: usize) -> PathBuf {
    let mut set = Dataset { frame_size: FEATURES, ..Dataset::default() };
    for clip in 0..clips {
        let mut phase = clip as f32;
        for frame in 0..frames {
            let t = (frame + 37 * clip) as f32;
            phase += 0.3 + 0.15 * (t / 11.0).sin();
            let size = 1.0 + 0.5 * (t / 7.0).cos();
            set.frames.extend((0..FEATURES).map(|i| size * (phase + 0.5 * i as f32).sin() + 0.1 * i as f32));
        }
        set.end_indices.push((clip + 1) * frames - 1);
    }
    npz::write(path, &set).unwrap();
    path.to_owned()
}

/// A small model and a short schedule: 2 teacher, 2 ramp, 2 student epochs.
pub fn config(data: &Path, variant: Variant) -> Config {
    Config {
        data: vec![data.to_owned()],
        variant,
        kl_weight: if variant == Variant::Vq { KlWeight::Fixed(1.0) } else { KlWeight::Auto },
        target_kl: None,
        hidden_size: 16,
        gate_hidden_size: 8,
        latent_size: 4,
        experts: 3,
        codes: 6,
        batch_size: 16,
        rollout: 4,
        learning_rate: 1e-3,
        decay: Decay::Epoch,
        warmup_steps: 0,
        minibatches: 0,
        teacher_epochs: 2,
        ramp_epochs: 2,
        student_epochs: 2,
        mirror: false,
        ..Config::default()
    }
}

/// The records without the times, which differ between two runs with one seed.
pub fn untimed(records: &[EpochRecord]) -> Vec<EpochRecord> {
    let timing = Timing { seconds: 0.0, samples_per_second: 0.0, elapsed_seconds: 0.0 };
    records.iter().map(|record| EpochRecord { timing: timing.clone(), ..record.clone() }).collect()
}

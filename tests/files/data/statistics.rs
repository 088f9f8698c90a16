//! Statistics and normalisation.
use super::golden;
use mvae_fast::config::Normalization::{self, Minmax, None as Raw, Zscore};
use mvae_fast::data::normalize::Statistics;

/// Exact values: the statistics of 1, 2, 4 and of a constant.
#[test]
fn statistics_of_known_numbers() {
    let frames = [1.0f32, 0.1, 2.0, 0.1, 4.0, 0.1];
    let statistics = Statistics::of(&frames, 2);
    let tenth = 0.1f32 as f64;
    assert_eq!(statistics.max, [4.0, tenth]);
    assert_eq!(statistics.min, [1.0, tenth]);
    assert_eq!(statistics.avg, [7.0 / 3.0, tenth]);
    approx::assert_relative_eq!(statistics.std[0], (7.0f64 / 3.0).sqrt(), epsilon = 1e-14);
    assert_eq!(statistics.std[1], 1.0);
    assert_eq!(Statistics::of(&[0.1f64; 1001], 1).std, [1.0], "a constant is not divided by its rounding errors");
    for (mode, expected) in
        [(Zscore, [(1.0 - 7.0 / 3.0) / (7.0f64 / 3.0).sqrt(), 0.0]), (Minmax, [-1.0, -1.0]), (Raw, [1.0, tenth])]
    {
        let mut frame = [1.0, tenth];
        statistics.normalize(mode, &mut frame);
        approx::assert_relative_eq!(frame[..], expected[..], epsilon = 1e-14);
        statistics.denormalize(mode, &mut frame);
        approx::assert_relative_eq!(frame[..], [1.0, tenth][..], epsilon = 1e-14);
    }
    assert_eq!(Statistics::of(&[3.0f64], 1).std, [1.0], "one frame has no deviation");
    let only_last = Statistics::of_rows(frames.chunks_exact(2).skip(2), 2);
    assert_eq!((only_last.avg[0], only_last.std[0]), (4.0, 1.0));
}

/// Means far from zero must not cancel the deviation.
#[test]
fn statistics_of_a_distant_feature() {
    let frames: Vec<f64> = (0..1000).map(|i| 1e8 + (i % 2) as f64 * 1e-3).collect();
    let expected = 1e-3 * (1000.0 / 4.0 / 999.0f64).sqrt();
    approx::assert_relative_eq!(Statistics::of(&frames, 1).std[0], expected, max_relative = 1e-4);
}

#[test]
fn normalisation_agrees_with_the_reference() {
    let Some(mut arrays) = golden("normalisation") else { return };
    let mut array = |name: &str| -> ndarray::ArrayD<f64> { arrays.by_name(name).unwrap() };
    let data = array("data");
    let frame_size = data.shape()[1];
    let data = data.into_raw_vec_and_offset().0;
    let statistics = Statistics::of(&data, frame_size);
    for (got, name) in
        [(&statistics.max, "max"), (&statistics.min, "min"), (&statistics.avg, "avg"), (&statistics.std, "std")]
    {
        approx::assert_relative_eq!(got[..], *array(name).as_slice().unwrap(), max_relative = 1e-12, epsilon = 1e-14);
    }
    let probe = array("probe").into_raw_vec_and_offset().0;
    for (mode, name, correct) in [(Zscore, "zscore", ""), (Minmax, "minmax", "_correct"), (Raw, "none", "")] {
        let normalized = |frames: &[f64], mode: Normalization| {
            let mut frames = frames.to_vec();
            statistics.normalize(mode, &mut frames);
            frames
        };
        let mut denormalized = probe.clone();
        statistics.denormalize(mode, &mut denormalized);
        for (got, what) in [
            (normalized(&data, mode), "data"),
            (normalized(&probe, mode), "probe_normalised"),
            (denormalized, "probe_denormalised"),
        ] {
            let expected = array(&format!("{name}.{what}{correct}"));
            approx::assert_relative_eq!(got[..], *expected.as_slice().unwrap(), max_relative = 1e-11, epsilon = 1e-12);
        }
    }
}

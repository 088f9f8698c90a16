//! The frame rate of a file that states the seconds between two frames.

/// Usual frame rates of captured, animated and played motion.
const USUAL: [f64; 25] = [
    10.0, 12.0, 15.0, 20.0, 24.0, 25.0, 30.0, 40.0, 48.0, 50.0, 60.0, 72.0, 75.0, 80.0, 90.0, 100.0, 120.0, 144.0,
    150.0, 180.0, 200.0, 240.0, 250.0, 300.0, 360.0,
];
/// Largest number of decimals of a time that may be a rounded form of a usual rate's.
const FEW: usize = 9;
/// Relative distance to a whole number below which a rate is taken for it, such as 29.97 for 30.
const TOLERANCE: f64 = 0.002;

/// Frames a second for this many seconds between frames.
///
/// A time whose inverse is a whole number gives that number. Else the result is the usual rate
/// whose time, rounded or cut to as many decimals, is this time: 0.033 and 0.0333 give 30. Else it
/// is the whole number near by, or the inverse itself if there is none.
pub fn rate(frame_time: f64) -> f64 {
    let exact = 1.0 / frame_time;
    let whole = exact.round();
    let near = |tolerance: f64| (exact - whole).abs() < tolerance * whole;
    if near(1e-9) {
        return whole;
    }
    let text = frame_time.to_string();
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let unit = 10.0_f64.powi(decimals.min(FEW) as i32);
    let written = (frame_time * unit).round();
    let is_of = |rate: &f64| {
        decimals <= FEW && written >= 1.0 && [(unit / rate).round(), (unit / rate).floor()].contains(&written)
    };
    let usual = USUAL.into_iter().filter(is_of).min_by(|a, b| (exact - a).abs().total_cmp(&(exact - b).abs()));
    usual.unwrap_or(if near(TOLERANCE) { whole } else { exact })
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn a_time_of_few_digits_is_that_of_the_rate_it_was_meant_for() {
        let cases: [(f64, &[f64]); 14] = [
            (12.0, &[0.083, 0.0833, 1.0 / 12.0]),
            (24.0, &[0.042, 0.041, 0.0417, 0.04167, 0.041708, 0.0416667]),
            (25.0, &[0.04]),
            (30.0, &[0.033, 0.0333, 0.03333, 0.033333, 0.0333333, 0.0333334, 0.03, 0.0334, 0.033367, 1.0 / 29.97]),
            (48.0, &[0.021, 0.0208, 0.020833]),
            (50.0, &[0.02]),
            (60.0, &[0.017, 0.0167, 0.0166, 0.01667, 0.016667, 0.0166667, 0.016683, 0.016]),
            (90.0, &[0.011, 0.0111, 0.011111]),
            (100.0, &[0.01]),
            (120.0, &[0.0083, 0.00833, 0.008333, 0.00833333, 0.008342]),
            (125.0, &[0.008]),
            (144.0, &[0.0069, 0.00694]),
            (200.0, &[0.005]),
            (240.0, &[0.0042, 0.00417, 0.0041667]),
        ];
        for (expected, times) in cases {
            for &time in times {
                assert_eq!(rate(time), expected, "{time}");
            }
        }
        // Rates that no rounding leads to stay as they are.
        assert_eq!((rate(0.0353), rate(1.0 / 72.5), rate(1.0 / 29.0)), (1.0 / 0.0353, 1.0 / (1.0 / 72.5), 29.0));
        assert!(rate(0.0) == f64::INFINITY && rate(1e-320) > 1e300 && rate(1e300) < 1e-290);
    }
}

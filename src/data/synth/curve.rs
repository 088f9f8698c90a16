//! Smooth functions of one variable.
use std::f64::consts::PI;

/// The monotone cubic (Fritsch and Carlson) through `knots`, ascending in their first number;
/// constant outside them. Its slope is continuous. It is flat where two knots are level and never
/// leaves the range of the two knots around it.
pub(super) fn curve(knots: &[(f64, f64)], x: f64) -> f64 {
    let right = knots.partition_point(|knot| knot.0 <= x);
    if right == 0 {
        return knots[0].1;
    }
    if right == knots.len() {
        return knots[right - 1].1;
    }
    let secant = |i: usize| (knots[i + 1].1 - knots[i].1) / (knots[i + 1].0 - knots[i].0);
    let slope = |i: usize| {
        if i == 0 || i + 1 == knots.len() {
            return 0.0;
        }
        let (before, after) = (secant(i - 1), secant(i));
        if before * after <= 0.0 { 0.0 } else { 2.0 * before * after / (before + after) }
    };
    let ((x0, y0), (x1, y1)) = (knots[right - 1], knots[right]);
    let width = x1 - x0;
    let u = (x - x0) / width;
    let (u2, u3) = (u * u, u * u * u);
    let rise = 3.0 * u2 - 2.0 * u3;
    y0 + (y1 - y0) * rise + width * (slope(right - 1) * (u3 - 2.0 * u2 + u) + slope(right) * (u3 - u2))
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(super) fn smoothstep(low: f64, high: f64, x: f64) -> f64 {
    let u = ((x - low) / (high - low)).clamp(0.0, 1.0);
    u * u * (3.0 - 2.0 * u)
}

/// Goes from 0 to 1 with `u`, at rest at both ends, with constant speed except in the first and
/// last `ramp` (a share, at most one half). Speed is continuous, and so is acceleration.
pub(super) fn glide(u: f64, ramp: f64) -> f64 {
    if u > 0.5 {
        return 1.0 - glide(1.0 - u, ramp);
    }
    let covered = if u < ramp { 0.5 * (u - ramp / PI * (PI * u / ramp).sin()) } else { u - 0.5 * ramp };
    covered / (1.0 - ramp)
}

/// The smaller of two numbers, rounded off where they are within `width` of each other; never above
/// either of them.
pub(super) fn smooth_min(a: f64, b: f64, width: f64) -> f64 {
    let near = (width - (a - b).abs()).max(0.0) / width;
    a.min(b) - 0.25 * near * near * width
}

/// `values`, `dt` apart, averaged with a Gaussian of the given standard deviation; the values at
/// the ends continue beyond them.
pub(super) fn blur(values: &[f64], dt: f64, deviation: f64) -> Vec<f64> {
    let reach = (3.0 * deviation / dt).ceil() as isize;
    let weights: Vec<f64> = (-reach..=reach).map(|k| (-0.5 * (k as f64 * dt / deviation).powi(2)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let last = values.len() as isize - 1;
    (0..=last)
        .map(|i| {
            let at = |k: usize| values[(i + k as isize - reach).clamp(0, last) as usize];
            weights.iter().enumerate().map(|(k, weight)| weight * at(k)).sum::<f64>() / total
        })
        .collect()
}

/// `values` at the fractional index `at`, linear between samples.
pub(super) fn sample(values: &[f64], at: f64) -> f64 {
    let i = (at.max(0.0) as usize).min(values.len() - 2);
    let u = (at - i as f64).clamp(0.0, 1.0);
    values[i] + u * (values[i + 1] - values[i])
}

//! What a task takes place on: paths to follow, walls of a maze. Lengths are in body units.
use std::f64::consts::TAU;

/// Size of the reference's figure eight.
const EIGHT: f64 = 50.0;

/// The reference's figure eight, twice round, in so many points, of which the first and the last coincide.
pub fn figure_eight(points: usize) -> Vec<[f64; 2]> {
    let angle = |i: usize| 2.0 * TAU * i as f64 / (points - 1) as f64;
    let point = |t: f64| [EIGHT * t.sin(), EIGHT * t.sin() * t.cos()];
    (0..points).map(|i| point(angle(i))).collect()
}

/// Points at equal distances of about `pace` along a closed path, which may be given in any points.
pub fn paced(path: &[[f64; 2]], pace: f64) -> Vec<[f64; 2]> {
    let closed = || path.iter().zip(path.iter().cycle().skip(1));
    let lengths: Vec<f64> = closed().map(|(a, b)| (b[0] - a[0]).hypot(b[1] - a[1])).collect();
    let whole: f64 = lengths.iter().sum();
    let points = ((whole / pace).round() as usize).max(1);
    let (mut segment, mut before) = (0, 0.0);
    let mut at = |distance: f64| {
        while segment + 1 < lengths.len() && before + lengths[segment] < distance {
            before += lengths[segment];
            segment += 1;
        }
        let (a, b) = (path[segment], path[(segment + 1) % path.len()]);
        let share = if lengths[segment] > 0.0 { (distance - before) / lengths[segment] } else { 0.0 };
        [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]
    };
    (0..points).map(|i| at(whole * i as f64 / points as f64)).collect()
}

/// The reference's maze: both ends of each of 16 walls.
pub fn walls() -> [[[f64; 2]; 2]; 16] {
    let (w, h, q) = (100.0, 50.0, 25.0);
    [
        [[-w, w], [w, w]],
        [[w, w], [w, -w]],
        [[w, -w], [-w, -w]],
        [[-w, -w], [-w, w]],
        [[-w, -h - q], [h + q, -h - q]],
        [[-h - q, -h], [w, -h]],
        [[-h - q, -h], [-h - q, h + q]],
        [[-h, -q], [-h, h + q]],
        [[h + q, -q], [h + q, h + q]],
        [[h + q, -q], [q, -q]],
        [[0.0, -q], [-h, -q]],
        [[h + q, h + q], [-h, h + q]],
        [[h, 0.0], [h, h]],
        [[q, 0.0], [q, h]],
        [[0.0, 0.0], [0.0, h]],
        [[-q, 0.0], [-q, h]],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paced_points_are_equally_far_apart_on_the_path() {
        let points = paced(&figure_eight(1200), 0.2);
        let apart = points.iter().zip(&points[1..]).map(|(a, b)| (b[0] - a[0]).hypot(b[1] - a[1]));
        assert!(apart.clone().all(|x| (0.18..0.21).contains(&x)), "{:?}", apart.fold(0.0, f64::max));
        let whole = points.len() as f64 * 0.2;
        // The lemniscate of Gerono is 6.097 a long, a = 50, and the reference's goes round twice.
        assert!((whole - 2.0 * 6.097 * EIGHT).abs() < 0.3, "{whole}");
    }
}

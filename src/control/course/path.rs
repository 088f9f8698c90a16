//! Closed paths to follow: named shapes, or the points of a CSV file, resampled at equal distances.
use super::{FARTHEST, read};
use crate::{Error, Result};
use clap::ValueEnum;
use std::f64::consts::TAU;
use std::path::Path;

/// Points of a shape before it is resampled.
const FINE: usize = 1 << 14;
/// Most points of a resampled path.
pub(crate) const MAX_POINTS: usize = 1 << 20;

/// A path with a name; sizes are in body units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// The reference's figure eight, 100 wide
    Eight,
    /// A circle of radius 25
    Circle,
    /// A square of side 60 with round corners
    Square,
    /// A circle of radius 40 that weaves in and out eight times
    Slalom,
}

impl Shape {
    /// The shape as points close together.
    pub fn points(self) -> Vec<[f64; 2]> {
        let round = |of: &dyn Fn(f64) -> [f64; 2]| (0..FINE).map(|i| of(TAU * i as f64 / FINE as f64)).collect();
        match self {
            Shape::Eight => round(&eight),
            Shape::Circle => round(&|t| [25.0 * t.cos(), 25.0 * t.sin()]),
            Shape::Square => {
                let (side, corner) = (60.0, 10.0);
                // Each corner makes a quarter of the turn; the straight edges are between the
                // corners.
                let middle = |quarter: f64| if (quarter as usize).is_multiple_of(3) { 1.0 } else { -1.0 };
                round(&|t| {
                    let quarter = (t / (TAU / 4.0)).floor().min(3.0);
                    let across = side / 2.0 - corner;
                    let [x, z] = [middle(quarter), if quarter < 2.0 { 1.0 } else { -1.0 }];
                    [across * x + corner * t.cos(), across * z + corner * t.sin()]
                })
            }
            Shape::Slalom => round(&|t| {
                let radius = 40.0 + 4.0 * (8.0 * t).sin();
                [radius * t.cos(), radius * t.sin()]
            }),
        }
    }

    /// The shape's name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().expect("no shape is hidden").get_name().to_owned()
    }

    /// The shape of that name.
    pub fn named(name: &str) -> Option<Self> {
        Shape::from_str(name, false).ok()
    }

    /// All names, for messages.
    pub fn names() -> String {
        Shape::value_variants().iter().map(|shape| shape.name()).collect::<Vec<_>>().join(", ")
    }
}

fn eight(t: f64) -> [f64; 2] {
    [50.0 * t.sin(), 50.0 * t.sin() * t.cos()]
}

/// The reference's figure eight, run through twice, as `points` points. The first and the last
/// point coincide.
pub fn figure_eight(points: usize) -> Vec<[f64; 2]> {
    (0..points).map(|i| eight(2.0 * TAU * i as f64 / (points - 1).max(1) as f64)).collect()
}

/// Reads the points of a file as a closed path, with lengths in units of `unit` body units. If the
/// last point is not the first, the path goes to its end and back. Errors: a file that cannot be
/// read, with the line and what was expected there.
pub fn from_file(path: &Path, unit: f64) -> Result<Vec<[f64; 2]>> {
    let mend = format!("give a CSV file of x,z points, or one of: {}", Shape::names());
    let text = read(path, &mend)?;
    let refuse = |line: usize, what: String| Error::data(path, format!("line {line}: {what}"), &mend);
    let mut points: Vec<[f64; 2]> = Vec::new();
    let mut lines = 0;
    for (number, line) in text.lines().enumerate() {
        lines = number + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words = line.split([',', ';', '\t', ' ']).filter(|word| !word.is_empty());
        let numbers: Vec<Option<f64>> = words.map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [Some(x), Some(z)] if x.abs() * unit <= FARTHEST && z.abs() * unit <= FARTHEST => {
                points.push([x * unit, z * unit]);
            }
            // A first line with the names of the columns.
            _ if points.is_empty() && number == 0 && numbers.iter().all(Option::is_none) => {}
            _ => {
                let found: String = line.chars().take(40).collect();
                return Err(refuse(lines, format!("found {found:?}, expected two numbers x,z")));
            }
        }
    }
    let length: f64 = points.windows(2).map(|pair| apart(pair[0], pair[1])).sum();
    if length <= 0.0 {
        let what = format!("the file ends after {} points of one place, expected a way to walk", points.len());
        return Err(refuse(lines.max(1), what));
    }
    let (first, last) = (points[0], points[points.len() - 1]);
    if apart(first, last) <= 1e-6 * length {
        points.pop();
    } else {
        let back: Vec<[f64; 2]> = points[1..points.len() - 1].iter().rev().copied().collect();
        points.extend(back);
    }
    Ok(points)
}

fn apart(a: [f64; 2], b: [f64; 2]) -> f64 {
    (b[0] - a[0]).hypot(b[1] - a[1])
}

/// Resamples a closed path to points at equal distances of about `pace`. Errors: a pace so small
/// that there would be too many points.
pub fn paced(path: &[[f64; 2]], pace: f64) -> Result<Vec<[f64; 2]>> {
    let closed = || path.iter().zip(path.iter().cycle().skip(1));
    let lengths: Vec<f64> = closed().map(|(a, b)| apart(*a, *b)).collect();
    let whole: f64 = lengths.iter().sum();
    let points = (whole / pace).round().max(1.0);
    if points > MAX_POINTS as f64 {
        let what = format!("--path-pace is {pace} a step: a path of {whole:.1} would have {points:.0} points");
        return Err(Error::Usage(format!("{what}, expected at most {MAX_POINTS}")));
    }
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
    Ok((0..points as usize).map(|i| at(whole * i as f64 / points)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paced_points_are_equally_far_apart_on_the_path() {
        let points = paced(&Shape::Eight.points(), 0.2).unwrap();
        let around = points.iter().zip(points.iter().cycle().skip(1));
        let apart = around.map(|(a, b)| apart(*a, *b));
        assert!(apart.clone().all(|x| (0.18..0.21).contains(&x)), "{:?}", apart.fold(0.0, f64::max));
        // The lemniscate of Gerono is 6.097 a long, a = 50.
        assert!((points.len() as f64 * 0.2 - 6.097 * 50.0).abs() < 0.3, "{} points", points.len());
    }

    #[test]
    fn every_shape_is_closed_and_smooth() {
        for shape in Shape::value_variants() {
            let points = paced(&shape.points(), 0.2).unwrap();
            let n = points.len();
            let direction = |i: usize| {
                let (a, b) = (points[i % n], points[(i + 1) % n]);
                (b[1] - a[1]).atan2(b[0] - a[0])
            };
            let turns = (0..n).map(|i| direction(i + 1) - direction(i)).map(|turn| turn.sin().atan2(turn.cos()).abs());
            let most = turns.fold(0.0, f64::max);
            assert!(most < 0.06, "{shape:?} turns by {most} in 0.2");
        }
    }

    #[test]
    fn a_pace_that_makes_too_many_points_is_refused() {
        assert!(paced(&Shape::Circle.points(), 1e-5).unwrap_err().to_string().contains("--path-pace"));
    }
}

//! Walls of a maze: the reference's, or those of a TOML file, which draws or lists them.
use super::read;
use crate::host::toml::{one_line, plain_words};
use crate::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// Most walls of a maze; every joint is tested against each of them.
pub(crate) const MAX_WALLS: usize = 1024;
/// Smallest width of an arena, body units.
const NARROWEST: f64 = 10.0;
/// Largest width of an arena, body units.
const WIDEST: f64 = 100_000.0;

/// Both ends of a wall.
pub(crate) type Wall = [[f64; 2]; 2];

/// The reference's maze, body units.
pub fn walls() -> [Wall; 16] {
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

/// A file of walls, which may contain both a drawing and a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Side of the square that one character of `drawing` stands for.
    cell: Option<f64>,
    /// A map with `#` for wall. Each `#` is joined to those beside and below it, centre to centre.
    drawing: Option<toml::Spanned<String>>,
    /// x, z of one end, x, z of the other.
    #[serde(default)]
    walls: Vec<toml::Spanned<[f64; 4]>>,
}

/// Reads the walls of a file, with lengths in units of `unit` body units. They are moved so that
/// the centre of all walls is the origin. Errors: a file that cannot be read, with the line and
/// what was expected there.
pub fn from_file(path: &Path, unit: f64) -> Result<Vec<Wall>> {
    let mend = "give a TOML file with a drawing or walls (docs/controllers.md)";
    let text = read(path, mend)?;
    let at = |byte: usize, what: String| {
        let line = text[..byte].matches('\n').count() + 1;
        Error::data(path, format!("line {line}: {what}"), mend)
    };
    let file: File = toml::from_str(&text).map_err(|error| {
        let what = plain_words(&one_line(error.message()));
        at(error.span().map_or(0, |span| span.start.min(text.len())), what)
    })?;
    let mut walls = Vec::new();
    for given in &file.walls {
        let [x0, z0, x1, z1] = *given.get_ref();
        let length = (x1 - x0).hypot(z1 - z0);
        if !(length.is_finite() && length > 0.0) {
            let what = format!("a wall from ({x0}, {z0}) to ({x1}, {z1}), expected two different points");
            return Err(at(given.span().start, what));
        }
        walls.push([[x0, z0], [x1, z1]]);
    }
    if let Some(drawing) = &file.drawing {
        let start = drawing.span().start;
        let cell = file.cell.filter(|cell| cell.is_finite() && *cell > 0.0);
        let cell = cell.ok_or_else(|| at(start, "a drawing, expected `cell = LENGTH` above 0 beside it".into()))?;
        // A line break right after the quotes is not part of the drawing.
        let skipped = usize::from(text[start..].trim_start_matches(['"', '\'']).starts_with(['\r', '\n']));
        let drawn = drawn(drawing.get_ref()).map_err(|(row, what)| {
            let line = text[..start].matches('\n').count() + 1 + row + skipped;
            Error::data(path, format!("line {line}: {what}"), mend)
        })?;
        walls.extend(drawn.into_iter().map(|wall| wall.map(|end| end.map(|x| x * cell))));
    }
    if walls.is_empty() || walls.len() > MAX_WALLS {
        let what = format!("{} walls, expected 1 to {MAX_WALLS}", walls.len());
        return Err(Error::data(path, what, mend));
    }
    centred(walls, unit).map_err(|what| Error::data(path, what, "make it larger or smaller, or see --units"))
}

/// Walls in body units, centred on the origin. Errors: what is wrong with their size.
fn centred(walls: Vec<Wall>, unit: f64) -> Result<Vec<Wall>, String> {
    let ends = || walls.as_flattened().iter();
    let [x, z] = [0, 1].map(|axis| {
        let along = || ends().map(move |end| end[axis] * unit);
        (along().fold(f64::INFINITY, f64::min), along().fold(f64::NEG_INFINITY, f64::max))
    });
    let across = [x.1 - x.0, z.1 - z.0];
    if across.iter().any(|across| !(NARROWEST..=WIDEST).contains(across)) {
        let [x, z] = across;
        return Err(format!(
            "the arena is {x:.1} by {z:.1} body units (feet of an average adult), expected at least {NARROWEST} each way and at most {WIDEST}"
        ));
    }
    let middle = [x.0 + x.1, z.0 + z.1].map(|sum| sum / 2.0);
    let moved = |end: [f64; 2]| [end[0] * unit - middle[0], end[1] * unit - middle[1]];
    Ok(walls.into_iter().map(|wall| wall.map(moved)).collect())
}

/// Walls of a drawing, one unit a cell: x runs along its lines, z down. Errors: the line of the
/// drawing, from 0, and what is wrong there.
fn drawn(drawing: &str) -> Result<Vec<Wall>, (usize, String)> {
    let rows: Vec<Vec<char>> = drawing.lines().map(|line| line.trim_end().chars().collect()).collect();
    let wall = |x: usize, z: usize| rows.get(z).and_then(|row| row.get(x)) == Some(&'#');
    let mut walls = Vec::new();
    for (z, row) in rows.iter().enumerate() {
        for (x, found) in row.iter().enumerate() {
            match found {
                '#' => {}
                ' ' | '.' => continue,
                _ => {
                    return Err((
                        z,
                        format!("{found:?} in column {}, expected # for wall, space or . for none", x + 1),
                    ));
                }
            }
            let before = [x > 0 && wall(x - 1, z), z > 0 && wall(x, z - 1)];
            let after = [wall(x + 1, z), wall(x, z + 1)];
            if [before, after].concat().iter().all(|joined| !joined) {
                return Err((z, format!("a lone # in column {}, expected another beside or below it", x + 1)));
            }
            let at = |x: usize, z: usize| [x as f64, z as f64];
            if after[0] && !before[0] {
                let end = (x..).find(|&x| !wall(x + 1, z)).expect("rows end");
                walls.push([at(x, z), at(end, z)]);
            }
            if after[1] && !before[1] {
                let end = (z..).find(|&z| !wall(x, z + 1)).expect("drawings end");
                walls.push([at(x, z), at(x, end)]);
            }
        }
    }
    Ok(walls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_is_its_runs_of_wall() {
        let walls = drawn("####\n#..#\n#..\n##").unwrap();
        let want: [Wall; 4] =
            [[[0.0, 0.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]], [[3.0, 0.0], [3.0, 1.0]], [[0.0, 3.0], [1.0, 3.0]]];
        assert_eq!(walls, want);
        assert_eq!(drawn("##\n.. #").unwrap_err().0, 1);
        assert!(drawn("##\n#x").unwrap_err().1.contains("'x' in column 2"));
    }

    #[test]
    fn the_middle_of_all_walls_is_the_origin() {
        let walls = centred(vec![[[0.0, 0.0], [10.0, 0.0]], [[10.0, 0.0], [10.0, 20.0]]], 2.0).unwrap();
        assert_eq!(walls, [[[-10.0, -20.0], [10.0, -20.0]], [[10.0, -20.0], [10.0, 20.0]]]);
        assert!(centred(vec![[[0.0, 0.0], [10.0, 0.0]]], 2.0).unwrap_err().contains("20.0 by 0.0"));
    }
}

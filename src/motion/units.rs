//! Units of length and directions of motion files.
use super::vector::Vec3;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Lengths of grown-ups' legs, hip joint to toe joint, metres. A unit that gives such a leg is
/// certain.
const GROWN_UP: RangeInclusive<f64> = 0.83..=1.09;
/// Lengths of people's legs, metres.
const PERSON: RangeInclusive<f64> = 0.35..=1.2;
/// Lengths of legs of bodies of any kind, metres.
const BODY: RangeInclusive<f64> = 0.15..=1.6;
/// Lengths of legs that are not ruled out, metres.
const POSSIBLE: RangeInclusive<f64> = 0.2..=3.5;

/// A unit of length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Millimetres
    Mm,
    /// Centimetres
    Cm,
    /// Decimetres
    Dm,
    /// Metres
    M,
    /// Inches
    Inch,
    /// Feet
    Ft,
    /// 1/0.45 inch, as in the CMU database
    Asf,
}

impl Unit {
    /// The units from the longest to the shortest.
    const BY_LENGTH: [Unit; 7] = [Unit::M, Unit::Ft, Unit::Dm, Unit::Asf, Unit::Inch, Unit::Cm, Unit::Mm];

    /// Metres in one.
    pub fn metres(self) -> f64 {
        match self {
            Unit::Mm => 0.001,
            Unit::Cm => 0.01,
            Unit::Dm => 0.1,
            Unit::M => 1.0,
            Unit::Inch => 0.0254,
            Unit::Ft => 0.3048,
            Unit::Asf => 0.0254 / 0.45,
        }
    }

    /// The unit of a leg of length `leg`; `None` if it fits none.
    ///
    /// For an upright body it is the longest unit in which the leg is a person's: children exist,
    /// giants hardly. Animals have legs of any length and are not measured in feet, so for them it
    /// is a decimal unit.
    pub(crate) fn guess(leg: f64, upright: bool) -> Option<Self> {
        let metres = |unit: &Unit| leg * unit.metres();
        let fits = |range: &RangeInclusive<f64>, unit: &Unit| range.contains(&metres(unit));
        let person = Unit::BY_LENGTH.into_iter().filter(|_| upright).find(|unit| fits(&PERSON, unit));
        person.or_else(|| [Unit::M, Unit::Cm, Unit::Mm, Unit::Dm].into_iter().find(|unit| fits(&BODY, unit)))
    }

    /// True if a leg of this length is a grown-up's in this unit.
    pub(crate) fn is_sure(self, leg: f64) -> bool {
        GROWN_UP.contains(&(leg * self.metres()))
    }

    /// The other possible units of a leg of this length.
    pub fn alternatives(self, leg: f64) -> impl Iterator<Item = Self> {
        let possible = move |unit: &Unit| *unit != self && POSSIBLE.contains(&(leg * unit.metres()));
        Unit::BY_LENGTH.into_iter().filter(possible)
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Unit::Mm => "millimetres",
            Unit::Cm => "centimetres",
            Unit::Dm => "decimetres",
            Unit::M => "metres",
            Unit::Inch => "inches",
            Unit::Ft => "feet",
            Unit::Asf => "1/0.45 inch (CMU)",
        })
    }
}

/// The unit of a file's numbers: a named unit, or any number of metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Metres in one.
    pub metres: f64,
}

impl From<Unit> for Scale {
    fn from(unit: Unit) -> Self {
        Scale { metres: unit.metres() }
    }
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const METRES: RangeInclusive<f64> = 1e-6..=1e6;
        if let Ok(unit) = Unit::from_str(text, true) {
            return Ok(unit.into());
        }
        let names: Vec<_> = Unit::value_variants().iter().filter_map(Unit::to_possible_value).collect();
        let names: Vec<&str> = names.iter().map(|value| value.get_name()).collect();
        let metres = text.parse().ok().filter(|metres| METRES.contains(metres));
        let expected = || format!("expected one of {}, or a number of metres, such as 0.1", names.join(", "));
        metres.map(|metres| Scale { metres }).ok_or_else(expected)
    }
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match Unit::BY_LENGTH.iter().find(|unit| unit.metres() == self.metres) {
            Some(unit) => unit.fmt(f),
            None => write!(f, "{} m", self.metres),
        }
    }
}

/// The direction that points up, along an axis or against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Up {
    /// Along x
    X,
    /// Along y
    Y,
    /// Along z
    Z,
    /// Against x
    #[value(name = "-x")]
    MinusX,
    /// Against y
    #[value(name = "-y")]
    MinusY,
    /// Against z
    #[value(name = "-z")]
    MinusZ,
}

impl Up {
    /// The direction along which `v` points most, if its length along it is more than `times` that
    /// along each of the other axes.
    pub fn along(v: Vec3, times: f64) -> Option<Self> {
        const UPS: [[Up; 2]; 3] = [[Up::X, Up::MinusX], [Up::Y, Up::MinusY], [Up::Z, Up::MinusZ]];
        let axis = (0..3).max_by(|&a, &b| v[a].abs().total_cmp(&v[b].abs()))?;
        let others = f64::max(v[(axis + 1) % 3].abs(), v[(axis + 2) % 3].abs());
        (v[axis].abs() > times * others).then_some(UPS[axis][usize::from(v[axis] < 0.0)])
    }

    /// Rotates this direction to y.
    pub fn turned(self, [x, y, z]: Vec3) -> Vec3 {
        match self {
            Up::X => [-y, x, z],
            Up::Y => [x, y, z],
            Up::Z => [x, z, -y],
            Up::MinusX => [y, -x, z],
            Up::MinusY => [x, -y, -z],
            Up::MinusZ => [x, -z, y],
        }
    }
}

impl std::fmt::Display for Up {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.to_possible_value().expect("none is skipped").get_name())
    }
}

//! Units of length and directions that motion files come in.
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Length of a grown-up's leg from the hip joint to the toe joint, metres, by which a unit is guessed.
const LEG: f64 = 0.95;
/// How far off that a leg may be for the guess to hold: children and giants are between.
const PLAUSIBLE: f64 = 1.7;

/// A unit of length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Millimetres
    Mm,
    /// Centimetres
    Cm,
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
    /// Metres in one.
    pub fn metres(self) -> f64 {
        match self {
            Unit::Mm => 0.001,
            Unit::Cm => 0.01,
            Unit::M => 1.0,
            Unit::Inch => 0.0254,
            Unit::Ft => 0.3048,
            Unit::Asf => 0.0254 / 0.45,
        }
    }

    /// The unit in which a leg of that length is nearest a person's; `None` when none comes near.
    pub fn guess(leg: f64) -> Option<Self> {
        let off = |unit: &Unit| (leg * unit.metres() / LEG).ln().abs();
        let nearest = Unit::value_variants().iter().copied().min_by(|a, b| off(a).total_cmp(&off(b)))?;
        (off(&nearest) < PLAUSIBLE.ln()).then_some(nearest)
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Unit::Mm => "millimetres",
            Unit::Cm => "centimetres",
            Unit::M => "metres",
            Unit::Inch => "inches",
            Unit::Ft => "feet",
            Unit::Asf => "1/0.45 inch (CMU)",
        })
    }
}

/// The axis that points up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Up {
    /// y
    Y,
    /// z
    Z,
}

impl std::fmt::Display for Up {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Up::Y => "y",
            Up::Z => "z",
        })
    }
}

//! Numbers of a record in JSON, for serde's `with`.
//!
//! JSON has no numbers that are not finite. They become the strings `"NaN"`, `"Infinity"` and
//! `"-Infinity"`, which Python's `float` and JavaScript's `Number` read.
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a number, an optional number, or a list of numbers.
pub(crate) fn serialize<T: Numbers, S: Serializer>(numbers: &T, serializer: S) -> Result<S::Ok, S::Error> {
    numbers.spelled().serialize(serializer)
}

/// Reads what [`serialize`] wrote.
pub fn deserialize<'de, T: Numbers, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::Spelled::deserialize(deserializer).map(T::read)
}

/// A number, an optional number, or a list of numbers.
pub trait Numbers {
    /// The form in JSON.
    type Spelled: Serialize + DeserializeOwned;
    /// Converts to the form in JSON.
    fn spelled(&self) -> Self::Spelled;
    /// Converts from the form in JSON.
    fn read(spelled: Self::Spelled) -> Self;
}

/// A number in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum Spelled {
    /// A finite number, as itself.
    Finite(f64),
    /// A number that is not finite, by its name.
    Named(Name),
}

/// The name of a number that is not finite.
#[derive(Serialize, Deserialize)]
pub enum Name {
    /// Not a number.
    NaN,
    /// Positive infinity.
    Infinity,
    /// Negative infinity.
    #[serde(rename = "-Infinity")]
    MinusInfinity,
}

impl Numbers for f64 {
    type Spelled = Spelled;

    fn spelled(&self) -> Spelled {
        match *self {
            x if x.is_finite() => Spelled::Finite(x),
            x if x.is_nan() => Spelled::Named(Name::NaN),
            x if x > 0.0 => Spelled::Named(Name::Infinity),
            _ => Spelled::Named(Name::MinusInfinity),
        }
    }

    fn read(spelled: Spelled) -> f64 {
        match spelled {
            Spelled::Finite(x) => x,
            Spelled::Named(Name::NaN) => f64::NAN,
            Spelled::Named(Name::Infinity) => f64::INFINITY,
            Spelled::Named(Name::MinusInfinity) => f64::NEG_INFINITY,
        }
    }
}

impl Numbers for Option<f64> {
    type Spelled = Option<Spelled>;

    fn spelled(&self) -> Option<Spelled> {
        self.as_ref().map(Numbers::spelled)
    }

    fn read(spelled: Option<Spelled>) -> Self {
        spelled.map(Numbers::read)
    }
}

impl Numbers for Vec<f64> {
    type Spelled = Vec<Spelled>;

    fn spelled(&self) -> Vec<Spelled> {
        self.iter().map(Numbers::spelled).collect()
    }

    fn read(spelled: Vec<Spelled>) -> Self {
        spelled.into_iter().map(Numbers::read).collect()
    }
}

//! The ways in which runs of a sweep differ: the values of a key as its TOML file gives them.
use super::super::axis::MOST;
use crate::host::crc32c::crc32c;
use crate::host::toml::{one_line, plain_words};
use crate::philox::{Purpose, Stream};
use serde::Deserialize;
use toml::Value;

/// Values of a key that differ between runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Axis {
    /// One run for each of these.
    Values(Vec<Value>),
    /// A random value in each draw.
    Drawn(Span),
}

/// A range of numbers: evenly spaced if it has a count, else drawn from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    from: Value,
    to: Value,
    count: Option<usize>,
    /// Whether ratios are even, not differences.
    #[serde(default)]
    log: bool,
}

impl Axis {
    /// The axis that a value in the file stands for; `None` if it is one value for all runs.
    /// Errors, in words: an empty list, a range that is none.
    pub fn of(value: &Value) -> Result<Option<Self>, String> {
        match value {
            Value::Array(values) if values.is_empty() => Err("the list is empty; give values, or drop the key".into()),
            Value::Array(values) if values.len() > MOST => Err(format!("a list of more than {MOST} values")),
            Value::Array(values) => Ok(Some(Axis::Values(values.clone()))),
            Value::Table(_) => {
                let span = value.clone().try_into::<Span>();
                let span = span.map_err(|error| plain_words(&one_line(error.message())))?;
                span.check()?;
                let count = span.count;
                Ok(Some(match count {
                    None => Axis::Drawn(span),
                    Some(count) => {
                        let at = |i: usize| span.value(i as f64 / (count - 1) as f64);
                        Axis::Values((0..count).map(at).collect())
                    }
                }))
            }
            _ => Ok(None),
        }
    }
}

impl Span {
    fn check(&self) -> Result<(), String> {
        let Some([from, to]) = self.ends() else { return Err("`from` and `to` must be numbers".into()) };
        if !(from.is_finite() && to.is_finite() && from < to) {
            return Err(format!("it goes from {from} to {to}, expected a larger number at its end"));
        }
        if self.log && from <= 0.0 {
            return Err(format!("it goes from {from}, expected a number above 0 where log = true"));
        }
        match self.count.filter(|count| !(2..=MOST).contains(count)) {
            Some(count) => Err(format!("count is {count}, expected 2 to {MOST}; without a count, values are drawn")),
            None => Ok(()),
        }
    }

    fn ends(&self) -> Option<[f64; 2]> {
        let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        Some([number(&self.from)?, number(&self.to)?])
    }

    /// The number at this share of the way, with four significant digits. It is whole if both ends
    /// are.
    fn value(&self, share: f64) -> Value {
        let [from, to] = self.ends().expect("the span was checked");
        let x = if self.log { from * (to / from).powf(share) } else { from + share * (to - from) };
        match self.from.is_integer() && self.to.is_integer() {
            true => Value::Integer(x.round() as i64),
            false => Value::Float(format!("{x:.3e}").parse().expect("a number that was written is read")),
        }
    }

    /// Number `draw` of those that are drawn for a key. It depends on nothing else, so that more
    /// draws and other keys leave it as it is.
    pub fn drawn(&self, key: &str, seed: u64, draw: usize) -> Value {
        let stream = Stream::new(seed, Purpose::Sweep, draw as u64);
        self.value(stream.uniform(crc32c(key.as_bytes()) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(text: &str) -> Result<Option<Axis>, String> {
        Axis::of(&text.parse::<toml::Table>().unwrap()["x"])
    }

    fn values(text: &str) -> Vec<f64> {
        let Axis::Values(values) = axis(text).unwrap().unwrap() else { panic!("{text}") };
        values.iter().map(|value| value.as_float().or(value.as_integer().map(|x| x as f64)).unwrap()).collect()
    }

    #[test]
    fn ranges_have_both_ends() {
        assert_eq!(values("x = {from = 1, to = 4, count = 4}"), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(
            values("x = {from = 1e-4, to = 1e-2, count = 5, log = true}"),
            [1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2]
        );
        assert_eq!(values("x = {from = 16, to = 256, count = 5, log = true}"), [16.0, 32.0, 64.0, 128.0, 256.0]);
        assert_eq!(values("x = [3, 1]"), [3.0, 1.0]);
        assert_eq!(axis("x = 3"), Ok(None));
    }

    #[test]
    fn draws_are_spread_over_the_range_and_known_by_key_and_number() {
        let Axis::Drawn(span) = axis("x = {from = 1.0, to = 100.0, log = true}").unwrap().unwrap() else { panic!() };
        let drawn =
            |key: &str, seed| (0..1000).map(|i| span.drawn(key, seed, i).as_float().unwrap()).collect::<Vec<_>>();
        let x = drawn("kl_weight", 0);
        assert!(x.iter().all(|x| (1.0..=100.0).contains(x)));
        // Half of them are below the middle of the logarithms, within four standard errors.
        let below = x.iter().filter(|&&x| x < 10.0).count();
        assert!((437..563).contains(&below), "{below}");
        assert!(x == drawn("kl_weight", 0) && x != drawn("toe_weight", 0) && x != drawn("kl_weight", 1));
        let Axis::Drawn(whole) = axis("x = {from = 2, to = 5}").unwrap().unwrap() else { panic!() };
        assert!((0..50).all(|i| (2..=5).contains(&whole.drawn("x", 0, i).as_integer().unwrap())));
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        for (text, says) in [
            ("x = []", "the list is empty"),
            ("x = {from = 1}", "missing field `to`"),
            ("x = {from = 1, to = 2, number = 3}", "unknown field `number`"),
            ("x = {from = 2, to = 1}", "expected a larger number at its end"),
            ("x = {from = 0, to = 1, log = true}", "expected a number above 0"),
            ("x = {from = 'a', to = 1}", "must be numbers"),
            ("x = {from = 0, to = 1, count = 1}", "expected 2 to"),
        ] {
            let said = axis(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}

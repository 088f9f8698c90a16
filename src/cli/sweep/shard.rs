//! The share of a sweep that one process works on.
use crate::{Error, Result};
use std::str::FromStr;

/// The share of one of several processes: every `of`-th run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        let shard =
            numbers.map(|(number, of)| Shard { number, of }).filter(|Shard { number, of }| *of > 0 && number <= of);
        shard.ok_or_else(|| "expected I/N, such as 3/12, with I from 0 or 1 on".to_owned())
    }
}

impl Shard {
    /// All runs.
    pub const ALL: Shard = Shard { number: 0, of: 1 };

    /// The share of this task of a SLURM array, whose variables `get` knows; all runs if there is
    /// no array. Errors: an array with gaps, whose tasks do not know their place.
    pub fn of_slurm(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &str| get(&format!("SLURM_ARRAY_TASK_{name}")).and_then(|text| text.parse::<usize>().ok());
        let (Some(id), Some(of)) = (number("ID"), number("COUNT")) else { return Ok(Shard::ALL) };
        let (first, step) = (number("MIN").unwrap_or(0), number("STEP").unwrap_or(1).max(1));
        let place = id.checked_sub(first).filter(|place| place.is_multiple_of(step)).map(|place| place / step);
        match place.filter(|&place| place < of) {
            Some(number) => Ok(Shard { number, of }),
            None => Err(Error::Usage(format!(
                "task {id} of {of} in an array with gaps does not know its share; give --shard {id}/N of the whole array"
            ))),
        }
    }

    /// True if the run with this turn is of the share.
    pub fn has(self, turn: usize) -> bool {
        turn % self.of == self.number % self.of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of a task in an array: its number, the count, the first number and the step.
    fn task([id, count, first, step]: [usize; 4]) -> Result<Shard> {
        Shard::of_slurm(|name| {
            let value = match name.strip_prefix("SLURM_ARRAY_TASK_").unwrap() {
                "ID" => id,
                "COUNT" => count,
                "MIN" => first,
                "STEP" => step,
                _ => return None,
            };
            Some(value.to_string())
        })
    }

    #[test]
    fn every_run_is_of_one_share() {
        for (first, step) in [(0, 1), (1, 1), (10, 4)] {
            let shares: Vec<_> = (0..5).map(|i| task([first + step * i, 5, first, step]).unwrap()).collect();
            for turn in 0..23 {
                assert_eq!(shares.iter().filter(|share| share.has(turn)).count(), 1);
            }
        }
        let by_flag: Vec<Shard> = ["1/3", "2/3", "3/3"].iter().map(|text| text.parse().unwrap()).collect();
        assert!((0..9).all(|turn| by_flag.iter().filter(|share| share.has(turn)).count() == 1));
        assert_eq!(Shard::of_slurm(|_| None).unwrap(), Shard::ALL);
    }

    #[test]
    fn an_array_with_gaps_is_refused() {
        let said = task([7, 2, 3, 1]).unwrap_err().to_string();
        assert!(said.contains("give --shard 7/N"), "{said}");
        for text in ["3", "4/3", "1/0", "a/b", "-1/2"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}

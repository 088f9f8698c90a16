//! The second stage: each part in a phase, so that all conflicts hold.
use super::cut::Cut;
use crate::philox::{Purpose, Stream, unit};
use std::ops::Range;

/// Number of moves that the search tries.
const ATTEMPTS: u32 = 10_000;
/// First temperature of the search: the modelled microseconds by which a step may, in the mean, get
/// worse.
const WARM: f64 = 0.2;
/// The length of a way that does not exist.
const NONE: i32 = i32::MIN / 2;

/// The time of a part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    /// The phase, counted from the start of its repetition.
    pub phase: usize,
    /// True if the part floats past the end of that phase.
    pub floats: bool,
}

/// The phases of all parts.
#[derive(Clone)]
pub(crate) struct Ordered<'a> {
    /// The parts.
    pub cut: &'a Cut<'a>,
    /// Phases from the start of a repetition to the start of the next.
    pub count: usize,
    /// The time of each part.
    pub when: Vec<When>,
}

impl<'a> Ordered<'a> {
    /// The fewest phases a repetition. Each part has the first phase that it may have, and none
    /// floats.
    pub fn new(cut: &'a Cut) -> Self {
        let (mut low, mut high) = (1, cut.parts.len() + 1);
        while low < high {
            let count = (low + high) / 2;
            match Ways::new(cut, count) {
                Some(_) => high = count,
                None => low = count + 1,
            }
        }
        let ways = Ways::new(cut, low).expect("one after another is a way");
        let first = |i| (0..ways.parts).map(|j| ways.after(j, i)).fold(0, i32::max) as usize;
        let when = (0..ways.parts).map(|i| When { phase: first(i), floats: false }).collect();
        Ordered { cut, count: low, when }
    }

    /// Moves parts, one at a time and at random, to where a step takes less time. At first it also
    /// accepts places where the step takes somewhat more: simulated annealing (Kirkpatrick, Gelatt,
    /// Vecchi, "Optimization by Simulated Annealing", Science 1983).
    pub fn improved(mut self, time: &dyn Fn(&Ordered) -> f64) -> Self {
        let stream = Stream::new(0, Purpose::Check, 0);
        let mut now = time(&self);
        let (mut best, mut where_best) = (now, self.when.clone());
        for attempt in 0..ATTEMPTS {
            let [which, to, floats, more] = stream.block(attempt);
            let (i, floats) = (which as usize % self.when.len(), floats % 2 == 1);
            let phases = self.places(i, floats);
            if phases.is_empty() {
                continue;
            }
            let moved = When { phase: phases.start + to as usize % phases.len(), floats };
            let before = std::mem::replace(&mut self.when[i], moved);
            let with = time(&self);
            let temperature = WARM * (1.0 - f64::from(attempt) / f64::from(ATTEMPTS));
            if with < now - temperature * unit(more).ln() {
                now = with;
            } else {
                self.when[i] = before;
            }
            if now < best {
                (best, where_best) = (now, self.when.clone());
            }
        }
        Ordered { when: where_best, ..self }
    }

    /// The phases to which a part may move if no other does: after the parts that it must follow,
    /// before the parts that must follow it.
    fn places(&self, i: usize, floats: bool) -> Range<usize> {
        let (mut first, mut last) = (0, 2 * self.count as i32 - 1);
        for conflict in self.cut.conflicts.iter().filter(|conflict| conflict.from == i || conflict.to == i) {
            let way = self.cut.way(conflict, self.count);
            let [from, to] = [conflict.from, conflict.to].map(|part| self.when[part]);
            if conflict.from == conflict.to {
                last = if way + i32::from(floats) > 0 { -1 } else { last };
            } else if conflict.from == i {
                last = last.min(to.phase as i32 - way - i32::from(floats));
            } else {
                first = first.max(from.phase as i32 + way + i32::from(from.floats));
            }
        }
        if first > last { 0..0 } else { first as usize..last as usize + 1 }
    }
}

/// The least number of phases by which one part runs after another, for all pairs. These are the
/// longest ways over the pairs that conflict.
struct Ways {
    parts: usize,
    lengths: Vec<i32>,
}

impl Ways {
    /// The ways with `count` phases a repetition; `None` if these are too few.
    fn new(cut: &Cut, count: usize) -> Option<Self> {
        let n = cut.parts.len();
        let mut lengths = vec![NONE; n * n];
        for conflict in &cut.conflicts {
            lengths[conflict.from * n + conflict.to] = cut.way(conflict, count);
        }
        for k in 0..n {
            for i in (0..n).filter(|&i| i != k) {
                let to = lengths[i * n + k];
                if to == NONE {
                    continue;
                }
                for j in 0..n {
                    if lengths[k * n + j] != NONE {
                        lengths[i * n + j] = lengths[i * n + j].max(to + lengths[k * n + j]);
                    }
                }
                if lengths[i * n + i] > 0 {
                    return None;
                }
            }
        }
        (0..n).all(|i| lengths[i * n + i] <= 0).then_some(Ways { parts: n, lengths })
    }

    /// The least number of phases that part j comes after part i; [`NONE`] where it need not.
    fn after(&self, i: usize, j: usize) -> i32 {
        self.lengths[i * self.parts + j]
    }
}

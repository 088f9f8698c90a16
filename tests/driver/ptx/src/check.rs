//! The order of what threads do: clocks of warps, and a record of who touched each word last.
//!
//! A warp's clock counts its barriers and releases. A warp knows, of each other one, the time up to
//! which all that it did comes before. Barriers and acquires bring this knowledge. Two accesses to
//! a word are a race if one of them writes, unless the earlier one is known.
use std::fmt;

/// The record of a word: the last write, two reads since, and in one number the line of that write
/// and the copies that are on their way there.
pub type Record = [u64; 4];

/// A flag in the number of a launch: no access is taken for a race.
pub const LENIENT: u64 = 1 << 63;

const LAUNCH: u32 = 44;
const WARP: u32 = 28;
const LANE: u32 = 22;
/// The lane of a stamp of several lanes.
pub const SEVERAL: u32 = 32;
/// Most warps of a grid, barriers of a launch.
pub const MOST: (usize, u32) = (1 << (LAUNCH - WARP), (1 << LANE) - 1);

/// A thread that touches memory, and what it knows.
pub struct Who<'a> {
    /// The stamp of lane 0.
    first_stamp: u64,
    /// The lane.
    pub lane: u32,
    /// The time of each warp up to which the thread knows all that it did, from warp `first` on.
    known: &'a [u32],
    /// See `known`.
    first: u32,
    /// Line of the image.
    line: u32,
    /// False if it is taken to know everything.
    strict: bool,
}

/// A fault in the order of accesses.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Another thread wrote the word, without order: its warp, lane, and line.
    Written(u32, u32, u32),
    /// Another thread read the word, without order: its warp and lane.
    Read(u32, u32),
    /// A copy to the word is on its way.
    Copied,
    /// Nobody has written the word.
    Empty,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let lane = |lane: u32| if lane < SEVERAL { format!("lane {lane}") } else { "several lanes".into() };
        match self {
            Fault::Written(warp, of, line) => {
                write!(f, "race: warp {warp} of the grid, {}, wrote there without order (line {line})", lane(*of))
            }
            Fault::Read(warp, of) => {
                write!(f, "race: warp {warp} of the grid, {}, read there without order", lane(*of))
            }
            Fault::Copied => write!(f, "an asynchronous copy to this place is on its way"),
            Fault::Empty => write!(f, "shared memory that nobody has written"),
        }
    }
}

impl Who<'_> {
    /// Lane 0 of a warp: its number in the grid, its clock, and what it knows of the warps from
    /// `first` on. With [`LENIENT`] in the number of the launch there are no races.
    #[inline(always)]
    pub fn new(launch: u64, [warp, clock, first]: [u32; 3], known: &[u32], line: u32) -> Who<'_> {
        let first_stamp = (launch << LAUNCH) | u64::from(warp) << WARP | u64::from(clock);
        Who { first_stamp, lane: 0, known, first, line, strict: launch >> 63 == 0 }
    }

    /// The thread of another lane.
    #[inline(always)]
    pub fn lane(mut self, lane: usize) -> Self {
        self.lane = lane as u32;
        self
    }

    /// The stamp of an access.
    #[inline(always)]
    fn stamp(&self) -> u64 {
        self.first_stamp | u64::from(self.lane) << LANE
    }

    /// True if the access of this stamp comes before what the thread does now.
    #[inline(always)]
    pub fn knows(&self, stamp: u64) -> bool {
        let own = self.stamp();
        if (stamp ^ own) >> LAUNCH != 0 || !self.strict {
            return true;
        }
        let (warp, lane, clock) = parts(stamp);
        if (stamp ^ own) >> WARP == 0 {
            return lane == self.lane || clock < parts(own).2;
        }
        self.known.get(warp.wrapping_sub(self.first) as usize).is_some_and(|known| clock < *known)
    }

    /// Notes that the thread reads a word.
    #[inline(always)]
    pub fn read(&self, record: &mut Record) -> Result<(), Fault> {
        // Since a write there is no other read, so this one was checked before.
        let again = record[1] == self.stamp() || record[1] == self.several();
        if again { Ok(()) } else { self.first_read(record) }
    }

    fn several(&self) -> u64 {
        self.first_stamp | u64::from(SEVERAL) << LANE
    }

    fn first_read(&self, record: &mut Record) -> Result<(), Fault> {
        let own = self.stamp();
        let [written, first, second, more] = record;
        if *more as u32 != 0 {
            return Err(Fault::Copied);
        }
        if !self.knows(*written) {
            let (warp, lane, _) = parts(*written);
            return Err(Fault::Written(warp, lane, (*more >> 32) as u32));
        }
        let same = |stamp: u64| (stamp ^ own) >> WARP == 0;
        let joined = |stamp: u64| {
            let (_, lane, clock) = parts(stamp);
            if clock == parts(own).2 && lane != self.lane { self.several() } else { own }
        };
        // Of more readers than there is room for, one that everybody knows is forgotten first.
        if same(*second) {
            std::mem::swap(first, second);
        }
        if same(*first) {
            *first = joined(*first);
        } else {
            if !self.knows(*first) {
                *second = *first;
            }
            *first = own;
        }
        Ok(())
    }

    /// Notes that the thread writes a word.
    #[inline(always)]
    pub fn write(&self, record: &mut Record) -> Result<(), Fault> {
        let [written, first, second, more] = record;
        if *more as u32 != 0 {
            return Err(Fault::Copied);
        }
        let (warp, lane, _) = parts(*written);
        if !self.knows(*written) {
            return Err(Fault::Written(warp, lane, (*more >> 32) as u32));
        }
        if let Some(stamp) = [*first, *second].into_iter().find(|stamp| !self.knows(*stamp)) {
            let (warp, lane, _) = parts(stamp);
            return Err(Fault::Read(warp, lane));
        }
        *record = [self.stamp(), 0, 0, u64::from(self.line) << 32];
        Ok(())
    }

    /// Notes that the thread changes a word in one piece, which needs no order.
    pub fn change(&self, record: &mut Record) {
        *record = [self.several(), 0, 0, u64::from(self.line) << 32];
    }

    /// Notes that a copy to the word begins.
    pub fn begin_copy(&self, record: &mut Record) -> Result<(), Fault> {
        let before = *record;
        self.write(record)?;
        record[0] = before[0];
        record[3] = before[3] | 1;
        Ok(())
    }

    /// Notes that the copy to the word is there.
    pub fn end_copy(&self, record: &mut Record) {
        *record = [self.stamp(), 0, 0, u64::from(self.line) << 32];
    }
}

/// Warp, lane and clock of a stamp.
fn parts(stamp: u64) -> (u32, u32, u32) {
    let bits = |from: u32, to: u32| (stamp >> from) as u32 & ((1 << (to - from)) - 1);
    (bits(WARP, LAUNCH), bits(LANE, WARP), bits(0, LANE))
}

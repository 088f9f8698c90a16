//! The device's memory: what is allocated, and each block's view of it.
//!
//! Blocks of a grid that wait for one another see memory as the hardware allows at worst. A block
//! reads numbers that it has read before from a copy of its own, until an acquire. Its writes reach
//! the others at a release.
use crate::check::{Record, Who};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Bytes of a line of a block's view.
pub const LINE: u64 = 128;

/// Memory of the device.
struct Allocation {
    address: u64,
    bytes: u64,
    /// A record of each word; none where nobody may write.
    records: Option<Vec<Record>>,
}

/// All memory of the device.
#[derive(Default)]
pub struct Device {
    allocations: Vec<Allocation>,
    last: usize,
    /// Number of launches so far.
    pub launches: u64,
}

impl Device {
    /// A device without memory.
    pub const fn new() -> Self {
        Device { allocations: Vec::new(), last: 0, launches: 0 }
    }

    /// Adds memory. It may be written unless it is constant.
    pub fn add(&mut self, address: u64, bytes: u64, constant: bool) {
        let records = (!constant).then(|| vec![[0; 4]; bytes.div_ceil(4) as usize]);
        self.allocations.push(Allocation { address, bytes, records });
    }

    /// Takes memory away.
    pub fn remove(&mut self, address: u64) {
        self.allocations.retain(|one| one.address != address);
        self.last = 0;
    }

    fn find(&mut self, address: u64, bytes: u64) -> Option<&mut Allocation> {
        let holds = |one: &Allocation| {
            address
                .checked_sub(one.address)
                .and_then(|from| from.checked_add(bytes))
                .is_some_and(|end| end <= one.bytes)
        };
        if !self.allocations.get(self.last).is_some_and(holds) {
            self.last = self.allocations.iter().position(holds)?;
        }
        self.allocations.get_mut(self.last)
    }

    /// The records of the words at an address: `None` if it is nobody's, nothing in it if nobody
    /// may write there.
    pub fn records(&mut self, address: u64, bytes: u64) -> Option<Option<&mut [Record]>> {
        let found = self.find(address, bytes)?;
        let first = ((address - found.address) / 4) as usize;
        let words = bytes.div_ceil(4) as usize;
        Some(found.records.as_mut().map(|records| &mut records[first..first + words]))
    }
}

/// The word at an address.
pub fn word(address: u64) -> u32 {
    // SAFETY: only addresses that `Device::records` has found come here.
    unsafe { (address as *const u32).read() }
}

/// Writes the word at an address.
pub fn set_word(address: u64, value: u32) {
    // SAFETY: as for `word`.
    unsafe { (address as *mut u32).write(value) }
}

/// A hasher of line numbers.
#[derive(Default)]
pub struct OfLines(u64);

impl Hasher for OfLines {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("line numbers are u64");
    }
    fn write_u64(&mut self, line: u64) {
        self.0 = line.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

struct Line {
    number: u64,
    words: [u32; LINE as usize / 4],
    /// Words that this block has written and the others do not see yet.
    own: u32,
}

/// Memory as a block sees it.
#[derive(Default)]
pub struct View {
    lines: Vec<Line>,
    /// The place in `lines` of each number.
    places: HashMap<u64, usize, BuildHasherDefault<OfLines>>,
    /// The last place.
    last: usize,
}

impl View {
    #[inline]
    fn at(&mut self, address: u64) -> (&mut Line, usize) {
        let number = address / LINE;
        if self.lines.get(self.last).is_none_or(|line| line.number != number) {
            self.last = *self.places.entry(number).or_insert_with(|| {
                // Memory is allocated in whole lines.
                let words = std::array::from_fn(|i| word(number * LINE + 4 * i as u64));
                self.lines.push(Line { number, words, own: 0 });
                self.lines.len() - 1
            });
        }
        (&mut self.lines[self.last], (address % LINE / 4) as usize)
    }

    /// The word at an address.
    #[inline]
    pub fn word(&mut self, address: u64) -> u32 {
        let (line, at) = self.at(address);
        line.words[at]
    }

    /// Writes a word.
    #[inline]
    pub fn set_word(&mut self, address: u64, value: u32) {
        let (line, at) = self.at(address);
        line.words[at] = value;
        line.own |= 1 << at;
    }

    /// Forgets all that was read.
    pub fn acquire(&mut self) {
        self.lines.retain_mut(|line| {
            for (at, value) in line.words.iter_mut().enumerate().filter(|(at, _)| line.own >> at & 1 == 0) {
                if line.own != 0 {
                    *value = word(line.number * LINE + 4 * at as u64);
                }
            }
            line.own != 0
        });
        self.places = self.lines.iter().enumerate().map(|(place, line)| (line.number, place)).collect();
    }

    /// Shows what the block wrote and this thread knows; all of it without a thread.
    pub fn release(&mut self, who: Option<&Who>, device: &mut Device) {
        for line in self.lines.iter_mut().filter(|line| line.own != 0) {
            for at in 0..line.words.len() {
                let address = line.number * LINE + 4 * at as u64;
                let known = |who: &Who| {
                    let records = device.records(address, 4).flatten();
                    records.is_none_or(|records| who.knows(records[0][0]))
                };
                if line.own >> at & 1 == 1 && who.is_none_or(known) {
                    set_word(address, line.words[at]);
                    line.own &= !(1 << at);
                }
            }
        }
    }
}

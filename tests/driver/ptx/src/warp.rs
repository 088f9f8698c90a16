//! A warp: 32 threads that run in step where they can. Lanes that go different ways are groups; the
//! one furthest behind runs first, so groups meet again. Instructions that need several lanes wait
//! for them.
use crate::check::Who;
use crate::code::{Kernel, Special};
use crate::registers::{File, LANES, Registers};
use std::collections::VecDeque;

/// A copy to shared memory that has begun.
#[derive(Debug, Clone, Copy)]
pub struct Copying {
    /// Its place, in bytes from the start of shared memory.
    pub to: usize,
    /// Its source.
    pub from: u64,
    /// Bytes that it writes.
    pub bytes: usize,
    /// Bytes that it reads; zeros follow.
    pub read: usize,
    /// The number of its group, of the thread.
    pub group: u32,
    /// Who had last written each word of the source when it began.
    pub written: [u64; 4],
}

/// Lanes at one instruction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Group {
    /// The instruction.
    pub at: u32,
    /// The lanes.
    pub mask: u32,
    /// True if they wait for other lanes there.
    pub waits: bool,
}

/// The state of a warp between two turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It may go on.
    #[default]
    Ready,
    /// It waits for its block.
    AtBarrier,
    /// It waits for a number that has not changed since the launch's atomic operation of this
    /// number.
    Polls(u64),
    /// All its threads have ended.
    Ended,
}

/// A warp.
#[derive(Default)]
pub struct Warp {
    /// Its number in its block, and the block's index among those that run.
    pub place: (u32, usize),
    /// Its number in the grid.
    pub number: u32,
    /// The number of the first warp that it may know.
    pub first: u32,
    /// Its registers.
    pub registers: Registers,
    /// The group that runs.
    pub running: Group,
    /// The other groups.
    pub others: Vec<Group>,
    /// The instruction of the first of them that may run.
    pub limit: u32,
    /// Its clock, and what it knows of the others'.
    pub clock: u32,
    /// See [`crate::check`].
    pub known: Vec<u32>,
    /// Knowledge that a fence will bring, as it has read what was released.
    pub seen: Vec<u32>,
    /// Knowledge that it gives by changes without order, as a fence came before.
    pub fenced: Vec<u32>,
    /// The copies that each lane has begun, and the number of groups that it has closed.
    pub copies: [VecDeque<Copying>; LANES],
    /// See `copies`.
    pub closed: [u32; LANES],
    /// The address and value of the last number that it read again and again.
    pub polled: (u64, u32),
    /// Memory of each lane.
    pub local: Vec<u8>,
    /// True once it has waited for the launch before.
    pub waited: bool,
    /// Its state.
    pub state: State,
}

impl Warp {
    /// Fills the registers for a block of `threads`, number `block` of `blocks`, and goes to the
    /// first instruction.
    pub fn begin(&mut self, kernel: &Kernel, [block, blocks, threads]: [u32; 3], warps: usize) {
        let registers = &mut self.registers;
        if registers.flags.is_empty() {
            let [words, doubles, flags] =
                [File::Word, File::Double, File::Flag].map(|file| kernel.registers[file as usize]);
            registers.words = vec![[0; LANES]; words];
            registers.doubles = vec![[0; LANES]; doubles];
            registers.flags = vec![0; flags.max(1)];
            for (file, slot, bits) in &kernel.constants {
                let slot = *slot as usize;
                match file {
                    File::Word => registers.words[slot] = [*bits as u32; LANES],
                    File::Double => registers.doubles[slot] = [*bits; LANES],
                    File::Flag => registers.flags[slot] = if *bits == 0 { 0 } else { !0 },
                }
            }
            self.local = vec![0xff; kernel.local * LANES];
        }
        for (slot, special) in &kernel.specials {
            registers.words[*slot as usize] = match special {
                Special::Thread => std::array::from_fn(|lane| self.place.0 * LANES as u32 + lane as u32),
                Special::Lane => std::array::from_fn(|lane| lane as u32),
                Special::Threads => [threads; LANES],
                Special::Block => [block; LANES],
                Special::Blocks => [blocks; LANES],
            };
        }
        self.running = Group { at: 0, mask: !0, waits: false };
        self.others.clear();
        self.limit = u32::MAX;
        self.clock = 1;
        for list in [&mut self.known, &mut self.seen, &mut self.fenced] {
            list.clear();
            list.resize(warps, 0);
        }
        self.copies.iter_mut().for_each(VecDeque::clear);
        (self.closed, self.polled, self.waited, self.state) = ([0; LANES], (0, 0), false, State::Ready);
    }

    /// Lane 0, for checks.
    #[inline(always)]
    pub fn who(&self, launch: u64, line: u32) -> Who<'_> {
        Who::new(launch, [self.number, self.clock, self.first], &self.known, line)
    }

    /// Goes on with the group that is furthest behind, after the running one has changed its place
    /// or ended. Errors: all that are left wait for lanes that do not come.
    pub fn choose(&mut self) -> Result<(), String> {
        if self.running.mask != 0 {
            self.others.push(self.running);
        }
        self.running = Group::default();
        let Some(at) = self.others.iter().filter(|group| !group.waits).map(|group| group.at).min() else {
            if self.others.is_empty() {
                self.state = State::Ended;
                return Ok(());
            }
            let lanes: Vec<String> = self.others.iter().map(|group| format!("{:08x}", group.mask)).collect();
            return Err(format!("lanes {} of a warp wait for others that do not come", lanes.join(" and ")));
        };
        self.running.at = at;
        let (meet, others) = self.others.iter().partition(|group| group.at == at && !group.waits);
        self.others = others;
        let meet: Vec<Group> = meet;
        self.running.mask = meet.iter().fold(0, |mask, group| mask | group.mask);
        self.limit = self.others.iter().filter(|group| !group.waits).map(|group| group.at).min().unwrap_or(u32::MAX);
        Ok(())
    }

    /// True if all lanes of `wanted` are at the running group's instruction; they are one group
    /// then. Otherwise the group waits, and another one runs.
    pub fn meets(&mut self, wanted: u32) -> Result<bool, String> {
        if self.running.mask == wanted {
            return Ok(true);
        }
        let at = self.running.at;
        let here = self.others.iter().filter(|group| group.at == at && group.waits);
        let mask = here.fold(self.running.mask, |mask, group| mask | group.mask);
        if self.running.mask & !wanted != 0 {
            return Err("a lane is not in the mask of its instruction".into());
        }
        if mask & wanted == wanted {
            self.others.retain(|group| group.at != at || !group.waits);
            self.running.mask = mask;
            return Ok(true);
        }
        self.running.waits = true;
        self.choose()?;
        Ok(false)
    }
}

//! Loads, stores and copies, each with its checks: space, bounds, alignment, order, contents.
use crate::access::{Access, Order, Space};
use crate::check::{self, Fault, Record, Who};
use crate::code::{Instruction, LOCAL, PARAMETERS, SHARED};
use crate::device;
use crate::launch::{Block, Launch};
use crate::registers::{File, LANES};
use crate::step::lanes;
use crate::warp::{Copying, State, Warp};

/// The place of a number in its memory.
#[derive(Clone, Copy)]
enum Place {
    Parameter(usize),
    Shared(usize),
    Local(usize),
    Global(u64),
}

/// True for each word of which some bytes are in the mask.
fn counts(used: u32, word: usize) -> bool {
    word >= 8 || used >> (4 * word) & 15 != 0
}

impl Launch<'_> {
    /// The place of `bytes` at an address. Errors: it is outside of its memory, or not a multiple
    /// of `align`.
    #[inline(always)]
    fn place(&mut self, space: Space, address: u64, bytes: usize, align: usize) -> Result<Place, String> {
        let inside = |base: u64, most: usize| {
            let at = address.wrapping_sub(base);
            if at.saturating_add(bytes as u64) <= most as u64 {
                return Ok(at as usize);
            }
            let at = at as i64;
            Err(format!("{bytes} bytes at {at} of {most} bytes of {space:?} memory"))
        };
        // Sizes are powers of two.
        if address & (align as u64 - 1) != 0 {
            return Err(format!("{space:?} address {address:#x} is not a multiple of {align}"));
        }
        Ok(match space {
            Space::Parameter => Place::Parameter(inside(PARAMETERS, self.kernel.parameters)?),
            Space::Shared => Place::Shared(inside(SHARED, self.blocks[0].shared.len())?),
            Space::Local => Place::Local(inside(LOCAL, self.kernel.local)?),
            Space::Global if self.device.records(address, bytes as u64).is_some() => Place::Global(address),
            Space::Global => return Err(format!("{bytes} bytes at {address:#x}, which is no memory of the device")),
        })
    }

    /// Loads of some lanes.
    pub fn load(
        &mut self,
        warp: &mut Warp,
        instruction: &Instruction,
        access: Access,
        mask: u32,
    ) -> Result<(), String> {
        if matches!(access.order, Order::Relaxed | Order::Acquire) {
            return lanes(mask).try_for_each(|lane| self.load_in_order(warp, instruction, access, lane));
        }
        if access.space == Space::Shared && access.bytes >= 4 {
            return self.load_shared(warp, instruction, access, mask);
        }
        let (bytes, count) = (usize::from(access.bytes), usize::from(access.count));
        let slots = &self.kernel.lists[instruction.to as usize];
        for lane in lanes(mask) {
            let address = address(warp, instruction, access, lane);
            let place = self.place(access.space, address, bytes * count, bytes * count)?;
            self.check_read(warp, lane, place, bytes * count, instruction.from[2], access.order, instruction.line)?;
            for (i, slot) in slots.iter().enumerate() {
                let mut value = self.get(warp, lane, place, i * bytes, bytes);
                if access.signed {
                    let empty = 64 - 8 * bytes as u32;
                    value = ((value << empty) as i64 >> empty) as u64;
                }
                match access.file {
                    File::Double => warp.registers.doubles[*slot as usize][lane] = value,
                    _ => warp.registers.words[*slot as usize][lane] = value as u32,
                }
            }
        }
        Ok(())
    }

    /// Loads of words from shared memory, which are most. Lanes often read the same ones.
    fn load_shared(
        &mut self,
        warp: &mut Warp,
        instruction: &Instruction,
        access: Access,
        mask: u32,
    ) -> Result<(), String> {
        let (slots, used) = (&self.kernel.lists[instruction.to as usize], instruction.from[2]);
        let mut addresses = [0; LANES];
        addresses.iter_mut().enumerate().for_each(|(lane, to)| *to = address(warp, instruction, access, lane));
        let of_one = usize::from(access.bytes) / 4;
        let bytes = 4 * of_one * slots.len();
        let Block { shared, records, .. } = &mut self.blocks[warp.place.1];
        let Warp { registers, known, number, clock, first, .. } = warp;
        let mut who = Who::new(self.device.launches, [*number, *clock, *first], known, instruction.line);
        let first_lane = mask.trailing_zeros() as usize % LANES;
        let same =
            mask & (mask.wrapping_sub(1)) != 0 && lanes(mask).all(|lane| addresses[lane] == addresses[first_lane]);
        for lane in lanes(if same { 1 << first_lane } else { mask }) {
            let at = addresses[lane].wrapping_sub(SHARED) as usize;
            if at.saturating_add(bytes) > shared.len() || at & (bytes - 1) != 0 {
                return self.place(Space::Shared, addresses[lane], bytes, bytes).map(drop);
            }
            who.lane = if same { check::SEVERAL } else { lane as u32 };
            for (i, record) in records[at / 4..(at + bytes) / 4].iter_mut().enumerate() {
                if counts(used, i) {
                    read_shared(&who, record, at)?;
                }
            }
            let word = |i: usize| {
                let word = &shared[at + 4 * i..at + 4 * i + 4];
                u32::from_le_bytes(word.try_into().expect("four bytes"))
            };
            let lanes = if same { mask } else { 1 << lane };
            for (i, slot) in slots.iter().enumerate() {
                if of_one == 2 {
                    let value = u64::from(word(2 * i + 1)) << 32 | u64::from(word(2 * i));
                    set(&mut registers.doubles[*slot as usize], lanes, lane, value);
                } else if access.file == File::Word {
                    set(&mut registers.words[*slot as usize], lanes, lane, word(i));
                } else {
                    let value = if access.signed { word(i) as i32 as u64 } else { u64::from(word(i)) };
                    set(&mut registers.doubles[*slot as usize], lanes, lane, value);
                }
            }
        }
        Ok(())
    }

    /// Stores of some lanes.
    pub fn store(
        &mut self,
        warp: &mut Warp,
        instruction: &Instruction,
        access: Access,
        mask: u32,
    ) -> Result<(), String> {
        if access.order != Order::Weak {
            return Err("a store with an order is not known".into());
        }
        let (bytes, count) = (usize::from(access.bytes), usize::from(access.count));
        let slots = &self.kernel.lists[instruction.to as usize];
        for lane in lanes(mask) {
            let address = address(warp, instruction, access, lane);
            let place = self.place(access.space, address, bytes * count, bytes * count)?;
            self.check_write(warp, lane, place, bytes * count, instruction.line)?;
            for (i, slot) in slots.iter().enumerate() {
                let value = match access.file {
                    File::Double => warp.registers.doubles[*slot as usize][lane],
                    _ => u64::from(warp.registers.words[*slot as usize][lane]),
                };
                self.put(warp, lane, place, i * bytes, &value.to_le_bytes()[..bytes])?;
            }
        }
        Ok(())
    }

    /// A load of a number that others change, past the block's view.
    fn load_in_order(
        &mut self,
        warp: &mut Warp,
        instruction: &Instruction,
        access: Access,
        lane: usize,
    ) -> Result<(), String> {
        let address = address(warp, instruction, access, lane);
        if access.bytes != 4 || access.count != 1 {
            return Err("only loads of 32 bits have an order".into());
        }
        self.strong(warp, lane, address, instruction.line)?;
        let value = device::word(address);
        let slot = self.kernel.lists[instruction.to as usize][0] as usize;
        warp.registers.words[slot][lane] = value;
        if let Some(released) = self.released.get(&address) {
            warp.seen.iter_mut().zip(released).for_each(|(seen, known)| *seen = (*seen).max(*known));
        }
        if access.order == Order::Acquire {
            warp.known.iter_mut().zip(&warp.seen).for_each(|(known, seen)| *known = (*known).max(*seen));
            if let Some(view) = &mut self.blocks[warp.place.1].view {
                view.acquire();
            }
        }
        if warp.polled == (address, value) {
            warp.state = State::Polls(self.atomics);
        }
        warp.polled = (address, value);
        Ok(())
    }

    /// Checks an access that is single by itself: it must not meet one that is not.
    pub fn strong(&mut self, warp: &Warp, lane: usize, address: u64, line: u32) -> Result<(), String> {
        self.place(Space::Global, address, 4, 4)?;
        let launch = self.device.launches;
        let records = self.device.records(address, 4).flatten().ok_or("a constant")?;
        let who = warp.who(launch, line).lane(lane);
        if !self.released.contains_key(&address) {
            who.write(&mut records[0].clone()).map_err(|fault| fault.to_string())?;
        }
        Ok(())
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // all of one instruction
    fn check_read(
        &mut self,
        warp: &Warp,
        lane: usize,
        place: Place,
        bytes: usize,
        used: u32,
        order: Order,
        line: u32,
    ) -> Result<(), String> {
        let who = warp.who(self.device.launches, line).lane(lane);
        let words = bytes.div_ceil(4);
        match place {
            Place::Shared(at) => {
                let records = &mut self.blocks[warp.place.1].records[at / 4..at / 4 + words];
                for (_, record) in records.iter_mut().enumerate().filter(|(word, _)| counts(used, *word)) {
                    read_shared(&who, record, at)?;
                }
            }
            Place::Global(address) => {
                if let Some(Some(records)) = self.device.records(address, bytes as u64) {
                    if order == Order::Constant {
                        return Err("ld.global.nc of memory that may be written".into());
                    }
                    for (_, record) in records.iter_mut().enumerate().filter(|(word, _)| counts(used, *word)) {
                        who.read(record).map_err(|fault| format!("memory at {address:#x}: {fault}"))?;
                    }
                }
            }
            Place::Parameter(_) | Place::Local(_) => {}
        }
        Ok(())
    }

    #[inline(always)]
    fn check_write(&mut self, warp: &Warp, lane: usize, place: Place, bytes: usize, line: u32) -> Result<(), String> {
        let who = warp.who(self.device.launches, line).lane(lane);
        let words = bytes.div_ceil(4);
        match place {
            Place::Parameter(_) => return Err("a store to a parameter".into()),
            Place::Shared(at) => {
                for record in &mut self.blocks[warp.place.1].records[at / 4..at / 4 + words] {
                    who.write(record).map_err(|fault| format!("shared memory at byte {at}: {fault}"))?;
                }
            }
            Place::Global(address) => {
                let records = self.device.records(address, bytes as u64).flatten().ok_or("a store to a constant")?;
                for record in records {
                    who.write(record).map_err(|fault| format!("memory at {address:#x}: {fault}"))?;
                }
            }
            Place::Local(_) => {}
        }
        Ok(())
    }

    /// The number of up to 8 bytes, `offset` bytes behind a place.
    #[inline(always)]
    fn get(&mut self, warp: &Warp, lane: usize, place: Place, offset: usize, bytes: usize) -> u64 {
        let of = |memory: &[u8], at: usize| {
            let memory = &memory[at + offset..at + offset + bytes];
            match memory {
                [a, b, c, d] => u64::from(u32::from_le_bytes([*a, *b, *c, *d])),
                _ => memory.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
            }
        };
        let block = &mut self.blocks[warp.place.1];
        match place {
            Place::Parameter(at) => of(self.parameters, at),
            Place::Shared(at) => of(&block.shared, at),
            Place::Local(at) => of(&warp.local[lane * self.kernel.local..], at),
            Place::Global(address) => {
                let address = address + offset as u64;
                let first = address / 4 * 4;
                let mut word = |address| match &mut block.view {
                    Some(view) => view.word(address),
                    None => device::word(address),
                };
                let low = u64::from(word(first));
                let value = if bytes == 8 { u64::from(word(first + 4)) << 32 | low } else { low };
                value >> (8 * (address - first)) & if bytes == 8 { !0 } else { (1 << (8 * bytes)) - 1 }
            }
        }
    }

    /// Writes bytes, `offset` bytes behind a place.
    #[inline(always)]
    fn put(&mut self, warp: &mut Warp, lane: usize, place: Place, offset: usize, bytes: &[u8]) -> Result<(), String> {
        let block = &mut self.blocks[warp.place.1];
        match place {
            Place::Parameter(_) => unreachable!("refused before"),
            Place::Shared(at) => block.shared[at + offset..at + offset + bytes.len()].copy_from_slice(bytes),
            Place::Local(at) => {
                let at = lane * self.kernel.local + at + offset;
                warp.local[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Place::Global(address) => {
                if !bytes.len().is_multiple_of(4) {
                    return Err("a store of less than 32 bits is not known".into());
                }
                for (i, word) in bytes.chunks_exact(4).enumerate() {
                    let address = address + (offset + 4 * i) as u64;
                    let value = u32::from_le_bytes(word.try_into().expect("four bytes"));
                    match &mut block.view {
                        Some(view) => view.set_word(address, value),
                        None => device::set_word(address, value),
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins a copy of a lane. It reads and writes as late as the waits allow.
    pub fn begin_copy(
        &mut self,
        warp: &mut Warp,
        lane: usize,
        [to, from]: [u64; 2],
        [bytes, read]: [usize; 2],
        line: u32,
    ) -> Result<(), String> {
        let Place::Shared(to) = self.place(Space::Shared, to, bytes, bytes)? else { unreachable!("asked for") };
        let mut copy = Copying { to, from, bytes, read, group: warp.closed[lane], written: [0; 4] };
        if read > bytes || from % bytes as u64 != 0 {
            return Err(format!("a copy of {read} of {bytes} bytes from {from:#x}"));
        }
        if read > 0 {
            let place = self.place(Space::Global, from, read, bytes)?;
            self.check_read(warp, lane, place, read, !0, Order::Weak, line)?;
            copy.written = self.written(from, read);
        }
        let who = warp.who(self.device.launches, line).lane(lane);
        for record in &mut self.blocks[warp.place.1].records[to / 4..(to + bytes) / 4] {
            who.begin_copy(record).map_err(|fault| format!("a copy to shared memory at byte {to}: {fault}"))?;
        }
        warp.copies[lane].push_back(copy);
        Ok(())
    }

    /// Who last wrote each word of the source of a copy.
    fn written(&mut self, from: u64, read: usize) -> [u64; 4] {
        let records = self.device.records(from, read as u64).flatten();
        let mut written = [0; 4];
        records.into_iter().flatten().zip(&mut written).for_each(|(record, written)| *written = record[0]);
        written
    }

    /// Ends a copy of a lane.
    pub fn end_copy(&mut self, warp: &mut Warp, lane: usize, copy: Copying, line: u32) -> Result<(), String> {
        if copy.read > 0 {
            if self.written(copy.from, copy.read) != copy.written {
                return Err(format!("the source of a copy, {:#x}, was written before it was there", copy.from));
            }
            self.check_read(warp, lane, Place::Global(copy.from), copy.read, !0, Order::Weak, line)?;
        }
        for at in (0..copy.bytes).step_by(4) {
            let mut value = 0;
            if at < copy.read {
                value = self.get(warp, lane, Place::Global(copy.from), at, 4) as u32;
            }
            self.put(warp, lane, Place::Shared(copy.to), at, &value.to_le_bytes())?;
        }
        let who = warp.who(self.device.launches, line).lane(lane);
        let records = &mut self.blocks[warp.place.1].records[copy.to / 4..(copy.to + copy.bytes) / 4];
        records.iter_mut().for_each(|record| who.end_copy(record));
        Ok(())
    }
}

/// Sets a register in some lanes, or in one.
#[inline(always)]
fn set<T: Copy>(register: &mut [T; LANES], mask: u32, lane: usize, value: T) {
    if mask == !0 {
        *register = [value; LANES];
    } else if mask == 1 << lane {
        register[lane] = value;
    } else {
        lanes(mask).for_each(|lane| register[lane] = value);
    }
}

/// Notes that a thread reads a word of shared memory.
#[inline(always)]
fn read_shared(who: &Who, record: &mut Record, at: usize) -> Result<(), String> {
    let fault = match who.read(record) {
        _ if record[0] == 0 && record[3] == 0 => Fault::Empty,
        Ok(()) => return Ok(()),
        Err(fault) => fault,
    };
    Err(format!("shared memory at byte {at}: {fault}"))
}

/// The address of a lane's access.
#[inline(always)]
fn address(warp: &Warp, instruction: &Instruction, access: Access, lane: usize) -> u64 {
    let base = instruction.from[0] as usize;
    let base = match access.address {
        File::Double => warp.registers.doubles[base][lane],
        _ => u64::from(warp.registers.words[base][lane]),
    };
    base.wrapping_add(instruction.from[3] as i32 as u64)
}

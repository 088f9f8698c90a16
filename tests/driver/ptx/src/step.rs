//! The instructions, one after another.
use crate::access::{Order, Space};
use crate::check;
use crate::code::{Instruction, Operation};
use crate::fast;
use crate::launch::Launch;
use crate::registers::{LANES, Value};
use crate::warp::{State, Warp};

/// The time of an instruction of a warp on the clock of the device, in nanoseconds.
const NANOSECONDS: u64 = 100;

/// The lanes of a mask.
#[inline(always)]
pub fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    })
}

/// A fault in words, and the line of the image.
pub type Failed = (String, u32);

impl Launch<'_> {
    /// Runs a warp for up to this many instructions, or until it waits. Errors: its fault.
    pub fn turn(&mut self, warp: &mut Warp, instructions: u64) -> Result<(), Failed> {
        let kernel = self.kernel;
        for _ in 0..instructions {
            if warp.running.at >= warp.limit {
                let line = kernel.code.get(warp.running.at as usize).map_or(0, |next| next.line);
                warp.choose().map_err(|what| (what, line))?;
            }
            let at = warp.running.at;
            let Some(instruction) = kernel.code.get(at as usize) else {
                return Err(("the kernel goes on beyond its end".into(), 0));
            };
            self.instructions += 1;
            let mut mask = warp.running.mask;
            if let Some((flag, negated)) = instruction.guard {
                let flag = warp.registers.flags[flag as usize];
                mask &= if negated { !flag } else { flag };
            }
            if let Operation::Compute(run) = instruction.operation {
                if mask != 0 {
                    run(&mut warp.registers, instruction, mask);
                }
                warp.running.at += 1;
                continue;
            }
            self.other(warp, instruction, mask).map_err(|what| (what, instruction.line))?;
            if warp.state != State::Ready {
                break;
            }
        }
        Ok(())
    }

    /// An instruction that does more than compute, for the lanes of a mask.
    fn other(&mut self, warp: &mut Warp, instruction: &Instruction, mask: u32) -> Result<(), String> {
        let [first, second, third, fourth] = instruction.from;
        let running = warp.running;
        match instruction.operation {
            Operation::Branch => {
                if mask == running.mask {
                    warp.running.at = instruction.to;
                    return Ok(());
                }
                if mask != 0 {
                    warp.others.push(crate::warp::Group { at: instruction.to, mask, waits: false });
                    warp.running.mask &= !mask;
                    warp.running.at += 1;
                    return warp.choose();
                }
            }
            Operation::Exit => {
                warp.running.mask &= !mask;
                warp.running.at += 1;
                if warp.running.mask == 0 {
                    warp.choose()?;
                    self.atomics += u64::from(warp.state == State::Ended);
                }
                return Ok(());
            }
            Operation::Trap if mask != 0 => return Err("trap".into()),
            Operation::Trap => {}
            Operation::BlockSync | Operation::WarpSync | Operation::ShuffleDown(_) | Operation::Multiply => {
                return self.together(warp, instruction, mask);
            }
            Operation::Load(access) => {
                if access.space == Space::Global {
                    self.before(warp, mask)?;
                }
                self.load(warp, instruction, access, mask)?;
            }
            Operation::Store(access) => {
                if access.space == Space::Global {
                    self.before(warp, mask)?;
                }
                self.store(warp, instruction, access, mask)?;
            }
            Operation::Add(order) => {
                self.before(warp, mask)?;
                for lane in lanes(mask) {
                    let address = warp.registers.doubles[first as usize][lane].wrapping_add(fourth as i32 as u64);
                    self.add(warp, lane, address, order, instruction.line)?;
                }
            }
            Operation::Fence if mask != 0 => {
                warp.known.iter_mut().zip(&warp.seen).for_each(|(known, seen)| *known = (*known).max(*seen));
                self.show(warp, mask, instruction.line);
                warp.fenced = self.knowledge(warp);
                if let Some(view) = &mut self.blocks[warp.place.1].view {
                    view.acquire();
                }
            }
            Operation::Fence => {}
            Operation::CopyStart(bytes) => {
                self.before(warp, mask)?;
                for lane in lanes(mask) {
                    let to = u64::from(warp.registers.words[first as usize][lane]);
                    let from = warp.registers.doubles[second as usize][lane];
                    let read = warp.registers.words[third as usize][lane];
                    self.begin_copy(warp, lane, [to, from], [usize::from(bytes), read as usize], instruction.line)?;
                }
            }
            Operation::CopiesClose => lanes(mask).for_each(|lane| warp.closed[lane] += 1),
            Operation::CopiesWait(newest) => {
                for lane in lanes(mask) {
                    let until = warp.closed[lane].saturating_sub(newest);
                    while warp.copies[lane].front().is_some_and(|copy| copy.group < until) {
                        let copy = warp.copies[lane].pop_front().expect("there is one");
                        self.end_copy(warp, lane, copy, instruction.line)?;
                    }
                }
            }
            Operation::WaitForLaunch => warp.waited = true,
            Operation::LetNextBegin => {}
            Operation::Clock => {
                u64::write(&mut warp.registers, instruction.to, &[self.instructions * NANOSECONDS; LANES], mask);
            }
            Operation::Compute(_) => unreachable!("it is done in `turn`"),
        }
        warp.running.at += 1;
        Ok(())
    }

    /// Instructions for which lanes wait for one another.
    fn together(&mut self, warp: &mut Warp, instruction: &Instruction, mask: u32) -> Result<(), String> {
        if mask != warp.running.mask {
            return Err("some lanes leave out an instruction that needs them".into());
        }
        let lane = mask.trailing_zeros() as usize;
        let [first, second, third, fourth] = instruction.from;
        let wanted = match instruction.operation {
            Operation::WarpSync => warp.registers.words[first as usize][lane],
            Operation::ShuffleDown(_) => warp.registers.words[fourth as usize][lane],
            _ => !0,
        };
        if !warp.meets(wanted)? {
            return Ok(());
        }
        match instruction.operation {
            Operation::BlockSync => {
                // The barrier itself moves it on, once all warps are there.
                warp.state = State::AtBarrier;
                return self.tick(warp, false);
            }
            Operation::WarpSync => self.tick(warp, true)?,
            Operation::ShuffleDown(flag) => {
                let [from, offset, limit] = [first, second, third].map(|slot| warp.registers.words[slot as usize]);
                let (mut values, mut there) = (from, [false; LANES]);
                for lane in 0..LANES {
                    let segment = limit[lane] as usize >> 8 & 31;
                    let last = lane & segment | limit[lane] as usize & 31 & !segment;
                    let source = lane + (offset[lane] as usize & 31);
                    there[lane] = source <= last;
                    values[lane] = from[if there[lane] { source } else { lane }];
                    if there[lane] && !mask_lacks(wanted, lane) && mask_lacks(wanted, source) {
                        return Err(format!("lane {lane} takes the value of lane {source}, which takes no part"));
                    }
                }
                u32::write(&mut warp.registers, instruction.to, &values, wanted);
                if let Some(flag) = flag {
                    bool::write(&mut warp.registers, flag, &there, wanted);
                }
            }
            Operation::Multiply => {
                let words = &warp.registers.words;
                let lists = &self.kernel.lists;
                let all = |list: u32, i: usize| &words[lists[list as usize][i] as usize];
                let a = std::array::from_fn(|i| all(first, i));
                let b = std::array::from_fn(|i| all(second, i));
                let sums = fast::mma(a, b, std::array::from_fn(|i| all(third, i)));
                for (slot, sums) in lists[instruction.to as usize].iter().zip(sums) {
                    warp.registers.words[*slot as usize] = sums;
                }
            }
            _ => unreachable!("only those of `other`"),
        }
        warp.running.at += 1;
        Ok(())
    }

    /// Moves a warp's clock on. Errors: it has no more room.
    fn tick(&self, warp: &mut Warp, moves: bool) -> Result<(), String> {
        warp.clock += u32::from(moves);
        if warp.clock < check::MOST.1 { Ok(()) } else { Err("more barriers in a launch than are counted".into()) }
    }

    /// The knowledge of a warp, with all that it did itself.
    pub fn knowledge(&self, warp: &mut Warp) -> Vec<u32> {
        warp.clock += 1;
        let own = (warp.number - warp.first) as usize;
        warp.known[own] = warp.clock;
        warp.known.clone()
    }

    /// Shows other blocks what these lanes know to be written.
    pub fn show(&mut self, warp: &Warp, mask: u32, line: u32) {
        let launch = self.device.launches;
        let Some(mut view) = self.blocks[warp.place.1].view.take() else { return };
        lanes(mask).for_each(|lane| view.release(Some(&warp.who(launch, line).lane(lane)), self.device));
        self.blocks[warp.place.1].view = Some(view);
    }

    /// Checks that a warp may touch the device's memory: in an early launch, only after the one
    /// before.
    fn before(&self, warp: &Warp, mask: u32) -> Result<(), String> {
        if self.options.early && !warp.waited && mask != 0 {
            return Err("memory is touched before the launch before has ended".into());
        }
        Ok(())
    }

    /// Adds 1 to a number of the device's memory.
    fn add(&mut self, warp: &mut Warp, lane: usize, address: u64, order: Order, line: u32) -> Result<(), String> {
        self.strong(warp, lane, address, line)?;
        if order == Order::Release {
            self.show(warp, 1 << lane, line);
            warp.fenced = self.knowledge(warp);
        }
        let known = self.released.entry(address).or_insert_with(|| vec![0; warp.fenced.len()]);
        known.iter_mut().zip(&warp.fenced).for_each(|(most, known)| *most = (*most).max(*known));
        crate::device::set_word(address, crate::device::word(address).wrapping_add(1));
        let launch = self.device.launches;
        if let Some(records) = self.device.records(address, 4).flatten() {
            warp.who(launch, line).lane(lane).change(&mut records[0]);
        }
        self.atomics += 1;
        Ok(())
    }
}

fn mask_lacks(mask: u32, lane: usize) -> bool {
    mask >> lane & 1 == 0
}

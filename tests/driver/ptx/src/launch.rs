//! A launch: blocks of warps, whose turns a seed decides.
//!
//! Blocks run one after another in a random order, or all at the same time if they wait for one
//! another. A turn is a random number of instructions of one warp.
use crate::check::{self, Record};
use crate::code::Kernel;
use crate::device::{Device, View};
use crate::registers::LANES;
use crate::warp::{State, Warp};
use std::collections::HashMap;

/// Most instructions of a turn.
const TURN: u64 = 300;

/// A block that runs.
pub struct Block {
    /// Its number.
    pub number: u32,
    /// Its shared memory, and a record of each word.
    pub shared: Vec<u8>,
    /// See `shared`.
    pub records: Vec<Record>,
    /// Its view of memory, if other blocks run at the same time.
    pub view: Option<View>,
}

/// How a kernel is launched.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Blocks.
    pub blocks: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory beyond those of the kernel.
    pub more: usize,
    /// True if all blocks run at the same time.
    pub together: bool,
    /// True if the launch may begin before the one before it has ended.
    pub early: bool,
    /// False if two threads may touch a word without order: what comes of it is seen then.
    pub strict: bool,
    /// Seed of all that may happen in any order.
    pub seed: u64,
}

/// A launch that runs.
pub struct Launch<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Its parameters.
    pub parameters: &'a [u8],
    /// The device's memory.
    pub device: &'a mut Device,
    /// How it was launched.
    pub options: Options,
    /// The blocks that run.
    pub blocks: Vec<Block>,
    /// The knowledge that comes with a number: of those who released it.
    pub released: HashMap<u64, Vec<u32>>,
    /// Number of atomic operations so far.
    pub atomics: u64,
    /// Number of instructions of warps so far.
    pub instructions: u64,
}

/// A fault of a kernel: the thread, what it did, and on which line of the image.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Block and, in it, warp.
    pub warp: (u32, u32),
    /// Line of the image.
    pub line: u32,
    /// The mistake, in words.
    pub what: String,
}

/// A random number of [0, n), by splitmix64.
pub fn random(state: &mut u64, n: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut x = *state;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ x >> 31) % n
}

/// Runs a kernel. Returns the number of instructions of warps. Errors: its first fault.
pub fn launch(kernel: &Kernel, parameters: &[u8], options: Options, device: &mut Device) -> Result<u64, Fault> {
    let Options { blocks, threads, more, together, strict, mut seed, .. } = options;
    let of_block = threads as usize / LANES;
    let fault = |what: String| Fault { warp: (0, 0), line: 0, what };
    if threads == 0 || !threads.is_multiple_of(LANES as u32) || threads > kernel.most {
        return Err(fault(format!("{threads} threads, the kernel takes up to {} in whole warps", kernel.most)));
    }
    if parameters.len() != kernel.parameters || blocks as usize * of_block > check::MOST.0 {
        return Err(fault(format!("{} bytes of parameters, {blocks} blocks", parameters.len())));
    }
    device.launches = (device.launches + 1) & !check::LENIENT | if strict { 0 } else { check::LENIENT };
    let at_once = if together { blocks } else { 1 };
    let mut launch = Launch {
        kernel,
        parameters,
        device,
        options,
        blocks: Vec::new(),
        released: HashMap::new(),
        atomics: 0,
        instructions: 0,
    };
    let bytes = (kernel.shared + more).next_multiple_of(16);
    for number in 0..at_once {
        let view = (together && blocks > 1).then(View::default);
        launch.blocks.push(Block { number, shared: vec![0; bytes], records: vec![[0; 4]; bytes / 4], view });
    }
    let mut order: Vec<u32> = (0..blocks).collect();
    if !together {
        (1..order.len()).rev().for_each(|i| order.swap(i, random(&mut seed, i as u64 + 1) as usize));
    }
    let mut warps: Vec<Warp> = (0..at_once as usize * of_block).map(|_| Warp::default()).collect();
    for numbers in order.chunks(at_once as usize) {
        for (index, number) in numbers.iter().enumerate() {
            let block = &mut launch.blocks[index];
            block.number = *number;
            block.shared.fill(0xff);
            block.records.fill([0; 4]);
        }
        let first = numbers[0] * of_block as u32;
        for (i, warp) in warps.iter_mut().enumerate() {
            (warp.place, warp.first) = (((i % of_block) as u32, i / of_block), first);
            let block = numbers[i / of_block];
            warp.number = block * of_block as u32 + warp.place.0;
            warp.begin(kernel, [block, blocks, threads], at_once as usize * of_block);
        }
        launch.run(&mut warps, of_block, &mut seed)?;
    }
    let Launch { blocks, device, instructions, .. } = launch;
    blocks.into_iter().filter_map(|block| block.view).for_each(|mut view| view.release(None, device));
    Ok(instructions)
}

impl Launch<'_> {
    /// Runs these warps to their end, in random turns.
    fn run(&mut self, warps: &mut [Warp], of_block: usize, seed: &mut u64) -> Result<(), Fault> {
        let mut ready: Vec<usize> = Vec::with_capacity(warps.len());
        loop {
            ready.clear();
            ready.extend((0..warps.len()).filter(|i| match warps[*i].state {
                State::Ready => true,
                State::Polls(since) => since != self.atomics,
                _ => false,
            }));
            if ready.is_empty() {
                if warps.iter().all(|warp| warp.state == State::Ended) {
                    return Ok(());
                }
                return Err(self.stuck(warps));
            }
            let chosen = ready[random(seed, ready.len() as u64) as usize];
            let turn = 1 + random(seed, TURN);
            let warp = &mut warps[chosen];
            warp.state = State::Ready;
            self.turn(warp, turn).map_err(|(what, line)| Fault {
                warp: (self.blocks[warp.place.1].number, warp.place.0),
                line,
                what,
            })?;
            if matches!(warps[chosen].state, State::AtBarrier) {
                let first = chosen / of_block * of_block;
                let block = &mut warps[first..first + of_block];
                if block.iter().all(|warp| warp.state == State::AtBarrier) {
                    meet(block);
                }
            }
        }
    }

    /// The fault of warps that all wait.
    fn stuck(&self, warps: &[Warp]) -> Fault {
        let waits = |wanted: fn(&State) -> bool| warps.iter().filter(|warp| wanted(&warp.state)).count();
        let (barrier, polls) =
            (waits(|state| *state == State::AtBarrier), waits(|state| matches!(state, State::Polls(_))));
        let warp = warps.iter().find(|warp| warp.state != State::Ended).expect("some wait");
        let ended = waits(|state| *state == State::Ended);
        Fault {
            warp: (self.blocks[warp.place.1].number, warp.place.0),
            line: self.kernel.code.get(warp.running.at as usize).map_or(0, |one| one.line),
            what: format!(
                "nothing goes on: {barrier} warps wait at a barrier of their block, {polls} for a number, {ended} have ended"
            ),
        }
    }
}

/// Lets the warps of a block go on after a barrier: each knows what all did before.
fn meet(block: &mut [Warp]) {
    let mut all = block[0].known.clone();
    for warp in block.iter() {
        all.iter_mut().zip(&warp.known).for_each(|(most, known)| *most = (*most).max(*known));
    }
    for warp in block.iter_mut() {
        warp.clock += 1;
        all[(warp.number - warp.first) as usize] = warp.clock;
    }
    for warp in block.iter_mut() {
        warp.known.clone_from(&all);
        warp.running.at += 1;
        warp.state = State::Ready;
    }
}

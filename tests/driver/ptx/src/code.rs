//! Kernels in the form that runs: operands are places of registers, labels places of instructions.
//!
//! A number that is written out lies in a register of its own, and so does what a special register
//! holds: both are filled before a kernel begins.
use crate::Wrong;
use crate::access::{self, Access, Order};
use crate::alu::{self, Run};
use crate::registers::File;
use crate::text::{self, Item, Operand, Statement, Variable};
use std::collections::HashMap;

/// Address of the first parameter.
pub const PARAMETERS: u64 = 1 << 56;
/// Address of a block's first byte of shared memory.
pub const SHARED: u64 = 1 << 24;
/// Address of a thread's first byte of memory of its own.
pub const LOCAL: u64 = 1 << 57;

/// The work of an instruction. `from` are its sources, `to` its result.
#[derive(Clone, Copy)]
pub enum Operation {
    /// Computes.
    Compute(Run),
    /// Goes on at `to`.
    Branch,
    /// Ends the thread.
    Exit,
    /// Ends the kernel with an error.
    Trap,
    /// Waits for all threads of the block.
    BlockSync,
    /// Waits for all lanes of the mask 0.
    WarpSync,
    /// Loads from the address 0 + offset 3 to the registers of list `to`; bytes 2 count.
    Load(Access),
    /// Stores the registers of list `to`, as for a load.
    Store(Access),
    /// Adds 1 to the number at the address 0 + offset 3.
    Add(Order),
    /// Waits for the order of all that was relaxed.
    Fence,
    /// The value 0 of the lane that is 1 further on, up to the last lane that 2 allows, for the
    /// lanes of mask 3; the flag says if there is one.
    ShuffleDown(Option<u32>),
    /// Starts to copy this many bytes to the shared address 0 from the address 1, of which 2 are
    /// read.
    CopyStart(u8),
    /// Closes a group of copies.
    CopiesClose,
    /// Waits for all groups but this many.
    CopiesWait(u32),
    /// Multiplies on tensor cores; all are lists.
    Multiply,
    /// Waits for the end of the launch before this one.
    WaitForLaunch,
    /// Lets the next launch begin.
    LetNextBegin,
    /// The time.
    Clock,
}

/// An instruction.
#[derive(Clone, Copy)]
pub struct Instruction {
    /// Its work.
    pub operation: Operation,
    /// The predicate that must hold, and whether it is negated.
    pub guard: Option<(u32, bool)>,
    /// Its result.
    pub to: u32,
    /// Its sources.
    pub from: [u32; 4],
    /// Line of the image.
    pub line: u32,
}

/// A special register of a warp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// The number of a thread in its block.
    Thread,
    /// The number of threads of a block.
    Threads,
    /// The number of the block.
    Block,
    /// The number of blocks.
    Blocks,
    /// The number of a thread in its warp.
    Lane,
}

/// A kernel that can run.
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// Bytes of parameters.
    pub parameters: usize,
    /// Most threads of a block.
    pub most: u32,
    /// Bytes of shared memory, without what a launch adds.
    pub shared: usize,
    /// Bytes of memory of a thread.
    pub local: usize,
    /// The instructions.
    pub code: Vec<Instruction>,
    /// Lists of registers.
    pub lists: Vec<Vec<u32>>,
    /// Number of registers of 64 and 32 bits, and of predicates.
    pub registers: [usize; 3],
    /// Registers that hold numbers: kind, place, number.
    pub constants: Vec<(File, u32, u64)>,
    /// Registers of 32 bits that hold special ones.
    pub specials: Vec<(u32, Special)>,
}

/// Makes a kernel of its text. `global` has the addresses of the image's memory. Errors: an
/// instruction that is not known, with its line.
pub fn compile(kernel: &text::Kernel, dynamic: &[Variable], global: &HashMap<String, u64>) -> Result<Kernel, Wrong> {
    let mut symbols = global.clone();
    let mut place = |list: &[Variable], base: u64| {
        let mut at = 0;
        for one in list {
            at = usize::next_multiple_of(at, one.align.max(1));
            symbols.insert(one.name.clone(), base + at as u64);
            at += one.bytes;
        }
        at
    };
    let parameters = place(&kernel.parameters, PARAMETERS);
    // Memory that a launch adds begins where a device puts it: at the next multiple of 16.
    let shared = place(&kernel.shared, SHARED).next_multiple_of(16);
    place(dynamic, SHARED + shared as u64);
    let local = place(&kernel.local, LOCAL);
    let mut compiler = Compiler {
        kinds: &kernel.registers,
        symbols,
        slots: HashMap::new(),
        numbers: HashMap::new(),
        made: Kernel {
            name: kernel.name.to_owned(),
            parameters,
            most: kernel.most,
            shared,
            local,
            code: Vec::new(),
            lists: Vec::new(),
            registers: [0; 3],
            constants: Vec::new(),
            specials: Vec::new(),
        },
    };
    let (mut labels, mut branches) = (HashMap::new(), Vec::new());
    for item in &kernel.body {
        let next = compiler.made.code.len() as u32;
        match item {
            Item::Label(name) => drop(labels.insert(*name, next)),
            Item::Statement(statement) => {
                if statement.opcode.starts_with("bra") {
                    branches.push((next as usize, statement));
                }
                compiler.add(statement)?;
            }
        }
    }
    for (at, statement) in branches {
        let Some(Operand::Word(label)) = statement.operands.first() else {
            return Err(Wrong::at(statement.line, "no label".into()));
        };
        let target = labels.get(label).ok_or_else(|| Wrong::at(statement.line, format!("no label {label}")))?;
        compiler.made.code[at].to = *target;
    }
    Ok(compiler.made)
}

struct Compiler<'a> {
    kinds: &'a HashMap<&'a str, &'a str>,
    symbols: HashMap<String, u64>,
    slots: HashMap<&'a str, u32>,
    numbers: HashMap<(File, u64), u32>,
    made: Kernel,
}

impl<'a> Compiler<'a> {
    fn new_slot(&mut self, file: File) -> u32 {
        let count = &mut self.made.registers[file as usize];
        *count += 1;
        *count as u32 - 1
    }

    /// The kind of a register; `None` if the name is no register.
    fn file(&self, name: &str) -> Option<File> {
        Some(match *self.kinds.get(text::family(name)).or_else(|| self.kinds.get(name))? {
            ".pred" => File::Flag,
            ".b16" | ".u16" | ".s16" | ".b32" | ".u32" | ".s32" | ".f32" => File::Word,
            ".b64" | ".u64" | ".s64" | ".f64" => File::Double,
            _ => return None,
        })
    }

    /// The place of a register.
    fn register(&mut self, name: &'a str, file: File) -> Result<u32, String> {
        match self.file(name) {
            Some(found) if found == file => {}
            Some(_) => return Err(format!("{name} is of another size")),
            None => return Err(format!("no register {name}")),
        }
        if let Some(slot) = self.slots.get(name) {
            return Ok(*slot);
        }
        let slot = self.new_slot(file);
        self.slots.insert(name, slot);
        Ok(slot)
    }

    /// The register that holds a number.
    fn number(&mut self, file: File, bits: u64) -> u32 {
        if let Some(slot) = self.numbers.get(&(file, bits)) {
            return *slot;
        }
        let slot = self.new_slot(file);
        self.numbers.insert((file, bits), slot);
        self.made.constants.push((file, slot, bits));
        slot
    }

    /// The place of a source: a register, a special one, a number or an address.
    fn source(&mut self, name: &'a str, file: File) -> Result<u32, String> {
        let special = match name {
            "%tid.x" => Some(Special::Thread),
            "%ntid.x" => Some(Special::Threads),
            "%ctaid.x" => Some(Special::Block),
            "%nctaid.x" => Some(Special::Blocks),
            "%laneid" => Some(Special::Lane),
            _ => None,
        };
        if let Some(special) = special {
            if let Some((slot, _)) = self.made.specials.iter().find(|(_, other)| *other == special) {
                return Ok(*slot);
            }
            let slot = self.new_slot(File::Word);
            self.made.specials.push((slot, special));
            return Ok(slot);
        }
        if name.starts_with('%') {
            return self.register(name, file);
        }
        let bits = match self.symbols.get(name) {
            Some(address) => *address,
            None => number(name).ok_or_else(|| format!("no number {name}"))?,
        };
        Ok(self.number(file, if file == File::Double { bits } else { bits & 0xffff_ffff }))
    }

    fn list(&mut self, names: &[&'a str], file: File) -> Result<u32, String> {
        let list = names.iter().map(|name| self.source(name, file)).collect::<Result<_, _>>()?;
        self.made.lists.push(list);
        Ok(self.made.lists.len() as u32 - 1)
    }

    /// The place of an address, its kind, and the offset.
    fn address(&mut self, operand: &Operand<'a>) -> Result<(u32, File, u32), String> {
        let Operand::Address(base, offset) = operand else { return Err("no address".into()) };
        let file = self.file(base).unwrap_or(File::Double);
        let offset = i32::try_from(*offset).map_err(|_| "too far")?;
        Ok((self.source(base, file)?, file, offset as u32))
    }

    fn add(&mut self, statement: &Statement<'a>) -> Result<(), Wrong> {
        let wrong = |what: String| Wrong::at(statement.line, format!("{}: {what}", statement.opcode));
        let guard = match statement.guard {
            Some((name, negated)) => Some((self.register(name, File::Flag).map_err(wrong)?, negated)),
            None => None,
        };
        for (operation, to, from) in self.operations(statement).map_err(wrong)? {
            self.made.code.push(Instruction { operation, guard, to, from, line: statement.line });
        }
        Ok(())
    }

    /// The instructions of a statement, nearly always one.
    fn operations(&mut self, statement: &Statement<'a>) -> Result<Vec<(Operation, u32, [u32; 4])>, String> {
        let operands = &statement.operands[..];
        let one = |operation, to, from| Ok(vec![(operation, to, from)]);
        let word = |at: usize| match operands.get(at) {
            Some(Operand::Word(word)) => Ok(*word),
            _ => Err(format!("operand {} is missing", at + 1)),
        };
        let vector = |at: usize| match operands.get(at) {
            Some(Operand::Vector(list)) => Ok(&list[..]),
            _ => Err(format!("operand {} is no list", at + 1)),
        };
        let parts: Vec<&str> = statement.opcode.split('.').collect();
        match statement.opcode {
            "bra" | "bra.uni" => return one(Operation::Branch, 0, [0; 4]),
            "ret" | "exit" => return one(Operation::Exit, 0, [0; 4]),
            "trap" => return one(Operation::Trap, 0, [0; 4]),
            "bar.sync" | "barrier.sync.aligned" if word(0)? == "0" && operands.len() == 1 => {
                return one(Operation::BlockSync, 0, [0; 4]);
            }
            "bar.warp.sync" => {
                let mask = self.source(word(0)?, File::Word)?;
                return one(Operation::WarpSync, 0, [mask, 0, 0, 0]);
            }
            "fence.acq_rel.gpu" => return one(Operation::Fence, 0, [0; 4]),
            "red.release.gpu.global.add.u32" | "red.relaxed.gpu.global.add.u32" => {
                let (address, file, offset) = self.address(&operands[0])?;
                if file != File::Double || word(1)? != "1" {
                    return Err("only 1 is added, at an address of 64 bits".into());
                }
                let order = if parts[1] == "release" { Order::Release } else { Order::Relaxed };
                return one(Operation::Add(order), 0, [address, 0, 0, offset]);
            }
            "shfl.sync.down.b32" => {
                let (to, flag) = word(0)?.split_once('|').map_or((word(0)?, None), |(to, flag)| (to, Some(flag)));
                let to = self.register(to, File::Word)?;
                let flag = flag.map(|flag| self.register(flag, File::Flag)).transpose()?;
                let mut from = [0; 4];
                for (at, slot) in from.iter_mut().enumerate() {
                    *slot = self.source(word(at + 1)?, File::Word)?;
                }
                return one(Operation::ShuffleDown(flag), to, from);
            }
            "cp.async.ca.shared.global" | "cp.async.cg.shared.global" => {
                let (to, to_file, to_offset) = self.address(&operands[0])?;
                let (from, from_file, offset) = self.address(&operands[1])?;
                if to_file != File::Word || from_file != File::Double || (to_offset, offset) != (0, 0) {
                    return Err("addresses are of 32 and of 64 bits, without offsets".into());
                }
                let bytes: u8 = word(2)?.parse().map_err(|_| "no size")?;
                if !(if parts[2] == "cg" { bytes == 16 } else { [4, 8, 16].contains(&bytes) }) {
                    return Err(format!("{bytes} bytes"));
                }
                let read = self.source(word(3).unwrap_or(word(2)?), File::Word)?;
                return one(Operation::CopyStart(bytes), 0, [to, from, read, 0]);
            }
            "cp.async.commit_group" => return one(Operation::CopiesClose, 0, [0; 4]),
            "cp.async.wait_group" => {
                return one(Operation::CopiesWait(word(0)?.parse().map_err(|_| "no number")?), 0, [0; 4]);
            }
            "cp.async.wait_all" => return one(Operation::CopiesWait(0), 0, [0; 4]),
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32" => {
                let mut lists = [0; 4];
                for (at, (list, many)) in lists.iter_mut().zip([4, 4, 2, 4]).enumerate() {
                    let names = vector(at)?;
                    if names.len() != many {
                        return Err(format!("list {} has {} registers", at + 1, names.len()));
                    }
                    *list = self.list(names, File::Word)?;
                }
                return one(Operation::Multiply, lists[0], [lists[1], lists[2], lists[3], 0]);
            }
            "griddepcontrol.wait" => return one(Operation::WaitForLaunch, 0, [0; 4]),
            "griddepcontrol.launch_dependents" => return one(Operation::LetNextBegin, 0, [0; 4]),
            _ => {}
        }
        match (parts[0], operands) {
            ("ld" | "st", [first, second]) => {
                let (place, values) = if parts[0] == "ld" { (second, first) } else { (first, second) };
                let (address, file, offset) = self.address(place)?;
                let mut access = access::find(&parts[1..], file).ok_or("unknown instruction")?;
                let names = match values {
                    Operand::Vector(names) => &names[..],
                    Operand::Word(name) => std::slice::from_ref(name),
                    Operand::Address(..) => return Err("no register".into()),
                };
                if names.len() != usize::from(access.count) {
                    return Err(format!("{} registers", names.len()));
                }
                if names.iter().all(|name| self.file(name) == Some(File::Double)) {
                    access.file = File::Double;
                }
                let list = self.list(names, access.file)?;
                let operation = if parts[0] == "ld" { Operation::Load(access) } else { Operation::Store(access) };
                one(operation, list, [address, 0, statement.used, offset])
            }
            ("mov", [Operand::Word(to), Operand::Vector(list)]) if statement.opcode == "mov.b64" && list.len() == 2 => {
                let to = self.register(to, File::Double)?;
                let from = [self.source(list[0], File::Word)?, self.source(list[1], File::Word)?];
                one(Operation::Compute(computes("pack.b64")), to, [from[0], from[1], 0, 0])
            }
            ("mov", [Operand::Vector(list), Operand::Word(from)])
                if statement.opcode == "mov.b64" && list.len() == 2 =>
            {
                let from = [self.register(from, File::Double)?, 0, 0, 0];
                let mut made = Vec::new();
                for (name, half) in list.iter().zip(["low.b64", "high.b64"]) {
                    made.push((Operation::Compute(computes(half)), self.register(name, File::Word)?, from));
                }
                Ok(made)
            }
            ("mov", [Operand::Word(to), Operand::Word("%globaltimer" | "%clock64")]) => {
                let to = self.register(to, File::Double)?;
                one(Operation::Clock, to, [0; 4])
            }
            _ => {
                let found = alu::find(statement.opcode).ok_or("unknown instruction")?;
                if operands.len() != found.from.len() + 1 {
                    return Err(format!("{} operands", operands.len()));
                }
                let to = self.register(word(0)?, found.to)?;
                let mut from = [0; 4];
                for (at, file) in found.from.iter().enumerate() {
                    from[at] = self.source(word(at + 1)?, *file)?;
                }
                one(Operation::Compute(found.run), to, from)
            }
        }
    }
}

fn computes(name: &str) -> Run {
    alu::find(name).expect("it is there").run
}

/// A number as it is written: decimal, hexadecimal, or the bits of a floating-point one.
fn number(text: &str) -> Option<u64> {
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
    if let Some(bits) = text.strip_prefix("0f").or(text.strip_prefix("0d")).or(text.strip_prefix("0x")) {
        return hexadecimal(bits);
    }
    text.parse::<u64>().ok().or_else(|| text.parse::<i64>().ok().map(|x| x as u64))
}

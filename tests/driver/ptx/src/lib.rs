//! An interpreter of the PTX that `build.rs` makes of the kernels: the images that the program
//! ships run on this machine, as strictly as a device may be. Behind the driver of the tests
//! (`tests/driver/driver.cpp`) it takes the place of the kernels compiled for the host.
//!
//! ```text
//! text.rs      the image, taken apart
//! code.rs      kernels in the form that runs; access.rs their loads and stores
//! alu.rs       what instructions compute; fast.rs the hottest of it
//! registers.rs the registers of a warp
//! warp.rs      lanes that go different ways and meet again
//! launch.rs    blocks, turns, barriers
//! step.rs      the instructions, one after another
//! memory.rs    loads, stores and copies, with their checks
//! check.rs     races
//! device.rs    the device's memory, and what a block sees of it
//! driver.rs    the functions that the driver calls
//! ```
mod access;
mod alu;
mod check;
mod code;
mod device;
mod driver;
mod fast;
mod launch;
mod memory;
mod registers;
mod step;
mod text;
mod warp;

pub use code::Kernel;
pub use device::Device;
pub use launch::{Fault, Options, launch};

use std::collections::HashMap;
use std::fmt;

/// A mistake in the text of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Wrong {
    line: u32,
    what: String,
}

impl Wrong {
    fn at(line: u32, what: String) -> Self {
        Wrong { line, what }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Bytes that a block reads at once.
const LINE: usize = device::LINE as usize;

/// A line of an image's memory.
#[repr(C, align(128))]
#[derive(Clone)]
struct Line([u8; LINE]);

/// An image whose kernels can run.
pub struct Image {
    /// Its text.
    text: String,
    /// Its memory, at addresses that do not change.
    memory: Vec<Box<[Line]>>,
    kernels: HashMap<String, Kernel>,
}

impl Image {
    /// Reads an image; `device` gets its memory. Errors: an instruction that is not known, with its
    /// line.
    pub fn new(text: &str, device: &mut Device) -> Result<Self, Wrong> {
        let parsed = text::read(text)?;
        let (mut memory, mut addresses) = (Vec::new(), HashMap::new());
        for variable in &parsed.global {
            let mut lines = vec![Line([0; LINE]); variable.bytes.div_ceil(LINE)].into_boxed_slice();
            for (at, byte) in variable.contents.iter().enumerate() {
                lines[at / LINE].0[at % LINE] = *byte;
            }
            let address = lines.as_mut_ptr() as u64;
            device.add(address, variable.bytes as u64, !variable.contents.is_empty());
            addresses.insert(variable.name.clone(), address);
            memory.push(lines);
        }
        let mut kernels = HashMap::new();
        for kernel in &parsed.kernels {
            kernels.insert(kernel.name.to_owned(), code::compile(kernel, &parsed.dynamic, &addresses)?);
        }
        Ok(Image { text: text.to_owned(), memory, kernels })
    }

    /// The kernel of a name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.get(name)
    }

    /// Takes the image's memory from the device.
    pub fn unload(&self, device: &mut Device) {
        self.memory.iter().for_each(|lines| device.remove(lines.as_ptr() as u64));
    }

    /// A fault of a kernel in one line.
    pub fn describe(&self, kernel: &Kernel, fault: &Fault) -> String {
        let line = self.text.lines().nth((fault.line as usize).saturating_sub(1)).unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let (block, warp) = fault.warp;
        format!(
            "{}, block {block}, warp {warp}: {} (line {}: {})",
            kernel.name,
            fault.what,
            fault.line,
            words.join(" ")
        )
    }
}

//! Backends run plans. A backend allocates arenas, moves bytes in and out, and runs calls; it knows
//! no operation by name.
pub mod cpu;
pub mod cuda;
pub mod persistent;
#[cfg(all(feature = "simt", unix))]
pub mod simt;

use crate::plan::arena::{Arena, Mat};
use crate::plan::contents::Contents;
use crate::plan::{Call, Field, Plan, Precision};
use crate::{Error, Result};
use bytemuck::Pod;
use clap::ValueEnum;
use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// An allocation of a backend.
pub struct Buffer {
    /// Address of the first byte, on the backend's device.
    address: usize,
    /// Length in bytes.
    bytes: usize,
    /// The owner of the memory, which frees it when dropped.
    _owner: Box<dyn Any + Send>,
}

impl Buffer {
    /// Address of the bytes `at .. at + len`.
    ///
    /// # Panics
    /// When they are not inside.
    fn range(&self, at: usize, len: usize) -> usize {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.bytes), "{len} bytes at {at} of {}", self.bytes);
        self.address + at
    }
}

/// A place where plans run. Adding an operation changes no backend.
pub trait Backend: Send + Sync {
    /// A description for people, such as `cpu (2 threads)`.
    fn describe(&self) -> String;
    /// The precision in which it computes matrix products.
    fn precision(&self) -> Precision {
        Precision::Fp32
    }
    /// Threads of this machine that may work for it.
    fn threads(&self) -> usize {
        std::thread::available_parallelism().map_or(1, |n| n.get())
    }
    /// Zeroed memory.
    fn alloc(&self, bytes: usize) -> Result<Buffer>;
    /// Copies bytes in, from byte `at` on.
    fn write(&self, to: &mut Buffer, at: usize, from: &[u8]) -> Result<()>;
    /// Copies bytes out, from byte `at` on.
    fn read(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<()>;
    /// Runs calls over an arena, in order.
    ///
    /// # Safety
    /// The arena is of this backend, and [`Plan::check`] has compared the calls with its layout.
    #[allow(unsafe_code)]
    unsafe fn run(&self, calls: &[Call], arena: &mut Buffer) -> Result<()>;
    /// Runs a plan `times` times over an arena. A backend may prepare once what it will be asked
    /// for again (see [`Plan::id`]).
    ///
    /// # Safety
    /// As for [`Backend::run`].
    #[allow(unsafe_code)]
    unsafe fn repeat(&self, plan: &Plan, times: usize, arena: &mut Buffer) -> Result<()> {
        // SAFETY: the caller's.
        (0..times).try_for_each(|_| unsafe { self.run(plan.calls(), arena) })
    }
    /// True if a plan is a single launch however often it repeats. Callers may then ask for many
    /// repetitions at once.
    fn is_one_launch(&self) -> bool {
        false
    }
    /// Seconds that the device takes for `work`, by the device's own clock where it has one.
    fn seconds(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        let start = Instant::now();
        work()?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// An arena that has been allocated: typed access to its tensors, and plans run over it.
pub struct Memory<'b> {
    backend: &'b dyn Backend,
    /// A number that no other memory has.
    id: u64,
    layout: Arena,
    buffer: Buffer,
}

impl<'b> Memory<'b> {
    /// Allocates an arena. Errors: not enough memory.
    pub fn new(backend: &'b dyn Backend, layout: Arena) -> Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let buffer = backend.alloc(layout.bytes())?;
        Ok(Memory { backend, id: MADE.fetch_add(1, Ordering::Relaxed) + 1, layout, buffer })
    }

    /// Size of the arena in bytes.
    pub fn bytes(&self) -> u64 {
        self.layout.bytes() as u64
    }

    /// The backend it lives on.
    pub fn backend(&self) -> &'b dyn Backend {
        self.backend
    }

    /// Overwrites a tensor.
    ///
    /// # Panics
    /// When `values` has another length.
    pub fn write<E: Pod>(&mut self, mat: Mat<E>, values: &[E]) -> Result<()> {
        assert_eq!(values.len(), mat.len(), "elements of a tensor");
        self.backend.write(&mut self.buffer, mat.offset(), bytemuck::cast_slice(values))
    }

    /// Overwrites the tensors that have values here.
    pub fn fill(&mut self, contents: &Contents) -> Result<()> {
        contents.bytes().try_for_each(|(place, bytes)| self.write_bytes(place, bytes))
    }

    /// Copies a tensor out.
    pub fn read<E: Pod>(&self, mat: Mat<E>) -> Result<Vec<E>> {
        let mut values = vec![E::zeroed(); mat.len()];
        self.backend.read(&self.buffer, mat.offset(), bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// Copies bytes of a tensor out.
    pub(crate) fn read_bytes(&self, bytes: &Range<usize>) -> Result<Vec<u8>> {
        let mut values = vec![0; bytes.len()];
        self.backend.read(&self.buffer, bytes.start, &mut values)?;
        Ok(values)
    }

    /// Overwrites bytes of a tensor.
    pub(crate) fn write_bytes(&mut self, at: usize, values: &[u8]) -> Result<()> {
        self.backend.write(&mut self.buffer, at, values)
    }

    /// Runs a plan; the first time, checks it against the arena's layout.
    ///
    /// # Panics
    /// When the plan was made for another layout (see [`Plan::check`]).
    pub fn run(&mut self, plan: &Plan) -> Result<()> {
        plan.check_once(self.id, &self.layout);
        self.run_checked(plan.calls())
    }

    /// Runs a plan `times` times, as a rollout runs its steps. The device may still be at work when
    /// this returns; a later read waits for it.
    ///
    /// # Panics
    /// As [`Memory::run`].
    #[allow(unsafe_code)]
    pub fn repeat(&mut self, plan: &Plan, times: usize) -> Result<()> {
        plan.check_once(self.id, &self.layout);
        // SAFETY: the buffer is this backend's and has this layout, which the calls have been
        // checked against.
        unsafe { self.backend.repeat(plan, times, &mut self.buffer) }
    }

    #[allow(unsafe_code)]
    fn run_checked(&mut self, calls: &[Call]) -> Result<()> {
        // SAFETY: the buffer is this backend's and has this layout, which both callers have checked
        // the calls against.
        unsafe { self.backend.run(calls, &mut self.buffer) }
    }

    /// Runs a plan call by call. Returns the first call that writes a value that is not finite, and
    /// the tensor that holds this value.
    pub fn first_nonfinite<'p>(&mut self, plan: &'p Plan) -> Result<Option<(&'p Call, &'p Field)>> {
        plan.check_once(self.id, &self.layout);
        for call in plan.calls() {
            self.run_checked(std::slice::from_ref(call))?;
            for field in call.written() {
                let mut words = vec![0u64; field.bytes.len().div_ceil(8)];
                let bytes = &mut bytemuck::cast_slice_mut(&mut words)[..field.bytes.len()];
                self.backend.read(&self.buffer, field.bytes.start, bytes)?;
                let finite = match field.element {
                    4 => bytemuck::cast_slice::<u8, f32>(bytes).iter().all(|x| x.is_finite()),
                    8 => bytemuck::cast_slice::<u8, f64>(bytes).iter().all(|x| x.is_finite()),
                    _ => true,
                };
                if !finite {
                    return Ok(Some((call, field)));
                }
            }
        }
        Ok(None)
    }
}

/// The device to compute on, as `--device` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The CPU. Before it opens a device, the program replaces this by a GPU that passes its test,
    /// if there is one.
    Auto,
    /// This machine's processor.
    Cpu,
    /// The kernels on this machine's processor, thread by thread.
    Simt,
    /// The NVIDIA device of this number.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, &'static str> {
        match text {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "simt" => Ok(Device::Simt),
            "cuda" => Ok(Device::Cuda(0)),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(number)) => Ok(Device::Cuda(number)),
                _ => Err("expected auto, cpu, simt, cuda or cuda:N"),
            },
        }
    }
}

/// The devices to compute on: one, or several that share out the runs of a work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Devices {
    /// These.
    These(Vec<Device>),
    /// All NVIDIA devices.
    AllCuda,
}

impl From<Device> for Devices {
    fn from(device: Device) -> Self {
        Devices::These(vec![device])
    }
}

impl FromStr for Devices {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, &'static str> {
        match text {
            "cuda:all" => Ok(Devices::AllCuda),
            _ => text.split(',').map(str::parse).collect::<std::result::Result<_, _>>().map(Devices::These),
        }
    }
}

/// The way in which a CUDA device gets its calls, as `--engine` says. With every engine a repeated
/// run gives the same bits. The bits of `calls`, `graph` and `pdl` are the same. `persistent` runs
/// all kernels with 256 threads a block, whatever their own number, and so sums losses and norms in
/// another order. Its results differ from the others' by rounding, and are the same on any number
/// of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Engine {
    /// The fastest engine where it has been measured: graph on CUDA
    #[default]
    Auto,
    /// One launch a call
    Calls,
    /// A rollout as a CUDA graph whose calls wait for what they need, replayed
    Graph,
    /// A graph of launches one after another, each of which starts early (compute capability 9.0
    /// and up)
    Pdl,
    /// An epoch as one launch, or a few, whose blocks wait for one another; --device simt has it,
    /// too
    Persistent,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("none is hidden").get_name())
    }
}

/// Number of blocks of the host's single launch: few, as each takes 4 MB of stacks.
#[cfg(all(feature = "simt", unix))]
const SIMT_BLOCKS: u32 = 8;

/// Opens a device, the CPU with `threads` threads, for one of `runs` runs that share it.
/// `precision` is that of matrix products; the default is the fastest that is nearly single
/// precision. Errors: the device cannot be had ([`Error::Device`]), or not in this precision
/// ([`Error::Usage`]). It never opens another device or precision than the one asked for.
pub fn open(
    device: Device,
    precision: Option<Precision>,
    engine: Engine,
    threads: usize,
    runs: usize,
) -> Result<Box<dyn Backend>> {
    let has_engine = match device {
        Device::Cuda(_) => true,
        Device::Simt => matches!(engine, Engine::Auto | Engine::Persistent),
        Device::Auto | Device::Cpu => engine == Engine::Auto,
    };
    if !has_engine {
        return Err(Error::Usage(format!("--engine {engine} is for --device cuda; leave it out, or say auto")));
    }
    let kernels = precision.unwrap_or(Precision::Bf16x3);
    match device {
        Device::Auto | Device::Cpu => match precision {
            None | Some(Precision::Fp32) => Ok(Box::new(cpu::Cpu::new(threads))),
            Some(other) => Err(Error::Usage(format!(
                "--precision is {other}, expected fp32: the cpu computes in nothing else; --device cuda has {other}"
            ))),
        },
        #[cfg(all(feature = "simt", unix))]
        Device::Simt => {
            let simt = simt::Simt::new(1).at(kernels);
            Ok(Box::new(if engine == Engine::Persistent { simt.persistent(SIMT_BLOCKS) } else { simt }))
        }
        #[cfg(not(all(feature = "simt", unix)))]
        Device::Simt => Err(Error::Device(
            "simt: this build cannot run kernels on the host; install a C++ compiler and build with --features simt"
                .into(),
        )),
        Device::Cuda(number) => Ok(Box::new(cuda::Cuda::new(number, kernels, engine)?.one_of(runs))),
    }
}

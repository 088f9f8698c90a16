//! The CUDA backend: runs the kernels on an NVIDIA GPU through the driver, which is loaded at run
//! time. Building needs neither GPU nor driver.
//!
//! All work goes through one stream, in order; only reads and writes wait for the device. Engines
//! differ in how a plan that repeats is launched: a launch for each call, a graph that is made once
//! and replayed (`graph.rs`), or one launch of a kernel that runs all calls (`launcher.rs`). A
//! kernel's error shows at the next copy. `MVAE_SYNC=1` launches call by call, waits after each and
//! names the one that failed.
#![allow(unsafe_code)]
mod error;
mod graph;
mod images;
mod launcher;
mod open;
mod timeline;

use crate::backend::{Backend, Buffer, Engine};
use crate::host::say::say;
use crate::plan::{Call, Plan, Precision};
use crate::{Error, Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use graph::Graph;
use launcher::Launcher;
use open::{Device, Event, Module, Opened, Stream};

pub use images::CUDA;
pub use open::{BUILT, Loaded, devices, driver_found};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

/// A device with the kernels loaded.
pub struct Cuda {
    number: usize,
    name: String,
    capability: (i32, i32),
    functions: Mutex<HashMap<Cow<'static, str>, sys::CUfunction>>,
    /// Precision of matrix products.
    precision: Precision,
    engine: Engine,
    graphs: Mutex<Vec<Graph>>,
    /// The launcher of engine persistent; `None` for others.
    launcher: Option<Mutex<Launcher>>,
    /// True if the backend waits after every call.
    sync: bool,
    module: Module,
    stream: Stream,
    /// The device. It is the last field, as it outlives the others.
    device: Arc<Device>,
}

// SAFETY: handles of the driver may be used from any thread that has made the context current.
unsafe impl Send for Cuda {}
unsafe impl Sync for Cuda {}

/// Device memory that frees itself.
struct Block {
    address: sys::CUdeviceptr,
    device: Arc<Device>,
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.device.make_current().is_ok() {
            // SAFETY: allocated in `alloc`; a device that was lost has nothing to free.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

impl Cuda {
    /// The device of this number, which computes matrix products in this precision. Errors
    /// ([`Error::Device`]): built without nvcc, no driver, no such device, a device that is too
    /// old, a driver that is older than the compiler of the kernels, an engine that the device does
    /// not have.
    pub fn new(number: usize, precision: Precision, engine: Engine) -> Result<Self> {
        let engine = if engine == Engine::Auto { Engine::Graph } else { engine };
        let Opened { device, name, capability, module, stream } = open::open(number, engine)?;
        let sync = std::env::var_os("MVAE_SYNC").is_some_and(|value| value == "1");
        let (device, functions, graphs) = (Arc::new(device), Mutex::default(), Mutex::default());
        let launcher = None;
        let mut cuda = Cuda {
            number,
            name,
            capability,
            functions,
            precision,
            engine,
            graphs,
            launcher,
            sync,
            module,
            stream,
            device,
        };
        if engine == Engine::Persistent {
            cuda.launcher = Some(Mutex::new(cuda.launcher()?));
        }
        Ok(cuda)
    }

    /// This device as one of `runs` runs that share it, each with a stream of its own. With engine
    /// persistent a run gets a share of the multiprocessors, so that the launches of all runs fit
    /// at the same time.
    pub(crate) fn one_of(mut self, runs: usize) -> Self {
        if let Some(launcher) = &mut self.launcher {
            launcher.get_mut().unwrap_or_else(PoisonError::into_inner).share(runs);
        }
        self
    }

    /// The images that were loaded, and the time that each took.
    pub fn loaded(&self) -> Vec<Loaded> {
        let launcher = self.launcher.as_ref().map(|launcher| launcher.lock().unwrap_or_else(PoisonError::into_inner));
        let launcher = launcher.map(|launcher| launcher.module().loaded.clone());
        [self.module.loaded.clone()].into_iter().chain(launcher).collect()
    }

    /// The device's name and compute capability.
    pub fn device(&self) -> (&str, (i32, i32)) {
        (&self.name, self.capability)
    }

    fn fault(&self, what: &str, error: DriverError) -> Error {
        error::fault(self.number, what, error)
    }

    fn current(&self) -> Result<()> {
        self.device.make_current().map_err(|e| self.fault("no context", e))
    }

    /// The kernel of this name.
    fn function(&self, name: Cow<'static, str>) -> Result<sys::CUfunction> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(&name) {
            return Ok(*function);
        }
        let function = self.function_of(&self.module, &name)?;
        functions.insert(name, function);
        Ok(function)
    }

    /// The kernel of this name in a module.
    fn function_of(&self, module: &Module, name: &str) -> Result<sys::CUfunction> {
        let symbol = CString::new(format!("{name}_kernel")).expect("names have no zeros");
        // SAFETY: the module is loaded.
        let function = unsafe { result::module::get_function(module.handle, symbol) };
        function.map_err(|e| self.fault(&format!("no kernel {name}"), e))
    }

    fn launch(&self, call: &Call, arena: usize) -> Result<()> {
        let (name, grid) = call.variant(self.precision);
        let function = self.function(name)?;
        let mut args = call.args_at(arena);
        let parameters = &mut [args.as_mut_ptr().cast::<c_void>()];
        // SAFETY: the kernel takes one struct of this layout, checked by
        // `tests/engines/kernels.rs`; its pointers are inside the arena (`Plan::check`), and the
        // stream runs calls in order.
        let launched = unsafe {
            if self.engine == Engine::Pdl {
                graph::launch_early(function, grid, self.stream.0, parameters)
            } else {
                let (blocks, threads) = ((grid.blocks, 1, 1), (grid.threads, 1, 1));
                result::launch_kernel(function, blocks, threads, 0, self.stream.0, parameters)
            }
        };
        launched.map_err(|e| self.fault(&format!("launching {}", call.kernel()), e))?;
        if self.sync { self.wait(call.kernel()) } else { Ok(()) }
    }

    /// Zeroed memory.
    fn block(&self, bytes: usize) -> Result<Block> {
        let what = format!("allocating {} MB", bytes.div_ceil(1_000_000));
        let fault = |e| self.fault(&what, e);
        // SAFETY: all of it is written before anybody reads.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(fault)?;
        let block = Block { address, device: self.device.clone() };
        // SAFETY: inside the allocation.
        unsafe { result::memset_d8_async(address, 0, bytes.max(1), self.stream.0) }.map_err(fault)?;
        self.wait(&what)?;
        Ok(block)
    }

    /// Waits for all work on the stream. Errors: what went wrong since the last wait.
    fn wait(&self, what: &str) -> Result<()> {
        // SAFETY: the stream lives as long as this.
        unsafe { result::stream::synchronize(self.stream.0) }.map_err(|e| self.fault(what, e))
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.device.make_current().is_ok() {
            // SAFETY: the stream lives. All else goes after this, when nothing runs any more.
            let _ = unsafe { result::stream::synchronize(self.stream.0) };
            let launcher =
                self.launcher.as_ref().map(|launcher| launcher.lock().unwrap_or_else(PoisonError::into_inner));
            if let Some((launcher, file)) =
                launcher.as_ref().and_then(|launcher| Some((launcher, launcher.timeline()?)))
                && let Err(error) = self.write_timeline(launcher.module(), launcher.latest(), file)
            {
                say(&error.to_string());
            }
        }
    }
}

impl Backend for Cuda {
    fn describe(&self) -> String {
        format!("cuda:{} ({}, {}, engine {})", self.number, self.name, self.precision, self.engine)
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        self.current()?;
        let block = self.block(bytes)?;
        Ok(Buffer { address: block.address as usize, bytes, _owner: Box::new(block) })
    }

    fn write(&self, to: &mut Buffer, at: usize, from: &[u8]) -> Result<()> {
        let start = to.range(at, from.len());
        self.current()?;
        // SAFETY: inside the allocation; the copy is over before `from` may change.
        unsafe { result::memcpy_htod_async(start as u64, from, self.stream.0) }
            .map_err(|e| self.fault("copying in", e))?;
        self.wait("copying in")
    }

    fn read(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<()> {
        let start = from.range(at, to.len());
        self.current()?;
        // SAFETY: inside the allocation; the copy is over before `to` is looked at.
        unsafe { result::memcpy_dtoh_async(to, start as u64, self.stream.0) }
            .map_err(|e| self.fault("copying out", e))?;
        self.wait("copying out")
    }

    unsafe fn run(&self, calls: &[Call], arena: &mut Buffer) -> Result<()> {
        self.current()?;
        calls.iter().try_for_each(|call| self.launch(call, arena.address))
    }

    unsafe fn repeat(&self, plan: &Plan, times: usize, arena: &mut Buffer) -> Result<()> {
        self.current()?;
        if self.engine == Engine::Calls || self.sync {
            return (0..times).flat_map(|_| plan.calls()).try_for_each(|call| self.launch(call, arena.address));
        }
        if let Some(launcher) = &self.launcher {
            let mut launcher = launcher.lock().unwrap_or_else(PoisonError::into_inner);
            return self.launch_plan(&mut launcher, plan, times, arena.address);
        }
        let mut graphs = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        self.replay(&mut graphs, plan, times, arena.address)
    }

    fn is_one_launch(&self) -> bool {
        self.launcher.is_some() && !self.sync
    }

    fn seconds(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        self.current()?;
        let fault = |e| self.fault("timing", e);
        let [start, end] = [Event::new().map_err(fault)?, Event::new().map_err(fault)?];
        start.record(self.stream.0).map_err(fault)?;
        work()?;
        end.record(self.stream.0).map_err(fault)?;
        self.wait("timing")?;
        start.seconds_until(&end).map_err(fault)
    }
}

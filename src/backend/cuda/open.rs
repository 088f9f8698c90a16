//! Opens a device and loads the kernels onto it. Each way in which that fails gives one line, and
//! leaves nothing behind.
use super::Engine;
use super::error;
use super::images::{self, CUDA, IMAGES};
use crate::host::say::say;
use crate::{Error, Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUjit_option};
use serde::Serialize;
use std::ffi::c_void;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// True if this build has kernels, as nvcc was found.
pub const BUILT: bool = !IMAGES.is_empty();
/// Lowest compute capability that build.rs compiles for.
const LOWEST: (i32, i32) = (8, 0);
/// Time of loading after which a message says what the wait is for.
const SILENCE: Duration = Duration::from_secs(1);

/// A device's primary context, which outlives all that was made in it.
pub struct Device {
    device: sys::CUdevice,
    context: sys::CUcontext,
}

// SAFETY: handles of the driver may be used from any thread that has made the context current.
unsafe impl Send for Device {}
unsafe impl Sync for Device {}

impl Device {
    /// An attribute of the device, as the driver reports it.
    pub(crate) fn attribute(&self, what: Attribute) -> std::result::Result<i32, DriverError> {
        // SAFETY: the device exists.
        unsafe { result::device::get_attribute(self.device, what) }
    }

    /// Makes its context the current one of this thread.
    pub(crate) fn make_current(&self) -> std::result::Result<(), DriverError> {
        // SAFETY: the context is retained for as long as this lives.
        unsafe { result::ctx::set_current(self.context) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained once, in `open`. A device that was lost has nothing to release.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// A point in a stream's work, with the device's time.
pub struct Event(sys::CUevent);

impl Event {
    /// An event that is not in a stream yet.
    pub fn new() -> std::result::Result<Self, DriverError> {
        result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map(Event)
    }

    /// Puts the event behind all work on the stream so far.
    pub fn record(&self, stream: sys::CUstream) -> std::result::Result<(), DriverError> {
        // SAFETY: both live.
        unsafe { result::event::record(self.0, stream) }
    }

    /// Seconds from this event to `end`; both have been reached.
    pub(crate) fn seconds_until(&self, end: &Event) -> std::result::Result<f64, DriverError> {
        // SAFETY: both live.
        unsafe { result::event::elapsed(self.0, end.0) }.map(|ms| f64::from(ms) / 1e3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: created in `new`.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

/// A stream of a context that is current.
pub struct Stream(pub sys::CUstream);

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: created in `open`. A device that was lost has nothing to give back.
        let _ = unsafe { result::stream::destroy(self.0) };
    }
}

/// Kernels that are loaded, in a context that is current.
pub(crate) struct Module {
    pub handle: sys::CUmodule,
    pub loaded: Loaded,
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: loaded in `load`; nothing of it runs any more, as the stream was waited for.
        let _ = unsafe { result::module::unload(self.handle) };
    }
}

/// A record of how a module was loaded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Loaded {
    /// The module's name.
    pub module: &'static str,
    /// Target of the compiler: machine code (`sm_90a`) or PTX (`compute_90`).
    pub architecture: &'static str,
    /// True for machine code: the driver had nothing to compile.
    pub ready: bool,
    /// Time that loading took.
    pub seconds: f64,
}

/// A device that [`open`] has opened, with the kernels and a stream.
pub(crate) struct Opened {
    pub name: String,
    pub capability: (i32, i32),
    pub module: Module,
    pub stream: Stream,
    /// The device. It is the last field, as it outlives the others.
    pub device: Device,
}

/// True if a driver is installed.
pub fn driver_found() -> bool {
    // SAFETY: loads the driver's library, as its first use would.
    unsafe { sys::is_culib_present() }
}

/// Loads the kernels of this name into the context of this thread, for a device of this compute
/// capability. Prints a message when that takes long. Errors: the driver cannot read them.
pub fn load(number: usize, module: &'static str, capability: (i32, i32)) -> Result<Module> {
    let image = images::of(IMAGES, module, capability).expect("build.rs makes PTX for all that is served");
    load_image(number, module, capability, image.architecture, &image.unpacked())
}

/// Loads an image that ends in a zero; see [`load`].
pub(crate) fn load_image(
    number: usize,
    module: &'static str,
    (major, minor): (i32, i32),
    architecture: &'static str,
    image: &[u8],
) -> Result<Module> {
    let (begun, mut log) = (Instant::now(), vec![0u8; 4096]);
    let mut options = [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), log.len() as *mut c_void];
    let why =
        format!("cuda:{number}: the driver compiles {module} for compute capability {major}.{minor}, and keeps it");
    let mut handle = std::ptr::null_mut();
    let loading = || {
        // SAFETY: the image ends in a zero, and the log is as long as is said.
        unsafe {
            sys::cuModuleLoadDataEx(&mut handle, image.as_ptr().cast(), 2, options.as_mut_ptr(), values.as_mut_ptr())
        }
        .result()
    };
    let ready = architecture.starts_with("sm_");
    if let Err(error) = patiently(&why, loading) {
        if driver_version().is_some_and(|driver| driver < version(CUDA)) {
            return Err(error::too_old(number, &words(driver_version()), CUDA));
        }
        let said = String::from_utf8_lossy(&log);
        let said: Vec<&str> = said
            .trim_end_matches('\0')
            .lines()
            .map(|line| line.trim_matches([';', ' ']))
            .filter(|line| !line.is_empty())
            .collect();
        let said = said.into_iter().take(3).map(|line| format!(": {line}")).collect::<String>();
        return Err(error::fault(number, &format!("loading {module} ({architecture}){said}"), error));
    }
    let loaded = Loaded { module, architecture, ready, seconds: begun.elapsed().as_secs_f64() };
    Ok(Module { handle, loaded })
}

/// Runs `work`. When it takes long, prints `why` on standard error.
fn patiently<T>(why: &str, work: impl FnOnce() -> T) -> T {
    let (done, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if ended.recv_timeout(SILENCE) == Err(RecvTimeoutError::Timeout) {
                say(why);
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// The newest CUDA version that the driver supports.
fn driver_version() -> Option<(i32, i32)> {
    let mut version = 0;
    // SAFETY: the driver's library is loaded.
    let told = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    told.ok().map(|()| (version / 1000, version % 1000 / 10))
}

/// A version in words, such as `12.4`.
fn words(version: Option<(i32, i32)>) -> String {
    version.map_or("of unknown version".into(), |(major, minor)| format!("{major}.{minor}"))
}

/// The two numbers of a version such as `12.4`; zeros if it is not one.
fn version(words: &str) -> (i32, i32) {
    let numbers = words.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers.unwrap_or_default()
}

/// Number of devices; 0 if there is no driver or it does not start.
pub fn devices() -> usize {
    if !driver_found() || result::init().is_err() {
        return 0;
    }
    result::device::get_count().map_or(0, |count| count.max(0) as usize)
}

/// Opens the device of this number and loads the kernels. Errors ([`Error::Device`]): see
/// [`super::Cuda::new`].
pub fn open(number: usize, engine: Engine) -> Result<Opened> {
    let refused = |what: String| Error::Device(format!("cuda:{number}: {what}"));
    if !BUILT {
        let mend = "put nvcc on the PATH (or name it by NVCC) and build again, or pass --device cpu";
        return Err(refused(format!("this build has no kernels, as nvcc was not found; {mend}")));
    }
    if !driver_found() {
        return Err(refused("no driver found (libcuda.so.1); install one or pass --device cpu".into()));
    }
    let told = |doing: &'static str| move |e| error::fault(number, doing, e);
    result::init().map_err(told("the driver does not start"))?;
    let count = result::device::get_count().map_err(told("the devices cannot be counted"))?;
    if number as u64 >= count as u64 {
        let has = if count == 1 { "1 device".into() } else { format!("{count} devices") };
        return Err(refused(format!("no such device: this machine has {has}, numbered from 0")));
    }
    let device = result::device::get(number as i32).map_err(told("the device cannot be opened"))?;
    let name = result::device::get_name(device).map_err(told("the device has no name"))?;
    // SAFETY: the device exists.
    let attribute = |what| unsafe { result::device::get_attribute(device, what) };
    let capability = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
        .and_then(|major| Ok((major, attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?)))
        .map_err(told("the device does not tell its compute capability"))?;
    let ((major, minor), (lowest, lower)) = (capability, LOWEST);
    if capability < LOWEST {
        return Err(refused(format!(
            "{name} has compute capability {major}.{minor}, the kernels need {lowest}.{lower}; pass --device cpu"
        )));
    }
    if engine == Engine::Pdl && capability < (9, 0) {
        return Err(refused(format!(
            "engine pdl needs compute capability 9.0, {name} has {major}.{minor}; pass --engine graph"
        )));
    }
    // SAFETY: the device exists; `Device` releases the context.
    let context = unsafe { result::primary_ctx::retain(device) }.map_err(told("no context"))?;
    let device = Device { device, context };
    device.make_current().map_err(told("no context"))?;
    let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(told("no stream"))?;
    let stream = Stream(stream);
    let module = load(number, "kernels", capability)?;
    Ok(Opened { name, capability, module, stream, device })
}

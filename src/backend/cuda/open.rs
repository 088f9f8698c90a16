//! Finding a device and loading the kernels onto it; each way in which that fails is one line.
use super::Engine;
use super::error;
use crate::{Error, Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute};
use std::ffi::CString;

/// The kernels, compiled by build.rs for every device that is served; empty when it found no nvcc.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));
/// Whether this build has kernels: nvcc was there.
pub const BUILT: bool = !PTX.is_empty();
/// The same for compute capability 9.0 and up, where launches may start early.
const PTX_90: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels_90.ptx"));
/// Lowest compute capability that build.rs compiles for.
const LOWEST: (i32, i32) = (8, 0);

/// A device's primary context, which outlives all that was made in it.
pub struct Device {
    device: sys::CUdevice,
    context: sys::CUcontext,
}

// SAFETY: handles of the driver may be used from any thread that has made the context current.
unsafe impl Send for Device {}
unsafe impl Sync for Device {}

impl Device {
    /// What the device says of itself.
    pub fn attribute(&self, what: Attribute) -> std::result::Result<i32, DriverError> {
        // SAFETY: the device exists.
        unsafe { result::device::get_attribute(self.device, what) }
    }

    /// Makes its context that of this thread.
    pub fn make_current(&self) -> std::result::Result<(), DriverError> {
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
    /// One that is not in a stream yet.
    pub fn new() -> std::result::Result<Self, DriverError> {
        result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map(Event)
    }

    /// Puts it behind what was asked of the stream.
    pub fn record(&self, stream: sys::CUstream) -> std::result::Result<(), DriverError> {
        // SAFETY: both live.
        unsafe { result::event::record(self.0, stream) }
    }

    /// Seconds from this to `end`; both have been reached.
    pub fn seconds_until(&self, end: &Event) -> std::result::Result<f64, DriverError> {
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

/// What `open` gives.
pub struct Opened {
    pub device: Device,
    pub name: String,
    pub module: sys::CUmodule,
    pub stream: sys::CUstream,
}

/// Whether a driver is installed.
pub fn driver_found() -> bool {
    // SAFETY: loads the driver's library, as its first use would.
    unsafe { sys::is_culib_present() }
}

/// Loads an image into the context of this thread. Errors: the driver cannot read it.
pub fn load(number: usize, image: &str) -> Result<sys::CUmodule> {
    let text = CString::new(image).expect("PTX is text");
    // SAFETY: the image is a text that ends in a zero.
    unsafe { result::module::load_data(text.as_ptr().cast()) }.map_err(|e| match e.0 {
        sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            error::too_old(number, driver_version(), toolkit_of(image))
        }
        _ => error::fault(number, "loading the kernels", e),
    })
}

/// The newest CUDA that the driver knows, as `12.4`.
fn driver_version() -> String {
    let mut version = 0;
    // SAFETY: the driver's library is loaded.
    match unsafe { sys::cuDriverGetVersion(&mut version) }.result() {
        Ok(()) => format!("{}.{}", version / 1000, version % 1000 / 10),
        Err(_) => "of unknown version".into(),
    }
}

/// The CUDA whose nvcc compiled an image, as the image's first lines say: `release 13.0`.
fn toolkit_of(image: &str) -> &str {
    let release = image.split_once("compilation tools, release ").map(|(_, rest)| rest);
    release.and_then(|rest| rest.split([',', '\n']).next()).unwrap_or("of unknown version")
}

/// Opens the device of this number and loads the kernels. Errors ([`Error::Device`]): see [`super::Cuda::new`].
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
    let module = load(number, if capability < (9, 0) { PTX } else { PTX_90 })?;
    Ok(Opened { device, name, module, stream })
}

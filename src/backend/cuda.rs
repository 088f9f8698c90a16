//! Runs the kernels on an NVIDIA GPU through the driver, which is loaded at run time: building needs neither GPU nor driver.
//!
//! One stream, one launch a call, in order. A kernel's error is seen at the next copy; `MVAE_SYNC=1` waits after every
//! call and names the one that failed.
#![allow(unsafe_code)]
use super::{Backend, Buffer};
use crate::plan::{Call, Precision};
use crate::{Error, Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUresult};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex};

/// The kernels, compiled by build.rs; empty when it found no nvcc.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));
/// Lowest compute capability that build.rs compiles for.
const LOWEST: (i32, i32) = (8, 0);

/// A device with the kernels loaded.
pub struct Cuda {
    number: usize,
    name: String,
    device: Arc<Device>,
    stream: sys::CUstream,
    module: sys::CUmodule,
    functions: Mutex<HashMap<Cow<'static, str>, sys::CUfunction>>,
    /// Of matrix products.
    precision: Precision,
    /// Wait after every call.
    sync: bool,
}

// SAFETY: handles of the driver may be used from any thread that has made the context current.
unsafe impl Send for Cuda {}
unsafe impl Sync for Cuda {}

/// A device's primary context, which outlives all that was made in it.
struct Device {
    device: sys::CUdevice,
    context: sys::CUcontext,
}

// SAFETY: as above.
unsafe impl Send for Device {}
unsafe impl Sync for Device {}

impl Device {
    fn make_current(&self) -> std::result::Result<(), DriverError> {
        // SAFETY: the context is retained for as long as this lives.
        unsafe { result::ctx::set_current(self.context) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained once, in `Cuda::new`. A device that was lost has nothing to release.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

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

/// Whether a driver is installed.
pub fn driver_found() -> bool {
    // SAFETY: loads the driver's library, as its first use would.
    unsafe { sys::is_culib_present() }
}

impl Cuda {
    /// The device of this number, which computes matrix products in this precision. Errors ([`Error::Device`]): built without nvcc, no driver, no such device, one that is
    /// too old, a driver that is older than the compiler of the kernels.
    pub fn new(number: usize, precision: Precision) -> Result<Self> {
        let fault = |what: String| Error::Device(format!("cuda:{number}: {what}"));
        if PTX.is_empty() {
            return Err(fault(
                "this build has no kernels, as nvcc was not found; put nvcc on the PATH (or name it by NVCC) and build \
                 again, or pass --device cpu"
                    .into(),
            ));
        }
        if !driver_found() {
            return Err(fault("no driver found (libcuda.so.1); install one or pass --device cpu".into()));
        }
        let told = |doing: &'static str| move |e: DriverError| fault(format!("{doing}: {}", explain(e)));
        result::init().map_err(told("the driver does not start"))?;
        let count = result::device::get_count().map_err(told("the devices cannot be counted"))?;
        if number as u64 >= count as u64 {
            let has = if count == 1 { "1 device".into() } else { format!("{count} devices") };
            return Err(fault(format!("no such device: this machine has {has}, numbered from 0")));
        }
        let device = result::device::get(number as i32).map_err(told("the device cannot be opened"))?;
        let name = result::device::get_name(device).map_err(told("the device has no name"))?;
        // SAFETY: the device exists.
        let attribute = |what| unsafe { result::device::get_attribute(device, what) };
        let capability = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
            .and_then(|major| Ok((major, attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?)))
            .map_err(told("the device does not tell its compute capability"))?;
        if capability < LOWEST {
            let ((major, minor), (lowest, lower)) = (capability, LOWEST);
            return Err(fault(format!(
                "{name} has compute capability {major}.{minor}, the kernels need {lowest}.{lower}; pass --device cpu"
            )));
        }
        // SAFETY: the device exists; `Device` releases the context.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(told("no context"))?;
        let device = Arc::new(Device { device, context });
        device.make_current().map_err(told("no context"))?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(told("no stream"))?;
        let image = CString::new(PTX).expect("PTX is text");
        // SAFETY: the image is a text that ends in a zero.
        let module =
            unsafe { result::module::load_data(image.as_ptr().cast()) }.map_err(told("loading the kernels"))?;
        let sync = std::env::var_os("MVAE_SYNC").is_some_and(|value| value == "1");
        Ok(Cuda { number, name, device, stream, module, functions: Mutex::default(), precision, sync })
    }

    fn fault(&self, what: &str, error: DriverError) -> Error {
        Error::Device(format!("cuda:{}: {what}: {}", self.number, explain(error)))
    }

    /// The kernel of this name.
    fn function(&self, name: Cow<'static, str>) -> Result<sys::CUfunction> {
        let mut functions = self.functions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(function) = functions.get(&name) {
            return Ok(*function);
        }
        let symbol = CString::new(format!("{name}_kernel")).expect("names have no zeros");
        // SAFETY: the module is loaded for as long as this lives.
        let function = unsafe { result::module::get_function(self.module, symbol) };
        let function = function.map_err(|e| self.fault(&format!("no kernel {name}"), e))?;
        functions.insert(name, function);
        Ok(function)
    }

    fn launch(&self, call: &Call, arena: usize) -> Result<()> {
        let (name, grid) = call.variant(self.precision);
        let function = self.function(name)?;
        // The largest argument struct has 256 bytes: see `kernel_args!`.
        let mut args = [0u64; 32];
        bytemuck::cast_slice_mut(&mut args)[..call.args().len()].copy_from_slice(call.args());
        for (_, pointer) in call.fields().iter().zip(&mut args).filter(|(_, pointer)| **pointer != 0) {
            *pointer += arena as u64;
        }
        let parameters = &mut [args.as_mut_ptr().cast::<c_void>()];
        // SAFETY: the kernel takes one struct of this layout, checked by `tests/kernels.rs`; its pointers are inside the
        // arena (`Plan::check`), and the stream runs calls in order.
        unsafe {
            let (blocks, threads) = ((grid.blocks, 1, 1), (grid.threads, 1, 1));
            result::launch_kernel(function, blocks, threads, 0, self.stream, parameters)
                .map_err(|e| self.fault(&format!("launching {}", call.kernel()), e))?;
            if self.sync {
                result::stream::synchronize(self.stream).map_err(|e| self.fault(call.kernel(), e))?;
            }
        }
        Ok(())
    }

    fn current(&self) -> Result<()> {
        self.device.make_current().map_err(|e| self.fault("no context", e))
    }
}

/// A driver's error in words, with what to do where something can be done.
fn explain(error: DriverError) -> String {
    let words = match error.error_string() {
        Ok(words) => words.to_string_lossy().into_owned(),
        Err(_) => format!("{:?}", error.0),
    };
    match error.0 {
        CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            format!(
                "{words}: the driver is older than the nvcc that compiled the kernels; update it, or build with an older nvcc"
            )
        }
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => format!("{words}; use a smaller model, batch or data set"),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS | CUresult::CUDA_ERROR_LAUNCH_FAILED => {
            format!("{words}; set MVAE_SYNC=1 to name the kernel")
        }
        _ => words,
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.device.make_current().is_ok() {
            // SAFETY: made in `new`; a device that was lost has nothing to give back.
            unsafe {
                let _ = result::stream::synchronize(self.stream);
                let _ = result::module::unload(self.module);
                let _ = result::stream::destroy(self.stream);
            }
        }
    }
}

impl Backend for Cuda {
    fn describe(&self) -> String {
        format!("cuda:{} ({}, {})", self.number, self.name, self.precision)
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        self.current()?;
        let fault = |e| self.fault(&format!("allocating {} MB", bytes.div_ceil(1_000_000)), e);
        // SAFETY: all of it is written before anybody reads.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(fault)?;
        let owner = Block { address, device: self.device.clone() };
        // SAFETY: inside the allocation; the default stream's work is over when this returns to a synchronised one.
        unsafe {
            result::memset_d8_async(address, 0, bytes.max(1), self.stream).map_err(fault)?;
            result::stream::synchronize(self.stream).map_err(fault)?;
        }
        Ok(Buffer { address: address as usize, bytes, _owner: Box::new(owner) })
    }

    fn write(&self, to: &mut Buffer, at: usize, from: &[u8]) -> Result<()> {
        let start = to.range(at, from.len());
        self.current()?;
        // SAFETY: inside the allocation; the copy is over before `from` may change.
        unsafe {
            result::memcpy_htod_async(start as u64, from, self.stream).map_err(|e| self.fault("copying in", e))?;
            result::stream::synchronize(self.stream).map_err(|e| self.fault("copying in", e))
        }
    }

    fn read(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<()> {
        let start = from.range(at, to.len());
        self.current()?;
        // SAFETY: inside the allocation; the copy is over before `to` is looked at.
        unsafe {
            result::memcpy_dtoh_async(to, start as u64, self.stream).map_err(|e| self.fault("copying out", e))?;
            result::stream::synchronize(self.stream).map_err(|e| self.fault("copying out", e))
        }
    }

    unsafe fn run(&self, calls: &[Call], arena: &mut Buffer) -> Result<()> {
        self.current()?;
        calls.iter().try_for_each(|call| self.launch(call, arena.address))
    }
}

//! The functions that the driver of the tests calls (`tests/driver/driver.cpp`). It calls one at a
//! time.
//!
//! Settings, from the environment: `PTX_SEED` seeds the order of blocks and turns. `PTX_COUNTS=1`
//! says after each launch how many instructions its warps ran. With `PTX_RACES=1` accesses without
//! order are no fault, and what comes of them is seen.
use crate::{Device, Image, Kernel, Options, launch};
use std::ffi::{CStr, c_char};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A kernel of an image.
pub struct Function {
    image: *const Image,
    kernel: *const Kernel,
}

fn device() -> MutexGuard<'static, Device> {
    static DEVICE: Mutex<Device> = Mutex::new(Device::new());
    DEVICE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds memory of the device.
#[unsafe(no_mangle)]
pub extern "C" fn ptx_allocated(address: u64, bytes: u64) {
    device().add(address, bytes, false);
}

/// Takes memory of the device away.
#[unsafe(no_mangle)]
pub extern "C" fn ptx_freed(address: u64) {
    device().remove(address);
}

/// Loads an image. Null if it has a mistake, of which `log` tells.
///
/// # Safety
/// `image` ends in a zero, and `log` has room for `room` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptx_load(image: *const c_char, log: *mut c_char, room: usize) -> *mut Image {
    // SAFETY: the caller's.
    let text = unsafe { CStr::from_ptr(image) }.to_string_lossy();
    match Image::new(&text, &mut device()) {
        Ok(image) => Box::into_raw(Box::new(image)),
        Err(wrong) => {
            let said = format!("ptx: {wrong}\n");
            let bytes = &said.as_bytes()[..said.len().min(room.saturating_sub(1))];
            // SAFETY: the caller's; there is room for a zero.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), log.cast(), bytes.len());
                *log.add(bytes.len()) = 0;
            }
            std::ptr::null_mut()
        }
    }
}

/// Frees an image and its memory.
///
/// # Safety
/// `image` is of `ptx_load`, and used no more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptx_unload(image: *mut Image) {
    // SAFETY: the caller's.
    let image = unsafe { Box::from_raw(image) };
    image.unload(&mut device());
}

/// The kernel of a name, or null. It lives on.
///
/// # Safety
/// `image` is of `ptx_load`, and `name` ends in a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptx_find(image: *const Image, name: *const c_char) -> *const Function {
    // SAFETY: the caller's.
    let (of, name) = unsafe { (&*image, CStr::from_ptr(name)) };
    match of.kernel(&name.to_string_lossy()) {
        Some(kernel) => Box::into_raw(Box::new(Function { image, kernel })),
        None => std::ptr::null(),
    }
}

/// Runs a kernel. Returns 0, or 1 after a fault, which it prints.
///
/// # Safety
/// `function` is of `ptx_find`, its image is loaded, and `parameters` are as long as the kernel's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptx_launch(
    function: *const Function,
    blocks: u32,
    threads: u32,
    more: u32,
    together: bool,
    early: bool,
    parameters: *const u8,
) -> i32 {
    // SAFETY: the caller's.
    let (image, kernel) = unsafe { (&*(*function).image, &*(*function).kernel) };
    // SAFETY: the caller's.
    let parameters = unsafe { std::slice::from_raw_parts(parameters, kernel.parameters) };
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(0);
    let mut device = device();
    let seed = number("PTX_SEED") ^ device.launches.wrapping_shl(32);
    let strict = number("PTX_RACES") == 0;
    let options = Options { blocks, threads, more: more as usize, together, early, strict, seed };
    match launch(kernel, parameters, options, &mut device) {
        Ok(instructions) => {
            if number("PTX_COUNTS") > 0 {
                eprintln!("ptx: {} {blocks} x {threads}: {instructions}", kernel.name);
            }
            0
        }
        Err(fault) => {
            eprintln!("ptx: {}", image.describe(kernel, &fault));
            1
        }
    }
}

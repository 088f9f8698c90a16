//! Messages for errors of the CUDA driver: their meaning for the person who reads them.
use crate::Error;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

/// An error in one line: which device, doing what, what the driver says, and what can be done.
pub fn fault(number: usize, doing: &str, error: DriverError) -> Error {
    let words = match error.error_string() {
        Ok(words) => words.to_string_lossy().into_owned(),
        Err(_) => format!("{:?}", error.0),
    };
    let mend = mend(error.0).map(|mend| format!("; {mend}")).unwrap_or_default();
    Error::Device(format!("cuda:{number}: {doing}: {words}{mend}"))
}

/// An error for a driver that knows CUDA only up to `driver`, while the nvcc of `toolkit` compiled
/// the kernels. Such a driver cannot read their images.
pub(crate) fn too_old(number: usize, driver: &str, toolkit: &str) -> Error {
    Error::Device(format!(
        "cuda:{number}: the driver (CUDA {driver}) is older than the nvcc that compiled the kernels (CUDA {toolkit}); \
         update the driver, or build with NVCC naming an nvcc of CUDA {driver} or older"
    ))
}

/// Advice for an error, if something can be done about it.
fn mend(error: CUresult) -> Option<&'static str> {
    Some(match error {
        CUresult::CUDA_ERROR_NO_DEVICE => "no GPU is to be seen; look at nvidia-smi and CUDA_VISIBLE_DEVICES",
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => "use a smaller model, batch or data set, or free the device",
        // The context is lost with these: every later call returns them again.
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
        | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
        | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUresult::CUDA_ERROR_INVALID_PC
        | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUresult::CUDA_ERROR_ASSERT
        | CUresult::CUDA_ERROR_LAUNCH_FAILED => {
            "a kernel failed, the last checkpoint is intact; MVAE_SYNC=1 names the kernel"
        }
        CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
        | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
        | CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE
        | CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE
        | CUresult::CUDA_ERROR_SYSTEM_NOT_READY
        | CUresult::CUDA_ERROR_UNKNOWN => {
            "the device is lost, the last checkpoint is intact; look at nvidia-smi, then go on with --resume"
        }
        _ => return None,
    })
}

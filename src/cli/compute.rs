//! Where to compute: the flags of every command that runs a network.
use crate::backend::{self, Backend, Device, Engine};
use crate::plan::Precision;
use crate::{Error, Result};
use clap::Args;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

/// More threads than any machine this was made for has cores.
const MAX_THREADS: usize = 1024;

/// Where to compute.
#[derive(Debug, Args)]
pub struct Compute {
    /// auto, cpu, cuda or cuda:N; simt runs kernels on this machine's processor, slowly, to test them
    #[arg(long, env = "MVAE_DEVICE", default_value = "auto")]
    pub device: Device,
    /// Of matrix products in kernels (default: bf16x3); the cpu has fp32 alone
    #[arg(long, env = "MVAE_PRECISION")]
    pub precision: Option<Precision>,
    /// How a CUDA device gets its calls; calls, graph and pdl give the same bits, persistent rounds some sums otherwise
    #[arg(long, env = "MVAE_ENGINE", default_value = "auto")]
    pub engine: Engine,
    /// Threads to use (default: as many as the machine offers); the result does not depend on it
    #[arg(long, value_name = "N", env = "MVAE_THREADS")]
    pub threads: Option<NonZeroUsize>,
}

impl Compute {
    /// Opens what was asked for. Errors: see [`backend::open`], and more threads than make sense.
    pub fn open(&self) -> Result<Box<dyn Backend>> {
        let mut opened = self.open_for(1)?;
        Ok(opened.pop().expect("there is one"))
    }

    /// Opens what was asked for once for each of so many runs side by side, which share its threads. Errors: as
    /// [`Compute::open`].
    pub fn open_for(&self, runs: usize) -> Result<Vec<Box<dyn Backend>>> {
        let threads = self.threads();
        if threads > MAX_THREADS {
            return Err(Error::Usage(format!("--threads is {threads}, expected at most {MAX_THREADS}")));
        }
        let open = |run| backend::open(self.device, self.precision, self.engine, self.share(run, runs), runs);
        (0..runs).map(open).collect()
    }

    /// Threads of one of so many runs side by side.
    pub fn share(&self, run: usize, runs: usize) -> usize {
        let threads = self.threads();
        ((run + 1) * threads / runs - run * threads / runs).max(1)
    }

    /// Threads that so many runs side by side are driven by: on a CUDA device, which they only wait for, one each.
    pub fn drivers(&self, runs: usize) -> usize {
        match self.device {
            Device::Cuda(_) => runs,
            _ => self.threads().min(runs),
        }
    }

    /// Threads that are used.
    pub fn threads(&self) -> usize {
        self.threads.map_or_else(available_parallelism, Ok).map_or(1, NonZeroUsize::get)
    }
}

//! Device, precision, engine and threads: the flags of every command that runs a network.
use crate::backend::{self, Backend, Device, Devices, Engine, cuda};
use crate::host::say::say;
use crate::plan::Precision;
use crate::{Error, Result, check::kernelcheck};
use clap::Args;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::thread::available_parallelism;

/// Upper bound on the number of threads, above the core count of any supported machine.
const MAX_THREADS: usize = 1024;

/// The device to compute on, and how.
#[derive(Debug, Args)]
pub struct Compute {
    /// auto, cpu, cuda or cuda:N; auto is cuda where a GPU passes a short test of its kernels, else
    /// cpu; simt runs kernels on this machine's processor, slowly, to test them. Several, such as
    /// cuda:0,cuda:1 or cuda:all, share out the runs of a sweep or population
    #[arg(long, env = "MVAE_DEVICE", default_value = "auto")]
    pub device: Devices,
    /// The device that `auto` resolved to, once it is chosen.
    #[arg(skip)]
    chosen: OnceLock<Device>,
    /// Of matrix products in kernels (default: bf16x3); the cpu has fp32 alone
    #[arg(long, env = "MVAE_PRECISION")]
    pub precision: Option<Precision>,
    /// How a CUDA device gets its calls; calls, graph and pdl give the same bits, persistent rounds
    /// some sums otherwise
    #[arg(long, env = "MVAE_ENGINE", default_value = "auto")]
    pub engine: Engine,
    /// Threads to use (default: as many as the machine offers); the result does not depend on it
    #[arg(long, value_name = "N", env = "MVAE_THREADS")]
    pub threads: Option<NonZeroUsize>,
}

impl Compute {
    /// A device with so many threads (default: as many as the machine offers), and the defaults of
    /// precision and engine.
    pub fn new(device: Device, threads: Option<NonZeroUsize>) -> Self {
        Compute { device: device.into(), chosen: OnceLock::new(), precision: None, engine: Engine::Auto, threads }
    }

    /// Opens the device. Errors: see [`backend::open`], several devices, and more than
    /// `MAX_THREADS` threads.
    pub fn open(&self) -> Result<Box<dyn Backend>> {
        if self.devices()?.len() > 1 {
            let what = "--device names several devices, which share out the runs of a sweep or of a population";
            return Err(Error::Usage(format!("{what}; give one")));
        }
        let mut opened = self.open_for(1)?;
        Ok(opened.pop().expect("there is one"))
    }

    /// Opens a device for each of `runs` runs side by side, which share devices and threads: run i
    /// has device i of n, counted around. Errors: see [`backend::open`].
    pub fn open_for(&self, runs: usize) -> Result<Vec<Box<dyn Backend>>> {
        let threads = self.threads();
        if threads > MAX_THREADS {
            return Err(Error::Usage(format!("--threads is {threads}, expected at most {MAX_THREADS}")));
        }
        let devices = self.devices()?;
        let beside = runs.div_ceil(devices.len());
        let open = |run: usize| {
            let device = devices[run % devices.len()];
            backend::open(device, self.precision, self.engine, self.share(run, runs), beside)
        };
        (0..runs).map(open).collect()
    }

    /// Each device by itself, with its share of the threads. Errors: there is none.
    pub fn each(&self) -> Result<Vec<Self>> {
        let devices = self.devices()?;
        let one = |(i, device): (usize, &Device)| Compute {
            precision: self.precision,
            engine: self.engine,
            ..Compute::new(*device, NonZeroUsize::new(self.share(i, devices.len())))
        };
        Ok(devices.iter().enumerate().map(one).collect())
    }

    /// The number of threads for run number `run` of `runs` runs side by side.
    pub fn share(&self, run: usize, runs: usize) -> usize {
        let threads = self.threads();
        ((run + 1) * threads / runs - run * threads / runs).max(1)
    }

    /// The number of threads that drive `runs` runs side by side. On a CUDA device it is one for
    /// each run, as these threads only wait for the device.
    pub fn drivers(&self, runs: usize) -> usize {
        match self.devices().as_deref() {
            Ok([Device::Cuda(_), ..]) => runs,
            _ => self.threads().min(runs),
        }
    }

    /// The devices to use. `auto` is the first GPU if it passes its test, else the CPU; where there
    /// is a GPU, a line says which was chosen. Errors: none are to be seen.
    fn devices(&self) -> Result<Vec<Device>> {
        let choose = || {
            let (chosen, why) = self.choose();
            if let Some(why) = why {
                say(&why);
            }
            chosen
        };
        match &self.device {
            Devices::AllCuda => match cuda::devices() {
                0 => Err(Error::Device("cuda: no driver or no device to be seen; look at nvidia-smi".into())),
                count => Ok((0..count).map(Device::Cuda).collect()),
            },
            Devices::These(devices) => {
                let one = |device: &Device| match device {
                    Device::Auto => *self.chosen.get_or_init(choose),
                    device => *device,
                };
                Ok(devices.iter().map(one).collect())
            }
        }
    }

    /// True if no kernels are asked for.
    pub fn is_cpu(&self) -> bool {
        matches!(&self.device, Devices::These(devices) if matches!(devices[..], [Device::Auto | Device::Cpu]))
    }

    fn choose(&self) -> (Device, Option<String>) {
        let gpu = Device::Cuda(0);
        if cuda::devices() == 0 {
            return (Device::Cpu, None);
        }
        if !cuda::BUILT {
            let why =
                "this build has no kernels for the GPU, as nvcc was not found when it was made; computing on the cpu";
            return (Device::Cpu, Some(why.into()));
        }
        let tested = backend::open(gpu, self.precision, self.engine, 1, 1)
            .and_then(|backend| Ok((backend.describe(), kernelcheck::quick(backend.as_ref())?.seconds)));
        match tested {
            Ok((name, seconds)) => {
                let why = format!(
                    "computing on {name}, which passed its test in {seconds:.1} s; --device cpu does not use it"
                );
                (gpu, Some(why))
            }
            Err(error) => {
                let why = format!("computing on the cpu, as the GPU is not fit: {error} (--device cuda insists on it)");
                (Device::Cpu, Some(why))
            }
        }
    }

    /// The number of threads in use.
    pub fn threads(&self) -> usize {
        self.threads.map_or_else(available_parallelism, Ok).map_or(1, NonZeroUsize::get)
    }
}

//! The report on this machine: processor, memory, GPUs, run folder. A GPU is tested: its kernels
//! are loaded, run and compared with their definitions.
use super::print::print;
use crate::backend::Engine;
use crate::backend::cuda::{self, Cuda, Loaded};
use crate::cpu::lanes;
use crate::host::atomic::Unfinished;
use crate::plan::Precision;
use crate::{Result, check::kernelcheck, host::files};
use clap::Args;
use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The machine as `mvae-fast doctor` reports it.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Version of this program.
    pub version: &'static str,
    /// Commit it was built from, when the build knew it (`MVAE_GIT_COMMIT`).
    pub commit: Option<&'static str>,
    /// Operating system and architecture, as `linux-x86_64`.
    pub platform: String,
    /// Model name of the processor, where the system tells it.
    pub cpu: Option<String>,
    /// Threads this process may run at once (affinity and container limits count).
    pub threads: usize,
    /// Vector instruction sets of the processor.
    pub vector: Vec<&'static str>,
    /// The widest of these sets that matrix products use; none for scalar loops.
    pub vector_in_use: Option<&'static str>,
    /// Memory of the machine, bytes; less when a container limits it.
    pub memory: Option<u64>,
    /// Memory that is free to use now, bytes.
    pub memory_available: Option<u64>,
    /// NVIDIA driver library (libcuda.so.1), when there is one.
    pub cuda_driver: Option<PathBuf>,
    /// Version of the NVIDIA kernel module, as the module reports it.
    pub cuda_driver_version: Option<String>,
    /// True if this program contains kernels for NVIDIA devices, that is, nvcc was found at build
    /// time.
    pub cuda_kernels: bool,
    /// The CUDA version of that nvcc.
    pub cuda_kernels_version: Option<&'static str>,
    /// GPUs, and the result of trying each.
    pub gpus: Vec<Gpu>,
    /// Folder that holds the run folders.
    pub runs: PathBuf,
    /// Reason why run folders cannot be made there; none when they can.
    pub runs_problem: Option<String>,
}

/// A GPU, and the result of testing its kernels.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Gpu {
    /// Its number: `--device cuda:N`.
    pub number: usize,
    /// Its name.
    pub name: Option<String>,
    /// Its compute capability, as `9.0`.
    pub capability: Option<String>,
    /// Images that were loaded, and the time of each. Machine code loads at once; PTX is first
    /// compiled by the driver.
    pub loaded: Vec<Loaded>,
    /// Seconds to run every kernel at small sizes and one step, and to compare them with their
    /// definitions.
    pub test_seconds: Option<f64>,
    /// Error that ended the test; none when it passed.
    pub problem: Option<String>,
}

impl Gpu {
    fn new(number: usize) -> Self {
        let mut gpu = Gpu { number, ..Gpu::default() };
        gpu.problem = gpu.tried().err().map(|error| error.to_string());
        gpu
    }

    fn tried(&mut self) -> Result<()> {
        // The engine with the highest requirements; not every device supports it.
        let open = |engine| Cuda::new(self.number, Precision::Bf16x3, engine);
        let cuda = open(Engine::Persistent).or_else(|_| open(Engine::Graph))?;
        let (name, (major, minor)) = cuda.device();
        (self.name, self.capability) = (Some(name.into()), Some(format!("{major}.{minor}")));
        self.loaded = cuda.loaded();
        self.test_seconds = Some(kernelcheck::quick(&cuda)?.seconds);
        Ok(())
    }
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cuda:{}", self.number)?;
        if let (Some(name), Some(capability)) = (&self.name, &self.capability) {
            write!(f, " {name}, compute capability {capability}")?;
        }
        for Loaded { module, architecture, ready, seconds } in &self.loaded {
            let how = if *ready { "ready to run" } else { "compiled by the driver" };
            write!(f, "; {module} loaded in {seconds:.2} s ({architecture}, {how})")?;
        }
        match (&self.problem, self.test_seconds) {
            (Some(problem), _) => write!(f, "; FAILED: {problem}"),
            (None, seconds) => write!(f, "; its kernels pass their test, {:.1} s", seconds.unwrap_or_default()),
        }
    }
}

impl Machine {
    /// Examines this machine; `runs` is the folder for run folders, which need not exist.
    pub fn new(runs: &Path) -> Self {
        Machine {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("MVAE_GIT_COMMIT"),
            platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: line_value("/proc/cpuinfo", "model name"),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            vector: vector_sets(),
            vector_in_use: lanes::in_use(),
            memory: container_limit().into_iter().chain(meminfo("MemTotal")).min(),
            memory_available: container_limit().into_iter().chain(meminfo("MemAvailable")).min(),
            cuda_driver: find_library("libcuda.so.1"),
            cuda_driver_version: line_value("/proc/driver/nvidia/version", "NVRM version"),
            cuda_kernels: cuda::BUILT,
            cuda_kernels_version: cuda::BUILT.then_some(cuda::CUDA),
            gpus: (0..if cuda::BUILT { cuda::devices() } else { 0 }).map(Gpu::new).collect(),
            runs: runs.to_owned(),
            runs_problem: write_problem(runs),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "unknown".to_owned();
        let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64);
        let memory = |bytes: Option<u64>| bytes.map_or_else(unknown, gib);
        writeln!(f, "version   {} ({})", self.version, self.commit.unwrap_or("commit unknown"))?;
        writeln!(f, "platform  {}", self.platform)?;
        let cpu = self.cpu.clone().unwrap_or_else(unknown);
        writeln!(f, "cpu       {cpu}, {} threads to use", self.threads)?;
        let vector = match self.vector.as_slice() {
            [] => unknown(),
            sets => sets.join(" "),
        };
        writeln!(f, "vector    {vector}; products use {}", self.vector_in_use.unwrap_or("scalar loops"))?;
        let (all, free) = (memory(self.memory), memory(self.memory_available));
        writeln!(f, "memory    {all}, {free} available")?;
        match &self.cuda_driver {
            None => writeln!(f, "cuda      no driver found (libcuda.so.1)")?,
            Some(path) => {
                let version = self.cuda_driver_version.as_deref().unwrap_or("version unknown");
                writeln!(f, "cuda      {} ({version})", path.display())?;
            }
        }
        match self.cuda_kernels {
            true => writeln!(f, "kernels   built in, by nvcc of CUDA {}", cuda::CUDA)?,
            false => writeln!(f, "kernels   not in this build: nvcc was not found when it was made")?,
        }
        for gpu in &self.gpus {
            writeln!(f, "gpu       {gpu}")?;
        }
        match &self.runs_problem {
            None => writeln!(f, "runs      {}, writable", self.runs.display()),
            Some(problem) => writeln!(f, "runs      {problem}"),
        }
    }
}

/// The text of a system file.
fn text(file: &Path) -> Option<String> {
    files::text(file, 16 << 20).ok()
}

/// The value after `name:` in a system file.
fn line_value(file: &str, name: &str) -> Option<String> {
    let text = text(file.as_ref())?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A value of /proc/meminfo, bytes.
fn meminfo(name: &str) -> Option<u64> {
    let kib = line_value("/proc/meminfo", name)?;
    Some(kib.split(' ').next()?.parse::<u64>().ok()? << 10)
}

/// The memory limit of the container that this process runs in, bytes.
fn container_limit() -> Option<u64> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    files.iter().find_map(|file| text(file.as_ref())?.trim().parse().ok())
}

#[cfg(target_arch = "x86_64")]
fn vector_sets() -> Vec<&'static str> {
    macro_rules! found {
        ($($set:tt)*) => {
            [$(($set, is_x86_feature_detected!($set))),*]
        };
    }
    let sets = found!["sse4.2" "avx" "avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512vl" "avx512vnni" "avx512bf16"];
    sets.iter().filter(|(_, found)| *found).map(|(set, _)| *set).collect()
}

#[cfg(target_arch = "aarch64")]
fn vector_sets() -> Vec<&'static str> {
    vec!["neon"]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn vector_sets() -> Vec<&'static str> {
    Vec::new()
}

/// The path of a shared library, searched where the loader would search.
fn find_library(name: &str) -> Option<PathBuf> {
    let asked = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let asked = std::env::split_paths(&asked).filter(|folder| folder.is_absolute()).collect::<Vec<_>>();
    let usual = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/lib/x86_64-linux-gnu",
        "/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/lib64",
        "/usr/lib",
        "/lib",
        "/usr/local/nvidia/lib64",
        "/usr/local/cuda/compat",
        "/usr/lib/wsl/lib",
        "/run/opengl-driver/lib",
    ];
    let folders = asked.into_iter().chain(loader_folders()).chain(usual.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| path.exists())
}

/// Folders that /etc/ld.so.conf.d names.
fn loader_folders() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/etc/ld.so.conf.d") else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let texts = files.iter().filter_map(|file| text(file));
    let lines = texts.flat_map(|text| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>());
    lines.filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
}

/// Reason why no file can be made in `folder`, or in the nearest existing folder above it; `None`
/// if one can.
fn write_problem(folder: &Path) -> Option<String> {
    let absolute = match std::path::absolute(folder) {
        Ok(path) => path,
        Err(error) => return Some(format!("{}: {error}", folder.display())),
    };
    let existing = absolute.ancestors().find(|path| path.exists())?;
    let made = Unfinished::file(&existing.join("mvae-fast-doctor"));
    made.err().map(|error| format!("{}: not writable: {error}", existing.display()))
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Folder that holds the run folders
    #[arg(long, value_name = "DIR", env = "MVAE_RUNS", default_value = "runs")]
    pub runs: PathBuf,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints what the machine offers.
pub fn doctor(args: &DoctorArgs) -> Result<()> {
    let report = Machine::new(&args.runs);
    if args.json {
        let json = serde_json::to_string_pretty(&report).expect("plain values");
        return print(&format!("{json}\n"));
    }
    print(&report.to_string())
}

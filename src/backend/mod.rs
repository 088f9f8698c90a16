//! Where plans run. A backend allocates arenas, moves bytes in and out, and runs calls; it knows no operation by name.
pub mod cpu;
pub mod gemm;
pub mod lanes;
pub mod team;
pub mod vector;

use crate::arena::{Arena, Mat};
use crate::plan::{Call, Plan};
use crate::{Error, Result};
use bytemuck::Pod;
use std::any::Any;

/// An allocation of a backend.
pub struct Buffer {
    /// Address of the first byte, on the backend's device.
    pub address: usize,
    /// Length in bytes.
    pub bytes: usize,
    /// Whatever frees it.
    pub owner: Box<dyn Any + Send>,
}

/// All a backend is; adding an operation touches none.
pub trait Backend: Send + Sync {
    /// What it runs on, for people: `cpu (2 threads)`.
    fn describe(&self) -> String;
    /// Zeroed memory.
    fn alloc(&self, bytes: usize) -> Result<Buffer>;
    /// Copies bytes in, from byte `at` on.
    fn write(&self, to: &mut Buffer, at: usize, from: &[u8]) -> Result<()>;
    /// Copies bytes out, from byte `at` on.
    fn read(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<()>;
    /// Runs calls over an arena, in order. The calls have been checked against the arena's layout.
    fn run(&self, calls: &[Call], arena: &mut Buffer) -> Result<()>;
}

/// An arena that has been allocated: typed access to its tensors, and plans run over it.
pub struct Memory<'b> {
    backend: &'b dyn Backend,
    layout: Arena,
    buffer: Buffer,
}

impl<'b> Memory<'b> {
    /// Allocates an arena. Errors: not enough memory.
    pub fn new(backend: &'b dyn Backend, layout: Arena) -> Result<Self> {
        let buffer = backend.alloc(layout.bytes())?;
        Ok(Memory { backend, layout, buffer })
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

    /// Copies a tensor out.
    pub fn read<E: Pod>(&self, mat: Mat<E>) -> Result<Vec<E>> {
        let mut values = vec![E::zeroed(); mat.len()];
        self.backend.read(&self.buffer, mat.offset(), bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// Runs a plan that was made for this arena (see [`Memory::check`]).
    pub fn run(&mut self, plan: &Plan) -> Result<()> {
        self.backend.run(&plan.calls, &mut self.buffer)
    }

    /// Checks a plan against the arena's layout; to be done once, before it first runs.
    pub fn check(&self, plan: &Plan) {
        plan.check(&self.layout);
    }

    /// Runs a plan call by call; the first written float tensor with a value that is not finite, as `kernel (tensor)`.
    pub fn first_nonfinite(&mut self, plan: &Plan) -> Result<Option<String>> {
        for call in &plan.calls {
            self.backend.run(std::slice::from_ref(call), &mut self.buffer)?;
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
                    return Ok(Some(format!("{} ({})", call.kernel, field.name)));
                }
            }
        }
        Ok(None)
    }
}

/// The backend for `--device`: `auto` and `cpu` are the CPU with `threads` threads (0 = all cores).
///
/// Errors: `cuda` (this build has no CUDA backend), an unknown name.
pub fn open(device: &str, threads: usize) -> Result<Box<dyn Backend>> {
    match device.split(':').next().unwrap_or_default() {
        "auto" | "cpu" => Ok(Box::new(cpu::Cpu::new(threads))),
        "cuda" => Err(Error::Device("cuda: this build has no CUDA backend yet; pass --device cpu".into())),
        _ => Err(Error::Usage(format!("unknown device {device}; known are auto, cpu and cuda:N"))),
    }
}

//! CUDA graphs of plans that repeat: made once, then replayed.
//!
//! A call is a node. It waits for the calls before it with which it conflicts ([`dependencies`]),
//! and for no others. Calls that are independent run side by side, such as the end of a step beside
//! the start of the next.
//!
//! Nothing in a graph changes between replays, as all that changes from step to step lies in the
//! arena (see [`crate::plan::state::StepState`]).
//!
//! With [`Engine::Pdl`] the graph is captured from launches one after another,
//! each of which may start early (programmatic dependent launch). Its blocks are set up while the
//! launch before it still runs. They wait until that launch has ended and its writes are visible
//! (`START` in `kernels/simt.cuh`).
use super::{Cuda, Engine};
use crate::Result;
use crate::plan::dependencies::dependencies;
use crate::plan::{Grid, Plan};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::ffi::c_void;

/// Number of graphs that are kept: more than a training run has, which has one for a rollout and
/// those of its evaluation.
pub(super) const MOST: usize = 8;

/// The plan, repetitions and arena that a graph was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// [`Plan::id`].
    pub plan: u64,
    /// Number of repetitions in the graph.
    pub times: usize,
    /// Address of the arena.
    pub arena: usize,
}

/// A graph that can be launched.
pub struct Graph {
    key: Key,
    executable: sys::CUgraphExec,
}

// SAFETY: as for `Cuda`, which owns it.
unsafe impl Send for Graph {}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: instantiated in `instantiate`, and not launched any more.
        let _ = unsafe { result::graph::exec_destroy(self.executable) };
    }
}

impl Cuda {
    /// Launches the graph of a plan that runs `times` times. It makes the graph if it is not among
    /// `graphs`, whose last entry is the latest used.
    pub(super) fn replay(&self, graphs: &mut Vec<Graph>, plan: &Plan, times: usize, arena: usize) -> Result<()> {
        let key = Key { plan: plan.id(), times, arena };
        let graph = match graphs.iter().position(|graph| graph.key == key) {
            Some(at) => graphs.remove(at),
            None => {
                if graphs.len() == MOST {
                    self.wait("making a graph")?;
                    graphs.remove(0);
                }
                let graph = if self.engine == Engine::Pdl { self.capture(key, plan)? } else { self.build(key, plan)? };
                self.instantiate(key, graph)?
            }
        };
        // SAFETY: graph and stream live, and so does the arena, which the caller holds.
        let launched = unsafe { result::graph::launch(graph.executable, self.stream.0) };
        graphs.push(graph);
        launched.map_err(|e| self.fault("launching a graph", e))
    }

    /// A graph whose nodes wait for the calls that they depend on. The caller destroys it.
    fn build(&self, key: Key, plan: &Plan) -> Result<sys::CUgraph> {
        let fault = |e| self.fault("making a graph", e);
        let mut graph = std::ptr::null_mut();
        // SAFETY: the graph is written to a place for one.
        unsafe { sys::cuGraphCreate(&mut graph, 0) }.result().map_err(fault)?;
        match self.add_nodes(graph, key, plan) {
            Ok(()) => Ok(graph),
            Err(error) => {
                // SAFETY: the graph was just made.
                let _ = unsafe { result::graph::destroy(graph) };
                Err(error)
            }
        }
    }

    fn add_nodes(&self, graph: sys::CUgraph, key: Key, plan: &Plan) -> Result<()> {
        let calls = plan.calls();
        let mut nodes: Vec<sys::CUgraphNode> = Vec::new();
        for (i, waits) in dependencies(calls, key.times).into_iter().enumerate() {
            let call = &calls[i % calls.len()];
            let (name, grid) = call.variant(self.precision);
            let mut args = call.args_at(key.arena);
            let mut parameters = [args.as_mut_ptr().cast::<c_void>()];
            let node = sys::CUDA_KERNEL_NODE_PARAMS {
                func: self.function(name)?,
                gridDimX: grid.blocks,
                gridDimY: 1,
                gridDimZ: 1,
                blockDimX: grid.threads,
                blockDimY: 1,
                blockDimZ: 1,
                sharedMemBytes: 0,
                kernelParams: parameters.as_mut_ptr(),
                extra: std::ptr::null_mut(),
            };
            let before: Vec<sys::CUgraphNode> = waits.into_iter().map(|earlier| nodes[earlier]).collect();
            let mut added = std::ptr::null_mut();
            // SAFETY: the kernel takes one struct of this layout, as in `Cuda::launch`, which is
            // copied; nodes are those of this graph.
            unsafe { sys::cuGraphAddKernelNode(&mut added, graph, before.as_ptr(), before.len(), &node) }
                .result()
                .map_err(|e| self.fault("making a graph", e))?;
            nodes.push(added);
        }
        Ok(())
    }

    /// A graph of launches one after another. The caller destroys it.
    fn capture(&self, key: Key, plan: &Plan) -> Result<sys::CUgraph> {
        let fault = |e| self.fault("making a graph", e);
        // The driver may load a kernel when it is first asked for, which it must not do during a
        // capture.
        plan.calls().iter().try_for_each(|call| self.function(call.variant(self.precision).0).map(drop))?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives. It gets nothing but launches until the capture ends, and the
        // capture ends in any case. The launches are those of `Backend::run`.
        unsafe {
            result::stream::begin_capture(self.stream.0, mode).map_err(fault)?;
            let mut calls = (0..key.times).flat_map(|_| plan.calls());
            let launched = calls.try_for_each(|call| self.launch(call, key.arena));
            let graph = result::stream::end_capture(self.stream.0);
            launched?;
            graph.map_err(fault)
        }
    }

    fn instantiate(&self, key: Key, graph: sys::CUgraph) -> Result<Graph> {
        // SAFETY: the graph was just made, and is of no use once it is instantiated.
        unsafe {
            let executable = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            Ok(Graph { key, executable: executable.map_err(|e| self.fault("making a graph", e))? })
        }
    }
}

/// Launches a kernel that may start before the one before it has ended. The kernel itself waits for
/// that end.
///
/// # Safety
/// As for `cuLaunchKernel`, and the kernel begins with `griddepcontrol.wait`.
pub(crate) unsafe fn launch_early(
    function: sys::CUfunction,
    grid: Grid,
    stream: sys::CUstream,
    parameters: &mut [*mut c_void],
) -> std::result::Result<(), DriverError> {
    let mut attribute = sys::CUlaunchAttribute {
        id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
        pad: [0; 4],
        value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
    };
    let config = sys::CUlaunchConfig {
        gridDimX: grid.blocks,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: grid.threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: 0,
        hStream: stream,
        attrs: &mut attribute,
        numAttrs: 1,
    };
    // SAFETY: the caller's.
    unsafe { sys::cuLaunchKernelEx(&config, function, parameters.as_mut_ptr(), std::ptr::null_mut()) }.result()
}

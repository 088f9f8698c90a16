// A plan's calls `times` times over in one launch: a loop and a switch over the functions of all kernels. The blocks of the
// grid run at the same time; calls of a phase share them, and at its end all blocks wait for one another.
//
// build.rs defines KERNELS(CALL) as CALL(number, function, Args, Shared) for every other kernel, numbered by name, and
// KERNELS_bf16x3(CALL) with the variants of products; it includes this file last.
#pragma once
#include "simt.cuh"

struct PlanCall {            // field for field: src/backend/persistent.rs
  u32 kernel;                // its number
  u32 first;                 // the block that has the call's first share
  u32 ends_phase, pad;
  u64 args[32];              // the argument struct
};
struct RunPlan {             // field for field: src/backend/persistent.rs
  const PlanCall* calls;     // [n]
  u32* arrived;              // [1] how often a block came to a barrier, in all launches
  u32 n, times;
  u32 before, pad;           // what `arrived` was before this launch
};

// Two calls, of which one runs while the other is fetched, and the shared memory of any kernel.
#define MEMBER(number, function, Args, Shared) Shared of_##number;
#define CASE(number, function, Args, Shared)                               \
  case number:                                                             \
    function(at, *static_cast<const Args*>(args), memory.of_##number); \
    break;
#define SHARED_OF_PLANS(name, KERNELS)                                       \
  struct name {                                                              \
    PlanCall calls[2];                                                       \
    alignas(16) union {                                                      \
      KERNELS(MEMBER)                                                        \
    } memory;                                                                \
    DEVICE_MEMBER void run(Where at, u32 kernel, const void* args) {         \
      switch (kernel) { KERNELS(CASE) }                                      \
    }                                                                        \
  };
SHARED_OF_PLANS(RunPlanShared, KERNELS)
SHARED_OF_PLANS(RunPlanShared_bf16x3, KERNELS_bf16x3)

template <class Shared>
DEVICE void run_plan(Where at, const RunPlan& a, Shared& shared) {
  auto fetch = [&](u32 i) {
    const u64* from = reinterpret_cast<const u64*>(a.calls + i % a.n);
    u64* to = reinterpret_cast<u64*>(&shared.calls[i % 2]);
    for (u32 word = at.thread; word < sizeof(PlanCall) / 8; word += at.threads) to[word] = from[word];
  };
  u32 arrived = a.before;
  fetch(0);
  block_sync();  // the first call is there
  for (u32 i = 0; i < a.n * a.times; ++i) {
    fetch(i + 1);
    const PlanCall& call = shared.calls[i % 2];
    shared.run(Where{(at.block + at.blocks - call.first) % at.blocks, at.blocks, at.thread, at.threads}, call.kernel, call.args);
    if (call.ends_phase)
      grid_sync(at, a.arrived, arrived += at.blocks);
    else
      block_sync();  // the next call is there, and shared memory is free
  }
}
GRID_KERNEL(run_plan, RunPlan, RunPlanShared, 256)
GRID_VARIANT(run_plan, bf16x3, RunPlan, RunPlanShared_bf16x3, 256)

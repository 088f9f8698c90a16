// Runs a plan's calls `times` times over in one launch: a loop and a switch over the functions of
// all kernels. The blocks of the grid run at the same time. They share the calls of a phase, and
// wait for one another at its end. A block goes through the calls alone in which it has a share. At
// the end of a phase it first says that it has arrived. Then it begins to fetch the weights of its
// next product, runs the calls that float, and waits (src/backend/persistent/phases/mod.rs).
//
// build.rs includes this file last. Before it, it defines KERNELS(CALL) as CALL(number, function,
// Args, Shared) for every other kernel, numbered by name, and KERNELS_bf16x3(CALL) with the
// variants of products.
#pragma once
#include "simt.cuh"

struct PlanCall {            // field for field: src/backend/persistent/mod.rs
  u32 kernel;                // its number
  u32 first_block;           // the block that has the first share
  u32 first, end, shares;    // the shares first .. end of `shares`: each is a block of the call's own grid
  u32 late;                  // how many rounds ago its repetition began
  u32 fetches;               // 1: it only begins to fetch its weights
  u32 fetched;               // 1 + the place of its weights in kept_memory(), in numbers; 0: not there
  u32 stays;                 // numbers of kept_memory() that a share keeps from one repetition to the next, if any
  u32 pad[3];
  u64 args[32];              // the argument struct
};
// After a call a block says that it has come to the end of a phase, or waits until all blocks have,
// or first one and then the other. After the last call of a round comes the next round.
enum Then { ARRIVES = 1, WAITS = 2, ENDS_ROUND = 4 };
// A call that a block goes through.
struct Own {                 // field for field: src/backend/persistent/mod.rs
  u32 row;                   // its number
  u32 resident;              // 1 + the place in kept_memory() of what the block's first share keeps; 0: nothing
  u32 then;                  // flags: see Then
  u32 next;                  // the place in `own` of the call that follows
};
struct RunPlan {             // field for field: src/backend/persistent/mod.rs
  const PlanCall* calls;     // [n]
  u32* arrived;              // [1] count of arrivals of blocks at the end of a phase, in all launches
  const Own* own;            // the calls of all blocks
  const u32* begins;         // [blocks] the place in `own` of each block's first
  u32 n, times, rounds;      // calls, repetitions, and rounds: `times` and the largest `late` of a call
  u32 before;                // what `arrived` was before this launch
};

// The calls that a block holds, those to come among them, and the shared memory of any kernel.
#define HELD 3u
#define MEMBER(number, function, Args, Shared) Shared of_##number;
#define CASE(number, function, Args, Shared)                               \
  case number:                                                             \
    function(at, *static_cast<const Args*>(args), memory.of_##number); \
    break;
#define SHARED_OF_PLANS(name, KERNELS)                                       \
  struct name {                                                              \
    alignas(16) PlanCall calls[HELD];                                        \
    alignas(16) Own own[HELD];                                               \
    alignas(16) union {                                                      \
      KERNELS(MEMBER)                                                        \
    } memory;                                                                \
    DEVICE_MEMBER void run(Where at, u32 kernel, const void* args) {         \
      switch (kernel) { KERNELS(CASE) }                                      \
    }                                                                        \
  };
SHARED_OF_PLANS(RunPlanShared, KERNELS)
SHARED_OF_PLANS(RunPlanShared_bf16x3, KERNELS_bf16x3)

// With TIMELINE each block records its clock in the latest rounds, for
// src/backend/cuda/timeline.rs. It does so when it comes to a row, has done its share, has said
// that it is there, and goes on.
#ifdef TIMELINE
enum { CAME, DONE, ARRIVED, WENT_ON, NOTES };
extern "C" DEVICE_MEMORY u64 timeline[1 << 20];
DEVICE_MEMORY u64 timeline[1 << 20];
DEVICE void note(Where at, const RunPlan& a, u32 round, u32 row, u32 what) {
  const u32 rounds = (1 << 20) / (NOTES * a.n * at.blocks);
  if (at.thread == 0) timeline[((u64(round % rounds) * a.n + row) * at.blocks + at.block) * NOTES + what] = cycles();
}
#define NOTE(what) note(at, a, round, here, what)
#else
#define NOTE(what)
#endif

template <class Shared>
DEVICE void run_plan(Where at, const RunPlan& a, Shared& shared) {
  u32 arrived = a.before, ahead = a.begins[at.block], row = a.own[ahead].row, next = a.own[ahead].next, place = 0;
  auto fetch_next = [&] {
    const float* from = reinterpret_cast<const float*>(a.calls + row);
    float* to = reinterpret_cast<float*>(&shared.calls[place]);
    const u32 word = 4 * at.thread;
    if (word < sizeof(PlanCall) / 4) copy_start<16>(to + word, from + word, true);
    if (at.thread == at.threads - 1)
      copy_start<16>(reinterpret_cast<float*>(&shared.own[place]), reinterpret_cast<const float*>(a.own + ahead), true);
    copies_close();
    place = place + 1 < HELD ? place + 1 : 0;
    ahead = next, row = a.own[ahead].row, next = a.own[ahead].next;  // there by the next time
  };
  fetch_next(), fetch_next();
  copies_wait<1>();
  block_sync();  // the first call is there
  for (u32 round = 0; round < a.rounds;) {
    fetch_next();
    const PlanCall& call = shared.calls[place];
    const u32 then = shared.own[place].then;
    [[maybe_unused]] const u32 here = shared.own[place].row;
    NOTE(CAME);
    const u32 repetition = round - call.late;
    if (repetition < a.times) {  // false before its first repetition, too (it wraps)
      const u32 before = at.block < call.first_block ? at.blocks : 0;
      const u32 weights = call.fetched == 0 ? STREAM : call.fetches ? FETCH : FETCHED;
      if (weights == FETCHED) {
        copies_wait<1>();
        block_sync();  // the weights are there
      }
      const u32 which = (repetition == 0 ? FIRST : 0) | (repetition + 1 == a.times ? LAST : 0);
      u32 resident = shared.own[place].resident;
      for (u32 share = call.first + at.block + before - call.first_block; share < call.end; share += at.blocks) {
        shared.run(Where{share, call.shares, at.thread, at.threads, weights, call.fetched - 1, resident, which}, call.kernel,
                   call.args);
        resident += resident ? call.stays : 0;
        block_sync();  // shared memory is free
      }
    }
    NOTE(DONE);
    copies_wait<1>();
    block_sync();  // the next call is there, and all threads are done
    if (then & ARRIVES) grid_arrive(at, a.arrived);
    NOTE(ARRIVED);
    if (then & WAITS) grid_wait(at, a.arrived, arrived += at.blocks);
    NOTE(WENT_ON);
    round += then & ENDS_ROUND ? 1 : 0;
  }
}
GRID_KERNEL(run_plan, RunPlan, RunPlanShared, 256)
GRID_VARIANT(run_plan, bf16x3, RunPlan, RunPlanShared_bf16x3, 256)

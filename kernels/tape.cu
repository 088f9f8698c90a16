// A tape of a rollout: each step writes a tensor down, and a pass backward takes it up again.
//     y[row, i] = x[i]      or, to load it: y[i] = x[row, i]
#pragma once
#include "state.cuh"

struct Tape {                      // field for field: src/ops/tape.rs
  const StepState* state;          // [1] minibatch: the row
  const float* x;                  // [N], to load [T, N]
  float* y;                        // [T, N], to load [N]
  u32 t, n, load, pad;
};

DEVICE void tape(Where at, const Tape& a, NoShared&) {
  const u64 row = u64(a.state->minibatch) * a.n;
  const float* from = a.load ? a.x + row : a.x;
  float* to = a.load ? a.y : a.y + row;
  for (u64 i = u64(at.block) * at.threads + at.thread; i < a.n; i += u64(at.blocks) * at.threads) to[i] = from[i];
}
KERNEL(tape, Tape, NoShared, 256)

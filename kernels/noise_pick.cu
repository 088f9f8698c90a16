// Draws one entry per row of the gate: the first at which the running sum exceeds a uniform number.
// Or takes the largest entry, the first one on a tie. A row is one thread's.
#pragma once
#include "philox.cuh"
#include "state.cuh"

struct NoisePick {          // field for field: src/ops/noise.rs, pick
  const StepState* state;   // [1], absent for the largest entry
  const float* gate;        // [B, E]
  u32* pick;                // [B]
  u32 b, e, largest, pad;
};
#define PICK 5u             // Purpose::Pick in src/philox.rs

DEVICE void noise_pick(Where at, const NoisePick& a, NoShared&) {
  for (u32 b = at.block * at.threads + at.thread; b < a.b; b += at.blocks * at.threads) {
    const float* gate = a.gate + u64(b) * a.e;
    u32 pick = 0;
    if (a.largest) {
      for (u32 e = 1; e < a.e; ++e)
        if (gate[e] > gate[pick]) pick = e;
    } else {
      double left = random_bits(a.state->seed, PICK, a.state->step, b / 4).x[b % 4] / 4294967296.0;
      for (pick = 0; pick < a.e - 1; ++pick) {
        left -= gate[pick];
        if (left < 0) break;
      }
    }
    a.pick[b] = pick;
  }
}
KERNEL(noise_pick, NoisePick, NoShared, 64)

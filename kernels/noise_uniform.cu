// Uniform numbers of the current step in [0, 1): out[i] is number i of the stream (seed, purpose,
// step).
#pragma once
#include "philox.cuh"
#include "state.cuh"

struct NoiseUniform {       // field for field: src/ops/noise.rs, uniform
  const StepState* state;   // [1]
  float* out;               // [n]
  u32 n, purpose;
};

DEVICE void noise_uniform(Where at, const NoiseUniform& a, NoShared&) {
  for (u32 four = at.block * at.threads + at.thread; four < blocks_of(a.n, 4); four += at.blocks * at.threads) {
    const Four bits = random_bits(a.state->seed, a.purpose, a.state->step, four);
    for (u32 i = 0; i < 4; ++i)
      if (4 * four + i < a.n) a.out[4 * four + i] = unit(bits.x[i]);
  }
}
KERNEL(noise_uniform, NoiseUniform, NoShared, 64)

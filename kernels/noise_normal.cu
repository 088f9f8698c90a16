// Normal numbers of the current step: out[i] is scale times number i of the stream (seed, purpose,
// step).
#pragma once
#include "philox.cuh"
#include "state.cuh"

struct NoiseNormal {        // field for field: src/ops/noise.rs, normal
  const StepState* state;   // [1]
  float* out;               // [n]
  double scale;             // standard deviation
  u32 n, purpose;
};

DEVICE void noise_normal(Where at, const NoiseNormal& a, NoShared&) {
  for (u32 four = at.block * at.threads + at.thread; four < blocks_of(a.n, 4); four += at.blocks * at.threads) {
    Four bits = random_bits(a.state->seed, a.purpose, a.state->step, four);
    float normals[4];
    box_muller(bits.x[0], bits.x[1], &normals[0], &normals[1]);
    box_muller(bits.x[2], bits.x[3], &normals[2], &normals[3]);
    for (u32 i = 0; i < 4; ++i)
      if (4 * four + i < a.n) a.out[4 * four + i] = float(a.scale * double(normals[i]));
  }
}
KERNEL(noise_normal, NoiseNormal, NoShared, 256)

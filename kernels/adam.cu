// Adam over a range of parameters (Kingma and Ba, 2015), with the gradient's norm on the way.
//     squares[i] = the sum of g^2 over chunk i of CHUNK parameters, in double precision
// A chunk is one block's. Nothing is updated once a loss was not finite.
#pragma once
#include "adam.cuh"
#include "reduce.cuh"

struct Adam {                     // field for field: src/ops/adam.rs
  const float* grad;              // [n]
  const StepState* state;         // [1]
  const double* losses;           // [LOSSES]
  float *param, *m, *v;           // [n] updated
  double* squares;                // [chunks]
  double beta1, beta2, eps;
  u32 n, pad;
};
struct AdamShared {
  double parts[WARPS];
};
#define ADAM_CHUNK 2048u          // CHUNK in src/ops/adam.rs
#define ADAM_BATCH 8u             // numbers that a thread fetches at once, so that their latencies overlap

DEVICE void adam(Where at, const Adam& a, AdamShared& shared) {
  if (stands_still(a.losses)) return;
  const AdamStep step(a);
  for (u32 chunk = at.block; chunk < blocks_of(a.n, ADAM_CHUNK); chunk += at.blocks) {
    const u32 first = chunk * ADAM_CHUNK, end = min_of(ADAM_CHUNK, a.n - first);
    double sum = 0;
    for (u32 j = at.thread; j < end; j += ADAM_BATCH * at.threads) {
      float g[ADAM_BATCH], m[ADAM_BATCH], v[ADAM_BATCH], param[ADAM_BATCH];
      UNROLL for (u32 k = 0; k < ADAM_BATCH; ++k)
        if (j + k * at.threads < end) {
          const u32 i = first + j + k * at.threads;
          g[k] = a.grad[i], m[k] = a.m[i], v[k] = a.v[i], param[k] = a.param[i];
        }
      UNROLL for (u32 k = 0; k < ADAM_BATCH; ++k)
        if (j + k * at.threads < end) {
          const u32 i = first + j + k * at.threads;
          step(g[k], param[k], m[k], v[k]);
          a.param[i] = param[k], a.m[i] = m[k], a.v[i] = v[k];
          sum += double(g[k]) * g[k];
        }
    }
    sum = block_sum(at, sum, shared.parts);
    if (at.thread == 0) a.squares[chunk] = sum;
  }
}
KERNEL(adam, Adam, AdamShared, 256)

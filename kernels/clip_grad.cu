// The gradient's norm over all parameters. The gradient is scaled down where the norm is above a
// limit.
//     squares[i] = the sum of g^2 over chunk i of CHUNK parameters, in double precision
//     norm       = sqrt(sum squares)
//     g          = g min(1, limit / (norm + 1e-6))
// A chunk is one block's.
#pragma once
#include "reduce.cuh"

#define CLIP_CHUNK 16384u  // CHUNK in src/ops/clip_grad.rs

struct ClipGrad {       // field for field: src/ops/clip_grad.rs
  float* grad;          // [n]
  double* squares;      // [chunks]
  double limit;
  u32 n, pad;
};
struct ClipGradShared {
  double parts[WARPS];
};

DEVICE void clip_grad_squares(Where at, const ClipGrad& a, ClipGradShared& shared) {
  for (u32 chunk = at.block; chunk < blocks_of(a.n, CLIP_CHUNK); chunk += at.blocks) {
    const u32 first = chunk * CLIP_CHUNK, end = min_of(CLIP_CHUNK, a.n - first);
    double sum = 0;
    for (u32 j = at.thread; j < end; j += at.threads) sum += double(a.grad[first + j]) * a.grad[first + j];
    sum = block_sum(at, sum, shared.parts);
    if (at.thread == 0) a.squares[chunk] = sum;
  }
}
KERNEL(clip_grad_squares, ClipGrad, ClipGradShared, 1024)

DEVICE void clip_grad_scale(Where at, const ClipGrad& a, NoShared&) {
  double sum = 0;
  for (u32 chunk = 0; chunk < blocks_of(a.n, CLIP_CHUNK); ++chunk) sum += a.squares[chunk];
  const float factor = float(fmin(a.limit / (sqrt(sum) + 1e-6), 1.0));
  for (u32 i = at.block * at.threads + at.thread; i < a.n; i += at.blocks * at.threads) a.grad[i] *= factor;
}
KERNEL(clip_grad_scale, ClipGrad, NoShared, 1024)

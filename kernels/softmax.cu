// Gate logits to gate weights, row by row.
//     y[b,e]  = exp(x[b,e] - max_k x[b,k]) / sum_k exp(x[b,k] - max x)
//     dx[b,e] = y[b,e] (dy[b,e] - sum_k y[b,k] dy[b,k])
// A row is one thread's: there are few experts.
#pragma once
#include "simt.cuh"

struct Softmax {     // field for field: src/ops/softmax.rs
  const float* x;    // [B, E]
  float *y, *dy;     // [B, E]
  float* dx;         // [B, E] overwritten
  u32 b, e;
};

DEVICE void softmax_forward(Where at, const Softmax& a, NoShared&) {
  for (u32 row = at.block * at.threads + at.thread; row < a.b; row += at.blocks * at.threads) {
    const float* x = a.x + u64(row) * a.e;
    float* y = a.y + u64(row) * a.e;
    float top = x[0], sum = 0;
    for (u32 i = 1; i < a.e; ++i) top = fmaxf(top, x[i]);
    for (u32 i = 0; i < a.e; ++i) sum += y[i] = expf(x[i] - top);
    for (u32 i = 0; i < a.e; ++i) y[i] /= sum;
  }
}
KERNEL(softmax_forward, Softmax, NoShared, 64)

DEVICE void softmax_backward(Where at, const Softmax& a, NoShared&) {
  for (u32 row = at.block * at.threads + at.thread; row < a.b; row += at.blocks * at.threads) {
    const float *y = a.y + u64(row) * a.e, *dy = a.dy + u64(row) * a.e;
    float mean = 0;
    for (u32 i = 0; i < a.e; ++i) mean += y[i] * dy[i];
    for (u32 i = 0; i < a.e; ++i) a.dx[u64(row) * a.e + i] = y[i] * (dy[i] - mean);
  }
}
KERNEL(softmax_backward, Softmax, NoShared, 64)

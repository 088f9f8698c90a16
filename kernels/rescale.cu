// Each feature by its own scale and shift: y[i,f] = scale[f] x[i,f] + shift[f], and backward
// dx[i,f] (+)= scale[f] dy[i,f].
#pragma once
#include "simt.cuh"

struct Rescale {                        // field for field: src/ops/rescale.rs
  const float *x, *scale, *shift;       // [N, F]   [F]   [F]
  float* y;                             // [N, F]
  u32 n, f;
};

DEVICE void rescale(Where at, const Rescale& a, NoShared&) {
  const u64 all = u64(a.n) * a.f;
  for (u64 i = u64(at.block) * at.threads + at.thread; i < all; i += u64(at.blocks) * at.threads)
    a.y[i] = a.scale[i % a.f] * a.x[i] + a.shift[i % a.f];
}
KERNEL(rescale, Rescale, NoShared, 256)

struct RescaleBack {                    // field for field: src/ops/rescale.rs, back
  const float *dy, *scale;              // [N, F]   [F]
  float* dx;                            // [N, F] added to or overwritten
  u32 n, f, add, pad;
};

DEVICE void rescale_backward(Where at, const RescaleBack& a, NoShared&) {
  const u64 all = u64(a.n) * a.f;
  for (u64 i = u64(at.block) * at.threads + at.thread; i < all; i += u64(at.blocks) * at.threads)
    a.dx[i] = a.scale[i % a.f] * a.dy[i] + (a.add ? a.dx[i] : 0);
}
KERNEL(rescale_backward, RescaleBack, NoShared, 256)

// y = a x + b w, element by element; b w is left out when w is absent.
#pragma once
#include "simt.cuh"

struct Axpby {              // field for field: src/ops/axpby.rs
  const float *x, *w;       // [n]   [n] or absent
  float* y;                 // [n]
  double a, b;
  u32 n, pad;
};

DEVICE void axpby(Where at, const Axpby& a, NoShared&) {
  const float first = float(a.a), second = float(a.b);
  for (u32 i = at.block * at.threads + at.thread; i < a.n; i += at.blocks * at.threads)
    a.y[i] = first * a.x[i] + (a.w ? second * a.w[i] : 0);
}
KERNEL(axpby, Axpby, NoShared, 256)

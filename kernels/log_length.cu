// Vectors of two numbers keep their direction; a length r becomes gain ln(1 + r): x <- gain x ln(1
// + |x|) / |x|.
#pragma once
#include "simt.cuh"

struct LogLength {            // field for field: src/ops/log_length.rs
  float* x;                   // [B, D]
  double gain;
  u32 b, d, first, pad;       // pairs are all columns from `first` on
};

DEVICE void log_length(Where at, const LogLength& a, NoShared&) {
  const float gain = float(a.gain);
  for (u32 row = at.block * at.threads + at.thread; row < a.b; row += at.blocks * at.threads)
    for (u32 i = a.first; i + 1 < a.d; i += 2) {
      float* pair = a.x + u64(row) * a.d + i;
      const float length = sqrtf(pair[0] * pair[0] + pair[1] * pair[1]);
      const float factor = length > 0 ? gain * log1pf(length) / length : gain;
      pair[0] *= factor;
      pair[1] *= factor;
    }
}
KERNEL(log_length, LogLength, NoShared, 128)

struct LogLengthBack {        // field for field: src/ops/log_length.rs, back
  const float* y;             // [B, D] changed
  float* dy;                  // [B, D] becomes dx
  double gain;
  u32 b, d, first, pad;
};

// With r = exp(|y| / gain) - 1, f = |y| / r and u = y / |y|:
//     dx = f dy + (gain / (1 + r) - f) (u . dy) u
DEVICE void log_length_backward(Where at, const LogLengthBack& a, NoShared&) {
  const float gain = float(a.gain);
  for (u32 row = at.block * at.threads + at.thread; row < a.b; row += at.blocks * at.threads)
    for (u32 i = a.first; i + 1 < a.d; i += 2) {
      const float* y = a.y + u64(row) * a.d + i;
      float* dy = a.dy + u64(row) * a.d + i;
      const float length = sqrtf(y[0] * y[0] + y[1] * y[1]), old = expm1f(length / gain);
      const float across = old > 0 ? length / old : gain, along = old > 0 ? gain / (1 + old) : gain;
      const float part = length > 0 ? (along - across) * (y[0] * dy[0] + y[1] * dy[1]) / (length * length) : 0;
      dy[0] = across * dy[0] + part * y[0];
      dy[1] = across * dy[1] + part * y[1];
    }
}
KERNEL(log_length_backward, LogLengthBack, NoShared, 128)

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

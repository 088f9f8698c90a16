// Reconstruction loss, X = future frames * features.
//     losses[RECON] = sum (y - truth)^2 / (B X)       summed in double precision, by one block
#pragma once
#include "reduce.cuh"
#include "state.cuh"

struct ReconLoss {            // field for field: src/ops/recon_loss.rs
  const float *y, *truth;     // [B, X]
  double* losses;             // [LOSSES] RECON is written
  u32 b, x;
};
struct Sums {
  double parts[WARPS];
};

DEVICE void recon_loss_forward(Where at, const ReconLoss& a, Sums& shared) {
  if (at.block > 0) return;
  double sum = 0;
  const u64 n = u64(a.b) * a.x;
  for (u64 i = at.thread; i < n; i += at.threads) {
    float d = a.y[i] - a.truth[i];
    sum += double(d) * d;
  }
  sum = block_sum(at, sum, shared.parts);
  if (at.thread == 0) a.losses[RECON] = sum / double(n);
}
KERNEL(recon_loss_forward, ReconLoss, Sums, 1024)

// Reconstruction loss, X = future frames * features.
//   losses[RECON] = sum (y - truth)^2 / (B X)       summed in double precision, by one block
//   dy[b,x]       = 2 (y - truth) / (B X)
#pragma once
#include "reduce.cuh"
#include "state.cuh"

struct ReconLoss {            // field for field: src/ops/recon_loss.rs
  const float *y, *truth;     // [B, X]
  double* losses;             // [LOSSES] RECON is written
  float* dy;                  // [B, X] overwritten
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

DEVICE void recon_loss_backward(Where at, const ReconLoss& a, NoShared&) {
  const u64 n = u64(a.b) * a.x;
  const float scale = float(2.0 / double(n));
  for (u64 i = u64(at.block) * at.threads + at.thread; i < n; i += u64(at.blocks) * at.threads)
    a.dy[i] = scale * (a.y[i] - a.truth[i]);
}
KERNEL(recon_loss_backward, ReconLoss, NoShared, 256)

// Loss of separate experts, one of which predicts; X = future frames * features.
//     m[b,e]       = mean_x (each[e,b,x] - truth[b,x])^2
//     losses[RECON] = -mean_b log sum_e gate[b,e] exp(-m[b,e] / 2)
//     ratio[b,e]   = exp(-m[b,e] / 2) / sum_k gate[b,k] exp(-m[b,k] / 2), at most the largest float
//     dgate[b,e]   = -ratio[b,e] / B
//     deach[e,b,x] = gate[b,e] ratio[b,e] (each[e,b,x] - truth[b,x]) / (B X)
//     y[b,x]       = each[pick[b],b,x]        (specialist_predict)
// The sum over experts is a log-sum-exp, whose scale is set by the experts that the gate gives
// weight to.
#pragma once
#include "reduce.cuh"
#include "state.cuh"

struct SpecialistLoss {                   // field for field: src/ops/specialist_loss.rs
  const float *each, *gate, *truth;       // [E, B, X]   [B, E]   [B, X]
  const u32* pick;                        // [B]
  float *y, *ratio;                       // [B, X]   [B, E]
  double* losses;                         // [LOSSES] RECON is written
  float *deach, *dgate;                   // [E, B, X]   [B, E] overwritten
  u32 b, x, e, pad;
};
struct SpecialistShared {
  double parts[WARPS];
};

DEVICE void specialist_predict(Where at, const SpecialistLoss& a, NoShared&) {
  for (u32 b = at.block; b < a.b; b += at.blocks)
    for (u32 x = at.thread; x < a.x; x += at.threads)
      a.y[u64(b) * a.x + x] = a.each[(u64(a.pick[b]) * a.b + b) * a.x + x];
}
KERNEL(specialist_predict, SpecialistLoss, NoShared, 256)

DEVICE void specialist_loss_forward(Where at, const SpecialistLoss& a, SpecialistShared& shared) {
  if (at.block > 0) return;
  for (u32 i = at.thread / 32; i < a.b * a.e; i += at.threads / 32) {  // an expert's error on a sample is one warp's
    const u32 b = i / a.e, e = i % a.e;
    float sum = 0;
    for (u32 x = at.thread % 32; x < a.x; x += 32) {
      const float off = a.each[(u64(e) * a.b + b) * a.x + x] - a.truth[u64(b) * a.x + x];
      sum += off * off;
    }
    sum = warp_sum(sum);
    if (at.thread % 32 == 0) a.ratio[i] = float(-0.5 / a.x) * sum;
  }
  block_sync();  // ratio holds -m / 2
  double loss = 0;
  for (u32 b = at.thread; b < a.b; b += at.threads) {
    float* ratio = a.ratio + u64(b) * a.e;
    const float* gate = a.gate + u64(b) * a.e;
    float top = -INFINITY, sum = 0;
    for (u32 e = 0; e < a.e; ++e) top = fmaxf(top, ratio[e] + logf(gate[e]));
    for (u32 e = 0; e < a.e; ++e) sum += expf(ratio[e] + logf(gate[e]) - top);
    const float log_sum = top + logf(sum);
    for (u32 e = 0; e < a.e; ++e) ratio[e] = fminf(expf(ratio[e] - log_sum), 3.402823466e38f);
    loss -= log_sum;
  }
  loss = block_sum(at, loss, shared.parts);
  if (at.thread == 0) a.losses[RECON] = loss / a.b;
}
KERNEL(specialist_loss_forward, SpecialistLoss, SpecialistShared, 1024)

DEVICE void specialist_loss_backward(Where at, const SpecialistLoss& a, NoShared&) {
  const float share = float(1.0 / a.b);
  for (u32 i = at.block; i < a.b * a.e; i += at.blocks) {
    const u32 b = i / a.e, e = i % a.e;
    const float ratio = a.ratio[i], scale = a.gate[i] * ratio * share / float(a.x);
    for (u32 x = at.thread; x < a.x; x += at.threads) {
      const u64 j = (u64(e) * a.b + b) * a.x + x;
      a.deach[j] = scale * (a.each[j] - a.truth[u64(b) * a.x + x]);
    }
    if (at.thread == 0) a.dgate[i] = -ratio * share;
  }
}
KERNEL(specialist_loss_backward, SpecialistLoss, NoShared, 256)

// The clipped loss of proximal policy optimization, with the error of the critic. R returns, V
// values, A advantages.
//     ratio[b]         = exp(log pi(action[b]) - old_log_prob[b])
//     losses[SQUARE]   = sum_b,a mean[b,a]^2 / B
//     losses[VALUE]    = sum_b (R - V)^2 / B
//     losses[POLICY]   = -sum_b min(ratio A, clip(ratio) A) / B - entropy_weight losses[ENTROPY]
//                        + mean_weight losses[SQUARE]
//     losses[DIVERGED] = sum_b (ratio - 1 - ln ratio) / B
//     g[b]             = -ratio A / B where ratio A <= clip(ratio) A, else 0
//     dmean[b,a]       = g[b] off / std + 2 mean_weight mean / B
//                        off = (action - mean) / std, std = exp(logstd)
//     dlogstd[a]       = sum_b g[b] (off^2 - 1) - entropy_weight
//     dvalue[b]        = 2 WEIGHT (V - R) / B
// Forward is one block's; backward a column of actions is one block's.
#pragma once
#include "policy.cuh"
#include "reduce.cuh"
#include "state.cuh"

struct PpoLoss {                                            // field for field: src/ops/ppo_loss.rs
  const StepState* state;                                   // [1]
  const float *mean, *logstd, *value, *action;              // [B, A]   [A]   [B]   [B, A]
  const float *old_log_prob, *returns, *advantages;         // [B]
  float* ratio;                                             // [B]
  double* losses;                                           // [LOSSES]
  float *dmean, *dlogstd, *dvalue;                          // [B, A]   [A]   [B]
  double clip, entropy_weight, mean_weight;
  u32 b, a;
};
struct PpoLossShared {
  double parts[WARPS];
};
// Places in the buffer of losses (src/ops/ppo_loss.rs, slot).
enum PpoSlot { POLICY = RECON, SQUARE = 1, ENTROPY = 2, VALUE = REGULARIZER, CLIPPED = 7, DIVERGED = 8 };

struct Surrogates {
  float free, clipped;
};
DEVICE Surrogates surrogates(float ratio, float advantage, double clip) {
  const float low = float(1.0 - clip), high = float(1.0 + clip);
  const float held = ratio < low ? low : ratio > high ? high : ratio;
  return Surrogates{ratio * advantage, held * advantage};
}

DEVICE void ppo_loss_forward(Where at, const PpoLoss& a, PpoLossShared& shared) {
  if (at.block > 0) return;
  double action_loss = 0, value_loss = 0, outside = 0, diverged = 0, entropy = 0, square = 0;
  for (u32 row = at.thread; row < a.b; row += at.threads) {
    const u64 first = u64(row) * a.a;
    const float log_ratio = log_density(a.a, a.action + first, a.mean + first, a.logstd) - a.old_log_prob[row];
    for (u32 i = 0; i < a.a; ++i) square += double(a.mean[first + i]) * double(a.mean[first + i]);
    const float ratio = expf(log_ratio);
    const Surrogates s = surrogates(ratio, a.advantages[row], a.clip);
    const double off = a.returns[row] - a.value[row];
    a.ratio[row] = ratio;
    action_loss -= s.clipped < s.free ? s.clipped : s.free;  // a NaN stays one
    value_loss += off * off;
    diverged += double(ratio) - 1 - double(log_ratio);
    outside += fabs(double(ratio) - 1.0) > a.clip;
  }
  for (u32 i = at.thread; i < a.a; i += at.threads) entropy += 1.4189385332046727 + a.logstd[i];
  action_loss = block_sum(at, action_loss, shared.parts);
  value_loss = block_sum(at, value_loss, shared.parts);
  outside = block_sum(at, outside, shared.parts);
  diverged = block_sum(at, diverged, shared.parts);
  entropy = block_sum(at, entropy, shared.parts);
  square = block_sum(at, square, shared.parts);
  if (at.thread > 0) return;
  double* losses = a.losses;
  losses[ENTROPY] = entropy;
  losses[DIVERGED] = diverged / a.b;
  losses[VALUE] = value_loss / a.b;
  losses[CLIPPED] = outside / a.b;
  losses[SQUARE] = square / a.b;
  losses[POLICY] = action_loss / a.b - a.entropy_weight * entropy + a.mean_weight * losses[SQUARE];
  losses[TOTAL] = losses[POLICY] + losses[WEIGHT] * losses[VALUE];
  if (!isfinite(losses[TOTAL]) && losses[NONFINITE_STEP] == 0) losses[NONFINITE_STEP] = double(a.state->step);
}
KERNEL(ppo_loss_forward, PpoLoss, PpoLossShared, 1024)

DEVICE void ppo_loss_backward(Where at, const PpoLoss& a, PpoLossShared& shared) {
  const float weight = float(2.0 * a.losses[WEIGHT] / a.b), pull = float(2.0 * a.mean_weight / a.b);
  for (u32 i = at.block; i < a.a; i += at.blocks) {
    const float std = expf(a.logstd[i]);
    double sum = 0;
    for (u32 row = at.thread; row < a.b; row += at.threads) {
      const u64 j = u64(row) * a.a + i;
      const Surrogates s = surrogates(a.ratio[row], a.advantages[row], a.clip);
      const float g = s.free <= s.clipped ? -s.free / float(a.b) : 0;
      const float off = (a.action[j] - a.mean[j]) / std;
      a.dmean[j] = g * off / std + pull * a.mean[j];
      sum += g * (off * off - 1);
      if (i == 0) a.dvalue[row] = weight * (a.value[row] - a.returns[row]);
    }
    sum = block_sum(at, sum, shared.parts);
    if (at.thread == 0) a.dlogstd[i] = float(sum - a.entropy_weight);
  }
}
KERNEL(ppo_loss_backward, PpoLoss, PpoLossShared, 256)

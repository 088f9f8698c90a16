// An action of a diagonal Gaussian policy, and its log-density at the clipped value. A sample is
// one thread's.
//     action[b,a] = clip(mean[b,a] + exp(logstd[a]) noise[b,a], -1, 1)
//     without noise: mean[b,a]
//     log_prob[b] = sum_a log N(action[b,a]; mean[b,a], exp(logstd[a])^2)
#pragma once
#include "policy.cuh"

struct GaussianAction {                   // field for field: src/ops/gaussian_action.rs
  const float *mean, *logstd, *noise;     // [B, A]   [A]   [B, A] or absent
  float *action, *log_prob;               // [B, A]   [B]
  u32 b, a;
};

DEVICE void gaussian_action(Where at, const GaussianAction& a, NoShared&) {
  for (u32 row = at.block * at.threads + at.thread; row < a.b; row += at.blocks * at.threads) {
    const float* mean = a.mean + u64(row) * a.a;
    float* action = a.action + u64(row) * a.a;
    for (u32 i = 0; i < a.a; ++i) {
      const float drawn = a.noise ? mean[i] + expf(a.logstd[i]) * a.noise[u64(row) * a.a + i] : mean[i];
      action[i] = a.noise ? fminf(fmaxf(drawn, -1.0f), 1.0f) : drawn;
    }
    a.log_prob[row] = log_density(a.a, action, mean, a.logstd);
  }
}
KERNEL(gaussian_action, GaussianAction, NoShared, 64)

struct GaussianActionBack {               // field for field: src/ops/gaussian_action.rs, back
  const float *daction, *action, *mean;   // [B, A]
  float* dmean;                           // [B, A]
  double pull;
  u32 b, a;
};

// dmean = daction, 0 where the action is clipped, + pull mean. An entry is one thread's.
DEVICE void gaussian_action_backward(Where at, const GaussianActionBack& a, NoShared&) {
  const u64 all = u64(a.b) * a.a;
  for (u64 i = u64(at.block) * at.threads + at.thread; i < all; i += u64(at.blocks) * at.threads)
    a.dmean[i] = float(a.pull) * a.mean[i] + (fabsf(a.action[i]) < 1 ? a.daction[i] : 0);
}
KERNEL(gaussian_action_backward, GaussianActionBack, NoShared, 256)

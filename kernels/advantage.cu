// Generalised advantage estimation over a rollout; the advantages are brought to mean 0 and
// standard deviation 1. An outcome has three numbers. The first, r, is the reward, here times
// reward_scale. The second, m, is 0 where the episode ended. The third, b, is 0 where what comes
// next is not the step's doing: time was out, or something else is asked for. From the last step
// back:
//     A[t] = b (r + gamma m V[t+1] - V[t] + gamma lambda m A[t+1])        R[t] = A[t] + V[t]
//     without lambda: R[t] = b (r + gamma m R[t+1]) + (1 - b) V[t], A[t] = R[t] - V[t]
// A character is one thread's; the normalisation is one block's, in double precision.
#pragma once
#include "reduce.cuh"

struct Advantage {                      // field for field: src/ops/advantage.rs
  const float *outcomes, *values;       // [T, P, 3]   [T + 1, P]
  float *returns, *advantages;          // [T, P]
  double gamma, lambda, reward_scale;
  u32 t, p, gae, pad;
};
struct AdvantageShared {
  double parts[WARPS];
};

DEVICE void advantage_estimate(Where at, const Advantage& a, NoShared&) {
  const float gamma = float(a.gamma), lambda = float(a.lambda), reward_scale = float(a.reward_scale);
  for (u32 p = at.block * at.threads + at.thread; p < a.p; p += at.blocks * at.threads) {
    float later = a.gae ? 0 : a.values[u64(a.t) * a.p + p];
    for (u32 t = a.t; t-- > 0;) {
      const u64 i = u64(t) * a.p + p;
      const float reward = reward_scale * a.outcomes[i * 3], mask = a.outcomes[i * 3 + 1], bad = a.outcomes[i * 3 + 2];
      const float now = a.values[i], next = a.values[i + a.p];
      if (a.gae) {
        later = bad * (reward + gamma * next * mask - now + gamma * lambda * mask * later);
        a.returns[i] = later + now;
      } else {
        later = bad * (gamma * mask * later + reward) + (1 - bad) * now;
        a.returns[i] = later;
      }
      a.advantages[i] = a.returns[i] - now;
    }
  }
}
KERNEL(advantage_estimate, Advantage, NoShared, 64)

DEVICE void advantage_normalize(Where at, const Advantage& a, AdvantageShared& shared) {
  if (at.block > 0) return;
  const u64 n = u64(a.t) * a.p;
  double sum = 0, squares = 0;
  for (u64 i = at.thread; i < n; i += at.threads) sum += a.advantages[i];
  const double mean = block_sum(at, sum, shared.parts) / double(n);
  for (u64 i = at.thread; i < n; i += at.threads) {
    const double off = a.advantages[i] - mean;
    squares += off * off;
  }
  squares = block_sum(at, squares, shared.parts);
  const double scale = 1 / (sqrt(squares / (double(n) - 1)) + 1e-5);
  for (u64 i = at.thread; i < n; i += at.threads) a.advantages[i] = float((a.advantages[i] - mean) * scale);
}
KERNEL(advantage_normalize, Advantage, AdvantageShared, 1024)

// Experience of characters, kept for learning: a step is written into its row of a rollout, and a
// mini-batch is picked from all rows.
#pragma once
#include "state.cuh"

struct ExperienceStore {                                             // field for field: src/ops/experience.rs, store
  const StepState* state;                                            // [1] minibatch: the row
  const float *observation, *action, *log_prob, *outcome;            // [P, D]   [P, A]   [P]   [P, 3]
  float *observations, *actions, *log_probs, *outcomes;              // [T + 1, P, D]   [T, P, A]   [T, P]   [T, P, 3]
  u32 t, p, d, a;
};
struct ExperienceGather {                                            // field for field: src/ops/experience.rs, gather
  const StepState* state;                                            // [1] minibatch: place of the first in the order
  const u32* order;                                                  // [M]
  const float *observations, *actions, *log_probs, *returns, *advantages;  // [N, D]   [N, A]   [N]   [N]   [N]
  float *observation, *action, *log_prob, *ret, *advantage;          // [B, D]   [B, A]   [B]   [B]   [B]
  u32 m, n, b, d, a, pad;
};

// to[i] = from(i), each element by one thread of the grid.
template <class From>
DEVICE void copy_elements(Where at, u64 n, float* to, From from) {
  for (u64 i = u64(at.block) * at.threads + at.thread; i < n; i += u64(at.blocks) * at.threads) to[i] = from(i);
}

DEVICE void experience_store(Where at, const ExperienceStore& a, NoShared&) {
  const u64 t = a.state->minibatch, p = a.p;
  copy_elements(at, p * a.d, a.observations + (t + 1) * p * a.d, [&](u64 i) { return a.observation[i]; });
  copy_elements(at, p * a.a, a.actions + t * p * a.a, [&](u64 i) { return a.action[i]; });
  copy_elements(at, p, a.log_probs + t * p, [&](u64 i) { return a.log_prob[i]; });
  copy_elements(at, p * 3, a.outcomes + t * p * 3, [&](u64 i) { return a.outcome[i]; });
}
KERNEL(experience_store, ExperienceStore, NoShared, 256)

DEVICE void experience_gather(Where at, const ExperienceGather& a, NoShared&) {
  const u32* order = a.order + a.state->minibatch;
  const u64 b = a.b;
  copy_elements(at, b * a.d, a.observation, [&](u64 i) { return a.observations[u64(order[i / a.d]) * a.d + i % a.d]; });
  copy_elements(at, b * a.a, a.action, [&](u64 i) { return a.actions[u64(order[i / a.a]) * a.a + i % a.a]; });
  copy_elements(at, b, a.log_prob, [&](u64 i) { return a.log_probs[order[i]]; });
  copy_elements(at, b, a.ret, [&](u64 i) { return a.returns[order[i]]; });
  copy_elements(at, b, a.advantage, [&](u64 i) { return a.advantages[order[i]]; });
}
KERNEL(experience_gather, ExperienceGather, NoShared, 256)

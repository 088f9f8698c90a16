// Shares of rewards and values in the objective of short-horizon actor-critic. D is 1 at a piece's
// start, and gamma times that of the step before within it. A piece ends with a step that does not
// go on by its own doing.
//     rewards[t] = -D / (T P), 0 where a piece ends
//     values[t] = -D / (reward_scale T P) where it ends though the character was not lost, else 0
//     values[T] = -D / (reward_scale T P)
// A character is one thread's.
#pragma once
#include "simt.cuh"

struct Horizon {                        // field for field: src/ops/horizon.rs
  const float* outcomes;                // [T, P, 3]
  float *rewards, *values;              // [T, P]   [T + 1, P]
  double gamma, reward_scale;
  u32 t, p;
};

DEVICE void horizon(Where at, const Horizon& a, NoShared&) {
  const float share = float(-1 / (double(a.t) * a.p)), of_value = share / float(a.reward_scale);
  for (u32 p = at.block * at.threads + at.thread; p < a.p; p += at.blocks * at.threads) {
    float discount = 1;
    for (u32 t = 0; t < a.t; ++t) {
      const u64 i = u64(t) * a.p + p;
      const bool alive = a.outcomes[3 * i + 1] != 0, its_doing = a.outcomes[3 * i + 2] != 0;
      a.rewards[i] = alive && its_doing ? share * discount : 0;
      a.values[i] = its_doing ? 0 : of_value * discount;
      discount = alive && its_doing ? float(a.gamma) * discount : 1;
    }
    a.values[u64(a.t) * a.p + p] = of_value * discount;
  }
}
KERNEL(horizon, Horizon, NoShared, 64)

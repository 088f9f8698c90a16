// The weight of the KL in the loss by one of three rules (src/ops/kl_weight.rs gives their source),
// the total loss, and the first step at which it was not finite. One thread.
//     running = 0.999 running + 0.001 losses[RECON], at first losses[RECON]
//     weight  = a     or max(a running, c)
//               or weight exp(0.002 min(losses[KL] / a - 1, 1)), at first c
//     losses[WEIGHT] = kl_scale weight
//     losses[TOTAL]  = losses[RECON] + losses[WEIGHT] losses[REGULARIZER]
#pragma once
#include "state.cuh"

struct KlWeight {             // field for field: src/ops/kl_weight.rs
  const StepState* state;     // [1]
  double* losses;             // [LOSSES] WEIGHT, TOTAL and NONFINITE_STEP are written
  double* controller;         // [4] steps seen, running reconstruction loss, weight
  StepState* kept_state;      // [1]       copies of state and losses for an update that may go on while the next step has
  double* kept_losses;        // [LOSSES]  begun; may be absent
  double a, c;                // fixed: weight   auto: units, floor   target: KL, first weight
  u32 rule, pad;              // 0 fixed, 1 auto, 2 target
};

DEVICE void kl_weight(Where at, const KlWeight& a, NoShared&) {
  if (at.block > 0 || at.thread > 0) return;
  double *losses = a.losses, *memory = a.controller;
  const bool first = memory[0] == 0;
  memory[0] += 1;
  memory[1] = first ? losses[RECON] : 0.999 * memory[1] + (1.0 - 0.999) * losses[RECON];
  if (a.rule == 0) {
    memory[2] = a.a;
  } else if (a.rule == 1) {
    memory[2] = fmax(a.a * memory[1], a.c);
  } else if (first) {
    memory[2] = a.c;
  } else {
    const double weight = memory[2] * exp(0.002 * fmin(losses[KL] / a.a - 1.0, 1.0));
    memory[2] = weight < 1e-8 ? 1e-8 : weight > 1e3 ? 1e3 : weight;
  }
  losses[WEIGHT] = a.state->kl_scale * memory[2];
  losses[TOTAL] = losses[RECON] + losses[WEIGHT] * losses[REGULARIZER];
  if (!isfinite(losses[TOTAL]) && losses[NONFINITE_STEP] == 0) losses[NONFINITE_STEP] = double(a.state->step);
  if (a.kept_state) *a.kept_state = *a.state;
  for (u32 i = 0; a.kept_losses && i < LOSSES; ++i) a.kept_losses[i] = losses[i];
}
KERNEL(kl_weight, KlWeight, NoShared, 32)

// Task Target: reach a point; a character within 2 of it gets another one in the arena.
//     reward = progress + 20 (where the target is reached) + energy
#pragma once
#include "pull.cuh"

DEVICE void target_place(const World& a, u32 p, float x, float z) {
  put_goal(a, p, Vec{float(60 * a.body) * (x + x - 1), float(40 * a.body) * (z + z - 1)});
}

CHARACTER(target_step) {
  advance(a, p, lane);
  const float spent = energy(a, p, lane);
  if (lane > 0) return;
  const float potential = potential_of(a, p);
  const bool hit = potential > -2;
  const float reward = potential - own(a, p)[POTENTIAL] + (hit ? 20.0f : 0.0f) + spent;
  if (hit) target_place(a, p, drawn(a, p)[0], drawn(a, p)[1]);
  own(a, p)[POTENTIAL] = potential_of(a, p);
  finish(a, p, reward, false, false);
}
KERNEL(target_step, World, NoShared, 128)

CHARACTER(target_reset) {
  if (!is_done(a, p)) return;
  const Draws draws = restart(a, p, lane, time_is_out(a, p));
  if (lane > 0) return;
  target_place(a, p, draws.u[1], draws.u[2]);
  own(a, p)[POTENTIAL] = potential_of(a, p);
}
KERNEL(target_reset, World, NoShared, 128)

CHARACTER(target_observe) {
  float* extra = condition(a, p, lane);
  if (lane == 0) put(extra, 0, to_local(a.facing[p], way_to_goal(a, p)));
}
KERNEL(target_observe, World, NoShared, 128)

// A hit has no derivatives.
PULL(target_pull) {
  pull_energy(a, p, lane, a.weight[p]);
  if (lane == 0) pull_progress(a, p, back, a.weight[p]);
}
KERNEL(target_pull, Pull, NoShared, 128)

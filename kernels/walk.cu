// Task Walk: wander about at random, the feet not sliding where they stand.
//     reward = 1 - 10 sum over the feet of (2 - 2^h) times the distance that the foot went
// where h in [0, 1] is a foot's height over the height that counts as contact.
#pragma once
#include "pull.cuh"

CHARACTER(walk_step) {
  advance(a, p, lane);
  if (lane > 0) return;
  finish(a, p, 1 - 10 * slide_of(a, p), true, false);
}
KERNEL(walk_step, World, NoShared, 128)

CHARACTER(walk_reset) {
  if (is_done(a, p)) restart(a, p, lane, time_is_out(a, p));
}
KERNEL(walk_reset, World, NoShared, 128)

CHARACTER(walk_observe) {
  float* extra = condition(a, p, lane);
  for (u32 i = lane; i < a.l; i += 32) extra[i] = drawn(a, p)[i];
}
KERNEL(walk_observe, World, NoShared, 128)

PULL(walk_pull) {
  if (lane == 0) pull_slide(a, p, -10 * a.weight[p]);
}
KERNEL(walk_pull, Pull, NoShared, 128)

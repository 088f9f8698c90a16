// Task Walk: wander about at random, the feet not sliding where they stand.
//     reward = 1 - 10 sum over the feet of (2 - 2^h) times the distance that the foot went
// where h in [0, 1] is a foot's height over the height that counts as contact.
#pragma once
#include "world.cuh"

CHARACTER(walk_step) {
  advance(a, p, lane);
  if (lane > 0) return;
  const float* feet = a.feet + 12 * u64(p);
  float slide = 0;
  for (u32 foot = 0; foot < 2; ++foot) {
    const float *now = feet + 3 * foot, *before = now + 6;
    const float floor = float(foot == 0 ? a.floor_left : a.floor_right);
    const float height = (fmaxf(now[2], before[2]) - floor) / float(0.03 / 0.3048);
    const float held = 2 - exp2f(fminf(fmaxf(height, 0.0f), 1.0f));
    slide += length(Vec{now[0] - before[0], now[1] - before[1]}) / float(a.body) * held;
  }
  finish(a, p, 1 - 10 * slide, true, false);
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

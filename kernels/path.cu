// Task Path: stay with a point that runs along a closed path, one of the path's points a frame, 4
// ahead.
//     reward = progress + 2 (where the point is within 2) + 3/4 energy - mean |latent| / 200
#pragma once
#include "path.cuh"
#include "pull.cuh"

CHARACTER(path_step) {
  advance(a, p, lane);
  const float spent = energy(a, p, lane);
  float size = 0;
  for (u32 i = lane; i < a.l; i += 32) size += fabsf(a.latent[u64(p) * a.l + i]);
  size = warp_sum(size) / float(a.l);
  if (lane > 0) return;
  const float potential = potential_of(a, p), hit = potential > -2 ? 2 : 0;
  const float reward = potential - own(a, p)[POTENTIAL] + hit + 0.75f * spent - 0.005f * size;
  path_follow(a, p, time_of(a, p));
  own(a, p)[POTENTIAL] = potential_of(a, p);
  finish(a, p, reward, false, false);
}
KERNEL(path_step, World, NoShared, 128)

CHARACTER(path_reset) {
  if (!is_done(a, p)) return;
  const Draws draws = restart(a, p, lane, time_is_out(a, p));
  if (lane > 0) return;
  path_begin(a, p, draws.u[1]);
  if (a.literal) own(a, p)[POTENTIAL] = potential_of(a, p);  // before the root is placed
  path_place(a, p);
  if (!a.literal) own(a, p)[POTENTIAL] = potential_of(a, p);
}
KERNEL(path_reset, World, NoShared, 128)

CHARACTER(path_observe) {
  float* extra = condition(a, p, lane);
  if (lane < 4) put(extra, lane, path_ahead(a, p, 15 * lane));
}
KERNEL(path_observe, World, NoShared, 128)

// A hit has no derivatives.
PULL(path_pull) {
  pull_energy(a, p, lane, 0.75f * a.weight[p]);
  const float *latent = a.latent + u64(p) * a.l, size = -0.005f / float(a.l) * a.weight[p];
  float* dlatent = a.dlatent + u64(p) * a.l;
  for (u32 i = lane; i < a.l; i += 32) dlatent[i] = latent[i] > 0 ? size : latent[i] < 0 ? -size : latent[i];
  if (lane == 0) pull_progress(a, p, back, a.weight[p]);
}
KERNEL(path_pull, Pull, NoShared, 128)

// Task Path: stay with a point that runs along a closed path, one of the path's points a frame, 4
// ahead.
//     reward = progress + 2 (where the point is within 2) + 3/4 energy - mean |latent| / 200
#pragma once
#include "pull.cuh"

// The place on the path where a character started.
DEVICE u32& path_offset(const World& a, u32 p) { return a.words[u64(p) * a.w]; }
// Steps since time began.
DEVICE u32 since(const World& a, u32 p) { return time_of(a, p) % a.horizon; }
DEVICE void path_follow(const World& a, u32 p, u32 time) {
  put_goal(a, p, get(a.course, (time + path_offset(a, p) + 4) % a.n));
}

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
  const u32 offset = u32(double(draws.u[1]) * a.n), time = since(a, p);
  path_offset(a, p) = offset;
  path_follow(a, p, time);
  if (a.literal) own(a, p)[POTENTIAL] = potential_of(a, p);  // before the root is placed
  const u32 o = offset + (a.literal ? 0 : time);
  const Vec along = get(a.course, (o + 19) % a.n) - get(a.course, (o + 4) % a.n);
  put(a.root, p, get(a.course, o % a.n));
  a.facing[p] = wrapped(-atan2f(along.z, along.x));
  if (!a.literal) own(a, p)[POTENTIAL] = potential_of(a, p);
}
KERNEL(path_reset, World, NoShared, 128)

CHARACTER(path_observe) {
  float* extra = condition(a, p, lane);
  if (lane >= 4) return;
  const Vec point = get(a.course, (15 * lane + since(a, p) + path_offset(a, p) + 4) % a.n);
  put(extra, lane, to_local(a.facing[p], way(a, p, point)));
}
KERNEL(path_observe, World, NoShared, 128)

// A hit has no derivatives.
PULL(path_pull) {
  pull_energy(a, p, lane, 0.75f);
  const float *latent = a.latent + u64(p) * a.l, size = -0.005f / float(a.l) * a.weight[p];
  float* dlatent = a.dlatent + u64(p) * a.l;
  for (u32 i = lane; i < a.l; i += 32) dlatent[i] = latent[i] > 0 ? size : latent[i] < 0 ? -size : latent[i];
  if (lane == 0) pull_progress(a, p, back);
}
KERNEL(path_pull, Pull, NoShared, 128)

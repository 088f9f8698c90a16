// Task Walk: wander about at random, the feet not sliding where they stand.
//     reward = 1 - 10 sum over the feet of (2 - 2^h) times the distance that the foot went
// where h in [0, 1] is a foot's height over the height that counts as contact.
#pragma once
#include "pull.cuh"

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

// The distance that a foot goes is that of its place from the place before, seen from where the
// root now is. A character that has just started anew has no feet to compare.
PULL(walk_pull) {
  const float *frame = frame_of(a, p), *before = a.seen + u64(p) * a.d, *feet = a.feet + 12 * u64(p);
  float *dframe = dframe_of(a, p), *dbefore = a.dhistory + u64(p) * a.c * a.f;
  bool anew = true;
  for (u32 i = 0; i < 12; ++i) anew = anew && feet[i] == 1;
  if (lane > 0 || anew) return;
  const float contact = float(0.03 / 0.3048), by_slide = -10 * a.weight[p] / float(a.body);
  for (u32 foot = 0; foot < 2; ++foot) {
    const u32 place = 3 + 3 * (foot == 0 ? a.toe_left : a.toe_right);
    const float now = frame[place + 1], old = before[place + 1], floor = float(foot == 0 ? a.floor_left : a.floor_right);
    const float height = fminf(fmaxf((fmaxf(now, old) - floor) / contact, 0.0f), 1.0f), power = exp2f(height);
    const Vec moved = Vec{before[place], before[place + 2]} - get(frame, 0), seen = to_local(frame[2], moved);
    const Vec slide = Vec{frame[place], frame[place + 2]} - seen;
    const float far = length(slide);
    if (height > 0 && height < 1)
      *(now > old ? dframe + place + 1 : dbefore + place + 1) -= by_slide * far * 0.69314718f * power / contact;
    if (!(far > 0)) continue;
    const float factor = by_slide * (2 - power) / far;
    const Vec d{factor * slide.x, factor * slide.z}, by_place = to_world(frame[2], d);
    dframe[place] += d.x;
    dframe[place + 2] += d.z;
    dframe[0] += by_place.x;
    dframe[1] += by_place.z;
    dframe[2] += cross(d, seen);
    dbefore[place] -= by_place.x;
    dbefore[place + 2] -= by_place.z;
  }
}
KERNEL(walk_pull, Pull, NoShared, 128)

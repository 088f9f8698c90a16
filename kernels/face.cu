// Task Face: stand still and face a point of the arena, which changes every 150 steps.
//     reward = exp(cosine of the angle at which the point is seen - 1 - speed / largest speed)
#pragma once
#include "pull.cuh"

DEVICE void face_place(const World& a, u32 p, float x, float z) {
  put_goal(a, p, Vec{float(60 * a.body) * (x + x - 1), float(60 * a.body) * (z + z - 1)});
}

CHARACTER(face_step) {
  advance(a, p, lane);
  if (lane > 0) return;
  const float speed = length(get(frame_of(a, p), 0)) / float(a.body);
  const float cosine = bearing(a, p).x;
  if (asks_anew(a, p)) face_place(a, p, drawn(a, p)[0], drawn(a, p)[1]);
  finish(a, p, expf(cosine - 1 - speed / float(a.speed)), false, false);
}
KERNEL(face_step, World, NoShared, 128)

CHARACTER(face_reset) {
  if (!is_done(a, p)) return;
  const Draws draws = restart(a, p, lane, time_is_out(a, p));
  if (lane == 0) face_place(a, p, draws.u[1], draws.u[2]);
}
KERNEL(face_reset, World, NoShared, 128)

CHARACTER(face_observe) {
  float* extra = condition(a, p, lane);
  if (lane == 0) put(extra, 0, bearing(a, p));
}
KERNEL(face_observe, World, NoShared, 128)

// With the reward r: -r sin(angle) times the derivatives of the angle, -r / largest speed by the
// speed.
PULL(face_pull) {
  if (lane > 0) return;
  const Vec to_goal = get(own(a, p), 0) - back.end;
  const float angle = atan2f(to_goal.z, to_goal.x) + back.turned, square = dot(to_goal, to_goal);
  const float speed = float(a.speed), by_reward = a.weight[p] * expf(cosf(angle) - 1 - speed_of(a, p) / speed);
  const float by_angle = -by_reward * sinf(angle);
  back.dturned += by_angle;
  if (square > 0) back.dend.x += by_angle * to_goal.z / square, back.dend.z -= by_angle * to_goal.x / square;
  pull_speed(a, p, -by_reward / speed);
}
KERNEL(face_pull, Pull, NoShared, 128)

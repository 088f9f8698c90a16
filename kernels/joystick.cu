// Task Joystick: walk in a direction at a speed, which change every 120 and 240 steps.
//     reward = exp(cosine of the angle at which the target is seen - 1
//                  - 0.8 / largest speed |speed asked for - speed|)
#pragma once
#include "pull.cuh"

#define COMMAND 2  // src/ops/world/joystick.rs: direction, speed

DEVICE void joystick_turn(const World& a, u32 p, float draw) { own(a, p)[COMMAND] = TURN * draw; }
DEVICE void joystick_pace(const World& a, u32 p, float draw) {
  own(a, p)[COMMAND + 1] = float(floor(double(draw) * 9) / 8 * a.speed);
}
// Puts the target ahead of the root. The reference uses the sine of the speed in place of that of
// the direction.
DEVICE void joystick_aim(const World& a, u32 p) {
  const float direction = own(a, p)[COMMAND], side = a.literal ? own(a, p)[COMMAND + 1] : direction;
  const Vec root = get(a.root, p);
  const float ahead = float(10 * a.body);
  put_goal(a, p, Vec{root.x + ahead * cosf(direction), root.z + ahead * sinf(side)});
}

CHARACTER(joystick_step) {
  advance(a, p, lane);
  if (lane > 0) return;
  if (asks_anew(a, p)) joystick_turn(a, p, drawn(a, p)[0]);
  if (a.last && time_of(a, p) % 240 == 0) joystick_pace(a, p, drawn(a, p)[1]);
  joystick_aim(a, p);
  const float off = own(a, p)[COMMAND + 1] - length(get(frame_of(a, p), 0)) / float(a.body);
  finish(a, p, expf(bearing(a, p).x - 1 - float(0.8 / a.speed) * fabsf(off)), false, false);
}
KERNEL(joystick_step, World, NoShared, 128)

CHARACTER(joystick_reset) {
  if (!is_done(a, p)) return;
  const Draws draws = restart(a, p, lane, time_is_out(a, p));
  if (lane > 0) return;
  joystick_turn(a, p, draws.u[1]);
  joystick_pace(a, p, draws.u[2]);
  joystick_aim(a, p);
}
KERNEL(joystick_reset, World, NoShared, 128)

CHARACTER(joystick_observe) {
  float* extra = condition(a, p, lane);
  if (lane > 0) return;
  const float speed = own(a, p)[COMMAND + 1];
  const Vec v = bearing(a, p);
  put(extra, 0, Vec{speed * v.x, speed * v.z});
}
KERNEL(joystick_observe, World, NoShared, 128)

// With the reward r: -r sin(angle) by the facing, and by the speed 0.8 r / largest speed where that
// is too small, minus this where it is too large.
PULL(joystick_pull) {
  if (lane > 0) return;
  const float angle = own(a, p)[COMMAND] + back.turned, off = own(a, p)[COMMAND + 1] - speed_of(a, p);
  const float slope = float(0.8 / a.speed), by_reward = a.weight[p] * expf(cosf(angle) - 1 - slope * fabsf(off));
  back.dturned -= by_reward * sinf(angle);
  pull_speed(a, p, by_reward * (off < 0 ? -slope : slope));
}
KERNEL(joystick_pull, Pull, NoShared, 128)

// Task Joystick: walk in a direction at a speed, which change every 120 and 240 frames.
//     reward = exp(cosine of the angle at which the target is seen - 1
//                  - 0.8 / largest speed |speed asked for - speed|)
// A new command is not the doing of the step before it; in the reference it is.
#pragma once
#include "world.cuh"

DEVICE void joystick_turn(const World& a, u32 p, float draw) { a.command[2 * u64(p)] = TURN * draw; }
DEVICE void joystick_pace(const World& a, u32 p, float draw) {
  a.command[2 * u64(p) + 1] = float(floor(double(draw) * 9) / 8 * a.speed);
}
// Puts the target ahead of the root. The reference uses the sine of the speed in place of that of
// the direction.
DEVICE void joystick_aim(const World& a, u32 p) {
  const Vec command = get(a.command, p), root = get(a.root, p);
  const float ahead = float(10 * a.body), side = a.literal ? command.z : command.x;
  put(a.target, p, Vec{root.x + ahead * cosf(command.x), root.z + ahead * sinf(side)});
}
// Cosine and sine of the angle at which the target is seen.
DEVICE Vec bearing(const World& a, u32 p) {
  const Vec v = to_local(a.facing[p], way(a, p, get(a.target, p)));
  const float far = length(v);
  return Vec{v.x / far, v.z / far};
}

DEVICE void joystick_step(Where at, const World& a, NoShared&) {
  each_character(at, a, [&](u32 p, u32 lane) {
    advance(a, p, lane);
    if (lane > 0) return;
    const u32 time = time_of(a, p);
    const bool anew = a.last && time % 120 == 0;
    if (anew) joystick_turn(a, p, a.draws[2 * u64(p)]);
    if (a.last && time % 240 == 0) joystick_pace(a, p, a.draws[2 * u64(p) + 1]);
    joystick_aim(a, p);
    const float off = a.command[2 * u64(p) + 1] - length(get(frame_of(a, p), 0)) / float(a.body);
    finish(a, p, expf(bearing(a, p).x - 1 - float(0.8 / a.speed) * fabsf(off)), false, false);
    if (anew && !a.literal && !is_done(a, p)) a.outcome[3 * u64(p) + 2] = 0;
  });
}
KERNEL(joystick_step, World, NoShared, 128)

DEVICE void joystick_reset(Where at, const World& a, NoShared&) {
  each_character(at, a, [&](u32 p, u32 lane) {
    if (!is_done(a, p)) return;
    const Draws draws = restart(a, p, lane, time_is_out(a, p));
    if (lane > 0) return;
    joystick_turn(a, p, draws.u[1]);
    joystick_pace(a, p, draws.u[2]);
    joystick_aim(a, p);
  });
}
KERNEL(joystick_reset, World, NoShared, 128)

DEVICE void joystick_observe(Where at, const World& a, NoShared&) {
  each_character(at, a, [&](u32 p, u32 lane) {
    float* extra = condition(a, p, lane);
    if (lane > 0) return;
    const float speed = a.command[2 * u64(p) + 1];
    const Vec v = bearing(a, p);
    put(extra, 0, Vec{speed * v.x, speed * v.z});
  });
}
KERNEL(joystick_observe, World, NoShared, 128)

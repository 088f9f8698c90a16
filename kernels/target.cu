// Task Target: reach a point; a character within 2 of it gets another one in the arena.
//     reward = progress + 20 (where the target is reached) + energy
#pragma once
#include "world.cuh"

DEVICE void place_target(const World& a, u32 p, float x, float z) {
  put(a.target, p, Vec{float(60 * a.body) * (x + x - 1), float(40 * a.body) * (z + z - 1)});
}

DEVICE void target_step(Where at, const World& a, NoShared&) {
  each_character(at, a, [&](u32 p, u32 lane) {
    advance(a, p, lane);
    const float spent = energy(a, p, lane);
    if (lane > 0) return;
    const float potential = potential_of(a, p);
    const bool hit = potential > -2;
    const float reward = potential - a.potential[p] + (hit ? 20.0f : 0.0f) + spent;
    if (hit) place_target(a, p, a.draws[2 * u64(p)], a.draws[2 * u64(p) + 1]);
    a.potential[p] = potential_of(a, p);
    finish(a, p, reward, false, false);
  });
}
KERNEL(target_step, World, NoShared, 128)

DEVICE void target_reset(Where at, const World& a, NoShared&) {
  each_character(at, a, [&](u32 p, u32 lane) {
    if (!is_done(a, p)) return;
    const Draws draws = restart(a, p, lane, time_is_out(a, p));
    if (lane > 0) return;
    place_target(a, p, draws.u[1], draws.u[2]);
    a.potential[p] = potential_of(a, p);
  });
}
KERNEL(target_reset, World, NoShared, 128)

DEVICE void target_observe(Where at, const World& a, NoShared&) {
  each_character(at, a, [&](u32 p, u32 lane) {
    float* extra = condition(a, p, lane);
    if (lane == 0) put(extra, 0, to_local(a.facing[p], way(a, p, get(a.target, p))));
  });
}
KERNEL(target_observe, World, NoShared, 128)

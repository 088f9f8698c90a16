// Task Maze: see as much of a walled arena as time allows, and touch no wall.
//     reward = 1/2 for a cell (of 32 by 32) that is new        the episode ends at a wall
#pragma once
#include "world.cuh"

// True if a joint of a pose touches a wall.
DEVICE bool touches(const World& a, u32 p, const float* frame) {
  const float near = float((0.5 + 0.01 / 0.3048) * a.body);
  for (u32 joint = 0; joint < (a.f - 3) / 12; ++joint) {
    const Vec v = joint_at(a, p, frame, joint);
    for (u32 wall = 0; wall < a.n / 2; ++wall) {
      const Vec from = get(a.course, 2 * wall), to = get(a.course, 2 * wall + 1), along = to - from;
      if (dot(v - from, along) > 0 && dot(to - v, along) > 0 && fabsf(cross(along, v - from)) / length(along) < near)
        return true;
    }
  }
  return false;
}

// The cell of the root; the reference mixes the two coordinates up.
DEVICE u32 cell_of(const World& a, u32 p) {
  const Vec root = get(a.root, p);
  const double x = (double(root.x) / a.body + a.arena_x) * 32 / (2 * a.arena_x);
  const double z = (double(root.z) / a.body + a.arena_z) * 32 / (2 * a.arena_z);
  if (a.literal) return u32(fmin(fmax(trunc(31 * x + z), 0.0), 1023.0));
  return 32 * u32(fmin(fmax(floor(x), 0.0), 31.0)) + u32(fmin(fmax(floor(z), 0.0), 31.0));
}

CHARACTER(maze_step) {
  advance(a, p, lane);
  if (lane > 0) return;
  const u32 cell = cell_of(a, p), bit = 1u << (cell % 32);
  u32* word = a.words + u64(p) * a.w + cell / 32;
  const bool seen = *word & bit;
  *word |= bit;
  finish(a, p, seen ? 0.0f : 0.5f, true, touches(a, p, frame_of(a, p)));
}
KERNEL(maze_step, World, NoShared, 128)

CHARACTER(maze_reset) {
  if (!is_done(a, p)) return;
  Draws draws = restart(a, p, lane, true);
  if (lane > 0) return;
  const float* pose = pose_of(a, draws);
  a.facing[p] = TURN * draws.u[1];
  for (u32 i = 0; i < a.w; ++i) a.words[u64(p) * a.w + i] = 0;
  for (u32 again = 1; again <= 64; ++again) {
    const double inner = again == 1 ? 0.9 : 1.0;
    const float x = float(inner * a.arena_x * a.body), z = float(inner * a.arena_z * a.body);
    put(a.root, p, Vec{x * (draws.u[2] + draws.u[2] - 1), z * (draws.u[3] + draws.u[3] - 1)});
    if (!touches(a, p, pose)) break;
    draws = reset_draws(a, p, again);
  }
}
KERNEL(maze_reset, World, NoShared, 128)

CHARACTER(maze_observe) {
  const float wide = 1.0471975511965976f;  // pi / 3
  float* extra = condition(a, p, lane);
  if (lane >= 16) return;
  const float angle = wide * (2.0f * float(lane) / 15.0f - 1.0f) - a.facing[p];
  const Vec ray{cosf(angle), sinf(angle)}, root = get(a.root, p);
  float far = 100;
  for (u32 wall = 0; wall < a.n / 2; ++wall) {
    const Vec from = get(a.course, 2 * wall), edge = get(a.course, 2 * wall + 1) - from, v = from - root;
    // The distances along the ray and along the wall. A ray that is parallel to a wall does not
    // meet it.
    const float meet = cross(ray, edge), distance = cross(v, edge) / meet / float(a.body), along = cross(v, ray) / meet;
    if (distance > 0 && distance < far && along > 0 && along < 1) far = distance;
  }
  extra[lane] = far;
}
KERNEL(maze_observe, World, NoShared, 128)

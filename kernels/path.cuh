// A point that runs along a closed path, one of the path's points a frame, 4 ahead of a character
// that keeps up.
#pragma once
#include "world.cuh"

// The place on the path where a character started.
DEVICE u32& path_offset(const World& a, u32 p) { return a.words[u64(p) * a.w]; }
// Steps since time began.
DEVICE u32 since(const World& a, u32 p) { return time_of(a, p) % a.horizon; }
// Puts the goal where the point is at a time.
DEVICE void path_follow(const World& a, u32 p, u32 time) {
  put_goal(a, p, get(a.course, (time + path_offset(a, p) + 4) % a.n));
}
// Chooses where a character starts, and with it the goal.
DEVICE void path_begin(const World& a, u32 p, float draw) {
  path_offset(a, p) = u32(double(draw) * a.n);
  path_follow(a, p, since(a, p));
}
// Places a character on the path, facing along it. The reference places it as if time began.
DEVICE void path_place(const World& a, u32 p) {
  const u32 o = path_offset(a, p) + (a.literal ? 0 : since(a, p));
  const Vec along = get(a.course, (o + 19) % a.n) - get(a.course, (o + 4) % a.n);
  put(a.root, p, get(a.course, o % a.n));
  a.facing[p] = wrapped(-atan2f(along.z, along.x));
}
// The way to where the point is `steps` steps later, in the character's own frame.
DEVICE Vec path_ahead(const World& a, u32 p, u32 steps) {
  return to_local(a.facing[p], way(a, p, get(a.course, (steps + since(a, p) + path_offset(a, p) + 4) % a.n)));
}

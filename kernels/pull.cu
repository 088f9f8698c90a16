// The way back through an observation: the derivatives of the loss by it are added to those by the
// history, root and facing that it shows.
#pragma once
#include "pull.cuh"

CHARACTER_OF(Pull, world_observation_backward) {
  const u32 row = a.c * a.f;
  const float *seen = a.seen + u64(p) * a.d, *dseen = a.dseen + u64(p) * a.d;
  for (u32 i = lane; i < row; i += 32) a.dhistory[u64(p) * row + i] += dseen[i];
  if (lane > 0 || a.kinds == 0) return;
  const float body = float(a.body);
  Vec droot = get(a.droot, p);
  float dfacing = a.dfacing[p];
  for (u32 i = row; i + 1 < a.d; i += 2) {
    const u32 kind = a.kinds >> (i - row) & 3;
    if (kind == SEES_NOTHING) continue;
    const Vec d{dseen[i], dseen[i + 1]}, back = to_world(a.facing[p], d);
    dfacing += cross(Vec{seen[i], seen[i + 1]}, d);
    if (kind == SEES_DIRECTIONS) continue;
    Vec by_way = back;
    if (kind == SEES_BEARING) {
      const Vec to_goal = get(own(a, p), 0) - get(a.root, p);
      const float far = length(to_goal);
      if (!(far > 0)) continue;
      const Vec unit{to_goal.x / far, to_goal.z / far};
      const float along = dot(back, unit), scale = far / body;
      by_way = Vec{(back.x - along * unit.x) / scale, (back.z - along * unit.z) / scale};
    }
    droot = droot - Vec{by_way.x / body, by_way.z / body};
  }
  put(a.droot, p, droot);
  a.dfacing[p] = dfacing;
}
KERNEL(world_observation_backward, Pull, NoShared, 128)

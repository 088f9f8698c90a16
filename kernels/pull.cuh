// The way back through a step of characters: the code that all tasks share. Derivatives of the loss
// by the reward and by history, root and facing after a step become those by the predicted frame,
// the latent, and history, root and facing before it. A step that did not go on by its own doing
// passes nothing back.
#pragma once
#include "world.cuh"

struct Pull {                                   // field for field: src/ops/world/pull.rs
  const float *frames, *seen;                   // [P, K F] the first is applied   [P, D] before the step
  const float *root, *facing, *feet, *own;      // [P, 2]   [P]   [P, 12]   [P, O]; all before the step
  const float *latent, *outcome, *weight;       // [P, L]   [P, 3]   [P] derivative by the reward
  const float* dseen;                           // [P, D] by the observation before the step
  const Program* program;                       // [1] of a composed task
  float *dframes, *dlatent;                     // [P, K F]   [P, L]; overwritten
  float *dhistory, *droot, *dfacing;            // [P, C F]   [P, 2]   [P]; from after the step to before it
  double body, speed;                           // body unit   largest speed asked for
  double floor_left, floor_right;               // heights of toes that stand
  u32 p, k, f, c, d, l, o;                      // characters, future, features, conditions, observation, latent, own
  u32 toe_left, toe_right, kinds;               // joints   how each pair that is seen depends on the state: see Seen
};

// How a pair of numbers that a task adds to the observation depends on the state: two bits for each
// pair, the first in the lowest (src/ops/world/pull.rs).
enum Seen { SEES_NOTHING, SEES_POINTS, SEES_DIRECTIONS, SEES_BEARING };

// A character's step backward, on its way. Lane 0 alone changes it.
struct Back {
  Vec start, end;              // place of the root before and after
  float facing, turned;        // facing before and after
  Vec dstart, dend;            // derivatives by the root before, but for the way through dend, and after
  float dturned;               // derivative by the facing after
  float dfacing;               // derivative by the facing before, but for the ways through dend and dturned
};

DEVICE const float* own(const Pull& a, u32 p) { return a.own + u64(p) * a.o; }
DEVICE const float* frame_of(const Pull& a, u32 p) { return a.frames + u64(p) * a.k * a.f; }
DEVICE float* dframe_of(const Pull& a, u32 p) { return a.dframes + u64(p) * a.k * a.f; }

// True if a character's step goes on by its own doing.
DEVICE bool goes_on(const float* outcome, u32 p) { return outcome[3 * u64(p) + 1] != 0 && outcome[3 * u64(p) + 2] != 0; }

// Starts the derivatives of frame and latent, and brings those of the history from after the step
// to before it; if it does not go on, all are 0.
DEVICE Back pull_start(const Pull& a, u32 p, u32 lane, bool on) {
  const float* frame = frame_of(a, p);
  float *dframe = dframe_of(a, p), *dhistory = a.dhistory + u64(p) * a.c * a.f;
  const Vec root = get(a.root, p), d = to_world(a.facing[p], Vec{frame[0], frame[1]});
  const Back back{root, Vec{root.x + d.x, root.z + d.z}, a.facing[p],  a.facing[p] + frame[2],
                  Vec{0, 0}, get(a.droot, p), a.dfacing[p], 0};
  for (u32 i = lane; i < a.k * a.f; i += 32) dframe[i] = on && i < a.f ? dhistory[i] : 0;
  for (u32 i = lane; i < a.f; i += 32) {
    for (u32 j = 0; j + 1 < a.c; ++j) dhistory[u64(j) * a.f + i] = on ? dhistory[u64(j + 1) * a.f + i] : 0;
    dhistory[u64(a.c - 1) * a.f + i] = 0;
  }
  for (u32 i = lane; i < a.l; i += 32) a.dlatent[u64(p) * a.l + i] = 0;
  warp_sync();  // all lanes have read the state and written what the reward adds to
  return back;
}

// The way back through the motion of the root, in lane 0.
DEVICE void pull_root(const Pull& a, u32 p, const Back& back) {
  const float* frame = frame_of(a, p);
  float* dframe = dframe_of(a, p);
  const Vec moved = to_world(back.facing, Vec{frame[0], frame[1]}), along = to_local(back.facing, back.dend);
  dframe[0] += along.x;
  dframe[1] += along.z;
  dframe[2] += back.dturned;
  a.dfacing[p] = back.dfacing + back.dturned + cross(back.dend, moved);
  put(a.droot, p, Vec{back.dstart.x + back.dend.x, back.dstart.z + back.dend.z});
}

// Makes a kernel, `name`, of the way back through a step. The body is what each lane of a
// character's warp does to add the derivatives of the reward. It knows the arguments `a`, the
// character `p`, the `lane`, and the step `back`: `PULL(name) { ... }`. Lane 0 adds to the root
// motion and places of frames. Other lanes may only add to velocities.
#define PULL(name)                                                                        \
  DEVICE void name##_reward(const Pull& a, u32 p, u32 lane, Back& back);                  \
  CHARACTER_OF(Pull, name) {                                                              \
    const bool on = goes_on(a.outcome, p);                                                \
    Back back = pull_start(a, p, lane, on);                                               \
    if (on) name##_reward(a, p, lane, back);                                              \
    if (lane > 0) return;                                                                 \
    if (on) {                                                                             \
      pull_root(a, p, back);                                                              \
    } else {                                                                              \
      put(a.droot, p, Vec{0, 0});                                                         \
      a.dfacing[p] = 0;                                                                   \
    }                                                                                     \
  }                                                                                       \
  DEVICE void name##_reward(const Pull& a, u32 p, u32 lane, [[maybe_unused]] Back& back)

// Adds `by` times the derivatives of the progress towards the goal, in lane 0.
DEVICE void pull_progress(const Pull& a, u32 p, Back& back, float by) {
  const float weight = by / float(a.body);
  const Vec goal = get(own(a, p), 0), to_end = goal - back.end, to_start = goal - back.start;
  const float end = length(to_end), start = length(to_start);
  if (end > 0) back.dend.x += weight * to_end.x / end, back.dend.z += weight * to_end.z / end;
  if (start > 0) back.dstart.x -= weight * to_start.x / start, back.dstart.z -= weight * to_start.z / start;
}

// Adds `by` times the derivatives of the energy; called by all lanes.
DEVICE void pull_energy(const Pull& a, u32 p, u32 lane, float by) {
  const float* frame = frame_of(a, p);
  float* dframe = dframe_of(a, p);
  const u32 joints = (a.f - 3) / 12;
  const float weight = -1.6f * by, body = float(a.body * a.body);
  const float mean = weight / (body * float(3 * joints));
  for (u32 i = 3 + 3 * joints + lane; i < 3 + 6 * joints; i += 32) dframe[i] += mean * frame[i];
  if (lane > 0) return;
  dframe[0] += weight * frame[0] / body;
  dframe[1] += weight * frame[1] / body;
  dframe[2] += weight * frame[2];
}

// Speed of the root, body units a frame.
DEVICE float speed_of(const Pull& a, u32 p) { return length(get(frame_of(a, p), 0)) / float(a.body); }

// Adds `by` times the derivatives of the speed, in lane 0.
DEVICE void pull_speed(const Pull& a, u32 p, float by) {
  const Vec moved = get(frame_of(a, p), 0);
  const float far = length(moved), factor = by / (far * float(a.body));
  if (!(far > 0)) return;
  dframe_of(a, p)[0] += factor * moved.x;
  dframe_of(a, p)[1] += factor * moved.z;
}

// A foot in a step: the place of its toe in a frame, its height over the height that counts as
// contact, in [0, 1], and 2 to the power of it. Its way is from where it was, seen from where the
// root now is.
struct Foot {
  u32 place;
  float height, power;
  Vec seen, way;
};
DEVICE Foot foot_of(const Pull& a, u32 p, u32 foot) {
  const float *frame = frame_of(a, p), *before = a.seen + u64(p) * a.d;
  const u32 place = 3 + 3 * (foot == 0 ? a.toe_left : a.toe_right);
  const float floor = float(foot == 0 ? a.floor_left : a.floor_right);
  const float highest = fmaxf(frame[place + 1], before[place + 1]);
  const float height = fminf(fmaxf((highest - floor) / CONTACT, 0.0f), 1.0f);
  const Vec moved = Vec{before[place], before[place + 2]} - get(frame, 0), seen = to_local(frame[2], moved);
  return Foot{place, height, exp2f(height), seen, Vec{frame[place], frame[place + 2]} - seen};
}
// True if a character has just started anew, so that it has no feet to compare.
DEVICE bool has_no_feet(const Pull& a, u32 p) {
  bool anew = true;
  for (u32 i = 0; i < 12; ++i) anew = anew && a.feet[12 * u64(p) + i] == 1;
  return anew;
}

// The slide of the feet.
DEVICE float slide_of(const Pull& a, u32 p) {
  if (has_no_feet(a, p)) return 0;
  float slide = 0;
  for (u32 side = 0; side < 2; ++side) {
    const Foot foot = foot_of(a, p, side);
    slide += length(foot.way) / float(a.body) * (2 - foot.power);
  }
  return slide;
}

// Adds `by` times the derivatives of the slide, in lane 0.
DEVICE void pull_slide(const Pull& a, u32 p, float by) {
  if (has_no_feet(a, p)) return;
  const float *frame = frame_of(a, p), *before = a.seen + u64(p) * a.d, by_way = by / float(a.body);
  float *dframe = dframe_of(a, p), *dbefore = a.dhistory + u64(p) * a.c * a.f;
  for (u32 side = 0; side < 2; ++side) {
    const Foot foot = foot_of(a, p, side);
    const u32 place = foot.place;
    const float far = length(foot.way);
    if (foot.height > 0 && foot.height < 1)
      *(frame[place + 1] > before[place + 1] ? dframe + place + 1 : dbefore + place + 1) -=
          by_way * far * 0.69314718f * foot.power / CONTACT;
    if (!(far > 0)) continue;
    const float factor = by_way * (2 - foot.power) / far;
    const Vec d{factor * foot.way.x, factor * foot.way.z}, by_place = to_world(frame[2], d);
    dframe[place] += d.x;
    dframe[place + 2] += d.z;
    dframe[0] += by_place.x;
    dframe[1] += by_place.z;
    dframe[2] += cross(d, foot.seen);
    dbefore[place] -= by_place.x;
    dbefore[place + 2] -= by_place.z;
  }
}

// The energy of the applied frame, in each lane by itself.
DEVICE float energy_of(const Pull& a, u32 p) {
  const float* frame = frame_of(a, p);
  const u32 joints = (a.f - 3) / 12;
  float squares = 0;
  for (u32 i = 3 + 3 * joints; i < 3 + 6 * joints; ++i) squares += frame[i] * frame[i];
  const float body = float(a.body * a.body);
  return -0.8f * ((frame[0] * frame[0] + frame[1] * frame[1] + squares / float(3 * joints)) / body + frame[2] * frame[2]);
}

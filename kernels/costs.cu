// Costs of a step: feet that slide where they stand, effort, jerks, and standing where a move is
// asked for (docs/math.md, "Costs").
//     cost = skate (sliding by velocities + sliding by places) / 2
//            + effort mean |v|^2 + jerk mean |v - R(turn) v before|^2
//     reward -= share cost + stand max(0, e^(-speed / 0.25) - e^(-speed asked for / 0.25))
// Backward, the gradients of the frame and of the one before get the derivatives of what is taken
// off, times -1 and the loss's derivative by the reward. A step that does not go on costs nothing.
// A character is one warp's: its lanes share out the joints, and lane 0 does the toes.
#pragma once
#include "pull.cuh"

struct Costs {                               // field for field: src/ops/costs.rs
  const float *frames, *seen;                // [P, K F] the first is applied   [P, D] begins with the frame before
  const float* own;                          // [P, O] the task's own numbers
  const float *share, *weight;               // [1] share that counts   [P] derivative by the reward
  float* outcome;                            // [P, 3]
  float *dframes, *dhistory;                 // [P, K F]   [P, C F]; added to
  double skate, effort, jerk, stand;         // weights
  double metres, fps, body;                  // metres in a unit of the data, frames a second, body unit
  double floor_left, floor_right;            // heights of toes that stand
  u32 p, k, f, c, d;                         // characters, future, features, conditions, observation
  u32 o, asked;                              // own numbers   1 + place of the speed asked for, 0: any is
  u32 toe_left, toe_right, pad;              // joints
};

// src/ops/costs.rs: a toe is held below this height, with an edge of this width, m.
#define HELD_BELOW 0.03f
#define HELD_EDGE 0.005f
// The squared speed at which a held toe has half of its cost, (m/s)^2.
#define SLIDES 0.04f
// The squared speed and the height that count alike in how far a toe is from being planted.
#define PLANTED_SPEED 0.0225f
#define PLANTED_HEIGHT 0.02f
// The softness of the least of both toes.
#define SOFTNESS 0.2f
// The speed at which standing costs 1/e of its weight, m/s, and the least square of a speed.
#define STANDS 0.25f
#define LEAST_SQUARE 1e-6f

// A toe in a step.
struct Toe {
  u32 place;        // its first number in a frame
  float height;     // over its floor, m
  Vec old;          // its place before, from where the root now is
  Vec moves[2];     // its motion by velocities and by places, m/s
};
DEVICE Vec ground(const float* frame, u32 i) { return Vec{frame[i], frame[i + 2]}; }
DEVICE Toe toe_of(const Costs& a, const float* frame, const float* before, bool left) {
  const u32 place = 3 + 3 * (left ? a.toe_left : a.toe_right), velocities = (a.f - 3) / 4;
  const float speed = float(a.metres * a.fps), floor = float(left ? a.floor_left : a.floor_right);
  const Vec old = ground(before, place) - get(frame, 0), by_velocity = ground(frame, place + velocities);
  const Vec by_place = ground(frame, place) - to_local(frame[2], old);
  return Toe{place, float(a.metres) * (frame[place + 1] - floor), old,
             {Vec{speed * by_velocity.x, speed * by_velocity.z}, Vec{speed * by_place.x, speed * by_place.z}}};
}

// The sliding of both toes by one kind of motion, and its derivatives by each squared speed and
// each height.
struct Sliding {
  float cost, by_square[2], by_height[2];
};
DEVICE Sliding sliding(const Toe (&toes)[2], u32 kind) {
  float above[2], square[2], far[2], term[2];
  UNROLL for (u32 i = 0; i < 2; ++i) {
    above[i] = fmaxf((toes[i].height - PLANTED_HEIGHT) / PLANTED_HEIGHT, 0.0f);
    square[i] = dot(toes[i].moves[kind], toes[i].moves[kind]);
    far[i] = square[i] / PLANTED_SPEED + above[i] * above[i];
  }
  // The soft least of both, which is 0 where both are planted.
  const float least = fminf(far[0], far[1]);
  UNROLL for (u32 i = 0; i < 2; ++i) term[i] = expf((least - far[i]) / SOFTNESS);
  const float sum = term[0] + term[1], m = fmaxf(least - SOFTNESS * logf(sum / 2), 0.0f);
  const float by_m = m > 0 ? 1 / ((1 + m) * (1 + m)) : 0;
  Sliding s{m / (1 + m), {0, 0}, {0, 0}};
  UNROLL for (u32 i = 0; i < 2; ++i) {
    const float share = by_m * term[i] / sum, half = square[i] + SLIDES, slides = square[i] / half;
    const float held = 1 / (1 + expf((toes[i].height - HELD_BELOW) / HELD_EDGE));
    s.cost += held * slides;
    s.by_square[i] = share / PLANTED_SPEED + held * SLIDES / (half * half);
    s.by_height[i] = share * (2 / PLANTED_HEIGHT) * above[i] - held * (1 - held) / HELD_EDGE * slides;
  }
  return s;
}

// The change of a joint's velocity, from the one before as the body has turned.
struct Change {
  Vec along;
  float up;
};
DEVICE Change change_of(const float* frame, const float* before, u32 i) {
  return Change{ground(frame, i) - to_local(frame[2], ground(before, i)), frame[i + 1] - before[i + 1]};
}

// The cost of standing, and its derivatives by the root's motion. Both are 0 at the speed that is
// asked for and above.
struct Standing {
  float cost;
  Vec by_root;
};
DEVICE Standing standing(const Costs& a, u32 p, const float* frame) {
  const float unit = float(a.metres * a.fps), stand = float(a.stand);
  const Vec root{unit * frame[0], unit * frame[1]};
  const float speed = sqrtf(dot(root, root) + LEAST_SQUARE), slow = expf(-speed / STANDS);
  const float asked = a.asked > 0 ? float(a.body) * unit * a.own[u64(p) * a.o + a.asked - 1] : 0;
  const float rest = a.asked > 0 ? expf(-asked / STANDS) : 0;
  if (slow <= rest) return Standing{0, Vec{0, 0}};
  const float factor = -stand * slow / STANDS / speed * unit;
  return Standing{stand * (slow - rest), Vec{factor * root.x, factor * root.z}};
}

CHARACTER_OF(Costs, costs_forward) {
  if (!goes_on(a.outcome, p)) return;
  const float *frame = a.frames + u64(p) * a.k * a.f, *before = a.seen + u64(p) * a.d;
  const u32 joints = (a.f - 3) / 12;
  float effort = 0, jerk = 0;
  for (u32 joint = lane; joint < joints; joint += 32) {
    const u32 i = 3 + 3 * joints + 3 * joint;
    const Change change = change_of(frame, before, i);
    effort += frame[i] * frame[i] + frame[i + 1] * frame[i + 1] + frame[i + 2] * frame[i + 2];
    jerk += dot(change.along, change.along) + change.up * change.up;
  }
  effort = warp_sum(effort);
  jerk = warp_sum(jerk);
  if (lane > 0) return;
  const Toe toes[2] = {toe_of(a, frame, before, true), toe_of(a, frame, before, false)};
  const float slides = (sliding(toes, 0).cost + sliding(toes, 1).cost) / 2, unit = float(a.metres * a.fps);
  const float mean = unit * unit / float(joints);
  const float cost = float(a.skate) * slides + mean * (float(a.effort) * effort + float(a.jerk) * jerk);
  a.outcome[3 * u64(p)] -= a.share[0] * cost + standing(a, p, frame).cost;
}
KERNEL(costs_forward, Costs, NoShared, 128)

CHARACTER_OF(Costs, costs_backward) {
  if (!goes_on(a.outcome, p)) return;
  const float *frame = a.frames + u64(p) * a.k * a.f, *before = a.seen + u64(p) * a.d;
  float *dframe = a.dframes + u64(p) * a.k * a.f, *dbefore = a.dhistory + u64(p) * a.c * a.f;
  const u32 joints = (a.f - 3) / 12;
  const float loss = -a.weight[p] * a.share[0], unit = float(a.metres * a.fps);
  const float mean = loss * 2 * unit * unit / float(joints);
  const float effort = mean * float(a.effort), jerk = mean * float(a.jerk);
  // The derivative by the turn of R v, of which g is the derivative, is cross(R v, g).
  float turned = 0;
  for (u32 joint = lane; joint < joints; joint += 32) {
    const u32 i = 3 + 3 * joints + 3 * joint;
    const Change change = change_of(frame, before, i);
    const Vec g{jerk * change.along.x, jerk * change.along.z}, back = to_world(frame[2], g);
    const float up = jerk * change.up;
    dframe[i] += effort * frame[i] + g.x;
    dframe[i + 1] += effort * frame[i + 1] + up;
    dframe[i + 2] += effort * frame[i + 2] + g.z;
    dbefore[i] -= back.x;
    dbefore[i + 1] -= up;
    dbefore[i + 2] -= back.z;
    turned -= cross(to_local(frame[2], ground(before, i)), g);
  }
  turned = warp_sum(turned);
  warp_sync();  // velocities are written
  if (lane > 0) return;
  const Toe toes[2] = {toe_of(a, frame, before, true), toe_of(a, frame, before, false)};
  const float weight = loss * float(a.skate / 2);
  UNROLL for (u32 kind = 0; kind < 2; ++kind) {
    const Sliding s = sliding(toes, kind);
    UNROLL for (u32 i = 0; i < 2; ++i) {
      const u32 place = toes[i].place;
      const float factor = 2 * weight * s.by_square[i] * unit;
      const Vec g{factor * toes[i].moves[kind].x, factor * toes[i].moves[kind].z};
      const u32 moved = kind == 0 ? place + 3 * joints : place;
      dframe[place + 1] += weight * s.by_height[i] * float(a.metres);
      dframe[moved] += g.x;
      dframe[moved + 2] += g.z;
      if (kind == 0) continue;
      const Vec back = to_world(frame[2], g);
      dbefore[place] -= back.x;
      dbefore[place + 2] -= back.z;
      dframe[0] += back.x;
      dframe[1] += back.z;
      turned -= cross(to_local(frame[2], toes[i].old), g);
    }
  }
  dframe[2] += turned;
  const Vec stands = standing(a, p, frame).by_root;
  dframe[0] -= a.weight[p] * stands.x;
  dframe[1] -= a.weight[p] * stands.z;
}
KERNEL(costs_backward, Costs, NoShared, 128)

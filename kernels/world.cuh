// Characters in a world: the code that all tasks share. A character is one warp's: its lanes share
// out rows of features, and lane 0 does the rest. No lane reads what another writes in the same
// kernel. Distances of the rules are in body units.
#pragma once
#include "philox.cuh"
#include "program.cuh"
#include "reduce.cuh"
#include "state.cuh"

struct World {                          // field for field: src/ops/world.rs
  const StepState* state;               // [1] rollout_step: the first character's clock after this step
  const float *frames, *latent;         // [P, K F] in the data's units   [P, L]
  const float* draws;                   // [P, U] random numbers, uniform or normal as the task wants
  const float *poses, *course;          // [M, C F] conditions to start from   [N, 2] points of a path, ends of walls
  const Program* program;               // [1] of a composed task
  float *history, *root, *facing;       // [P, C F] newest first   [P, 2]   [P] in [0, 2 pi)
  float *feet, *own;                    // [P, 2 frames, 2 toes, 3]   [P, O] the task's own
  u32* words;                           // [P, W] the task's own
  float *outcome, *observation;         // [P, 3] reward, 0: ended, 0: what is next is not its doing   [P, D]
  double body, speed;                   // body unit   largest speed asked for
  double floor_left, floor_right;       // heights of toes that stand
  double arena_x, arena_z;              // half of the arena that the course spans
  u32 p, k, f, c, d, l, m, n;           // characters, future, features, conditions, observation, latent, poses, points
  u32 o, w, u, frame;                   // own numbers, own words, draws   number of the predicted frame
  u32 last, toe_left, toe_right;        // 1: it is the last, joints
  u32 horizon, anew;                    // steps after which time is out, and after which the task asks anew (0: never)
  u32 literal, staggered, pad;          // 1: with the reference's mistakes, 1: clocks are spread over the horizon
};
#define RESET 11u                       // Purpose::Reset in src/philox.rs
#define TURN 6.283185307179586f

struct Vec {
  float x, z;
};
DEVICE Vec operator-(Vec a, Vec b) { return Vec{a.x - b.x, a.z - b.z}; }
DEVICE float dot(Vec a, Vec b) { return a.x * b.x + a.z * b.z; }
DEVICE float cross(Vec a, Vec b) { return a.x * b.z - a.z * b.x; }
DEVICE float length(Vec a) { return sqrtf(a.x * a.x + a.z * a.z); }
DEVICE Vec get(const float* from, u64 i) { return Vec{from[2 * i], from[2 * i + 1]}; }
DEVICE void put(float* to, u64 i, Vec v) {
  to[2 * i] = v.x;
  to[2 * i + 1] = v.z;
}
DEVICE Vec to_world(float facing, Vec v) {
  const float s = sinf(facing), c = cosf(facing);
  return Vec{c * v.x + s * v.z, c * v.z - s * v.x};
}
DEVICE Vec to_local(float facing, Vec v) {
  const float s = sinf(facing), c = cosf(facing);
  return Vec{c * v.x - s * v.z, s * v.x + c * v.z};
}
DEVICE float wrapped(float angle) { return angle - floorf(angle / TURN) * TURN; }

// A character's clock while the current frame is applied. It advances with the last frame of a
// step, up to the horizon.
DEVICE u32 time_of(const World& a, u32 p) {
  const u32 ahead = a.staggered ? u32(u64(p) * a.horizon / a.p) : 0;
  return (a.state->rollout_step + a.horizon - 1 + ahead) % a.horizon + a.last;
}
// True if the task asks for something new after this frame.
DEVICE bool asks_anew(const World& a, u32 p) { return a.last && a.anew > 0 && time_of(a, p) % a.anew == 0; }
// True if the last step was the last of an episode; and if so, whether time was out.
DEVICE bool is_done(const World& a, u32 p) { return a.outcome[3 * u64(p) + 1] == 0; }
DEVICE bool time_is_out(const World& a, u32 p) { return a.outcome[3 * u64(p) + 2] == 0; }

// Makes a kernel, `name`, of what each lane of a character's warp does: `CHARACTER(name) { ... }`
// with the arguments `a`, the character `p` and the `lane`. `CHARACTER_OF(Args, name)` makes one
// with other arguments, whose `a.p` is the number of characters.
#define CHARACTER_OF(Args, name)                                                                                  \
  DEVICE void name##_one(const Args& a, u32 p, u32 lane);                                                         \
  DEVICE void name(Where at, const Args& a, NoShared&) {                                                          \
    const u32 warps = at.threads / 32;                                                                            \
    for (u32 p = at.block * warps + at.thread / 32; p < a.p; p += at.blocks * warps) name##_one(a, p, at.thread % 32); \
  }                                                                                                               \
  DEVICE void name##_one(const Args& a, u32 p, u32 lane)
#define CHARACTER(name) CHARACTER_OF(World, name)

// The vector from the root to a point, in body units.
DEVICE Vec way(const World& a, u32 p, Vec point) {
  const Vec v = point - get(a.root, p);
  return Vec{v.x / float(a.body), v.z / float(a.body)};
}

// A character's own numbers; where a task has a goal, it stands first, before the potential.
DEVICE float* own(const World& a, u32 p) { return a.own + u64(p) * a.o; }
DEVICE void put_goal(const World& a, u32 p, Vec goal) { put(own(a, p), 0, goal); }
DEVICE Vec way_to_goal(const World& a, u32 p) { return way(a, p, get(own(a, p), 0)); }
DEVICE float potential_of(const World& a, u32 p) { return -length(way_to_goal(a, p)); }
#define POTENTIAL 2                     // src/ops/world.rs
// A character's random numbers.
DEVICE const float* drawn(const World& a, u32 p) { return a.draws + u64(p) * a.u; }
// Cosine and sine of the angle at which the goal is seen; 0 where the root is the goal.
DEVICE Vec bearing(const World& a, u32 p) {
  const Vec v = to_local(a.facing[p], way_to_goal(a, p));
  const float far = length(v);
  return far > 0 ? Vec{v.x / far, v.z / far} : v;
}

// Ground position of a joint in the world. The reference does not turn it.
DEVICE Vec joint_at(const World& a, u32 p, const float* frame, u32 joint) {
  const Vec own{frame[3 + 3 * joint], frame[5 + 3 * joint]};
  const Vec v = a.literal ? own : to_world(a.facing[p], own), root = get(a.root, p);
  return Vec{root.x + v.x, root.z + v.z};
}

// The predicted frame that is applied.
DEVICE const float* frame_of(const World& a, u32 p) { return a.frames + (u64(p) * a.k + a.frame) * a.f; }

// Moves a character by its frame: history (all lanes), root, facing and feet (lane 0).
DEVICE void advance(const World& a, u32 p, u32 lane) {
  const float* frame = frame_of(a, p);
  float* history = a.history + u64(p) * a.c * a.f;
  for (u32 i = lane; i < a.f; i += 32) {
    for (u32 j = a.c - 1; j > 0; --j) history[u64(j) * a.f + i] = history[u64(j - 1) * a.f + i];
    history[i] = frame[i];
  }
  if (lane > 0) return;
  const Vec root = get(a.root, p), d = to_world(a.facing[p], Vec{frame[0], frame[1]});
  a.facing[p] = wrapped(a.facing[p] + frame[2]);
  put(a.root, p, Vec{root.x + d.x, root.z + d.z});
  float* feet = a.feet + 12 * u64(p);
  for (u32 i = 0; i < 6; ++i) feet[6 + i] = feet[i];
  for (u32 foot = 0; foot < 2; ++foot) {
    const u32 toe = foot == 0 ? a.toe_left : a.toe_right;
    const Vec v = joint_at(a, p, frame, toe);
    feet[3 * foot] = v.x;
    feet[3 * foot + 1] = v.z;
    feet[3 * foot + 2] = frame[4 + 3 * toe];
  }
}

// -0.8 (root displacement^2 + turn^2 + mean of squared joint velocities), in lane 0; called by all
// lanes.
DEVICE float energy(const World& a, u32 p, u32 lane) {
  const float* frame = frame_of(a, p);
  const u32 joints = (a.f - 3) / 12;
  float squares = 0;
  for (u32 i = lane; i < 3 * joints; i += 32) squares += frame[3 + 3 * joints + i] * frame[3 + 3 * joints + i];
  squares = warp_sum(squares) / float(3 * joints);
  const float body = float(a.body * a.body);
  return -0.8f * ((frame[0] * frame[0] + frame[1] * frame[1] + squares) / body + frame[2] * frame[2]);
}

// Height above its floor below which a toe stands (src/ops/world/walk.rs).
#define CONTACT float(0.03 / 0.3048)

// Sum over the feet of (2 - 2^h) times the distance that the foot went, where h in [0, 1] is its
// height over the height that counts as contact.
DEVICE float slide_of(const World& a, u32 p) {
  const float* feet = a.feet + 12 * u64(p);
  float slide = 0;
  for (u32 foot = 0; foot < 2; ++foot) {
    const float *now = feet + 3 * foot, *before = now + 6;
    const float floor = float(foot == 0 ? a.floor_left : a.floor_right);
    const float height = (fmaxf(now[2], before[2]) - floor) / CONTACT;
    const float held = 2 - exp2f(fminf(fmaxf(height, 0.0f), 1.0f));
    slide += length(Vec{now[0] - before[0], now[1] - before[1]}) / float(a.body) * held;
  }
  return slide;
}

// True if a frame is no pose any more: a joint is farther than 10 from the root, or not a number.
// The reference does not check this.
DEVICE bool no_pose(const World& a, const float* frame) {
  const float most = float(10 * a.body);
  const u32 joints = (a.f - 3) / 12;
  if (a.literal) return false;
  for (u32 i = 0; i < 3 + 3 * joints; ++i)
    if (!(fabsf(frame[i]) < most)) return true;
  return false;
}

// Sets the reward of the first frame of a step, adds that of later ones (unless `alone`), and marks
// characters that are done. Something new that is asked for is not the doing of the step before it;
// in the reference it is.
DEVICE void finish(const World& a, u32 p, float reward, bool alone, bool failed) {
  const bool out = time_of(a, p) >= a.horizon;
  if (no_pose(a, frame_of(a, p))) {
    reward = -20;
    failed = true;
  }
  failed = failed || (a.frame > 0 && is_done(a, p));
  float* outcome = a.outcome + 3 * u64(p);
  outcome[0] = a.frame == 0 || alone ? reward : outcome[0] + reward;
  outcome[1] = out || failed ? 0 : 1;
  outcome[2] = out || (asks_anew(a, p) && !a.literal && !failed) ? 0 : 1;
}

// Four uniform numbers for a character that starts anew; the first chooses the pose. `again`
// numbers another try.
struct Draws {
  float u[4];
};
DEVICE Draws reset_draws(const World& a, u32 p, u32 again) {
  const Four bits = random_bits(a.state->seed, RESET, a.state->step, again * a.p + p);
  Draws draws;
  for (u32 i = 0; i < 4; ++i) draws.u[i] = unit(bits.x[i]);
  return draws;
}
DEVICE const float* pose_of(const World& a, Draws draws) {
  return a.poses + u64(double(draws.u[0]) * a.m) * a.c * a.f;
}

// Puts a character at the origin, with a new pose if `pose` or if it was lost. All lanes write the
// pose, lane 0 the rest.
DEVICE Draws restart(const World& a, u32 p, u32 lane, bool pose) {
  const Draws draws = reset_draws(a, p, 0);
  const bool again = pose || no_pose(a, a.history + u64(p) * a.c * a.f);
  warp_sync();  // all lanes have looked
  if (again)
    for (u32 i = lane; i < a.c * a.f; i += 32) a.history[u64(p) * a.c * a.f + i] = pose_of(a, draws)[i];
  if (lane > 0) return draws;
  put(a.root, p, Vec{0, 0});
  a.facing[p] = 0;
  for (u32 i = 0; i < 12; ++i) a.feet[12 * u64(p) + i] = 1;
  return draws;
}

// Writes the condition, and returns the place behind it for what the task adds.
DEVICE float* condition(const World& a, u32 p, u32 lane) {
  float* observation = a.observation + u64(p) * a.d;
  for (u32 i = lane; i < a.c * a.f; i += 32) observation[i] = a.history[u64(p) * a.c * a.f + i];
  return observation + u64(a.c) * a.f;
}

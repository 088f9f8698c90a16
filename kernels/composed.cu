// Composed tasks: what a program asks for (program.cuh). With x the value of a term, less the one
// that is asked for, and w its weight,
//     reward = sum of w x (linear), -w |x| (abs), -w x^2 (square) + exp(-sum of w |x|) (exp)
#pragma once
#include "path.cuh"
#include "pull.cuh"

// Places among a character's own numbers, behind the goal (src/ops/world/composed.rs).
enum Asked { ASKED_DIRECTION = 2, ASKED_SPEED = 3, ASKED_FACING = 4, LOOK_AT = 5, OWN_VALUES = 7 };

// The motion of a character in a step, from which the values of terms follow. Lengths are in the
// data's units.
struct Moment {
  Vec start, end, moved;                // place of the root before and after the step, and between
  float facing, energy, slide;          // facing after it
  float body, top;                      // body unit, largest speed
};

DEVICE Vec heading_of(const float* own, float by, float far) {
  return Vec{far * cosf(own[ASKED_DIRECTION] + by), far * sinf(own[ASKED_DIRECTION] + by)};
}

// The velocity that is asked for, in shares of the largest speed, taken off that of the root.
DEVICE Vec velocity_off(const Moment& m, const float* own) {
  const Vec asked = heading_of(own, 0, own[ASKED_SPEED] * m.body), off = m.moved - asked;
  return Vec{off.x / m.top, off.z / m.top};
}

// The point of a term: where it lies from the root.
DEVICE Vec to_point(const Moment& m, const float* own, u32 value) {
  return get(own + (value == VALUE_LOOK ? LOOK_AT : 0), 0) - m.end;
}
DEVICE bool is_of_point(u32 value) { return value == VALUE_BEARING || value == VALUE_LOOK; }
// The angle at which a term's direction is seen.
DEVICE float angle_of(const Moment& m, const float* own, u32 value) {
  const Vec point = to_point(m, own, value);
  if (is_of_point(value)) return atan2f(point.z, point.x) + m.facing;
  return own[ASKED_DIRECTION] + (value == VALUE_FACING ? own[ASKED_FACING] : 0) + m.facing;
}
// True if a term is of a point at which the root is, so that it has no direction.
DEVICE bool is_there(const Moment& m, const float* own, u32 value) {
  const Vec point = to_point(m, own, value);
  return is_of_point(value) && point.x == 0 && point.z == 0;
}

DEVICE float value_of(const Moment& m, const float* own, u32 value) {
  const Vec goal = get(own, 0);
  switch (value) {
    case VALUE_DISTANCE: return length(goal - m.end) / m.body;
    case VALUE_PROGRESS: return (length(goal - m.start) - length(goal - m.end)) / m.body;
    case VALUE_SPEED: return (own[ASKED_SPEED] * m.body - length(m.moved)) / m.top;
    case VALUE_VELOCITY: return length(velocity_off(m, own));
    case VALUE_STILL: return length(m.moved) / m.top;
    case VALUE_EFFORT: return -m.energy;
    case VALUE_FEET: return m.slide;
    default: return is_there(m, own, value) ? 0 : 1 - cosf(angle_of(m, own, value));
  }
}

// Writes the values of all terms; returns the reward, and the part of it that SHAPE_EXP makes.
struct Rewarded {
  float reward, product;
};
DEVICE Rewarded evaluate(const Program& program, const Moment& m, const float* own, float* values) {
  float sum = 0, power = 0;
  bool any = false;
  for (u32 i = 0; i < program.terms; ++i) {
    const Term& term = program.term[i];
    const float x = value_of(m, own, term.kind) - float(term.at), weight = float(term.weight);
    values[i] = x;
    if (term.shape == SHAPE_LINEAR) sum += weight * x;
    if (term.shape == SHAPE_ABS) sum -= weight * fabsf(x);
    if (term.shape == SHAPE_SQUARE) sum -= weight * x * x;
    if (term.shape == SHAPE_EXP) power += weight * fabsf(x), any = true;
  }
  const float product = any ? expf(-power) : 0;
  return Rewarded{sum + product, product};
}

// Draws the numbers that are due after `changes` changes of the task; all of them at the start, 0.
DEVICE void draw_commands(const World& a, u32 p, const float* random, u32 changes) {
  for (u32 i = 0; i < OWN_VALUES; ++i) {
    const Drawn& drawn = a.program->drawn[i];
    if (changes > 0 && (drawn.every == 0 || changes % drawn.every != 0)) continue;
    double share = drawn.slot > 0 ? double(random[drawn.slot - 1]) : 0;
    if (drawn.levels > 1) share = floor(share * drawn.levels) / (drawn.levels - 1);
    const bool angle = i == ASKED_DIRECTION || i == ASKED_FACING;
    own(a, p)[i] = float((drawn.from + drawn.span * share) * (angle ? 1 : i == ASKED_SPEED ? a.speed : a.body));
  }
}

CHARACTER(composed_step) {
  const Program& program = *a.program;
  Moment m{};
  float before = 0;
  if (lane == 0) m.start = get(a.root, p), before = a.facing[p];
  advance(a, p, lane);
  m.energy = has_term(program, VALUE_EFFORT) ? energy(a, p, lane) : 0;
  if (lane > 0) return;
  if (asks_anew(a, p)) draw_commands(a, p, drawn(a, p), time_of(a, p) / a.anew);
  m.end = get(a.root, p);
  m.moved = to_world(before, get(frame_of(a, p), 0));
  m.facing = a.facing[p];
  m.slide = has_term(program, VALUE_FEET) ? slide_of(a, p) : 0;
  m.body = float(a.body);
  m.top = float(a.speed * a.body);
  float* mine = own(a, p);
  const float reward = evaluate(program, m, mine, mine + OWN_VALUES).reward;
  if (program.goal == MOVES_PATH) path_follow(a, p, time_of(a, p));
  if (program.goal == MOVES_LEADER) {
    const Vec by = heading_of(mine, 0, mine[ASKED_SPEED] * m.body), goal = get(mine, 0);
    put_goal(a, p, Vec{goal.x + by.x, goal.z + by.z});
  }
  if (a.last && program.turn != 0) mine[ASKED_DIRECTION] = wrapped(mine[ASKED_DIRECTION] + float(program.turn));
  finish(a, p, reward, false, false);
}
KERNEL(composed_step, World, NoShared, 128)

CHARACTER(composed_reset) {
  if (!is_done(a, p)) return;
  const Draws first = restart(a, p, lane, time_is_out(a, p)), second = reset_draws(a, p, 1);
  if (lane > 0) return;
  const Program& program = *a.program;
  float random[OWN_VALUES], *mine = own(a, p);
  for (u32 i = 0; i < OWN_VALUES; ++i) random[i] = i < 3 ? first.u[i + 1] : second.u[i - 3];
  draw_commands(a, p, random, 0);
  for (u32 i = OWN_VALUES; i < a.o; ++i) mine[i] = 0;
  if (program.goal == MOVES_LEADER) put_goal(a, p, heading_of(mine, 0, float(program.ahead * a.body)));
  if (program.goal == MOVES_PATH) {
    path_begin(a, p, random[OWN_VALUES - 1]);
    path_place(a, p);
  }
}
KERNEL(composed_reset, World, NoShared, 128)

CHARACTER(composed_observe) {
  float* extra = condition(a, p, lane);
  if (lane >= a.program->sights) return;
  const Sight sight = a.program->sight[lane];
  const float *mine = own(a, p), facing = a.facing[p];
  Vec pair{mine[ASKED_SPEED], 0};
  switch (sight.kind) {
    case SEE_GOAL: pair = to_local(facing, way_to_goal(a, p)); break;
    case SEE_BEARING: pair = bearing(a, p); break;
    case SEE_LOOK: pair = to_local(facing, way(a, p, get(mine + LOOK_AT, 0))); break;
    case SEE_DIRECTION: pair = to_local(facing, heading_of(mine, 0, 1)); break;
    case SEE_FACING: pair = to_local(facing, heading_of(mine, mine[ASKED_FACING], 1)); break;
    case SEE_VELOCITY: pair = to_local(facing, heading_of(mine, 0, mine[ASKED_SPEED])); break;
    case SEE_PATH: pair = path_ahead(a, p, sight.ahead); break;
    default: break;
  }
  put(extra, lane, pair);
}
KERNEL(composed_observe, World, NoShared, 128)

// Adds `by` times the derivatives of a value other than VALUE_EFFORT, in lane 0.
DEVICE void pull_value(const Pull& a, u32 p, Back& back, const Moment& m, u32 value, float by) {
  const float* mine = own(a, p);
  const float top = float(a.speed);
  if (value == VALUE_PROGRESS) return pull_progress(a, p, back, by);
  if (value == VALUE_SPEED) return pull_speed(a, p, -by / top);
  if (value == VALUE_STILL) return pull_speed(a, p, by / top);
  if (value == VALUE_FEET) return pull_slide(a, p, by);
  if (value == VALUE_DISTANCE) {
    const Vec to_goal = get(mine, 0) - m.end;
    const float far = length(to_goal) * m.body;
    if (far > 0) back.dend.x -= by * to_goal.x / far, back.dend.z -= by * to_goal.z / far;
    return;
  }
  if (value == VALUE_VELOCITY) {
    const Vec off = velocity_off(m, mine);
    const float far = length(off) * m.top;
    if (!(far > 0)) return;
    const Vec g{by * off.x / far, by * off.z / far}, own_frame = to_local(back.facing, g);
    dframe_of(a, p)[0] += own_frame.x;
    dframe_of(a, p)[1] += own_frame.z;
    back.dfacing += cross(g, m.moved);
    return;
  }
  if (is_there(m, mine, value)) return;
  const float by_angle = by * sinf(angle_of(m, mine, value));
  back.dturned += by_angle;
  if (!is_of_point(value)) return;
  const Vec point = to_point(m, mine, value);
  const float square = dot(point, point);
  back.dend.x += by_angle * point.z / square;
  back.dend.z -= by_angle * point.x / square;
}

// The derivative of the reward by value x of a term.
DEVICE float slope_of(const Term& term, float x, float product) {
  const float sign = x > 0 ? 1 : x < 0 ? -1 : x, weight = float(term.weight);
  if (term.shape == SHAPE_LINEAR) return weight;
  if (term.shape == SHAPE_ABS) return -weight * sign;
  if (term.shape == SHAPE_SQUARE) return -weight * (x + x);
  return -weight * product * sign;
}

// All lanes find the slopes, since the way back through VALUE_EFFORT belongs to all.
PULL(composed_pull) {
  const Program& program = *a.program;
  const bool with_effort = has_term(program, VALUE_EFFORT);
  Moment m{back.start, back.end, to_world(back.facing, get(frame_of(a, p), 0)), back.turned, 0, 0, float(a.body),
           float(a.speed * a.body)};
  m.energy = with_effort ? energy_of(a, p) : 0;
  m.slide = has_term(program, VALUE_FEET) ? slide_of(a, p) : 0;
  float values[16];
  const float product = evaluate(program, m, own(a, p), values).product;
  for (u32 i = 0; i < program.terms; ++i) {
    const float by = a.weight[p] * slope_of(program.term[i], values[i], product);
    if (program.term[i].kind == VALUE_EFFORT)
      pull_energy(a, p, lane, -by);
    else if (lane == 0)
      pull_value(a, p, back, m, program.term[i].kind, by);
  }
}
KERNEL(composed_pull, Pull, NoShared, 128)

// The program of a composed task: how its commands are drawn, what is seen, and the terms of the
// reward. Lengths are in body units, speeds in shares of the largest one, angles in radians.
#pragma once
#include "simt.cuh"

struct Drawn {                          // field for field: src/ops/world/composed/program.rs
  double from, span;                    // the least number   the largest less the least
  u32 levels, every, slot, pad;         // different numbers, 0: all   changes between draws   1 + its random number
};
struct Sight {                          // field for field: src/ops/world/composed/program.rs
  u32 kind, ahead;                      // see Sees   steps by which a point of the path is ahead of the goal
};
struct Term {                           // field for field: src/ops/world/composed/program.rs
  double weight, at;                    // factor of the shape   value that is asked for
  u32 kind, shape;                      // see Value and Shape
};
struct Program {                        // field for field: src/ops/world/composed/program.rs
  Drawn drawn[7];                       // goal (x, z), direction, speed, facing, point to look at (x, z)
  double turn, ahead;                   // angle by which the direction turns in a step   where a leader starts
  u32 goal, sights, terms, pad;         // see Moves   numbers of pairs and of terms
  Sight sight[16];
  Term term[16];
};

// By number, as in src/ops/world/composed/program.rs.
enum Moves { MOVES_STILL, MOVES_LEADER, MOVES_PATH };
enum Sees { SEE_GOAL, SEE_BEARING, SEE_LOOK, SEE_DIRECTION, SEE_FACING, SEE_VELOCITY, SEE_SPEED, SEE_PATH };
enum Value {
  VALUE_DISTANCE, VALUE_PROGRESS, VALUE_BEARING, VALUE_LOOK, VALUE_HEADING, VALUE_FACING,
  VALUE_SPEED, VALUE_VELOCITY, VALUE_STILL, VALUE_EFFORT, VALUE_FEET
};
enum Shape { SHAPE_LINEAR, SHAPE_ABS, SHAPE_SQUARE, SHAPE_EXP };

// True if the reward has a term of this value.
DEVICE bool has_term(const Program& program, u32 value) {
  bool has = false;
  for (u32 i = 0; i < program.terms; ++i) has = has || program.term[i].kind == value;
  return has;
}

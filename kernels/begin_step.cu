// Makes the schedule's next entry current: state = schedule[cursor[0]], cursor[0] += 1. One thread.
// Once a loss was not finite, the step that made it stays current.
#pragma once
#include "state.cuh"

struct BeginStep {              // field for field: src/ops/begin_step.rs
  const StepState* schedule;    // [n]
  const double* losses;         // [LOSSES] or absent
  u32* cursor;                  // [2] the first is the next entry
  StepState* state;             // [1]
  u32 n, pad;
};

DEVICE void begin_step(Where at, const BeginStep& a, NoShared&) {
  if (at.block == 0 && at.thread == 0 && !stands_still(a.losses)) {
    u32 next = a.cursor[0];
    a.state[0] = a.schedule[next];
    a.cursor[0] = next + 1;
  }
}
KERNEL(begin_step, BeginStep, NoShared, 32)

// Condition and truth of the schedule's next entry, before begin_step makes it current. At the
// start of a rollout the condition is the C frames before it, newest first. Later it is the last
// condition shifted by one frame, with the last prediction (student) or true frame (teacher) in
// front. Once a loss was not finite, both stay. Beyond the end of the data its last frame is used.
// A column of features is one thread's, which reads before it writes: no barrier is needed.
#pragma once
#include "state.cuh"

struct Window {             // field for field: src/ops/window.rs
  const float* data;        // [N, F] normalised
  const u32* starts;        // [M, B]
  const StepState* schedule;  // [entries]
  const u32* cursor;        // [2] the first is the next entry
  const float* prediction;  // [B, K F]
  const double* losses;     // [LOSSES] or absent
  float* condition;         // [B, C F] newest first; updated
  float* truth;             // [B, K F] oldest first; updated
  u32 n, f, m, b, c, k;     // frames, frame size, mini-batches, samples, condition frames, future predictions
  u32 entries, pad;
};

DEVICE void window(Where at, const Window& a, NoShared&) {
  if (stands_still(a.losses)) return;
  const StepState& state = a.schedule[a.cursor[0]];
  const u32 minibatch = state.minibatch, rollout_step = state.rollout_step, student = state.student;
  for (u32 at_all = at.block * at.threads + at.thread; at_all < a.b * a.f; at_all += at.blocks * at.threads) {
    const u32 row = at_all / a.f, column = at_all % a.f;
    const u64 start = a.starts[u64(minibatch) * a.b + row];
    float* condition = a.condition + u64(row) * a.c * a.f + column;
    float* truth = a.truth + u64(row) * a.k * a.f + column;
    auto frame = [&](u64 i) { return a.data[(i < a.n ? i : a.n - 1) * a.f + column]; };
    if (rollout_step == 0) {
      for (u32 j = 0; j < a.c; ++j) condition[u64(j) * a.f] = frame(start + a.c - 1 - j);
    } else {
      for (u32 j = a.c - 1; j > 0; --j) condition[u64(j) * a.f] = condition[u64(j - 1) * a.f];
      condition[0] = student == 1 ? a.prediction[u64(row) * a.k * a.f + column] : truth[0];
    }
    for (u32 j = 0; j < a.k; ++j) truth[u64(j) * a.f] = frame(start + a.c + rollout_step + j);
  }
}
KERNEL(window, Window, NoShared, 256)

// Reconciles places of joints: they follow the velocities from frame to frame, and the predicted
// places in the long run. With R(a) (x, z) = (x cos a - z sin a, x sin a + z cos a), in the units
// of the data, for each joint of each frame
//     y = x, but for places: share place
//         + (1 - share) (R(turn) (place before - root motion) + velocity)
// where share = max(gain, v^2 / (v^2 + p^2)), v and p the scales of the velocity and of the place.
// A sample is one block's: its frames one after the other, a joint a thread.
#pragma once
#include "reduce.cuh"

struct Reconcile {                          // field for field: src/ops/reconcile.rs
  const float *x, *condition;               // [B, K F] oldest first   [B, C F] newest first
  const float *scale, *shift;               // [F]   [F]
  float* y;                                 // [B, K F] overwritten
  double gain;
  u32 b, k, f, c;
};

// The share of a predicted place, from the scales of the place and of its velocity.
DEVICE float share_of_place(float p, float v, double gain) { return fmaxf(float(gain), v * v / (v * v + p * p)); }

DEVICE void reconcile(Where at, const Reconcile& a, NoShared&) {
  const u32 joints = (a.f - 3) / 12;
  for (u32 b = at.block; b < a.b; b += at.blocks) {
    const float* before = a.condition + u64(b) * a.c * a.f;
    for (u32 k = 0; k < a.k; ++k) {
      const float* x = a.x + (u64(b) * a.k + k) * a.f;
      float* y = a.y + (u64(b) * a.k + k) * a.f;
      const float turn = a.scale[2] * x[2] + a.shift[2], s = sinf(turn), c = cosf(turn);
      const float forward = a.scale[0] * x[0] + a.shift[0], sideways = a.scale[1] * x[1] + a.shift[1];
      // Of the frame before, a thread reads only the places that it wrote itself.
      for (u32 joint = at.thread; joint < joints; joint += at.threads) {
        const u32 place = 3 + 3 * joint, velocity = place + 3 * joints;
        float old[3], moved[3];
        for (u32 i = 0; i < 3; ++i) old[i] = a.scale[place + i] * before[place + i] + a.shift[place + i];
        old[0] -= forward, old[2] -= sideways;
        moved[0] = c * old[0] - s * old[2], moved[1] = old[1], moved[2] = s * old[0] + c * old[2];
        for (u32 i = 0; i < 3; ++i) {
          const float p = a.scale[place + i], v = a.scale[velocity + i];
          const float share = share_of_place(p, v, a.gain);
          moved[i] += v * x[velocity + i] + a.shift[velocity + i];
          y[place + i] = share * x[place + i] + (1 - share) * ((moved[i] - a.shift[place + i]) / p);
        }
      }
      for (u32 i = at.thread; i < a.f; i += at.threads)
        if (i < 3 || i >= 3 + 3 * joints) y[i] = x[i];
      before = y;
    }
  }
}
KERNEL(reconcile, Reconcile, NoShared, 256)

struct ReconcileBack {                      // field for field: src/ops/reconcile.rs, back
  const float *x, *condition, *y;           // [B, K F] oldest first   [B, C F] newest first   [B, K F] reconciled
  const float *scale, *shift;               // [F]   [F]
  float* dy;                                // [B, K F] an earlier frame's grows by the part of the later ones
  float *dx, *dcondition;                   // [B, K F]   [B, C F] overwritten
  double gain;
  u32 b, k, f, c;
};
struct ReconcileShared {
  float parts[WARPS];
};

// From the last frame to the first. With d = dy of a place, m = (1 - share) d / p, u the place
// before less the root's motion, and R the turn:
//     dplace = share d      dvelocity = its dy + v m      dplace before += p R^T m
//     droot = its dy - sum of R^T m      dturn = its dy + sum of (R' u) . m
// Everything else is copied. A sample is one block's, and a joint a thread's, which so adds to the
// gradient of the frame before what it alone reads there.
DEVICE void reconcile_backward(Where at, const ReconcileBack& a, ReconcileShared& shared) {
  const u32 joints = (a.f - 3) / 12;
  for (u32 b = at.block; b < a.b; b += at.blocks) {
    for (u32 k = a.k; k-- > 0;) {
      const u64 row = (u64(b) * a.k + k) * a.f, first = u64(b) * a.c * a.f;
      const float *x = a.x + row, *dy = a.dy + row, *before = k > 0 ? a.y + row - a.f : a.condition + first;
      float *dx = a.dx + row, *dbefore = k > 0 ? a.dy + row - a.f : a.dcondition + first;
      const float turn = a.scale[2] * x[2] + a.shift[2], s = sinf(turn), c = cosf(turn);
      const float root[3] = {a.scale[0] * x[0] + a.shift[0], 0, a.scale[1] * x[1] + a.shift[1]};
      float forward = 0, sideways = 0, turned = 0;
      for (u32 joint = at.thread; joint < joints; joint += at.threads) {
        const u32 place = 3 + 3 * joint, velocity = place + 3 * joints;
        float moved[3], old[3];
        for (u32 i = 0; i < 3; ++i) {
          const float p = a.scale[place + i], v = a.scale[velocity + i], share = share_of_place(p, v, a.gain);
          dx[place + i] = share * dy[place + i];
          moved[i] = (1 - share) * dy[place + i] / p;
          dx[velocity + i] = dy[velocity + i] + v * moved[i];
          old[i] = p * before[place + i] + a.shift[place + i] - root[i];
        }
        const float back[3] = {c * moved[0] + s * moved[2], moved[1], c * moved[2] - s * moved[0]};
        for (u32 i = 0; i < 3; ++i)
          dbefore[place + i] = a.scale[place + i] * back[i] + (k > 0 ? dbefore[place + i] : 0);
        forward += back[0], sideways += back[2];
        turned += moved[2] * (c * old[0] - s * old[2]) - moved[0] * (s * old[0] + c * old[2]);
      }
      forward = block_sum(at, forward, shared.parts);
      sideways = block_sum(at, sideways, shared.parts);
      turned = block_sum(at, turned, shared.parts);
      if (at.thread == 0) {
        dx[0] = dy[0] - a.scale[0] * forward;
        dx[1] = dy[1] - a.scale[1] * sideways;
        dx[2] = dy[2] + a.scale[2] * turned;
      }
      for (u32 i = 3 + 6 * joints + at.thread; i < a.f; i += at.threads) dx[i] = dy[i];
    }
    float* dcondition = a.dcondition + u64(b) * a.c * a.f;
    for (u32 i = at.thread; i < a.c * a.f; i += at.threads)
      if (i < 3 || i >= 3 + 3 * joints) dcondition[i] = 0;
  }
}
KERNEL(reconcile_backward, ReconcileBack, ReconcileShared, 256)

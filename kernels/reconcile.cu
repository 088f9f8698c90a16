// Reconciles places of joints: they follow the velocities from frame to frame, and the predicted
// places in the long run. With R(a) (x, z) = (x cos a - z sin a, x sin a + z cos a), in the units
// of the data, for each joint of each frame
//     y = x, but for places: share place
//         + (1 - share) (R(turn) (place before - root motion) + velocity)
// where share = max(gain, v^2 / (v^2 + p^2)), v and p the scales of the velocity and of the place.
// A sample is one block's: its frames one after the other, a joint a thread.
#pragma once
#include "simt.cuh"

struct Reconcile {                          // field for field: src/ops/reconcile.rs
  const float *x, *condition;               // [B, K F] oldest first   [B, C F] newest first
  const float *scale, *shift;               // [F]   [F]
  float* y;                                 // [B, K F] overwritten
  double gain;
  u32 b, k, f, c;
};

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
          const float share = fmaxf(float(a.gain), v * v / (v * v + p * p));
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

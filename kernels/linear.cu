// A dense layer on [x | h], which is never stored, with the activation fused. I = X + H inputs.
//   y[b,o]    = act(sum_i [x|h][b,i] w[o,i] + bias[o])
//   dy        becomes the gradient before the activation (backward_act), then
//   dx|dh     = sum_o dy[b,o] w[o,i]
//   dw[o,i]   = sum_b dy[b,o] [x|h][b,i]        dbias[o] = sum_b dy[b,o]
#pragma once
#include "product.cuh"
#include "state.cuh"

struct Linear {                          // field for field: src/ops/linear.rs
  const float *x, *h, *w, *bias;         // [B, X]   [B, H] or absent   [O, I]   [O]
  float *y, *dy;                         // [B, O]
  float *dx, *dh, *dw, *dbias;           // [B, X] or absent   [B, H] or absent   [O, I]   [O]
  u32 b, xc, hc, o, act;                 // samples, columns of x and h, outputs, activation
  u32 add_dx, add_dh, add_dw;            // 1: added to, 0: overwritten (add_dw: dbias, too)
};

DEVICE float linear_input(const Linear& a, u32 b, u32 i) {
  return i < a.xc ? a.x[u64(b) * a.xc + i] : a.h[u64(b) * a.hc + i - a.xc];
}

DEVICE void linear_forward(Where at, const Linear& a, Tile<4>& shared) {
  const u32 inputs = a.xc + a.hc;
  product<INNER, INNER>(
      at, shared, 1, a.b, a.o, inputs, [&](u32, u32 b, u32 i) { return linear_input(a, b, i); },
      [&](u32, u32 i, u32 o) { return a.w[u64(o) * inputs + i]; },
      [&](u32, u32 b, u32 o, float sum) { a.y[u64(b) * a.o + o] = activate(a.act, sum + a.bias[o]); });
}
KERNEL(linear_forward, Linear, Tile<4>, 256)

DEVICE void linear_backward_act(Where at, const Linear& a, NoShared&) {
  const u64 n = u64(a.b) * a.o;
  for (u64 i = u64(at.block) * at.threads + at.thread; i < n; i += u64(at.blocks) * at.threads)
    a.dy[i] = pull_back(a.act, a.y[i], a.dy[i]);
}
KERNEL(linear_backward_act, Linear, NoShared, 256)

DEVICE void linear_backward_x(Where at, const Linear& a, Tile<4>& shared) {
  const u32 inputs = a.xc + a.hc, first = a.dx ? 0 : a.xc, end = a.dh ? inputs : a.xc;
  product<INNER, OUTER>(
      at, shared, 1, a.b, end - first, a.o, [&](u32, u32 b, u32 o) { return a.dy[u64(b) * a.o + o]; },
      [&](u32, u32 o, u32 i) { return a.w[u64(o) * inputs + first + i]; },
      [&](u32, u32 b, u32 column, float sum) {
        const u32 i = first + column;
        if (i < a.xc)
          put(&a.dx[u64(b) * a.xc + i], a.add_dx, sum);
        else
          put(&a.dh[u64(b) * a.hc + i - a.xc], a.add_dh, sum);
      });
}
KERNEL(linear_backward_x, Linear, Tile<4>, 256)

DEVICE void linear_backward_w(Where at, const Linear& a, Tile<4>& shared) {
  const u32 inputs = a.xc + a.hc;
  product<OUTER, OUTER>(
      at, shared, 1, a.o, inputs, a.b, [&](u32, u32 o, u32 b) { return a.dy[u64(b) * a.o + o]; },
      [&](u32, u32 b, u32 i) { return linear_input(a, b, i); },
      [&](u32, u32 o, u32 i, float sum) { put(&a.dw[u64(o) * inputs + i], a.add_dw, sum); });
  column_sums(at, a.dy, a.b, a.o, a.add_dw, a.dbias);
}
KERNEL(linear_backward_w, Linear, Tile<4>, 256)

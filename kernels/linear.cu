// A dense layer on [x | h], which is never stored, with the activation fused. I = X + H inputs.
//     y[b,o]    = act(sum_i [x|h][b,i] w[o,i] + bias[o]), of h alone where x is absent
//     dy        of the mean squared error, if there is a target: 2 (y - target) / (B O)
//     dy        becomes the gradient before the activation (backward_act), then
//     dx|dh     = sum_o dy[b,o] w[o,i], with that of a twin on the same input if there is one; if
//               this is its last part, it becomes the gradient before the activation of x or h
//     dw[o,i]   = sum_b dy[b,o] [x|h][b,i]        dbias[o] = sum_b dy[b,o]
#pragma once
#include "state.cuh"
#include "tile_fma.cuh"
#include "tile_tensor.cuh"

struct Linear {                          // field for field: src/ops/linear.rs
  const float *x, *h, *w, *bias;         // [B, X]   [B, H] or absent   [O, I]   [O]
  const float* target;                   // [B, O] or absent
  const float *dy2, *w2;                 // dy and w of a twin, or absent
  float *y, *dy;                         // [B, O]
  float *dx, *dh, *dw, *dbias;           // [B, X] or absent   [B, H] or absent   [O, I]   [O]
  u32 b, xc, hc, o, act;                 // samples, columns of x and h, outputs, activation
  u32 act_x, act_h;                      // activations that made x and h: dx and dh are the gradients before them
  u32 add_dx, add_dh, add_dw;            // 1: added to, 0: overwritten (add_dw: dbias, too)
};

// Tiles in single precision and on tensor cores. On tensor cores they are narrow, so that 64
// samples fill a GPU; those for weights are square.
typedef FmaTile<4> LinearTile;
typedef TensorTile<2, 1, 1, 1, 8, 3> LinearTile_bf16x3;
typedef TensorTile<2, 2, 4, 1, 4, 1> LinearTile_w_bf16x3;

// [x | h] as a factor; x may be absent.
template <Along ALONG>
DEVICE Factor<ALONG, BESIDE> linear_input(const Linear& a) {
  return factor<ALONG>(a.x ? Lines{a.x, a.xc, a.xc} : Lines{nullptr, 0, 0}, Lines{a.h, a.hc, a.hc});
}

template <class Tile>
DEVICE void linear_forward(Where at, const Linear& a, Tile& shared) {
  const u32 inputs = a.xc + a.hc, first = a.x ? 0 : a.xc;
  product(
      at, shared, a.b, a.o, inputs - first, linear_input<INNER>(a),
      factor<INNER>(Lines{a.w + first, inputs, inputs - first}),
      [&](u32 b, u32 o, float sum) {
        put_output(a.y, a.dy, a.target, u64(a.b) * a.o, u64(b) * a.o + o, activate(a.act, sum + a.bias[o]));
      });
}
KERNEL(linear_forward, Linear, LinearTile, 256)
VARIANT(linear_forward, bf16x3, Linear, LinearTile_bf16x3, 256, 2)

DEVICE void linear_backward_act(Where at, const Linear& a, NoShared&) {
  const u64 n = u64(a.b) * a.o;
  for (u64 i = u64(at.block) * at.threads + at.thread; i < n; i += u64(at.blocks) * at.threads)
    a.dy[i] = pull_back(a.act, a.y[i], a.dy[i]);
}
KERNEL(linear_backward_act, Linear, NoShared, 256)

template <class Tile>
DEVICE void linear_backward_x(Where at, const Linear& a, Tile& shared) {
  const u32 inputs = a.xc + a.hc, first = a.dx ? 0 : a.xc, end = a.dh ? inputs : a.xc;
  const Lines w{a.w + first, inputs, end - first}, w2{a.w2 + first, inputs, a.w2 ? end - first : 0};
  product(
      at, shared, a.b, end - first, a.dy2 ? 2 * a.o : a.o, factor<INNER>(Lines{a.dy, a.o, a.o}, Lines{a.dy2, a.o, a.o}),
      below(w, a.o, w2),
      [&](u32 b, u32 column, float sum) {
        const u32 i = first + column;
        if (i < a.xc)
          put_back(a.dx, a.x, u64(b) * a.xc + i, a.act_x, a.add_dx, sum);
        else
          put_back(a.dh, a.h, u64(b) * a.hc + i - a.xc, a.act_h, a.add_dh, sum);
      });
}
KERNEL(linear_backward_x, Linear, LinearTile, 256)
VARIANT(linear_backward_x, bf16x3, Linear, LinearTile_bf16x3, 256, 2)

template <class Tile>
DEVICE void linear_backward_w(Where at, const Linear& a, Tile& shared) {
  const u32 inputs = a.xc + a.hc;
  product(
      streaming(at), shared, a.o, inputs, a.b, factor<OUTER>(Lines{a.dy, a.o, a.o}), linear_input<OUTER>(a),
      [&](u32 o, u32 i, float sum) { put(&a.dw[u64(o) * inputs + i], a.add_dw, sum); });
  column_sums(at, a.dy, a.b, a.o, a.add_dw, a.dbias);
}
KERNEL(linear_backward_w, Linear, LinearTile, 256)
VARIANT(linear_backward_w, bf16x3, Linear, LinearTile_w_bf16x3, 128, 2)

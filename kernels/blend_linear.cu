// A linear layer on [z | h], which is never stored, with the activation fused. Its weights are
// blended per sample from E experts.
//     each[b,e,o]  = sum_i [z|h][b,i] w[e,i,o]
//     y[b,o]       = act(sum_e gate[b,e] (each[b,e,o] + bias[e,o]))
//     dy           of the mean squared error, if there is a target: 2 (y - target) / (B O)
//     dy           becomes the gradient before the activation (backward_gate, unless its writer
//                  has done so)
//     dgate[b,e]   = sum_o dy[b,o] (each[b,e,o] + bias[e,o])
//     deach[b,e,o] = gate[b,e] dy[b,o]
//     dz|dh        = sum_e gate[b,e] sum_o dy[b,o] w[e,i,o]
// Per-sample weights are never formed: a tile holds the same few columns of all experts and blends
// their sums.
#pragma once
#include "reduce.cuh"
#include "state.cuh"
#include "tile_fma.cuh"
#include "tile_tensor.cuh"

struct BlendLinear {                         // field for field: src/ops/blend_linear.rs
  const float *z, *h, *gate, *w, *bias;      // [B, L]   [B, I - L]   [B, E] rows sum to 1   [E, I, O]   [E, O]
  const float* target;                       // [B, O] or absent
  float *y, *each, *dy, *deach;              // [B, O]   [B, E, O] absent without gradients   [B, O]   [B, E, O]
  float *dz, *dh, *dgate;                    // shapes of z, h, gate; each may be absent
  u32 b, l, i, o, e, act;                    // samples, latent, inputs, outputs, experts, activation
  u32 act_h;                                 // the activation that made h: dh is the gradient before it
  u32 add_dz, add_dh, add_dgate;             // 1: added to, 0: overwritten
};

// A tile with one panel for each expert that is blended at a time. With more experts, tiles take
// several passes.
template <class Tile>
struct BlendShared {
  Tile tile;
  float blended[Tile::ROWS * Tile::COLS];    // blends of the passes so far
};
typedef BlendShared<FmaTile<6>> BlendTile;
typedef BlendShared<TensorTile<2, 1, 1, 6, 8, 1>> BlendTile_bf16x3;

// Computes tiles of [b, cols], shared out over the blocks. For each expert, `each`(b, col, expert,
// sum) gets the sum over k < depth of x(b, k) w(expert, col, k), and returns the term of the blend.
// Finally `done`(b, col, blend) gets the blend of these terms by the gate.
template <class Tile, class X, class W, class Each, class Done>
DEVICE void blended_product(Where at, BlendShared<Tile>& shared, const BlendLinear& a, u32 cols, u32 depth, const X& x,
                            const W& w, Each each, Done done) {
  const u32 rows = Tile::ROWS, wide = Tile::COLS, panels = Tile::PANELS;
  const u32 down = blocks_of(a.b, rows), across = blocks_of(cols, wide);
  for (u32 tile = at.block; tile < down * across; tile += at.blocks) {
    const u32 first_row = tile / across * rows, first_col = tile % across * wide;
    for (u32 first = 0; first < a.e; first += panels) {
      const W right = w.from(first_col, cols).of_experts(first, a.i, a.e);
      if (at.weights == FETCH) return shared.tile.fetch(at, depth, right);
      shared.tile.multiply(
          tile == at.block ? at : streaming(at), depth, x.from(first_row, a.b), right,
          [&](u32 r, u32 c, const float* sums) {
            const u32 b = first_row + r, col = first_col + c;
            if (b >= a.b || col >= cols) return;
            float blend = first > 0 ? shared.blended[r * wide + c] : 0.0f;  // this thread's own, from the last pass
            for (u32 p = 0; p < panels; ++p)
              if (first + p < a.e) blend += a.gate[u64(b) * a.e + first + p] * each(b, col, first + p, sums[p]);
            if (first + panels < a.e)
              shared.blended[r * wide + c] = blend;
            else
              done(b, col, blend);
          });
    }
  }
}

template <class Tile>
DEVICE void blend_linear_forward(Where at, const BlendLinear& a, BlendShared<Tile>& shared) {
  const u32 h = a.i - a.l;
  blended_product(
      at, shared, a, a.o, a.i, factor<INNER>(Lines{a.z, a.l, a.l}, Lines{a.h, h, h}),
      factor<OUTER, Tile::COLS>(Lines{a.w, a.o, a.o}),
      [&](u32 b, u32 o, u32 e, float sum) {
        if (a.each) a.each[(u64(b) * a.e + e) * a.o + o] = sum;
        return sum + a.bias[e * a.o + o];
      },
      [&](u32 b, u32 o, float blend) {
        put_output(a.y, a.dy, a.target, u64(a.b) * a.o, u64(b) * a.o + o, activate(a.act, blend));
      });
}
KERNEL(blend_linear_forward, BlendLinear, BlendTile, 256)
VARIANT(blend_linear_forward, bf16x3, BlendLinear, BlendTile_bf16x3, 256, 1)

// A sample is one block's, an expert one warp's.
DEVICE void blend_linear_backward_gate(Where at, const BlendLinear& a, NoShared&) {
  for (u32 b = at.block; b < a.b; b += at.blocks) {
    const float* y = a.y + u64(b) * a.o;
    float* dy = a.dy + u64(b) * a.o;
    if (a.act != IDENTITY) {
      for (u32 o = at.thread; o < a.o; o += at.threads) dy[o] = pull_back(a.act, y[o], dy[o]);
      block_sync();  // dy is the gradient before the activation
    }
    for (u32 e = at.thread / 32; e < a.e; e += at.threads / 32) {
      const float gate = a.gate[u64(b) * a.e + e];
      const u64 row = (u64(b) * a.e + e) * a.o;
      float dot = 0;
      for (u32 o = at.thread % 32; o < a.o; o += 32) {
        dot += dy[o] * (a.each[row + o] + a.bias[e * a.o + o]);
        a.deach[row + o] = gate * dy[o];
      }
      dot = warp_sum(dot);
      if (a.dgate && at.thread % 32 == 0) put(&a.dgate[u64(b) * a.e + e], a.add_dgate, dot);
    }
  }
}
KERNEL(blend_linear_backward_gate, BlendLinear, NoShared, 256)

template <class Tile>
DEVICE void blend_linear_backward_x(Where at, const BlendLinear& a, BlendShared<Tile>& shared) {
  const u32 first = a.dz ? 0 : a.l, end = a.dh ? a.i : a.l;
  blended_product(
      at, shared, a, end - first, a.o,
      factor<INNER>(Lines{a.dy, a.o, a.o}), factor<INNER, Tile::COLS>(Lines{a.w + u64(first) * a.o, a.o, a.o}),
      [&](u32, u32, u32, float sum) { return sum; },
      [&](u32 b, u32 column, float sum) {
        const u32 i = first + column;
        if (i < a.l)
          put(&a.dz[u64(b) * a.l + i], a.add_dz, sum);
        else
          put_back(a.dh, a.h, u64(b) * (a.i - a.l) + i - a.l, a.act_h, a.add_dh, sum);
      });
}
KERNEL(blend_linear_backward_x, BlendLinear, BlendTile, 256)
VARIANT(blend_linear_backward_x, bf16x3, BlendLinear, BlendTile_bf16x3, 256, 1)

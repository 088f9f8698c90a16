// The gradient of a layer's weights and Adam on it (Kingma and Ba, 2015), tile by tile; the
// gradient is kept nowhere.
//     g[e,r,c] = sum_b [left|left2][b,r] [right_e|right2][b,c]
//     bias: g[i] = sum_b of left[b,i], or of right[b,i]
//     squares[i] = the sum of g^2 over tile i and its share of the biases, in double precision
// Nothing is updated once a loss was not finite. Moments of the weights may stay in shared memory
// from one repetition to the next.
#pragma once
#include "adam.cuh"
#include "reduce.cuh"
#include "tile_fma.cuh"
#include "tile_tensor.cuh"

struct Update {                                // field for field: src/ops/update.rs
  const float *left, *left2;                   // [B, R1]   [B, R2] or absent
  const float *right, *right2;                 // [B, E C1]   [B, C2] or absent
  const StepState* state;                      // [1]
  const double* losses;                        // [LOSSES]
  float *w, *m, *v;                            // [E, R1 + R2, C1 + C2] updated
  float *bias, *bias_m, *bias_v;               // [R1] or, of right, [E C1]; updated
  float* gradient;                             // absent in kernels
  double* squares;                             // [tiles]
  double beta1, beta2, eps;
  u32 b, r1, r2, c1, c2, e;                    // samples, rows and columns of both parts, experts
  u32 bias_of_left, pad;                       // 1: of left, 0: of right
};

// Shared memory: the tile of the product, and the weights and moments of a tile.
template <class Tile>
struct UpdateShared {
  Tile tile;
  float w[Tile::ROWS * Tile::COLS * Tile::PANELS], m[Tile::ROWS * Tile::COLS * Tile::PANELS];
  float v[Tile::ROWS * Tile::COLS * Tile::PANELS];
  double parts[WARPS];
};
typedef UpdateShared<FmaTile<4>> UpdateTile;
typedef UpdateShared<TensorTile<2, 2, 4, 1, 4, 1>> UpdateTile_bf16x3;

// Starts to copy `n` of four neighbouring numbers, and zeros for the others. With `vectors` it is
// all or none of them.
DEVICE void copy_four(float* to, const float* from, u32 n, bool vectors) {
  if (vectors)
    copy_start<16>(to, from, n > 0);
  else
    UNROLL for (u32 k = 0; k < 4; ++k) copy_start<4>(to + k, from + k, k < n);
}
// Stores `n` of four neighbouring numbers; with `vectors` it is all of them.
DEVICE void put_four(float* to, const float (&x)[4], u32 n, bool vectors) {
  if (vectors)
    store(to, x);
  else
    UNROLL for (u32 k = 0; k < 4; ++k)
      if (k < n) to[k] = x[k];
}

template <class Tile>
DEVICE void update(Where at, const Update& a, UpdateShared<Tile>& shared) {
  const AdamStep adam(a);
  const bool still = stands_still(a.losses);
  const u32 rows = a.r1 + a.r2, cols = a.c1 + a.c2, wide = Tile::COLS * Tile::PANELS, tall = Tile::ROWS;
  const u32 down = blocks_of(rows, tall), across = blocks_of(cols, wide), tiles = a.e * down * across;
  const u32 biases = a.bias_of_left ? a.r1 : a.e * a.c1, share = blocks_of(biases, tiles);
  const float* of_bias = a.bias_of_left ? a.left : a.right;
  const bool vectors = fours({a.w, cols, cols}) && fours({a.m, cols, cols}) && fours({a.v, cols, cols});
  for (u32 tile = at.block; tile < tiles; tile += at.blocks) {
    const u32 e = tile / (down * across), first_row = tile / across % down * tall, first_col = tile % across * wide;
    const u64 first = (u64(e) * rows + first_row) * cols + first_col;
    // Moments that stay in the block's memory are read there and written back there. They come from
    // memory in the first repetition of a launch, and go back in the last.
    const bool stays = at.resident != 0, come = !stays || at.repetition & FIRST, go = !stays || at.repetition & LAST;
    float *m_here = stays ? kept_memory() + (at.resident - 1) : shared.m, *v_here = stays ? m_here + tall * wide : shared.v;
    if (still && !stays) continue;
    // How many of the four numbers from a place of the tile on are weights.
    auto inside = [&](u32 r, u32 c) {
      return first_row + r < rows && first_col + c < cols ? min_of(4, cols - first_col - c) : 0;
    };
    // Each thread copies the numbers that it will update; they arrive while the tile is multiplied.
    for (u32 i = 4 * at.thread; i < tall * Tile::COLS; i += 4 * at.threads)
      UNROLL for (u32 p = 0; p < Tile::PANELS; ++p) {
        const u32 r = i / Tile::COLS, c = p * Tile::COLS + i % Tile::COLS, to = p * tall * Tile::COLS + i;
        const u64 from = first + u64(r) * cols + c;
        copy_four(shared.w + to, a.w + from, inside(r, c), vectors);
        if (come) {
          copy_four(m_here + to, a.m + from, inside(r, c), vectors);
          copy_four(v_here + to, a.v + from, inside(r, c), vectors);
        }
      }
    copies_close();
    double sum = 0;
    shared.tile.template multiply<4>(
        streaming(at), a.b,
        factor<OUTER>(Lines{a.left, a.r1, a.r1}, Lines{a.left2, a.r2, a.r2}).from(first_row, rows),
        factor<OUTER>(Lines{a.right + e * a.c1, a.e * a.c1, a.c1}, Lines{a.right2, a.c2, a.c2}).from(first_col, cols),
        [&](u32 r, u32 c, const float* sums) {
          copies_wait<0>();
          UNROLL for (u32 p = 0; p < Tile::PANELS; ++p) {
            const u32 col = p * Tile::COLS + c, i = (p * tall + r) * Tile::COLS + c, n = inside(r, col);
            if (n == 0) continue;
            const u64 to = first + u64(r) * cols + col;
            float w[4], m[4], v[4];
            load(shared.w + i, w), load(m_here + i, m), load(v_here + i, v);
            if (!still) {
              UNROLL for (u32 k = 0; k < 4; ++k) {
                const float g = k < n ? sums[4 * p + k] : 0;
                adam(g, w[k], m[k], v[k]);
                sum += double(g) * g;
              }
              put_four(a.w + to, w, n, vectors);
              if (stays) store(m_here + i, m), store(v_here + i, v);
            }
            if (go) put_four(a.m + to, m, n, vectors), put_four(a.v + to, v, n, vectors);
          }
        });
    if (still) continue;
    // A bias is one warp's.
    const u32 end = min_of((tile + 1) * share, biases);
    for (u32 i = tile * share + at.thread / 32; i < end; i += at.threads / 32) {
      float g = 0;
      for (u32 b = at.thread % 32; b < a.b; b += 32) g += of_bias[u64(b) * biases + i];
      g = warp_sum(g);
      if (at.thread % 32 == 0) {
        adam(g, a.bias[i], a.bias_m[i], a.bias_v[i]);
        sum += double(g) * g;
      }
    }
    sum = block_sum(at, sum, shared.parts);
    if (at.thread == 0) a.squares[tile] = sum;
  }
}
KERNEL(update, Update, UpdateTile, 256)
VARIANT(update, bf16x3, Update, UpdateTile_bf16x3, 256, 2)

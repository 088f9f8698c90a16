// Products of matrices on tensor cores, tile by tile, each number as a sum of bf16 parts.
//
// x = hi + lo + rest, |rest| <= 2^-16 |x|: hi is x rounded to bf16 (8 significant bits), and lo is
// the remainder, rounded. With two parts ("bf16x3") x y is hi hi' + hi lo' + lo hi', with an error
// of at most 3 2^-16 |x y| in exact sums. With one part it is plain bf16. Sums are in single
// precision.
//
// A tile is 16 M rows by P panels of 8 N columns. The warps of a block share the inner dimension in
// steps of 16, in GROUPS parts that are added up in order at the end: no sum depends on the grid or
// the block size. Each warp copies its numbers to shared memory itself, STAGES steps ahead, and
// never waits for another. Weights that all warps fetched together before are there when it begins.
#pragma once
#include "product.cuh"

#define STEP 16u  // inner indices of one mma

// The place of a number in a slab of shared memory: WIDTH outer indices by STEP inner ones. Rows
// follow what is contiguous in memory, so that copies can be vectors. The skew keeps lanes that
// read a fragment on different banks.
template <Along ALONG, int WIDTH>
DEVICE u32 slab_place(u32 outer, u32 k) {
  return ALONG == INNER ? outer * STEP + k : k * WIDTH + k / 4 * 8 + outer;
}
#define SLAB(width) (STEP * (width) + 24)

// Starts to copy inner indices first .. first + STEP of at(outer, k), V neighbours along memory at
// a time. Each lane of a whole warp calls it.
template <Along ALONG, int WIDTH, int V, class At>
DEVICE void slab_copy(float* slab, u32 lane, u32 first, At at) {
  constexpr u32 LONG = ALONG == INNER ? STEP : WIDTH, WIDE = ALONG == INNER ? WIDTH : STEP;
  constexpr u32 LANES = LONG % 32 == 0 ? 32 / V : LONG % 16 == 0 ? 16 / V : 8 / V;  // side by side along memory
  const u32 x = lane % LANES * V, y = lane / LANES;
  UNROLL for (u32 j = 0; j < WIDE; j += 32 / LANES) {
    UNROLL for (u32 i = 0; i < LONG; i += LANES * V) {
      const u32 outer = ALONG == INNER ? y + j : x + i, k = ALONG == INNER ? x + i : y + j;
      const Place from = at(outer, first + k);
      copy_start<4 * V>(slab + slab_place<ALONG, WIDTH>(outer, k), from.at, from.inside);
    }
  }
}
template <Along ALONG, int WIDTH, class At>
DEVICE void slab_copy(float* slab, u32 lane, u32 first, const Matrix<ALONG, At>& matrix) {
  if (matrix.vectors)
    slab_copy<ALONG, WIDTH, 4>(slab, lane, first, matrix.at);
  else
    slab_copy<ALONG, WIDTH, 1>(slab, lane, first, matrix.at);
}

// The outer index, in a panel of 8 V, of the lane group g = 0 .. 8 in the panel's block j = 0 .. V.
// If outer indices are neighbours in memory, a lane reads V of them at once.
template <Along ALONG, int V>
DEVICE u32 outer_of(u32 j, u32 g) {
  return ALONG == INNER ? 8 * j + g : V * g + j;
}

// The numbers of a panel of 8 V that lane 4 g + t multiplies: x[j][i] is outer index outer_of(j,
// g), inner 4 t + i. An mma sums over its inner indices in any order, as long as both factors have
// the same order.
template <Along ALONG, int WIDTH, int V>
DEVICE void slab_read(const float* slab, u32 panel, u32 g, u32 t, float (&x)[V][4]) {
  if constexpr (ALONG == INNER) {
    for (u32 j = 0; j < V; ++j) load(slab + slab_place<INNER, WIDTH>(8 * V * panel + 8 * j + g, 4 * t), x[j]);
  } else {
    for (u32 i = 0; i < 4; ++i) {
      const float* from = slab + slab_place<OUTER, WIDTH>(8 * V * panel + V * g, 4 * t + i);
      float some[V];
      if constexpr (V == 1)
        some[0] = *from;
      else
        load(from, some);
      for (u32 j = 0; j < V; ++j) x[j][i] = some[j];
    }
  }
}

// Two numbers as pairs of bf16 parts, largest first.
template <int PARTS>
DEVICE void split(float x, float y, u32 (&parts)[PARTS]) {
  for (int i = 0; i < PARTS; ++i) {
    parts[i] = bf16_pair(x, y);
    x -= bits_float(parts[i] << 16);  // exact
    y -= bits_float(parts[i] & 0xffff0000u);
  }
}

template <int PARTS, int M, int N, int P, int GROUPS, int STAGES>
struct TensorTile {
  static constexpr u32 ROWS = 16 * M, COLS = 8 * N, PANELS = P;
  static constexpr u32 TERMS = PARTS * (PARTS + 1) / 2;
  // Number of sums of one output. An mma takes long to answer, so a tile of few of them sums each
  // term on its own.
  static constexpr u32 CHAINS = M * N * P < 4 ? TERMS : 1;
  alignas(16) float a[GROUPS][STAGES][SLAB(16 * M)];
  alignas(16) float b[GROUPS][STAGES][SLAB(8 * N * P)];
  float sums[GROUPS][P][ROWS * COLS];

  // Starts to copy all of `right` to the memory that the block keeps. It may be read there once
  // each thread has waited for its copies, and the block for all threads.
  template <Along B_ALONG, class B>
  DEVICE_MEMBER void fetch(Where at, u32 depth, const Matrix<B_ALONG, B>& right) {
    for (u32 step = at.thread / 32; step < blocks_of(depth, STEP); step += at.threads / 32)
      slab_copy<B_ALONG, 8 * N * P>(kept_memory() + at.fetched + step * SLAB(8 * N * P), at.thread % 32, step * STEP, right);
    copies_close();
  }

  // store(row, col, sums): sums[p] = sum over k < depth of a(row, k) b(p COLS + col, k).
  template <Along A_ALONG, Along B_ALONG, class A, class B, class Store>
  DEVICE_MEMBER void multiply(Where at, u32 depth, const Matrix<A_ALONG, A>& left, const Matrix<B_ALONG, B>& right,
                              Store store) {
    const u32 lane = at.thread % 32, g = lane / 4, t = lane % 4;
    for (u32 group = at.thread / 32; group < GROUPS; group += at.threads / 32) {
      const u32 all = blocks_of(depth, STEP), steps = all > group ? blocks_of(all - group, GROUPS) : 0;
      auto start = [&](u32 step) {
        if (step < steps) {
          const u32 first = (step * GROUPS + group) * STEP;
          slab_copy<A_ALONG, 16 * M>(a[group][step % STAGES], lane, first, left);
          if (at.weights != FETCHED) slab_copy<B_ALONG, 8 * N * P>(b[group][step % STAGES], lane, first, right);
        }
        copies_close();
      };
      for (u32 step = 0; step < STAGES; ++step) start(step);
      float c[CHAINS][P][M][N][4] = {};
      for (u32 step = 0; step < steps; ++step) {
        float x[2 * M][4], y[P][N][4];
        copies_wait<STAGES - 1>();
        warp_sync();  // all lanes' copies are there
        slab_read<A_ALONG, 16 * M, 2 * M>(a[group][step % STAGES], 0, g, t, x);
        const float* slab = at.weights == FETCHED ? kept_memory() + at.fetched + (step * GROUPS + group) * SLAB(8 * N * P)
                                                  : b[group][step % STAGES];
        for (u32 p = 0; p < P; ++p) slab_read<B_ALONG, 8 * N * P, N>(slab, p, g, t, y[p]);
        warp_sync();  // all lanes have read
        start(step + STAGES);
        accumulate(x, y, c);
      }
      for (u32 p = 0; p < P; ++p)
        for (u32 m = 0; m < M; ++m)
          for (u32 n = 0; n < N; ++n)
            for (u32 i = 0; i < 4; ++i) {
              const u32 row = outer_of<A_ALONG, 2 * M>(2 * m + i / 2, g), col = outer_of<B_ALONG, N>(n, 2 * t + i % 2);
              float sum = c[0][p][m][n][i];
              for (u32 chain = 1; chain < CHAINS; ++chain) sum += c[chain][p][m][n][i];
              sums[group][p][row * COLS + col] = sum;
            }
    }
    block_sync();  // all groups' sums are there
    for (u32 i = at.thread; i < ROWS * COLS; i += at.threads) {
      float total[P];
      for (u32 p = 0; p < P; ++p) {
        total[p] = sums[0][p][i];
        for (u32 group = 1; group < GROUPS; ++group) total[p] += sums[group][p][i];
      }
      store(i / COLS, i % COLS, total);
    }
    block_sync();  // sums may be overwritten
  }

  // c += the products of those parts of x and y that count: the parts whose numbers add up to less
  // than PARTS, small ones first.
  static DEVICE_MEMBER void accumulate(const float (&x)[2 * M][4], const float (&y)[P][N][4],
                                       float (&c)[CHAINS][P][M][N][4]) {
    u32 left[PARTS][M][4], right[PARTS][P][N][2];
    for (u32 m = 0; m < M; ++m)
      for (u32 i = 0; i < 4; ++i) {
        u32 parts[PARTS];
        split(x[2 * m + i % 2][i / 2 * 2], x[2 * m + i % 2][i / 2 * 2 + 1], parts);
        for (int part = 0; part < PARTS; ++part) left[part][m][i] = parts[part];
      }
    for (u32 p = 0; p < P; ++p)
      for (u32 n = 0; n < N; ++n)
        for (u32 i = 0; i < 2; ++i) {
          u32 parts[PARTS];
          split(y[p][n][2 * i], y[p][n][2 * i + 1], parts);
          for (int part = 0; part < PARTS; ++part) right[part][p][n][i] = parts[part];
        }
    u32 term = 0;
    for (int order = PARTS - 1; order >= 0; --order)
      for (int part = 0; part <= order; ++part, ++term)
        for (u32 p = 0; p < P; ++p)
          for (u32 m = 0; m < M; ++m)
            for (u32 n = 0; n < N; ++n)
              mma_bf16(c[term % CHAINS][p][m][n], left[part][m], right[order - part][p][n]);
  }
};

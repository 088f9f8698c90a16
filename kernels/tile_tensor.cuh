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

// Starts to copy inner indices first .. first + STEP of a factor, V neighbours along memory at a
// time; zeros from `depth` on. Each lane of a whole warp calls it.
template <Along ALONG, int WIDTH, int V, class F>
DEVICE void slab_copy(float* slab, u32 lane, u32 first, u32 depth, const F& factor) {
  constexpr u32 LONG = ALONG == INNER ? STEP : WIDTH, WIDE = ALONG == INNER ? WIDTH : STEP;
  constexpr u32 LANES = LONG % 32 == 0 ? 32 / V : LONG % 16 == 0 ? 16 / V : 8 / V;  // side by side along memory
  const u32 x = lane % LANES * V, y = lane / LANES;
  float* const to = slab + (ALONG == INNER ? slab_place<ALONG, WIDTH>(y, x) : slab_place<ALONG, WIDTH>(x, y));
  UNROLL for (u32 j = 0; j < WIDE; j += 32 / LANES) {
    UNROLL for (u32 i = 0; i < LONG; i += LANES * V) {
      // It is the sum of the lane's and of a constant: with `j`, no `y` passes a multiple of 4.
      const u32 outer = ALONG == INNER ? j : i, k = ALONG == INNER ? i : j;
      const u32 of_outer = (ALONG == INNER ? y : x) + outer, of_inner = (ALONG == INNER ? x : y) + k;
      copy_start<4 * V>(to + slab_place<ALONG, WIDTH>(outer, k), factor.at(of_outer, first, of_inner),
                        first + of_inner < depth);
    }
  }
}
template <int WIDTH, class F>
DEVICE void slab_copy(float* slab, u32 lane, u32 first, u32 depth, const F& factor) {
  if (factor.vectors)
    slab_copy<F::along, WIDTH, 4>(slab, lane, first, depth, factor);
  else
    slab_copy<F::along, WIDTH, 1>(slab, lane, first, depth, factor);
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
  // Numbers of the slabs of a step. Where the right factor is there already, all slabs of a warp
  // serve the left one.
  static constexpr u32 LEFT = SLAB(16 * M), RIGHT = SLAB(8 * N * P);
  static constexpr u32 LEFT_STAGES = STAGES * (LEFT + RIGHT) / LEFT;
  // The slabs of a group's steps under way and, when it has none left, its sums.
  union Group {
    alignas(16) float slabs[STAGES * (LEFT + RIGHT)];
    float sums[P][ROWS * COLS];
  } groups[GROUPS];

  // Starts to copy all of `right` to the memory that the block keeps. It may be read there once
  // each thread has waited for its copies, and the block for all threads.
  template <class B>
  DEVICE_MEMBER void fetch(Where at, u32 depth, const B& right) {
    for (u32 step = at.thread / 32; step < blocks_of(depth, STEP); step += at.threads / 32)
      slab_copy<8 * N * P>(kept_memory() + at.fetched + step * RIGHT, at.thread % 32, step * STEP, depth, right);
    copies_close();
  }

  // store(row, col, sums): sums[V p + v] is the sum over k < depth of left(row, k) times
  // right(p COLS + col + v, k), for 1 or 4 neighbours.
  template <int V = 1, class A, class B, class Store>
  DEVICE_MEMBER void multiply(Where at, u32 depth, const A& left, const B& right, Store store) {
    for (u32 group = at.thread / 32; group < GROUPS; group += at.threads / 32) {
      if (at.weights == FETCHED)
        sum_up<true, LEFT_STAGES>(at, group, depth, left, right);
      else
        sum_up<false, STAGES>(at, group, depth, left, right);
    }
    block_sync();  // all groups' sums are there
    for (u32 i = V * at.thread; i < ROWS * COLS; i += V * at.threads) {
      float total[V * P] = {};
      for (u32 group = 0; group < GROUPS; ++group)
        for (u32 p = 0; p < P; ++p) {
          float some[V];
          if constexpr (V == 1)
            some[0] = groups[group].sums[p][i];
          else
            load(&groups[group].sums[p][i], some);
          for (u32 v = 0; v < V; ++v) total[V * p + v] += some[v];
        }
      store(i / COLS, i % COLS, total);
    }
    block_sync();  // sums may be overwritten
  }

  // Leaves the sums of a group, by a warp. The factors are numbers of the loop's own (by value), as
  // arguments in shared memory would be read in each step anew.
  template <bool THERE, u32 AHEAD, class A, class B>
  DEVICE_MEMBER void sum_up(Where at, u32 group, u32 depth, const A left, const B right) {
    constexpr u32 SLABS = THERE ? LEFT : LEFT + RIGHT;
    const u32 lane = at.thread % 32, g = lane / 4, t = lane % 4;
    const u32 all = blocks_of(depth, STEP), steps = all > group ? blocks_of(all - group, GROUPS) : 0;
    auto start = [&](u32 step, float* slabs) {
      if (step < steps) {
        const u32 first = (step * GROUPS + group) * STEP;
        slab_copy<16 * M>(slabs, lane, first, depth, left);
        if (!THERE) slab_copy<8 * N * P>(slabs + LEFT, lane, first, depth, right);
      }
      copies_close();
    };
    float* const slabs = groups[group].slabs;
    UNROLL for (u32 step = 0; step < AHEAD; ++step) start(step, slabs + step * SLABS);
    float c[CHAINS][P][M][N][4] = {};
    for (u32 step = 0, stage = 0; step < steps; ++step) {
      float* const here = slabs + stage * SLABS;
      const float* const there = THERE ? kept_memory() + at.fetched + (step * GROUPS + group) * RIGHT : here + LEFT;
      float x[2 * M][4], y[P][N][4];
      copies_wait<AHEAD - 1>();
      warp_sync();  // all lanes' copies are there
      slab_read<A::along, 16 * M, 2 * M>(here, 0, g, t, x);
      for (u32 p = 0; p < P; ++p) slab_read<B::along, 8 * N * P, N>(there, p, g, t, y[p]);
      warp_sync();  // all lanes have read
      start(step + AHEAD, here);
      accumulate(x, y, c);
      stage = stage + 1 < AHEAD ? stage + 1 : 0;
    }
    for (u32 p = 0; p < P; ++p)
      for (u32 m = 0; m < M; ++m)
        for (u32 n = 0; n < N; ++n)
          for (u32 i = 0; i < 4; ++i) {
            const u32 row = outer_of<A::along, 2 * M>(2 * m + i / 2, g), col = outer_of<B::along, N>(n, 2 * t + i % 2);
            float sum = c[0][p][m][n][i];
            for (u32 chain = 1; chain < CHAINS; ++chain) sum += c[chain][p][m][n][i];
            groups[group].sums[p][row * COLS + col] = sum;
          }
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

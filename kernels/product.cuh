// Products of matrices in single precision, tile by tile.
//
// A tile is ROWS rows by P panels of COLS columns. Panels are what the caller makes of them: neighbouring columns of one
// matrix, or the same columns of P experts, so that one thread holds what all experts say about one output and blends it
// in registers. The inner dimension is cut into GROUPS parts that different threads sum, added up in order at the end:
// layers of 64 samples have too few outputs to fill a GPU otherwise. No sum depends on the grid or the block size.
#pragma once
#include "simt.cuh"

#define ROWS 32u
#define COLS 8u
#define DEPTH 64u                 // of the inner dimension held in shared memory at a time
#define GROUPS 4u
#define PART (DEPTH / GROUPS)     // of that, what one group sums
#define PER_THREAD 4u             // rows of a thread
#define SLOTS (GROUPS * COLS * (ROWS / PER_THREAD))  // threads that sum; more only help to load

template <int P>
struct Tile {
  alignas(16) float a[DEPTH][ROWS + 4];  // 16-byte rows for vector loads, skewed against bank conflicts
  float b[DEPTH][P * COLS];
  float sums[GROUPS][P][ROWS * COLS];
};

// Which index of a matrix runs along memory: threads that load are neighbours along it.
enum Along { INNER, OUTER };

// store(row, col, sums): sums[p] = sum over k < depth of a(row, k) b(p, k, col). a and b give 0 outside their matrix.
template <int P, Along A_ALONG, Along B_ALONG, class A, class B, class Store>
DEVICE void tile_product(Where at, Tile<P>& shared, u32 depth, A a, B b, Store store) {
  for (u32 first_slot = 0; first_slot < SLOTS; first_slot += at.threads) {
    const u32 slot = first_slot + at.thread, group = slot / (SLOTS / GROUPS);
    const u32 col = slot % COLS, row = slot / COLS % (ROWS / PER_THREAD) * PER_THREAD;
    float sums[PER_THREAD][P] = {};
    for (u32 k = 0; k < depth; k += DEPTH) {
      for (u32 i = at.thread; i < DEPTH * ROWS; i += at.threads) {
        const u32 r = A_ALONG == INNER ? i / DEPTH : i % ROWS, j = A_ALONG == INNER ? i % DEPTH : i / ROWS;
        shared.a[j][r] = a(r, k + j);
      }
      for (u32 i = at.thread; i < DEPTH * P * COLS; i += at.threads) {
        const u32 c = B_ALONG == INNER ? i / DEPTH : i % (P * COLS), j = B_ALONG == INNER ? i % DEPTH : i / (P * COLS);
        shared.b[j][c] = b(c / COLS, k + j, c % COLS);
      }
      block_sync();  // this depth is loaded
      if (slot < SLOTS) {
        for (u32 j = group * PART; j < (group + 1) * PART; ++j) {
          float left[PER_THREAD];
          for (u32 r = 0; r < PER_THREAD; ++r) left[r] = shared.a[j][row + r];
          for (u32 p = 0; p < P; ++p) {
            const float right = shared.b[j][p * COLS + col];
            for (u32 r = 0; r < PER_THREAD; ++r) sums[r][p] += left[r] * right;
          }
        }
      }
      block_sync();  // this depth has been used
    }
    if (slot < SLOTS)
      for (u32 r = 0; r < PER_THREAD; ++r)
        for (u32 p = 0; p < P; ++p) shared.sums[group][p][(row + r) * COLS + col] = sums[r][p];
  }
  block_sync();  // all groups' sums are there
  for (u32 i = at.thread; i < ROWS * COLS; i += at.threads) {
    float total[P];
    for (u32 p = 0; p < P; ++p) {
      total[p] = shared.sums[0][p][i];
      for (u32 group = 1; group < GROUPS; ++group) total[p] += shared.sums[group][p][i];
    }
    store(i / COLS, i % COLS, total);
  }
  block_sync();  // sums may be overwritten
}

// c[row, col] of [rows, cols] = sum over k < depth of a(row, k) b(k, col), in tiles shared out over the blocks; what is
// written goes through store(row, col, value). `batch` numbers independent products.
template <Along A_ALONG, Along B_ALONG, class A, class B, class Store>
DEVICE void product(Where at, Tile<4>& shared, u32 batches, u32 rows, u32 cols, u32 depth, A a, B b, Store store) {
  const u32 down = blocks_of(rows, ROWS), across = blocks_of(cols, 4 * COLS);
  for (u32 tile = at.block; tile < batches * down * across; tile += at.blocks) {
    const u32 batch = tile / (down * across), first_row = tile / across % down * ROWS;
    const u32 first_col = tile % across * 4 * COLS;
    tile_product<4, A_ALONG, B_ALONG>(
        at, shared, depth,
        [&](u32 r, u32 k) { return first_row + r < rows && k < depth ? a(batch, first_row + r, k) : 0.0f; },
        [&](u32 p, u32 k, u32 c) {
          const u32 col = first_col + p * COLS + c;
          return col < cols && k < depth ? b(batch, k, col) : 0.0f;
        },
        [&](u32 r, u32 c, const float* sums) {
          for (u32 p = 0; p < 4; ++p) {
            const u32 col = first_col + p * COLS + c;
            if (first_row + r < rows && col < cols) store(batch, first_row + r, col, sums[p]);
          }
        });
  }
}

// to = value, or added to what is there.
DEVICE void put(float* to, u32 add, float value) { *to = add ? *to + value : value; }

// sums[col] = the sum over rows of x [rows, cols], or added to what is there; a column is one thread's.
DEVICE void column_sums(Where at, const float* x, u32 rows, u32 cols, u32 add, float* sums) {
  for (u32 col = at.block * at.threads + at.thread; col < cols; col += at.blocks * at.threads) {
    float sum = 0;
    for (u32 row = 0; row < rows; ++row) sum += x[u64(row) * cols + col];
    put(&sums[col], add, sum);
  }
}

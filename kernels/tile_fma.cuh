// Products of matrices in single precision, tile by tile: the reference for the faster tiles.
//
// The inner dimension is cut into GROUPS parts, which different threads sum; the parts are added up
// in order at the end. Without that, layers of 64 samples have too few outputs to fill a GPU. No
// sum depends on the grid or the block size.
#pragma once
#include "product.cuh"

template <int P>
struct FmaTile {
  static constexpr u32 ROWS = 32, COLS = 8, PANELS = P;
  static constexpr u32 DEPTH = 64;           // inner indices held in shared memory at a time
  static constexpr u32 GROUPS = 4;
  static constexpr u32 PART = DEPTH / GROUPS;  // inner indices of these that one group sums
  static constexpr u32 PER_THREAD = 4;       // rows of a thread
  static constexpr u32 SLOTS = GROUPS * COLS * (ROWS / PER_THREAD);  // threads that sum; any more only help to load

  alignas(16) float a[DEPTH][ROWS + 4];  // 16-byte rows for vector loads, skewed against bank conflicts
  float b[DEPTH][P * COLS + 1];          // skewed, too, as neighbours along memory may be a column
  float sums[GROUPS][P][ROWS * COLS];

  // Does nothing: the weights of a tile are read as it is multiplied.
  template <class Right>
  DEVICE_MEMBER void fetch(Where, u32, const Right&) {}

  // store(row, col, sums): sums[V p + v] is the sum over k < depth of left(row, k) times
  // right(p COLS + col + v, k), for V neighbours.
  template <int V = 1, class A, class B, class Store>
  DEVICE_MEMBER void multiply(Where at, u32 depth, const A& left, const B& right, Store store) {
    for (u32 first_slot = 0; first_slot < SLOTS; first_slot += at.threads) {
      const u32 slot = first_slot + at.thread, group = slot / (SLOTS / GROUPS);
      const u32 col = slot % COLS, row = slot / COLS % (ROWS / PER_THREAD) * PER_THREAD;
      float mine[PER_THREAD][P] = {};
      for (u32 k = 0; k < depth; k += DEPTH) {
        for (u32 i = at.thread; i < DEPTH * ROWS; i += at.threads) {
          const u32 r = A::along == INNER ? i / DEPTH : i % ROWS, j = A::along == INNER ? i % DEPTH : i / ROWS;
          a[j][r] = k + j < depth ? global_number(left.at(r, k, j)) : 0.0f;
        }
        for (u32 i = at.thread; i < DEPTH * P * COLS; i += at.threads) {
          const u32 c = B::along == INNER ? i / DEPTH : i % (P * COLS), j = B::along == INNER ? i % DEPTH : i / (P * COLS);
          b[j][c] = k + j < depth ? global_number(right.at(c, k, j)) : 0.0f;
        }
        block_sync();  // this depth is loaded
        if (slot < SLOTS) {
          for (u32 j = group * PART; j < (group + 1) * PART; ++j) {
            float some[PER_THREAD];
            for (u32 r = 0; r < PER_THREAD; ++r) some[r] = a[j][row + r];
            for (u32 p = 0; p < P; ++p) {
              const float other = b[j][p * COLS + col];
              for (u32 r = 0; r < PER_THREAD; ++r) mine[r][p] += some[r] * other;
            }
          }
        }
        block_sync();  // this depth has been used
      }
      if (slot < SLOTS)
        for (u32 r = 0; r < PER_THREAD; ++r)
          for (u32 p = 0; p < P; ++p) sums[group][p][(row + r) * COLS + col] = mine[r][p];
    }
    block_sync();  // all groups' sums are there
    for (u32 i = V * at.thread; i < ROWS * COLS; i += V * at.threads) {
      float total[V * P] = {};
      for (u32 group = 0; group < GROUPS; ++group)
        for (u32 j = 0; j < V * P; ++j) total[j] += sums[group][j / V][i + j % V];
      store(i / COLS, i % COLS, total);
    }
    block_sync();  // sums may be overwritten
  }
};

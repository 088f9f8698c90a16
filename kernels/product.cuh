// Products of matrices, in tiles that are shared out over the blocks. The type of a tile says how
// it multiplies: in plain single precision (tile_fma.cuh) or on tensor cores (tile_tensor.cuh).
//
// A tile is ROWS rows by PANELS panels of COLS columns. The caller chooses the panels: neighbouring
// columns of one matrix, or the same columns of several experts. In the latter case one thread
// holds the results of all experts for one output.
#pragma once
#include "simt.cuh"

// The index of a factor that runs along memory: the one that is summed over, or the other.
enum Along { INNER, OUTER };

// A number of a factor; if it is not `inside`, `at` means nothing.
struct Place {
  const float* at;
  bool inside;
};
// A factor, given by the addresses of its numbers, at(..., outer, inner). With `vectors`, four
// neighbours along memory from a multiple of four on are all inside or all outside, and start on 16
// bytes.
template <Along ALONG, class At>
struct Matrix {
  bool vectors;
  At at;
};
template <Along ALONG, class At>
DEVICE Matrix<ALONG, At> matrix(bool vectors, At at) {
  return Matrix<ALONG, At>{vectors, at};
}
// [x | h] by its rows of xc and hc numbers.
DEVICE const float* beside(const float* x, u32 xc, const float* h, u32 hc, u32 row, u32 col) {
  const bool second = col >= xc;
  return (second ? h - xc : x) + (u64(row) * (second ? hc : xc) + col);
}
// True if rows of n numbers, one after another from here on, are made of such fours.
DEVICE bool fours(const float* rows, u32 n) { return n % 4 == 0 && reinterpret_cast<u64>(rows) % 16 == 0; }

// Computes c[row, col] of [rows, cols] = the sum over k < depth of a(row, k) b(col, k), for each
// batch, and calls store(batch, row, col, c[row, col]).
template <class Tile, Along A_ALONG, Along B_ALONG, class A, class B, class Store>
DEVICE void product(Where at, Tile& shared, u32 batches, u32 rows, u32 cols, u32 depth, const Matrix<A_ALONG, A>& a,
                    const Matrix<B_ALONG, B>& b, Store store) {
  const u32 down = blocks_of(rows, Tile::ROWS), across = blocks_of(cols, Tile::PANELS * Tile::COLS);
  for (u32 tile = at.block; tile < batches * down * across; tile += at.blocks) {
    const u32 batch = tile / (down * across), first_row = tile / across % down * Tile::ROWS;
    const u32 first_col = tile % across * Tile::PANELS * Tile::COLS;
    const auto right = matrix<B_ALONG>(b.vectors, [&](u32 c, u32 k) {
      return Place{b.at(batch, first_col + c, k), first_col + c < cols && k < depth};
    });
    if (at.weights == FETCH) return shared.fetch(at, depth, right);
    shared.multiply(
        tile == at.block ? at : streaming(at), depth,
        matrix<A_ALONG>(a.vectors,
                        [&](u32 r, u32 k) {
                          return Place{a.at(batch, first_row + r, k), first_row + r < rows && k < depth};
                        }),
        right,
        [&](u32 r, u32 c, const float* sums) {
          for (u32 p = 0; p < Tile::PANELS; ++p) {
            const u32 col = first_col + p * Tile::COLS + c;
            if (first_row + r < rows && col < cols) store(batch, first_row + r, col, sums[p]);
          }
        });
  }
}

// Sets *to to value, or adds value to it.
DEVICE void put(float* to, u32 add, float value) { *to = add ? *to + value : value; }

// Sets sums[col] to the sum over rows of x [rows, cols], or adds the sum to it; a column is one
// thread's.
DEVICE void column_sums(Where at, const float* x, u32 rows, u32 cols, u32 add, float* sums) {
  for (u32 col = at.block * at.threads + at.thread; col < cols; col += at.blocks * at.threads) {
    float sum = 0;
    for (u32 row = 0; row < rows; ++row) sum += x[u64(row) * cols + col];
    put(&sums[col], add, sum);
  }
}

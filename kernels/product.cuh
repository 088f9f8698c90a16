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

// Lines of numbers in memory: number i < length of line j is at[j * stride + i].
struct Lines {
  const float* at;
  u32 stride, length;
};
// True if four neighbours of a line, from a multiple of four on, start on 16 bytes and are all
// numbers of it.
DEVICE bool fours(const Lines& lines) {
  return (lines.stride | lines.length) % 4 == 0 && reinterpret_cast<u64>(lines.at) % 16 == 0;
}

// The width of a panel where there are no experts.
#define NO_PANEL (1u << 31)
// How the lines of a factor lie in memory: in one tensor, or in two, side by side in each line or
// one after the other.
enum Parts { ONE, BESIDE, BELOW };

// A factor of a product, as lines. A line holds the numbers of one outer index, if ALONG is INNER,
// or those of one inner index. Outer indices are those of a tile. Panels of PANEL outer indices are
// those of experts, whose lines lie `apart` from one another.
//
// It is plain numbers, so that a loop over inner indices has them in registers. Of outer indices
// beyond the matrix it has the numbers of others, since nobody asks for their sums.
template <Along ALONG, Parts PARTS, u32 PANEL = NO_PANEL>
struct Factor {
  static constexpr Along along = ALONG;
  u64 first, second;                   // addresses in global memory, both by the indices of the whole
  u32 first_stride, second_stride;     // in bytes
  u32 border;                          // where the second begins: a place in each line, or a line
  bool vectors;                        // see fours()
  u32 start, end;                      // the tile's first outer index, and the end of all
  u32 apart, experts;

  // The address of the number of outer index `outer` and inner index first + k. What changes from
  // turn to turn of a loop is added first: it makes fewer instructions, and fills fewer registers.
  DEVICE_MEMBER u64 at(u32 outer, u32 first, u32 k) const {
    const u32 panel = outer / PANEL, index = start + outer % PANEL;
    const u32 other = index < end ? index : 0, expert = panel < experts ? panel * apart : 0;
    const u32 place = ALONG == INNER ? first + k : other;
    const bool later = PARTS != ONE && (PARTS == BELOW ? first + k : place) >= border;
    const u32 stride = later ? second_stride : first_stride;
    const u64 from = (later ? second : this->first) + u64(place) * 4;
    if (ALONG == OUTER) return multiply_add(k, stride, multiply_add(expert + first, stride, from));
    const u64 line = multiply_add(other, stride, from);
    return PANEL < NO_PANEL ? multiply_add(expert, stride, line) : line;
  }
  // The factor of a tile that begins with this outer index, of `outers` in all.
  DEVICE_MEMBER Factor from(u32 begin, u32 outers) const {
    Factor tile = *this;
    tile.start = begin, tile.end = outers;
    return tile;
  }
  // The factor of the experts from this one on, of `all` with so many lines each.
  DEVICE_MEMBER Factor of_experts(u32 expert, u32 lines, u32 all) const {
    Factor tile = *this;
    tile.first = multiply_add(expert * lines, first_stride, first), tile.apart = lines, tile.experts = all - expert;
    return tile;
  }
};
// The factor of these lines, and that of [x | h], either of which may be absent.
template <Along ALONG, u32 PANEL = NO_PANEL>
DEVICE Factor<ALONG, ONE, PANEL> factor(Lines x) {
  return {global_address(x.at), 0, 4 * x.stride, 0, 0, fours(x), 0, 0, 0, 1};
}
template <Along ALONG>
DEVICE Factor<ALONG, BESIDE> factor(Lines x, Lines h) {
  return {global_address(x.at), global_address(h.at) - 4 * u64(x.length), 4 * x.stride, 4 * h.stride, x.length,
          fours(x) && fours(h), 0, 0, 0, 1};
}
// The factor whose lines are `count` of the first, and then those of the second.
DEVICE Factor<OUTER, BELOW> below(Lines first, u32 count, Lines second) {
  return {global_address(first.at), global_address(second.at) - u64(count) * second.stride * 4, 4 * first.stride,
          4 * second.stride, count, fours(first) && fours(second), 0, 0, 0, 1};
}

// Computes c[row, col] of [rows, cols] = the sum over k < depth of a(row, k) b(col, k), and calls
// store(row, col, c[row, col]).
template <class Tile, class A, class B, class Store>
DEVICE void product(Where at, Tile& shared, u32 rows, u32 cols, u32 depth, const A& a, const B& b, Store store) {
  const u32 down = blocks_of(rows, Tile::ROWS), across = blocks_of(cols, Tile::PANELS * Tile::COLS);
  for (u32 tile = at.block; tile < down * across; tile += at.blocks) {
    const u32 first_row = tile / across * Tile::ROWS, first_col = tile % across * Tile::PANELS * Tile::COLS;
    const B right = b.from(first_col, cols);
    if (at.weights == FETCH) return shared.fetch(at, depth, right);
    shared.multiply(tile == at.block ? at : streaming(at), depth, a.from(first_row, rows), right,
                    [&](u32 r, u32 c, const float* sums) {
                      for (u32 p = 0; p < Tile::PANELS; ++p) {
                        const u32 col = first_col + p * Tile::COLS + c;
                        if (first_row + r < rows && col < cols) store(first_row + r, col, sums[p]);
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

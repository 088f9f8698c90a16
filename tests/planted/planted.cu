// Kernels with one mistake each, and the same kernels without it: the host backend has to find the
// former and pass the latter. Every kernel reverses x [n] inside blocks of `threads`, or sums it;
// see tests/engines/simt.rs.
#pragma once
#include "reduce.cuh"

struct Planted {  // field for field: tests/engines/simt.rs
  const float* x;  // [n]
  float* y;        // [n]
  u32* arrived;    // [2] the first is how many blocks came to a barrier of the grid
  u32 n, pad;
};
struct Row {
  float x[64];
};
struct Swapped {  // field for field: tests/engines/simt.rs, but for two in each other's place
  const float* x;
  u32* arrived;
  float* y;
  u32 n, pad;
};
DEVICE void planted_swapped(Where at, const Swapped& a, NoShared&) {
  const u32 i = at.block * at.threads + at.thread;
  a.y[i] = a.x[i];
}
KERNEL(planted_swapped, Swapped, NoShared, 64)

DEVICE void reverse(Where at, const Planted& a, Row& row, bool barrier) {
  row.x[at.thread] = a.x[at.block * at.threads + at.thread];
  if (barrier) block_sync();
  a.y[at.block * at.threads + at.thread] = row.x[at.threads - 1 - at.thread];
}
DEVICE void planted_reverse(Where at, const Planted& a, Row& row) { reverse(at, a, row, true); }
KERNEL(planted_reverse, Planted, Row, 64)
DEVICE void planted_no_block_barrier(Where at, const Planted& a, Row& row) { reverse(at, a, row, false); }
KERNEL(planted_no_block_barrier, Planted, Row, 64)

// y[i] = x[n - 1 - i] through y[0 .. n], by way of 2 y. Every block reads what another block wrote
// before it said that it was there; by mistake, the other writes it only afterwards.
enum Barrier { NO_BARRIER, BARRIER, WRITTEN_TOO_LATE };
DEVICE void through_the_grid(Where at, const Planted& a, Barrier barrier) {
  const u32 i = at.block * at.threads + at.thread;
  if (barrier != WRITTEN_TOO_LATE) a.y[i] = 2 * a.x[i];
  block_sync();
  if (barrier != NO_BARRIER) grid_arrive(at, a.arrived);
  if (barrier == WRITTEN_TOO_LATE) a.y[i] = 2 * a.x[i];
  if (barrier != NO_BARRIER) grid_wait(at, a.arrived, at.blocks);
  const float other = a.y[a.n - 1 - i];
  block_sync();
  if (barrier != NO_BARRIER) grid_arrive(at, a.arrived);
  if (barrier != NO_BARRIER) grid_wait(at, a.arrived, 2 * at.blocks);
  a.y[i] = other / 2;
}
DEVICE void planted_grid(Where at, const Planted& a, NoShared&) { through_the_grid(at, a, BARRIER); }
GRID_KERNEL(planted_grid, Planted, NoShared, 64)
DEVICE void planted_no_grid_barrier(Where at, const Planted& a, NoShared&) { through_the_grid(at, a, NO_BARRIER); }
GRID_KERNEL(planted_no_grid_barrier, Planted, NoShared, 64)
DEVICE void planted_after_arrival(Where at, const Planted& a, NoShared&) { through_the_grid(at, a, WRITTEN_TOO_LATE); }
GRID_KERNEL(planted_after_arrival, Planted, NoShared, 64)

DEVICE void planted_shared_out_of_bounds(Where at, const Planted& a, Row& row) {
  row.x[at.thread + 1] = a.x[at.thread];
  block_sync();
  a.y[at.block * at.threads + at.thread] = row.x[at.thread + 1];
}
KERNEL(planted_shared_out_of_bounds, Planted, Row, 64)

DEVICE void planted_write_out_of_bounds(Where at, const Planted& a, NoShared&) {
  const u32 i = at.block * at.threads + at.thread;
  a.y[i + 1] = a.x[i];
  if (i == 0) a.y[0] = 0;
}
KERNEL(planted_write_out_of_bounds, Planted, NoShared, 64)

DEVICE void planted_read_out_of_bounds(Where at, const Planted& a, NoShared&) {
  const u32 i = at.block * at.threads + at.thread;
  a.y[i] = a.x[i + 1];
}
KERNEL(planted_read_out_of_bounds, Planted, NoShared, 64)

DEVICE void planted_barrier_in_a_branch(Where at, const Planted& a, NoShared&) {
  const u32 i = at.block * at.threads + at.thread;
  a.y[i] = a.x[i];
  if (a.x[i] < 100) block_sync();
}
KERNEL(planted_barrier_in_a_branch, Planted, NoShared, 64)

DEVICE void planted_shuffle_in_a_branch(Where at, const Planted& a, NoShared&) {
  const u32 i = at.block * at.threads + at.thread;
  a.y[i] = a.x[i];
  if (a.x[i] < 100) a.y[i] = warp_down(a.x[i], 1);
}
KERNEL(planted_shuffle_in_a_branch, Planted, NoShared, 64)

DEVICE void planted_unwritten(Where at, const Planted& a, NoShared&) {
  const u32 i = at.block * at.threads + at.thread;
  if (i != 77) a.y[i] = a.x[i];
}
KERNEL(planted_unwritten, Planted, NoShared, 64)

DEVICE void planted_writes_its_input(Where at, const Planted& a, NoShared&) {
  const u32 i = at.block * at.threads + at.thread;
  a.y[i] = a.x[i];
  if (i == 5) const_cast<float*>(a.x)[i] = 0;
}
KERNEL(planted_writes_its_input, Planted, NoShared, 64)

DEVICE void planted_sum(Where at, const Planted& a, Row& row) {
  const u32 i = at.block * at.threads + at.thread;
  a.y[i] = block_sum(at, a.x[i], row.x);
}
KERNEL(planted_sum, Planted, Row, 64)

// y = x of the next lane, then of the one after, through copies to one place: y[i] = x[i + 1] +
// 1000 x[i + 2].
enum Missing { NOTHING, WAIT, SYNC, SECOND_SYNC };
DEVICE void through_copies(Where at, const Planted& a, Row& row, Missing missing) {
  const u32 first = at.block * at.threads + at.thread / 32 * 32, lane = at.thread % 32;
  float* slab = row.x + at.thread / 32 * 32;
  float y = 0, scale = 1;
  for (u32 step = 1; step <= 2; ++step, scale *= 1000) {
    copy_start<4>(&slab[lane], &a.x[first + (lane + step) % 32], true);
    copies_close();
    if (missing != WAIT) copies_wait<0>();
    if (missing != SYNC) warp_sync();
    y += scale * slab[31 - lane];
    if (missing != SECOND_SYNC) warp_sync();
  }
  copies_wait<0>();
  a.y[first + 31 - lane] = y;
}
DEVICE void planted_copy(Where at, const Planted& a, Row& row) { through_copies(at, a, row, NOTHING); }
KERNEL(planted_copy, Planted, Row, 64)
DEVICE void planted_copy_no_wait(Where at, const Planted& a, Row& row) { through_copies(at, a, row, WAIT); }
KERNEL(planted_copy_no_wait, Planted, Row, 64)
DEVICE void planted_copy_no_sync(Where at, const Planted& a, Row& row) { through_copies(at, a, row, SYNC); }
KERNEL(planted_copy_no_sync, Planted, Row, 64)
DEVICE void planted_copy_too_early(Where at, const Planted& a, Row& row) { through_copies(at, a, row, SECOND_SYNC); }
KERNEL(planted_copy_too_early, Planted, Row, 64)

DEVICE void planted_misaligned_copy(Where at, const Planted& a, Row& row) {
  copy_start<16>(row.x, a.x + at.thread, true);
  copies_close();
  copies_wait<0>();
  a.y[at.block * at.threads + at.thread] = row.x[0];
}
KERNEL(planted_misaligned_copy, Planted, Row, 64)

// y = c0 + 2 c1 + 3 c2 + 5 c3 of the product of the 16 x 16 matrix 0, 1, .. and the 16 x 8 matrix
// 1, 2, .., modulo 64, plus x.
DEVICE void product_of_fragments(Where at, const Planted& a, u32 first, u32 second) {
  const u32 i = at.block * at.threads + at.thread, g = at.thread % 32 / 4, t = at.thread % 4;
  auto left = [](u32 row, u32 col) { return float((16 * row + col) % 64); };
  auto right = [](u32 row, u32 col) { return float((8 * row + col + 1) % 64); };
  u32 rows[4] = {g, g + 8, g, g + 8}, cols[4] = {2 * t, 2 * t, 2 * t + 8, 2 * t + 8}, l[4], r[2];
  for (u32 j = 0; j < 4; ++j) l[j] = bf16_pair(left(rows[j], cols[j]), left(rows[j], cols[j] + 1));
  for (u32 j = 0; j < 2; ++j) r[j] = bf16_pair(right(2 * t + 8 * j, g), right(2 * t + 8 * j + 1, g));
  const u32 some = l[first];
  l[first] = l[second], l[second] = some;
  float c[4] = {};
  mma_bf16(c, l, r);
  a.y[i] = c[0] + 2 * c[1] + 3 * c[2] + 5 * c[3] + a.x[i];
}
DEVICE void planted_mma(Where at, const Planted& a, NoShared&) { product_of_fragments(at, a, 0, 0); }
KERNEL(planted_mma, Planted, NoShared, 64)
DEVICE void planted_mma_wrong_fragment(Where at, const Planted& a, NoShared&) { product_of_fragments(at, a, 1, 2); }
KERNEL(planted_mma_wrong_fragment, Planted, NoShared, 64)
DEVICE void planted_mma_in_a_branch(Where at, const Planted& a, NoShared&) {
  const u32 i = at.block * at.threads + at.thread, l[4] = {}, r[2] = {};
  float c[4] = {};
  if (a.x[i] < 100) mma_bf16(c, l, r);
  a.y[i] = c[0];
}
KERNEL(planted_mma_in_a_branch, Planted, NoShared, 64)
DEVICE void planted_mma_of_two_kinds(Where at, const Planted& a, NoShared&) {
  const u32 i = at.block * at.threads + at.thread, l[4] = {}, r[2] = {};
  float c[4] = {};
  if (at.thread % 2)
    mma_bf16(c, l, r);
  else
    mma_bf16(c, l, r);
  a.y[i] = c[0];
}
KERNEL(planted_mma_of_two_kinds, Planted, NoShared, 64)

// y = the larger part of x / 3 as bf16, plus what is left of it as bf16.
DEVICE void planted_bf16(Where at, const Planted& a, NoShared&) {
  const u32 i = at.block * at.threads + at.thread;
  const float x = a.x[i] / 3, high = bits_float(bf16_pair(x, 0) << 16);
  a.y[i] = high + bits_float(bf16_pair(0, x - high) & 0xffff0000u);
}
KERNEL(planted_bf16, Planted, NoShared, 64)

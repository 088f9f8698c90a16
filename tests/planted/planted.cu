// Kernels with one mistake each, and the same without it: the host backend has to find the first and pass the second.
// Every one reverses x [n] inside blocks of `threads` or sums it; see tests/simt.rs.
#pragma once
#include "reduce.cuh"

struct Planted {
  const float* x;  // [n]
  float* y;        // [n]
  u32 n, pad;
};
struct Row {
  float x[64];
};

DEVICE void reverse(Where at, const Planted& a, Row& row, bool barrier) {
  row.x[at.thread] = a.x[at.block * at.threads + at.thread];
  if (barrier) block_sync();
  a.y[at.block * at.threads + at.thread] = row.x[at.threads - 1 - at.thread];
}
DEVICE void planted_reverse(Where at, const Planted& a, Row& row) { reverse(at, a, row, true); }
KERNEL(planted_reverse, Planted, Row, 64)
DEVICE void planted_no_block_barrier(Where at, const Planted& a, Row& row) { reverse(at, a, row, false); }
KERNEL(planted_no_block_barrier, Planted, Row, 64)

// y[i] = x[n - 1 - i] through y[0 .. n], by way of 2 y: every block reads what another wrote.
DEVICE void through_the_grid(Where at, const Planted& a, bool barrier) {
  const u32 i = at.block * at.threads + at.thread;
  a.y[i] = 2 * a.x[i];
  if (barrier) grid_sync();
  const float other = a.y[a.n - 1 - i];
  if (barrier) grid_sync();
  a.y[i] = other / 2;
}
DEVICE void planted_grid(Where at, const Planted& a, NoShared&) { through_the_grid(at, a, true); }
GRID_KERNEL(planted_grid, Planted, NoShared, 64)
DEVICE void planted_no_grid_barrier(Where at, const Planted& a, NoShared&) { through_the_grid(at, a, false); }
GRID_KERNEL(planted_no_grid_barrier, Planted, NoShared, 64)

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

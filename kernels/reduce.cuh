// Sums in an order that depends only on the number of threads of a block: runs repeat bit for bit.
#pragma once
#include "simt.cuh"

// Largest number of warps of a block.
#define WARPS 32

// The sum over a warp, in lane 0.
template <class T>
DEVICE T warp_sum(T x) {
  for (u32 offset = 16; offset > 0; offset /= 2) x += warp_down(x, offset);
  return x;
}

// The sum over the block, in every thread. `parts` is shared memory, which may be used again
// afterwards.
template <class T>
DEVICE T block_sum(Where at, T x, T* parts) {
  x = warp_sum(x);
  if (at.thread % 32 == 0) parts[at.thread / 32] = x;
  block_sync();  // parts are written
  T sum = 0;
  for (u32 i = 0; i < at.threads / 32; ++i) sum += parts[i];
  block_sync();  // parts are read
  return sum;
}

// The only words kernels use for threads, barriers, shared memory and shuffles. nvcc makes them CUDA's own; a host C++
// compiler makes them calls into a scheduler that runs one coroutine a thread (src/backend/simt.rs).
//
// A kernel is a device function over `Where`, its argument struct and its shared memory. It never reads blockIdx, never
// assumes a grid or a block size beyond a multiple of 32 threads, and works through its data in block and thread strides.
#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;
static_assert(sizeof(u32) == 4 && sizeof(u64) == 8, "sizes as in Rust");

// The block and thread that runs, and how many there are.
struct Where {
  u32 block, blocks, thread, threads;
};

// For kernels that need no shared memory.
struct NoShared {};

#ifdef __CUDACC__

#define DEVICE __device__ __forceinline__
// Makes `name(Where, const Args&, Shared&)` a kernel that is fastest at `threads` threads a block.
#define KERNEL(name, Args, Shared, most)                                                          \
  extern "C" __global__ void __launch_bounds__(most) name##_kernel(const __grid_constant__ Args a) { \
    __shared__ Shared shared;                                                                     \
    name(Where{blockIdx.x, gridDim.x, threadIdx.x, blockDim.x}, a, shared);                       \
  }

// A kernel whose blocks wait for one another: launched so that all of them run at the same time.
#define GRID_KERNEL(name, Args, Shared, most) KERNEL(name, Args, Shared, most)
#include <cooperative_groups.h>
#define grid_sync() cooperative_groups::this_grid().sync()

// Waits for all threads of the block; what they wrote to shared memory is seen by all after it.
#define block_sync() __syncthreads()

// The value of the thread `offset` lanes on, of a full warp.
DEVICE float warp_down(float x, u32 offset) { return __shfl_down_sync(0xffffffffu, x, offset); }
DEVICE double warp_down(double x, u32 offset) { return __shfl_down_sync(0xffffffffu, x, offset); }
DEVICE u32 warp_down(u32 x, u32 offset) { return __shfl_down_sync(0xffffffffu, x, offset); }

#else

#include <cmath>
#include <cstring>
using std::isfinite;

#define DEVICE static inline
#define __restrict__ __restrict
#define HOST_KERNEL(name, Args, Shared, most, grid)                                           \
  extern "C" void name##_kernel(const void* args, const Where* at, void* shared) {            \
    name(*at, *static_cast<const Args*>(args), *static_cast<Shared*>(shared));                \
  }                                                                                           \
  extern "C" {                                                                                \
  extern const u64 name##_layout[4];                                                          \
  const u64 name##_layout[4] = {sizeof(Args), sizeof(Shared), most, grid};                    \
  }
#define KERNEL(name, Args, Shared, most) HOST_KERNEL(name, Args, Shared, most, 0)
#define GRID_KERNEL(name, Args, Shared, most) HOST_KERNEL(name, Args, Shared, most, 1)

// Suspends the running thread until all of its warp (0), block (1) or grid (2) wait at the same line.
extern "C" void simt_wait(u32 what, u32 line);
// 32 places of 8 bytes that the running thread's warp shares.
extern "C" u64* simt_lanes();
// The lane of the running thread in its warp.
extern "C" u32 simt_lane();
#define block_sync() simt_wait(1, __LINE__)
#define grid_sync() simt_wait(2, __LINE__)

template <class T>
static inline T warp_exchange(T x, u32 lane, u32 from) {
  u64* lanes = simt_lanes();
  std::memcpy(&lanes[lane], &x, sizeof x);
  simt_wait(0, __LINE__);
  T y;
  std::memcpy(&y, &lanes[from < 32 ? from : lane], sizeof y);
  simt_wait(0, __LINE__);
  return y;
}
DEVICE float warp_down(float x, u32 offset) { return warp_exchange(x, simt_lane(), simt_lane() + offset); }
DEVICE double warp_down(double x, u32 offset) { return warp_exchange(x, simt_lane(), simt_lane() + offset); }
DEVICE u32 warp_down(u32 x, u32 offset) { return warp_exchange(x, simt_lane(), simt_lane() + offset); }

#endif

DEVICE u32 min_of(u32 a, u32 b) { return a < b ? a : b; }
DEVICE u32 blocks_of(u32 n, u32 size) { return (n + size - 1) / size; }

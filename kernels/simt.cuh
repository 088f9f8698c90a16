// The words for threads, barriers, shared memory, shuffles, copies and tensor cores; kernels use no
// others. nvcc makes them CUDA's own. A host C++ compiler makes them calls into a scheduler that
// runs one coroutine a thread (src/backend/simt/launch.rs).
//
// A kernel is a device function over `Where`, its argument struct and its shared memory. It never
// reads blockIdx, never assumes a grid or a block size beyond a multiple of 32 threads, and works
// through its data in block and thread strides.
#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;
static_assert(sizeof(u32) == 4 && sizeof(u64) == 8, "sizes as in Rust");

// The three ways in which a product gets the weights of its first tile. STREAM: it streams them
// from memory. FETCH: it only begins to fetch them to the memory that its block keeps. FETCHED: it
// has them there.
enum Weights { STREAM, FETCH, FETCHED };
// Flags of the first and the last repetition of a launch. Numbers that stay in kept_memory() are in
// global memory before the first and after the last.
enum Repetition { FIRST = 1, LAST = 2 };
// The place of a thread: its block and number, and how many there are. `weights` says what a
// product does with weights, and `fetched` where in kept_memory() they are. `resident` is 1 + the
// place there of what a share keeps from one repetition to the next, or 0 if it keeps nothing.
// `repetition` says which repetition this is.
struct Where {                     // field for field: src/backend/simt/launch.rs
  u32 block, blocks, thread, threads;
  u32 weights, fetched;
  u32 resident, repetition;
};

// For kernels that need no shared memory.
struct NoShared {};

#ifdef __CUDACC__

#define DEVICE __device__ __forceinline__
#define DEVICE_MEMBER DEVICE
#define UNROLL _Pragma("unroll")
// A multiprocessor holds at least `least` blocks, of two or more of which some load while others
// multiply. A kernel may be launched before the one before it has ended. It waits for that end, and
// lets the next one start.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define START() asm volatile("griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;" ::: "memory")
#else
#define START()
#endif
#define ENTRY(name, function, Args, Shared, most, least, grid)                                    \
  extern "C" __global__ void __launch_bounds__(most, least)                                       \
      name##_kernel(const __grid_constant__ Args a) {                                             \
    __shared__ Shared shared;                                                                     \
    START();                                                                                      \
    function(Where{blockIdx.x, gridDim.x, threadIdx.x, blockDim.x, STREAM, 0, 0, 0}, a, shared);  \
  }
// Shared memory of the block that outlives a call, in launches that ask for it.
DEVICE float* kept_memory() {
  extern __shared__ float4 memory[];
  return reinterpret_cast<float*>(memory);
}
// Waits for all threads of the block; all of them then see what they wrote to shared memory.
#define block_sync() __syncthreads()

// A barrier of all blocks of a grid, which all run at the same time, in two halves. The first half
// says that this block is there, with all that its threads wrote before their last barrier.
DEVICE void grid_arrive(Where at, u32* arrived) {
  if (at.thread == 0) asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
}
// The second half waits until `arrived` is `all`. Afterwards this block sees what the blocks wrote
// before they said that they were there. A wait of seconds is a mistake: it ends the kernel with an
// error.
DEVICE void grid_wait(Where at, const u32* arrived, u32 all) {
  if (at.thread == 0) {
    u64 start = 0, now;
    u32 count;
    for (;;) {
      asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(count) : "l"(arrived) : "memory");
      if (int(count - all) >= 0) break;
      asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
      if (start == 0) start = now;
      if (now - start > 4000000000ull) __trap();
    }
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
  }
  __syncthreads();
}

// The clock of the multiprocessor.
DEVICE u64 cycles() { return clock64(); }
#define DEVICE_MEMORY __device__

// The value of the thread `offset` lanes further on; all lanes of the warp take part.
DEVICE float warp_down(float x, u32 offset) { return __shfl_down_sync(0xffffffffu, x, offset); }
DEVICE double warp_down(double x, u32 offset) { return __shfl_down_sync(0xffffffffu, x, offset); }
DEVICE u32 warp_down(u32 x, u32 offset) { return __shfl_down_sync(0xffffffffu, x, offset); }

// Waits for all lanes of the warp; all of them then see what they wrote to shared memory.
#define warp_sync() __syncwarp()

// The address of a number in global memory, and the number at an address.
DEVICE u64 global_address(const float* x) { return __cvta_generic_to_global(x); }
DEVICE float global_number(u64 address) { return *static_cast<const float*>(__cvta_global_to_generic(address)); }

// x y + z, an instruction.
DEVICE u64 multiply_add(u32 x, u32 y, u64 z) {
  u64 sum;
  asm("mad.wide.u32 %0, %1, %2, %3;" : "=l"(sum) : "r"(x), "r"(y), "l"(z));
  return sum;
}

// Starts to copy BYTES (4 or 16) from an address in global memory to shared memory; both places are
// multiples of BYTES. Copies zeros if not `inside`.
template <int BYTES>
DEVICE void copy_start(float* to, u64 from, bool inside) {
  const u32 place = u32(__cvta_generic_to_shared(to)), bytes = inside ? BYTES : 0;
  if (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(bytes) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(place), "l"(from), "r"(bytes) : "memory");
}
// Closes a group: the copies that this thread has started since the last group.
DEVICE void copies_close() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for this thread's copies, except for its NEWEST groups.
template <int NEWEST>
DEVICE void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(NEWEST) : "memory");
}

// Loads four or two neighbouring numbers of shared memory, at a multiple of their size.
DEVICE void load(const float* from, float (&to)[4]) {
  const float4 x = *reinterpret_cast<const float4*>(from);
  to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
}
DEVICE void load(const float* from, float (&to)[2]) {
  const float2 x = *reinterpret_cast<const float2*>(from);
  to[0] = x.x, to[1] = x.y;
}

// Stores four neighbouring numbers, at a multiple of their size.
DEVICE void store(float* to, const float (&from)[4]) {
  *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
}

// Two numbers, each rounded to the nearest bf16 (ties to even): the first in the low half.
DEVICE u32 bf16_pair(float first, float second) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}
DEVICE float bits_float(u32 bits) { return __uint_as_float(bits); }

// The root of x and 1 / x, in an instruction each and within two roundings. Numbers below 2^-126
// count as 0.
DEVICE float quick_root(float x) {
  float root;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(x));
  return root;
}
DEVICE float quick_inverse(float x) {
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(x));
  return inverse;
}

// c [16, 8] += a [16, 16] b [16, 8] by the whole warp, c in single precision. Lane 4 g + t holds
//     c: rows g, g, g + 8, g + 8 by columns 2 t, 2 t + 1, 2 t, 2 t + 1
//     a: pairs of columns 2 t, 2 t, 2 t + 8, 2 t + 8 in rows g, g + 8, g, g + 8
//     b: pairs of rows 2 t, 2 t + 8 in column g
DEVICE void mma_bf16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else

#include <cmath>
#include <cstring>
using std::isfinite;

#define DEVICE static inline
#define DEVICE_MEMBER inline
#define UNROLL
#define ENTRY(name, function, Args, Shared, most, least, grid)                                \
  extern "C" void name##_kernel(const void* args, const Where* at, void* shared) {            \
    function(*at, *static_cast<const Args*>(args), *static_cast<Shared*>(shared));            \
  }                                                                                           \
  extern "C" {                                                                                \
  extern const u64 name##_layout[4];                                                          \
  const u64 name##_layout[4] = {sizeof(Args), sizeof(Shared), most, grid};                    \
  }

// Suspends the running thread until all of its warp (0) or block (1) wait at the same line.
extern "C" void simt_wait(u32 what, u32 line);
// Adds `for_block` to the count, which is 1 in one thread of a block and 0 in the others. Then
// suspends the thread for a while, as any block may be slow.
extern "C" void simt_arrive(u32* arrived, u32 for_block, u32 line);
// Suspends the running thread until the count is reached.
extern "C" void simt_wait_for(const u32* arrived, u32 all, u32 line);
// A buffer of LANE_WORDS words for each lane of the running thread's warp. It is not the buffer of
// the last exchange: no lane overwrites what a late lane has yet to read.
extern "C" u64* simt_lanes();
#define LANE_WORDS 3
// The lane of the running thread in its warp.
extern "C" u32 simt_lane();
// Shared memory that the running thread's block keeps.
extern "C" float* simt_kept();
#define kept_memory() simt_kept()
#define block_sync() simt_wait(1, __LINE__)
#define grid_arrive(at, arrived) simt_arrive(arrived, (at).thread == 0, __LINE__)
#define grid_wait(at, arrived, all) simt_wait_for(arrived, all, __LINE__)
#define warp_sync() simt_wait(0, __LINE__)
DEVICE u64 cycles() {
  static u64 n;
  return ++n;
}
#define DEVICE_MEMORY

// Shows all lanes what each brings. `line` is the caller's: lanes that come from different places
// are an error.
template <class T>
static inline const u64* warp_show(const T& mine, u32 line) {
  static_assert(sizeof(T) <= 8 * LANE_WORDS, "fits");
  u64* lanes = simt_lanes();
  std::memcpy(&lanes[simt_lane() * LANE_WORDS], &mine, sizeof mine);
  simt_wait(0, line);
  return lanes;
}
template <class T>
static inline T warp_exchange(T x, u32 from, u32 line) {
  const u64* lanes = warp_show(x, line);
  std::memcpy(&x, &lanes[(from < 32 ? from : simt_lane()) * LANE_WORDS], sizeof x);
  return x;
}
DEVICE float warp_down(float x, u32 offset, u32 line = __builtin_LINE()) {
  return warp_exchange(x, simt_lane() + offset, line);
}
DEVICE double warp_down(double x, u32 offset, u32 line = __builtin_LINE()) {
  return warp_exchange(x, simt_lane() + offset, line);
}
DEVICE u32 warp_down(u32 x, u32 offset, u32 line = __builtin_LINE()) {
  return warp_exchange(x, simt_lane() + offset, line);
}

// A copy to shared memory, of zeros if `from` is null. It may happen at any time from its start to
// the wait for it: the backend says when.
struct Copy {
  float* to;
  const float* from;
  u64 bytes;
};
// Records a copy of the running thread; returns 1 if it happens now.
extern "C" u32 simt_copy(const Copy*);
extern "C" void simt_close();
// Takes the running thread's next copy that is due, when all but its newest groups are waited for;
// returns 0 if there is none.
extern "C" u32 simt_due(u32 newest, Copy*);
// Stops the running thread: an address is not a multiple of what it has to be.
extern "C" void simt_misaligned(u64 bytes);

static inline void aligned(const void* place, u64 bytes) {
  if (reinterpret_cast<u64>(place) % bytes != 0) simt_misaligned(bytes);
}
static inline void copy_now(const Copy& copy) {
  if (copy.from)
    std::memcpy(copy.to, copy.from, copy.bytes);
  else
    std::memset(copy.to, 0, copy.bytes);
}
DEVICE u64 global_address(const float* x) { return reinterpret_cast<u64>(x); }
DEVICE u64 multiply_add(u32 x, u32 y, u64 z) { return u64(x) * y + z; }
DEVICE float global_number(u64 address) { return *reinterpret_cast<const float*>(address); }
template <int BYTES>
DEVICE void copy_start(float* to, u64 from, bool inside) {
  const float* source = reinterpret_cast<const float*>(from);
  aligned(to, BYTES), aligned(source, BYTES);
  const Copy copy{to, inside ? source : nullptr, BYTES};
  if (simt_copy(&copy)) copy_now(copy);
}
DEVICE void copies_close() { simt_close(); }
template <int NEWEST>
DEVICE void copies_wait() {
  for (Copy copy; simt_due(NEWEST, &copy);) copy_now(copy);
}

template <int N>
DEVICE void load(const float* from, float (&to)[N]) {
  aligned(from, sizeof to);
  std::memcpy(to, from, sizeof to);
}
DEVICE void store(float* to, const float (&from)[4]) {
  aligned(to, sizeof from);
  std::memcpy(to, from, sizeof from);
}

DEVICE float quick_root(float x) { return std::sqrt(x); }
DEVICE float quick_inverse(float x) { return 1 / x; }

DEVICE float bits_float(u32 bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
DEVICE u32 bf16(float x) {
  u32 bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return 0x7fff;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
DEVICE u32 bf16_pair(float first, float second) { return bf16(second) << 16 | bf16(first); }

// x in single precision, cut off and not rounded, as on tensor cores.
DEVICE float cut_off(double x) {
  const float nearest = float(x);
  if (!isfinite(nearest) || std::fabs(double(nearest)) <= std::fabs(x)) return nearest;
  u32 bits;
  std::memcpy(&bits, &nearest, sizeof bits);
  return bits_float(bits - 1);
}
DEVICE void mma_bf16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2], u32 line = __builtin_LINE()) {
  struct Fragments {
    u32 a[4], b[2];
  } mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const u64* lanes = warp_show(mine, line);
  const u32 g = simt_lane() / 4, t = simt_lane() % 4;
  double sums[4] = {c[0], c[1], c[2], c[3]};
  for (u32 pair = 0; pair < 8; ++pair) {
    Fragments row, column[2];
    std::memcpy(&row, &lanes[(4 * g + pair % 4) * LANE_WORDS], sizeof row);
    for (u32 i = 0; i < 2; ++i)
      std::memcpy(&column[i], &lanes[(4 * (2 * t + i) + pair % 4) * LANE_WORDS], sizeof row);
    for (u32 i = 0; i < 4; ++i) {
      const u32 left = row.a[i / 2 + pair / 4 * 2], right = column[i % 2].b[pair / 4];
      sums[i] += double(bits_float(left << 16)) * double(bits_float(right << 16));
      sums[i] += double(bits_float(left & 0xffff0000u)) * double(bits_float(right & 0xffff0000u));
    }
  }
  for (u32 i = 0; i < 4; ++i) c[i] = cut_off(sums[i]);
}

#endif

template <int BYTES>
DEVICE void copy_start(float* to, const float* from, bool inside) {
  copy_start<BYTES>(to, global_address(from), inside);
}

// The sets of kernels to make, for a build that wants them in several images. Their numbers may be
// added up: 1 for those that are launched call by call, 2 for those whose blocks wait for one
// another, 4 for the latter in another precision.
#ifndef MAKE
#define MAKE 7
#endif
// KERNEL makes `name(Where, const Args&, Shared&)` a kernel that is fastest at `most` threads a
// block, which are also the most. VARIANT makes the kernel `name_precision`: the same function with
// products in another precision, given by the type of its shared memory. A multiprocessor holds at
// least `least` blocks of it.
#if MAKE & 1
#define KERNEL(name, Args, Shared, most) ENTRY(name, name, Args, Shared, most, (most > 256 ? 1 : 2), 0)
#define VARIANT(name, precision, Args, Shared, most, least) \
  ENTRY(name##_##precision, name, Args, Shared, most, least, 0)
#else
#define KERNEL(name, Args, Shared, most)
#define VARIANT(name, precision, Args, Shared, most, least)
#endif
// Makes kernels whose blocks wait for one another: launched so that all of them run at the same
// time.
#if MAKE & 2
#define GRID_KERNEL(name, Args, Shared, most) ENTRY(name, name, Args, Shared, most, 1, 1)
#else
#define GRID_KERNEL(name, Args, Shared, most)
#endif
#if MAKE & 4
#define GRID_VARIANT(name, precision, Args, Shared, most) ENTRY(name##_##precision, name, Args, Shared, most, 1, 1)
#else
#define GRID_VARIANT(name, precision, Args, Shared, most)
#endif

// `at`, with weights streamed.
DEVICE Where streaming(Where at) { return Where{at.block, at.blocks, at.thread, at.threads, STREAM, 0, 0, 0}; }

DEVICE u32 min_of(u32 a, u32 b) { return a < b ? a : b; }
DEVICE u32 blocks_of(u32 n, u32 size) { return (n + size - 1) / size; }

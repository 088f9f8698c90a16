// Times that a GPU needs for the steps of a persistent kernel or a graph; one JSON line a figure.
//     nvcc -O3 -std=c++17 -gencode arch=compute_90a,code=sm_90a benches/gpu/probes.cu -o probes &&
//       ./probes PROBE
// Probes: roofs ramp barriers reads grids mma copies bulk multicast. Each runs in a process of its
// own, so that one that fails spoils no other; every spin has an end. Times are medians of REPEATS
// runs by the device's clock.
#include <algorithm>
#include <cooperative_groups.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_bf16.h>
#include <functional>
#include <vector>
namespace cg = cooperative_groups;
typedef uint32_t u32;
typedef uint64_t u64;

#define CHECK(call)                                                                                        \
  do {                                                                                                     \
    cudaError_t error = (call);                                                                            \
    if (error != cudaSuccess) {                                                                            \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(error));       \
      std::exit(1);                                                                                        \
    }                                                                                                      \
  } while (0)

const int REPEATS = 21;
static cudaStream_t stream;
static int sms;

// Median seconds of `work`, which puts work on the stream.
static double seconds(const std::function<void()>& work) {
  cudaEvent_t start, end;
  CHECK(cudaEventCreate(&start));
  CHECK(cudaEventCreate(&end));
  std::vector<double> times;
  for (int i = 0; i < REPEATS + 3; ++i) {
    CHECK(cudaEventRecord(start, stream));
    work();
    CHECK(cudaEventRecord(end, stream));
    CHECK(cudaStreamSynchronize(stream));
    float ms;
    CHECK(cudaEventElapsedTime(&ms, start, end));
    if (i >= 3) times.push_back(ms * 1e-3);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

static void say(const char* probe, const char* what, int blocks, int threads, double kilobytes, double value, const char* unit) {
  std::printf("{\"probe\": \"%s\", \"what\": \"%s\", \"blocks\": %d, \"threads\": %d, \"kb\": %g, \"value\": %.6g, \"unit\": \"%s\"}\n",
              probe, what, blocks, threads, kilobytes, value, unit);
  std::fflush(stdout);
}

template <class T>
static T* zeros(size_t n) {
  T* x;
  CHECK(cudaMalloc(&x, n * sizeof(T)));
  CHECK(cudaMemset(x, 0, n * sizeof(T)));
  return x;
}

// ---- roofs: what a kernel can reach at best

__global__ void multiply_add(float* out, int n) {
  float a[8];
  for (int i = 0; i < 8; ++i) a[i] = threadIdx.x + i;
  const float b = 0.999f, c = threadIdx.x * 1e-6f;
  for (int k = 0; k < n; ++k)
#pragma unroll
    for (int i = 0; i < 8; ++i) a[i] = a[i] * b + c;
  float sum = 0;
  for (int i = 0; i < 8; ++i) sum += a[i];
  if (sum == 123.0f) out[0] = sum;
}

__global__ void copy(float4* to, const float4* from, size_t n) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < n; i += size_t(gridDim.x) * blockDim.x) to[i] = from[i];
}

static void roofs() {
  float* out = zeros<float>(1);
  const int n = 20000;
  double t = seconds([&] { multiply_add<<<sms * 4, 512, 0, stream>>>(out, n); });
  CHECK(cudaGetLastError());
  say("roofs", "fp32 multiply-add", sms * 4, 512, 0, 2.0 * 8 * n * 512.0 * sms * 4 / t / 1e9, "GFLOP/s");
  for (size_t mb : {16, 1024}) {
    const size_t vectors = mb << 16;
    float4 *from = zeros<float4>(vectors), *to = zeros<float4>(vectors);
    t = seconds([&] { copy<<<sms * 8, 512, 0, stream>>>(to, from, vectors); });
    CHECK(cudaGetLastError());
    say("roofs", mb == 16 ? "copy in the L2 cache, read and written" : "copy of device memory, read and written", sms * 8, 512, mb * 1024.0,
        32.0 * vectors / t / 1e9, "GB/s");
    CHECK(cudaFree(from));
    CHECK(cudaFree(to));
  }
}

// ---- ramp: what a node of a graph costs that does nothing

__global__ void nothing() {}
__global__ void nothing_early() {
  asm volatile("griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;" ::: "memory");
}

static void ramp() {
  const int nodes = 256;
  for (int blocks : {32, 64, 132, 256})
    for (int early = 0; early < 2; ++early) {
      cudaLaunchAttribute attribute;
      attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attribute.val.programmaticStreamSerializationAllowed = 1;
      cudaLaunchConfig_t config = {};
      config.gridDim = dim3(blocks);
      config.blockDim = dim3(256);
      config.stream = stream;
      config.attrs = &attribute;
      config.numAttrs = early;
      auto launch = [&] { CHECK(cudaLaunchKernelEx(&config, early ? nothing_early : nothing)); };
      cudaGraph_t graph;
      cudaGraphExec_t exec;
      CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
      for (int i = 0; i < nodes; ++i) launch();
      CHECK(cudaStreamEndCapture(stream, &graph));
      CHECK(cudaGraphInstantiate(&exec, graph, 0));
      double t = seconds([&] { CHECK(cudaGraphLaunch(exec, stream)); });
      say("ramp", early ? "graph node, early launch" : "graph node", blocks, 256, 0, t / nodes * 1e6, "us");
      t = seconds([&] { for (int i = 0; i < nodes; ++i) launch(); });
      say("ramp", early ? "stream launch, early launch" : "stream launch", blocks, 256, 0, t / nodes * 1e6, "us");
      CHECK(cudaGraphExecDestroy(exec));
      CHECK(cudaGraphDestroy(graph));
    }
}

// ---- barriers: all blocks wait for one another

__device__ u32 load_acquire(const u32* p) {
  u32 x;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(x) : "l"(p) : "memory");
  return x;
}
const int SPINS = 1 << 22;  // a few seconds: then something is wrong

__global__ void cg_barrier(int rounds) {
  for (int i = 0; i < rounds; ++i) cg::this_grid().sync();
}

__device__ u32 load_relaxed(const u32* p) {
  u32 x;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(x) : "l"(p) : "memory");
  return x;
}

// One thread of each block adds to one counter and waits until all have. It waits with acquire
// loads, or with relaxed loads and one fence at the end, as grid_wait in kernels/simt.cuh does.
// Before that each block stores some bytes.
template <bool RELAXED>
__global__ void counter_barrier(u32* counter, float4* to, int bytes, int rounds, u32* failed) {
  float4* mine = to + size_t(blockIdx.x) * (bytes / 16);
  for (int i = 1; i <= rounds; ++i) {
    for (int at = threadIdx.x; at < bytes / 16; at += blockDim.x) mine[at] = make_float4(i, i, i, i);
    __syncthreads();
    if (threadIdx.x == 0) {
      asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
      int spins = 0;
      while ((RELAXED ? load_relaxed(counter) : load_acquire(counter)) < u32(i) * gridDim.x && ++spins < SPINS) {}
      if (spins == SPINS) *failed = 1;
      if (RELAXED) asm volatile("fence.acq_rel.gpu;" ::: "memory");
    }
    __syncthreads();
  }
}

// Only the stores.
__global__ void stores(float4* to, int bytes, int rounds) {
  float4* mine = to + size_t(blockIdx.x) * (bytes / 16);
  for (int i = 1; i <= rounds; ++i) {
    for (int at = threadIdx.x; at < bytes / 16; at += blockDim.x) mine[at] = make_float4(i, i, i, i);
    __syncthreads();
  }
}

// Each block publishes one word of data a round, which itself shows that it is there; every block
// reads all words.
__global__ void data_as_flag(u32* words, int rounds, u32* failed) {
  for (int i = 1; i <= rounds; ++i) {
    u32* now = words + (i & 1) * gridDim.x;
    __syncthreads();
    if (threadIdx.x == 0) asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(now + blockIdx.x), "r"(i) : "memory");
    for (u32 j = threadIdx.x; j < gridDim.x; j += blockDim.x) {
      int spins = 0;
      while (int(load_acquire(now + j)) < i && ++spins < SPINS) {}
      if (spins == SPINS) *failed = 1;
    }
    __syncthreads();
  }
}

static void barriers() {
  int rounds = 1000;
  u32 *counter = zeros<u32>(1), *words = zeros<u32>(4096), *failed = zeros<u32>(1);
  float4* to = zeros<float4>(size_t(sms) * (64 << 10) / 16);
  for (int threads : {256, 384}) {
    void* cg_args[] = {&rounds};
    double t = seconds([&] { CHECK(cudaLaunchCooperativeKernel((void*)cg_barrier, dim3(sms), dim3(threads), cg_args, 0, stream)); });
    say("barriers", "cooperative groups", sms, threads, 0, t / rounds * 1e6, "us");
    for (int kb : {0, 64}) {
      int bytes = kb << 10;
      void* counter_args[] = {&counter, &to, &bytes, &rounds, &failed};
      for (int relaxed = 0; relaxed < 2; ++relaxed) {
        void* kernel = relaxed ? (void*)counter_barrier<true> : (void*)counter_barrier<false>;
        t = seconds([&] {
          CHECK(cudaMemsetAsync(counter, 0, 4, stream));
          CHECK(cudaLaunchCooperativeKernel(kernel, dim3(sms), dim3(threads), counter_args, 0, stream));
        });
        say("barriers", relaxed ? "counter, relaxed and a fence, after stores" : "counter, acquire, after stores", sms, threads, kb,
            t / rounds * 1e6, "us");
      }
    }
    t = seconds([&] { stores<<<sms, threads, 0, stream>>>(to, 64 << 10, rounds); });
    CHECK(cudaGetLastError());
    say("barriers", "the stores alone", sms, threads, 64, t / rounds * 1e6, "us");
    void* flag_args[] = {&words, &rounds, &failed};
    t = seconds([&] {
      CHECK(cudaMemsetAsync(words, 0, 4096 * 4, stream));
      CHECK(cudaLaunchCooperativeKernel((void*)data_as_flag, dim3(sms), dim3(threads), flag_args, 0, stream));
    });
    say("barriers", "data as flag", sms, threads, 0, t / rounds * 1e6, "us");
  }
  u32 bad;
  CHECK(cudaMemcpy(&bad, failed, 4, cudaMemcpyDeviceToHost));
  if (bad) std::fprintf(stderr, "barriers: a spin ran out\n"), std::exit(1);
}

// ---- reads: every block reads other panels than all others, from the L2 cache, as the products of
// a step read weights

template <int BYTES>
__global__ void __launch_bounds__(256) copy_panels(const char* from, int bytes, int panels, int rounds, float* out) {
  extern __shared__ __align__(128) char tile[];
  for (int round = 0; round < rounds; ++round) {
    const char* panel = from + size_t((blockIdx.x + u32(round) * gridDim.x) % panels) * bytes;
    for (int i = threadIdx.x * BYTES; i < bytes; i += blockDim.x * BYTES) {
      const u32 to = u32(__cvta_generic_to_shared(tile + i));
      if (BYTES == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(panel + i) : "memory");
      else asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(panel + i) : "memory");
    }
    asm volatile("cp.async.commit_group;\n\tcp.async.wait_group 0;" ::: "memory");
    __syncthreads();
  }
  if (reinterpret_cast<float*>(tile)[threadIdx.x] == 123.0f) out[0] = 1;
}

template <int BYTES>
static void panels(const char* name) {
  const int rounds = 100, panels = 4 * sms;
  char* from = zeros<char>(size_t(panels) * (64 << 10));
  float* out = zeros<float>(1);
  CHECK(cudaFuncSetAttribute(copy_panels<BYTES>, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10));
  for (int kb : {16, 64}) {
    double t = seconds([&] { copy_panels<BYTES><<<sms, 256, kb << 10, stream>>>(from, kb << 10, panels, rounds, out); });
    CHECK(cudaGetLastError());
    say("reads", name, sms, 256, kb, t / rounds * 1e6, "us");
    say("reads", name, sms, 256, kb, double(sms) * (kb << 10) * rounds / t / 1e9, "GB/s");
  }
  CHECK(cudaFree(from));
}

// ---- grids: whether two launches, whose blocks wait for one another, run side by side, each on
// half of the multiprocessors

__global__ void __launch_bounds__(256) meet(u32* mine, u32* other, u32* met) {
  cg::this_grid().sync();
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    asm volatile("st.release.gpu.global.u32 [%0], 1;" ::"l"(mine) : "memory");
    int spins = 0;
    while (!load_acquire(other) && ++spins < 1 << 20) {}
    *met = load_acquire(other);
  }
  cg::this_grid().sync();
}

static void grids() {
  cudaStream_t second;
  CHECK(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  u32 *flags = zeros<u32>(2), *met = zeros<u32>(2), both[2];
  const int bytes = 160 << 10;
  CHECK(cudaFuncSetAttribute(meet, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  CHECK(cudaDeviceSynchronize());
  for (int i = 0; i < 2; ++i) {
    u32 *mine = flags + i, *other = flags + 1 - i, *says = met + i;
    void* args[] = {&mine, &other, &says};
    CHECK(cudaLaunchCooperativeKernel((void*)meet, dim3(sms / 2), dim3(256), args, bytes, i ? second : stream));
  }
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaMemcpy(both, met, 8, cudaMemcpyDeviceToHost));
  say("grids", "two cooperative launches met", sms / 2, 256, 160, both[0] && both[1], "(1: yes)");
}

// ---- mma: a tile of 64 x 16 x 288 from shared memory, three products of bf16 parts

__device__ void mma(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// 4 warps, each with 16 rows and two panels of 8 columns. Operands lie in fragment order, in high
// and low parts.
__global__ void __launch_bounds__(128) mma_tile(const u32* from, float* out, int rounds, u64* cycles) {
  extern __shared__ u32 words[];
  const int K = 288 / 16, A = 4 * K * 128 * 2, B = 2 * K * 64 * 2;
  for (int i = threadIdx.x; i < A + B; i += blockDim.x) words[i] = from[i % 4096];
  __syncthreads();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float c[2][3][4] = {};
  const long long start = clock64();
  for (int round = 0; round < rounds; ++round)
#pragma unroll 3
    for (int k = 0; k < K; ++k) {
      u32 a[2][4], b[2][2][2];
      for (int part = 0; part < 2; ++part) {
        const uint4 v = *reinterpret_cast<const uint4*>(words + ((warp * K + k) * 2 + part) * 128 + lane * 4);
        a[part][0] = v.x, a[part][1] = v.y, a[part][2] = v.z, a[part][3] = v.w;
        for (int panel = 0; panel < 2; ++panel) {
          const uint2 w = *reinterpret_cast<const uint2*>(words + A + ((panel * K + k) * 2 + part) * 64 + lane * 2);
          b[part][panel][0] = w.x, b[part][panel][1] = w.y;
        }
      }
      for (int panel = 0; panel < 2; ++panel) {
        mma(c[panel][0], a[0], b[0][panel]);
        mma(c[panel][1], a[0], b[1][panel]);
        mma(c[panel][2], a[1], b[0][panel]);
      }
    }
  if (threadIdx.x == 0 && blockIdx.x == 0) *cycles = clock64() - start;
  float sum = 0;
  for (auto& panel : c)
    for (auto& product : panel)
      for (float x : product) sum += x;
  if (sum == 123.0f) out[threadIdx.x] = sum;
}

static void mma_probe() {
  const int rounds = 200, bytes = (4 * 18 * 128 * 2 + 2 * 18 * 64 * 2) * 4;
  u32* from = zeros<u32>(4096);
  std::vector<u32> random(4096);
  for (u32 i = 0; i < 4096; ++i) random[i] = 0x3F803F80u ^ (i * 2654435761u & 0x007F007Fu);
  CHECK(cudaMemcpy(from, random.data(), 4096 * 4, cudaMemcpyHostToDevice));
  float* out = zeros<float>(128);
  u64 *cycles = zeros<u64>(1), count;
  CHECK(cudaFuncSetAttribute(mma_tile, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  for (int each = 1; each <= 2; ++each) {
    double t = seconds([&] { mma_tile<<<sms * each, 128, bytes, stream>>>(from, out, rounds, cycles); });
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(&count, cycles, 8, cudaMemcpyDeviceToHost));
    say("mma", "tile of 64 x 16 x 288 in bf16x3", sms * each, 128, bytes / 1024.0, double(count) / rounds, "cycles");
    say("mma", "the same on all blocks, bf16 products", sms * each, 128, bytes / 1024.0,
        3 * 2.0 * 64 * 16 * 288 * rounds * sms * each / t / 1e9, "GFLOP/s");
  }
}

// ---- broadcasts: every block reads the same bytes from the L2 cache into its shared memory

__global__ void __launch_bounds__(256) copy_async(const char* from, int bytes, int rounds, float* out) {
  extern __shared__ __align__(128) char tile[];
  for (int round = 0; round < rounds; ++round) {
    for (int i = threadIdx.x * 16; i < bytes; i += blockDim.x * 16)
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(u32(__cvta_generic_to_shared(tile + i))), "l"(from + i) : "memory");
    asm volatile("cp.async.commit_group;\n\tcp.async.wait_group 0;" ::: "memory");
    __syncthreads();
  }
  if (reinterpret_cast<float*>(tile)[threadIdx.x] == 123.0f) out[0] = 1;
}

__device__ bool wait_parity(u32 barrier, u32 parity) {
  for (int spins = 0; spins < SPINS; ++spins) {
    u32 done;
    asm volatile(
        "{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
        : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
    if (done) return true;
  }
  return false;
}

// One bulk copy a round, by the copy engine. In a cluster of N blocks each fetches 1/N and sends it
// to all N.
template <int N>
__global__ void __launch_bounds__(256) copy_bulk(const char* from, int bytes, int rounds, float* out, u32* failed) {
  extern __shared__ __align__(128) char tile[];
  __shared__ __align__(8) u64 barrier;
  const u32 at = u32(__cvta_generic_to_shared(&barrier)), to = u32(__cvta_generic_to_shared(tile));
  u32 rank = 0;
  if (N > 1) rank = cg::this_cluster().block_rank();
  if (threadIdx.x == 0) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(at) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  if (N > 1) cg::this_cluster().sync();
  __syncthreads();
  for (int round = 0; round < rounds; ++round) {
    if (threadIdx.x == 0) {
      const u32 part = u32(bytes) / N, place = part * rank;
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
      if (N > 1)
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], %4;"
                     ::"r"(to + place), "l"(from + place), "r"(part), "r"(at), "h"((unsigned short)((1 << N) - 1)) : "memory");
      else
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                     ::"r"(to), "l"(from), "r"(u32(bytes)), "r"(at) : "memory");
    }
    if (!wait_parity(at, round & 1)) {
      *failed = 1;
      break;
    }
    // No block may send into a tile of the cluster that is still waited for.
    if (N > 1) cg::this_cluster().sync();
    else __syncthreads();
  }
  if (N > 1) cg::this_cluster().sync();
  if (reinterpret_cast<float*>(tile)[threadIdx.x] == 123.0f) out[0] = 1;
}

template <int N>
static void bulk(const char* name) {
  const int rounds = 100;
  char* from = zeros<char>(64 << 10);
  float* out = zeros<float>(1);
  u32* failed = zeros<u32>(1);
  CHECK(cudaFuncSetAttribute(copy_bulk<N>, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10));
  for (int kb : {16, 32, 64}) {
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = N, attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(sms / N * N);
    config.blockDim = dim3(256);
    config.dynamicSmemBytes = kb << 10;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    double t = seconds([&] { CHECK(cudaLaunchKernelEx(&config, copy_bulk<N>, (const char*)from, kb << 10, rounds, out, failed)); });
    u32 bad;
    CHECK(cudaMemcpy(&bad, failed, 4, cudaMemcpyDeviceToHost));
    if (bad) std::fprintf(stderr, "%s: a wait ran out\n", name), std::exit(1);
    say("broadcast", name, sms / N * N, 256, kb, t / rounds * 1e6, "us");
  }
}

static void copies() {
  const int rounds = 100;
  char* from = zeros<char>(64 << 10);
  float* out = zeros<float>(1);
  CHECK(cudaFuncSetAttribute(copy_async, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10));
  for (int kb : {16, 32, 64}) {
    double t = seconds([&] { copy_async<<<sms, 256, kb << 10, stream>>>(from, kb << 10, rounds, out); });
    CHECK(cudaGetLastError());
    say("broadcast", "cp.async.cg", sms, 256, kb, t / rounds * 1e6, "us");
  }
}

int main(int count, char** words) {
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  CHECK(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, 0));
  const struct {
    const char* name;
    void (*run)();
  } probes[] = {{"roofs", roofs},   {"ramp", ramp}, {"barriers", barriers}, {"grids", grids}, {"mma", mma_probe}, {"copies", copies},
                {"reads", [] { panels<4>("distinct panels, 4 bytes a copy"); panels<16>("distinct panels, 16 bytes a copy"); }},
                {"bulk", [] { bulk<1>("bulk copy"); }},
                {"multicast", [] { bulk<2>("bulk copy, multicast to 2"); bulk<4>("bulk copy, multicast to 4"); }}};
  for (auto& probe : probes)
    if (count == 2 && !std::strcmp(words[1], probe.name)) {
      probe.run();
      CHECK(cudaStreamSynchronize(stream));
      return 0;
    }
  std::fprintf(stderr, "probes: roofs ramp barriers reads grids mma copies bulk multicast\n");
  return 2;
}

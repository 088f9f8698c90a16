// A CUDA driver whose device is this machine: the functions of libcuda.so.1 that
// src/backend/cuda/mod.rs calls, with the kernels compiled for the host. It rehearses that backend
// where there is no GPU: arguments, order, capture, replay, and every way to fail.
//
// As on a device nothing happens before it is waited for. Launches and copies join a queue that
// cuStreamSynchronize works off, so code that does not wait reads old numbers. While a stream is
// captured, anything but a launch is an error. The environment makes calls fail or counts them:
//     FAIL=NAME:CODE:N   call N (from 0) of this function fails with this code; NAME `kernel`
//                        fails when it runs, for good
//     FAIL_ON=N          only calls on device N are counted for FAIL
//     DEVICES=N          N devices instead of one
//     BAD_IMAGE=WHY      no image can be loaded, and the log says WHY
//     WRONG=NAME         the last block of this kernel does nothing
//     CAPABILITY=75      compute capability 7.5 instead of 9.0
//     TOGETHER=0         the device cannot run blocks that wait for one another
//     CUDA=12040         a driver of CUDA 12.4 instead of any version: it reads no PTX that a newer
//                        nvcc wrote, and no machine code
//     COUNTS=FILE        the number of calls of each function, at exit
//     PTX=LIBRARY        runs the PTX of the images by this interpreter (tests/driver/ptx) instead
//                        of the kernels compiled for the host
//     IMAGE=NAME:FILE    loads this file instead of the image that holds the kernel of this name
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <mutex>
#include <queue>
#include <string>
#include <ucontext.h>
#include <vector>
#include "kernels.cu"

namespace {

// ---- Blocks side by side, thread by thread: a thread runs until it waits. It waits for its warp
// (0), its block (1) or a count of blocks (2), in turn.
struct Thread {
  jmp_buf at;
  bool made, turn;
  int state;  // -1 ready, -2 done, else what it waits for
  const u32* arrived;  // a count, and what it has to be
  u32 all;
};
const size_t STACK = 64 << 10, MOST = 1024;
const u32 MULTIPROCESSORS = 3, SHARED = 227 << 10;
u32 most_kept;  // what a launch may ask for, once it has been allowed
Thread threads[MOST];
std::vector<char> stacks(MOST * STACK);
u64 lanes[2 * MOST * LANE_WORDS];
jmp_buf scheduler;
u32 current;
struct {
  void (*run)(const void*, const Where*, void*);
  const void* args;
  Where at;
  char* shared;  // of the first block
  size_t stride, kept;  // bytes from block to block, and of those the last that it keeps
} task;

// The code on a thread's stack: one task after the other. Contexts are made once, as that is slow.
void body() {
  for (const u32 me = current;;) {
    Where at = task.at;
    const u32 block = me / at.threads;
    at.block += block;
    at.thread = me % at.threads;
    task.run(task.args, &at, task.shared + block * task.stride);
    threads[me].state = -2;
    if (!_setjmp(threads[me].at)) _longjmp(scheduler, 1);
  }
}

void resume(u32 i) {
  current = i;
  if (_setjmp(scheduler)) return;
  if (threads[i].made) _longjmp(threads[i].at, 1);
  threads[i].made = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = &stacks[i * STACK];
  context.uc_stack.ss_size = STACK;
  context.uc_link = nullptr;
  makecontext(&context, body, 0);
  setcontext(&context);
}

// Runs a number of blocks, the first of which is the task's.
void run_blocks(u32 blocks) {
  const u32 n = blocks * task.at.threads;
  for (u32 i = 0; i < n; ++i) threads[i].state = -1;
  for (;;) {
    u32 done = 0, moved = 0;
    for (u32 i = 0; i < n; ++i) {
      if (threads[i].state == -1) resume(i), ++moved;
      done += threads[i].state == -2;
    }
    if (done == n) return;
    for (u32 i = 0; i < n; ++i)
      if (threads[i].state == 2 && int(*threads[i].arrived - threads[i].all) >= 0) threads[i].state = -1, ++moved;
    for (int what = 0; what < 2; ++what)
      for (u32 group = what == 0 ? 32 : task.at.threads, start = 0; start < n; start += group) {
        bool all = true;
        for (u32 i = start; i < start + group; ++i) all &= threads[i].state == what;
        if (all) for (u32 i = start; i < start + group; ++i) threads[i].state = -1, ++moved;
      }
    if (!moved) std::fprintf(stderr, "driver: threads wait for one another\n"), std::abort();
  }
}

// ---- the driver's state
// The functions of the interpreter (tests/driver/ptx/src/driver.rs), if there is one.
struct Interpreter {
  void* library = nullptr;
  void* (*load)(const char*, char*, size_t);
  void (*unload)(void*);
  const void* (*find)(const void*, const char*);
  int (*launch)(const void*, u32, u32, u32, bool, bool, const void*);
  void (*allocated)(u64, u64);
  void (*freed)(u64);
};
// A kernel: its name, and what the interpreter made of it.
struct Function {
  std::string name;
  const void* compiled;
};
struct Launch {
  Function function;
  u32 blocks, threads, kept;
  bool together, early;
  std::vector<char> args;
};
struct Node {
  Launch launch;
  std::vector<size_t> before;  // the nodes that it waits for
};
typedef std::vector<Node> Graph;
struct Event {
  double ms;
};
// A device: the work that waits, and the error that it is lost by.
struct Device {
  std::vector<std::function<void()>> queue;
  int lost;
};
Device devices[16];
thread_local Device* here = devices;  // that of the thread's context
thread_local Graph* captured;
std::recursive_mutex one_at_a_time;
std::map<std::string, int> counts, counts_there;

struct AtExit {
  ~AtExit() {
    if (const char* path = std::getenv("COUNTS"))
      if (FILE* file = std::fopen(path, "w")) {
        for (const auto& [name, count] : counts) std::fprintf(file, "%s %d\n", name.c_str(), count);
        std::fclose(file);
      }
  }
} at_exit;

// The code that the call of this name fails with; 0 = none.
int failure(const std::string& name) {
  int n = counts[name]++;
  const char *fail = std::getenv("FAIL"), *there = std::getenv("FAIL_ON");
  if (there && here != devices + std::atoi(there)) return 0;
  if (there) n = counts_there[name]++;
  char which[64];
  int code, when;
  if (fail && std::sscanf(fail, "%63[^:]:%d:%d", which, &code, &when) == 3 && name == which && n == when) return code;
  return 0;
}

const Interpreter* interpreter() {
  static Interpreter own = [] {
    Interpreter made;
    const char* path = std::getenv("PTX");
    if (!path) return made;
    made.library = dlopen(path, RTLD_NOW);
    if (!made.library) std::fprintf(stderr, "driver: %s\n", dlerror()), std::abort();
    auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(made.library, name));
    };
    find(made.load, "ptx_load"), find(made.unload, "ptx_unload"), find(made.find, "ptx_find");
    find(made.launch, "ptx_launch"), find(made.allocated, "ptx_allocated"), find(made.freed, "ptx_freed");
    return made;
  }();
  return own.library ? &own : nullptr;
}

// The image to load instead of this one, if IMAGE names a kernel that it holds; else itself.
std::string chosen(const char* image) {
  const char* other = std::getenv("IMAGE");
  const char* path = other ? std::strchr(other, ':') : nullptr;
  if (!path || !std::strstr(image, (".entry " + std::string(other, path) + "(").c_str())) return image;
  std::string text;
  char some[4096];
  FILE* file = std::fopen(path + 1, "r");
  if (!file) std::fprintf(stderr, "driver: cannot read %s\n", path + 1), std::abort();
  while (size_t n = std::fread(some, 1, sizeof some, file)) text.append(some, n);
  std::fclose(file);
  return text;
}

void* own_symbol(const std::string& name) {
  static void* self = [] {
    Dl_info info;
    dladdr(reinterpret_cast<void*>(&own_symbol), &info);
    return dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  }();
  return dlsym(self, name.c_str());
}

void execute(const Launch& launch) {
  if (here->lost || (here->lost = failure("kernel"))) return;
  const std::string &name = launch.function.name, stem = name.substr(0, name.size() - 6);
  if (launch.function.compiled) {
    if (interpreter()->launch(launch.function.compiled, launch.blocks, launch.threads, launch.kept, launch.together, launch.early, launch.args.data())) here->lost = 719;
    return;
  }
  task.run = reinterpret_cast<void (*)(const void*, const Where*, void*)>(own_symbol(name));
  const u64* layout = static_cast<const u64*>(own_symbol(stem + "layout"));
  const u32 at_once = launch.together ? launch.blocks : 1;
  task.kept = (launch.kept + 255) / 256 * 256;
  task.stride = (layout[1] + 255) / 256 * 256 + task.kept;
  std::vector<char> shared(at_once * task.stride + 256, char(0xFF));
  task.args = launch.args.data();
  task.shared = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(shared.data()) + 255) / 256 * 256);
  const char* wrong = std::getenv("WRONG");
  const bool right = !wrong || stem != std::string(wrong) + "_";
  for (u32 block = 0; block < launch.blocks - !right; block += at_once) {
    task.at = Where{block, launch.blocks, 0, launch.threads, STREAM, 0, 0, 0};
    run_blocks(at_once);
  }
}

// Runs the nodes of a graph in an order as far from that of their making as their dependencies
// allow: of the nodes that may run, always the last.
void execute(const Graph& graph) {
  std::vector<size_t> waits(graph.size());
  std::vector<std::vector<size_t>> after(graph.size());
  std::priority_queue<size_t> ready;
  for (size_t i = 0; i < graph.size(); ++i) {
    for (size_t before : graph[i].before) after[before].push_back(i);
    if (!(waits[i] = graph[i].before.size())) ready.push(i);
  }
  for (; !ready.empty();) {
    const size_t i = ready.top();
    ready.pop();
    execute(graph[i].launch);
    for (size_t next : after[i])
      if (!--waits[next]) ready.push(next);
  }
}

int work_off() {
  std::vector<std::function<void()>> work;
  work.swap(here->queue);
  for (auto& one : work) one();
  return here->lost;
}

int launch(const Function* function, u32 blocks, u32 block_threads, void** parameters, bool together = false, u32 kept = 0, bool early = false) {
  const std::string stem = function->name.substr(0, function->name.size() - 6);
  const u64* layout = static_cast<const u64*>(own_symbol(stem + "layout"));
  const char* args = static_cast<const char*>(parameters[0]);
  if (block_threads > layout[2] || block_threads % 32 || !blocks) return 1;
  if (together != bool(layout[3]) || (together && blocks > MULTIPROCESSORS)) return 720;
  if (kept > most_kept) return 1;
  Launch one{*function, blocks, block_threads, kept, together, early, std::vector<char>(args, args + layout[0])};
  if (captured) {
    const size_t before = captured->size();
    captured->push_back({one, before ? std::vector<size_t>{before - 1} : std::vector<size_t>{}});
  }
  else here->queue.push_back([one] { execute(one); });
  return 0;
}

// The newest CUDA version that this driver supports.
int own_version() {
  const char* version = std::getenv("CUDA");
  return version ? std::atoi(version) : 99000;
}

int capability() {
  const char* both = std::getenv("CAPABILITY");
  return both ? std::atoi(both) : 90;
}

double now_ms() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}

}  // namespace

extern "C" void simt_wait(u32 what, u32) {
  threads[current].state = int(what);
  if (!_setjmp(threads[current].at)) _longjmp(scheduler, 1);
}
extern "C" void simt_arrive(u32* arrived, u32 for_block, u32) { *arrived += for_block; }
extern "C" void simt_wait_for(const u32* arrived, u32 all, u32) {
  threads[current].arrived = arrived, threads[current].all = all;
  simt_wait(2, 0);
}
extern "C" u64* simt_lanes() {
  bool turn = threads[current].turn = !threads[current].turn;
  return &lanes[(turn * MOST + current / 32 * 32) * LANE_WORDS];
}
extern "C" u32 simt_copy(const Copy*) { return 1; }  // at once
extern "C" void simt_close() {}
extern "C" u32 simt_due(u32, Copy*) { return 0; }
extern "C" void simt_misaligned(u64) { std::fprintf(stderr, "driver: misaligned\n"), std::abort(); }
extern "C" u32 simt_lane() { return current % 32; }
extern "C" float* simt_kept() {
  const u32 block = current / task.at.threads;
  return reinterpret_cast<float*>(task.shared + (block + 1) * task.stride - task.kept);
}

// A function of the driver. It is counted, and fails when it has to; while a stream is captured it
// also fails, unless it may be called then.
#define FUNCTION(name, in_capture, ...)                          \
  extern "C" int name(__VA_ARGS__) {                             \
    std::lock_guard<std::recursive_mutex> lock(one_at_a_time);   \
    if (int code = failure(#name)) return code;                  \
    if (captured && !in_capture) return 900;                     \
    if (here->lost) return here->lost;
#define END return 0; }

FUNCTION(cuInit, false, unsigned) END
FUNCTION(cuDriverGetVersion, true, int* version) *version = own_version(); END
FUNCTION(cuDeviceGetCount, true, int* count) *count = std::getenv("DEVICES") ? std::atoi(std::getenv("DEVICES")) : 1; END
FUNCTION(cuDeviceGet, true, int* device, int number) *device = number; END
FUNCTION(cuDeviceGetName, true, char* name, int size, int) std::snprintf(name, size, "this machine"); END
FUNCTION(cuDeviceGetAttribute, true, int* value, int what, int)
  const int both = capability();
  *value = what == 75 ? both / 10 : what == 76 ? both % 10 : what == 16 ? MULTIPROCESSORS : what == 95 ? !std::getenv("TOGETHER") : what == 97 ? SHARED : 0;
END
FUNCTION(cuDevicePrimaryCtxRetain, false, void** context, int device) *context = &devices[device]; END
FUNCTION(cuDevicePrimaryCtxRelease_v2, false, int) END
FUNCTION(cuCtxSetCurrent, true, void* context) if (context) here = static_cast<Device*>(context); END
FUNCTION(cuStreamCreate, false, void** stream, unsigned) *stream = here; END
FUNCTION(cuStreamDestroy_v2, false, void*) END
FUNCTION(cuStreamSynchronize, false, void*) return work_off(); END
FUNCTION(cuModuleLoadDataEx, false, void** module, const char* image, unsigned options, const int* option, void** value)
  if (!std::memcmp(image, "\x7f" "ELF", 4)) {
    if (interpreter()) return 209;
    // Machine code for this kind of device, or for an earlier one of the same major number; of CUDA
    // 13.
    const int made_for = reinterpret_cast<const unsigned char*>(image)[49], own = capability();
    if (image[18] != char(190) || made_for / 10 != own / 10 || made_for > own) return 209;
    if (own_version() < 13000) return 200;
  } else {
    const char* release = std::strstr(image, "release ");
    int major, minor;
    if (!release || std::sscanf(release, "release %d.%d", &major, &minor) != 2) return 218;
    if (1000 * major + 10 * minor > own_version()) return 222;
  }
  if (std::getenv("BAD_IMAGE") && options == 2 && option[0] == 5 && option[1] == 6) {
    std::snprintf(static_cast<char*>(value[0]), reinterpret_cast<size_t>(value[1]), "ptxas application ptx input, line 9\n  ; fatal   : %s\n",
                  std::getenv("BAD_IMAGE"));
    return 218;
  }
  *module = &counts;
  if (interpreter()) {
    if (options != 2) return 1;
    *module = interpreter()->load(chosen(image).c_str(), static_cast<char*>(value[0]), reinterpret_cast<size_t>(value[1]));
    if (!*module) return 218;
  }
END
#ifdef TIMELINE
FUNCTION(cuModuleGetGlobal_v2, true, uint64_t* address, size_t* bytes, void*, const char* name)
  if (std::strcmp(name, "timeline")) return 500;
  *address = reinterpret_cast<uint64_t>(timeline), *bytes = sizeof timeline;
END
#endif
FUNCTION(cuModuleUnload, false, void* module)
  if (interpreter()) work_off(), interpreter()->unload(module);
END
FUNCTION(cuModuleGetFunction, false, const Function** function, void* module, const char* name)
  const void* compiled = interpreter() ? interpreter()->find(module, name) : nullptr;
  if (!own_symbol(name) || (interpreter() && !compiled)) return 500;
  *function = new Function{name, compiled};
END
FUNCTION(cuMemAlloc_v2, false, uint64_t* address, size_t bytes)
  *address = reinterpret_cast<uint64_t>(std::aligned_alloc(512, (bytes + 511) / 512 * 512));
  std::memset(reinterpret_cast<void*>(*address), 0xFF, bytes);
  if (interpreter()) interpreter()->allocated(*address, bytes);
END
FUNCTION(cuMemFree_v2, false, uint64_t address)
  work_off();
  if (interpreter()) interpreter()->freed(address);
  std::free(reinterpret_cast<void*>(address));
END
FUNCTION(cuMemsetD8Async, false, uint64_t to, unsigned char value, size_t bytes, void*)
  here->queue.push_back([=] { std::memset(reinterpret_cast<void*>(to), value, bytes); });
END
FUNCTION(cuMemcpyHtoDAsync_v2, false, uint64_t to, const void* from, size_t bytes, void*)
  here->queue.push_back([=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); });
END
FUNCTION(cuMemcpyDtoHAsync_v2, false, void* to, uint64_t from, size_t bytes, void*)
  here->queue.push_back([=] { std::memcpy(to, reinterpret_cast<void*>(from), bytes); });
END
FUNCTION(cuLaunchKernel, true, const Function* function, u32 blocks, u32, u32, u32 block_threads, u32, u32, u32, void*, void** parameters, void**)
  return launch(function, blocks, block_threads, parameters);
END
FUNCTION(cuLaunchCooperativeKernel, false, const Function* function, u32 blocks, u32, u32, u32 block_threads, u32, u32, u32 kept, void*, void** parameters)
  return launch(function, blocks, block_threads, parameters, true, kept);
END
FUNCTION(cuFuncGetAttribute, true, int* value, int what, const Function*) *value = what == 1 ? 48 << 10 : 0; END
FUNCTION(cuFuncSetAttribute, false, const Function*, int what, int value)
  if (what != 8 || value > int(SHARED - (48 << 10))) return 1;
  most_kept = value;
END
FUNCTION(cuOccupancyMaxActiveBlocksPerMultiprocessor, true, int* blocks, const Function*, int, size_t) *blocks = 1; END
struct Config {
  u32 blocks[3], threads[3], shared;
  void* stream;
  const int* attributes;
  u32 count;
};
FUNCTION(cuLaunchKernelEx, true, const Config* c, const Function* function, void** parameters, void**)
  if (c->count != 1 || c->attributes[0] != 6 || c->attributes[2] != 1) return 1;
  return launch(function, c->blocks[0], c->threads[0], parameters, false, 0, true);
END
FUNCTION(cuStreamBeginCapture_v2, false, void*, int) captured = new Graph; END
FUNCTION(cuStreamEndCapture, true, void*, Graph** graph)
  *graph = captured;
  captured = nullptr;
END
struct Kernel {
  const Function* function;
  u32 blocks[3], threads[3], shared;
  void** parameters;
};
FUNCTION(cuGraphCreate, false, Graph** graph, unsigned) *graph = new Graph; END
FUNCTION(cuGraphAddKernelNode, false, void** node, Graph* graph, void* const* before, size_t n, const Kernel* kernel)
  Graph* outer = captured;
  captured = graph;
  const int code = launch(kernel->function, kernel->blocks[0], kernel->threads[0], kernel->parameters);
  captured = outer;
  if (code) return code;
  std::vector<size_t>& waits = graph->back().before;
  waits.clear();
  for (size_t i = 0; i < n; ++i) waits.push_back(reinterpret_cast<size_t>(before[i]) - 1);
  *node = reinterpret_cast<void*>(graph->size());
END
FUNCTION(cuGraphInstantiateWithFlags, false, Graph** executable, Graph* graph, u64) *executable = new Graph(*graph); END
FUNCTION(cuGraphDestroy, false, Graph* graph) delete graph; END
FUNCTION(cuGraphExecDestroy, false, Graph* executable)
  work_off();
  delete executable;
END
FUNCTION(cuGraphLaunch, false, Graph* executable, void*)
  here->queue.push_back([=] { execute(*executable); });
END
FUNCTION(cuEventCreate, false, Event** event, unsigned) *event = new Event{0}; END
FUNCTION(cuEventRecord, false, Event* event, void*) here->queue.push_back([=] { event->ms = now_ms(); }); END
FUNCTION(cuEventElapsedTime, false, float* ms, Event* start, Event* end) *ms = float(end->ms - start->ms); END
FUNCTION(cuEventDestroy_v2, false, Event* event)
  work_off();
  delete event;
END
extern "C" int cuGetErrorString(int code, const char** text) {
  static char words[64];
  std::snprintf(words, sizeof words, "error %d", code);
  *text = words;
  return 0;
}

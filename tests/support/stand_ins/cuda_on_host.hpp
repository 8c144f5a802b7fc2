// Runs the kernels' own source on the host: put in front of matching.cu in place of
// primitives.cuh. Each CUDA thread is a fiber; a block's fibers take turns on one thread of the
// host, and blocks follow one another, so results and failures are the same every time.
//
// Copies to shared memory are asynchronous on the GPU. Here they land either at once or as late as
// the waits allow (`copies_land_late`): a missing wait shows in one mode, a stage that is
// overwritten too early in the other.

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static  // blocks follow one another
#define __align__(bytes) __attribute__((aligned(bytes)))

using std::max;
using std::min;
typedef unsigned short half_bits;

struct Index {
  int x, y;
};
struct Copy {
  void* to;
  const void* from;
  bool there;
};

const size_t STACK = 128 * 1024;

struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  bool done = false;
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> closed;
  long exchanges = 0, barriers = 0;
};

static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static int current;
static Index threadIdx, blockIdx;
static void (*body)(void*);
static void* body_data;
static bool copies_land_late;
static long waiting;  // turns without progress

static void take_turns() {
  swapcontext(&fibers[current].context, &scheduler);
}

template <class Ready>
static void wait_until(Ready ready) {
  while (!ready()) {
    if (++waiting > 64 * (long)fibers.size()) {
      std::fprintf(stderr, "deadlock: threads wait for others that do not come\n");
      std::abort();
    }
    take_turns();
  }
  waiting = 0;
}

static void __syncthreads() {
  long mine = ++fibers[current].barriers;
  wait_until([&] {
    return std::all_of(fibers.begin(), fibers.end(),
                       [&](const Fiber& f) { return f.done || f.barriers >= mine; });
  });
}

// What the 32 threads of a warp show each other; two places, so that one may be ahead by one.
static std::vector<unsigned> shown[2];
const int SHOWN = 16;

// Show `count` words; returns where those of the warp's lanes lie, SHOWN apart.
static const unsigned* exchange(const unsigned* mine, int count) {
  Fiber& fiber = fibers[current];
  long turn = ++fiber.exchanges;
  std::vector<unsigned>& room = shown[turn & 1];
  std::memcpy(&room[current * SHOWN], mine, count * sizeof(unsigned));
  int first = current & ~31;
  wait_until([&] {
    for (int lane = 0; lane < 32; lane++)
      if (fibers[first + lane].exchanges < turn) return false;
    return true;
  });
  return &room[first * SHOWN];
}

static void land(const Copy& copy) {
  if (copy.there)
    std::memcpy(copy.to, copy.from, 16);
  else
    std::memset(copy.to, 0, 16);
}

static void copy_16(void* to, const void* from, bool there) {
  if ((uintptr_t)to % 16 || (uintptr_t)from % 16) {
    std::fprintf(stderr, "a copy of 16 bytes is not aligned to them\n");
    std::abort();
  }
  Copy copy{to, from, there};
  if (copies_land_late)
    fibers[current].open.push_back(copy);
  else
    land(copy);
}

static void close_copies() {
  fibers[current].closed.push_back(fibers[current].open);
  fibers[current].open.clear();
}

template <int N>
static void await_copies() {
  auto& closed = fibers[current].closed;
  while (closed.size() > N) {
    for (const Copy& copy : closed.front()) land(copy);
    closed.pop_front();
  }
}

static float to_float(half_bits value) {
  int exponent = value >> 10 & 31, fraction = value & 1023;
  float number = exponent == 0    ? std::ldexp((float)fraction, -24)
                 : exponent == 31 ? (fraction ? NAN : INFINITY)
                                  : std::ldexp((float)(fraction + 1024), exponent - 25);
  return value >> 15 ? -number : number;
}

// PTX ISA, ldmatrix .x4: lanes 8i … 8i + 7 point to the rows of matrix i; lane l gets from each
// matrix columns 2·(l mod 4) and the next of row l div 4.
static void load_matrices(unsigned (&to)[4], const half_bits* row) {
  unsigned mine[2];
  std::memcpy(mine, &row, sizeof row);
  const unsigned* all = exchange(mine, 2);
  int lane = current & 31;
  for (int i = 0; i < 4; i++) {
    const half_bits* from;
    std::memcpy(&from, all + (8 * i + lane / 4) * SHOWN, sizeof from);
    std::memcpy(&to[i], from + 2 * (lane % 4), 4);
  }
}

static float half_at(unsigned pair, int which) {
  return to_float((half_bits)(which ? pair >> 16 : pair));
}

// PTX ISA, fragments of mma.m16n8k16 with .f16 operands.
static void multiply_add(float (&sum)[4], const unsigned (&left)[4], unsigned right_0,
                         unsigned right_1) {
  unsigned mine[6] = {left[0], left[1], left[2], left[3], right_0, right_1};
  const unsigned* all = exchange(mine, 6);
  int lane = current & 31;
  for (int c = 0; c < 4; c++) {
    int row = lane / 4 + (c >> 1) * 8, column = lane % 4 * 2 + (c & 1);
    for (int k = 0; k < 16; k++) {
      const unsigned* of_left = all + (row % 8 * 4 + k % 8 / 2) * SHOWN;
      const unsigned* of_right = all + (column * 4 + k % 8 / 2) * SHOWN;
      float a = half_at(of_left[(row >= 8) + 2 * (k >= 8)], k & 1);
      float b = half_at(of_right[4 + (k >= 8)], k & 1);
      sum[c] += a * b;
    }
  }
}

static int from_lane_across(int value, int distance) {
  const unsigned* all = exchange((const unsigned*)&value, 1);
  return (int)all[((current & 31) ^ distance) * SHOWN];
}

static float from_lane_across(float value, int distance) {
  int bits;
  std::memcpy(&bits, &value, 4);
  bits = from_lane_across(bits, distance);
  std::memcpy(&value, &bits, 4);
  return value;
}

static int read_late(const int* from) { return *from; }
static float read_late(const float* from) { return *from; }

static int __float_as_int(float value) {
  int bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

static float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

static void atomicMin(int* place, int value) { *place = min(*place, value); }

static void start_fiber() {
  body(body_data);
  fibers[current].done = true;
  waiting = 0;
  swapcontext(&fibers[current].context, &scheduler);
}

template <class... Values>
struct Call {
  void (*kernel)(Values...);
  std::tuple<Values...> values;
};

template <class... Values>
static void launch(void (*kernel)(Values...), int grid_x, int grid_y, int threads, void** given) {
  int next = 0;
  Call<Values...> call{kernel, {*(std::remove_const_t<Values>*)given[next++]...}};
  body_data = &call;
  body = [](void* data) {
    auto* mine = (Call<Values...>*)data;
    std::apply(mine->kernel, mine->values);
  };
  for (auto& room : shown) room.assign(threads * SHOWN, 0);
  for (int y = 0; y < grid_y; y++)
    for (int x = 0; x < grid_x; x++) {
      blockIdx = {x, y};
      fibers.clear();
      fibers.resize(threads);
      for (Fiber& fiber : fibers) {
        fiber.stack.resize(STACK);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = STACK;
        makecontext(&fiber.context, start_fiber, 0);
      }
      for (bool more = true; more;) {
        more = false;
        for (current = 0; current < threads; current++) {
          if (fibers[current].done) continue;
          more = true;
          threadIdx = {current, 0};
          swapcontext(&scheduler, &fibers[current].context);
        }
      }
    }
}

#define LAUNCHER(kernel)                                                                      \
  extern "C" void launch_##kernel(int grid_x, int grid_y, int threads, int late, void** given) { \
    copies_land_late = late;                                                                  \
    launch(kernel, grid_x, grid_y, threads, given);                                           \
  }

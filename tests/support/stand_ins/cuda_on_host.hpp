// Runs the kernels' own source on the host: put in front of it in place of primitives.cuh. Each
// CUDA thread is a fiber; a block's fibers take turns on one thread of the host, and blocks follow
// one another, so results and failures are the same every time.
//
// The order of turns is chosen. In turn, a warp never gets farther ahead of others than one wait;
// so a missing barrier shows where one warp runs as far as it can before another one begins.
//
// Shared memory is filled with ones before each block: NaN, and the least whole number.
//
// Copies to shared memory are asynchronous on the GPU. Here they land either at once or as late as
// the waits allow (`copies_land_late`): a missing wait shows in one mode, a stage that is
// overwritten too early in the other.

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <numeric>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("shared_memory")))  // blocks follow one another
#define __align__(bytes) __attribute__((aligned(bytes)))

using std::max;
using std::min;
typedef unsigned short half_bits;

extern char __start_shared_memory[] __attribute__((weak, visibility("hidden")));
extern char __stop_shared_memory[] __attribute__((weak, visibility("hidden")));

struct Index {
  int x, y, z;
};
struct Copy {
  void* to;
  const void* from;
  bool there;
};

const size_t STACK = 128 * 1024;

struct Fiber {
  ucontext_t context;
  jmp_buf left;  // where it was left: quicker to come back to than a context
  bool begun = false, done = false;
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> closed;
  long exchanges = 0, barriers = 0;
};

static std::deque<Fiber> fibers;  // they stay where they are
static std::deque<std::vector<char>> stacks;
static jmp_buf scheduler;
static int current;
static Index threadIdx, blockIdx;
static void (*body)(void*);
static void* body_data;
static bool copies_land_late;
static long waiting;  // turns without progress
static long progress;  // waits that have begun or ended
static std::vector<int> arrivals;  // of threads, by the number of their barrier
static int done_count, block_threads;
static std::vector<char> dynamic_room;  // the shared memory whose size a launch gives

static void take_turns() {
  if (!_setjmp(fibers[current].left)) _longjmp(scheduler, 1);
}

template <class Ready>
static void wait_until(Ready ready) {
  progress++;
  while (!ready()) {
    if (++waiting > 64 * (long)fibers.size()) {
      std::fprintf(stderr, "deadlock: threads wait for others that do not come\n");
      std::abort();
    }
    take_turns();
  }
  progress++;
  waiting = 0;
}

static void __syncthreads() {
  long mine = ++fibers[current].barriers;
  if ((long)arrivals.size() <= mine) arrivals.resize(mine + 1);
  arrivals[mine]++;
  wait_until([&] {
    int gone = 0;  // threads that have ended before this barrier
    if (done_count)
      for (int number = 0; number < block_threads; number++)
        gone += fibers[number].done && fibers[number].barriers < mine;
    return arrivals[mine] + gone >= block_threads;
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

static float half_value(int bits) {
  int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float number = exponent == 0    ? std::ldexp((float)fraction, -24)
                 : exponent == 31 ? (fraction ? NAN : INFINITY)
                                  : std::ldexp((float)(fraction + 1024), exponent - 25);
  return bits >> 15 ? -number : number;
}

static float to_float(half_bits value) {
  static const std::vector<float> table = [] {
    std::vector<float> made(1 << 16);
    for (int bits = 0; bits < 1 << 16; bits++) made[bits] = half_value(bits);
    return made;
  }();
  return table[value];
}

// Rounds to the nearest, halves to even, as cvt.rn does.
static half_bits to_half(float value) {
  half_bits sign = std::signbit(value) ? 0x8000 : 0;
  float size = std::fabs(value);
  if (std::isnan(value)) return 0x7fff;
  if (size >= 65520.f) return sign | 0x7c00;
  if (size < 0x1p-14f) return sign | (half_bits)std::nearbyint(size * 0x1p24f);
  int exponent = std::ilogb(size);
  int steps = (int)std::nearbyint(std::ldexp(size, 10 - exponent));  // 1024 to 2048
  return sign | (half_bits)(((exponent + 14) << 10) + steps);
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

static double from_lane_across(double value, int distance) {
  unsigned bits[2];
  std::memcpy(bits, &value, 8);
  const unsigned* all = exchange(bits, 2);
  std::memcpy(&value, all + ((current & 31) ^ distance) * SHOWN, 8);
  return value;
}

static int votes(bool yes) {
  unsigned mine = yes;
  const unsigned* all = exchange(&mine, 1);
  int count = 0;
  for (int lane = 0; lane < 32; lane++) count += all[lane * SHOWN];
  return count;
}

static float* shared_floats() { return (float*)dynamic_room.data(); }

static int read_late(const int* from) { return *from; }
static float read_late(const float* from) { return *from; }
static long long read_late(const long long* from) { return *from; }

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
  for (;;) {  // each time for another block
    body(body_data);
    fibers[current].done = true;
    done_count++;
    progress++;
    waiting = 0;
    take_turns();
  }
}

static void give_turn(int thread) {
  current = thread;
  Fiber& fiber = fibers[thread];
  if (fiber.done) return;
  threadIdx = {thread, 0, 0};
  if (_setjmp(scheduler)) return;
  if (fiber.begun) _longjmp(fiber.left, 1);
  fiber.begun = true;
  setcontext(&fiber.context);
}

enum Order { FORWARD, BACKWARD, SHUFFLED, ONE_WARP_AHEAD };

static unsigned drawn = 1;
static int draw(int count) {
  drawn = drawn * 1664525u + 1013904223u;
  return (int)((drawn >> 8) % (unsigned)count);
}

static void shuffle(std::vector<int>& numbers) {
  for (int i = (int)numbers.size() - 1; i > 0; i--) std::swap(numbers[i], numbers[draw(i + 1)]);
}

static void run_block(int threads, int order) {
  while ((int)fibers.size() < threads) {
    stacks.emplace_back(STACK);
    fibers.emplace_back();
    Fiber& fiber = fibers.back();
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks.back().data();
    fiber.context.uc_stack.ss_size = STACK;
    makecontext(&fiber.context, start_fiber, 0);
  }
  for (int number = 0; number < (int)fibers.size(); number++) {
    Fiber& fiber = fibers[number];
    fiber.done = number >= threads;
    fiber.open.clear();
    fiber.closed.clear();
    fiber.exchanges = fiber.barriers = 0;
  }
  arrivals.assign(1, 0);
  done_count = 0;
  block_threads = threads;
  std::memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);
  std::fill(dynamic_room.begin(), dynamic_room.end(), (char)0xff);
  bool by_warps = order == ONE_WARP_AHEAD;
  std::vector<int> turns(by_warps ? (threads + 31) / 32 : threads);
  std::iota(turns.begin(), turns.end(), 0);
  if (order == BACKWARD) std::reverse(turns.begin(), turns.end());
  while (done_count < threads) {
    if (order == SHUFFLED || by_warps) shuffle(turns);
    for (int turn : turns) {
      if (!by_warps) {
        give_turn(turn);
        continue;
      }
      for (long before = -1; before != progress;) {
        before = progress;
        for (int lane = 0; lane < 32; lane++)
          if (turn * 32 + lane < threads) give_turn(turn * 32 + lane);
      }
    }
  }
}

template <class... Values>
struct Call {
  void (*kernel)(Values...);
  std::tuple<Values...> values;
};

// `sizes`: blocks along x, y and z, threads, bytes of shared memory.
template <class... Values>
static void launch(void (*kernel)(Values...), const int* sizes, int order, void** given) {
  int next = 0;
  Call<Values...> call{kernel, {*(std::remove_const_t<Values>*)given[next++]...}};
  body_data = &call;
  body = [](void* data) {
    auto* mine = (Call<Values...>*)data;
    std::apply(mine->kernel, mine->values);
  };
  for (auto& room : shown) room.assign(sizes[3] * SHOWN, 0);
  dynamic_room.assign(sizes[4], 0);
  for (int z = 0; z < sizes[2]; z++)
    for (int y = 0; y < sizes[1]; y++)
      for (int x = 0; x < sizes[0]; x++) {
        blockIdx = {x, y, z};
        run_block(sizes[3], order);
      }
}

#define LAUNCHER(kernel)                                                                    \
  extern "C" void launch_##kernel(const int* sizes, int late, int order, void** given) {    \
    copies_land_late = late;                                                                \
    launch(kernel, sizes, order, given);                                                    \
  }

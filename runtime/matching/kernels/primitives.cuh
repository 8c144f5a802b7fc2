// The GPU's own instructions that the kernels use, each behind a name: sm_80 and later.
//
// Put in front of matching.cu and frame.cu when they are compiled. The tests put their own form in
// front instead, which does the same on the host, thread by thread: so the kernels' source runs
// without a GPU.

typedef unsigned short half_bits;  // a float16, looked at by its bits: no header is needed

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return (unsigned)__cvta_generic_to_shared(pointer);
}

// Start to copy 16 bytes to shared memory; with `there` false the bytes become zero.
__device__ __forceinline__ void copy_16(void* to, const void* from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
               "l"(from), "r"(there ? 16 : 0));
}

__device__ __forceinline__ void close_copies() { asm volatile("cp.async.commit_group;"); }

// Wait until at most `N` closed groups of copies are under way.
template <int N>
__device__ __forceinline__ void await_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8x8 matrices of halves from shared memory; lane l gives the address of one row of them.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const half_bits* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row)) : "memory");
}

// sum (16, 8) += left (16, 16) times right (16, 8), halves in, float32 out; spread over a warp.
__device__ __forceinline__ void multiply_add(float (&sum)[4], const unsigned (&left)[4],
                                             unsigned right_0, unsigned right_1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right_0), "r"(right_1));
}

// Read here and not earlier: a value that a loop needs at its end shall take no register before.
__device__ __forceinline__ float read_late(const float* from) {
  float value;
  asm volatile("ld.global.ca.f32 %0, [%1];" : "=f"(value) : "l"(from));
  return value;
}

__device__ __forceinline__ int read_late(const int* from) {
  int value;
  asm volatile("ld.global.ca.s32 %0, [%1];" : "=r"(value) : "l"(from));
  return value;
}

__device__ __forceinline__ long long read_late(const long long* from) {
  long long value;
  asm volatile("ld.global.ca.s64 %0, [%1];" : "=l"(value) : "l"(from));
  return value;
}

__device__ __forceinline__ float to_float(half_bits value) {
  float number;
  asm("cvt.f32.f16 %0, %1;" : "=f"(number) : "h"(value));
  return number;
}

// Rounded to the nearest, halves to even.
__device__ __forceinline__ half_bits to_half(float value) {
  half_bits bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

__device__ __forceinline__ int from_lane_across(int value, int distance) {
  return __shfl_xor_sync(0xffffffffu, value, distance);
}

__device__ __forceinline__ float from_lane_across(float value, int distance) {
  return __shfl_xor_sync(0xffffffffu, value, distance);
}

__device__ __forceinline__ double from_lane_across(double value, int distance) {
  return __shfl_xor_sync(0xffffffffu, value, distance);
}

// How many lanes of the warp say yes.
__device__ __forceinline__ int votes(bool yes) {
  return __popc(__ballot_sync(0xffffffffu, yes));
}

// The shared memory whose size the launch gives.
__device__ __forceinline__ float* shared_floats() {
  extern __shared__ float room[];
  return room;
}

// Match distances between a new frame and the slots of a bank (docs/algorithms.md).
//
// For frame rows x_i and bank rows y_j, value = |x|^2 / 2 + |y|^2 / 2 - x.y = |x - y|^2 / 2 in
// float32, with halves multiplied. Values are never negative, so their bits sort as they do. An order key is
// (bits & mask) | code: the code holds the patch's number in the bits that the mask clears, and
// IGNORED where nobody may match the patch, which puts it behind all others. The least key of a
// row, over the codes of the columns, names the row's match; the columns likewise.
//
// Three kernels: `fused_keys` multiplies and takes the minima in registers; `tile_keys` takes the
// minima of a product that cuBLAS left in memory; `measure` turns keys into values, and measures
// near ones anew as |x - y|^2 / 2, since the difference of norms and product cancels there.

#define IGNORED 0x7f000000
#define NO_KEY 0x7fffffff

__device__ __forceinline__ int order_key(float value, int mask, int code) {
  return (__float_as_int(value) & mask) | code;
}

// ---- fused_keys: a block takes 128 rows of the frame and one slot, whose columns it passes ----

#define BLOCK 128   // rows and columns of a tile
#define DEPTH 32    // channels of one step
#define STAGES 3    // steps in shared memory: one in use, the others on their way
#define CHUNK 8     // halves in 16 bytes

// Where row `row`, 16-byte chunk `chunk` of a step lies. Chunks of neighbouring rows are turned
// against each other, so that the eight rows that ldmatrix reads at once lie in other banks.
__device__ __forceinline__ int place(int row, int chunk) {
  return row * DEPTH + ((chunk ^ ((row >> 1) & 3)) * CHUNK);
}

// Start to copy `DEPTH` channels, from `channel` on, of BLOCK rows from `first` on.
__device__ __forceinline__ void copy_step(half_bits* to, const half_bits* from, int first,
                                          int patches, int channels, int channel, int thread) {
#pragma unroll
  for (int pass = 0; pass < 2; pass++) {
    int number = thread + pass * 256, row = number >> 2, chunk = number & 3;
    int patch = first + row;
    bool there = patch < patches;
    copy_16(to + place(row, chunk),
            from + (size_t)(there ? patch : 0) * channels + channel + chunk * CHUNK, there);
  }
}

extern "C" __global__ void __launch_bounds__(256, 2) fused_keys(
    const half_bits* __restrict__ frame,     // (P, C)
    const float* __restrict__ half_frame,    // |x|^2 / 2, and what keeps values from 0 up; both
    const int* __restrict__ frame_codes,     // filled up to a multiple of BLOCK with 0, NO_KEY
    const half_bits* __restrict__ bank,      // (slots, P, C), one slot for each blockIdx.y
    const float* __restrict__ half_bank,     // (slots, P) |y|^2 / 2
    const int* __restrict__ bank_codes,      // (slots, P)
    int patches, int channels, int mask,     // channels: a multiple of DEPTH
    int* __restrict__ row_keys,              // (slots, P), written
    int* __restrict__ column_keys) {         // (slots, P), lowered
  __shared__ __align__(16) half_bits left[STAGES][BLOCK * DEPTH];
  __shared__ __align__(16) half_bits right[STAGES][BLOCK * DEPTH];
  const int first = blockIdx.x * BLOCK;
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int warp_row = (warp >> 2) * 64, warp_column = (warp & 3) * 32;  // 64 x 32 for each warp
  const size_t base = (size_t)blockIdx.y * patches;
  const half_bits* held = bank + base * channels;
  const int depth_steps = channels / DEPTH;
  const int steps = depth_steps * ((patches + BLOCK - 1) / BLOCK);

  // this lane's 8 rows of the tile lie 8 apart, from here on
  const int own_row = warp_row + (lane >> 2);
  int least_of[8];
#pragma unroll
  for (int r = 0; r < 8; r++) least_of[r] = NO_KEY;

  auto copy = [&](int step) {
    if (step < steps) {
      int stage = step % STAGES, channel = (step % depth_steps) * DEPTH;
      copy_step(left[stage], frame, first, patches, channels, channel, thread);
      copy_step(right[stage], held, (step / depth_steps) * BLOCK, patches, channels, channel,
                thread);
    }
    close_copies();
  };
#pragma unroll
  for (int step = 0; step < STAGES - 1; step++) copy(step);

  float sum[4][4][4];  // [16 rows][8 columns][value of this lane]
  for (int step = 0; step < steps; step++) {
    if (step % depth_steps == 0) {
#pragma unroll
      for (int i = 0; i < 64; i++) sum[i >> 4][(i >> 2) & 3][i & 3] = 0.f;
    }
    await_copies<STAGES - 2>();
    __syncthreads();
    copy(step + STAGES - 1);
    const half_bits *rows = left[step % STAGES], *columns = right[step % STAGES];
#pragma unroll
    for (int half = 0; half < 2; half++) {  // 16 channels each
      unsigned a[4][4], b[2][4];
#pragma unroll
      for (int i = 0; i < 4; i++)
        load_matrices(a[i], rows + place(warp_row + i * 16 + (lane & 15), half * 2 + (lane >> 4)));
#pragma unroll
      for (int i = 0; i < 2; i++)
        load_matrices(b[i], columns + place(warp_column + i * 16 + (lane & 7) + ((lane >> 4) << 3),
                                            half * 2 + ((lane >> 3) & 1)));
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int n = 0; n < 4; n++)
          multiply_add(sum[i][n], a[i], b[n >> 1][(n & 1) * 2], b[n >> 1][(n & 1) * 2 + 1]);
    }
    if (step % depth_steps == depth_steps - 1) {  // the products of these 128 columns are whole
      int start = (step / depth_steps) * BLOCK + warp_column;
      float half_of[8];
      int code_of[8];
#pragma unroll
      for (int r = 0; r < 8; r++) {
        half_of[r] = read_late(half_frame + first + own_row + r * 8);
        code_of[r] = read_late(frame_codes + first + own_row + r * 8);
      }
#pragma unroll
      for (int n = 0; n < 4; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
          int column = start + n * 8 + (lane & 3) * 2 + c;
          float half_here = column < patches ? half_bank[base + column] : 0.f;
          int code = column < patches ? bank_codes[base + column] : NO_KEY;
          int least = NO_KEY;
#pragma unroll
          for (int r = 0; r < 8; r++) {
            float value = half_of[r] + (half_here - sum[r >> 1][n][(r & 1) * 2 + c]);
            least_of[r] = min(least_of[r], order_key(value, mask, code));
            least = min(least, order_key(value, mask, code_of[r]));
          }
#pragma unroll
          for (int distance = 4; distance < 32; distance *= 2)
            least = min(least, from_lane_across(least, distance));
          if (lane < 4 && column < patches) atomicMin(&column_keys[base + column], least);
        }
    }
  }

  await_copies<0>();
  __syncthreads();
  int* least_by_warp = (int*)left;  // [4][BLOCK]: the tiles are no longer needed
#pragma unroll
  for (int r = 0; r < 8; r++) {
    int least = least_of[r];
    least = min(least, from_lane_across(least, 1));
    least = min(least, from_lane_across(least, 2));
    if ((lane & 3) == 0) least_by_warp[(warp & 3) * BLOCK + own_row + r * 8] = least;
  }
  __syncthreads();
  if (thread < BLOCK && first + thread < patches) {
    int least = NO_KEY;
    for (int i = 0; i < 4; i++) least = min(least, least_by_warp[i * BLOCK + thread]);
    row_keys[base + first + thread] = least;
  }
}

// ---- tile_keys: a block takes STRIP rows of one slot's product and passes its columns ----

#define STRIP 32

extern "C" __global__ void __launch_bounds__(256) tile_keys(
    const float* __restrict__ tile,          // (slots, P, P): x.y
    const float* __restrict__ half_frame, const int* __restrict__ frame_codes,
    const float* __restrict__ half_bank, const int* __restrict__ bank_codes,
    int patches, int mask,
    int* __restrict__ row_keys, int* __restrict__ column_keys) {
  __shared__ int least_by_warp[8][STRIP];
  const int first = blockIdx.x * STRIP;
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const size_t base = (size_t)blockIdx.y * patches;
  const float* rows = tile + (base + first) * patches;
  const int count = min(STRIP, patches - first);

  int least_of[STRIP];
#pragma unroll
  for (int r = 0; r < STRIP; r++) least_of[r] = NO_KEY;
  for (int column = thread; column < patches; column += 256) {
    float half_here = half_bank[base + column];
    int code = bank_codes[base + column], least = NO_KEY;
#pragma unroll
    for (int r = 0; r < STRIP; r++)
      if (r < count) {
        float value = half_frame[first + r] + (half_here - rows[(size_t)r * patches + column]);
        least_of[r] = min(least_of[r], order_key(value, mask, code));
        least = min(least, order_key(value, mask, frame_codes[first + r]));
      }
    atomicMin(&column_keys[base + column], least);
  }
#pragma unroll
  for (int r = 0; r < STRIP; r++) {
    int least = least_of[r];
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2)
      least = min(least, from_lane_across(least, distance));
    if (lane == 0) least_by_warp[warp][r] = least;
  }
  __syncthreads();
  if (thread < count) {
    int least = NO_KEY;
    for (int i = 0; i < 8; i++) least = min(least, least_by_warp[i][thread]);
    row_keys[base + first + thread] = least;
  }
}

// ---- measure: a warp takes one patch of one slot, in one direction ----

extern "C" __global__ void __launch_bounds__(256) measure(
    const half_bits* __restrict__ frame, const half_bits* __restrict__ bank,  // (P, C), (slots, P, C)
    const int* __restrict__ keys,            // (slots, P)
    int slots, int patches, int channels, int mask,
    float margin,                            // what was added to keep values from 0 up
    float limit,                             // values under it are measured anew
    int to_frame,                            // 0: from the frame to the slots; 1: from the slots
    float* __restrict__ half_squared) {      // (slots, P)
  const int number = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (number >= slots * patches) return;     // whole warps
  const int slot = number / patches, patch = number - slot * patches, key = keys[number];
  float value = fmaxf(__int_as_float(key & mask) - margin, 0.f);
  if (key >= IGNORED) {
    value = __int_as_float(0x7f800000);      // inf: nobody there to match
  } else if (value < limit) {
    const size_t base = (size_t)slot * patches;
    const int named = key & ~mask;
    const half_bits* x = frame + (size_t)(to_frame ? named : patch) * channels;
    const half_bits* y = bank + (base + (to_frame ? patch : named)) * channels;
    float square = 0.f;
    for (int c = lane; c < channels; c += 32) {
      float difference = to_float(x[c]) - to_float(y[c]);
      square += difference * difference;
    }
    for (int distance = 1; distance < 32; distance *= 2)
      square += from_lane_across(square, distance);
    value = 0.5f * square;
  }
  if (lane == 0) half_squared[number] = value;
}

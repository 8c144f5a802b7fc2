// Match distances between a new frame and the slots of a bank (docs/algorithms.md).
//
// For frame rows x_i and bank rows y_j, value = |x|^2 / 2 + |y|^2 / 2 - x.y = |x - y|^2 / 2 in
// float32, with halves multiplied. Values are never negative, so their bits sort as they do. An
// order key is (bits & mask) | code: the code holds the patch's number in the bits that the mask
// clears, and IGNORED where nobody may match the patch, which puts it behind all others. The least
// key of a row, over the codes of the columns, names the row's match; the columns likewise.
//
// Two kernels: `fused_keys` multiplies and takes the minima in registers; `measure` turns keys into
// values, and measures near ones anew as |x - y|^2 / 2, since the difference of norms and product
// cancels there.
//
// A unit is one tile of one scale: its patches are matched among themselves. P counts the patches
// of all tiles of a frame, S the scales. Arrays hold all units:
//   frame (S of (P, C)), bank (S of (slots, P, C)), each scale with channels of its own;
//   norms and keys of a frame (S, P), of a bank (S, slots, P); codes of a frame (P).

#define IGNORED 0x7f000000
#define NO_KEY 0x7fffffff

// A row of the table of units, of 64-bit numbers.
#define UNIT 7
#define SCALE 0      // number of its scale
#define FRAME 1      // where the scale begins in `frame`, in halves
#define BANK 2       // and in `bank`
#define CHANNELS 3   // a multiple of DEPTH
#define FIRST 4      // its first patch among P
#define PATCHES 5    // how many it has
#define MASK 6       // bits of a key that hold the value

__device__ __forceinline__ int order_key(float value, int mask, int code) {
  return (__float_as_int(value) & mask) | code;
}

// ---- fused_keys: a block takes 128 rows of the frame and one slot, whose columns it passes ----

#define BLOCK 128   // rows and columns of a tile
#define DEPTH 32    // channels of one step
#define STAGES 3    // steps in shared memory: one in use, the others on their way
#define CHUNK 8     // halves in 16 bytes

// Where row `row`, 16-byte chunk `chunk` of a step lies. Chunks of neighbouring rows are turned
// against each other, so that the eight rows that ldmatrix reads at once lie in other banks. So the
// chunk after next lies where `^ 2 * CHUNK` leads, and rows 8 apart are turned alike.
__device__ __forceinline__ int place(int row, int chunk) {
  return row * DEPTH + ((chunk ^ ((row >> 1) & 3)) * CHUNK);
}

// Start to copy 16 bytes of each of two rows, 64 rows (`apart` halves in `from`) from each other;
// zeros where fewer rows are `left`.
__device__ __forceinline__ void copy_rows(half_bits* to, const half_bits* from, int apart,
                                          int left) {
  copy_16(to, from, left > 0);
  copy_16(to + 64 * DEPTH, from + (left > 64 ? apart : 0), left > 64);
}

// Multiply 64 rows by 32 columns over DEPTH channels; with WHOLE false only `row_parts` parts of 16
// rows, the same in a warp: no others have patches. Places are those that this lane reads first.
template <bool WHOLE>
__device__ __forceinline__ void multiply_step(float (&sum)[4][4][4], const half_bits* rows,
                                              const half_bits* columns, int row_place,
                                              int column_place, int row_parts) {
#pragma unroll
  for (int half = 0; half < 2; half++) {  // 16 channels each
    unsigned b[2][4];
#pragma unroll
    for (int i = 0; i < 2; i++)
      load_matrices(b[i], columns + (column_place ^ (half * 2 * CHUNK)) + i * 16 * DEPTH);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (!WHOLE && i >= row_parts) break;
      unsigned a[4];
      load_matrices(a, rows + (row_place ^ (half * 2 * CHUNK)) + i * 16 * DEPTH);
#pragma unroll
      for (int n = 0; n < 4; n++)
        multiply_add(sum[i][n], a, b[n >> 1][(n & 1) * 2], b[n >> 1][(n & 1) * 2 + 1]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(256, 2) fused_keys(
    const half_bits* __restrict__ frame, const float* __restrict__ half_frame,  // |x|^2 / 2
    const int* __restrict__ frame_codes,
    const half_bits* __restrict__ bank, const float* __restrict__ half_bank,    // |y|^2 / 2
    const int* __restrict__ bank_codes,
    const long long* __restrict__ units,     // one for each blockIdx.z
    const int* __restrict__ reachable,       // (slots), one slot for each blockIdx.y; 0: left out
    int slots, int total,                    // P of all tiles
    float margin,                            // keeps values from 0 up, whatever rounding does
    int* __restrict__ row_keys,              // written
    int* __restrict__ column_keys) {         // lowered
  __shared__ __align__(16) half_bits left[STAGES][BLOCK * DEPTH];
  __shared__ __align__(16) half_bits right[STAGES][BLOCK * DEPTH];
  const long long* unit = units + blockIdx.z * UNIT;
  const int patches = (int)unit[PATCHES], channels = (int)unit[CHANNELS], mask = (int)unit[MASK];
  const int first = blockIdx.x * BLOCK;
  if (first >= patches || !reachable[blockIdx.y]) return;  // whole blocks
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int warp_row = (warp >> 2) * 64, warp_column = (warp & 3) * 32;  // 64 x 32 for each warp
  const size_t base = ((size_t)unit[SCALE] * slots + blockIdx.y) * total + unit[FIRST];
  const half_bits* mine = frame + unit[FRAME] + unit[FIRST] * channels;
  const half_bits* held =
      bank + unit[BANK] + ((size_t)blockIdx.y * total + unit[FIRST]) * channels;

  // this lane's 8 rows of the tile lie 8 apart, from here on
  const int own_row = warp_row + (lane >> 2);
  int least_of[8];
#pragma unroll
  for (int r = 0; r < 8; r++) least_of[r] = NO_KEY;

  // this thread copies 16 bytes of two rows of each step, 64 apart
  const int copied_row = thread >> 2, copied_chunk = (thread & 3) * CHUNK;
  const int copied = place(copied_row, thread & 3), apart = 64 * channels;
  auto begin_of = [&](int row) { return min(row, patches - 1) * channels + copied_chunk; };
  int from_left = begin_of(first + copied_row), from_right = begin_of(copied_row);
  int ahead_stage = 0, ahead_channel = 0, ahead_first = 0;  // of the step that is copied next
  auto copy = [&]() {
    if (ahead_first < patches) {
      copy_rows(left[ahead_stage] + copied, mine + from_left, apart,
                patches - first - copied_row);
      copy_rows(right[ahead_stage] + copied, held + from_right, apart,
                patches - ahead_first - copied_row);
    }
    close_copies();
    ahead_stage = ahead_stage == STAGES - 1 ? 0 : ahead_stage + 1;
    ahead_channel += DEPTH;
    from_left += DEPTH;
    from_right += DEPTH;
    if (ahead_channel == channels) {
      ahead_channel = 0;
      ahead_first += BLOCK;
      from_left -= channels;
      from_right = begin_of(ahead_first + copied_row);
    }
  };
#pragma unroll
  for (int step = 0; step < STAGES - 1; step++) copy();

  // where this lane reads in a step, for the first 16 channels and rows or columns of its warp
  const int row_place = place(warp_row + (lane & 15), lane >> 4);
  const int column_place =
      place(warp_column + (lane & 7) + ((lane >> 4) << 3), (lane >> 3) & 1);
  // 16-row parts of this warp that have patches
  const int row_parts = min(max((patches - first - warp_row + 15) / 16, 0), 4);
  float sum[4][4][4];  // [16 rows][8 columns][value of this lane]
  for (int start = 0, stage = 0; start < patches; start += BLOCK) {
    // rows that the warp has to multiply here: none where its columns have no patch
    const int parts = start + warp_column < patches ? row_parts : 0;
#pragma unroll
    for (int i = 0; i < 64; i++) sum[i >> 4][(i >> 2) & 3][i & 3] = 0.f;
#pragma unroll 1
    for (int channel = 0; channel < channels; channel += DEPTH) {
      await_copies<STAGES - 2>();
      __syncthreads();
      copy();
      const half_bits *rows = left[stage], *columns = right[stage];
      stage = stage == STAGES - 1 ? 0 : stage + 1;
      if (parts == 4)
        multiply_step<true>(sum, rows, columns, row_place, column_place, 4);
      else
        multiply_step<false>(sum, rows, columns, row_place, column_place, parts);
    }
    // the products of these columns are whole
    // read again: they shall take no register in the loop
    const int late_first = (int)read_late(unit + FIRST), scale = (int)read_late(unit + SCALE);
    const float* half_mine = half_frame + (size_t)scale * total + late_first;
    const int* codes_mine = frame_codes + late_first;
    float half_of[8];
    int code_of[8];
#pragma unroll
    for (int r = 0; r < 8; r++) {
      int row = first + own_row + r * 8;
      half_of[r] = row < patches ? read_late(half_mine + row) + margin : 0.f;
      code_of[r] = row < patches ? read_late(codes_mine + row) : NO_KEY;
    }
#pragma unroll
    for (int n = 0; n < 4; n++)
#pragma unroll
      for (int c = 0; c < 2; c++) {
        int column = start + warp_column + n * 8 + (lane & 3) * 2 + c;
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

// ---- measure: a warp takes one patch of one slot and unit, in one direction ----

extern "C" __global__ void __launch_bounds__(256) measure(
    const half_bits* __restrict__ frame, const half_bits* __restrict__ bank,
    const int* __restrict__ row_keys, const int* __restrict__ column_keys,
    const long long* __restrict__ units,     // one for each blockIdx.y
    const int* __restrict__ reachable,       // (slots)
    const int* __restrict__ absent,          // (P): patches of the frame at 0 from all frames
    int slots, int total, float margin,
    float limit,                             // values under it are measured anew
    float* __restrict__ to_slots,            // (S, slots, P), where blockIdx.z is 0
    float* __restrict__ from_slots) {        // where it is 1
  const long long* unit = units + blockIdx.y * UNIT;
  const int patches = (int)unit[PATCHES], channels = (int)unit[CHANNELS], mask = (int)unit[MASK];
  const int number = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (number >= slots * patches) return;     // whole warps
  const bool backward = blockIdx.z != 0;
  const int slot = number / patches, patch = number - slot * patches;
  const size_t base = ((size_t)unit[SCALE] * slots + slot) * total + unit[FIRST];
  const int key = !reachable[slot] ? NO_KEY : (backward ? column_keys : row_keys)[base + patch];
  // half of what the mask has cut off goes back on
  float value = fmaxf(__int_as_float((key & mask) | ((~mask + 1) >> 1)) - margin, 0.f);
  if (key >= IGNORED) {
    value = __int_as_float(0x7f800000);      // inf: nobody there to match
  } else if (!backward && absent[unit[FIRST] + patch]) {
    value = 0.f;
  } else if (value < limit) {
    const int named = key & ~mask;
    const half_bits* x =
        frame + unit[FRAME] + (size_t)(unit[FIRST] + (backward ? named : patch)) * channels;
    const half_bits* y =
        bank + unit[BANK] +
        ((size_t)slot * total + unit[FIRST] + (backward ? patch : named)) * channels;
    float square = 0.f;
    for (int c = lane; c < channels; c += 32) {
      float difference = to_float(x[c]) - to_float(y[c]);
      square += difference * difference;
    }
    for (int distance = 1; distance < 32; distance *= 2)
      square += from_lane_across(square, distance);
    value = 0.5f * square;
  }
  if (lane == 0) (backward ? from_slots : to_slots)[base + patch] = value;
}

// What a frame of a line needs beside its matches: features from tokens, how far it is from recent
// frames, and scores from distances (docs/algorithms.md). Arrays and units are as in matching.cu.

#define SHARES 32        // blocks that add up the tokens of one tile
#define INFINITE 0x7f800000

// Add up over a block of WARPS warps; all threads get the sum. `parts`: room for WARPS numbers.
template <int WARPS, class Number>
__device__ __forceinline__ Number block_sum(Number value, Number* parts) {
  for (int distance = 1; distance < 32; distance *= 2)
    value += from_lane_across(value, distance);
  if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = value;
  __syncthreads();
  Number sum = 0;
  for (int warp = 0; warp < WARPS; warp++) sum += parts[warp];
  __syncthreads();
  return sum;
}

// ---- token_sums: each block adds up a share of the tokens of a tile, which is blockIdx.y ----

extern "C" __global__ void __launch_bounds__(256) token_sums(
    const float* __restrict__ tokens,        // (tiles, size)
    long long size,                          // patches and channels of a tile
    double* __restrict__ sums) {             // (tiles, SHARES)
  __shared__ double parts[8];
  const float* mine = tokens + blockIdx.y * size;
  double sum = 0;
  for (long long i = blockIdx.x * 256 + threadIdx.x; i < size; i += SHARES * 256) sum += mine[i];
  sum = block_sum<8>(sum, parts);
  if (threadIdx.x == 0) sums[blockIdx.y * SHARES + blockIdx.x] = sum;
}

// ---- aggregate: LNAMD of one layer; a block takes one patch, in all degrees ----

extern "C" __global__ void __launch_bounds__(128, 8) aggregate(
    const float* __restrict__ tokens,        // (tiles, side * side, channels)
    const double* __restrict__ sums,         // (tiles, SHARES), from token_sums
    const int* __restrict__ counted,         // (total): the patches that count, of all tiles
    const int* __restrict__ degrees, int count,
    int fused,                               // one row for all degrees: their sum, of unit length
    int side, int channels,
    int depth,                               // channels filled up with zeros
    int total,
    half_bits* __restrict__ features,        // (degrees, total, depth), or (1, ...) where fused
    float* __restrict__ half_norms) {        // (degrees, total): |x|^2 / 2 of the rounded rows
  __shared__ double parts[4];
  __shared__ float float_parts[4];
  float* row = shared_floats();              // (channels); and as many for the sum where fused
  float* whole = row + channels;
  const int patch = counted[blockIdx.x], area = side * side;
  const int tile = patch / area, y = patch % area / side, x = patch % side;
  const float* mine = tokens + (size_t)tile * area * channels;
  double sum = 0;
  for (int share = 0; share < SHARES; share++) sum += sums[tile * SHARES + share];
  const float mean = (float)(sum / ((double)area * channels));

  for (int degree = 0; degree < count; degree++) {
    const int radius = degrees[degree] / 2;
    const int top = max(y - radius, 0), bottom = min(y + radius, side - 1);
    const int start = max(x - radius, 0), stop = min(x + radius, side - 1);
    double square = 0;                       // of a large or tiny token it leaves float32
    for (int c = threadIdx.x; c < channels; c += 128) {
      float value = 0;
      for (int v = top; v <= bottom; v++)
        for (int u = start; u <= stop; u++)
          value += mine[(size_t)(v * side + u) * channels + c] - mean;
      row[c] = value;
      square += (double)value * value;
    }
    float norm = (float)sqrt(block_sum<4>(square, parts));
    if (!(norm > 0)) norm = 1;
    if (fused) {                             // a thread comes back to its own channels
      for (int c = threadIdx.x; c < channels; c += 128)
        whole[c] = row[c] / norm + (degree ? whole[c] : 0.f);
      if (degree < count - 1) continue;
      float squares = 0;
      for (int c = threadIdx.x; c < channels; c += 128) {
        row[c] = whole[c];
        squares += whole[c] * whole[c];
      }
      norm = sqrtf(block_sum<4>(squares, float_parts));
      if (!(norm > 0)) norm = 1;
    }
    const size_t place = (size_t)(fused ? 0 : degree) * total + blockIdx.x;
    float rounded = 0;
    for (int c = threadIdx.x; c < depth; c += 128) {
      half_bits bits = to_half(c < channels ? row[c] / norm : 0.f);
      features[place * depth + c] = bits;
      rounded += to_float(bits) * to_float(bits);
    }
    rounded = block_sum<4>(rounded, float_parts);
    if (threadIdx.x == 0) half_norms[place] = rounded / 2;
  }
}

// ---- place_distances: a warp takes a patch and the same place of one frame of the bank ----

extern "C" __global__ void __launch_bounds__(256) place_distances(
    const half_bits* __restrict__ frame, const half_bits* __restrict__ bank,
    const long long* __restrict__ units, int apart,  // units from one scale to the next
    int scales, int total,
    const int* __restrict__ places,          // slots, one for each blockIdx.y
    float* __restrict__ distances) {         // (places, total): mean over scales
  const int patch = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (patch >= total) return;                // whole warps
  float mean = 0;
  for (int scale = 0; scale < scales; scale++) {
    const long long* unit = units + scale * apart * UNIT;
    const int channels = (int)unit[CHANNELS];
    const half_bits* x = frame + unit[FRAME] + (size_t)patch * channels;
    const half_bits* y =
        bank + unit[BANK] + ((size_t)places[blockIdx.y] * total + patch) * channels;
    float square = 0;
    for (int c = lane; c < channels; c += 32) {
      float difference = to_float(x[c]) - to_float(y[c]);
      square += difference * difference;
    }
    for (int distance = 1; distance < 32; distance *= 2)
      square += from_lane_across(square, distance);
    mean += sqrtf(square);
  }
  if (lane == 0) distances[(size_t)blockIdx.y * total + patch] = mean / scales;
}

// ---- scores: interval averages; a block takes some patches of one job, a warp one at a time ----

// The `rank`-th least, from 1, of `count` values from 0 up: bit by bit the largest number under
// which fewer lie, since such floats sort as their bits do.
__device__ __forceinline__ int least_bits(const float* values, int count, int rank, int lane) {
  int found = 0;
  for (int bit = 30; bit >= 0; bit--) {
    int tried = found | (1 << bit), under = 0;
    for (int first = 0; first < count; first += 32)
      under += votes(first + lane < count && __float_as_int(values[first + lane]) < tried);
    if (under < rank) found = tried;
  }
  return found;
}

// The sum of the distances of the `rank` least values d^2 / 2.
__device__ __forceinline__ float least_sum(const float* values, int count, int rank, int lane) {
  if (rank == 0) return 0;
  const int bits = least_bits(values, count, rank, lane);
  float sum = 0;
  int under = 0;
  for (int first = 0; first < count; first += 32) {
    bool less = first + lane < count && __float_as_int(values[first + lane]) < bits;
    under += votes(less);
    if (less) sum += sqrtf(2 * values[first + lane]);
  }
  for (int distance = 1; distance < 32; distance *= 2) sum += from_lane_across(sum, distance);
  return sum + (rank - under) * sqrtf(2 * __int_as_float(bits));
}

extern "C" __global__ void __launch_bounds__(256) scores(
    const float* __restrict__ half_squared,
    const long long* __restrict__ rows,      // where each job's (slots, total) of a scale begins
    long long apart,                         // from one scale to the next
    int scales, int slots, int total,
    const int* __restrict__ left_out,        // (jobs, slots): 1 where a slot does not count
    const int* __restrict__ bounds,          // (slots + 1, 2): ranks averaged of so many values
    int width,                               // patches of a block: at most 32
    float* __restrict__ means) {             // (jobs, total); NaN where a patch has no match
  float* room = shared_floats();             // (width, slots, filled up to an odd number)
  const int stride = slots | 1, first = blockIdx.x * width;
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const float* mine = half_squared + rows[blockIdx.y];
  const int* out = left_out + blockIdx.y * slots;
  float mean[4] = {0.f, 0.f, 0.f, 0.f};
  for (int scale = 0; scale < scales; scale++) {
    for (int number = thread; number < width * slots; number += 256) {
      int patch = number % width, slot = number / width;
      bool there = first + patch < total && !out[slot];
      float value = there ? mine[(size_t)scale * apart + (size_t)slot * total + first + patch]
                          : __int_as_float(INFINITE);
      room[patch * stride + slot] = fmaxf(value, 0.f);
    }
    __syncthreads();
#pragma unroll
    for (int turn = 0; turn < 4; turn++) {
      int patch = warp + turn * 8;
      if (patch < width && first + patch < total) {  // whole warps
        const float* values = room + patch * stride;
        int count = 0;
        for (int slot = 0; slot < slots; slot += 32)
          count += votes(slot + lane < slots && __float_as_int(values[slot + lane]) < INFINITE);
        int low = bounds[2 * count], high = bounds[2 * count + 1];
        float sum = least_sum(values, slots, high, lane) - least_sum(values, slots, low, lane);
        mean[turn] += count ? sum / (high - low) : __int_as_float(0x7fffffff);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int turn = 0; turn < 4; turn++) {
    int patch = warp + turn * 8;
    if (patch < width && first + patch < total && lane == 0)
      means[(size_t)blockIdx.y * total + first + patch] = mean[turn] / scales;
  }
}

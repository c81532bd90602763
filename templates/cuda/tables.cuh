// Tables of rows in the encodings that a model file has them in: embeddings, and the head's general form.
#pragma once

#include "cuda.h"
#include "primitives.cuh"
#include "rows.cuh"

template <int Columns>
struct F32Table {
  static constexpr int64_t row_bytes = 4 * int64_t{Columns};
  static __device__ __forceinline__ float value(const uint8_t *table, int64_t at, int i) {
    const uint8_t *row = table + at * row_bytes;
    return reinterpret_cast<const float *>(row)[i];
  }
};

template <int Columns>
struct F16Table {
  static constexpr int64_t row_bytes = 2 * int64_t{Columns};
  static __device__ __forceinline__ float value(const uint8_t *table, int64_t at, int i) {
    const uint8_t *row = table + at * row_bytes;
    return to_float(reinterpret_cast<const Half *>(row)[i]);
  }
};

template <int Columns>
struct Bf16Table {
  static constexpr int64_t row_bytes = 2 * int64_t{Columns};
  static __device__ __forceinline__ float value(const uint8_t *table, int64_t at, int i) {
    const uint8_t *row = table + at * row_bytes;
    return __uint_as_float(static_cast<uint32_t>(reinterpret_cast<const uint16_t *>(row)[i]) << 16);
  }
};

// Blocks of 32 int8 in 34 bytes, the float16 scale first.
template <int Columns>
struct Q8_0Table {
  static constexpr int64_t row_bytes = Columns / 32 * 34;
  static __device__ __forceinline__ float value(const uint8_t *table, int64_t at, int i) {
    const uint8_t *row = table + at * row_bytes;
    const uint8_t *block = row + i / 32 * 34;
    return static_cast<int8_t>(block[2 + i % 32]) * half_at(block);
  }
};

// Blocks of 32 in 18 bytes, the float16 scale first; value i is the low half of byte i, value 16 + i the high half, each
// less 8.
template <int Columns>
struct Q4_0Table {
  static constexpr int64_t row_bytes = Columns / 32 * 18;
  static __device__ __forceinline__ float value(const uint8_t *table, int64_t at, int i) {
    const uint8_t *row = table + at * row_bytes;
    const uint8_t *block = row + i / 32 * 18;
    const int code = block[2 + i % 16] >> (i % 32 / 16 * 4) & 15;
    return (code - 8) * half_at(block);
  }
};

// Blocks of 256 in 210 bytes: 128 bytes of low halves, 64 bytes of upper bit pairs, 16 int8 scales, one float16 scale.
// Each half of 128 values takes its four quarters of 32 from the low and high halves of 64 bytes, and bit pair 2q of 32
// bytes; values are less 32.
template <int Columns>
struct Q6_KTable {
  static constexpr int64_t row_bytes = Columns / 256 * 210;
  static __device__ __forceinline__ float value(const uint8_t *table, int64_t at, int i) {
    const uint8_t *row = table + at * row_bytes;
    const uint8_t *block = row + i / 256 * 210;
    const int half = i % 256 / 128, quarter = i % 128 / 32, lane = i % 32;
    const int low = block[half * 64 + quarter % 2 * 32 + lane] >> (quarter / 2 * 4) & 15;
    const int high = block[128 + half * 32 + lane] >> (2 * quarter) & 3;
    const float scale = half_at(block + 208) * static_cast<int8_t>(block[192 + i % 256 / 16]);
    return ((low | high << 4) - 32) * scale;
  }
};

// logits[t][row] = head[row] . hidden[t] for the S::batch tokens of block y; a warp for each of its rows.
template <class S>
__device__ __forceinline__ void head(const bn_cuda_args &args) {
  let_next_begin();
  wait_for_inputs();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = blockIdx.y * S::batch;
  const int tokens = min(S::batch, args.logits_count - first);
  const float *hidden = buffer<const float>(args, S::hidden) + int64_t{first} * S::stride;
  for (int row = blockIdx.x * (blockDim.x / 32) + warp; row < S::rows; row += gridDim.x * (blockDim.x / 32)) {
    float sum[S::batch] = {};
    for (int i = lane; i < S::size; i += 32) {
      const float value = S::Table::value(args.weights + S::table, row, i);
#pragma unroll
      for (int t = 0; t < S::batch; ++t) {
        if (t < tokens) sum[t] = fmaf(value, __ldcg(hidden + int64_t{t} * S::stride + i), sum[t]);
      }
    }
#pragma unroll
    for (int t = 0; t < S::batch; ++t) {
      const float total = warp_sum(sum[t]);
      if (lane == 0 && t < tokens) args.logits[int64_t{first + t} * S::rows + row] = total;
    }
  }
}

// best[t] = the id of the largest logit of row t, of equals the lowest
template <class S>
__device__ __forceinline__ void choose(const bn_cuda_args &args) {
  __shared__ unsigned long long shared[32];
  let_next_begin();
  wait_for_inputs();
  const float *row = args.logits + int64_t{blockIdx.y} * S::rows;
  unsigned long long best = 0;
#pragma unroll 8
  for (int id = threadIdx.x; id < args.choices; id += 1024) best = max(best, candidate(__ldcg(row + id), id));
#pragma unroll
  for (int d = 16; d; d /= 2) best = max(best, __shfl_xor_sync(~0u, best, d));
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < blockDim.x / 32; ++i) best = max(best, shared[i]);
  answer(args, blockIdx.y, id_of(best));
}

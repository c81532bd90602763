// Rotary positions, the KV cache and causal grouped-query attention, for heads of any size.
//
// The cache of a sequence: [layer][KV head][keys, values][position][dimension], of S::Cell: float16 or float32.
#pragma once

#include "cuda.h"
#include "primitives.cuh"
#include "rows.cuh"

// Keys of a layer and head of a sequence; its values lie S::dim * capacity behind them.
template <class S>
__device__ __forceinline__ typename S::Cell *keys_of(const bn_cuda_args &args, int layer, int sequence, int head) {
  auto *base = reinterpret_cast<typename S::Cell *>(args.kv + sequence * args.kv_sequence_bytes);
  return base + (int64_t{layer} * S::kv_heads + head) * 2 * args.kv_capacity * S::dim;
}

// The cosine and sine of every position and rotating pair, in double precision, rounded.
__device__ __forceinline__ void fill_angles(float2 *table, const double *frequencies, int pairs, int positions) {
  const int total = positions * pairs, step = gridDim.x * blockDim.x;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
    const double angle = (i / pairs) * frequencies[i % pairs];
    table[i] = {static_cast<float>(cos(angle)), static_cast<float>(sin(angle))};
  }
}

// Norms queries and keys (where the model does), rotates them, and puts keys and values into the cache: a warp a head.
template <class S>
__device__ __forceinline__ void rope_store(const bn_cuda_args &args, const uint8_t *layer_weights, int layer) {
  constexpr int kPer = (S::dim + 31) / 32, kWarps = 4;
  __shared__ float rows[kWarps][S::dim];
  let_next_begin();
  wait_for_inputs();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const bn_token token = token_at(args, blockIdx.y);
  float *qkv = buffer<float>(args, S::qkv) + int64_t{blockIdx.y} * S::stride;
  const float2 *angles = reinterpret_cast<const float2 *>(args.tables + (S::local(layer) ? S::local_angles : S::angles)) +
                         int64_t{token.position} * (S::rotated / 2);
  for (int item = blockIdx.x * kWarps + warp; item < S::heads + 2 * S::kv_heads; item += gridDim.x * kWarps) {
    const bool query = item < S::heads, key = !query && item < S::heads + S::kv_heads;
    const int head = query ? item : (item - S::heads) % S::kv_heads;
    float *from = qkv + (query ? 0 : key ? S::key : S::value) + head * S::dim;
    float *row = rows[warp];
    float v[kPer];
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      v[i] = lane + 32 * i < S::dim ? __ldcg(from + lane + 32 * i) : 0.0f;
      if (lane + 32 * i < S::dim) row[lane + 32 * i] = v[i];
    }
    __syncwarp();
    if constexpr (S::query_norm >= 0) sum = squares_in_lanes<S::dim>(row);
    __syncwarp();
    if constexpr (S::query_norm >= 0) {
      if (query || key) {
        const float r = 1.0f / sqrtf(sum / S::dim + S::epsilon);
        const float *weight = reinterpret_cast<const float *>(layer_weights + (query ? S::query_norm : S::key_norm));
#pragma unroll
        for (int i = 0; i < kPer; ++i) {
          if (lane + 32 * i < S::dim) v[i] = v[i] * r * weight[lane + 32 * i];
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      if (lane + 32 * i < S::dim) row[lane + 32 * i] = v[i];
    }
    __syncwarp();
    if (query || key) {
      for (int pair = lane; pair < S::rotated / 2; pair += 32) {
        const int a = S::interleaved ? 2 * pair : pair, b = S::interleaved ? 2 * pair + 1 : pair + S::rotated / 2;
        const float2 angle = angles[pair];
        const float x = row[a], y = row[b];
        row[a] = __fsub_rn(__fmul_rn(x, angle.x), __fmul_rn(y, angle.y));
        row[b] = __fadd_rn(__fmul_rn(y, angle.x), __fmul_rn(x, angle.y));
      }
      __syncwarp();
    }
    auto *cache = keys_of<S>(args, layer, token.sequence, head) + (key ? 0 : int64_t{args.kv_capacity} * S::dim) +
                    int64_t{token.position} * S::dim;
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int d = lane + 32 * i;
      if (d >= S::dim) continue;
      if (query) from[d] = row[d];
      else store_value(cache + d, row[d]);
    }
    __syncwarp();
  }
}

// Attention of one token for the queries that share a KV head, 128 positions at a time: a thread scores a position, then
// a warp weighs a query's scores, then a thread sums a dimension. Float32, whatever the cache is.
template <class S>
__device__ __forceinline__ void attend(const bn_cuda_args &args, int layer, int t, int head) {
  constexpr int kThreads = 128, kGroup = S::heads / S::kv_heads, kPer = (S::dim + kThreads - 1) / kThreads;
  __shared__ float query[kGroup][S::dim];
  __shared__ float weight[kGroup][kThreads];
  __shared__ float factor[kGroup], total[kGroup], top[kGroup];
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
  const bn_token token = token_at(args, t);
  const float *qkv = buffer<const float>(args, S::qkv) + int64_t{t} * S::stride;
  const auto *keys = keys_of<S>(args, layer, token.sequence, head), *values = keys + int64_t{args.kv_capacity} * S::dim;
  for (int i = tid; i < kGroup * S::dim; i += kThreads) query[i / S::dim][i % S::dim] = __ldcg(qkv + head * kGroup * S::dim + i);
  if (tid < kGroup) total[tid] = 0, top[tid] = -infinity();
  float sum[kGroup][kPer] = {};
  const int window = S::window(layer), length = token.position + 1, begin = length > window ? length - window : 0;
  for (int first = begin; first < length; first += kThreads) {
    __syncthreads();
    float score[kGroup] = {};
    if (first + tid < length) {
      const auto *key = keys + int64_t{first + tid} * S::dim;
      for (int d = 0; d < S::dim; d += 2) {
        const float2 k = load_pair(key + d);
#pragma unroll
        for (int q = 0; q < kGroup; ++q) score[q] = fmaf(query[q][d + 1], k.y, fmaf(query[q][d], k.x, score[q]));
      }
    }
#pragma unroll
    for (int q = 0; q < kGroup; ++q) weight[q][tid] = first + tid < length ? score[q] * S::scale : -infinity();
    __syncthreads();
    for (int q = warp; q < kGroup; q += kThreads / 32) {
      float most = top[q];
#pragma unroll
      for (int i = lane; i < kThreads; i += 32) most = fmaxf(most, weight[q][i]);
#pragma unroll
      for (int d = 16; d; d /= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, d));
      float part = 0;
#pragma unroll
      for (int i = lane; i < kThreads; i += 32) part += weight[q][i] = expf(weight[q][i] - most);
      part = warp_sum(part);
      if (lane == 0) {
        factor[q] = expf(top[q] - most);
        total[q] = total[q] * factor[q] + part;
        top[q] = most;
      }
    }
    __syncthreads();
    const int count = min(kThreads, length - first);
#pragma unroll
    for (int p = 0; p < kPer; ++p) {
      const int d = tid + p * kThreads;
      if (d >= S::dim) continue;
#pragma unroll
      for (int q = 0; q < kGroup; ++q) sum[q][p] *= factor[q];
      for (int i = 0; i < count; ++i) {
        const float value = load_value(values + int64_t{first + i} * S::dim + d);
#pragma unroll
        for (int q = 0; q < kGroup; ++q) sum[q][p] = fmaf(weight[q][i], value, sum[q][p]);
      }
    }
  }
  __syncthreads();
  float *out = own_row<S>(args, t) + head * kGroup * S::dim;
#pragma unroll
  for (int p = 0; p < kPer; ++p) {
    const int d = tid + p * kThreads;
    if (d >= S::dim) continue;
#pragma unroll
    for (int q = 0; q < kGroup; ++q) out[q * S::dim + d] = sum[q][p] / total[q];
  }
}

// Whether all scores of a query group fit shared memory: then they are weighed as the CPU does.
template <class S>
constexpr int kScoreBytes = S::heads / S::kv_heads * ((S::context + 15) / 16 * 16) * 4;
template <class S>
constexpr bool kScoresFit = kScoreBytes<S> <= 40 << 10;

// The same with all scores at hand, and every sum in the CPU's order.
template <class S>
__device__ __forceinline__ void attend_exactly(const bn_cuda_args &args, int layer, int t, int head) {
  constexpr int kThreads = 128, kGroup = S::heads / S::kv_heads, kLength = (S::context + 15) / 16 * 16;
  __shared__ float query[kGroup][S::dim];
  float(*score)[kLength] = reinterpret_cast<float(*)[kLength]>(dynamic_shared);
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
  const bn_token token = token_at(args, t);
  const float *qkv = buffer<const float>(args, S::qkv) + int64_t{t} * S::stride;
  const auto *keys = keys_of<S>(args, layer, token.sequence, head), *values = keys + int64_t{args.kv_capacity} * S::dim;
  for (int i = tid; i < kGroup * S::dim; i += kThreads) {
    query[i / S::dim][i % S::dim] = __ldcg(qkv + head * kGroup * S::dim + i);
  }
  __syncthreads();
  const int window = S::window(layer), length = token.position + 1, first = length > window ? length - window : 0;
  const int begin = first / 16 * 16, end = (length + 15) / 16 * 16;
  for (int p = begin + tid; p < end; p += kThreads) {
    float sum[kGroup] = {};
    const bool inside = p >= first && p < length;
    const auto *key = keys + int64_t{p} * S::dim;
    for (int d = 0; inside && d < S::dim; d += 2) {
      const float2 k = load_pair(key + d);
#pragma unroll
      for (int q = 0; q < kGroup; ++q) sum[q] = fmaf(query[q][d + 1], k.y, fmaf(query[q][d], k.x, sum[q]));
    }
#pragma unroll
    for (int q = 0; q < kGroup; ++q) score[q][p - begin] = inside ? __fmul_rn(sum[q], S::scale) : -infinity();
  }
  __syncthreads();
  for (int q = warp; q < kGroup; q += kThreads / 32) {
    float top = -infinity();
    for (int i = lane; i < end - begin; i += 32) top = fmaxf(top, score[q][i]);
#pragma unroll
    for (int d = 16; d; d /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, d));
    for (int i = lane; i < end - begin; i += 32) {
      const bool inside = begin + i >= first && begin + i < length;
      score[q][i] = inside ? exp_as_cpu(score[q][i] - top) : 0.0f;
    }
    __syncwarp();
    float total = 0;
    for (int i = lane % 16; i < end - begin; i += 16) total += score[q][i];
    const float scale = 1.0f / fold_lanes(total);
    for (int i = lane; i < end - begin; i += 32) score[q][i] *= scale;
  }
  __syncthreads();
  float *out = own_row<S>(args, t) + head * kGroup * S::dim;
  for (int d = tid; d < S::dim; d += kThreads) {
    float sum[kGroup] = {};
    for (int p = begin; p < length; ++p) {
      const float value = load_value(values + int64_t{p} * S::dim + d);
#pragma unroll
      for (int q = 0; q < kGroup; ++q) sum[q] = fmaf(score[q][p - begin], value, sum[q]);
    }
#pragma unroll
    for (int q = 0; q < kGroup; ++q) out[q * S::dim + d] = sum[q];
  }
}

// Every token by itself.
template <class S>
__device__ __forceinline__ void attention(const bn_cuda_args &args, int layer) {
  let_next_begin();
  wait_for_inputs();
  if constexpr (kScoresFit<S>) {
    attend_exactly<S>(args, layer, blockIdx.y, blockIdx.x);
  } else {
    attend<S>(args, layer, blockIdx.y, blockIdx.x);
  }
}

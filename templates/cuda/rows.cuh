// Work on the rows of tokens: embedding, norms, quantisation, gates.
//
// Quantised activations lie as tiles of 128 tokens x 128 columns, 16384 bytes: row r (a token), 16-byte chunk c at
// 128 r + 16 (c ^ (r & 7)). ldmatrix reads that without bank conflicts, wgmma calls it the 128-byte swizzle, and a tile is
// one contiguous copy. Columns beyond the end are zero.
#pragma once

#include "cuda.h"
#include "primitives.cuh"
#include "text.cuh"

constexpr int kTileBytes = 16384;

__device__ __forceinline__ size_t tile_offset(int token, int column, int columns) {
  return (static_cast<size_t>(token / 128) * (columns / 128) + column / 128) * kTileBytes + (token % 128) * 128 +
         ((column % 128 / 16) ^ (token & 7)) * 16 + column % 16;
}

// The end of a step: the id of the token after a row of logits.
__device__ __forceinline__ void answer(const bn_cuda_args &args, int row, int id) {
  args.best[row] = id;
  if (!args.follow) return;
  args.tokens[row].id = max(id, 0);
  args.tokens[row].position += 1;
}

template <class T>
__device__ __forceinline__ T *buffer(const bn_cuda_args &args, int64_t offset) {
  return reinterpret_cast<T *>(args.workspace + offset);
}

// Where value i of token t is in rows of S that several GPUs share: [gpu][token][part], gathered part by part.
template <class S>
__device__ __forceinline__ int64_t value_offset(const bn_cuda_args &args, int t, int i) {
  if constexpr (S::parts == 1) {
    return int64_t{t} * S::stride + i;
  } else {
    constexpr int kPart = S::size / S::parts;
    return (int64_t{i / kPart} * args.token_count + t) * S::stride + i % kPart;
  }
}

// The part of token t's row of results that this GPU writes.
template <class S>
__device__ __forceinline__ float *own_row(const bn_cuda_args &args, int t) {
  const int64_t rows = S::out_parts == 1 ? t : int64_t{args.gpu} * args.token_count + t;
  return buffer<float>(args, S::out) + rows * S::out_stride;
}

enum class Activation { none, relu2, silu, gelu };

// activation(gate) * up
template <Activation A>
__device__ __forceinline__ float gated(float gate, float up) {
  if constexpr (A == Activation::relu2) {
    const float positive = fmaxf(gate, 0.0f);
    return positive * positive * up;
  } else if constexpr (A == Activation::silu) {
    return gate / (1.0f + exp_as_cpu(0.0f - gate)) * up;
  } else {
    // GELU by tanh, since (1 + tanh u) / 2 = 1 / (1 + e^(-2 u))
    const float inner = fmaf(gate * gate * gate, 0.044715f, gate);
    return gate / (1.0f + exp_as_cpu(inner * -1.59576912f)) * up;
  }
}

// Of what an earlier launch wrote: not from a multiprocessor's own cache, which may hold what was there before.
__device__ __forceinline__ float4 load4(const float *p) { return __ldcg(reinterpret_cast<const float4 *>(p)); }

__device__ __forceinline__ bn_token token_at(const bn_cuda_args &args, int t) {
  const int *p = reinterpret_cast<const int *>(args.tokens + t);
  return {__ldcg(p), __ldcg(p + 1), __ldcg(p + 2), __ldcg(p + 3), __ldcg(p + 4)};
}

// Four values of a row from column i on, which are at `p`; those at `Size` and beyond are zero.
template <int Size>
__device__ __forceinline__ float4 load_within(const float *p, int i) {
  float4 v = load4(p);
  if constexpr (Size % 4 != 0) {
    if (i + 1 >= Size) v.y = 0;
    if (i + 2 >= Size) v.z = 0;
    if (i + 3 >= Size) v.w = 0;
  }
  return v;
}

__device__ __forceinline__ float squares(const float4 &v) {
  return fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, v.w * v.w)));
}
__device__ __forceinline__ float largest(const float4 &v) {
  return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
}
__device__ __forceinline__ float4 scaled(const float4 &v, float r, const float4 &w) {
  return {v.x * r * w.x, v.y * r * w.y, v.z * r * w.z, v.w * r * w.w};
}

// Rows of which squares are added up in the CPU's order.
template <int Size>
constexpr bool kShort = Size <= 2048;

// The sum of a short row's squares in the CPU's order; every warp for itself.
template <int Size>
__device__ __forceinline__ float squares_in_lanes(const float *row) {
  float sum = 0;
#pragma unroll 8
  for (int i = threadIdx.x % 16; i < Size; i += 16) sum = fmaf(row[i], row[i], sum);
  return fold_lanes(sum);
}

// What a block does to one row of S::size values, four columns a thread at a time: S::threads threads.
template <class S>
struct Row {
  static constexpr int kQuads = (S::size + 3) / 4, kPer = (kQuads + S::threads - 1) / S::threads;
  float4 v[kPer];

  // v = RMS norm of v times the weights
  __device__ void norm(const float *weight) {
    float sum = 0;
    if constexpr (kShort<S::size>) {
      __shared__ float4 row[kQuads];
#pragma unroll
      for (int i = 0; i < kPer; ++i) {
        const int quad = threadIdx.x + i * S::threads;
        if (quad < kQuads) row[quad] = v[i];
      }
      __syncthreads();
      sum = squares_in_lanes<S::size>(reinterpret_cast<const float *>(row));
    } else {
      __shared__ float shared[S::threads / 32];
#pragma unroll
      for (int i = 0; i < kPer; ++i) sum += squares(v[i]);
      sum = block_sum<S::threads>(sum, shared);
    }
    const float r = 1.0f / sqrtf(sum / S::size + S::epsilon);
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int quad = threadIdx.x + i * S::threads;
      if (quad < kQuads) v[i] = scaled(v[i], r, load_within<S::size>(weight + 4 * quad, 4 * quad));
    }
  }

  template <class Value>
  __device__ void fill(Value value) {
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int quad = threadIdx.x + i * S::threads;
      v[i] = quad < kQuads ? value(4 * quad) : float4{0, 0, 0, 0};
    }
  }

  // q = clamp(round(v * 127 / max(|v|, 1e-5))), as the BitNet b1.58 papers quantise activations
  __device__ void quantise(uint8_t *q, bn_quant *quant, int token) {
    __shared__ float shared[S::threads / 32];
    __shared__ int sums[S::threads / 32];
    constexpr int kColumns = (S::size + 127) / 128 * 128;
    float top = 1e-5f;
#pragma unroll
    for (int i = 0; i < kPer; ++i) top = fmaxf(top, largest(v[i]));
    top = block_max<S::threads>(top, shared);
    const float scale = 127.0f / top;
    int sum = 0;
#pragma unroll
    for (int i = 0; i < (kColumns / 4 + S::threads - 1) / S::threads; ++i) {
      const int quad = threadIdx.x + i * S::threads;
      if (quad >= kColumns / 4) break;
      uint32_t packed = 0;
      if (i < kPer && quad < kQuads) {
        const float4 &x = v[i < kPer ? i : 0];
        const int a = to_int8(x.x * scale), b = to_int8(x.y * scale), c = to_int8(x.z * scale), d = to_int8(x.w * scale);
        sum += a + b + c + d;
        packed = pack_bytes(a, b, c, d);
      }
      *reinterpret_cast<uint32_t *>(q + tile_offset(token, 4 * quad, kColumns)) = packed;
    }
    sum = block_sum<S::threads>(sum, sums);
    if (threadIdx.x == 0) quant[token] = {top / 127.0f, sum};
  }
};

// q = RMS norm of a row (unless there is no norm), as int8 with one scale a token
template <class S>
__device__ __forceinline__ void norm_quantise(const bn_cuda_args &args, const uint8_t *layer_weights) {
  let_next_begin();
  wait_for_inputs();
  const int t = blockIdx.y;
  const float *rows = buffer<const float>(args, S::input);
  Row<S> it;
  it.fill([&](int i) { return load_within<S::size>(rows + value_offset<S>(args, t, i), i); });
  if constexpr (S::norm >= 0) it.norm(reinterpret_cast<const float *>(layer_weights + S::norm));
  it.quantise(buffer<uint8_t>(args, S::q), buffer<bn_quant>(args, S::quant), t);
}

// q = RMS norm (unless there is none) of activation(gate) * up; gate and up lie one behind the other
template <class S>
__device__ __forceinline__ void gated_quantise(const bn_cuda_args &args, const uint8_t *layer_weights) {
  let_next_begin();
  wait_for_inputs();
  const int t = blockIdx.y;
  const float *rows = buffer<const float>(args, S::input);
  Row<S> it;
  it.fill([&](int i) {
    const float *at = rows + value_offset<S>(args, t, i);
    const float4 gate = load_within<S::size>(at, i), up = load_within<S::size>(at + S::up_offset, i);
    return float4{gated<S::activation>(gate.x, up.x), gated<S::activation>(gate.y, up.y),
                  gated<S::activation>(gate.z, up.z), gated<S::activation>(gate.w, up.w)};
  });
  if constexpr (S::norm >= 0) it.norm(reinterpret_cast<const float *>(layer_weights + S::norm));
  it.quantise(buffer<uint8_t>(args, S::q), buffer<bn_quant>(args, S::quant), t);
}

// out (+)= RMS norm of a row
template <class S>
__device__ __forceinline__ void norm(const bn_cuda_args &args, const uint8_t *layer_weights) {
  let_next_begin();
  wait_for_inputs();
  const int t = blockIdx.y;
  const float *rows = buffer<const float>(args, S::input);
  float *out = buffer<float>(args, S::out) + int64_t{t} * S::out_stride;
  Row<S> it;
  it.fill([&](int i) { return load_within<S::size>(rows + value_offset<S>(args, t, i), i); });
  it.norm(reinterpret_cast<const float *>(layer_weights + S::norm));
#pragma unroll
  for (int i = 0; i < Row<S>::kPer; ++i) {
    const int quad = threadIdx.x + i * S::threads;
    if (quad >= Row<S>::kQuads) break;
    float4 v = it.v[i];
    if constexpr (S::accumulate) {
      const float4 old = load4(out + 4 * quad);
      v = {old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w};
    }
    *reinterpret_cast<float4 *>(out + 4 * quad) = v;
  }
}

// RMS norm of the tokens that want logits or their hidden state
template <class S>
__device__ __forceinline__ void final_norm(const bn_cuda_args &args) {
  let_next_begin();
  wait_for_inputs();
  const int t = blockIdx.y;
  const bn_token token = token_at(args, t);
  if (token.logits_row < 0 && token.hidden_row < 0) return;
  const float *rows = buffer<const float>(args, S::input);
  Row<S> it;
  it.fill([&](int i) { return load_within<S::size>(rows + value_offset<S>(args, t, i), i); });
  it.norm(reinterpret_cast<const float *>(args.weights + S::norm));
#pragma unroll
  for (int i = 0; i < Row<S>::kPer; ++i) {
    const int quad = threadIdx.x + i * S::threads;
    if (quad >= Row<S>::kQuads) break;
    if (token.logits_row >= 0) {
      float *out = buffer<float>(args, S::out) + int64_t{token.logits_row} * S::out_stride;
      S::put(out, quad, it.v[i]);
    }
    if (token.hidden_row >= 0) {
      float *out = args.hidden + int64_t{token.hidden_row} * S::size;
      const float values[4] = {it.v[i].x, it.v[i].y, it.v[i].z, it.v[i].w};
      for (int k = 0; k < 4; ++k) {
        if (4 * quad + k < S::size) out[4 * quad + k] = values[k];
      }
    }
  }
}

// x = embedding of each token (* scale); its id is put to the text
template <class S>
__device__ __forceinline__ void embed(const bn_cuda_args &args) {
  let_next_begin();
  wait_for_inputs();
  const int t = blockIdx.y;
  const bn_token token = token_at(args, t);
  const int id = token.id;
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i == 0) text_of(args, token.sequence)[token.position] = id;
  if (i < S::out_stride * S::out_parts) {
    const int part = i / S::out_stride;
    float *out = buffer<float>(args, S::out) + (int64_t{part} * args.token_count + t) * S::out_stride;
    out[i - part * S::out_stride] = i < S::size ? S::Table::value(args.weights + S::table, id, i) * S::scale : 0.0f;
  }
}

// Attention on tensor cores, for heads of 128 dimensions that rotate whole, half with half, over all positions so far.
//
// Scores do not care about the order of dimensions: the four lanes of a position each read 16 bytes of it and call them
// what the fragment wants; values' columns are dealt likewise. So keys and values of one token's attention go straight
// from memory to fragments.
#pragma once

#include "attention.cuh"
#include "cuda.h"
#include "primitives.cuh"
#include "rows.cuh"

// exp2 is one instruction, so scores are scaled by log2 e as well.
constexpr float kLog2e = 1.4426950408889634f;
// Instead of minus infinity, whose differences are no numbers.
constexpr float kNever = -1e30f;

__device__ __forceinline__ uint4 load16(const void *p) { return __ldcg(reinterpret_cast<const uint4 *>(p)); }
__device__ __forceinline__ uint32_t word_of(const uint4 &v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// What rounding to halves has left.
__device__ __forceinline__ uint32_t low_parts(uint32_t high, float a, float b) {
  const float2 h = unpack_halves(high);
  return pack_halves(a - h.x, b - h.y);
}

// ---- one token: rotation, cache and attention in one launch ------------------------------------------------------------

// A KV head's context is split over thread blocks, of which the last to arrive combines what they found.
template <class S>
struct OneToken {
  static constexpr int kWarps = 16, kThreads = kWarps * 32, kGroup = S::heads / S::kv_heads, kDim = 128, kHalf = kDim / 2;
  // Queries and weights are split into two halves (high, low) that use the columns which a small group leaves free.
  static constexpr int kLow = kGroup <= 4 ? 4 : 0;
  // Up to so many positions stay in one thread block; beyond, about so many are a split.
  static constexpr int kOneSplit = 256, kShare = 128;
  static constexpr int kMostSplits = S::splits;
  static constexpr int kResults = kGroup * kDim;

  struct Shared {
    float2 rope[kHalf];
    alignas(16) Half query[8][kDim];  // from row kLow on the low parts
    alignas(16) Half key[kDim], value[kDim];
    float2 weight[kWarps][8];  // largest score and sum, by warp and query
    int last;
    alignas(16) float result[kWarps][kResults];
  };
  // In the workspace: what a split found, and how many have arrived.
  struct Split {
    float result[kResults];
    float2 weight[kGroup];
  };
  struct Head {
    Split splits[kMostSplits];
    int arrived;
    int pad[31];
  };

  Shared &s;
  const bn_cuda_args &args;
  const int layer;
  const int tid = threadIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;

  // Keys and values of sixteen positions from p on: those before `position` from the cache, that one from this step,
  // zero behind it.
  struct Fragments {
    uint4 k[2][4], v[4][2];
  };
  static __device__ __forceinline__ uint4 load_row(const Half *rows, int p, int position, int at) {
    return p < position ? load16(rows + int64_t{p} * kDim + at) : uint4{0, 0, 0, 0};
  }
  __device__ __forceinline__ void load(Fragments &f, const Half *keys, const Half *values, int p, int position) const {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) f.k[n][i] = load_row(keys, p + n * 8 + g, position, (c + 4 * i) * 8);
    }
#pragma unroll
    for (int r = 0; r < 4; ++r) {
#pragma unroll
      for (int i = 0; i < 2; ++i) f.v[r][i] = load_row(values, p + 2 * c + (r & 1) + (r >> 1) * 8, position, g * 16 + i * 8);
    }
  }
  __device__ __forceinline__ void add_own(Fragments &f, int p, int position) const {
    if (position < p || position >= p + 16) return;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      if (p + n * 8 + g != position) continue;
#pragma unroll
      for (int i = 0; i < 4; ++i) f.k[n][i] = *reinterpret_cast<const uint4 *>(s.key + (c + 4 * i) * 8);
    }
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      if (p + 2 * c + (r & 1) + (r >> 1) * 8 != position) continue;
#pragma unroll
      for (int i = 0; i < 2; ++i) f.v[r][i] = *reinterpret_cast<const uint4 *>(s.value + g * 16 + i * 8);
    }
  }

  // Rotates the group's queries and, where the last position is this block's, the key; both and the value to halves.
  __device__ __forceinline__ void rotate(int head, bool has_own, Half *keys, Half *values, int position) {
    const float *qkv = buffer<const float>(args, S::qkv);
    for (int t = tid; t < (kGroup + (has_own ? 2 : 0)) * kHalf; t += kThreads) {
      const int i = t % kHalf, h = t / kHalf;
      const bool query = h < kGroup, key = h == kGroup;
      const float *from = qkv + (query ? (head * kGroup + h) * kDim : (key ? S::key : S::value) + head * kDim);
      float a = __ldcg(from + i), b = __ldcg(from + i + kHalf);
      if (query || key) {
        const float2 angle = s.rope[i];
        // Rounded as the CPU does, or halves of keys would differ.
        const float scale = query ? S::scale * kLog2e : 1.0f;
        const float rotated = __fsub_rn(__fmul_rn(a, angle.x), __fmul_rn(b, angle.y));
        b = __fadd_rn(__fmul_rn(b, angle.x), __fmul_rn(a, angle.y)) * scale;
        a = rotated * scale;
      }
      const Half first = to_half(a), second = to_half(b);
      Half *to = query ? s.query[h] : key ? s.key : s.value;
      to[i] = first, to[i + kHalf] = second;
      if (query && kLow) {
        s.query[h + kLow][i] = to_half(a - to_float(first));
        s.query[h + kLow][i + kHalf] = to_half(b - to_float(second));
      }
      if (!query) {
        Half *cache = (key ? keys : values) + int64_t{position} * kDim;
        cache[i] = first, cache[i + kHalf] = second;
      }
    }
    __syncthreads();
  }

  // S^T = K Q^T and O^T = V^T P^T over the positions [begin, end), sixteen at a time for each warp.
  __device__ __forceinline__ void weigh(Fragments &f, const Half *keys, const Half *values, int begin, int end,
                                        int position) {
    float o[8][4] = {}, m0 = kNever, m1 = kNever, sum0 = 0, sum1 = 0;
#pragma unroll 1
    for (int p = begin + warp * 16; p < end; p += kWarps * 16) {
      if (p >= begin + kWarps * 16) load(f, keys, values, p, position);
      add_own(f, p, position);
      float score[4] = {};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint4 q = *reinterpret_cast<const uint4 *>(&s.query[g][(c + 4 * i) * 8]);
        multiply(score, f.k[0][i].x, f.k[1][i].x, f.k[0][i].y, f.k[1][i].y, q.x, q.y);
        multiply(score, f.k[0][i].z, f.k[1][i].z, f.k[0][i].w, f.k[1][i].w, q.z, q.w);
      }
      if constexpr (kLow > 0) {
#pragma unroll
        for (int e = 0; e < 4; ++e) score[e] += __shfl_xor_sync(~0u, score[e], 2);
      }
      if (p + g >= end) score[0] = score[1] = kNever;
      if (p + g + 8 >= end) score[2] = score[3] = kNever;
      float t0 = fmaxf(score[0], score[2]), t1 = fmaxf(score[1], score[3]);
#pragma unroll
      for (int d = 4; d < 32; d *= 2) {
        t0 = fmaxf(t0, __shfl_xor_sync(~0u, t0, d)), t1 = fmaxf(t1, __shfl_xor_sync(~0u, t1, d));
      }
      t0 = fmaxf(t0, m0), t1 = fmaxf(t1, m1);
      const float f0 = exp2f(m0 - t0), f1 = exp2f(m1 - t1);
      m0 = t0, m1 = t1;
      const float e0 = exp2f(score[0] - m0), e1 = exp2f(score[1] - m1);
      const float e2 = exp2f(score[2] - m0), e3 = exp2f(score[3] - m1);
      sum0 = fmaf(sum0, f0, e0 + e2), sum1 = fmaf(sum1, f1, e1 + e3);
      uint32_t w0 = pack_halves(e0, e1), w1 = pack_halves(e2, e3);
      if (kLow && c >= 2) w0 = low_parts(w0, e0, e1), w1 = low_parts(w1, e2, e3);
      const uint32_t b0 = transpose8(w0), b1 = transpose8(w1);
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        o[j][0] *= f0, o[j][1] *= f1, o[j][2] *= f0, o[j][3] *= f1;
        const uint32_t r0 = word_of(f.v[0][j / 4], j % 4), r1 = word_of(f.v[1][j / 4], j % 4);
        const uint32_t r2 = word_of(f.v[2][j / 4], j % 4), r3 = word_of(f.v[3][j / 4], j % 4);
        multiply(o[j], __byte_perm(r0, r1, 0x5410), __byte_perm(r0, r1, 0x7632), __byte_perm(r2, r3, 0x5410),
                 __byte_perm(r2, r3, 0x7632), b0, b1);
      }
    }
#pragma unroll
    for (int d = 4; d < 32; d *= 2) {
      sum0 += __shfl_xor_sync(~0u, sum0, d), sum1 += __shfl_xor_sync(~0u, sum1, d);
    }
    if constexpr (kLow > 0) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) o[j][e] += __shfl_xor_sync(~0u, o[j][e], 2);
      }
    }
    if (2 * c >= kGroup) return;
    if (g == 0) s.weight[warp][2 * c] = {m0, sum0}, s.weight[warp][2 * c + 1] = {m1, sum1};
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      float *to = &s.result[warp][2 * c * kDim + g * 16 + 2 * j];
      *reinterpret_cast<float4 *>(to) = {o[j][0], o[j][2], o[j + 1][0], o[j + 1][2]};
      if (2 * c + 1 < kGroup) *reinterpret_cast<float4 *>(to + kDim) = {o[j][1], o[j][3], o[j + 1][1], o[j + 1][3]};
    }
  }

  __device__ __forceinline__ void run() {
    let_next_begin();
    const bn_token token = token_at(args, 0);
    const int position = token.position, length = position + 1, head = blockIdx.x % S::kv_heads;
    const int split = blockIdx.x / S::kv_heads;
    int splits = length <= kOneSplit ? 1 : min(kMostSplits, (length + kShare - 1) / kShare);
    const int share = ((length + splits - 1) / splits + 15) / 16 * 16;
    splits = (length + share - 1) / share;
    if (split >= splits) return wait_for_inputs();
    const int begin = split * share, end = min(length, begin + share);
    Half *keys = keys_of<S>(args, layer, token.sequence, head), *values = keys + int64_t{args.kv_capacity} * kDim;
    // The first positions' keys and values do not wait for this token.
    Fragments f;
    load(f, keys, values, begin + warp * 16, position);
    const float2 *angles = reinterpret_cast<const float2 *>(args.tables + S::angles) + int64_t{position} * kHalf;
    for (int i = tid; i < kHalf; i += kThreads) s.rope[i] = __ldg(angles + i);
    __syncthreads();
    wait_for_inputs();
    rotate(head, end == length, keys, values, position);
    const int busy = min(kWarps, (end - begin + 15) / 16);
    if (warp < busy) weigh(f, keys, values, begin, end, position);
    __syncthreads();
    Head &all = buffer<Head>(args, S::shares)[head];
    float *out = own_row<S>(args, 0) + head * kResults;
    for (int t = tid; t < kResults; t += kThreads) {
      const int h = t / kDim;
      float top = kNever, total = 0, result = 0;
#pragma unroll
      for (int i = 0; i < kWarps; ++i) {
        if (i < busy) top = fmaxf(top, s.weight[i][h].x);
      }
#pragma unroll
      for (int i = 0; i < kWarps; ++i) {
        if (i >= busy) continue;
        const float2 one = s.weight[i][h];
        const float e = exp2f(one.x - top);
        total = fmaf(one.y, e, total), result = fmaf(s.result[i][t], e, result);
      }
      if (splits == 1) {
        out[t] = result / total;
      } else {
        all.splits[split].result[t] = result;
        if (t % kDim == 0) all.splits[split].weight[h] = {top, total};
      }
    }
    if (splits > 1) combine(all, out, splits);
  }

  __device__ __forceinline__ void combine(Head &all, float *out, int splits) {
    __threadfence();
    __syncthreads();
    if (tid == 0) s.last = atomicAdd(&all.arrived, 1) == splits - 1;
    __syncthreads();
    if (!s.last) return;
    __threadfence();
    if (tid == 0) all.arrived = 0;
    for (int t = tid; t < kResults; t += kThreads) {
      const int h = t / kDim;
      float top = kNever, total = 0, result = 0;
      for (int i = 0; i < splits; ++i) top = fmaxf(top, __ldcg(&all.splits[i].weight[h].x));
#pragma unroll 4
      for (int i = 0; i < splits; ++i) {
        const float2 one = __ldcg(&all.splits[i].weight[h]);
        const float e = exp2f(one.x - top);
        total = fmaf(one.y, e, total), result = fmaf(__ldcg(&all.splits[i].result[t]), e, result);
      }
      out[t] = result / total;
    }
  }
};

template <class S>
__device__ __forceinline__ void attend_one(const bn_cuda_args &args, int layer) {
  OneToken<S>{*reinterpret_cast<typename OneToken<S>::Shared *>(dynamic_shared), args, layer}.run();
}

// ---- runs of tokens -----------------------------------------------------------------------------------------------------

// Up to 128 consecutive tokens of one sequence, one head. Shared memory: keys and values, 64 positions at a time, in two stages;
// and what rounding the queries to halves leaves.
constexpr int kFlashStages = 4 * 64 * 128 * 2, kFlashShared = kFlashStages + 128 * 128 * 2;

template <class S>
__device__ __forceinline__ void attend_run(const bn_cuda_args &args, int layer) {
  constexpr int kDim = 128, kGroup = S::heads / S::kv_heads, kPart = 64 * kDim * 2;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, c = lane % 4, head = blockIdx.x;
  let_next_begin();
  wait_for_inputs();
  const int2 run = __ldcg(reinterpret_cast<const int2 *>(args.runs) + (gridDim.y - 1 - blockIdx.y));  // the longest first
  const int start = run.x, count = run.y;
  const bn_token first = token_at(args, start);
  const int length = first.position + count;
  const Half *keys = keys_of<S>(args, layer, first.sequence, head / kGroup);
  const Half *values = keys + int64_t{args.kv_capacity} * kDim;
  const uint32_t base = shared_address(dynamic_shared);
  const auto load = [&](int block) {
    if (block * 64 < length) {
      const uint32_t to = base + (block & 1) * 2 * kPart;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int chunk = tid + i * 256, r = chunk / 16, ch = chunk % 16, p = min(block * 64 + r, length - 1);
        copy16(to + r * 256 + ((ch ^ (r & 7)) * 16), keys + int64_t{p} * kDim + ch * 8);
        copy16(to + kPart + r * 256 + ((ch ^ (r & 7)) * 16), values + int64_t{p} * kDim + ch * 8);
      }
    }
    commit_copies();
  };
  load(0);
  // Queries as A fragments: rows g and g + 8 of the warp's sixteen tokens.
  uint32_t q[8][4];
  const int row0 = min(warp * 16 + g, count - 1), row1 = min(warp * 16 + g + 8, count - 1);
  const auto query = [&](int row, int at, int column) {
    constexpr float kScale = S::scale * kLog2e;
    const float *p = buffer<const float>(args, S::qkv) + int64_t{start + row} * S::stride + head * kDim + column;
    const float2 v = __ldcg(reinterpret_cast<const float2 *>(p));
    const uint32_t high = pack_halves(v.x * kScale, v.y * kScale);
    const int place = at * 256 + ((column / 8 ^ (at & 7)) * 16) + column % 8 * 2;
    *reinterpret_cast<uint32_t *>(dynamic_shared + kFlashStages + place) = low_parts(high, v.x * kScale, v.y * kScale);
    return high;
  };
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    const int a = warp * 16 + g, b = a + 8, column = k * 16 + 2 * c;
    q[k][0] = query(row0, a, column), q[k][1] = query(row1, b, column);
    q[k][2] = query(row0, a, column + 8), q[k][3] = query(row1, b, column + 8);
  }
  __syncwarp();
  float o[16][4] = {}, m0 = kNever, m1 = kNever, l0 = 0, l1 = 0;
  const int p0 = first.position + warp * 16 + g, p1 = p0 + 8;  // positions of the two rows
  const int blocks = (length + 63) / 64;
#pragma unroll 1
  for (int block = 0; block < blocks; ++block) {
    load(block + 1);
    wait_copies<1>();
    __syncthreads();
    const uint32_t kt = base + (block & 1) * 2 * kPart, vt = kt + kPart;
    if (block * 64 <= first.position + warp * 16 + 15) {
      // Tensor cores cut off what does not fit a sum, which is why sums are short here and below: what is added up elsewhere
      // is rounded.
      float score[8][4] = {}, rest[8][4] = {};
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        uint32_t low[4];
        const int row = warp * 16 + (lane & 15), chunk = 2 * k + (lane >> 4);
        load_matrices(low, base + kFlashStages + row * 256 + ((chunk ^ (row & 7)) * 16));
#pragma unroll
        for (int n = 0; n < 4; ++n) {  // sixteen positions
          uint32_t b[4];
          const int r = n * 16 + (lane >> 4) * 8 + (lane & 7), ch = 2 * k + ((lane >> 3) & 1);
          load_matrices(b, kt + r * 256 + ((ch ^ (r & 7)) * 16));
          multiply(score[2 * n], q[k][0], q[k][1], q[k][2], q[k][3], b[0], b[1]);
          multiply(score[2 * n + 1], q[k][0], q[k][1], q[k][2], q[k][3], b[2], b[3]);
          multiply(rest[2 * n], low[0], low[1], low[2], low[3], b[0], b[1]);
          multiply(rest[2 * n + 1], low[0], low[1], low[2], low[3], b[2], b[3]);
        }
      }
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) score[n][e] += rest[n][e];
      }
      if (block * 64 + 63 > first.position + warp * 16) {
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          const int p = block * 64 + n * 8 + 2 * c;
          if (p > p0) score[n][0] = kNever;
          if (p + 1 > p0) score[n][1] = kNever;
          if (p > p1) score[n][2] = kNever;
          if (p + 1 > p1) score[n][3] = kNever;
        }
      }
      float t0 = m0, t1 = m1;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        t0 = fmaxf(t0, fmaxf(score[n][0], score[n][1])), t1 = fmaxf(t1, fmaxf(score[n][2], score[n][3]));
      }
#pragma unroll
      for (int d = 1; d < 4; d *= 2) {
        t0 = fmaxf(t0, __shfl_xor_sync(~0u, t0, d)), t1 = fmaxf(t1, __shfl_xor_sync(~0u, t1, d));
      }
      const float f0 = exp2f(m0 - t0), f1 = exp2f(m1 - t1);
      m0 = t0, m1 = t1, l0 *= f0, l1 *= f1;
      uint32_t a[4][4], low[4][4];
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const float e0 = exp2f(score[n][0] - m0), e1 = exp2f(score[n][1] - m0);
        const float e2 = exp2f(score[n][2] - m1), e3 = exp2f(score[n][3] - m1);
        l0 += e0 + e1, l1 += e2 + e3;
        const int at = (n & 1) * 2;
        a[n / 2][at] = pack_halves(e0, e1), low[n / 2][at] = low_parts(a[n / 2][at], e0, e1);
        a[n / 2][at + 1] = pack_halves(e2, e3), low[n / 2][at + 1] = low_parts(a[n / 2][at + 1], e2, e3);
      }
#pragma unroll
      for (int n = 0; n < 8; ++n) {  // sixteen dimensions
        float sum[2][4] = {};
#pragma unroll
        for (int k = 0; k < 4; ++k) {  // sixteen positions
          uint32_t b[4];
          const int r = k * 16 + ((lane >> 3) & 1) * 8 + (lane & 7), ch = 2 * n + (lane >> 4);
          load_transposed(b, vt + r * 256 + ((ch ^ (r & 7)) * 16));
          multiply(sum[0], low[k][0], low[k][1], low[k][2], low[k][3], b[0], b[1]);
          multiply(sum[1], low[k][0], low[k][1], low[k][2], low[k][3], b[2], b[3]);
          multiply(sum[0], a[k][0], a[k][1], a[k][2], a[k][3], b[0], b[1]);
          multiply(sum[1], a[k][0], a[k][1], a[k][2], a[k][3], b[2], b[3]);
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float(&to)[4] = o[2 * n + i];
          to[0] = fmaf(to[0], f0, sum[i][0]), to[1] = fmaf(to[1], f0, sum[i][1]);
          to[2] = fmaf(to[2], f1, sum[i][2]), to[3] = fmaf(to[3], f1, sum[i][3]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int d = 1; d < 4; d *= 2) l0 += __shfl_xor_sync(~0u, l0, d), l1 += __shfl_xor_sync(~0u, l1, d);
  const float i0 = 1.0f / l0, i1 = 1.0f / l1;
  const int r0 = warp * 16 + g, r1 = r0 + 8;
  float *out = own_row<S>(args, start) + head * kDim + 2 * c;
#pragma unroll
  for (int n = 0; n < 16; ++n) {
    if (r0 < count) *reinterpret_cast<float2 *>(out + r0 * S::out_stride + n * 8) = {o[n][0] * i0, o[n][1] * i0};
    if (r1 < count) *reinterpret_cast<float2 *>(out + r1 * S::out_stride + n * 8) = {o[n][2] * i1, o[n][3] * i1};
  }
}

// ---- single tokens of a batch --------------------------------------------------------------------------------------------

// One token, one KV head: the queries that share it are rows of one product, and what rounding them to halves leaves are
// its other eight rows; weights likewise. A warp takes sixteen positions at a time.
template <class S>
__device__ __forceinline__ void attend_single(const bn_cuda_args &args, int layer) {
  constexpr int kWarps = 4, kDim = 128, kGroup = S::heads / S::kv_heads;
  __shared__ float2 weight[kWarps][8];
  __shared__ float result[kWarps][kGroup * kDim];
  __shared__ uint4 rest[kGroup][kDim / 8];  // of the queries
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, c = lane % 4, head = blockIdx.x;
  let_next_begin();
  const int t = __ldcg(args.singles + blockIdx.y);
  const bn_token token = token_at(args, t);
  const int length = token.position + 1;
  const Half *keys = keys_of<S>(args, layer, token.sequence, head), *values = keys + int64_t{args.kv_capacity} * kDim;
  // Only the last few positions can be of this step: keys and values before them are on their way before the queries.
  uint4 k[2][4], v[4][2];
  const auto load = [&](int p) {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const Half *row = keys + int64_t{min(p + n * 8 + g, length - 1)} * kDim;
#pragma unroll
      for (int i = 0; i < 4; ++i) k[n][i] = load16(row + (c + 4 * i) * 8);
    }
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const Half *row = values + int64_t{min(p + 2 * c + (r & 1) + (r >> 1) * 8, length - 1)} * kDim + g * 16;
      v[r][0] = load16(row), v[r][1] = load16(row + 8);
    }
  };
  const bool early = warp * 16 + 16 + BN_CUDA_SHORTEST_RUN <= length;
  if (early) load(warp * 16);
  wait_for_inputs();
  uint4 q[4] = {};
  if (g < kGroup) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float *p = buffer<const float>(args, S::qkv) + int64_t{t} * S::stride + (head * kGroup + g) * kDim + (c + 4 * i) * 8;
      const float4 a = load4(p), b = load4(p + 4);
      constexpr float kScale = S::scale * kLog2e;
      const float v[8] = {a.x * kScale, a.y * kScale, a.z * kScale, a.w * kScale,
                          b.x * kScale, b.y * kScale, b.z * kScale, b.w * kScale};
      q[i] = {pack_halves(v[0], v[1]), pack_halves(v[2], v[3]), pack_halves(v[4], v[5]), pack_halves(v[6], v[7])};
      if (warp > 0) continue;
      rest[g][c + 4 * i] = {low_parts(q[i].x, v[0], v[1]), low_parts(q[i].y, v[2], v[3]), low_parts(q[i].z, v[4], v[5]),
                            low_parts(q[i].w, v[6], v[7])};
    }
  }
  __syncthreads();
  float o[16][4] = {}, m = kNever, sum = 0;
  for (int p = warp * 16; p < length; p += kWarps * 16) {
    if (!early || p > warp * 16) load(p);
    float score[2][4] = {};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint4 low = g < kGroup ? rest[g][c + 4 * i] : uint4{0, 0, 0, 0};
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        multiply(score[n], q[i].x, low.x, q[i].y, low.y, k[n][i].x, k[n][i].y);
        multiply(score[n], q[i].z, low.z, q[i].w, low.w, k[n][i].z, k[n][i].w);
      }
    }
    float top = m;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        score[n][e] = p + n * 8 + 2 * c + e < length ? score[n][e] + score[n][2 + e] : kNever;
        top = fmaxf(top, score[n][e]);
      }
    }
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
    const float f = exp2f(m - top);
    m = top;
    const float e0 = exp2f(score[0][0] - m), e1 = exp2f(score[0][1] - m);
    const float e2 = exp2f(score[1][0] - m), e3 = exp2f(score[1][1] - m);
    sum = fmaf(sum, f, e0 + e1 + e2 + e3);
    const uint32_t a0 = pack_halves(e0, e1), a2 = pack_halves(e2, e3);
    const uint32_t a1 = low_parts(a0, e0, e1), a3 = low_parts(a2, e2, e3);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      float sums[4] = {};
      const uint32_t r0 = word_of(v[0][j / 8], j % 8 / 2), r1 = word_of(v[1][j / 8], j % 8 / 2);
      const uint32_t r2 = word_of(v[2][j / 8], j % 8 / 2), r3 = word_of(v[3][j / 8], j % 8 / 2);
      const unsigned pick = j & 1 ? 0x7632 : 0x5410;
      multiply(sums, a0, a1, a2, a3, __byte_perm(r0, r1, pick), __byte_perm(r2, r3, pick));
#pragma unroll
      for (int e = 0; e < 4; ++e) o[j][e] = fmaf(o[j][e], f, sums[e]);
    }
  }
  sum += __shfl_xor_sync(~0u, sum, 1);
  sum += __shfl_xor_sync(~0u, sum, 2);
  if (c == 0) weight[warp][g] = {m, sum};
  if (g < kGroup) {
    // Column 2 c + e of tile j is dimension (2 c + e) * 16 + j.
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      result[warp][g * kDim + 2 * c * 16 + j] = o[j][0] + o[j][2];
      result[warp][g * kDim + (2 * c + 1) * 16 + j] = o[j][1] + o[j][3];
    }
  }
  __syncthreads();
  float *out = own_row<S>(args, t) + head * kGroup * kDim;
  for (int i = tid; i < kGroup * kDim; i += kWarps * 32) {
    float top = kNever, total = 0, value = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) top = fmaxf(top, weight[w][i / kDim].x);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float e = exp2f(weight[w][i / kDim].x - top);
      total = fmaf(weight[w][i / kDim].y, e, total), value = fmaf(result[w][i], e, value);
    }
    out[i] = value / total;
  }
}

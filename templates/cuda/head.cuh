// The head on tensor cores: logits = table . hidden, with the table in tiles.
//
// 16 rows x 128 columns are a group, in the order of A fragments (row g + 8 (i & 1) in word i of lane 4g + c); the groups of
// 16 rows follow each other along K. Rows beyond the vocabulary are zero.
//   F16   8 x 512 bytes: tile t, columns 16 t + 8 (i >> 1) + 2 c + 0, 1 in word i
//   Q8_0  4 x 512 bytes of int8: tile t, column 32 t + 16 (i >> 1) + 4 c + b in byte b of word i; 64 float16 scales [tile][row]
//   Q6_K  2 x 512 bytes of low halves: tile t, the same columns in words 2 (t & 1) + (i >> 1) of half t / 2, in bits 3..0 for
//         i & 1 = 0 and 7..4 otherwise; 512 bytes of upper pairs: word t, bits 2i of byte b; 128 int8 scales
//         [column / 16][row]; 16 float16 scales [row]
#pragma once

#include "candidate.cuh"
#include "cuda.h"
#include "primitives.cuh"
#include "rows.cuh"

template <int Columns>
struct F16Tiles {
  static constexpr int columns = Columns, group_bytes = 4096;
  static __device__ __forceinline__ float value(const uint8_t *table, int64_t row, int i) {
    const uint8_t *group = table + (row / 16 * (Columns / 128) + i / 128) * group_bytes;
    const int lane = row % 8 * 4 + i % 8 / 2, word = row % 16 / 8 + 2 * (i % 16 / 8);
    return to_float(reinterpret_cast<const Half *>(group)[i % 128 / 16 * 256 + lane * 8 + word * 2 + i % 2]);
  }
};

// Where the byte of a column is in a tile of 32.
__device__ __forceinline__ int byte_place(int64_t row, int i) {
  return (row % 8 * 4 + i % 16 / 4) * 16 + (row % 16 / 8 + 2 * (i % 32 / 16)) * 4 + i % 4;
}

template <int Columns>
struct Q8_0Tiles {
  static constexpr int columns = Columns, group_bytes = 2048 + 128;
  static __device__ __forceinline__ float value(const uint8_t *table, int64_t row, int i) {
    const uint8_t *group = table + (row / 16 * (Columns / 128) + i / 128) * group_bytes;
    const int tile = i % 128 / 32;
    return static_cast<int8_t>(group[tile * 512 + byte_place(row, i)]) * half_at(group + 2048 + (tile * 16 + row % 16) * 2);
  }
};

template <int Columns>
struct Q6_KTiles {
  static constexpr int columns = Columns, group_bytes = 1024 + 512 + 128 + 32;
  static __device__ __forceinline__ float value(const uint8_t *table, int64_t row, int i) {
    const uint8_t *group = table + (row / 16 * (Columns / 128) + i / 128) * group_bytes;
    const int tile = i % 128 / 32, lane = row % 8 * 4 + i % 16 / 4, half = i % 32 / 16, high = row % 16 / 8;
    const int low = group[tile / 2 * 512 + lane * 16 + (tile % 2 * 2 + half) * 4 + i % 4] >> (4 * high) & 15;
    const int upper = group[1024 + lane * 16 + tile * 4 + i % 4] >> (2 * (high + 2 * half)) & 3;
    const float scale = half_at(group + 1664 + row % 16 * 2) * static_cast<int8_t>(group[1536 + i % 128 / 16 * 16 + row % 16]);
    return ((low | upper << 4) - 32) * scale;
  }
};

template <class T>
constexpr bool kIsF16 = false;
template <int Columns>
constexpr bool kIsF16<F16Tiles<Columns>> = true;
template <class T>
constexpr bool kIsQ8_0 = false;
template <int Columns>
constexpr bool kIsQ8_0<Q8_0Tiles<Columns>> = true;

// The four words of an A fragment of six-bit codes, tile t of 32 columns.
__device__ __forceinline__ void six_bits(uint32_t (&a)[4], uint32_t first, uint32_t second, uint32_t upper) {
  a[0] = (first & 0x0f0f0f0fu) | ((upper << 4) & 0x30303030u);
  a[1] = ((first >> 4) & 0x0f0f0f0fu) | ((upper << 2) & 0x30303030u);
  a[2] = (second & 0x0f0f0f0fu) | (upper & 0x30303030u);
  a[3] = ((second >> 4) & 0x0f0f0f0fu) | ((upper >> 2) & 0x30303030u);
}

// ---- one token: last norm, head and largest logit in one launch --------------------------------------------------------

// The hidden state meets int8 tables as 16-bit integers in two int8 parts, and float16 tables as two halves: high and low
// are two of the product's eight columns, and the other columns carry the other 16 or 32 columns of K, B being zero where
// a column does not belong. So every lane has the sum of one group of weights, and its own scale.
template <class S>
struct OneHead {
  using Tiles = typename S::Tiles;
  static constexpr int kWarps = 8, kThreads = kWarps * 32, kStageBytes = 4352, kSize = S::size;
  static constexpr int kStages = 2 * kWarps * kStageBytes + 4 * kSize + kSize / 4 + (4 << 10) <= kSharedBytes ? 2 : 1;
  static constexpr int kGroups = kSize / 128, kBlocks = (S::rows + 15) / 16, kQuads = kSize / 4;
  static constexpr int kPer = (kQuads + kThreads - 1) / kThreads;
  static constexpr int job_groups() {
    int best = 1;
    for (int n = 1; n <= kGroups; ++n) {
      if (kGroups % n == 0 && n * Tiles::group_bytes <= kStageBytes) best = n;
    }
    return best;
  }
  static constexpr int kJobGroups = job_groups(), kJobs = kGroups / kJobGroups, kJobBytes = kJobGroups * Tiles::group_bytes;

  struct Shared {
#if __CUDA_ARCH__ >= 900
    uint64_t full[kWarps][kStages];
    alignas(128) uint8_t stages[kWarps][kStages][kStageBytes];
#endif
    float2 norm[kWarps];
    unsigned long long best[kWarps];
    alignas(16) uint32_t hidden[kSize];  // high and low parts
    int sum[kSize / 16];
  };
  // In the workspace; zero between steps.
  struct Found {
    unsigned long long best;
    unsigned done;
  };

  Shared &s;
  const bn_cuda_args &args;
  const int tid = threadIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int first = static_cast<int>(int64_t{blockIdx.x} * kBlocks / gridDim.x);
  const int count = static_cast<int>(int64_t{blockIdx.x + 1} * kBlocks / gridDim.x) - first;

  // A warp takes every kWarps-th row block, job by job.
  __device__ __forceinline__ int block_of(int job) const { return job / kJobs * kWarps + warp; }
  __device__ __forceinline__ const uint8_t *bytes_of(int job) const {
    return args.weights + S::table + (int64_t{first + block_of(job)} * kJobs + job % kJobs) * kJobBytes;
  }

#if __CUDA_ARCH__ >= 900
  // Each warp copies through stages of its own, by turns.
  __device__ __forceinline__ void start() {
    if (tid < kWarps * kStages) init_barrier(&s.full[tid / kStages][tid % kStages], 1);
    publish_barriers();
    __syncthreads();
    for (int job = 0; job < kStages; ++job) load(job);
  }
  __device__ __forceinline__ void load(int job) {
    __syncwarp();
    if (lane != 0 || block_of(job) >= count) return;
    uint64_t *full = &s.full[warp][job % kStages];
    expect_bytes(full, kJobBytes);
    copy_bulk(s.stages[warp][job % kStages], bytes_of(job), kJobBytes, full);
  }
  __device__ __forceinline__ const uint8_t *wait(int job) {
    wait_barrier(&s.full[warp][job % kStages], job / kStages & 1);
    return s.stages[warp][job % kStages];
  }
#else
  __device__ __forceinline__ void start() {}
  __device__ __forceinline__ void load(int) {}
  __device__ __forceinline__ const uint8_t *wait(int job) { return bytes_of(job); }
#endif

  // The last norm of x; returns the largest of its values.
  __device__ __forceinline__ float norm(float4 (&v)[kPer]) {
    float4 w[kPer];
    const float *weight = reinterpret_cast<const float *>(args.weights + S::norm);
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int quad = tid + i * kThreads;
      w[i] = quad < kQuads ? __ldg(reinterpret_cast<const float4 *>(weight) + quad) : float4{0, 0, 0, 0};
    }
    wait_for_inputs();
    const float *row = buffer<const float>(args, S::input);
    float sum = 0, top = 0;
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int quad = tid + i * kThreads;
      v[i] = quad < kQuads ? load4(row + 4 * quad) : float4{0, 0, 0, 0};
      sum += squares(v[i]);
      top = fmaxf(top, largest({v[i].x * w[i].x, v[i].y * w[i].y, v[i].z * w[i].z, v[i].w * w[i].w}));
    }
    sum = warp_sum(sum), top = warp_max(top);
    if (lane == 0) s.norm[warp] = {sum, top};
    __syncthreads();
    const float2 all = s.norm[lane % kWarps];
    const float r = 1.0f / sqrtf(warp_sum(lane < kWarps ? all.x : 0.0f) / kSize + S::epsilon);
#pragma unroll
    for (int i = 0; i < kPer; ++i) v[i] = scaled(v[i], r, w[i]);
    return warp_max(all.y) * r;
  }

  // Puts the hidden state into shared memory as the fragments want it; returns what integer sums are multiplied with.
  __device__ __forceinline__ float split(const float4 (&v)[kPer], float top) {
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int f = tid + i * kThreads;
      if (f >= kQuads) continue;
      const float x[4] = {v[i].x, v[i].y, v[i].z, v[i].w};
      if constexpr (kIsF16<Tiles>) {
        uint32_t *high = s.hidden, *low = high + kSize / 2;
#pragma unroll
        for (int p = 0; p < 2; ++p) {
          const uint32_t h = pack_halves(x[2 * p], x[2 * p + 1]);
          const float2 back = unpack_halves(h);
          high[f * 2 + p] = h;
          low[f * 2 + p] = pack_halves(x[2 * p] - back.x, x[2 * p + 1] - back.y);
        }
      } else {
        int t[4], h[4], total = 0;
#pragma unroll
        for (int p = 0; p < 4; ++p) {
          t[p] = max(-32640, min(32639, __float2int_rn(x[p] * (32639.0f / top))));
          h[p] = (t[p] + 128) >> 8;
          total += t[p];
        }
        // [16 columns][high, low][quad]
        s.hidden[f / 4 * 8 + f % 4] = pack_bytes(h[0], h[1], h[2], h[3]);
        s.hidden[f / 4 * 8 + 4 + f % 4] =
            pack_bytes(t[0] - h[0] * 256, t[1] - h[1] * 256, t[2] - h[2] * 256, t[3] - h[3] * 256);
        const unsigned mask = __activemask();
        total += __shfl_xor_sync(mask, total, 1);
        total += __shfl_xor_sync(mask, total, 2);
        if (f % 4 == 0) s.sum[f / 4] = total;
      }
    }
    __syncthreads();
    return kIsF16<Tiles> ? 1.0f : top / 32639.0f;
  }

  // Adds one group of 128 columns to the sums of rows g and g + 8; of F16, to a product's sums.
  __device__ __forceinline__ void add(const uint8_t *p, int at, float &f0, float &f1, float (&acc)[4]) const {
    const int g = lane / 4, c = lane & 3, part = g & 1, group = g >> 1;
    if constexpr (kIsF16<Tiles>) {
      const uint32_t *h = s.hidden + part * (kSize / 2) + at * 8 + c;
#pragma unroll
      for (int t = 0; t < 8; ++t) {
        const uint4 w = *reinterpret_cast<const uint4 *>(p + t * 512 + lane * 16);
        multiply(acc, w.x, w.y, w.z, w.w, h[t * 8], h[t * 8 + 4]);
      }
    } else if constexpr (kIsQ8_0<Tiles>) {
      const uint32_t b0 = s.hidden[(at + 2 * group) * 8 + part * 4 + c], b1 = s.hidden[(at + 2 * group + 1) * 8 + part * 4 + c];
      IntTile d = {};
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        const uint4 w = *reinterpret_cast<const uint4 *>(p + t * 512 + lane * 16);
        multiply(d, w.x, w.y, w.z, w.w, group == t ? b0 : 0, group == t ? b1 : 0);
      }
      const Half *scale = reinterpret_cast<const Half *>(p + 2048) + c * 16 + g;
      f0 = fmaf(d.sum[0] * 256 + d.sum[1], to_float(scale[0]), f0);
      f1 = fmaf(d.sum[2] * 256 + d.sum[3], to_float(scale[8]), f1);
    } else {
      const uint4 upper = *reinterpret_cast<const uint4 *>(p + 1024 + lane * 16);
      const uint32_t upper_of[4] = {upper.x, upper.y, upper.z, upper.w};
      const int8_t *scale = reinterpret_cast<const int8_t *>(p + 1536) + c * 16 + g;
      const Half *whole = reinterpret_cast<const Half *>(p + 1664) + g;
      const float d0 = to_float(whole[0]), d1 = to_float(whole[8]);
#pragma unroll
      for (int u = 0; u < 2; ++u) {
        const uint4 low = *reinterpret_cast<const uint4 *>(p + u * 512 + lane * 16);
        const uint32_t b = s.hidden[(at + 4 * u + group) * 8 + part * 4 + c];
        IntTile d = {};
#pragma unroll
        for (int t = 0; t < 2; ++t) {
          uint32_t a[4];
          six_bits(a, t ? low.z : low.x, t ? low.w : low.y, upper_of[u * 2 + t]);
          multiply(d, a[0], a[1], a[2], a[3], group == 2 * t ? b : 0, group == 2 * t + 1 ? b : 0);
        }
        const int less = 32 * s.sum[at + 4 * u + c];
        f0 = fmaf(d.sum[0] * 256 + d.sum[1] - less, d0 * scale[u * 64], f0);
        f1 = fmaf(d.sum[2] * 256 + d.sum[3] - less, d1 * scale[u * 64 + 8], f1);
      }
    }
  }

  __device__ __forceinline__ void run() {
    let_next_begin();
    start();
    float4 v[kPer];
    const float top = fmaxf(norm(v), 1e-30f), scale = split(v, top);
    const int g = lane / 4, c = lane & 3;
    unsigned long long best = 0;
    int job = 0;
    for (int block = warp; block < count; block += kWarps) {
      float f0 = 0, f1 = 0, acc[4] = {};
      for (int i = 0; i < kJobs; ++i, ++job) {
        const uint8_t *p = wait(job);
#pragma unroll 2
        for (int group = 0; group < kJobGroups; ++group, p += Tiles::group_bytes) {
          add(p, (i * kJobGroups + group) * 8, f0, f1, acc);
        }
        load(job + kStages);
      }
      if constexpr (kIsF16<Tiles>) {
        f0 = acc[0] + acc[1], f1 = acc[2] + acc[3];
      } else {
#pragma unroll
        for (int d = 1; d < 4; d *= 2) f0 += __shfl_xor_sync(~0u, f0, d), f1 += __shfl_xor_sync(~0u, f1, d);
        f0 *= scale, f1 *= scale;
      }
      const int row = (first + block) * 16 + g;
      if (c != 0) continue;
      if (row < S::rows) args.logits[row] = f0;
      if (row + 8 < S::rows) args.logits[row + 8] = f1;
      if (row < args.choices) best = max(best, candidate(f0, row));
      if (row + 8 < args.choices) best = max(best, candidate(f1, row + 8));
    }
    choose(best);
  }

  // The last block to arrive knows the largest of all.
  __device__ __forceinline__ void choose(unsigned long long best) {
#pragma unroll
    for (int d = 16; d; d /= 2) best = max(best, __shfl_xor_sync(~0u, best, d));
    if (lane == 0) s.best[warp] = best;
    __syncthreads();
    if (tid != 0) return;
    for (int i = 1; i < kWarps; ++i) best = max(best, s.best[i]);
    Found *found = buffer<Found>(args, S::found);
    atomicMax(&found->best, best);
    __threadfence();
    if (atomicAdd(&found->done, 1) != gridDim.x - 1) return;
    __threadfence();
    found->done = 0;
    const int id = id_of(atomicExch(&found->best, 0ull));
    if (args.samplers == nullptr) answer(args, 0, id);
  }
};

template <class S>
__device__ __forceinline__ void head_one(const bn_cuda_args &args) {
  OneHead<S>{*reinterpret_cast<typename OneHead<S>::Shared *>(dynamic_shared), args}.run();
}

// ---- many rows of logits -----------------------------------------------------------------------------------------------

// A fragments of 32 columns, as halves: word of lane 4g + c are columns 16 h + 4 c + 0, 1 and 2, 3 of fragment h; codes of
// int8 are exact as halves, and are scaled afterwards, rows g and g + 8. Codes of six bits times their group's int8 scale
// are at most 4096, and exact as halves or nearly; what is left is a scale for each 256 columns. F16 keeps its own order.
template <class Tiles>
__device__ __forceinline__ void fragments(uint32_t (&a)[2][4], float2 &scale, const uint8_t *p, int t, int lane) {
  if constexpr (kIsF16<Tiles>) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint4 w = __ldg(reinterpret_cast<const uint4 *>(p + (2 * t + half) * 512) + lane);
      a[half][0] = w.x, a[half][1] = w.y, a[half][2] = w.z, a[half][3] = w.w;
    }
  } else {
    const int g = lane / 4;
    uint32_t codes[4];  // rows g and g + 8 of the first sixteen columns, then of the second
    float factor[2][2] = {{1, 1}, {1, 1}};
    constexpr int kLess = kIsQ8_0<Tiles> ? 0 : 32;
    if constexpr (kIsQ8_0<Tiles>) {
      const uint4 w = __ldg(reinterpret_cast<const uint4 *>(p + t * 512) + lane);
      codes[0] = w.x, codes[1] = w.y, codes[2] = w.z, codes[3] = w.w;
      const Half *scales = reinterpret_cast<const Half *>(p + 2048) + t * 16 + g;
      scale = {to_float(scales[0]), to_float(scales[8])};
    } else {
      const uint2 low = __ldg(reinterpret_cast<const uint2 *>(p + t / 2 * 512 + lane * 16 + t % 2 * 8));
      const uint32_t upper = __ldg(reinterpret_cast<const uint32_t *>(p + 1024 + lane * 16 + t * 4));
      six_bits(codes, low.x, low.y, upper);
      const Half *whole = reinterpret_cast<const Half *>(p + 1664) + g;
      scale = {to_float(whole[0]), to_float(whole[8])};
      const int8_t *scales = reinterpret_cast<const int8_t *>(p + 1536) + 2 * t * 16 + g;
#pragma unroll
      for (int half = 0; half < 2; ++half) factor[half][0] = scales[half * 16], factor[half][1] = scales[half * 16 + 8];
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int high = 0; high < 2; ++high) {
        const uint32_t w = codes[2 * half + high];
        const auto at = [&](int b) {
          return static_cast<float>(static_cast<int8_t>(w >> (8 * b)) - kLess) * factor[half][high];
        };
        a[half][high] = pack_halves(at(0), at(1));
        a[half][2 + high] = pack_halves(at(2), at(3));
      }
    }
  }
}

// The hidden state of a token as the last norm leaves it for many rows of logits: two halves (high, low) whose sum is the
// value, first all high ones, then all low ones. For tables of bytes, each sixteen columns are in the order in which
// fragments() takes them: pairs of quads 0 to 3, first the first pairs, then the second.
template <class Tiles>
__device__ __forceinline__ void split_hidden(uint8_t *row, int size, int quad, const float4 &v) {
  const uint32_t high[2] = {pack_halves(v.x, v.y), pack_halves(v.z, v.w)};
  const float2 a = unpack_halves(high[0]), b = unpack_halves(high[1]);
  const uint32_t low[2] = {pack_halves(v.x - a.x, v.y - a.y), pack_halves(v.z - b.x, v.w - b.y)};
  const int first = kIsF16<Tiles> ? quad * 8 : quad / 4 * 32 + quad % 4 * 4, second = first + (kIsF16<Tiles> ? 4 : 16);
  *reinterpret_cast<uint32_t *>(row + first) = high[0];
  *reinterpret_cast<uint32_t *>(row + second) = high[1];
  *reinterpret_cast<uint32_t *>(row + 2 * size + first) = low[0];
  *reinterpret_cast<uint32_t *>(row + 2 * size + second) = low[1];
}

// logits[t][row] for Tokens of the rows wanted: a warp for each row block; hidden states pass through shared memory, 128
// columns at a time, in three stages.
constexpr int kHeadStages = 3;
template <int Tokens>
constexpr int kHeadStage = Tokens * 2 * 256;
template <int Tokens>
constexpr int kHeadShared = kHeadStages * kHeadStage<Tokens>;

template <class S, int Tokens>
__device__ __forceinline__ void head_many(const bn_cuda_args &args) {
  using Tiles = typename S::Tiles;
  constexpr int kBlocks = (S::rows + 15) / 16, kGroups = S::size / 128, kThreads = 256;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, c = lane % 4;
  const int block = blockIdx.x * 8 + warp, start = blockIdx.y * Tokens, rows = min(Tokens, args.logits_count - start);
  const uint8_t *p = args.weights + S::table + int64_t{min(block, kBlocks - 1)} * kGroups * Tiles::group_bytes;
  let_next_begin();
  wait_for_inputs();
  const uint8_t *hidden = buffer<const uint8_t>(args, S::hidden) + int64_t{start} * S::stride * 4;
  const uint32_t stages = shared_address(dynamic_shared);
  const auto load = [&](int group) {
    if (group < kGroups) {
      for (int i = tid; i < Tokens * 32; i += kThreads) {
        const int r = i / 16, chunk = i % 16;  // r: twice the row, high or low
        const uint8_t *from = hidden + int64_t{min(r / 2, rows - 1)} * S::stride * 4 + (r & 1) * 2 * S::size;
        copy16(stages + group % kHeadStages * kHeadStage<Tokens> + r * 256 + ((chunk ^ (r & 7)) * 16),
               from + group * 256 + chunk * 16);
      }
    }
    commit_copies();
  };
  float part[Tokens / 4][4] = {}, sum[Tokens / 4][4] = {};
  load(0);
  load(1);
#pragma unroll 1
  for (int group = 0; group < kGroups; ++group, p += Tiles::group_bytes) {
    if (group + 1 < kGroups) {
      for (int at = lane * 128; at < Tiles::group_bytes; at += 32 * 128) prefetch(p + Tiles::group_bytes + at);
    }
    wait_copies<1>();
    __syncthreads();
    load(group + 2);
    const uint32_t stage = stages + group % kHeadStages * kHeadStage<Tokens>;
#pragma unroll
    for (int t = 0; t < 4; ++t) {  // 32 columns
      uint32_t a[2][4];
      float2 scale;
      fragments<Tiles>(a, scale, p, t, lane);
      // Where the scale changes, the sums of products so far are scaled and put to the others.
      const bool scales_end = kIsQ8_0<Tiles> || (t == 3 && (group & 1 || group + 1 == kGroups));
#pragma unroll
      for (int n = 0; n < Tokens / 4; ++n) {
        uint32_t b[4];
        const int r = n * 8 + (lane & 7), chunk = 4 * t + (lane >> 3);
        load_matrices(b, stage + r * 256 + ((chunk ^ (r & 7)) * 16));
        multiply(part[n], a[0][0], a[0][1], a[0][2], a[0][3], b[0], b[1]);
        multiply(part[n], a[1][0], a[1][1], a[1][2], a[1][3], b[2], b[3]);
        if constexpr (!kIsF16<Tiles>) {
          if (!scales_end) continue;
          sum[n][0] = fmaf(part[n][0], scale.x, sum[n][0]), sum[n][1] = fmaf(part[n][1], scale.x, sum[n][1]);
          sum[n][2] = fmaf(part[n][2], scale.y, sum[n][2]), sum[n][3] = fmaf(part[n][3], scale.y, sum[n][3]);
          part[n][0] = part[n][1] = part[n][2] = part[n][3] = 0;
        }
      }
    }
  }
  if (block >= kBlocks) return;
  // Columns 2 c and 2 c + 1 are the high and low part of one row of logits.
#pragma unroll
  for (int n = 0; n < Tokens / 4; ++n) {
    const int t = n * 4 + c, row = block * 16 + g;
    if (t >= rows) continue;
    float *out = args.logits + int64_t{start + t} * S::rows;
    const float *total = kIsF16<Tiles> ? part[n] : sum[n];
    if (row < S::rows) out[row] = total[0] + total[1];
    if (row + 8 < S::rows) out[row + 8] = total[2] + total[3];
  }
}

// Ternary matrices times many tokens, on tensor cores.
//
// Weights: two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow
// each other along K, and the row blocks along M. Lane 4g + c of a warp owns 16 bytes of a tile, words 0 to 3: byte b of
// word i holds row g + 8 (i & 1), column 32 j + 16 (i >> 1) + 4 c + b at bits 2j and 2j + 1. So for each j the four words
// are the A fragment of a 16 x 32 product, and one wide load feeds four of them. Columns beyond the end meet activations
// of zero.
//
// Sums of codes times activations, less the sum of the activations, are the ternary sums: exact in int32.
#pragma once

#include "cuda.h"
#include "primitives.cuh"
#include "rows.cuh"
#include "wgmma.cuh"

// What a matrix M tells of itself: rows, columns (a multiple of 128), where codes, scales, q, quant and out lie, the floats
// from one token's out to the next's, whether to add to it, and the gate's activation where gate and up are woven: then
// rows 0 to 7 of a block are gate rows and rows 8 to 15 the same up rows, and row 8 i + g of the result is theirs. And how
// its kernels are cut, by the tokens of a step: one, few (16), some (64), many.

// How a thread block computes: row blocks that it has, its warps, what shares K (of one token the warps of a row block, of
// a few the thread blocks of a cluster), and tiles of K that are under way at once.
struct Cut {
  int blocks, warps, split, stages;
};

// Rows g and g + 8 of a row block, one token.
template <class M>
__device__ __forceinline__ void write_rows(const bn_cuda_args &args, int t, int block, int g, int low, int high,
                                           float2 scale, const bn_quant &quant) {
  if (t >= args.token_count) return;
  low -= quant.sum, high -= quant.sum;
  if (args.sums) {
    args.sums[int64_t{t} * M::rows + block * 16 + g] = low;
    args.sums[int64_t{t} * M::rows + block * 16 + g + 8] = high;
    return;
  }
  float *out = own_row<M>(args, t);
  const float a = __fmul_rn(low, scale.x * quant.inverse_scale), b = __fmul_rn(high, scale.y * quant.inverse_scale);
  if constexpr (M::activation != Activation::none) {
    out[block * 8 + g] = gated<M::activation>(a, b);
  } else if constexpr (M::accumulate) {
    out[block * 16 + g] += a;
    out[block * 16 + g + 8] += b;
  } else {
    out[block * 16 + g] = a;
    out[block * 16 + g + 8] = b;
  }
}

// What quantising a token left behind.
template <class M>
__device__ __forceinline__ bn_quant quant_of(const bn_cuda_args &args, int t) {
  const float2 pair = __ldcg(buffer<const float2>(args, M::quant) + t);
  return {pair.x, __float_as_int(pair.y)};
}

// One for each half of a row block.
template <class M>
__device__ __forceinline__ float2 scales_of(const uint8_t *layer_weights, int block) {
  return __ldg(reinterpret_cast<const float2 *>(layer_weights + M::scales) + block);
}

template <class M>
constexpr int kBlocks = M::rows / 16;
template <class M>
constexpr int kTiles = M::columns / 128;

template <class M>
__device__ __forceinline__ const uint4 *tiles_of(const uint8_t *layer_weights, int block) {
  return reinterpret_cast<const uint4 *>(layer_weights + M::codes + int64_t{block} * M::columns * 4) + threadIdx.x % 32;
}

// ---- up to 16, and up to 64 tokens ------------------------------------------------------------------------------------------------

// Row blocks of a thread block, which its warps share K of, and those of the cluster that it is in.
template <class M, int Tokens>
constexpr Cut cut_of() {
  if constexpr (Tokens == 16) return M::few;
  else return M::some;
}
template <class M, int Tokens>
struct Skinny {
  static constexpr Cut kCut = cut_of<M, Tokens>();
  static constexpr int kMine = kCut.blocks, kSplit = kCut.split, kStages = kCut.stages, kTokens = Tokens;
  // Eight pipelines of 64 tokens need the shared memory of sm_90; four fit the least there is.
  static constexpr bool kRoomy = kSharedBytes > kCut.warps * kStages * kTokens * 128;
  static constexpr int kWarps = kRoomy ? kCut.warps : kCut.warps / 2;
  // Row sums of a token, a row padded by one bank.
  static constexpr int kStride = kTokens + 1, kSumBytes = kMine * 16 * kStride * 4;
  static constexpr int kStageBytes = kWarps * kStages * kTokens * 128;
  static constexpr int kThreads = kWarps * 32, kShared = kStageBytes > kSumBytes ? kStageBytes : kSumBytes;
  static constexpr int kGrid = kBlocks<M> / kMine * kSplit;
};

template <class M, int Tokens>
__device__ __forceinline__ void gemm_skinny(const bn_cuda_args &args, const uint8_t *layer_weights) {
  using Shape = Skinny<M, Tokens>;
  constexpr int kMine = Shape::kMine, kWarps = Shape::kWarps, kStages = Shape::kStages, kThreads = Shape::kThreads;
  constexpr int kTokens = Tokens, kStageBytes = kTokens * 128, kSplit = Shape::kSplit;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, c = lane % 4;
  // Which of the thread blocks that share K this is, and the tiles of K that its warps take.
  const int own = blockIdx.x % kSplit, first = own * kWarps + warp;
  constexpr int kStep = kSplit * kWarps;
  const int block0 = static_cast<int>(blockIdx.x / kSplit) * kMine;
  const uint32_t stages = shared_address(dynamic_shared) + warp * kStages * kStageBytes;
  let_next_begin();
  // The weights do not wait for the activations.
  for (int i = own * kThreads + tid; i < kMine * M::columns * 4 / 128; i += kSplit * kThreads) {
    prefetch(layer_weights + M::codes + int64_t{block0} * M::columns * 4 + i * 128);
  }
  wait_for_inputs();
  const uint8_t *q = buffer<const uint8_t>(args, M::q);
  const auto load = [&](int i) {
    const int tile = first + i * kStep;
    if (tile < kTiles<M>) {
#pragma unroll
      for (int p = 0; p < kTokens / 4; ++p) {
        const int chunk = (lane + p * 32) * 16;
        copy16(stages + (i % kStages) * kStageBytes + chunk, q + static_cast<size_t>(tile) * kTileBytes + chunk);
      }
    }
    commit_copies();
  };
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) load(i);
  uint4 w[kMine], next[kMine];
  if (first < kTiles<M>) {
#pragma unroll
    for (int r = 0; r < kMine; ++r) w[r] = __ldg(tiles_of<M>(layer_weights, block0 + r) + first * 32);
  }
  IntTile acc[kMine][kTokens / 8] = {};
  // Matrices 0 and 1 of a load are the halves of 32 columns of eight tokens, 2 and 3 those of the next eight.
  const int row = lane & 7, token = (lane >> 4) * 8 + row, half = (lane >> 3) & 1;
#pragma unroll 1
  for (int i = 0, tile = first; tile < kTiles<M>; ++i, tile += kStep) {
    if (tile + kStep < kTiles<M>) {
#pragma unroll
      for (int r = 0; r < kMine; ++r) next[r] = __ldg(tiles_of<M>(layer_weights, block0 + r) + (tile + kStep) * 32);
    }
    wait_copies<kStages - 2>();
    __syncwarp();
    load(i + kStages - 1);
    const uint32_t stage = stages + (i % kStages) * kStageBytes;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      uint32_t b[kTokens / 4];
#pragma unroll
      for (int n = 0; n < kTokens / 16; ++n) {
        load_matrices(b + 4 * n, stage + (n * 16 + token) * 128 + (((2 * j + half) ^ row) * 16));
      }
#pragma unroll
      for (int r = 0; r < kMine; ++r) {
        const uint32_t a[4] = {codes_of(w[r].x, j), codes_of(w[r].y, j), codes_of(w[r].z, j), codes_of(w[r].w, j)};
#pragma unroll
        for (int n = 0; n < kTokens / 8; ++n) multiply(acc[r][n], a[0], a[1], a[2], a[3], b[2 * n], b[2 * n + 1]);
      }
    }
    __syncwarp();
#pragma unroll
    for (int r = 0; r < kMine; ++r) w[r] = next[r];
  }
  wait_copies<0>();
  __syncthreads();
  // Sums over the warps: [row][token].
  int *sums = reinterpret_cast<int *>(dynamic_shared);
  constexpr int kStride = Shape::kStride;
  for (int i = tid; i < kMine * 16 * kStride; i += kThreads) sums[i] = 0;
  __syncthreads();
#pragma unroll
  for (int r = 0; r < kMine; ++r) {
#pragma unroll
    for (int n = 0; n < kTokens / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        atomicAdd(&sums[(r * 16 + g + (e >> 1) * 8) * kStride + n * 8 + 2 * c + (e & 1)], acc[r][n].sum[e]);
      }
    }
  }
  wait_for_team<kSplit>();
  for (int i = own * kThreads + tid; i < kMine * 8 * kTokens; i += kSplit * kThreads) {
    const int t = i / (kMine * 8), r = i / 8 % kMine, at = r * 16 + i % 8;
    const int low = sum_of_team<kSplit>(&sums[at * kStride + t]), high = sum_of_team<kSplit>(&sums[(at + 8) * kStride + t]);
    write_rows<M>(args, t, block0 + r, i % 8, low, high, scales_of<M>(layer_weights, block0 + r), quant_of<M>(args, t));
  }
  // Nobody leaves while others read what is here.
  if constexpr (kSplit > 1) wait_for_team<kSplit>();
}

// ---- many tokens, on any GPU from sm_80 ------------------------------------------------------------------------------

// A thread block: 128 rows x 128 tokens, 8 warps of 32 rows x 64 tokens.
constexpr int kMmaStages = 5;
template <class M>
__device__ __forceinline__ void gemm_mma(const bn_cuda_args &args, const uint8_t *layer_weights) {
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, c = lane % 4;
  const int block0 = blockIdx.x * 8 + (warp & 3) * 2, token0 = blockIdx.y * 128, first = (warp >> 2) * 64;
  const uint32_t stages = shared_address(dynamic_shared);
  const bool in0 = block0 < kBlocks<M>, in1 = block0 + 1 < kBlocks<M>;
  const uint4 *w0 = tiles_of<M>(layer_weights, in0 ? block0 : 0), *w1 = tiles_of<M>(layer_weights, in1 ? block0 + 1 : 0);
  let_next_begin();
  wait_for_inputs();
  const uint8_t *tiles = buffer<const uint8_t>(args, M::q) + static_cast<size_t>(blockIdx.y) * kTiles<M> * kTileBytes;
  const auto load = [&](int tile) {
    if (tile < kTiles<M>) {
#pragma unroll
      for (int i = 0; i < kTileBytes / 16 / 256; ++i) {
        const int chunk = (tid + i * 256) * 16;
        copy16(stages + (tile % kMmaStages) * kTileBytes + chunk, tiles + static_cast<size_t>(tile) * kTileBytes + chunk);
      }
    }
    commit_copies();
  };
  for (int i = 0; i < kMmaStages - 1; ++i) load(i);
  uint4 a0 = __ldg(w0), a1 = __ldg(w1);
  IntTile acc[2][8] = {};
  const int row = lane & 7, token = (lane >> 4) * 8 + row, half = (lane >> 3) & 1;
#pragma unroll 1
  for (int tile = 0; tile < kTiles<M>; ++tile) {
    wait_copies<kMmaStages - 2>();
    __syncthreads();
    load(tile + kMmaStages - 1);
    uint4 n0{}, n1{};
    if (tile + 1 < kTiles<M>) n0 = __ldg(w0 + (tile + 1) * 32), n1 = __ldg(w1 + (tile + 1) * 32);
    const uint32_t stage = stages + (tile % kMmaStages) * kTileBytes;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      uint32_t b[16];
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        load_matrices(b + 4 * n, stage + (first + n * 16 + token) * 128 + (((2 * j + half) ^ row) * 16));
      }
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        multiply(acc[0][n], codes_of(a0.x, j), codes_of(a0.y, j), codes_of(a0.z, j), codes_of(a0.w, j), b[2 * n],
                 b[2 * n + 1]);
        multiply(acc[1][n], codes_of(a1.x, j), codes_of(a1.y, j), codes_of(a1.z, j), codes_of(a1.w, j), b[2 * n],
                 b[2 * n + 1]);
      }
    }
    a0 = n0, a1 = n1;
  }
  bn_quant quant[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) quant[i] = quant_of<M>(args, token0 + first + i / 2 * 8 + 2 * c + i % 2);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (block0 + r >= kBlocks<M>) continue;
    const float2 scale = scales_of<M>(layer_weights, block0 + r);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const int t = token0 + first + n * 8 + 2 * c;
      const int *sum = acc[r][n].sum;
      write_rows<M>(args, t, block0 + r, g, sum[0], sum[2], scale, quant[2 * n]);
      write_rows<M>(args, t + 1, block0 + r, g, sum[1], sum[3], scale, quant[2 * n + 1]);
    }
  }
}

#ifdef WGMMA

// ---- many tokens, on sm_90 -------------------------------------------------------------------------------------------

// A thread block: 128 rows (two warpgroups of 64) x Tokens. Weights go from memory to registers, where they are unpacked
// to A fragments; a producer warp copies the tiles of activations.
template <int Tokens, int Stages>
constexpr int kWgmmaShared = Stages * Tokens * 128 + 1024;

template <class M, int Tokens, int Stages>
__device__ __forceinline__ void gemm_wgmma(const bn_cuda_args &args, const uint8_t *layer_weights) {
  constexpr int kStages = Stages, kBytes = Tokens * 128, kPartBytes = Tokens < 128 ? kBytes : kTileBytes;
  uint8_t *stages = dynamic_shared + (1024 - (shared_address(dynamic_shared) & 1023)) % 1024;
  __shared__ uint64_t full[kStages], empty[kStages];
  __shared__ bn_quant quant[Tokens];
  const int tid = threadIdx.x, warp = __shfl_sync(~0u, tid / 32, 0), lane = tid % 32;
  if (tid < kStages) init_barrier(&full[tid], 1), init_barrier(&empty[tid], 8);
  publish_barriers();
  __syncthreads();
  let_next_begin();
  if (warp >= 8) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
    if (warp == 8 && lane == 0) {
      wait_for_inputs();
      const uint8_t *q = buffer<const uint8_t>(args, M::q);
      for (int tile = 0; tile < kTiles<M>; ++tile) {
        const int s = tile % kStages;
        if (tile >= kStages) wait_barrier(&empty[s], (tile / kStages - 1) & 1);
        expect_bytes(&full[s], kBytes);
        for (int part = 0; part < kBytes / kPartBytes; ++part) {
          const size_t at = static_cast<size_t>(blockIdx.y * (kBytes / kPartBytes) + part) * kTiles<M> + tile;
          copy_bulk(stages + s * kBytes + part * kPartBytes, q + at * kTileBytes, kPartBytes, &full[s]);
        }
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
    const int g = lane / 4, c = lane % 4, block = blockIdx.x * 8 + warp;
    const bool inside = block < kBlocks<M>;
    const uint4 *w = tiles_of<M>(layer_weights, inside ? block : 0);
    int d[Tokens / 2];
#pragma unroll
    for (int i = 0; i < Tokens / 2; ++i) d[i] = 0;
    for (int i = lane; i < kTiles<M> * 4; i += 32) prefetch(reinterpret_cast<const uint8_t *>(w - lane) + i * 128);
    uint4 now = __ldg(w), next = __ldg(w + (kTiles<M> > 1 ? 32 : 0));
#pragma unroll 1
    for (int tile = 0; tile < kTiles<M>; ++tile) {
      uint32_t a[16];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        a[4 * j] = codes_of(now.x, j), a[4 * j + 1] = codes_of(now.y, j);
        a[4 * j + 2] = codes_of(now.z, j), a[4 * j + 3] = codes_of(now.w, j);
      }
      now = next;
      next = __ldg(w + min(tile + 2, kTiles<M> - 1) * 32);
      const int s = tile % kStages;
      wait_barrier(&full[s], (tile / kStages) & 1);
      // K-major, 128-byte swizzle, 1024 bytes from eight tokens to the next eight.
      const uint64_t q = uint64_t(shared_address(stages + s * kBytes) >> 4 & 0x3fff) | uint64_t(1) << 16 |
                         uint64_t(64) << 32 | uint64_t(1) << 62;
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
      for (int j = 0; j < 4; ++j) wgmma(d, a + 4 * j, q + 2 * j);
      asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      if (lane == 0) arrive(&empty[s]);
    }
    wait_for_inputs();  // of what it adds to
    if (tid < Tokens) quant[tid] = quant_of<M>(args, blockIdx.y * Tokens + tid);
    asm volatile("bar.sync 1, 256;" ::: "memory");  // all but the producer's warps
    if (inside) {
      const float2 scale = scales_of<M>(layer_weights, block);
#pragma unroll
      for (int n = 0; n < Tokens / 8; ++n) {
        const int t = n * 8 + 2 * c, token = blockIdx.y * Tokens + t;
        write_rows<M>(args, token, block, g, d[4 * n], d[4 * n + 2], scale, quant[t]);
        write_rows<M>(args, token + 1, block, g, d[4 * n + 1], d[4 * n + 3], scale, quant[t + 1]);
      }
    }
  }
}

#endif

// ---- what the tensor cores can do -------------------------------------------------------------------------------------

// Rounds of int8 products that depend on nothing but their own sums.
__device__ __forceinline__ void probe_products(const bn_cuda_args &args) {
  const uint32_t seed = threadIdx.x * 2654435761u;
  const uint32_t a[4] = {seed, seed ^ 0x9e3779b9u, seed * 3, seed * 5};
#ifdef WGMMA
  for (int i = threadIdx.x; i < 8192; i += blockDim.x) reinterpret_cast<uint32_t *>(dynamic_shared)[i] = i * 2246822519u;
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  const uint64_t q = uint64_t(shared_address(dynamic_shared) >> 4 & 0x3fff) | uint64_t(1) << 16 | uint64_t(64) << 32 |
                     uint64_t(1) << 62;
  int d[128] = {};
  for (int round = 0; round < args.choices; ++round) {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int j = 0; j < 4; ++j) wgmma(d, a, q + 2 * j);
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  }
  int sum = 0;
#pragma unroll
  for (int i = 0; i < 128; ++i) sum ^= d[i];
#else
  IntTile d[8] = {};
  for (int round = 0; round < args.choices; ++round) {
#pragma unroll
    for (int j = 0; j < 8; ++j) multiply(d[j], a[0], a[1], a[2], a[3], seed, ~seed);
  }
  int sum = 0;
#pragma unroll
  for (int j = 0; j < 8; ++j) sum ^= d[j].sum[0] ^ d[j].sum[3];
#endif
  if (sum == 0x7fffffff) args.best[0] = sum;  // keeps the products alive
}
#ifdef WGMMA
constexpr int kProbeThreads = 256, kProbeShared = 256 * 128;
constexpr int64_t kProbeMacs = int64_t{2} * 4 * 64 * 256 * 32;
#else
constexpr int kProbeThreads = 512, kProbeShared = 0;
constexpr int64_t kProbeMacs = int64_t{16} * 8 * 16 * 8 * 32;
#endif

// The activations of a trial for the kernels that read tiles: compiler/kernels/self-test.ts has them, too.
template <class M>
__device__ __forceinline__ void fill_trial(const bn_cuda_args &args) {
  __shared__ int shared[8];
  const int t = blockIdx.y;
  int sum = 0;
  for (int k = threadIdx.x; k < M::columns; k += 256) {
    const int q = k < M::size ? (k * 37 + t * 101 + 11) % 255 - 127 : 0;
    buffer<uint8_t>(args, M::q)[tile_offset(t, k, M::columns)] = static_cast<uint8_t>(q);
    sum += q;
  }
  sum = block_sum<256>(sum, shared);
  if (threadIdx.x == 0) buffer<bn_quant>(args, M::quant)[t] = {1.0f, sum};
}

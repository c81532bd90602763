// One token: norm, quantise, ternary matrix and what follows it, in one launch.
//
// Every thread block norms and quantises the whole vector for itself, which is less work than a launch of its own, and
// multiplies a share of the row blocks. Their weights are on the way to shared memory before the launch that computes the
// vector has ended. The weights' layout is drawn in gemm.cuh.
#pragma once

#include "cuda.h"
#include "gemm.cuh"
#include "primitives.cuh"
#include "rows.cuh"

// Row blocks of a thread block at most.
constexpr int kMostBlocks = 16;

// Of a matrix L, which also tells of its input: size, input, norm, epsilon, and, where it is gate and up one behind the
// other, up_offset and input_gate.
template <class L>
struct Gemv {
  static constexpr int kWarps = L::one.warps, kThreads = kWarps * 32;
  // Warps that share a row block, each with its part of K.
  static constexpr int kShare = L::one.split;
  // A stage of the ring: tiles of one row block.
  static constexpr int kStageTiles = 20, kStageBytes = kStageTiles * 512;
  static constexpr int kChunks = (kTiles<L> + kStageTiles - 1) / kStageTiles;
  // Norms as the CPU does; and scales as it does, too, where no norm has been rounded otherwise before them.
  static constexpr bool kExact = L::norm >= 0 && kShort<L::size>, kExactScale = kExact || L::norm < 0;
  static constexpr int kQuads = (L::size + 3) / 4, kPer = (L::columns / 4 + kThreads - 1) / kThreads;
  // As many stages as there is room for beside the vector.
  static constexpr int kRoom = kSharedBytes - (kExact ? 5 : 1) * L::columns - (4 << 10);
  static constexpr int kStages = kRoom / kStageBytes < 7 ? kRoom / kStageBytes : 7;

  struct Shared {
    uint64_t full[kStages];
    float2 norm[kWarps];
    int part[kWarps];
    int sums[kMostBlocks * 16];
    alignas(16) uint32_t q[L::columns / 4];
    alignas(16) float row[kExact ? L::columns : 4];
#if __CUDA_ARCH__ >= 900
    alignas(128) uint8_t ring[kStages][kStageBytes];
#endif
  };

  Shared &s;
  const bn_cuda_args &args;
  const uint8_t *weights;  // of the layer
  const int tid = threadIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int first = blockIdx.x * kBlocks<L> / gridDim.x, count = (blockIdx.x + 1) * kBlocks<L> / gridDim.x - first;

  __device__ __forceinline__ const uint8_t *chunk_of(int block, int chunk) const {
    return weights + L::codes + int64_t{first + block} * L::columns * 4 + chunk * kStageBytes;
  }

  // Fills the ring; what does not fit is at least on its way to the second-level cache.
  __device__ __forceinline__ void start() {
    for (int i = tid; i < kMostBlocks * 16; i += kThreads) s.sums[i] = 0;
#if __CUDA_ARCH__ >= 900
    if (tid < kStages) init_barrier(&s.full[tid], 1);
    publish_barriers();
    __syncthreads();
    if (tid < count * kChunks) {
      const int chunk = tid % kChunks, bytes = min(kStageTiles, kTiles<L> - chunk * kStageTiles) * 512;
      const uint8_t *from = chunk_of(tid / kChunks, chunk);
      if (tid < kStages) {
        expect_bytes(&s.full[tid], bytes);
        copy_bulk(s.ring[tid], from, bytes, &s.full[tid]);
      } else {
        asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
      }
    }
#else
    for (int i = tid; i < count * kTiles<L> * 4; i += kThreads) prefetch(chunk_of(0, 0) + i * 128);
    __syncthreads();
#endif
  }

  // ---- the vector ----

  float4 v[kPer];

  __device__ __forceinline__ void load_norm(float4 (&w)[kPer]) const {
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int quad = tid + i * kThreads;
      w[i] = quad < kQuads ? __ldg(reinterpret_cast<const float4 *>(weights + L::norm) + quad) : float4{0, 0, 0, 0};
    }
  }

  __device__ __forceinline__ void load_vector() {
    const float *row = buffer<const float>(args, L::input);
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int quad = tid + i * kThreads;
      v[i] = {0, 0, 0, 0};
      if (quad >= kQuads) continue;
      const float *at = row + value_offset<L>(args, 0, 4 * quad);
      v[i] = load_within<L::size>(at, 4 * quad);
      if constexpr (L::input_gate != Activation::none) {
        const float4 up = load_within<L::size>(at + L::up_offset, 4 * quad);
        v[i] = {gated<L::input_gate>(v[i].x, up.x), gated<L::input_gate>(v[i].y, up.y), gated<L::input_gate>(v[i].z, up.z),
                gated<L::input_gate>(v[i].w, up.w)};
      }
    }
  }

  // v becomes its RMS norm times w (unless there is none); returns the largest of |v|.
  __device__ __forceinline__ float norm(const float4 (&w)[kPer]) {
    if constexpr (kExact) {
#pragma unroll
      for (int i = 0; i < kPer; ++i) {
        const int quad = tid + i * kThreads;
        if (quad < kQuads) reinterpret_cast<float4 *>(s.row)[quad] = v[i];
      }
      __syncthreads();
      scale_by(1.0f / sqrtf(squares_in_lanes<L::size>(s.row) / L::size + L::epsilon), w);
      return largest_of_all();
    } else if constexpr (L::norm >= 0) {
      // One exchange for both: the largest of |v w| is known before the factor that all share.
      float sum = 0, top = 0;
#pragma unroll
      for (int i = 0; i < kPer; ++i) {
        sum += squares(v[i]);
        top = fmaxf(top, largest({v[i].x * w[i].x, v[i].y * w[i].y, v[i].z * w[i].z, v[i].w * w[i].w}));
      }
      const float2 all = exchange(warp_sum(sum), warp_max(top));
      float total = all.x;
#pragma unroll
      for (int d = kWarps / 2; d; d /= 2) total += __shfl_xor_sync(~0u, total, d);
      const float r = rsqrtf(total * (1.0f / L::size) + L::epsilon);
      scale_by(r, w);
      return warp_max(all.y) * r;
    } else {
      return largest_of_all();
    }
  }

  __device__ __forceinline__ void scale_by(float r, const float4 (&w)[kPer]) {
#pragma unroll
    for (int i = 0; i < kPer; ++i) v[i] = scaled(v[i], r, w[i]);
  }

  // What another warp, by this lane's number, has found.
  __device__ __forceinline__ float2 exchange(float sum, float top) {
    if (lane == 0) s.norm[warp] = {sum, top};
    __syncthreads();
    return s.norm[lane % kWarps];
  }

  __device__ __forceinline__ float largest_of_all() {
    float top = 0;
#pragma unroll
    for (int i = 0; i < kPer; ++i) top = fmaxf(top, largest(v[i]));
    return warp_max(exchange(0, warp_max(top)).y);
  }

  // Word k / 4 of the int8 vector lies where lane c of a row finds its eight words of a tile in two loads of 16 bytes.
  static __device__ __forceinline__ int place_of(int f) {
    return (f & ~31) | (f & 3) << 3 | ((f >> 3) & 3) << 1 | ((f >> 2) & 1);
  }

  __device__ __forceinline__ void quantise(float scale) {
    int sum = 0;
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int quad = tid + i * kThreads;
      if (quad >= L::columns / 4) continue;
      const int a = to_int8(v[i].x * scale), b = to_int8(v[i].y * scale), c = to_int8(v[i].z * scale),
                d = to_int8(v[i].w * scale);
      sum += a + b + c + d;
      s.q[place_of(quad)] = pack_bytes(a, b, c, d);
    }
    sum = __reduce_add_sync(~0u, sum);
    if (lane == 0) s.part[warp] = sum;
    __syncthreads();
  }

  __device__ __forceinline__ void quantise_trial() {
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int k = 4 * (tid + i * kThreads);
      const auto at = [](int k) { return k < L::size ? static_cast<float>((k * 37 + 11) % 255 - 127) : 0.0f; };
      v[i] = {at(k), at(k + 1), at(k + 2), at(k + 3)};
    }
    quantise(1.0f);
  }

  // The vector as another launch has quantised it, where it is too wide for the registers of a thread block; returns what
  // sums are multiplied with.
  __device__ __forceinline__ float load_quantised() {
    const uint8_t *q = buffer<const uint8_t>(args, L::q);
    for (int quad = tid; quad < L::columns / 4; quad += kThreads) {
      s.q[place_of(quad)] = __ldcg(reinterpret_cast<const uint32_t *>(q + tile_offset(0, 4 * quad, L::columns)));
    }
    const bn_quant quant = quant_of<L>(args, 0);
    if (tid < kWarps) s.part[tid] = tid == 0 ? quant.sum : 0;
    __syncthreads();
    return quant.inverse_scale;
  }

  // ---- the product ----

  // On tensor cores, whose other seven columns hold the vector again. Codes are not shifted down: the sums of plane j are
  // 4^j times too large, and kept apart until the end.
  static __device__ __forceinline__ void add(IntTile (&sums)[4], const uint4 &w, const uint4 &q0, const uint4 &q1) {
    const uint32_t b[8] = {q0.x, q0.y, q0.z, q0.w, q1.x, q1.y, q1.z, q1.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t mask = 0x03030303u << (2 * j);
      multiply_unsigned(sums[j], w.x & mask, w.y & mask, w.z & mask, w.w & mask, b[2 * j], b[2 * j + 1]);
    }
  }

  // Tiles [tile, end) of a chunk, some at a time: all loads are under way before the first is used.
  static __device__ __forceinline__ void add_tiles(IntTile (&sums)[4], const uint8_t *chunk, const uint32_t *q, int tile,
                                                   int end) {
    constexpr int kBatch = L::one.stages;
    const uint4 *w = reinterpret_cast<const uint4 *>(chunk) + threadIdx.x % 32, *b = reinterpret_cast<const uint4 *>(q);
#pragma unroll 1
    for (; tile + kBatch <= end; tile += kBatch) {
      uint4 codes[kBatch], x[kBatch][2];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        codes[i] = w[(tile + i) * 32];
        x[i][0] = b[(tile + i) * 8], x[i][1] = b[(tile + i) * 8 + 1];
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) add(sums, codes[i], x[i][0], x[i][1]);
    }
#pragma unroll 1
    for (; tile < end; ++tile) add(sums, w[tile * 32], b[tile * 8], b[tile * 8 + 1]);
  }

  // Leaves 64 times the sums of code * q in s.sums, sixteen for each row block.
  __device__ __forceinline__ void multiply() {
    const int part = warp % kShare, c = lane & 3;
    const int begin = part * kTiles<L> / kShare, end = (part + 1) * kTiles<L> / kShare;
    for (int block = warp / kShare; block < count; block += kWarps / kShare) {
      IntTile sums[4] = {};
      for (int chunk = begin / kStageTiles; chunk * kStageTiles < end; ++chunk) {
        const int from = max(begin - chunk * kStageTiles, 0), to = min(end - chunk * kStageTiles, kStageTiles);
        const uint32_t *q = s.q + chunk * kStageTiles * 32 + c * 8;
#if __CUDA_ARCH__ >= 900
        const int job = block * kChunks + chunk;
        if (job < kStages) {
          wait_barrier(&s.full[job], 0);
          add_tiles(sums, s.ring[job], q, from, to);
          continue;
        }
#endif
        add_tiles(sums, chunk_of(block, chunk), q, from, to);
      }
      // Every lane of a row has the same sums: one of them goes on with row g, one with g + 8.
      const auto total = [&](int e) {
        return ((sums[0].sum[e] * 4 + sums[1].sum[e]) * 4 + sums[2].sum[e]) * 4 + sums[3].sum[e];
      };
      if (c < 2) atomicAdd(&s.sums[block * 16 + c * 8 + lane / 4], c == 0 ? total(0) : total(2));
    }
    __syncthreads();
  }

  __device__ __forceinline__ int row_sum(int row) const {
    int sum = s.sums[row] >> 6;
#pragma unroll
    for (int i = 0; i < kWarps; ++i) sum -= s.part[i];
    return sum;
  }

  __device__ __forceinline__ void run() {
    let_next_begin();
    start();
    if (args.sums) {
      if constexpr (L::fused) quantise_trial();
      else wait_for_inputs(), load_quantised();
      multiply();
      if (tid < count * 16) args.sums[first * 16 + tid] = row_sum(tid);
      return;
    }
    constexpr bool kWoven = L::activation != Activation::none;
    constexpr int kOf = kWoven ? 8 : 16;  // results of a row block
    float4 w[L::fused ? kPer : 1];
    if constexpr (L::fused && L::norm >= 0) load_norm(w);
    const bool mine = tid < count * kOf;
    const float2 scale = mine ? scales_of<L>(weights, first + tid / kOf) : float2{0, 0};
    wait_for_inputs();
    if constexpr (L::fused) load_vector();
    float *out = own_row<L>(args, 0) + first * kOf + tid;
    const float old = L::accumulate && mine ? __ldcg(out) : 0.0f;
    float inverse;
    if constexpr (L::fused) {
      const float top = fmaxf(norm(w), 1e-5f);
      quantise(kExactScale ? 127.0f / top : __fdividef(127.0f, top));
      inverse = kExactScale ? top / 127.0f : top * (1.0f / 127.0f);
    } else {
      inverse = load_quantised();
    }
    multiply();
    if (!mine) return;
    if constexpr (kWoven) {
      const int row = tid / 8 * 16 + tid % 8;
      *out = gated<L::activation>(row_sum(row) * (scale.x * inverse), row_sum(row + 8) * (scale.y * inverse));
    } else {
      *out = old + __fmul_rn(row_sum(tid), (tid % 16 < 8 ? scale.x : scale.y) * inverse);
    }
  }
};

template <class L>
__device__ __forceinline__ void gemv(const bn_cuda_args &args, const uint8_t *layer_weights) {
  Gemv<L>{*reinterpret_cast<typename Gemv<L>::Shared *>(dynamic_shared), args, layer_weights}.run();
}

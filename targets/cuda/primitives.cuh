// Primitives of target `cuda`: one instruction each, or a few that belong together. Those of a later architecture than
// the code is built for are left out.
#pragma once

#include <stdint.h>

// That a thread block may have at most.
#if __CUDA_ARCH__ == 800
constexpr int kSharedBytes = 163 << 10;
#elif __CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1200
constexpr int kSharedBytes = 227 << 10;
#else
constexpr int kSharedBytes = 99 << 10;
#endif

// As much as the launch asks for.
extern __shared__ __align__(1024) uint8_t dynamic_shared[];

__device__ __forceinline__ uint32_t shared_address(const void *p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// ---- ternary and int8 products --------------------------------------------------------------------------------------

// Four of the sixteen codes in a word, one in each byte.
__device__ __forceinline__ uint32_t codes_of(uint32_t word, int j) { return (word >> (2 * j)) & 0x03030303u; }

// Sums of 16 rows x 8 tokens: rows g, g, g + 8, g + 8 of tokens 2c, 2c + 1, 2c, 2c + 1 in lane 4g + c.
struct IntTile {
  int sum[4];
};

// 16 rows x 32 columns times 32 columns x 8 tokens, int8
__device__ __forceinline__ void multiply(IntTile &t, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                                         uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(t.sum[0]), "+r"(t.sum[1]), "+r"(t.sum[2]), "+r"(t.sum[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// The same of unsigned rows with signed columns
__device__ __forceinline__ void multiply_unsigned(IntTile &t, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                                  uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(t.sum[0]), "+r"(t.sum[1]), "+r"(t.sum[2]), "+r"(t.sum[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// 16 x 16 times 16 x 8, halves with float sums
__device__ __forceinline__ void multiply(float *d, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                                         uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Transposes an 8x8 matrix of 16-bit values, two of a row in each lane.
__device__ __forceinline__ uint32_t transpose8(uint32_t v) {
  uint32_t r;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
  return r;
}

__device__ __forceinline__ void load_matrices(uint32_t *r, uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at));
}

__device__ __forceinline__ void load_transposed(uint32_t *r, uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at));
}

// ---- numbers --------------------------------------------------------------------------------------------------------

// A float16 in memory. The toolkit has a header for them, but what compiles here may be NVRTC, which comes without.
struct Half {
  uint16_t bits;
};

__device__ __forceinline__ float to_float(Half h) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h.bits));
  return x;
}

__device__ __forceinline__ Half to_half(float x) {
  Half h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(x));
  return h;
}

// Two in a word, `a` in its lower half.
__device__ __forceinline__ uint32_t pack_halves(float a, float b) {
  uint32_t halves;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(halves) : "f"(b), "f"(a));
  return halves;
}

__device__ __forceinline__ float2 unpack_halves(uint32_t halves) {
  return {to_float({static_cast<uint16_t>(halves)}), to_float({static_cast<uint16_t>(halves >> 16)})};
}

__device__ __forceinline__ float half_at(const uint8_t *p) {
  return to_float({static_cast<uint16_t>(p[0] | p[1] << 8)});
}

// Of a float16 or a float32, as an earlier launch left it: not from a multiprocessor's own cache.
__device__ __forceinline__ float load_value(const Half *p) { return to_float({__ldcg(&p->bits)}); }
__device__ __forceinline__ float load_value(const float *p) { return __ldcg(p); }
__device__ __forceinline__ float2 load_pair(const Half *p) { return unpack_halves(__ldcg(reinterpret_cast<const uint32_t *>(p))); }
__device__ __forceinline__ float2 load_pair(const float *p) { return __ldcg(reinterpret_cast<const float2 *>(p)); }
__device__ __forceinline__ void store_value(Half *p, float x) { *p = to_half(x); }
__device__ __forceinline__ void store_value(float *p, float x) { *p = x; }

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

// Rounds to the nearest, of two equally near to the even one, and clamps.
__device__ __forceinline__ int to_int8(float x) { return max(-128, min(127, __float2int_rn(x))); }

// Lowest byte first.
__device__ __forceinline__ uint32_t pack_bytes(int a, int b, int c, int d) {
  return (a & 255) | (b & 255) << 8 | (c & 255) << 16 | static_cast<uint32_t>(d) << 24;
}

// ---- sums over the threads of a warp, and of a block ----------------------------------------------------------------

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int d = 16; d; d /= 2) v += __shfl_xor_sync(~0u, v, d);
  return v;
}

// Of values that are not negative.
__device__ __forceinline__ float warp_max(float v) {
  return __uint_as_float(__reduce_max_sync(~0u, __float_as_uint(v)));
}

// What the warps of a thread block have, put together from zero on in their order. `shared` holds one value for each; it may be
// used again after the next __syncthreads().
template <int Threads, class T, class Join>
__device__ __forceinline__ T join_warps(T own, T *shared, Join join) {
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = own;
  __syncthreads();
  T all = 0;
#pragma unroll
  for (int i = 0; i < Threads / 32; ++i) all = join(all, shared[i]);
  return all;
}

template <int Threads>
__device__ __forceinline__ float block_sum(float v, float *shared) {
  return join_warps<Threads>(warp_sum(v), shared, [](float a, float b) { return a + b; });
}

template <int Threads>
__device__ __forceinline__ int block_sum(int v, int *shared) {
  return join_warps<Threads>(__reduce_add_sync(~0u, v), shared, [](int a, int b) { return a + b; });
}

template <int Threads>
__device__ __forceinline__ float block_max(float v, float *shared) {
  return join_warps<Threads>(warp_max(v), shared, [](float a, float b) { return fmaxf(a, b); });
}

// ---- as the CPU rounds ----------------------------------------------------------------------------------------------

// CPUs add rows up in sixteen lanes, folded in one order (templates/cpp/rows.h). Where rows are short, doing the same costs
// nothing, and then every rounding of int8 falls as it does there.

// Sixteen lanes' sums (lanes 16 to 31 hold them again) folded: lane l to lane l + 8, then + 4, + 2, + 1.
__device__ __forceinline__ float fold_lanes(float sum) {
#pragma unroll
  for (int d = 8; d; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
  return sum;
}

// bn_exp of rows.h
__device__ __forceinline__ float exp_as_cpu(float v) {
  const float x = fmaxf(fminf(v, 88.0f), -87.3f), n = rintf(x * 1.44269504f);
  float r = fmaf(n, -0.693359375f, x);
  r = fmaf(n, 2.12194440e-4f, r);
  float e = 1.0f / 5040.0f;
  e = fmaf(e, r, 1.0f / 720.0f);
  e = fmaf(e, r, 1.0f / 120.0f);
  e = fmaf(e, r, 1.0f / 24.0f);
  e = fmaf(e, r, 1.0f / 6.0f);
  e = fmaf(e, r, 0.5f);
  e = fmaf(e, r, 1.0f);
  e = fmaf(e, r, 1.0f);
  return e * __int_as_float((static_cast<int>(n) + 127) << 23);
}

// ---- copies ---------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void copy16(uint32_t shared, const void *from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(from) : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until all but the last N groups have arrived.
template <int N>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

__device__ __forceinline__ void prefetch(const void *p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }

#if __CUDA_ARCH__ >= 900

__device__ __forceinline__ void init_barrier(uint64_t *bar, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(bar)), "r"(count) : "memory");
}
__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void expect_bytes(uint64_t *bar, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(bar)), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void arrive(uint64_t *bar) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(bar)) : "memory");
}
// One block of instructions: a loop that the compiler sees would make it serialise wgmma around it.
__device__ __forceinline__ void wait_barrier(uint64_t *bar, int parity) {
  asm volatile(
      "{\n.reg .pred p;\nwait_%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
      "@p bra done_%=;\nbra wait_%=;\ndone_%=:\n}" ::"r"(shared_address(bar)),
      "r"(parity)
      : "memory");
}
__device__ __forceinline__ void copy_bulk(void *to, const void *from, int bytes, uint64_t *bar) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(bar))
      : "memory");
}

#endif

// ---- thread blocks of a cluster -------------------------------------------------------------------------------------

// Until all threads of a team of thread blocks are here, and what they wrote is there: a cluster, or one by itself.
template <int Blocks>
__device__ __forceinline__ void wait_for_team() {
#if __CUDA_ARCH__ >= 900
  if constexpr (Blocks > 1) {
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
    return;
  }
#endif
  __syncthreads();
}

// The sum of what the thread blocks of a team have in that place of their shared memory.
template <int Blocks>
__device__ __forceinline__ int sum_of_team(const int *own) {
  int sum = Blocks > 1 ? 0 : *own;
#if __CUDA_ARCH__ >= 900
#pragma unroll
  for (int block = 0; Blocks > 1 && block < Blocks; ++block) {
    int one;
    asm volatile("{\n.reg .u32 at;\nmapa.shared::cluster.u32 at, %1, %2;\nld.shared::cluster.s32 %0, [at];\n}"
                 : "=r"(one)
                 : "r"(shared_address(own)), "r"(block)
                 : "memory");
    sum += one;
  }
#endif
  return sum;
}

// ---- between the kernels of a step ----------------------------------------------------------------------------------

// Until all that the launches before this one wrote is there.
__device__ __forceinline__ void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The next launch may begin, where it was told that it may begin early.
__device__ __forceinline__ void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// The work of a block as phases, all threads in one before any is in the next: what a phase reads, another thread may have
// written in the phase before. Kernels that need no more than this also run on a CPU, one thread after the other, where
// tests hold them against their definition.
#pragma once

constexpr int kBlockThreads = 1024;

using Sum = unsigned long long;

template <class Work>
__device__ __forceinline__ void phase(Work work) {
  work(static_cast<int>(threadIdx.x));
  __syncthreads();
}

// Between reading what a phase wrote and writing it again.
__device__ __forceinline__ void meet() { __syncthreads(); }

// Of what an earlier launch wrote: not from a multiprocessor's own cache, which may hold what was there before.
template <class T>
__device__ __forceinline__ T fresh(const T *p) {
  return __ldcg(p);
}

__device__ __forceinline__ unsigned add_to(unsigned *sum, unsigned value) { return atomicAdd(sum, value); }
__device__ __forceinline__ void add_to(Sum *sum, Sum value) { atomicAdd(sum, value); }

// What all threads bring to one place: the sum, the largest. To be called by every thread of the block.
__device__ __forceinline__ void add_up(Sum *sum, Sum value) {
#pragma unroll
  for (int d = 16; d; d /= 2) value += __shfl_xor_sync(~0u, value, d);
  if (threadIdx.x % 32 == 0 && value > 0) atomicAdd(sum, value);
}
__device__ __forceinline__ void raise_to(Sum *largest, Sum value) {
#pragma unroll
  for (int d = 16; d; d /= 2) value = max(value, __shfl_xor_sync(~0u, value, d));
  if (threadIdx.x % 32 == 0) atomicMax(largest, value);
}

__device__ __forceinline__ int leading_zeros(Sum value) { return __clzll(static_cast<long long>(value)); }

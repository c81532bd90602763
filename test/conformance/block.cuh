// templates/cuda/block.cuh on a CPU: the threads of a block one after the other, in another order in each phase, so that what
// depends on an order is found.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#define __device__
#define __forceinline__ inline

using std::max;
using std::min;

constexpr int kBlockThreads = 1024;

using Sum = unsigned long long;

inline thread_local unsigned phases = 0;

template <class Work>
void phase(Work work) {
  const unsigned stride = 2 * (++phases % 17 * 29) + 1;
  for (unsigned t = 0; t < kBlockThreads; ++t) work(static_cast<int>((t * stride + phases) % kBlockThreads));
}

inline void meet() {}

template <class T>
T fresh(const T *p) {
  return *p;
}

template <class T>
T add_to(T *sum, T value) {
  const T old = *sum;
  *sum += value;
  return old;
}
inline void add_up(Sum *sum, Sum value) { *sum += value; }
inline void raise_to(Sum *largest, Sum value) { *largest = max(*largest, value); }
inline int leading_zeros(Sum value) { return std::countl_zero(value); }
inline uint32_t __float_as_uint(float value) { return std::bit_cast<uint32_t>(value); }
inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }

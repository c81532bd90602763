// A logit and its id as one number, so that the largest of such numbers says both: 0 for what is never drawn.
#pragma once

#include "sampling.h"

// The logit of what is never drawn.
__device__ __forceinline__ float forbidden() { return __uint_as_float(0xff800000u); }

// Orders as the numbers do, equal zeros included.
__device__ __forceinline__ uint32_t order_of(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The larger logit wins, of equals the lower id.
__device__ __forceinline__ unsigned long long candidate(float logit, int id) {
  if (!bn_may_be_drawn(logit)) return 0;
  return static_cast<unsigned long long>(order_of(bn_bounded(logit))) << 32 | (0xffffffffu - static_cast<uint32_t>(id));
}
__device__ __forceinline__ int id_of(unsigned long long candidate) {
  return candidate == 0 ? -1 : static_cast<int>(0xffffffffu - static_cast<uint32_t>(candidate));
}
__device__ __forceinline__ float logit_of(unsigned long long candidate) {
  const uint32_t order = static_cast<uint32_t>(candidate >> 32);
  return __uint_as_float(order & 0x80000000u ? order & 0x7fffffffu : ~order);
}

// What a step's tokens leave beside their keys and values: their ids, which penalties look at.
#pragma once

#include "cuda.h"

// By position, at the end of the sequence's part of the cache.
__device__ __forceinline__ int32_t *text_of(const bn_cuda_args &args, int sequence) {
  return reinterpret_cast<int32_t *>(args.kv + (sequence + 1) * args.kv_sequence_bytes) - args.kv_capacity;
}

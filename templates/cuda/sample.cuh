// The launches that draw the next tokens from rows of logits: best[t] = the id drawn from row t.
#pragma once

#include "cuda.h"
#include "draw.cuh"
#include "primitives.cuh"
#include "rows.cuh"

template <class S>
__device__ __forceinline__ void adjust_slice(const bn_cuda_args &args) {
  __shared__ AdjustShared shared;
  let_next_begin();
  wait_for_inputs();
  adjust_logits<S::rows>(args, blockIdx.x, blockIdx.y, shared);
}

template <class S>
__device__ __forceinline__ void weigh_slice(const bn_cuda_args &args) {
  __shared__ WeighShared shared;
  let_next_begin();
  wait_for_inputs();
  weigh_logits<S::rows>(args, blockIdx.x, blockIdx.y, shared);
}

template <class S>
__device__ __forceinline__ void draw(const bn_cuda_args &args) {
  __shared__ DrawShared shared;
  let_next_begin();
  wait_for_inputs();
  const int id = Drawing<S::rows>(args, blockIdx.y, shared).run();
  if (threadIdx.x == 0) answer(args, blockIdx.y, id);
}

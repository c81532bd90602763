// The launches that draw the next tokens from rows of logits: best[t] = the id drawn from row t.
#pragma once

#include "cuda.h"
#include "draw.cuh"
#include "primitives.cuh"
#include "rows.cuh"

template <class Shared, class Step>
__device__ __forceinline__ void after_logits(Step step) {
  __shared__ Shared shared;
  let_next_begin();
  wait_for_inputs();
  step(shared);
}

template <class S>
__device__ __forceinline__ void adjust_slice(const bn_cuda_args &args) {
  after_logits<AdjustShared>([&](auto &shared) { adjust_logits<S::rows>(args, blockIdx.x, blockIdx.y, shared); });
}

template <class S>
__device__ __forceinline__ void weigh_slice(const bn_cuda_args &args) {
  after_logits<WeighShared>([&](auto &shared) { weigh_logits<S::rows>(args, blockIdx.x, blockIdx.y, shared); });
}

template <class S>
__device__ __forceinline__ void draw(const bn_cuda_args &args) {
  after_logits<DrawShared>([&](auto &shared) {
    const int id = Drawing<S::rows>(args, blockIdx.y, shared).run();
    if (threadIdx.x == 0) answer(args, blockIdx.y, id);
  });
}

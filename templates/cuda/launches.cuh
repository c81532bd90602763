// How kernels are declared, and what the table that the engine reads says of their launches.
#pragma once

#include "cuda.h"
#include "decode.cuh"
#include "gemm.cuh"

#define STEP(name, threads, blocks)                                        \
  extern "C" __global__ void __launch_bounds__(threads, blocks)            \
  name([[maybe_unused]] const __grid_constant__ bn_cuda_args args, [[maybe_unused]] int layer)

// By a cluster of thread blocks.
#if __CUDA_ARCH__ >= 900
#define TEAM_STEP(name, threads, team)                                               \
  extern "C" __global__ void __launch_bounds__(threads, 1) __cluster_dims__(team, 1, 1) \
  name([[maybe_unused]] const __grid_constant__ bn_cuda_args args, [[maybe_unused]] int layer)
#else
#define TEAM_STEP(name, threads, team) STEP(name, threads, 1)
#endif

// A launch where there is wgmma, and the one elsewhere.
#ifdef WGMMA
#define WGMMA_OR(launch, other) launch
#else
#define WGMMA_OR(launch, other) other
#endif

#define GEMM(use, tokens, stages)                                                                                   \
  {#use "_wgmma_" #tokens, 384, kWgmmaShared<tokens, stages>, (kBlocks<use> + 7) / 8, 0, 0, BN_CUDA_TOKENS, tokens, \
   0, 0, 1}
#define MMA(use) {#use "_mma", 256, kMmaStages * kTileBytes, (kBlocks<use> + 7) / 8, 0, 0, BN_CUDA_TOKENS, 128, 0, 0, 1}
#define SKINNY(use, tokens)                                                                                   \
  {#use "_" #tokens, Skinny<use, tokens>::kThreads, Skinny<use, tokens>::kShared, Skinny<use, tokens>::kGrid, 0, 0, \
   BN_CUDA_ONCE, 1, 0, 0, 1}
#define GEMV(use)                                                                                                      \
  {#use "_gemv", Gemv<use>::kThreads, sizeof(Gemv<use>::Shared), kBlocks<use>, 1, (kBlocks<use> + kMostBlocks - 1) / kMostBlocks, \
   BN_CUDA_ONCE, 1, 0, 0, 1}
#define ONE_TOKEN(name) \
  {#name "_one", OneToken<name>::kThreads, sizeof(OneToken<name>::Shared), name::kv_heads * name::splits, 0, 0, BN_CUDA_ONCE, 1, 0, 0, 1}
#define ONE_HEAD(name) \
  {#name "_one", OneHead<name>::kThreads, sizeof(OneHead<name>::Shared), OneHead<name>::kBlocks, 2, 1, BN_CUDA_ROWS, 1, 0, 0, 1}
#define FILL(use) {#use "_trial", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0}


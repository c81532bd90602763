// Ternary kernels of a GPU, tried and timed: those of a program that compiler/render/cuda/tuning.ts writes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../engine/executor.h"
#include "context.h"
#include "driver.h"
#include "memory.h"
#include "program.h"

namespace bn {

// All members may be called from any thread; they wait for each other. Errors are std::runtime_error.
class GpuBench {
 public:
  // On the GPU of that number.
  explicit GpuBench(int device);
  ~GpuBench();

  // Takes kernels from that program from now on, for matrices of which `layer` is one.
  void open(const std::string& library, const std::vector<uint8_t>& layer);

  // Integer sums of a kernel on the activations of a trial: [tokens][m].
  std::vector<int32_t> sums(const std::string& kernel, int tokens);

  // Nanoseconds of `rounds` calls, each on a copy of the matrix that no cache holds, launched as those of a step are.
  int64_t time(const std::string& kernel, int tokens, int64_t rounds);

  MachineLimits limits();

 private:
  const cuda::Trial& trial(const std::string& kernel) const;
  bn_cuda_args args_of(int tokens) const;
  void fill(const cuda::Trial& trial, int tokens);

  std::mutex mutex_;
  const cuda::Driver& driver_;
  const cuda::DeviceFacts device_;
  const std::shared_ptr<cuda::SharedContext> context_;
  const cuda::StreamHold stream_;
  std::unique_ptr<cuda::Program> program_;
  std::unique_ptr<cuda::DeviceMemory> weights_, workspace_;
  int copies_ = 0;
  std::map<std::string, std::unique_ptr<cuda::GraphHold>> tours_;  // of all copies, by kernel and tokens
};

}  // namespace bn

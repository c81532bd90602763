#include "executor.h"

#include "../cuda/cuda_executor.h"
#include "cpu_executor.h"

namespace bn {

std::unique_ptr<Executor> Executor::open(const ExecutorOptions& options) {
  if (options.library.ends_with(".fatbin") || options.library.ends_with(".cubins")) return std::make_unique<CudaExecutor>(options);
  return std::make_unique<CpuExecutor>(options);
}

}  // namespace bn

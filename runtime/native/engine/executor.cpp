#include "executor.h"

#include "../cuda/gpu_team.h"
#include "cpu_executor.h"

namespace bn {

std::unique_ptr<Executor> Executor::open(const ExecutorOptions& options) {
  if (options.library.ends_with(".fatbin") || options.library.ends_with(".cubins")) {
    if (options.devices.size() > 1) return std::make_unique<GpuTeam>(options);
    return std::make_unique<CudaExecutor>(options);
  }
  return std::make_unique<CpuExecutor>(options);
}

}  // namespace bn

// The context that models of this process have on a GPU.
#pragma once

#include <memory>

#include "driver.h"

namespace bn::cuda {

// Shared by the models on one GPU, so that their work may overlap; closed with the last of them.
class SharedContext {
 public:
  // The one that there is, or a new one. Throws std::runtime_error with its reason where an error has left GPUs unusable:
  // such an error ends every model of the process, and none can be opened after it.
  static std::shared_ptr<SharedContext> on(const Driver& driver, Device device);

  // The GPU's primary context, which NCCL works in. An error leaves it unusable as long as the process lasts.
  static std::shared_ptr<SharedContext> primary(const Driver& driver, Device device);

  ~SharedContext();
  SharedContext(const SharedContext&) = delete;
  SharedContext& operator=(const SharedContext&) = delete;

  // Makes it the calling thread's.
  void use() const { driver_.check(driver_.context_set(context_), "switching to the GPU"); }

 private:
  SharedContext(const Driver& driver, Device device, bool is_primary);

  const Driver& driver_;
  const Device device_;
  const bool is_primary_;
  Context context_ = nullptr;
};

}  // namespace bn::cuda

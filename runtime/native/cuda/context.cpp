#include "context.h"

#include <map>
#include <mutex>

namespace bn::cuda {

std::shared_ptr<SharedContext> SharedContext::on(const Driver& driver, Device device) {
  static std::mutex mutex;
  static std::map<Device, std::weak_ptr<SharedContext>> contexts;
  const std::lock_guard lock(mutex);
  std::weak_ptr<SharedContext>& known = contexts[device];
  if (std::shared_ptr<SharedContext> context = known.lock()) {
    context->use();
    driver.check(driver.context_wait(), "opening the GPU");
    return context;
  }
  const std::shared_ptr<SharedContext> context(new SharedContext(driver, device));
  known = context;
  return context;
}

SharedContext::SharedContext(const Driver& driver, Device device) : driver_(driver) {
  driver_.check(driver_.context_create(&context_, 0, device), "opening the GPU");
}

SharedContext::~SharedContext() { driver_.context_destroy(context_); }

}  // namespace bn::cuda

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
  const std::shared_ptr<SharedContext> context(new SharedContext(driver, device, false));
  known = context;
  return context;
}

std::shared_ptr<SharedContext> SharedContext::primary(const Driver& driver, Device device) {
  std::shared_ptr<SharedContext> context(new SharedContext(driver, device, true));
  context->use();
  return context;
}

SharedContext::SharedContext(const Driver& driver, Device device, bool is_primary)
    : driver_(driver), device_(device), is_primary_(is_primary) {
  driver_.check(is_primary ? driver_.primary_retain(&context_, device) : driver_.context_create(&context_, 0, device),
                "opening the GPU");
}

SharedContext::~SharedContext() {
  if (is_primary_) driver_.primary_release(device_);
  else driver_.context_destroy(context_);
}

}  // namespace bn::cuda

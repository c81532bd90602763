#include "measurement.h"

namespace bn {
bool Measurement::take(Output& output) {
  Request::End end;
  const bool something = take_from_box(end, [&] {
    output = box_;
    return false;
  });
  output.ending = end.ending;
  output.error = std::move(end.error);
  return something;
}

void Measurement::run(Executor& executor) {
  const MachineLimits limits = executor.measure([this] { return cancelled(); });
  const std::lock_guard lock(mutex_);
  box_.limits = limits;
}

}  // namespace bn

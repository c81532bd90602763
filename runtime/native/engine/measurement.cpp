#include "measurement.h"

#include <algorithm>

#include "limits.h"

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
  ThreadPool& pool = executor.pool();
  const bn_model_info& info = executor.info();
  const auto is_cancelled = [this] { return cancelled(); };
  const int64_t slice = std::max<int64_t>(beyond_caches() / pool.threads() / 4096, 1) * 4096;
  const Pages buffer(slice * pool.threads());
  pool.run([&](int thread) { std::fill_n(buffer.data() + thread * slice, slice, uint8_t{1}); });
  const double read = read_bytes_per_second(info, pool, buffer, is_cancelled);
  const double macs = cancelled() ? 0 : int8_macs_per_second(info, pool, is_cancelled);
  const std::lock_guard lock(mutex_);
  box_.read_bytes_per_second = read;
  box_.int8_macs_per_second = macs;
}

}  // namespace bn

#include "measure.h"

#include <algorithm>

#include "memory.h"

namespace bn::cuda {

MachineLimits measure(const Driver& driver, const DeviceFacts& device, const Program& program, Stream stream,
                      const std::function<bool()>& cancelled) {
  size_t free = 0, total = 0;
  driver.check(driver.memory_info(&free, &total), "asking the GPU for its memory");
  const int64_t bytes = std::min<int64_t>(int64_t{1} << 30, static_cast<int64_t>(free) / 4);
  const DeviceMemory from(driver, bytes), to(driver, bytes), best(driver, sizeof(int32_t));
  const EventHold begin(driver), end(driver);
  const auto seconds = [&](const auto& work) {
    float milliseconds = 0;
    driver.check(driver.event_record(begin, stream), "measuring the GPU");
    work();
    driver.check(driver.event_record(end, stream), "measuring the GPU");
    driver.check(driver.event_wait(end), "measuring the GPU");
    driver.check(driver.event_elapsed(&milliseconds, begin, end), "measuring the GPU");
    return static_cast<double>(milliseconds) * 1e-3;
  };
  bn_cuda_args args{};
  args.choices = 2000;
  args.best = best.as<int32_t>();
  const double macs = static_cast<double>(program.model().probe_macs) * args.choices * device.multiprocessors;
  MachineLimits limits;
  for (int round = 0; round < 8 && !cancelled(); ++round) {
    const double copying = seconds([&] {
      driver.check(driver.on_device(to.at(), from.at(), static_cast<size_t>(bytes), stream), "measuring the GPU");
    });
    const double multiplying = seconds([&] { program.launch(program.probe(), args, 0, stream); });
    limits.read_bytes_per_second = std::max(limits.read_bytes_per_second, 2 * static_cast<double>(bytes) / copying);
    limits.int8_macs_per_second = std::max(limits.int8_macs_per_second, macs / multiplying);
  }
  return limits;
}

}  // namespace bn::cuda

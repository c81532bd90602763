#include "measurement.h"

#include <algorithm>

namespace bn {
namespace {

constexpr int kRounds = 8;

double seconds_since(Clock::time_point start) { return static_cast<double>(nanoseconds_since(start)) * 1e-9; }

}  // namespace

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
  const double read = read_bytes_per_second(executor);
  const double macs = cancelled() ? 0 : int8_macs_per_second(executor);
  const std::lock_guard lock(mutex_);
  box_.read_bytes_per_second = read;
  box_.int8_macs_per_second = macs;
}

double Measurement::read_bytes_per_second(Executor& executor) const {
  // A buffer that the last-level cache cannot help with, within a quarter of the memory.
  const int64_t wanted = std::max<int64_t>(int64_t{1} << 30, 4 * last_level_cache());
  const int64_t bytes = std::min(wanted, memory_limit() / 4);
  const int threads = executor.pool().threads();
  const int64_t slice = std::max<int64_t>(bytes / threads / 4096, 1) * 4096;
  const Pages buffer(slice * threads);
  executor.pool().run([&](int thread) { std::fill_n(buffer.data() + thread * slice, slice, uint8_t{1}); });
  std::vector<uint64_t> sums(threads);
  double best = 0;
  for (int round = 0; round < kRounds && !cancelled(); ++round) {
    const auto start = Clock::now();
    executor.pool().run(
        [&](int thread) { sums[thread] = executor.info().probe_read(buffer.data() + thread * slice, slice); });
    best = std::max(best, static_cast<double>(slice * threads) / seconds_since(start));
  }
  return best;
}

double Measurement::int8_macs_per_second(Executor& executor) const {
  constexpr double kEnough = 0.05;  // seconds, long against starting the threads
  const int threads = executor.pool().threads();
  std::vector<int64_t> macs(threads);
  std::vector<int32_t> sinks(threads);
  double best = 0;
  int64_t rounds = 1 << 12;
  for (int measured = 0; measured < kRounds && !cancelled();) {
    const auto start = Clock::now();
    executor.pool().run([&](int thread) { macs[thread] = executor.info().probe_dot(rounds, &sinks[thread]); });
    const double seconds = seconds_since(start);
    if (seconds < kEnough) {
      rounds *= 4;
      continue;
    }
    int64_t total = 0;
    for (const int64_t one : macs) total += one;
    best = std::max(best, static_cast<double>(total) / seconds);
    ++measured;
  }
  return best;
}

}  // namespace bn

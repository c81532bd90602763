#include "limits.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace bn {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 8;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

int64_t beyond_caches() {
  const int64_t wanted = std::max<int64_t>(int64_t{1} << 30, 4 * last_level_cache());
  return std::min(wanted, memory_limit() / 4);
}

double read_bytes_per_second(const bn_model_info& info, ThreadPool& pool, const Pages& buffer,
                             const std::function<bool()>& cancelled) {
  const int threads = pool.threads();
  const int64_t slice = buffer.bytes() / threads / 4096 * 4096;
  std::vector<uint64_t> sums(threads);
  double best = 0;
  for (int round = 0; round < kRounds && !cancelled(); ++round) {
    const auto start = Clock::now();
    pool.run([&](int thread) { sums[thread] = info.probe_read(buffer.data() + thread * slice, slice); });
    best = std::max(best, static_cast<double>(slice * threads) / seconds_since(start));
  }
  return best;
}

double int8_macs_per_second(const bn_model_info& info, ThreadPool& pool, const std::function<bool()>& cancelled) {
  constexpr double kEnough = 0.05;  // seconds, long against starting the threads
  const int threads = pool.threads();
  std::vector<int64_t> macs(threads);
  std::vector<int32_t> sinks(threads);
  double best = 0;
  int64_t rounds = 1 << 12;
  for (int measured = 0; measured < kRounds && !cancelled();) {
    const auto start = Clock::now();
    pool.run([&](int thread) { macs[thread] = info.probe_dot(rounds, &sinks[thread]); });
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

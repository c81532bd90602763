#include "cpu_executor.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "limits.h"

namespace bn {
namespace {

int64_t cache_bytes(const bn_model_info& info, int kv_type, int positions) {
  return (info.kv_bytes(kv_type, positions) + 63) / 64 * 64;
}

// Bytes of one sequence's cache, refusing what the machine could never hold.
int64_t kv_sequence_bytes(const bn_model_info& info, const ExecutorOptions& options) {
  const int64_t bytes = cache_bytes(info, options.kv_type, options.context);
  if (bytes > memory_limit() / options.sequences) {
    throw std::runtime_error("a KV cache of " + std::to_string(options.sequences) + " sequences of " +
                             std::to_string(options.context) + " positions takes " +
                             std::to_string((bytes >> 20) * options.sequences) + " MiB, this machine has " +
                             std::to_string(memory_limit() >> 20) +
                             "\nOpen the model with a smaller contextLength or fewer sequences.");
  }
  return bytes;
}

}  // namespace

CpuExecutor::CpuExecutor(const ExecutorOptions& options)
    : library_(options.library),
      sizes_{library_.info().vocab, library_.info().embedding, library_.info().max_tokens},
      weights_(options.weights),
      context_(options.context),
      sequences_(options.sequences),
      kv_type_(options.kv_type),
      kv_sequence_bytes_(kv_sequence_bytes(library_.info(), options)),
      workspace_(library_.info().workspace_bytes(library_.info().max_tokens, options.threads)),
      kv_(kv_sequence_bytes_ * sequences_),
      pool_(options.threads, options.pin),
      crew_(options.threads) {
  if (!options.expected) return;
  library_.check(*options.expected, weights_);
  library_.check_kernels(*options.expected, library_.self_test(weights_));
}

Cache CpuExecutor::part_of_cache(int sequence, int positions) const {
  return {kv_.data() + sequence * kv_sequence_bytes_, cache_bytes(info(), kv_type_, positions), positions};
}

int64_t CpuExecutor::sequences_in_part(int positions) const {
  return kv_sequence_bytes_ / cache_bytes(info(), kv_type_, positions);
}

void CpuExecutor::step(const bn_token* tokens, int count, float* logits, float* hidden, const Cache& cache,
                       const bn_screen* screen) {
  const int threads = crew_.threads(count);
  std::memset(&team_, 0, sizeof(team_));
  team_.threads = threads;
  bn_step_args args{};
  args.weights = weights_.data();
  args.workspace = workspace_.data();
  args.kv = cache.base;
  args.kv_sequence_bytes = cache.sequence_bytes;
  args.kv_capacity = cache.positions;
  args.kv_type = kv_type_;
  args.tokens = tokens;
  args.token_count = count;
  args.logits_count = static_cast<int32_t>(
      std::count_if(tokens, tokens + count, [](const bn_token& token) { return token.logits_row >= 0; }));
  args.logits = logits;
  args.hidden = hidden;
  args.screen = screen;
  counts_ = {};
  args.counts = &counts_;
  args.team = &team_;
  const auto step = info().step;
  const double running = thread_seconds();
  const auto start = std::chrono::steady_clock::now();
  pool_.run(threads, [&](int thread) { step(&args, thread); });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  crew_.saw(count, seconds.count(), thread_seconds() - running);
}

MachineLimits CpuExecutor::measure(const std::function<bool()>& cancelled) {
  const int64_t slice = std::max<int64_t>(beyond_caches() / pool_.threads() / 4096, 1) * 4096;
  const Pages buffer(slice * pool_.threads());
  pool_.run([&](int thread) { std::fill_n(buffer.data() + thread * slice, slice, uint8_t{1}); });
  const double read = read_bytes_per_second(info(), pool_, buffer, cancelled);
  return {read, cancelled() ? 0 : int8_macs_per_second(info(), pool_, cancelled)};
}

}  // namespace bn

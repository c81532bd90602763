#include "kernel_bench.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>

namespace bn {
namespace {

int64_t padded_columns(const bn_kernel& kernel) { return (kernel.k + 15) / 16 * 16; }

int64_t scratch_stride(const bn_kernel& kernel) { return (std::max(kernel.scratch_bytes, 64) + 63) / 64 * 64; }

// Fills weights with codes that are valid in every layout.
void fill(uint8_t* data, int64_t bytes, uint64_t state) {
  for (int64_t i = 0; i + 8 <= bytes; i += 8) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t codes = state >> 1 & 0x5555555555555555u;  // 0 or 1: any code does
    std::memcpy(data + i, &codes, sizeof(codes));
  }
}

}  // namespace

KernelBench::KernelBench(int threads) : pool_(threads, false), weights_(beyond_caches() / 4096 * 4096) {
  const int64_t slice = weights_.bytes() / threads / 8 * 8;
  pool_.run([&](int thread) { fill(weights_.data() + thread * slice, slice, thread + 1); });
}

void KernelBench::open(const std::string& library) {
  const std::lock_guard lock(mutex_);
  library_.reset();
  library_ = std::make_unique<ModelLibrary>(library);
}

const bn_kernel& KernelBench::kernel(const std::string& name, int tokens) const {
  const bn_kernel* found = library_ ? library_->kernel(name) : nullptr;
  if (!found) throw std::runtime_error("no library that is open has a kernel " + name);
  if (tokens < 1 || tokens > found->max_tokens) {
    throw std::runtime_error(name + " does not take " + std::to_string(tokens) + " tokens");
  }
  return *found;
}

std::vector<float> KernelBench::run(const std::string& name, int tokens, int groups,
                                    const std::vector<uint8_t>& weights, const std::vector<int8_t>& q) {
  const std::lock_guard lock(mutex_);
  const bn_kernel& kernel = this->kernel(name, tokens);
  const int64_t k = padded_columns(kernel);
  if (groups < 1 || groups > kernel.m / 16) throw std::runtime_error(name + " has no " + std::to_string(groups) + " groups");
  if (static_cast<int64_t>(weights.size()) != kernel.weight_bytes / (kernel.m / 16) * groups ||
      static_cast<int64_t>(q.size()) != tokens * k) {
    throw std::runtime_error("the input does not suit " + name);
  }
  const Pages codes(weights.size()), activations(q.size()), scratch(scratch_stride(kernel));
  std::memcpy(codes.data(), weights.data(), weights.size());
  std::memcpy(activations.data(), q.data(), q.size());
  const std::vector<float> scales(groups, 1.0f);
  std::vector<bn_quant> quant;
  for (int token = 0; token < tokens; ++token) {
    int32_t sum = 0;
    for (int64_t i = 0; i < k; ++i) sum += q[token * k + i];
    quant.push_back({1.0f, sum});
  }
  const Pages y(tokens * groups * 16 * static_cast<int64_t>(sizeof(float)));
  bn_bitlinear_args args{};
  args.weights = codes.data();
  args.group_scales = scales.data();
  args.q = reinterpret_cast<const int8_t*>(activations.data());
  args.quant = quant.data();
  args.y = reinterpret_cast<float*>(y.data());
  args.y_stride = groups * 16;
  args.tokens = tokens;
  args.scratch = scratch.data();
  kernel.run(&args, 0, groups);
  return {args.y, args.y + int64_t{tokens} * groups * 16};
}

int64_t KernelBench::time(const std::string& name, int tokens, int unit, int64_t rounds) {
  const std::lock_guard lock(mutex_);
  const bn_kernel& kernel = this->kernel(name, tokens);
  if (unit < 1 || rounds < 1) throw std::runtime_error("unit and rounds of " + name + " must be 1 or more");
  const int64_t k = padded_columns(kernel), groups = kernel.m / 16, bytes = kernel.weight_bytes;
  if (bytes > weights_.bytes()) throw std::runtime_error("there is not memory enough to time " + name);
  const int threads = pool_.threads();
  const int64_t stride = scratch_stride(kernel);
  const Pages q(tokens * k), y(tokens * int64_t{kernel.m} * 4), scratch(threads * stride);
  const std::vector<float> scales(groups, 1.0f);
  const std::vector<bn_quant> quant(tokens, {1.0f, static_cast<int32_t>(k)});
  std::memset(q.data(), 1, q.bytes());
  bn_bitlinear_args args{};
  args.group_scales = scales.data();
  args.q = reinterpret_cast<const int8_t*>(q.data());
  args.quant = quant.data();
  args.y = reinterpret_cast<float*>(y.data());
  args.y_stride = kernel.m;
  args.tokens = tokens;
  const int64_t units = (groups + unit - 1) / unit;
  const auto start = std::chrono::steady_clock::now();
  for (int64_t round = 0; round < rounds; ++round) {
    if (next_ + bytes > weights_.bytes()) next_ = 0;
    args.weights = weights_.data() + next_;
    next_ += bytes;
    pool_.run([&](int thread) {
      bn_bitlinear_args own = args;
      own.scratch = scratch.data() + thread * stride;
      const int64_t begin = units * thread / threads * unit, end = units * (thread + 1) / threads * unit;
      kernel.run(&own, static_cast<int32_t>(begin), static_cast<int32_t>(std::min(end, groups)));
    });
  }
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
}

KernelBench::Limits KernelBench::limits() {
  const std::lock_guard lock(mutex_);
  if (!library_) throw std::runtime_error("no library is open");
  const auto never = [] { return false; };
  return {read_bytes_per_second(library_->info(), pool_, weights_, never),
          int8_macs_per_second(library_->info(), pool_, never)};
}

}  // namespace bn

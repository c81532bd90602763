#include "gpu_bench.h"

#include <algorithm>
#include <stdexcept>

#include "measure.h"

namespace bn {
namespace {

// Matrices are timed in turn, and together take so many times the room of the second-level cache.
constexpr int64_t kTimesCache = 4;
constexpr int64_t kFewest = 4;

}  // namespace

GpuBench::GpuBench(int device)
    : driver_(cuda::Driver::get()),
      device_(cuda::device_of(driver_.devices(), device)),
      context_(cuda::SharedContext::on(driver_, device)),
      stream_(driver_) {}

GpuBench::~GpuBench() {
  try {
    context_->use();
    stream_.wait();
  } catch (const std::exception&) {
    // A device that is lost has nothing left to wait for.
  }
}

void GpuBench::open(const std::string& library, const std::vector<uint8_t>& layer) {
  const std::lock_guard lock(mutex_);
  context_->use();
  stream_.wait();
  tours_.clear();
  weights_.reset();
  workspace_.reset();
  program_.reset();
  program_ = std::make_unique<cuda::Program>(driver_, device_, library, BN_KV_F16, nullptr);
  const bn_cuda_model& model = program_->model();
  const auto bytes = static_cast<int64_t>(layer.size());
  if (bytes != model.layer_bytes) throw std::runtime_error("the weights do not suit " + library);
  copies_ = static_cast<int>(std::max(kFewest, (kTimesCache * device_.l2 + bytes - 1) / bytes));
  weights_ = std::make_unique<cuda::DeviceMemory>(driver_, copies_ * bytes);
  workspace_ = std::make_unique<cuda::DeviceMemory>(driver_, model.workspace_bytes);
  // Numbers of everyday size: some clocks go by what is computed.
  constexpr unsigned char kByte = 0x3f;
  driver_.check(driver_.fill(workspace_->at(), kByte, static_cast<size_t>(workspace_->bytes()), stream_),
                "filling the GPU's memory");
  driver_.check(driver_.to_device(weights_->at(), layer.data(), layer.size(), stream_), "copying weights to the GPU");
  for (int i = 1; i < copies_; ++i) {
    driver_.check(driver_.on_device(weights_->at() + i * bytes, weights_->at(), layer.size(), stream_),
                  "copying weights on the GPU");
  }
  stream_.wait();
}

const cuda::Trial& GpuBench::trial(const std::string& kernel) const {
  if (program_) {
    for (const cuda::Trial& one : program_->trials()) {
      if (one.kernel == kernel) return one;
    }
  }
  throw std::runtime_error("no program that is open has a kernel " + kernel);
}

bn_cuda_args GpuBench::args_of(int tokens) const {
  if (tokens < 1 || tokens > program_->model().max_tokens) {
    throw std::runtime_error("there is no step of " + std::to_string(tokens) + " tokens");
  }
  bn_cuda_args args{};
  args.weights = weights_->as<const uint8_t>();
  args.workspace = workspace_->as<uint8_t>();
  args.token_count = tokens;
  return args;
}

// Activations for the kernels that do not quantise for themselves.
void GpuBench::fill(const cuda::Trial& trial, int tokens) { program_->launch(trial.fill, args_of(tokens), 0, stream_); }

std::vector<int32_t> GpuBench::sums(const std::string& kernel, int tokens) {
  const std::lock_guard lock(mutex_);
  context_->use();
  const cuda::Trial& one = trial(kernel);
  bn_cuda_args args = args_of(tokens);
  std::vector<int32_t> values(static_cast<size_t>(one.m) * tokens);
  const cuda::DeviceMemory sums(driver_, static_cast<int64_t>(values.size() * sizeof(int32_t)));
  // What is not written is no sum of anything.
  driver_.check(driver_.fill(sums.at(), 0x7f, static_cast<size_t>(sums.bytes()), stream_), "filling the GPU's memory");
  args.sums = sums.as<int32_t>();
  fill(one, tokens);
  program_->launch(one.run, args, copies_ - 1, stream_, false);
  driver_.check(driver_.to_host(values.data(), sums.at(), values.size() * sizeof(int32_t), stream_),
                "copying from the GPU");
  stream_.wait();
  return values;
}

int64_t GpuBench::time(const std::string& kernel, int tokens, int64_t rounds) {
  const std::lock_guard lock(mutex_);
  context_->use();
  if (rounds < 1) throw std::runtime_error("rounds of " + kernel + " must be 1 or more");
  const cuda::Trial& one = trial(kernel);
  const bn_cuda_args args = args_of(tokens);
  std::unique_ptr<cuda::GraphHold>& tour = tours_[kernel + ' ' + std::to_string(tokens)];
  fill(one, tokens);
  if (!tour) {
    tour = std::make_unique<cuda::GraphHold>(driver_, stream_, [&] {
      for (int copy = 0; copy < copies_; ++copy) program_->launch(one.run, args, copy, stream_);
    });
  }
  tour->launch();  // the first one finds clocks and caches as others left them
  const cuda::EventHold begin(driver_), end(driver_);
  const int64_t tours = std::max<int64_t>(1, (rounds + copies_ / 2) / copies_);
  float milliseconds = 0;
  driver_.check(driver_.event_record(begin, stream_), "timing a kernel");
  for (int64_t i = 0; i < tours; ++i) tour->launch();
  driver_.check(driver_.event_record(end, stream_), "timing a kernel");
  driver_.check(driver_.event_wait(end), "timing a kernel");
  driver_.check(driver_.event_elapsed(&milliseconds, begin, end), "timing a kernel");
  return static_cast<int64_t>(1e6 * milliseconds * static_cast<double>(rounds) / static_cast<double>(tours * copies_));
}

MachineLimits GpuBench::limits() {
  const std::lock_guard lock(mutex_);
  context_->use();
  if (!program_) throw std::runtime_error("no program is open");
  return cuda::measure(driver_, device_, *program_, stream_, [] { return false; });
}

}  // namespace bn

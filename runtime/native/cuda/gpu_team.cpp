#include "gpu_team.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace bn {
namespace {

// All choose the next token for themselves, so all must compute the same logits.
void require_one_kind(const std::vector<cuda::DeviceFacts>& devices, const std::vector<int>& chosen) {
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (std::count(chosen.begin(), chosen.end(), chosen[i]) > 1) {
      throw std::runtime_error("GPU " + std::to_string(chosen[i]) + " is chosen twice\nName each GPU once.");
    }
    const cuda::DeviceFacts &one = cuda::device_of(devices, chosen[i]), &first = devices[chosen[0]];
    if (one.major == first.major && one.minor == first.minor) continue;
    throw std::runtime_error("GPUs of two kinds cannot share a model: " + first.name + " and " + one.name +
                             "\nChoose GPUs of one kind.");
  }
}

}  // namespace

GpuTeam::GpuTeam(const ExecutorOptions& options)
    : driver_(cuda::Driver::get()), threads_(static_cast<int>(options.devices.size()), false) {
  require_one_kind(driver_.devices(), options.devices);
  for (const int device : options.devices) contexts_.push_back(cuda::SharedContext::primary(driver_, device));
  clique_ = std::make_unique<cuda::Clique>(options.devices);
  executors_.resize(options.devices.size());
  together([&](int gpu) {
    ExecutorOptions own = options;
    if (gpu > 0) {
      own.on_upload = nullptr;
      own.threads = 1;
    }
    executors_[gpu] = std::make_unique<CudaExecutor>(own, CudaExecutor::Membership{gpu, clique_.get()});
  });
  together([&](int gpu) { executors_[gpu]->try_gathering(); });
}

template <typename Work>
void GpuTeam::together(const Work& work) {
  if (failure_.empty()) {
    threads_.run([&](int gpu) {
      try {
        work(gpu);
      } catch (const std::exception& error) {
        const std::lock_guard lock(mutex_);
        if (failure_.empty()) failure_ = error.what();
        clique_->abort();
      }
    });
  }
  if (!failure_.empty()) throw std::runtime_error(failure_);
}

std::string GpuTeam::device() const { return std::to_string(executors_.size()) + " × " + first().device(); }

int64_t GpuTeam::weights_bytes() const {
  return std::accumulate(executors_.begin(), executors_.end(), int64_t{0},
                         [](int64_t sum, const auto& one) { return sum + one->weights_bytes(); });
}

int64_t GpuTeam::kv_bytes() const {
  return std::accumulate(executors_.begin(), executors_.end(), int64_t{0},
                         [](int64_t sum, const auto& one) { return sum + one->kv_bytes(); });
}

int64_t GpuTeam::workspace_bytes() const {
  return std::accumulate(executors_.begin(), executors_.end(), int64_t{0},
                         [](int64_t sum, const auto& one) { return sum + one->workspace_bytes(); });
}

void GpuTeam::step(const bn_token* tokens, int count, float* logits, float* hidden, const Cache& cache,
                   const bn_screen* screen) {
  together([&](int gpu) {
    Cache own = cache;
    own.base = executors_[gpu]->cache().base + (cache.base - this->cache().base);
    executors_[gpu]->step(tokens, count, gpu == 0 ? logits : nullptr, gpu == 0 ? hidden : nullptr, own, screen);
  });
}

void GpuTeam::draw_as(int sequence, const Sampler& sampler, int32_t choices, int position) {
  together([&](int gpu) { executors_[gpu]->draw_as(sequence, sampler, choices, position); });
}

void GpuTeam::draw(const bn_token* tokens, int count, int32_t* drawn) {
  together([&](int gpu) {
    std::vector<int32_t> same(gpu == 0 ? 0 : count);
    executors_[gpu]->draw(tokens, count, gpu == 0 ? drawn : same.data());
  });
}

std::vector<cuda::Program::Timing> GpuTeam::profile(const bn_token* tokens, int count) {
  std::vector<cuda::Program::Timing> timings;
  together([&](int gpu) {
    std::vector<cuda::Program::Timing> own = executors_[gpu]->profile(tokens, count);
    if (gpu == 0) timings = std::move(own);
  });
  return timings;
}

MachineLimits GpuTeam::measure(const std::function<bool()>& cancelled) {
  std::vector<MachineLimits> limits(executors_.size());
  together([&](int gpu) { limits[gpu] = executors_[gpu]->measure(cancelled); });
  MachineLimits all;
  for (const MachineLimits& one : limits) {
    all.read_bytes_per_second += one.read_bytes_per_second;
    all.int8_macs_per_second += one.int8_macs_per_second;
  }
  return all;
}

}  // namespace bn

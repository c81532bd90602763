// A model that several NVIDIA GPUs share: each has some rows of every matrix and some heads, computes them from the whole
// input, and gets the others' results. All of them end a step with the same logits.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda_executor.h"
#include "nccl.h"

namespace bn {

class GpuTeam : public Executor {
 public:
  // Throws as CudaExecutor does, and where the GPUs are not of one kind or cannot reach each other.
  explicit GpuTeam(const ExecutorOptions& options);

  const ModelSizes& sizes() const override { return first().sizes(); }
  std::string device() const override;
  ThreadPool& pool() override { return first().pool(); }
  int context() const override { return first().context(); }
  int sequences() const override { return first().sequences(); }
  // Of all GPUs together.
  int64_t weights_bytes() const override;
  int64_t kv_bytes() const override;
  int64_t workspace_bytes() const override;

  // Where the first GPU has it: the others have theirs in the same places.
  Cache cache() const override { return first().cache(); }
  Cache part_of_cache(int sequence, int positions) const override { return first().part_of_cache(sequence, positions); }
  int64_t sequences_in_part(int positions) const override { return first().sequences_in_part(positions); }

  using Executor::step;
  void step(const bn_token* tokens, int count, float* logits, float* hidden, const Cache& cache,
            const bn_screen* screen) override;
  const bn_counts& counts() const override { return first().counts(); }
  // Every GPU draws for itself, from the same logits with the same numbers.
  bool draws() const override { return true; }
  void draw_as(int sequence, const Sampler& sampler, int32_t choices, int position) override;
  void draw(const bn_token* tokens, int count, int32_t* drawn) override;

  // As CudaExecutor's, of the first GPU.
  std::vector<cuda::Program::Timing> profile(const bn_token* tokens, int count);

  // Of all GPUs together.
  MachineLimits measure(const std::function<bool()>& cancelled) override;

 private:
  CudaExecutor& first() const { return *executors_.front(); }
  // Calls work(gpu) by a thread for each GPU. Where one throws, the others are not left waiting, and the team has ended:
  // that and every later call throws.
  template <typename Work>
  void together(const Work& work);

  const cuda::Driver& driver_;
  std::vector<std::shared_ptr<cuda::SharedContext>> contexts_;
  ThreadPool threads_;
  std::unique_ptr<cuda::Clique> clique_;
  std::vector<std::unique_ptr<CudaExecutor>> executors_;
  std::mutex mutex_;
  std::string failure_;
};

}  // namespace bn

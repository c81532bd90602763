// A model that the CPU runs: library, mapped weights, KV cache, workspace and threads.
#pragma once

#include <cstdint>

#include "crew.h"
#include "executor.h"

namespace bn {

class CpuExecutor : public Executor {
 public:
  // Opens, checks and self-tests. Throws std::runtime_error with what is wrong.
  explicit CpuExecutor(const ExecutorOptions& options);

  const ModelSizes& sizes() const override { return sizes_; }
  ThreadPool& pool() override { return pool_; }
  int context() const override { return context_; }
  int sequences() const override { return sequences_; }
  int64_t weights_bytes() const override { return weights_.bytes(); }
  int64_t kv_bytes() const override { return kv_.bytes(); }
  int64_t workspace_bytes() const override { return workspace_.bytes(); }

  Cache cache() const override { return {kv_.data(), kv_sequence_bytes_, context_}; }
  Cache part_of_cache(int sequence, int positions) const override;
  int64_t sequences_in_part(int positions) const override;

  using Executor::step;
  void step(const bn_token* tokens, int count, float* logits, float* hidden, const Cache& cache,
            const bn_screen* screen) override;
  const bn_counts& counts() const override { return counts_; }

  MachineLimits measure(const std::function<bool()>& cancelled) override;

 private:
  const bn_model_info& info() const { return library_.info(); }

  ModelLibrary library_;
  const ModelSizes sizes_;
  MappedFile weights_;
  int context_, sequences_, kv_type_;
  int64_t kv_sequence_bytes_;
  Pages workspace_, kv_;
  bn_team team_;
  bn_counts counts_{};
  ThreadPool pool_;
  Crew crew_;
};

}  // namespace bn

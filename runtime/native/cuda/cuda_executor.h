// A model that an NVIDIA GPU runs: weights, KV cache and workspace in its memory, steps as launches or whole graphs.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "../engine/executor.h"
#include "context.h"
#include "driver.h"
#include "memory.h"
#include "program.h"

namespace bn {

class CudaExecutor : public Executor {
 public:
  // Which of the GPUs that share a model it is; without a clique, one by itself.
  struct Membership {
    int gpu;
    const cuda::Clique* clique;
  };

  // Opens, plans its memory, uploads, checks and self-tests. Throws std::runtime_error with what is wrong: no driver, no such device, no
  // room, with the numbers.
  CudaExecutor(const ExecutorOptions& options, const Membership& membership);
  explicit CudaExecutor(const ExecutorOptions& options) : CudaExecutor(options, {0, nullptr}) {}
  ~CudaExecutor() override;

  const ModelSizes& sizes() const override { return sizes_; }
  std::string device() const override { return device_.name; }
  ThreadPool& pool() override { return pool_; }
  int context() const override { return context_positions_; }
  int sequences() const override { return sequences_; }
  int64_t weights_bytes() const override { return plan_.weights; }
  int64_t kv_bytes() const override { return plan_.kv; }
  int64_t workspace_bytes() const override { return plan_.workspace(); }

  Cache cache() const override;
  Cache part_of_cache(int sequence, int positions) const override;
  int64_t sequences_in_part(int positions) const override;

  using Executor::step;
  // Gives whole rows of logits, whatever `screen` would leave out.
  void step(const bn_token* tokens, int count, float* logits, float* hidden, const Cache& cache,
            const bn_screen* screen) override;
  const bn_counts& counts() const override { return counts_; }
  bool draws() const override { return true; }
  void draw_as(int sequence, const Sampler& sampler, int32_t choices, int position) override;
  void draw(const bn_token* tokens, int count, int32_t* drawn) override;
  // Draws from `rows` of logits instead of those of the model, one for each token. Returns the microseconds that it takes
  // on the GPU.
  double draw_from(const float* rows, const bn_token* tokens, int count, int32_t* drawn);

  // Gathers a number of each GPU that shares the model, and throws where another comes back than was sent.
  void try_gathering();

  // Of a step, kernel by kernel, each as if it were alone; `step`, as it runs, many in a row; and `ternary`, its ternary
  // products alone, likewise.
  std::vector<cuda::Program::Timing> profile(const bn_token* tokens, int count);

  MachineLimits measure(const std::function<bool()>& cancelled) override;

 private:
  // Bytes of the GPU's memory, before any is taken.
  struct MemoryPlan {
    int64_t weights, kv, buffers, tables, logits, hidden, small, draws, samplers;
    int64_t workspace() const { return buffers + tables + logits + hidden + small + draws + samplers; }
  };
  MemoryPlan plan_memory() const;
  void check_room() const;
  void upload(const MappedFile& file, const std::function<void(double)>& on_upload);
  void check_kernels(const Expected& expected);
  // Launches a step; returns how many rows of logits, and of hidden states, it brings.
  struct Brought {
    int rows, hidden;
  };
  // How the next tokens are found: by samplers, or, without any, as the largest logits of ids below `choices`.
  struct Choice {
    int32_t choices;
    bn_cuda_sampler* samplers;
    bool operator==(const Choice&) const = default;
  };
  Choice choice_of(const bn_token* tokens, int count) const;
  Brought start(const bn_token* tokens, int count, const Choice& choice, const Cache& cache);
  bn_cuda_args prepare(const bn_token* tokens, int count, const Choice& choice, const Cache& cache);
  void draw_next(const bn_token* tokens, int count, const Choice& choice, int32_t* drawn);
  bn_cuda_args next_args(bn_cuda_args args);
  void run(const bn_cuda_args& args);
  void fetch(void* to, cuda::Pointer from, int64_t bytes);
  // Of the cache: keys, values and ids.
  int64_t position_bytes() const { return kv_position_bytes_ + int64_t{sizeof(int32_t)}; }
  int64_t sequence_bytes(int positions) const;

  const cuda::Driver& driver_;
  const Membership membership_;
  const cuda::DeviceFacts device_;
  const std::shared_ptr<cuda::SharedContext> context_;
  const cuda::StreamHold stream_;
  const cuda::Program program_;
  const int64_t kv_position_bytes_;
  const ModelSizes sizes_;
  const int context_positions_, sequences_, max_rows_;
  MemoryPlan plan_{};
  const bn_counts counts_{};  // nothing is left unread
  std::unique_ptr<cuda::DeviceMemory> weights_, workspace_, tables_, kv_, logits_, hidden_, small_, draws_, samplers_;
  // What is known here of each sequence's sampler.
  struct Draws {
    bool greedy = true;
    int32_t choices = 0;
    std::unique_ptr<cuda::DeviceMemory> biases;
  };
  std::vector<Draws> known_;
  std::unique_ptr<cuda::PinnedMemory> pinned_;
  // The step that is under way before it was asked for: of the tokens that were drawn last, should the same sequences go
  // on; and the tokens of the last step that decoded, and how many such steps of the same sequences there have been.
  std::vector<bn_token> ahead_, latest_;
  Choice ahead_choice_{};
  bn_cuda_args ahead_args_{};
  int steady_ = 0, turn_ = 0;
  std::unique_ptr<cuda::PinnedMemory> answer_;
  std::unique_ptr<cuda::EventHold> answered_;
  std::map<std::string, std::unique_ptr<cuda::GraphHold>> graphs_;  // by the arguments of the step
  std::set<std::string> seen_;
  ThreadPool pool_;
};

}  // namespace bn

// A model ready to run: weights, KV cache, workspace, and what computes a step. It knows nothing of requests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "library.h"
#include "pool.h"
#include "sampler.h"

namespace bn {

struct ExecutorOptions {
  std::string library, weights;
  std::optional<Expected> expected;  // without it nothing is checked
  int threads = 1;
  bool pin = false;
  int context = 0;  // positions of each sequence
  int kv_type = BN_KV_F16;
  int sequences = 1;
  std::vector<int> devices{0};  // which GPU, where the library is for one; or those that share the model
  std::function<void(double)> on_upload;  // told the share of the weights that a GPU has; called by the opening thread
};

// Where a step finds the keys and values of its sequences: in the memory of whatever computes the step.
struct Cache {
  uint8_t* base;
  int64_t sequence_bytes;
  int positions;  // of each sequence
};

struct ModelSizes {
  int32_t vocab, embedding, max_tokens;
};

// The machine's limits, for the shares that benchmarks report.
struct MachineLimits {
  double read_bytes_per_second = 0;
  double int8_macs_per_second = 0;
};

class Executor {
 public:
  // For the CPU or for a GPU, as the library is. Throws std::runtime_error with what is wrong.
  static std::unique_ptr<Executor> open(const ExecutorOptions& options);

  virtual ~Executor() = default;

  virtual const ModelSizes& sizes() const = 0;
  // The name of the GPU that it runs on; empty where the CPU does.
  virtual std::string device() const { return {}; }
  // Threads of the CPU, for what is done beside the steps.
  virtual ThreadPool& pool() = 0;
  virtual int context() const = 0;
  virtual int sequences() const = 0;
  virtual int64_t weights_bytes() const = 0;
  virtual int64_t kv_bytes() const = 0;
  virtual int64_t workspace_bytes() const = 0;

  // The cache of all sequences.
  virtual Cache cache() const = 0;
  // The place of one sequence, cut into sequences of that many positions.
  virtual Cache part_of_cache(int sequence, int positions) const = 0;
  // How many of those there is room for.
  virtual int64_t sequences_in_part(int positions) const = 0;

  // Runs `count` tokens, at most sizes().max_tokens. `logits` has room for one row per token with a logits_row, `hidden`
  // for one per token with a hidden_row; null where there are none. `screen` is null, or says of each row what may be left
  // out of it. Call from one thread only.
  virtual void step(const bn_token* tokens, int count, float* logits, float* hidden, const Cache& cache,
                    const bn_screen* screen) = 0;
  void step(const bn_token* tokens, int count, float* logits, float* hidden, const Cache& cache) {
    step(tokens, count, logits, hidden, cache, nullptr);
  }
  void step(const bn_token* tokens, int count, float* logits, float* hidden = nullptr) {
    step(tokens, count, logits, hidden, cache());
  }
  // What the last step left unread.
  virtual const bn_counts& counts() const = 0;

  // Whether it draws tokens itself, so that logits need not leave its memory. What follows is only for those that do.
  virtual bool draws() const { return false; }
  // How tokens of a sequence are drawn from now on: as `sampler` would, ids below `choices`, the first of them from the
  // logits of the token at `position`.
  virtual void draw_as(int /*sequence*/, const Sampler& /*sampler*/, int32_t /*choices*/, int /*position*/) {}
  // As step, but gives of each row of logits only the token that is drawn from it: -1 where no logit is a number. A sequence
  // has one such row in a step.
  virtual void draw(const bn_token* /*tokens*/, int /*count*/, int32_t* /*drawn*/) {}

  // Measures with probes of its own, and returns early when `cancelled` says so.
  virtual MachineLimits measure(const std::function<bool()>& cancelled) = 0;
};

}  // namespace bn

// A model ready to run: library, mapped weights, KV cache, workspace and threads. It knows nothing of requests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "library.h"
#include "pool.h"

namespace bn {

struct ExecutorOptions {
  std::string library, weights;
  std::optional<Expected> expected;  // without it nothing is checked
  int threads = 1;
  bool pin = false;
  int context = 0;  // positions of each sequence
  int kv_type = BN_KV_F16;
  int sequences = 1;
};

class Executor {
 public:
  // Opens, checks and self-tests. Throws std::runtime_error with what is wrong.
  explicit Executor(const ExecutorOptions& options);

  const bn_model_info& info() const { return library_.info(); }
  ThreadPool& pool() { return pool_; }
  int context() const { return context_; }
  int sequences() const { return sequences_; }
  int64_t weights_bytes() const { return weights_.bytes(); }
  int64_t kv_bytes() const { return kv_.bytes(); }
  int64_t workspace_bytes() const { return workspace_.bytes(); }

  // Runs `count` tokens, at most info().max_tokens, on all threads. `logits` has room for one row per token with a
  // logits_row. Call from one thread only.
  void step(const bn_token* tokens, int count, float* logits);

 private:
  ModelLibrary library_;
  MappedFile weights_;
  int context_, sequences_, kv_type_;
  int64_t kv_sequence_bytes_;
  Pages workspace_, kv_;
  bn_team team_;
  ThreadPool pool_;
};

}  // namespace bn

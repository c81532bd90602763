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

// Where a step finds the keys and values of its sequences.
struct Cache {
  uint8_t* base;
  int64_t sequence_bytes;
  int positions;  // of each sequence
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

  // The cache of all sequences.
  Cache cache() const { return {kv_.data(), kv_sequence_bytes_, context_}; }
  // The place of one sequence, cut into sequences of that many positions.
  Cache part_of_cache(int sequence, int positions) const;
  // How many of those there is room for.
  int64_t sequences_in_part(int positions) const;

  // Runs `count` tokens, at most info().max_tokens, on all threads. `logits` has room for one row per token with a
  // logits_row, `hidden` for one per token with a hidden_row; null where there are none. `screen` is for one row at most.
  // Call from one thread only.
  void step(const bn_token* tokens, int count, float* logits, float* hidden, const Cache& cache,
            const bn_screen* screen = nullptr);
  void step(const bn_token* tokens, int count, float* logits, float* hidden = nullptr) {
    step(tokens, count, logits, hidden, cache());
  }
  // What the last step left unread.
  const bn_counts& counts() const { return counts_; }

 private:
  ModelLibrary library_;
  MappedFile weights_;
  int context_, sequences_, kv_type_;
  int64_t kv_sequence_bytes_;
  Pages workspace_, kv_;
  bn_team team_;
  bn_counts counts_{};
  ThreadPool pool_;
};

}  // namespace bn

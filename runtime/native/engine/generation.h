// Text generation: prefill of a prompt, then one token after the other.
#pragma once

#include <algorithm>

#include "request.h"

namespace bn {

struct GenerationOptions {
  int64_t max_tokens = 0;
  int32_t vocab = 0;  // ids below this have a text: a head may have more rows than the tokenizer has tokens
  std::vector<int32_t> stop_tokens;
  bool screen = true;  // read of the head only what may matter, where the sampling allows it
  int queue = 32;  // tokens that may lie in the box before the sequence pauses
  SamplingOptions sampling;
};

struct GenerationStats {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;   // of the prompt, found in the KV cache
  int64_t prefill_ns = 0;      // in steps that ran the rest of the prompt
  int64_t first_token_ns = 0;  // from submission to the first token
  int64_t decode_tokens = 0;   // steps after that
  int64_t decode_ns = 0;       // in those steps, sampling included; not in waiting for a slow reader
  bn_counts counts{};          // what those steps left unread
};

class Generation : public SequenceRequest {
 public:
  struct Output {
    std::vector<int32_t> tokens;
    Ending ending = Ending::none;
    std::string error;
    GenerationStats stats;
  };

  Generation(std::vector<int32_t> prompt, GenerationOptions options, std::function<void()> wake);

  // Any thread. False: nothing yet, wake() follows.
  bool take(Output& output);
  GenerationStats stats() const;

  bool may_reuse_cache() const override { return true; }
  void started(int cached_tokens) override;
  bool ready() const override;
  bool wants_logits(int index) const override { return index + 1 == static_cast<int>(tokens_.size()); }
  std::optional<NeededLogits> needed(int32_t vocab) override;
  const Sampler* sampler() const override { return &sampler_; }
  int32_t choices(int32_t vocab) const override { return std::min(vocab, options_.vocab); }
  Next accept(const StepResult& result) override;

 private:
  int32_t choose(const StepResult& result);

  const GenerationOptions options_;
  const Clock::time_point submitted_ = Clock::now();
  const size_t prompt_size_;
  Sampler sampler_;
  int whole_heads_ = 0;  // how many tokens are still to read all of the head, as screening it read too much
  std::vector<int32_t> box_;
  GenerationStats stats_;
};

}  // namespace bn

// Choosing the next token from the logits.
//
// The steps, in this order (each is skipped at its neutral value):
//   1. logit bias          logit += bias; -infinity forbids a token
//   2. repetition penalty  of each distinct token among the last `penalty_last_n`: positive logits are divided by it,
//                          negative ones multiplied (Keskar et al., CTRL, arXiv:1909.05858)
//   3. frequency, presence penalty   logit -= count * frequency + presence, over the same tokens
//   4. temperature 0       the largest logit; of equals the lowest id. Nothing below applies
//   5. top-k               keeps the k largest logits (Fan et al., arXiv:1805.04833)
//   6. top-p               keeps the fewest most probable tokens whose probabilities, among those kept so far, add up
//                          to p (Holtzman et al., arXiv:1904.09751)
//   7. min-p               keeps tokens at least min_p times as probable as the best (Nguyen et al., arXiv:2407.01082)
//   8. temperature         softmax(logit / temperature) of what is left, one draw from it
// Probabilities in 6 and 7 are those of temperature 1, as in llama.cpp. A logit that is no number counts as -infinity.
// The arithmetic is that of artifact/sampling.h. GPUs draw the same tokens: templates/cuda/draw.cuh.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "artifact/sampling.h"

namespace bn {

struct SamplingOptions {
  double temperature = 0;
  int top_k = 0;  // 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  int penalty_last_n = 64;
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, double>> logit_bias;
};

// What of the logits the next token depends on: of the first `vocab` the `keep` largest, those not below the keep-th
// largest less `margin`, and `rows`.
struct NeededLogits {
  int32_t vocab;
  int32_t keep;
  float margin;
  std::vector<int32_t> rows;
};

class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  // What draws the tokens where logits do not leave a GPU.
  const bn_sampling& settings() const { return settings_; }
  const std::vector<bn_bias>& biases() const { return biases_; }
  const bn_random& random() const { return random_; }
  // Whether the next token is that of the largest logit, whatever came before.
  bool greedy() const { return settings_.rate == 0 && !penalises() && biases_.empty(); }

  // Tells the penalties that the text has this token.
  void accept(int32_t token);

  // What sample() needs; nothing where that may be all logits. With only those, and -infinity for the others, it returns
  // the same token and draws the same random numbers.
  std::optional<NeededLogits> needed(int32_t vocab) const;

  // The next token, or -1 where no logit is a number. Changes `logits` (bias and penalties).
  int32_t sample(float* logits, int32_t vocab);
  // Goes on as if it had drawn a token that was drawn elsewhere.
  void skip();

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };

  bool penalises() const { return settings_.penalty_last_n > 0; }
  void adjust(float* logits, int32_t vocab) const;
  void keep_largest(const float* logits, int32_t vocab, std::size_t count);
  void keep_nucleus(const float* logits, int32_t vocab, float largest);
  void cut_top_p(uint64_t total);
  int32_t draw(float largest);

  bn_sampling settings_;
  std::vector<bn_bias> biases_;
  bn_random random_;
  std::deque<int32_t> window_;
  std::unordered_map<int32_t, int> counts_;  // of the tokens in the window
  std::vector<Candidate> candidates_;        // this and the next are kept between calls for their memory
  std::vector<uint64_t> weights_;
};

}  // namespace bn

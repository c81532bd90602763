#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "artifact/abi.h"

namespace bn {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// Index of the largest value, the first of equals. The caller has removed NaN.
int32_t largest_index(const float* values, int32_t count) {
  return static_cast<int32_t>(std::max_element(values, values + count) - values);
}

// splitmix64, as the authors of xoshiro256++ recommend: the same numbers on every platform.
bn_random seeded(uint64_t seed) {
  bn_random random;
  for (uint64_t& word : random.words) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t mixed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    word = mixed ^ (mixed >> 31);
  }
  return random;
}

bool any_penalty(const SamplingOptions& options) {
  return options.repetition_penalty != 1 || options.presence_penalty != 0 || options.frequency_penalty != 0;
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options) {
  const double temperature = options.temperature;
  settings_ = {temperature == 0 ? 0 : BN_HALVINGS / temperature,
               options.top_p,
               options.repetition_penalty,
               options.presence_penalty,
               options.frequency_penalty,
               options.min_p > 0 ? static_cast<float>(std::log(options.min_p)) : 1.0f,
               options.top_k,
               any_penalty(options) ? std::max(options.penalty_last_n, 0) : 0};
  std::map<int32_t, float> biases;
  for (const auto& [id, bias] : options.logit_bias) biases[id] += static_cast<float>(bias);
  for (const auto& [id, bias] : biases) biases_.push_back({id, bias});
  random_ = seeded(options.seed);
}

void Sampler::accept(int32_t token) {
  if (!penalises()) return;
  window_.push_back(token);
  ++counts_[token];
  if (window_.size() <= static_cast<size_t>(settings_.penalty_last_n)) return;
  const auto oldest = counts_.find(window_.front());
  if (--oldest->second == 0) counts_.erase(oldest);
  window_.pop_front();
}

// Bias and penalties change the logits of some tokens, which are among `rows`. Of the others at least k of the k largest
// are among the k + rows.size() largest of all before the change, with every one that equals the least of those; so the
// token is found there or among `rows`. Min-p cuts at best - m with the best after the change, which is not below the
// largest of the unchanged; rounding keeps that order, so what passes that cut passes the one of the same margin m.
std::optional<NeededLogits> Sampler::needed(int32_t vocab) const {
  NeededLogits needed{vocab, 1, 0, {}};
  if (settings_.rate != 0) {
    if (settings_.top_k > 0 && settings_.top_k < vocab) needed.keep = std::min(settings_.top_k, BN_SCREEN_KEEP + 1);
    else if (settings_.top_p < 1 || settings_.min_p > 0) return std::nullopt;
    else needed.margin = -settings_.min_p;
  }
  for (const bn_bias& bias : biases_) needed.rows.push_back(bias.id);
  for (const auto& [id, count] : counts_) needed.rows.push_back(id);
  std::sort(needed.rows.begin(), needed.rows.end());
  needed.rows.erase(std::unique(needed.rows.begin(), needed.rows.end()), needed.rows.end());
  if (needed.rows.size() > BN_SCREEN_KEEP) return std::nullopt;
  needed.keep += static_cast<int32_t>(needed.rows.size());
  if (needed.keep > BN_SCREEN_KEEP) return std::nullopt;
  return needed;
}

int32_t Sampler::sample(float* logits, int32_t vocab) {
  adjust(logits, vocab);
  const int32_t best = largest_index(logits, vocab);
  if (logits[best] == kForbidden) return -1;
  if (settings_.rate == 0) return best;

  const float largest = logits[best], least = settings_.min_p > 0 ? kForbidden : largest + settings_.min_p;
  if (settings_.top_k > 0 && settings_.top_k < vocab) {
    keep_largest(logits, vocab, settings_.top_k);
    if (settings_.top_p < 1) {
      uint64_t total = 0;
      for (const Candidate& one : candidates_) total += bn_weight(one.logit, largest, BN_HALVINGS);
      cut_top_p(total);
    }
    std::erase_if(candidates_, [&](const Candidate& one) { return one.logit < least; });
  } else if (settings_.top_p < 1) {
    keep_nucleus(logits, vocab, largest);
    std::erase_if(candidates_, [&](const Candidate& one) { return one.logit < least; });
  } else {
    candidates_.clear();
    for (int32_t id = 0; id < vocab; ++id) {
      if (logits[id] >= least && logits[id] > kForbidden) candidates_.push_back({logits[id], id});
    }
  }
  return draw(largest);
}

void Sampler::skip() {
  if (settings_.rate != 0) bn_random_advance(random_);
}

void Sampler::adjust(float* logits, int32_t vocab) const {
  const auto bound = [](float& logit) { logit = bn_may_be_drawn(logit) ? bn_bounded(logit) : kForbidden; };
  for (int32_t id = 0; id < vocab; ++id) bound(logits[id]);
  for (const bn_bias& bias : biases_) {
    logits[bias.id] += bias.bias;
    bound(logits[bias.id]);
  }
  for (const auto& [id, count] : counts_) {
    if (!bn_may_be_drawn(logits[id])) continue;
    logits[id] = bn_penalised(logits[id], count, settings_);
    bound(logits[id]);
  }
}

// The `count` candidates with the largest logits, largest first, the lower id first of equals. One pass, without
// sorting the vocabulary: a buffer collects what exceeds the largest logit known to be too small, and is cut when full.
void Sampler::keep_largest(const float* logits, int32_t vocab, size_t count) {
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  const size_t full = count * 2 + 256;
  float threshold = kForbidden;
  candidates_.clear();
  for (int32_t id = 0; id < vocab; ++id) {
    // Ids rise, so one equal to the threshold can only come after what has been kept.
    if (!(logits[id] > threshold)) continue;
    candidates_.push_back({logits[id], id});
    if (candidates_.size() < full) continue;
    std::nth_element(candidates_.begin(), candidates_.begin() + (count - 1), candidates_.end(), before);
    candidates_.resize(count);
    threshold = candidates_[count - 1].logit;
  }
  if (candidates_.size() > count) {
    std::nth_element(candidates_.begin(), candidates_.begin() + (count - 1), candidates_.end(), before);
    candidates_.resize(count);
  }
  std::sort(candidates_.begin(), candidates_.end(), before);
}

// Top-p over the whole vocabulary. The nucleus is nearly always small, so the largest few hundred are tried first.
void Sampler::keep_nucleus(const float* logits, int32_t vocab, float largest) {
  uint64_t total = 0;
  for (int32_t id = 0; id < vocab; ++id) total += bn_weight(logits[id], largest, BN_HALVINGS);
  for (size_t count = 256;; count *= 16) {
    const size_t tried = std::min<size_t>(count, vocab);
    keep_largest(logits, vocab, tried);
    const size_t kept = candidates_.size();
    cut_top_p(total);
    if (candidates_.size() < kept || kept < tried || tried == static_cast<size_t>(vocab)) return;
  }
}

// Cuts the sorted candidates after the one with which their share of `total` reaches top_p.
void Sampler::cut_top_p(uint64_t total) {
  const uint64_t wanted = bn_nucleus(total, settings_.top_p);
  uint64_t sum = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    sum += bn_weight(candidates_[i].logit, candidates_[0].logit, BN_HALVINGS);
    if (sum < wanted) continue;
    candidates_.resize(i + 1);
    return;
  }
}

int32_t Sampler::draw(float largest) {
  weights_.clear();
  uint64_t total = 0;
  for (const Candidate& one : candidates_) {
    weights_.push_back(bn_weight(one.logit, largest, settings_.rate));
    total += weights_.back();
  }
  const uint64_t drawn = bn_drawn(total, bn_random_value(random_));
  bn_random_advance(random_);
  size_t i = 0;
  for (uint64_t sum = weights_[0]; sum < drawn; sum += weights_[i]) ++i;
  return candidates_[i].id;
}

}  // namespace bn

#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "artifact/abi.h"

namespace bn {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

uint64_t rotate_left(uint64_t value, int bits) { return (value << bits) | (value >> (64 - bits)); }

// Index of the largest value, the first of equals. The caller has removed NaN.
int32_t largest_index(const float* values, int32_t count) {
  return static_cast<int32_t>(std::max_element(values, values + count) - values);
}

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t mixed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    word = mixed ^ (mixed >> 31);
  }
}

uint64_t Random::next() {
  const uint64_t result = rotate_left(state_[0] + state_[3], 23) + state_[0];
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = rotate_left(state_[3], 45);
  return result;
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

Sampler::Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) {}

bool Sampler::greedy() const {
  const bool penalised = options_.repetition_penalty != 1 || options_.presence_penalty != 0 || options_.frequency_penalty != 0;
  return options_.temperature == 0 && !penalised && options_.logit_bias.empty();
}

void Sampler::accept(int32_t token) {
  if (options_.penalty_last_n <= 0) return;
  window_.push_back(token);
  ++counts_[token];
  if (window_.size() <= static_cast<size_t>(options_.penalty_last_n)) return;
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
  if (options_.temperature != 0) {
    if (options_.top_k > 0 && options_.top_k < vocab) needed.keep = std::min(options_.top_k, BN_SCREEN_KEEP + 1);
    else if (options_.top_p < 1 || !(options_.min_p > 0)) return std::nullopt;
    else needed.margin = -static_cast<float>(std::log(options_.min_p));
  }
  for (const auto& [id, bias] : options_.logit_bias) needed.rows.push_back(id);
  if (penalises()) {
    for (const auto& [id, count] : counts_) needed.rows.push_back(id);
  }
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
  if (options_.temperature == 0) return best;

  const float min_p_cut = options_.min_p > 0 ? logits[best] + static_cast<float>(std::log(options_.min_p)) : kForbidden;
  if (options_.top_k > 0 && options_.top_k < vocab) {
    keep_largest(logits, vocab, options_.top_k);
    if (options_.top_p < 1) {
      double total = 0;
      for (const Candidate& one : candidates_) total += std::exp(static_cast<double>(one.logit) - logits[best]);
      cut_top_p(total);
    }
    std::erase_if(candidates_, [&](const Candidate& one) { return one.logit < min_p_cut; });
  } else if (options_.top_p < 1) {
    keep_nucleus(logits, vocab, logits[best]);
    std::erase_if(candidates_, [&](const Candidate& one) { return one.logit < min_p_cut; });
  } else {
    candidates_.clear();
    for (int32_t id = 0; id < vocab; ++id) {
      if (logits[id] >= min_p_cut && logits[id] > kForbidden) candidates_.push_back({logits[id], id});
    }
  }
  return draw();
}

bool Sampler::penalises() const {
  return options_.repetition_penalty != 1 || options_.presence_penalty != 0 || options_.frequency_penalty != 0;
}

void Sampler::adjust(float* logits, int32_t vocab) const {
  for (int32_t id = 0; id < vocab; ++id) {
    // Also false for NaN. An infinite logit would leave no probability for the others to compare with.
    if (!(logits[id] >= -std::numeric_limits<float>::max())) logits[id] = kForbidden;
    else logits[id] = std::min(logits[id], std::numeric_limits<float>::max());
  }
  for (const auto& [id, bias] : options_.logit_bias) logits[id] += static_cast<float>(bias);
  if (!penalises()) return;
  for (const auto& [id, count] : counts_) {
    double logit = logits[id];
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    logits[id] = static_cast<float>(logit - count * options_.frequency_penalty - options_.presence_penalty);
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
  double total = 0;
  for (int32_t id = 0; id < vocab; ++id) total += std::exp(static_cast<double>(logits[id]) - largest);
  for (size_t count = 256;; count *= 16) {
    const size_t tried = std::min<size_t>(count, vocab);
    keep_largest(logits, vocab, tried);
    const size_t kept = candidates_.size();
    cut_top_p(total);
    if (candidates_.size() < kept || kept < tried || tried == static_cast<size_t>(vocab)) return;
  }
}

// Cuts the sorted candidates after the one with which their share of `total` reaches top_p.
void Sampler::cut_top_p(double total) {
  double sum = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    sum += std::exp(static_cast<double>(candidates_[i].logit) - candidates_[0].logit);
    if (sum >= options_.top_p * total) {
      candidates_.resize(i + 1);
      return;
    }
  }
}

int32_t Sampler::draw() {
  float largest = kForbidden;
  for (const Candidate& one : candidates_) largest = std::max(largest, one.logit);
  weights_.clear();
  double left = 0;
  for (const Candidate& one : candidates_) {
    weights_.push_back(std::exp((static_cast<double>(one.logit) - largest) / options_.temperature));
    left += weights_.back();
  }
  left *= random_.uniform();
  for (size_t i = 0; i < candidates_.size(); ++i) {
    left -= weights_[i];
    if (left < 0) return candidates_[i].id;
  }
  return candidates_.back().id;  // rounding ate the last of it
}

}  // namespace bn

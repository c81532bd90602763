#include "generation.h"

#include <algorithm>

namespace bn {
namespace {

// Screening pays where it reads less than this share of the head; where not, it is tried again so many tokens later.
constexpr double kScreenPays = 0.9;
constexpr int kTryAgain = 64;

void add(bn_counts& sum, const bn_counts& counts) {
  sum.steps += counts.steps;
  sum.zeros += counts.zeros;
  sum.zero_columns += counts.zero_columns;
  sum.screened += counts.screened;
  sum.rows += counts.rows;
  sum.screen_bytes += counts.screen_bytes;
  sum.head_bytes += counts.head_bytes;
}

}  // namespace

Generation::Generation(std::vector<int32_t> prompt, GenerationOptions options, std::function<void()> wake)
    : SequenceRequest(std::move(prompt), std::move(wake)),
      options_(std::move(options)),
      prompt_size_(tokens_.size()),
      sampler_(options_.sampling) {
  for (const int32_t token : tokens_) sampler_.accept(token);
  stats_.prompt_tokens = static_cast<int64_t>(prompt_size_);
}

bool Generation::take(Output& output) {
  Request::End end;
  const bool something = take_from_box(end, [&] {
    output.tokens.swap(box_);
    output.stats = stats_;
    return !output.tokens.empty();
  });
  output.ending = end.ending;
  output.error = std::move(end.error);
  return something;
}

GenerationStats Generation::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void Generation::started(int cached_tokens) {
  const std::lock_guard lock(mutex_);
  stats_.cached_tokens = cached_tokens;
}

bool Generation::ready() const {
  const std::lock_guard lock(mutex_);
  return box_.size() < static_cast<size_t>(options_.queue);
}

std::optional<NeededLogits> Generation::needed(int32_t vocab) {
  if (!options_.screen || (whole_heads_ > 0 && whole_heads_-- > 0)) return std::nullopt;
  return sampler_.needed(choices(vocab));
}

int32_t Generation::choose(const StepResult& result) {
  if (!result.drawn) return sampler_.sample(result.logits, choices(result.vocab));
  sampler_.skip();
  return *result.drawn;
}

Next Generation::accept(const StepResult& result) {
  const size_t ran = static_cast<size_t>(result.first) + result.count;
  const bool complete = ran == tokens_.size();
  const int32_t token = complete ? choose(result) : -1;
  const bn_counts& counts = result.counts;
  if (counts.screen_bytes > kScreenPays * counts.head_bytes) whole_heads_ = kTryAgain;
  {
    const std::lock_guard lock(mutex_);
    if (ran <= prompt_size_) {
      stats_.prefill_ns += nanoseconds_since(result.started);
      if (complete) stats_.first_token_ns = nanoseconds_since(submitted_);
    } else {
      stats_.decode_ns += nanoseconds_since(result.started);
      ++stats_.decode_tokens;
      add(stats_.counts, counts);
    }
  }
  if (!complete) return Next::more;
  if (token < 0) return finish(Ending::error, "the model computed logits that are not numbers");
  if (std::find(options_.stop_tokens.begin(), options_.stop_tokens.end(), token) != options_.stop_tokens.end()) {
    return finish(Ending::stop);
  }
  sampler_.accept(token);
  tokens_.push_back(token);
  publish([&] { box_.push_back(token); });
  if (static_cast<int64_t>(tokens_.size() - prompt_size_) >= options_.max_tokens) return finish(Ending::length);
  if (tokens_.size() > static_cast<size_t>(result.context)) return finish(Ending::context);
  return Next::more;
}

}  // namespace bn

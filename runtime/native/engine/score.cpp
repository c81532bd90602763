#include "score.h"

#include <algorithm>
#include <cmath>

namespace bn {
namespace {

// -ln softmax(logits)[target], stable for any size of logits.
double surprise(const float* logits, int32_t vocab, int32_t target) {
  const double largest = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (int32_t id = 0; id < vocab; ++id) sum += std::exp(logits[id] - largest);
  return largest + std::log(sum) - logits[target];
}

}  // namespace

Score::Score(std::vector<int32_t> text, int window, std::function<void()> wake)
    : SequenceRequest({}, std::move(wake)), text_(std::move(text)), window_(window) {
  next_window();
}

bool Score::next_window() {
  const size_t end = std::min(start_ + window_, text_.size());
  if (end < start_ + 2) return false;
  tokens_.assign(text_.begin() + start_, text_.begin() + (end - 1));
  return true;
}

bool Score::take(Output& output) {
  Request::End end;
  const bool something = take_from_box(end, [&] {
    output.nll = nll_;
    output.tokens = predicted_;
    return std::exchange(news_, false);
  });
  output.ending = end.ending;
  output.error = std::move(end.error);
  return something;
}

Next Score::accept(const StepResult& result) {
  std::vector<double> surprises(result.count);
  result.pool.run([&](int thread) {
    for (int row = thread; row < result.count; row += result.pool.threads()) {
      const float* logits = result.logits + static_cast<int64_t>(row) * result.vocab;
      surprises[row] = surprise(logits, result.vocab, text_[start_ + result.first + row + 1]);
    }
  });
  double sum = 0;
  for (const double one : surprises) sum += one;
  if (std::isnan(sum)) return finish(Ending::error, "the model computed logits that are not numbers");
  publish([&] {
    nll_ += sum;
    predicted_ += result.count;
    news_ = true;
  });
  if (result.first + result.count < static_cast<int>(tokens_.size())) return Next::more;
  start_ += window_;
  return next_window() ? Next::restart : finish(Ending::done);
}

}  // namespace bn

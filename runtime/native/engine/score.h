// How surprised the model is by a text: the negative log-likelihood behind perplexity.
#pragma once

#include "request.h"

namespace bn {

// Cuts the text into windows of `window` tokens (the last may be shorter), each run from an empty cache, and adds up
// -ln p(token | those before it in the window) over all but the first token of each. Float64 from the logits on.
class Score : public SequenceRequest {
 public:
  struct Output {
    double nll = 0;       // the sum so far, in nats
    int64_t tokens = 0;   // how many were predicted
    Ending ending = Ending::none;
    std::string error;
  };

  // `text` has at least two tokens, `window` is at least two.
  Score(std::vector<int32_t> text, int window, std::function<void()> wake);

  // Any thread. False: nothing new, wake() follows.
  bool take(Output& output);

  const std::vector<int32_t>& text() const override { return text_; }
  bool may_reuse_cache() const override { return false; }
  bool wants_logits(int) const override { return true; }
  Next accept(const StepResult& result) override;

 private:
  // Puts all but the last token of the window at start_ into tokens_. False: there is none left to predict.
  bool next_window();

  const std::vector<int32_t> text_;
  const size_t window_;
  size_t start_ = 0;
  bool news_ = false;
  double nll_ = 0;
  int64_t predicted_ = 0;
};

}  // namespace bn

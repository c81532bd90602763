// The logits of every token of a text, handed over a few rows at a time.
#pragma once

#include "request.h"

namespace bn {

class Logits : public SequenceRequest {
 public:
  struct Output {
    std::vector<float> rows;  // whole rows, in order; empty at the end
    Ending ending = Ending::none;
    std::string error;
  };

  using SequenceRequest::SequenceRequest;

  // Any thread. False: nothing yet, wake() follows.
  bool take(Output& output);

  bool may_reuse_cache() const override { return false; }
  bool ready() const override;
  bool wants_logits(int) const override { return true; }
  int max_rows(int32_t vocab) const override;
  Next accept(const StepResult& result) override;

 private:
  std::vector<float> box_;
};

}  // namespace bn

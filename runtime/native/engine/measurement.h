// What the machine can do at best, for the shares that benchmarks report.
#pragma once

#include "request.h"

namespace bn {

// Measures the machine with the model's own probes on all threads: read bandwidth over a buffer several times the
// last-level cache, and the rate of int8 multiply-accumulates. The best of a few rounds each.
class Measurement : public Task {
 public:
  struct Output {
    MachineLimits limits;
    Ending ending = Ending::none;
    std::string error;
  };

  using Task::Task;

  // Any thread. False: nothing yet, wake() follows.
  bool take(Output& output);

  void run(Executor& executor) override;

 private:
  Output box_;
};

}  // namespace bn

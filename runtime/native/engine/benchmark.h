// What the compiled model and the machine can do, timed without sampling, queues or JavaScript in the way.
#pragma once

#include "request.h"

namespace bn {

// Times prefill of `prompt_tokens` random tokens in steps of `chunk`, then decode of `new_tokens` more, `repetitions`
// times, each from an empty cache, after one short round that is not counted.
class Benchmark : public Task {
 public:
  struct Output {
    std::vector<double> prefill_seconds, decode_seconds;  // one entry per repetition since the last time
    Ending ending = Ending::none;
    std::string error;
  };

  Benchmark(int prompt_tokens, int new_tokens, int repetitions, int chunk, std::function<void()> wake);

  // Any thread. False: nothing yet, wake() follows.
  bool take(Output& output);

  void run(Executor& executor) override;

 private:
  // Both return seconds.
  double prefill(Executor& executor, int tokens);
  double decode(Executor& executor, int position, int tokens);

  const int prompt_tokens_, new_tokens_, repetitions_, chunk_;
  Random random_{1};
  std::vector<float> logits_;
  Output box_;
};

// Measures the machine with the model's own probes on all threads: read bandwidth over a buffer several times the
// last-level cache, and the rate of int8 multiply-accumulates. The best of a few rounds each.
class Measurement : public Task {
 public:
  struct Output {
    double read_bytes_per_second = 0;
    double int8_macs_per_second = 0;
    Ending ending = Ending::none;
    std::string error;
  };

  using Task::Task;

  // Any thread. False: nothing yet, wake() follows.
  bool take(Output& output);

  void run(Executor& executor) override;

 private:
  double read_bytes_per_second(Executor& executor) const;
  double int8_macs_per_second(Executor& executor) const;

  Output box_;
};

}  // namespace bn

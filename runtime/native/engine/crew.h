// How many of a pool's threads run a step.
#pragma once

#include <cstdint>

namespace bn {

// All of them, on a machine that is ours. Where others want its cores, too, the threads of a step wait for whichever of
// them is not running, at every barrier, and one thread that waits for nobody can be many times faster than two. So a
// step's time is watched. When much of it goes by without this thread running, half as many are tried, and kept if that
// is faster; when it runs all the time again, twice as many. Results are the same on any number of threads.
class Crew {
 public:
  explicit Crew(int most) : most_(most), threads_(most) {}

  // For the next step, of so many tokens. Those of many compute for long between two barriers: all threads share them.
  int threads(int tokens) const { return tokens > kFew ? most_ : threads_; }

  // What became of it: the seconds it took, and for how many of those the caller's thread ran.
  void saw(int tokens, double seconds, double running);

 private:
  // Steps of up to so many tokens take about as long as those of one: reading the weights.
  static constexpr int kFew = 8;

  void decide(double pace, double running);
  void begin(int threads);

  int most_, threads_;
  int home_ = 0;      // on trial: where from; else 0
  double home_pace_;  // seconds a step took there
  int rest_ = 0, next_rest_ = 1;  // windows until the next trial, and how many after another that fails

  // A window of steps.
  int steps_ = 0;
  double seconds_ = 0, running_ = 0;
};

}  // namespace bn

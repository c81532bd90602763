#include "crew.h"

#include <algorithm>

namespace bn {
namespace {

// A window ends after as many steps and seconds, or after fewer steps that took long.
constexpr int kSteps = 8, kFewSteps = 3;
constexpr double kSeconds = 0.02, kLong = 0.06;

// The share of its time that a thread runs where it has to wait for others, and where it does not.
constexpr double kStrained = 0.8, kCalm = 0.95;

// How much less a step must take on fewer threads for these to be kept: they leave cores idle.
constexpr double kWorthIt = 0.9;

// The most windows between two trials.
constexpr int kLongestRest = 256;

}  // namespace

void Crew::saw(int tokens, double seconds, double running) {
  if (most_ == 1 || tokens > kFew) return;
  ++steps_;
  seconds_ += seconds;
  running_ += running;
  const bool hopeless = home_ && seconds_ > 2 * kSteps * home_pace_;
  if (!hopeless && !(steps_ >= kSteps && seconds_ >= kSeconds) && !(steps_ >= kFewSteps && seconds_ >= kLong)) return;
  decide(seconds_ / steps_, running_ / seconds_);
}

void Crew::decide(double pace, double running) {
  if (home_) {
    const bool faster = threads_ > home_ ? pace < home_pace_ : pace < home_pace_ * kWorthIt;
    if (faster) {
      next_rest_ = 1;
      begin(threads_);
    } else {
      rest_ = next_rest_;
      next_rest_ = std::min(2 * next_rest_, kLongestRest);
      begin(home_);
    }
    return;
  }
  const bool fewer = running < kStrained && threads_ > 1, more = running > kCalm && threads_ < most_;
  if (rest_ > 0) {
    --rest_;
  } else if (fewer || more) {
    const int home = threads_;
    begin(fewer ? threads_ / 2 : std::min(2 * threads_, most_));
    home_ = home;
    home_pace_ = pace;
    return;
  }
  begin(threads_);
}

// A window on that many threads, not on trial.
void Crew::begin(int threads) {
  threads_ = threads;
  home_ = 0;
  steps_ = 0;
  seconds_ = running_ = 0;
}

}  // namespace bn

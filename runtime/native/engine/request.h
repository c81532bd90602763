// What a caller asks of the engine, and the box in which the answer is handed over. The engine thread fills the box,
// the caller's thread empties it; a caller that found it empty is woken once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "executor.h"
#include "sampler.h"

namespace bn {

using Clock = std::chrono::steady_clock;

inline int64_t nanoseconds_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

// Why a request is over.
enum class Ending { none, done, stop, length, context, cancelled, error };

class Request {
 public:
  // `wake` is called on the engine thread, at most once for each time that nothing was there to take.
  explicit Request(std::function<void()> wake) : wake_(std::move(wake)) {}
  virtual ~Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // Engine thread. Nothing may follow.
  void end(Ending ending, std::string error = {}) {
    publish([&] {
      ending_ = ending;
      error_ = std::move(error);
    });
  }

 protected:
  struct End {
    Ending ending = Ending::none;
    std::string error;
  };

  // Changes the box, then wakes the caller where it waits.
  template <typename Change>
  void publish(const Change& change) {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      change();
      std::swap(wake, waiting_);
    }
    if (wake) wake_();
  }

  // Takes from the box; `empty_it` says whether it took something. Returns false where there was nothing, and no end.
  template <typename EmptyIt>
  bool take_from_box(End& end, const EmptyIt& empty_it) {
    const std::lock_guard lock(mutex_);
    const bool something = empty_it();
    end = {ending_, error_};
    waiting_ = !something && ending_ == Ending::none;
    return !waiting_;
  }

  mutable std::mutex mutex_;  // guards the box: what follows, and what derived classes hand over

 private:
  bool waiting_ = false;
  Ending ending_ = Ending::none;
  std::string error_;
  std::function<void()> wake_;
  std::atomic<bool> cancelled_{false};
};

// What a step did for one sequence.
struct StepResult {
  int first, count;     // it ran tokens [first, first + count) of the sequence
  float* logits;         // a row of `vocab` for each of them that wanted it, in order; null where `drawn` is not
  const int32_t* drawn;  // the token drawn from each such row, -1 where no logit is a number; or null
  int32_t vocab;
  int32_t context;      // positions that a sequence may have
  ThreadPool& pool;
  const bn_counts& counts;  // of the step, whose other sequences count as well
  Clock::time_point started;
};

enum class Next { more, restart, ended };

// A request that runs tokens in a KV slot. All but the box belongs to the engine thread.
class SequenceRequest : public Request {
 public:
  SequenceRequest(std::vector<int32_t> tokens, std::function<void()> wake)
      : Request(std::move(wake)), tokens_(std::move(tokens)) {}

  // All tokens known so far. The engine runs those that the KV cache lacks.
  const std::vector<int32_t>& tokens() const { return tokens_; }
  // All tokens that it will ever run or look up, besides those that it samples itself.
  virtual const std::vector<int32_t>& text() const { return tokens_; }
  // Whether tokens that the cache happens to hold need not be run again.
  virtual bool may_reuse_cache() const = 0;
  virtual void started(int /*cached_tokens*/) {}
  // Whether there is room for what a step brings. If not, the sequence waits.
  virtual bool ready() const { return true; }
  virtual bool wants_logits(int index) const = 0;
  // What of a row it needs, where that is less than all of it. Asked once for each row that it has a step to itself for.
  virtual std::optional<NeededLogits> needed(int32_t /*vocab*/) { return std::nullopt; }
  // Where it needs no more of a row than the token that is drawn from it: by what, and below which ids.
  virtual const Sampler* sampler() const { return nullptr; }
  virtual int32_t choices(int32_t vocab) const { return vocab; }
  // How many rows it takes of one step.
  virtual int max_rows(int32_t /*vocab*/) const { return INT32_MAX; }
  // Takes the results of a step. `restart`: go on with the new tokens() from an empty cache.
  virtual Next accept(const StepResult& result) = 0;

 protected:
  Next finish(Ending ending, std::string error = {}) {
    end(ending, std::move(error));
    return Next::ended;
  }

  std::vector<int32_t> tokens_;
};

// A request that has the machine to itself for a while.
class Task : public Request {
 public:
  using Request::Request;
  // Runs on the engine thread, and returns early when cancelled. It may use the KV cache of sequence 0.
  virtual void run(Executor& executor) = 0;
};

}  // namespace bn

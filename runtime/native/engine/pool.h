// The threads that run a step together.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace bn {

// `threads` threads in all: the one that calls run() and threads - 1 workers. Between two runs the workers spin for a
// moment, so that the steps of a token follow each other without a wake-up, then sleep.
class ThreadPool {
 public:
  ThreadPool(int threads, bool pin);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls function(thread) on the first `threads` threads, 0 being the caller's, and returns when all have returned. The
  // function must not throw. Only one thread may call run().
  template <typename Function>
  void run(int threads, const Function& function) {
    run_erased(threads, [](const void* context, int thread) { (*static_cast<const Function*>(context))(thread); },
               &function);
  }

  // The same on all of them.
  template <typename Function>
  void run(const Function& function) {
    run(threads(), function);
  }

 private:
  using Erased = void (*)(const void* context, int thread);

  // Where a worker looks for work: it changes when there is some, or an end to it.
  struct alignas(64) Post {
    std::atomic<uint32_t> round{0};
  };

  void run_erased(int threads, Erased function, const void* context);
  void call(int worker);
  void work(int worker, bool pin);
  void stop();

  std::vector<Post> posts_;                  // of each worker, so that those who have nothing to do sleep on
  alignas(64) std::atomic<int> running_{0};  // workers that have not finished the round
  alignas(64) Erased function_ = nullptr;       // null: end
  const void* context_ = nullptr;
  std::vector<std::thread> workers_;
};

}  // namespace bn

#include "pool.h"

#include <chrono>
#include <string>

#include "platform.h"

namespace bn {
namespace {

// Longer than sampling from a large vocabulary takes, shorter than anybody would notice on a battery.
constexpr auto kSpin = std::chrono::microseconds(200);

// Waits until `value` is something else than `old`, and returns it.
uint32_t wait_for_change(const std::atomic<uint32_t>& value, uint32_t old) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      const uint32_t now = value.load(std::memory_order_acquire);
      if (now != old) return now;
      cpu_relax();
    }
    std::this_thread::yield();  // to whom we may be waiting for, on a machine with more threads than cores
  } while (std::chrono::steady_clock::now() < until);
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads, bool pin) : posts_(threads - 1) {
  try {
    for (int worker = 0; worker < threads - 1; ++worker) workers_.emplace_back(&ThreadPool::work, this, worker, pin);
  } catch (...) {  // the system has no more threads to give
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  function_ = nullptr;
  for (size_t worker = 0; worker < workers_.size(); ++worker) call(static_cast<int>(worker));
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::call(int worker) {
  posts_[worker].round.fetch_add(1, std::memory_order_release);
  posts_[worker].round.notify_one();
}

void ThreadPool::run_erased(int threads, Erased function, const void* context) {
  function_ = function;
  context_ = context;
  running_.store(threads - 1, std::memory_order_relaxed);
  for (int worker = 0; worker < threads - 1; ++worker) call(worker);
  function(context, 0);
  // The threads of a step end together, so this is short, unless the system gave one of their CPUs to somebody else.
  for (int spins = 0; running_.load(std::memory_order_acquire) > 0; ++spins) {
    if (spins % 64 != 63) cpu_relax();
    else std::this_thread::yield();
  }
}

void ThreadPool::work(int worker, bool pin) {
  const int thread = worker + 1;
  name_this_thread("bitnet-" + std::to_string(thread));
  if (pin) pin_this_thread(thread);
  for (uint32_t round = 0;;) {
    round = wait_for_change(posts_[worker].round, round);
    if (!function_) return;
    function_(context_, thread);
    running_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace bn

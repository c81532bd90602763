// How the threads of a step share its work and wait for each other.
#pragma once

#if !defined(__wasm__)
#include <chrono>
#include <thread>
#endif

#include "abi.h"
#include "primitives.h"

// A half-open range of items.
struct bn_range {
  int32_t begin, end;
};

// The share of one thread in `count` items, handed out in runs of `unit`.
static inline bn_range bn_share(int32_t count, int32_t unit, int32_t thread, int32_t threads) {
  const int64_t units = (count + unit - 1) / unit;
  const int64_t begin = units * thread / threads * unit, end = units * (thread + 1) / threads * unit;
  return {static_cast<int32_t>(begin), static_cast<int32_t>(end < count ? end : count)};
}

// What a thread has left of its share in a stage of a step: begin and end of 24 bits each, and the stage's number of 16. Its
// owner takes from the front; others, when they have nothing left of their own, from the end.
struct alignas(64) bn_work {
  uint64_t left;
};

// One thread in a step, and where all find what the others have left. Threads come through the same stages in the same order.
struct bn_worker {
  bn_work *work; // of each thread
  int32_t thread, threads;
  uint32_t stage;
};

static inline uint64_t bn_left(uint32_t stage, int32_t begin, int32_t end) {
  return static_cast<uint64_t>(stage & 0xffff) << 48 | static_cast<uint64_t>(end) << 24 | static_cast<uint64_t>(begin);
}

enum class bn_from { front, end };

// Takes up to `unit` items of a stage: false where none are left, or the other thread is in another stage.
template <bn_from from>
static inline bool bn_take(bn_range *taken, bn_work *work, uint32_t stage, int32_t unit) {
  uint64_t left = __atomic_load_n(&work->left, __ATOMIC_RELAXED), rest;
  do {
    const int32_t begin = left & 0xffffff, end = left >> 24 & 0xffffff, size = end - begin;
    if (size <= 0 || left >> 48 != (stage & 0xffff)) return false;
    if (from == bn_from::front) {
      *taken = {begin, size < unit ? end : begin + unit};
      rest = bn_left(stage, taken->end, end);
    } else {
      *taken = {end - ((size - 1) % unit + 1), end};
      rest = bn_left(stage, begin, taken->begin);
    }
  } while (!__atomic_compare_exchange_n(&work->left, &left, rest, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return true;
}

// Runs `count` items, `unit` at a time: of each thread its own share first, and then what slower ones have left, since cores
// differ, and others use them too. What is read here was written before the last barrier.
template <typename Run>
static inline void bn_share_out(bn_worker &me, int32_t count, int32_t unit, Run run) {
  const bn_range mine = bn_share(count, unit, me.thread, me.threads);
  ++me.stage;
  __atomic_store_n(&me.work[me.thread].left, bn_left(me.stage, mine.begin, mine.end), __ATOMIC_RELAXED);
  bn_range taken;
  while (bn_take<bn_from::front>(&taken, me.work + me.thread, me.stage, unit)) run(taken);
  for (int32_t i = 1; i < me.threads; ++i) {
    while (bn_take<bn_from::end>(&taken, me.work + (me.thread + i) % me.threads, me.stage, unit)) run(taken);
  }
}

// Lets others run: for a moment, and until the phase of the team is another one, or a while.
#if defined(__wasm__)
// There is no yielding, and a sleep that is not ended takes long.
static inline void bn_yield() {
  for (int i = 0; i < 4; ++i) bn_pause();
}
static inline void bn_sleep(bn_team *team, uint32_t phase) {
  __atomic_add_fetch(&team->sleepers, 1, __ATOMIC_SEQ_CST);
  __builtin_wasm_memory_atomic_wait32(reinterpret_cast<int *>(&team->phase), static_cast<int>(phase), -1);
  __atomic_sub_fetch(&team->sleepers, 1, __ATOMIC_SEQ_CST);
}
static inline void bn_wake(bn_team *team) {
  if (__atomic_load_n(&team->sleepers, __ATOMIC_SEQ_CST) == 0) return;
  __builtin_wasm_memory_atomic_notify(reinterpret_cast<int *>(&team->phase), UINT32_MAX);
}
#else
static inline void bn_yield() { std::this_thread::yield(); }
static inline void bn_sleep(bn_team *, uint32_t) { std::this_thread::sleep_for(std::chrono::microseconds(50)); }
static inline void bn_wake(bn_team *) {}
#endif

// Returns when every thread of the team is here. Spins, since the others are a few microseconds away at most. Where they
// are not, the machine has fewer free cores than the team has threads: then it yields, and in the end sleeps, so that
// the others get to run.
static inline void bn_barrier(bn_team *team) {
  if (team->threads == 1) return;
  const uint32_t phase = __atomic_load_n(&team->phase, __ATOMIC_RELAXED);
  if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_ACQ_REL) == team->threads) {
    __atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&team->phase, phase + 1, __ATOMIC_RELEASE);
    bn_wake(team);
    return;
  }
  for (int spins = 0; __atomic_load_n(&team->phase, __ATOMIC_ACQUIRE) == phase; ++spins) {
    if (spins < 200) {
      bn_pause();
    } else if (spins < 2000) {
      bn_yield();
    } else {
      bn_sleep(team, phase);
    }
  }
}

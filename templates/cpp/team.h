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

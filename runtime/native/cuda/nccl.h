// The few functions of NCCL that the engine calls, NVIDIA's library for what GPUs do together: opened at run time, where
// several of them share a model.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "../engine/platform.h"
#include "driver.h"

namespace bn::cuda {

class Nccl {
 public:
  // The library, opened once in a process. Throws std::runtime_error that says what to install.
  static const Nccl& get();

  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;

  // Throws std::runtime_error with the library's own words where `result` is an error. `what` says what was tried.
  void check(int result, const char* what) const;

 private:
  Nccl();

  SharedLibrary library_;

 public:
  using Member = struct ncclComm*;
  static constexpr int kFloat = 7;  // ncclFloat32

#define BN_NCCL_FUNCTIONS(X)                                                         \
  X(init_all, "ncclCommInitAll", int, (Member*, int, const int*))                    \
  X(destroy, "ncclCommDestroy", int, (Member))                                       \
  X(abort, "ncclCommAbort", int, (Member))                                           \
  X(words, "ncclGetErrorString", const char*, (int))                                 \
  X(gather, "ncclAllGather", int, (const void*, void*, size_t, int, Member, Stream))
#define BN_NCCL_POINTER(name, exported, result, types) result(*name) types = nullptr;
  BN_NCCL_FUNCTIONS(BN_NCCL_POINTER)
#undef BN_NCCL_POINTER
};

// GPUs that exchange what each has computed.
class Clique {
 public:
  // In that order: a GPU's number is its place. Throws std::runtime_error where they cannot reach each other.
  explicit Clique(const std::vector<Device>& devices);
  ~Clique();
  Clique(const Clique&) = delete;
  Clique& operator=(const Clique&) = delete;

  // Puts behind the work of `stream`: of `floats` floats of each GPU that lie one behind the other at `at`, this one has
  // written its own, and gets the others'. Every GPU must do the same, each by a thread of its own.
  void gather(int gpu, Pointer at, int64_t floats, Stream stream) const;

  // Ends what is under way on all of them: one has failed, and the others would wait for it.
  void abort();

 private:
  const Nccl& nccl_;
  std::vector<std::atomic<Nccl::Member>> members_;
};

}  // namespace bn::cuda

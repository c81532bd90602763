// A compiled model's machine code on a device: its table, its kernels, and launches of them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "artifact/cuda.h"
#include "driver.h"
#include "memory.h"
#include "nccl.h"

namespace bn::cuda {

// A launch of the table with its kernel found; a gathering has none.
struct Launch {
  Function function;
  bn_cuda_launch of;
};

struct Steps {
  int max_tokens;
  std::vector<Launch> prologue, layer, epilogue;
};

struct Trial {
  std::string kernel;
  int m, tokens;
  Launch fill, run;
};

class Program {
 public:
  // Loads `path` on the current context's device, for steps over a cache of `kv_type` (BN_KV_*). Throws std::runtime_error
  // where it is no model for that device.
  // Where GPUs share the model, `clique` gathers.
  Program(const Driver& driver, const DeviceFacts& device, const std::string& path, int kv_type, const Clique* clique);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const bn_cuda_model& model() const { return model_; }
  const std::vector<Trial>& trials() const { return trials_; }
  // Independent int8 products: see bn_cuda_model.
  const Launch& probe() const { return probe_; }
  // That of the fewest tokens which has room for `tokens`.
  const Steps& steps_for(int tokens) const;

  void set_up(bn_cuda_args args, Stream stream) const;
  void run(const Steps& steps, bn_cuda_args args, Stream stream) const;
  // The ternary products of a step alone, in their order.
  void run_ternary(const Steps& steps, bn_cuda_args args, Stream stream) const;
  // Of a step only its beginning, which puts the tokens to their texts, and the draw from the rows of logits that are there.
  void draw(const Steps& steps, bn_cuda_args args, Stream stream) const;
  // Runs a step with a clock around each launch: microseconds by kernel, and how often it ran, in order of first use.
  // Nothing overlaps, so their sum is more than a step takes.
  struct Timing {
    std::string kernel;
    int launches = 0;
    double microseconds = 0;
  };
  std::vector<Timing> profile(const Steps& steps, bn_cuda_args args, Stream stream) const;
  // `overlaps`: where its table says so, it may begin before the one before it has ended. Returns whether there is anything
  // for it to do; only then it is launched.
  bool launch(const Launch& launch, bn_cuda_args args, int layer, Stream stream, bool overlaps = true) const;

 private:
  void gather(const bn_cuda_launch& of, const bn_cuda_args& args, Stream stream) const;
  Launch find(const bn_cuda_launch& of);
  Steps find(const bn_cuda_program& of);

  const Driver& driver_;
  const DeviceFacts device_;
  const Clique* const clique_;
  Module module_ = nullptr;
  bn_cuda_model model_{};
  Steps setup_;
  std::vector<Steps> programs_;
  std::vector<Trial> trials_;
  Launch probe_{};
};

}  // namespace bn::cuda

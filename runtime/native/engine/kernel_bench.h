// Kernels of any library, run and timed on the threads of a pool, each call on weights that no cache holds.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "library.h"
#include "limits.h"
#include "platform.h"
#include "pool.h"

namespace bn {

// All members may be called from any thread; they wait for each other. Errors are std::runtime_error.
class KernelBench {
 public:
  explicit KernelBench(int threads);

  // Takes kernels and probes from that library, instead of the one before.
  void open(const std::string& library);

  // Integer sums, as floats, of the first `groups` row groups for `tokens` tokens, on one thread: y [tokens][16 groups].
  // `weights` are packed codes of those groups, `q` is [tokens][k padded to 16].
  std::vector<float> run(const std::string& name, int tokens, int groups, const std::vector<uint8_t>& weights,
                         const std::vector<int8_t>& q);

  // Nanoseconds of `rounds` calls of a kernel for the whole matrix, on all threads: each has a share of the row groups,
  // handed out in runs of `unit`.
  int64_t time(const std::string& name, int tokens, int unit, int64_t rounds);

  struct Limits {
    double read_bytes_per_second, int8_macs_per_second;
  };
  Limits limits();

 private:
  const bn_kernel& kernel(const std::string& name, int tokens) const;

  std::mutex mutex_;
  ThreadPool pool_;
  Pages weights_;
  std::unique_ptr<ModelLibrary> library_;
  int64_t next_ = 0;  // where in weights_ the next matrix is
};

}  // namespace bn

// A compiled model's shared library and its weights, checked against what the manifest says of them. Errors say what is
// wrong on one line and, where there is something to do about it, that on a second.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "artifact/abi.h"
#include "platform.h"

namespace bn {

struct KernelChecksum {
  std::string name;
  uint64_t value;
};

// What the manifest says of one target.
struct Expected {
  std::string key;
  int64_t weights_bytes;
  std::vector<KernelChecksum> kernels;
};

// 16 hexadecimal digits.
std::string hex(uint64_t value);

class ModelLibrary {
 public:
  // Opens the library alone. Throws std::runtime_error where it is not a model of this ABI version.
  explicit ModelLibrary(const std::string& path);

  const bn_model_info& info() const { return *info_; }

  // The kernel of that name, or null.
  const bn_kernel* kernel(const std::string& name) const;

  // Throws where key or weights size are not as expected. Call before anything reads the weights.
  void check(const Expected& expected, const MappedFile& weights) const;

  // Runs the library's self-test: one checksum per kernel, in the library's order.
  std::vector<KernelChecksum> self_test(const MappedFile& weights) const;

  // Throws where a kernel computes another checksum than the manifest holds, or the two list other kernels.
  void check_kernels(const Expected& expected, const std::vector<KernelChecksum>& actual) const;

 private:
  std::string path_;
  SharedLibrary library_;
  const bn_model_info* info_;
};

}  // namespace bn

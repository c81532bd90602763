#include "library.h"

#include <algorithm>
#include <stdexcept>

namespace bn {
namespace {

constexpr const char* kRecompile = "\nThe artifact is damaged or of another machine: compile the model again.";

}  // namespace

std::string hex(uint64_t value) {
  std::string digits(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

ModelLibrary::ModelLibrary(const std::string& path) : path_(path), library_(path) {
  using Entry = const bn_model_info* (*)();
  const auto entry = reinterpret_cast<Entry>(library_.symbol("bn_model"));
  if (!entry) throw std::runtime_error(path + " is not a compiled model: it exports no bn_model()" + kRecompile);
  info_ = entry();
  if (info_->abi_version != BN_ABI_VERSION) {
    throw std::runtime_error(path + " has ABI version " + std::to_string(info_->abi_version) + ", this runtime needs " +
                             std::to_string(BN_ABI_VERSION) + kRecompile);
  }
}

const bn_kernel* ModelLibrary::kernel(const std::string& name) const {
  const bn_kernel* end = info_->kernels + info_->kernel_count;
  const auto has_name = [&](const bn_kernel& kernel) { return kernel.name == name; };
  const bn_kernel* found = std::find_if(info_->kernels, end, has_name);
  return found == end ? nullptr : found;
}

void ModelLibrary::check(const Expected& expected, const MappedFile& weights) const {
  if (info_->key != expected.key) {
    throw std::runtime_error(path_ + " has the key " + info_->key + ", the manifest says " + expected.key +
                             ": library and manifest are of different compilations" + kRecompile);
  }
  if (weights.bytes() != expected.weights_bytes) {
    throw std::runtime_error("the weights file holds " + std::to_string(weights.bytes()) +
                             " bytes, the manifest says " + std::to_string(expected.weights_bytes) + kRecompile);
  }
}

std::vector<KernelChecksum> ModelLibrary::self_test(const MappedFile& weights) const {
  Pages workspace(info_->workspace_bytes(info_->max_tokens, 1));
  std::vector<uint64_t> values(info_->kernel_count);
  info_->self_test(weights.data(), workspace.data(), values.data());
  std::vector<KernelChecksum> result;
  for (int i = 0; i < info_->kernel_count; ++i) result.push_back({info_->kernels[i].name, values[i]});
  return result;
}

void ModelLibrary::check_kernels(const Expected& expected, const std::vector<KernelChecksum>& actual) const {
  if (actual.size() != expected.kernels.size()) {
    throw std::runtime_error(path_ + " holds " + std::to_string(actual.size()) + " kernels, the manifest lists " +
                             std::to_string(expected.kernels.size()) + kRecompile);
  }
  for (const KernelChecksum& kernel : expected.kernels) {
    const auto found =
        std::find_if(actual.begin(), actual.end(), [&](const KernelChecksum& one) { return one.name == kernel.name; });
    if (found == actual.end()) {
      throw std::runtime_error(path_ + " has no kernel " + kernel.name + ", which the manifest lists" + kRecompile);
    }
    if (found->value != kernel.value) {
      throw std::runtime_error("self-test failed: kernel " + kernel.name + " computed the checksum " +
                               hex(found->value) + ", the manifest says " + hex(kernel.value) +
                               ": it would give wrong results on this machine" + kRecompile);
    }
  }
}

}  // namespace bn

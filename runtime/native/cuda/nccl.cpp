#include "nccl.h"

#include <stdexcept>
#include <string>

namespace bn::cuda {
namespace {

constexpr const char* kLibrary = "libnccl.so.2";

SharedLibrary open_library() try {
  return SharedLibrary(SharedLibrary::OfSystem{kLibrary});
} catch (const std::exception& error) {
  throw std::runtime_error(std::string("several GPUs cannot share a model: ") + kLibrary + " cannot be opened (" +
                           error.what() +
                           ")\nInstall NCCL (apt install libnccl2, or pip install nvidia-nccl-cu13 and put the folder "
                           "of its library into LD_LIBRARY_PATH), or run the model on one GPU.");
}

}  // namespace

const Nccl& Nccl::get() {
  // Where that throws, the next call tries again. Never closed: it has threads and handlers of its own.
  static const Nccl& nccl = *new Nccl;
  return nccl;
}

Nccl::Nccl() : library_(open_library()) {
#define BN_NCCL_LOAD(name, exported, result, types)                                                     \
  name = reinterpret_cast<decltype(name)>(library_.symbol(exported));                                   \
  if (!name) throw std::runtime_error(std::string(kLibrary) + " lacks " + exported + "\nInstall NCCL 2.18 or later.");
  BN_NCCL_FUNCTIONS(BN_NCCL_LOAD)
#undef BN_NCCL_LOAD
}

void Nccl::check(int result, const char* what) const {
  if (result == 0) return;
  throw std::runtime_error(std::string(what) + " failed: " + words(result) +
                           " (NCCL)\nNCCL_DEBUG=WARN in the environment makes it say more.");
}

Clique::Clique(const std::vector<Device>& devices) : nccl_(Nccl::get()), members_(devices.size()) {
  std::vector<Nccl::Member> members(devices.size());
  nccl_.check(nccl_.init_all(members.data(), static_cast<int>(devices.size()), devices.data()), "connecting the GPUs");
  for (size_t i = 0; i < members.size(); ++i) members_[i] = members[i];
}

Clique::~Clique() {
  for (auto& member : members_) {
    if (Nccl::Member one = member.exchange(nullptr)) nccl_.destroy(one);
  }
}

void Clique::gather(int gpu, Pointer at, int64_t floats, Stream stream) const {
  Nccl::Member member = members_[gpu];
  if (!member) throw std::runtime_error("another GPU that shares the model has failed");
  auto* all = reinterpret_cast<float*>(static_cast<uintptr_t>(at));
  nccl_.check(nccl_.gather(all + gpu * floats, all, static_cast<size_t>(floats), Nccl::kFloat, member, stream),
              "gathering what the GPUs have computed");
}

void Clique::abort() {
  for (auto& member : members_) {
    if (Nccl::Member one = member.exchange(nullptr)) nccl_.abort(one);
  }
}

}  // namespace bn::cuda

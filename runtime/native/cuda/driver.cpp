#include "driver.h"

#include <stdexcept>

namespace bn::cuda {
namespace {

#if defined(_WIN32)
constexpr const char* kLibrary = "nvcuda.dll";
#else
constexpr const char* kLibrary = "libcuda.so.1";
#endif

constexpr int kMultiprocessors = 16, kL2 = 38, kMajor = 75, kMinor = 76;  // CUdevice_attribute

// Whether an error is of those after which the driver refuses all further work of the process: what a kernel did wrong
// (CUDA_ERROR_ILLEGAL_ADDRESS to CUDA_ERROR_LAUNCH_FAILED), and memory that is broken.
bool ends_process(int result) {
  constexpr int kEccUncorrectable = 214, kIllegalAddress = 700, kLaunchTimeout = 702, kAssert = 710, kStackError = 714,
                kLaunchFailed = 719;
  return result == kEccUncorrectable || result == kIllegalAddress || result == kLaunchTimeout || result == kAssert ||
         (result >= kStackError && result <= kLaunchFailed);
}

SharedLibrary open_library() try {
  return SharedLibrary(SharedLibrary::OfSystem{kLibrary});
} catch (const std::exception& error) {
  throw std::runtime_error(std::string("no NVIDIA GPU can be used: the driver's library ") + kLibrary +
                           " cannot be opened (" + error.what() +
                           ")\nInstall NVIDIA's driver, or compile the model for a CPU and run that.");
}

}  // namespace

const DeviceFacts& device_of(const std::vector<DeviceFacts>& devices, int index) {
  if (index >= 0 && index < static_cast<int>(devices.size())) return devices[index];
  std::string list;
  for (size_t i = 0; i < devices.size(); ++i) list += (i ? ", " : "") + std::to_string(i) + " (" + devices[i].name + ")";
  throw std::runtime_error("there is no GPU " + std::to_string(index) + "\nGPUs: " + list + ".");
}

const Driver& Driver::get() {
  static const Driver driver;  // where that throws, the next call tries again
  return driver;
}

Driver::Driver() : library_(open_library()) {
#define BN_CUDA_LOAD(name, exported, types)                                                                      \
  name = reinterpret_cast<decltype(name)>(library_.symbol(exported));                                            \
  if (!name) {                                                                                                 \
    throw std::runtime_error(std::string("NVIDIA's driver is too old: it lacks ") + exported +                   \
                             "\nInstall a driver for CUDA 12 or later, or run a CPU target.");                 \
  }
  BN_CUDA_FUNCTIONS(BN_CUDA_LOAD)
#undef BN_CUDA_LOAD
  check(init(0), "starting NVIDIA's driver");
}

void Driver::check(int result, const char* what) const {
  if (result == 0) return;
  const char *name = nullptr, *words = nullptr;
  error_name(result, &name);
  error_string(result, &words);
  throw std::runtime_error(std::string(what) + " failed: " + (words ? words : "unknown error") + " (" +
                           (name ? name : std::to_string(result)) + ")" +
                           (ends_process(result) ? "\nNo GPU works in this process any more: start it anew." : ""));
}

int Driver::release() const {
  int release = 0;
  check(release_of(&release), "asking NVIDIA's driver for its release");
  return release;
}

std::vector<DeviceFacts> Driver::devices() const {
  int count = 0;
  check(device_count(&count), "counting NVIDIA GPUs");
  if (count == 0) throw std::runtime_error("no NVIDIA GPU can be used: the driver finds none");
  std::vector<DeviceFacts> found;
  for (int i = 0; i < count; ++i) {
    Device device = 0;
    DeviceFacts facts{};
    char name[256] = "";
    size_t memory = 0;
    check(device_get(&device, i), "opening a GPU");
    check(device_name(name, sizeof(name) - 1, device), "asking a GPU for its name");
    check(device_attribute(&facts.major, kMajor, device), "asking a GPU what it can do");
    check(device_attribute(&facts.minor, kMinor, device), "asking a GPU what it can do");
    check(device_attribute(&facts.multiprocessors, kMultiprocessors, device), "asking a GPU what it can do");
    check(device_memory(&memory, device), "asking a GPU for its memory");
    facts.name = name;
    int l2 = 0;
    check(device_attribute(&l2, kL2, device), "asking a GPU what it can do");
    facts.memory = static_cast<int64_t>(memory);
    facts.l2 = l2;
    found.push_back(facts);
  }
  return found;
}

}  // namespace bn::cuda

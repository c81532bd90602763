// NVIDIA's compiler as a library, NVRTC, as a program: for machines that have it, but not nvcc. It opens the library at run
// time, so that this is built and installed where there is none.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/platform.h"

namespace {

constexpr const char* kUsage = R"(nvrtc COMMAND ...
  find LIBRARY ...                         one JSON line on the first of these libraries that can be opened: a path, or a
                                           name as the system looks it up
  compile LIBRARY SOURCE CUBIN FLAGS ...   compiles one file, which includes others of its folder
)";

// What code for a GPU includes of the host's headers, which NVRTC comes without.
constexpr const char* kHeaderNames[] = {"stdint.h"};
constexpr const char* kHeaders[] = {R"(#pragma once
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
)"};

using Arguments = std::vector<std::string>;
using Source = struct _nvrtcProgram*;

std::unique_ptr<bn::SharedLibrary> open_library(const std::string& name) {
  if (name.find_first_of("/\\") == std::string::npos) {
    return std::make_unique<bn::SharedLibrary>(bn::SharedLibrary::OfSystem{name});
  }
  return std::make_unique<bn::SharedLibrary>(name);
}

#if defined(_WIN32)
std::string builtins_of(int, int, const std::string&) { return ""; }  // Windows looks beside the library by itself
#else
// NVRTC looks its other half up by name alone, in the system's folders: there, or beside it.
std::string builtins_of(int major, int minor, const std::string& library) {
  const size_t slash = library.rfind('/');
  if (slash == std::string::npos) return "";
  return library.substr(0, slash + 1) + "libnvrtc-builtins.so." + std::to_string(major) + "." + std::to_string(minor);
}
#endif

class Nvrtc {
 public:
  explicit Nvrtc(const std::string& name) : library_(open_library(name)) {
    load(version_, "nvrtcVersion");
    load(error_, "nvrtcGetErrorString");
    load(architecture_count_, "nvrtcGetNumSupportedArchs");
    load(architectures_, "nvrtcGetSupportedArchs");
    load(create_, "nvrtcCreateProgram");
    load(compile_, "nvrtcCompileProgram");
    load(log_bytes_, "nvrtcGetProgramLogSize");
    load(log_, "nvrtcGetProgramLog");
    load(cubin_bytes_, "nvrtcGetCUBINSize");
    load(cubin_, "nvrtcGetCUBIN");
    check(version_(&major, &minor));
    const std::string other = builtins_of(major, minor, name);
    if (!other.empty() && std::ifstream(other)) builtins_ = std::make_unique<bn::SharedLibrary>(other);
  }

  int major = 0, minor = 0;

  std::vector<int> architectures() const {
    int count = 0;
    check(architecture_count_(&count));
    std::vector<int> found(count);
    check(architectures_(found.data()));
    return found;
  }

  // Throws std::runtime_error with the compiler's log; prints it where there are only warnings.
  std::vector<char> compile(const std::string& name, const std::string& text, const Arguments& flags) const {
    Source source = nullptr;
    check(create_(&source, text.c_str(), name.c_str(), std::size(kHeaders), kHeaders, kHeaderNames));
    std::vector<const char*> options;
    for (const std::string& flag : flags) options.push_back(flag.c_str());
    const int result = compile_(source, static_cast<int>(options.size()), options.data());
    size_t bytes = 0;
    check(log_bytes_(source, &bytes));
    std::string log(bytes, '\0');
    check(log_(source, log.data()));
    log.resize(log.find('\0'));
    if (result != 0) throw std::runtime_error(log.empty() ? error_(result) : log);
    std::fputs(log.c_str(), stderr);
    check(cubin_bytes_(source, &bytes));
    std::vector<char> cubin(bytes);
    check(cubin_(source, cubin.data()));
    return cubin;
  }

 private:
  template <typename Function>
  void load(Function& function, const char* name) {
    function = reinterpret_cast<Function>(library_->symbol(name));
    if (!function) throw std::runtime_error(std::string("this NVRTC is too old: it lacks ") + name);
  }

  void check(int result) const {
    if (result != 0) throw std::runtime_error(error_(result));
  }

  const std::unique_ptr<bn::SharedLibrary> library_;
  std::unique_ptr<bn::SharedLibrary> builtins_;
  int (*version_)(int*, int*);
  const char* (*error_)(int);
  int (*architecture_count_)(int*);
  int (*architectures_)(int*);
  int (*create_)(Source*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile_)(Source, int, const char* const*);
  int (*log_bytes_)(Source, size_t*);
  int (*log_)(Source, char*);
  int (*cubin_bytes_)(Source, size_t*);
  int (*cubin_)(Source, char*);
};

int find(const Arguments& names) {
  for (size_t i = 0; i < names.size(); ++i) {
    try {
      const Nvrtc nvrtc(names[i]);
      std::printf("{\"index\":%zu,\"version\":\"%d.%d\",\"architectures\":[", i, nvrtc.major, nvrtc.minor);
      const char* separator = "";
      for (const int architecture : nvrtc.architectures()) {
        std::printf("%s%d", separator, architecture);
        separator = ",";
      }
      std::puts("]}");
      return 0;
    } catch (const std::runtime_error& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
  }
  return 1;
}

int compile(const Arguments& arguments) {
  const std::string &source = arguments.at(1), &out = arguments.at(2);
  std::ifstream file(source, std::ios::binary);
  if (!file) throw std::runtime_error(source + " cannot be read");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const Arguments flags{arguments.begin() + 3, arguments.end()};
  const std::vector<char> cubin = Nvrtc(arguments.at(0)).compile(source, text, flags);
  std::ofstream to(out, std::ios::binary);
  to.write(cubin.data(), static_cast<std::streamsize>(cubin.size()));
  if (!to.flush()) throw std::runtime_error(out + " cannot be written");
  return 0;
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments{values + 1, values + count};
  try {
    if (arguments.size() >= 2 && arguments[0] == "find") return find({arguments.begin() + 1, arguments.end()});
    if (arguments.size() >= 4 && arguments[0] == "compile") return compile({arguments.begin() + 1, arguments.end()});
    std::fputs(kUsage, stderr);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

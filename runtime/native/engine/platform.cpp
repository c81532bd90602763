#include "platform.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace bn {
namespace {

constexpr uint8_t kPattern = 0xA5;

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

const char* fault_message = "";

}  // namespace
}  // namespace bn

#if defined(_WIN32)

#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

namespace bn {
namespace {

std::wstring wide(const std::string& text) {
  const int length = MultiByteToWideChar(CP_UTF8, 0, text.c_str(), -1, nullptr, 0);
  std::wstring result(length > 0 ? length - 1 : 0, L'\0');
  if (length > 1) MultiByteToWideChar(CP_UTF8, 0, text.c_str(), -1, result.data(), length);
  return result;
}

std::string reason() { return "Windows error " + std::to_string(GetLastError()); }

int64_t page_size() {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  return info.dwPageSize;
}

std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> processors() {
  DWORD bytes = 0;
  GetLogicalProcessorInformation(nullptr, &bytes);
  std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> result(bytes / sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
  if (result.empty() || !GetLogicalProcessorInformation(result.data(), &bytes)) return {};
  return result;
}

DWORD_PTR allowed_cpus() {
  DWORD_PTR process = 0, system = 0;
  GetProcessAffinityMask(GetCurrentProcess(), &process, &system);
  return process;
}

LONG WINAPI on_fault(EXCEPTION_POINTERS*) {
  const DWORD length = static_cast<DWORD>(std::strlen(fault_message));
  DWORD written = 0;
  WriteFile(GetStdHandle(STD_ERROR_HANDLE), fault_message, length, &written, nullptr);
  ExitProcess(1);
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& path) : handle_(LoadLibraryW(wide(path).c_str())) {
  if (!handle_) throw std::runtime_error(path + " cannot be loaded: " + reason());
}

SharedLibrary::SharedLibrary(const OfSystem& library) : SharedLibrary(library.name) {}

SharedLibrary::~SharedLibrary() { FreeLibrary(static_cast<HMODULE>(handle_)); }

void* SharedLibrary::symbol(const char* name) const {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle_), name));
}

MappedFile::MappedFile(const std::string& path) {
  const HANDLE file =
      CreateFileW(wide(path).c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING, 0, nullptr);
  if (file == INVALID_HANDLE_VALUE) throw std::runtime_error(path + " cannot be opened: " + reason());
  LARGE_INTEGER size;
  GetFileSizeEx(file, &size);
  bytes_ = size.QuadPart;
  const HANDLE mapping = bytes_ > 0 ? CreateFileMappingW(file, nullptr, PAGE_READONLY, 0, 0, nullptr) : nullptr;
  if (mapping) data_ = static_cast<const uint8_t*>(MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0));
  const std::string why = reason();
  if (mapping) CloseHandle(mapping);
  CloseHandle(file);
  if (bytes_ > 0 && !data_) throw std::runtime_error(path + " cannot be mapped: " + why);
}

MappedFile::~MappedFile() {
  if (data_) UnmapViewOfFile(data_);
}

Pages::Pages(int64_t bytes) : bytes_(round_up(std::max<int64_t>(bytes, 1), page_size())) {
  data_ = static_cast<uint8_t*>(VirtualAlloc(nullptr, bytes_, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
  if (!data_) throw std::runtime_error("no room for " + std::to_string(bytes_) + " bytes: " + reason());
}

Pages::~Pages() { VirtualFree(data_, 0, MEM_RELEASE); }

GuardedPages::GuardedPages(int64_t bytes, int64_t alignment) : bytes_(bytes) {
  const int64_t page = page_size();
  usable_ = round_up(round_up(bytes, alignment) + 1, page);
  base_ = static_cast<uint8_t*>(VirtualAlloc(nullptr, usable_ + 2 * page, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
  if (!base_) throw std::runtime_error("no room for " + std::to_string(bytes) + " bytes: " + reason());
  DWORD old = 0;
  VirtualProtect(base_, page, PAGE_NOACCESS, &old);
  VirtualProtect(base_ + page + usable_, page, PAGE_NOACCESS, &old);
  base_ += page;
  std::memset(base_, kPattern, usable_);
  data_ = base_ + usable_ - round_up(bytes, alignment);
}

GuardedPages::~GuardedPages() { VirtualFree(base_ - page_size(), 0, MEM_RELEASE); }

int usable_cores() {
  const DWORD_PTR allowed = allowed_cpus();
  int cores = 0;
  for (const auto& entry : processors()) {
    if (entry.Relationship == RelationProcessorCore && (entry.ProcessorMask & allowed)) ++cores;
  }
  return std::max(cores, 1);
}

void pin_this_thread(int index) {
  const DWORD_PTR allowed = allowed_cpus();
  std::vector<DWORD_PTR> first, rest;
  for (const auto& entry : processors()) {
    if (entry.Relationship != RelationProcessorCore) continue;
    bool taken = false;
    for (DWORD_PTR bit = 1; bit; bit <<= 1) {
      if (!(entry.ProcessorMask & allowed & bit)) continue;
      (taken ? rest : first).push_back(bit);
      taken = true;
    }
  }
  first.insert(first.end(), rest.begin(), rest.end());
  if (!first.empty()) SetThreadAffinityMask(GetCurrentThread(), first[index % first.size()]);
}

void name_this_thread(const std::string& name) { SetThreadDescription(GetCurrentThread(), wide(name).c_str()); }

int64_t memory_limit() {
  MEMORYSTATUSEX status;
  status.dwLength = sizeof(status);
  GlobalMemoryStatusEx(&status);
  return static_cast<int64_t>(status.ullTotalPhys);
}

int64_t last_level_cache() {
  int64_t bytes = 0;
  for (const auto& entry : processors()) {
    if (entry.Relationship == RelationCache) bytes = std::max<int64_t>(bytes, entry.Cache.Size);
  }
  return bytes;
}

double thread_seconds() {
  FILETIME created, ended, kernel, user;
  GetThreadTimes(GetCurrentThread(), &created, &ended, &kernel, &user);
  const auto ticks = [](FILETIME time) { return uint64_t{time.dwHighDateTime} << 32 | time.dwLowDateTime; };
  return static_cast<double>(ticks(kernel) + ticks(user)) * 1e-7;
}

void exit_on_memory_fault(const char* message) {
  fault_message = message;
  SetUnhandledExceptionFilter(on_fault);
}

}  // namespace bn

#else  // Linux and macOS

#include <cerrno>
#include <csignal>

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#else
#include <fstream>
#include <sched.h>
#include <sstream>
#endif

namespace bn {
namespace {

int64_t page_size() { return sysconf(_SC_PAGESIZE); }

// Anonymous memory; the system promises address space only.
uint8_t* reserve(int64_t bytes) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_NORESERVE)
  flags |= MAP_NORESERVE;
#endif
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (address == MAP_FAILED) {
    throw std::runtime_error("no room for " + std::to_string(bytes) + " bytes: " + std::strerror(errno));
  }
  return static_cast<uint8_t*>(address);
}

void on_fault(int) {
  if (write(STDERR_FILENO, fault_message, std::strlen(fault_message)) < 0) _exit(2);
  _exit(1);
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& path) {
  // A name without a slash would be looked up in the system's folders.
  const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
  handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle_) throw std::runtime_error(std::string("the library cannot be loaded: ") + dlerror());
}

SharedLibrary::SharedLibrary(const OfSystem& library) : handle_(dlopen(library.name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (!handle_) throw std::runtime_error(dlerror());
}

SharedLibrary::~SharedLibrary() { dlclose(handle_); }

void* SharedLibrary::symbol(const char* name) const { return dlsym(handle_, name); }

MappedFile::MappedFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw std::runtime_error(path + " cannot be opened: " + std::strerror(errno));
  struct stat status;
  void* address = MAP_FAILED;
  if (fstat(file, &status) == 0) {
    bytes_ = status.st_size;
    if (bytes_ > 0) address = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file, 0);
  }
  const int why = errno;
  close(file);
  if (bytes_ > 0 && address == MAP_FAILED) throw std::runtime_error(path + " cannot be mapped: " + std::strerror(why));
  if (address == MAP_FAILED) return;
  data_ = static_cast<const uint8_t*>(address);
#if defined(MADV_HUGEPAGE)
  madvise(address, bytes_, MADV_HUGEPAGE);  // what is read from disk now goes to huge pages, on kernels that can
#endif
  madvise(address, bytes_, MADV_WILLNEED);
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<uint8_t*>(data_), bytes_);
}

Pages::Pages(int64_t bytes) : bytes_(round_up(std::max<int64_t>(bytes, 1), page_size())) {
  data_ = reserve(bytes_);
#if defined(MADV_HUGEPAGE)
  madvise(data_, bytes_, MADV_HUGEPAGE);
#endif
}

Pages::~Pages() { munmap(data_, bytes_); }

GuardedPages::GuardedPages(int64_t bytes, int64_t alignment) : bytes_(bytes) {
  const int64_t page = page_size();
  usable_ = round_up(round_up(bytes, alignment) + 1, page);
  base_ = reserve(usable_ + 2 * page) + page;
  mprotect(base_ - page, page, PROT_NONE);
  mprotect(base_ + usable_, page, PROT_NONE);
  std::memset(base_, kPattern, usable_);
  data_ = base_ + usable_ - round_up(bytes, alignment);
}

GuardedPages::~GuardedPages() { munmap(base_ - page_size(), usable_ + 2 * page_size()); }

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void exit_on_memory_fault(const char* message) {
  fault_message = message;
  std::signal(SIGSEGV, on_fault);
  std::signal(SIGBUS, on_fault);
}

#if defined(__APPLE__)

namespace {

int64_t sysctl_number(const char* name) {
  int64_t value = 0;
  size_t size = sizeof(value);
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

}  // namespace

int usable_cores() {
  // Efficiency cores would hold the others up at every barrier.
  const int64_t fast = sysctl_number("hw.perflevel0.physicalcpu");
  return static_cast<int>(std::max<int64_t>(fast > 0 ? fast : sysctl_number("hw.physicalcpu"), 1));
}

void pin_this_thread(int) {}

void name_this_thread(const std::string& name) { pthread_setname_np(name.c_str()); }

int64_t memory_limit() { return sysctl_number("hw.memsize"); }

int64_t last_level_cache() { return std::max(sysctl_number("hw.l3cachesize"), sysctl_number("hw.l2cachesize")); }

#else  // Linux

namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The CPUs that this process may run on.
struct Cpus {
  std::vector<int> cores;     // one of each physical core
  std::vector<int> siblings;  // the others
};

Cpus allowed_cpus() {
  Cpus result;
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    std::vector<std::string> cores;
    for (int cpu = 0; known && cpu < cpus; ++cpu) {
      if (!CPU_ISSET_S(cpu, bytes, set)) continue;
      const std::string core =
          first_line("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
      const bool sibling = !core.empty() && std::find(cores.begin(), cores.end(), core) != cores.end();
      (sibling ? result.siblings : result.cores).push_back(cpu);
      cores.push_back(core);
    }
    CPU_FREE(set);
    if (known) break;  // otherwise the machine has more CPUs than the set
  }
  return result;
}

// Calls `visit` with the folder of every control group that this process is in, from its own up to the root.
// `controller` is empty for version 2.
template <typename Visit>
void each_control_group(const std::string& controller, const Visit& visit) {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t colon = line.find(':'), second = line.find(':', colon + 1);
    if (second == std::string::npos) continue;
    std::istringstream controllers(line.substr(colon + 1, second - colon - 1));  // as in "cpu,cpuacct"
    bool listed = controller.empty() && second == colon + 1;
    for (std::string one; std::getline(controllers, one, ',');) listed = listed || one == controller;
    if (!listed) continue;
    const std::string root = controller.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
    std::string path = line.substr(second + 1);
    for (;;) {
      visit(root + path);
      const size_t slash = path.find_last_of('/');
      if (path.size() <= 1 || slash == std::string::npos) break;
      path.resize(slash);
    }
  }
}

// CPUs' worth of time that the container may use, or 0 for no limit.
double cpu_quota() {
  double quota = 0;
  const auto limit = [&](double time, double period) {
    if (time > 0 && period > 0) quota = quota == 0 ? time / period : std::min(quota, time / period);
  };
  each_control_group("", [&](const std::string& folder) {
    std::istringstream line(first_line(folder + "/cpu.max"));  // "max 100000" or "150000 100000"
    double time = 0, period = 0;
    if (line >> time >> period) limit(time, period);
  });
  each_control_group("cpu", [&](const std::string& folder) {
    std::istringstream time(first_line(folder + "/cpu.cfs_quota_us"));
    std::istringstream period(first_line(folder + "/cpu.cfs_period_us"));
    double used = 0, of = 0;
    if (time >> used && period >> of) limit(used, of);
  });
  return quota;
}

}  // namespace

int usable_cores() {
  const int cores = std::max<int>(static_cast<int>(allowed_cpus().cores.size()), 1);
  const double quota = cpu_quota();
  return quota > 0 ? std::clamp(static_cast<int>(quota), 1, cores) : cores;
}

void pin_this_thread(int index) {
  const Cpus allowed = allowed_cpus();
  const size_t cores = allowed.cores.size(), all = cores + allowed.siblings.size();
  if (all == 0) return;
  const size_t at = index % all;
  const int cpu = at < cores ? allowed.cores[at] : allowed.siblings[at - cores];
  cpu_set_t* set = CPU_ALLOC(cpu + 1);
  const size_t bytes = CPU_ALLOC_SIZE(cpu + 1);
  CPU_ZERO_S(bytes, set);
  CPU_SET_S(cpu, bytes, set);
  sched_setaffinity(0, bytes, set);
  CPU_FREE(set);
}

void name_this_thread(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

int64_t memory_limit() {
  int64_t bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * page_size();
  const auto limit = [&](const std::string& file) {
    std::istringstream line(first_line(file));
    int64_t value = 0;
    if (line >> value && value > 0) bytes = std::min(bytes, value);
  };
  each_control_group("", [&](const std::string& folder) { limit(folder + "/memory.max"); });
  each_control_group("memory", [&](const std::string& folder) { limit(folder + "/memory.limit_in_bytes"); });
  return bytes;
}

int64_t last_level_cache() {
#if defined(_SC_LEVEL3_CACHE_SIZE)
  return std::max<int64_t>({sysconf(_SC_LEVEL3_CACHE_SIZE), sysconf(_SC_LEVEL2_CACHE_SIZE), 0});
#else
  return 0;
#endif
}

#endif
}  // namespace bn
#endif

namespace bn {

bool GuardedPages::intact() const {
  const auto is_pattern = [](uint8_t byte) { return byte == kPattern; };
  return std::all_of(base_, data_, is_pattern) && std::all_of(data_ + bytes_, base_ + usable_, is_pattern);
}

}  // namespace bn

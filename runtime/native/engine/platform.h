// All there is of the operating system (platform.cpp has the Linux, macOS and Windows branches).
// Paths are UTF-8. Everything that fails throws std::runtime_error with the system's own reason.
#pragma once

#include <cstdint>
#include <string>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace bn {

// Tells the CPU that this is a spin loop.
inline void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb" ::: "memory");
#elif defined(_MSC_VER) && defined(_M_X64)
  _mm_pause();
#elif defined(_MSC_VER) && defined(_M_ARM64)
  __isb(_ARM64_BARRIER_SY);
#endif
}

// A shared library, closed with the object.
class SharedLibrary {
 public:
  explicit SharedLibrary(const std::string& path);
  // One of the system's own, by its name alone.
  struct OfSystem {
    std::string name;
  };
  explicit SharedLibrary(const OfSystem& library);
  ~SharedLibrary();
  SharedLibrary(const SharedLibrary&) = delete;
  SharedLibrary& operator=(const SharedLibrary&) = delete;

  // The address of an exported symbol, or null.
  void* symbol(const char* name) const;

 private:
  void* handle_;
};

// A whole file, mapped read-only.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  const uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Zeroed, page-aligned memory that costs nothing until it is touched. Asks for huge pages where the system has them.
class Pages {
 public:
  explicit Pages(int64_t bytes);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Memory between two inaccessible pages, for tests: data() + bytes() is the first address that faults, or less than
// `alignment` bytes short of it where `bytes` is no multiple of `alignment`. What lies between the first page and
// data(), and after the end, is filled with a pattern.
class GuardedPages {
 public:
  GuardedPages(int64_t bytes, int64_t alignment);
  ~GuardedPages();
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;

  uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // Whether nobody wrote into the pattern.
  bool intact() const;

 private:
  uint8_t* base_ = nullptr;
  int64_t usable_ = 0;  // between the two guard pages
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
};

// How many threads are worth starting: the physical cores that affinity and container quota leave to this process.
int usable_cores();

// Pins the calling thread to the index-th CPU that the process may use (modulo their number), one of each core first.
// Does nothing where the system has no such call.
void pin_this_thread(int index);

// Seconds for which the calling thread has run.
double thread_seconds();

// Names the calling thread for debuggers and `top`; at most 15 characters.
void name_this_thread(const std::string& name);

// Bytes of memory that this process may use: the machine's, or the container's limit where that is less.
int64_t memory_limit();

// Bytes of the last-level cache, or 0 where the system does not say.
int64_t last_level_cache();

// Writes `message` to standard error and ends the process with exit code 1 when it touches memory that is not its own.
void exit_on_memory_fault(const char* message);

}  // namespace bn

// What the engine holds of a GPU, given back with the object that holds it.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "driver.h"

namespace bn::cuda {

class StreamHold {
 public:
  explicit StreamHold(const Driver& driver) : driver_(driver) {
    constexpr unsigned kNonBlocking = 1;
    driver_.check(driver_.stream_create(&stream_, kNonBlocking), "making a stream");
  }
  ~StreamHold() { driver_.stream_destroy(stream_); }
  StreamHold(const StreamHold&) = delete;
  StreamHold& operator=(const StreamHold&) = delete;

  operator Stream() const { return stream_; }
  void wait() const { driver_.check(driver_.stream_wait(stream_), "running on the GPU"); }

 private:
  const Driver& driver_;
  Stream stream_ = nullptr;
};

class EventHold {
 public:
  explicit EventHold(const Driver& driver) : driver_(driver) {
    driver_.check(driver_.event_create(&event_, 0), "making an event");
  }
  ~EventHold() { driver_.event_destroy(event_); }
  EventHold(const EventHold&) = delete;
  EventHold& operator=(const EventHold&) = delete;

  operator Event() const { return event_; }

 private:
  const Driver& driver_;
  Event event_ = nullptr;
};

// Launches on a stream, recorded once to be launched together.
class GraphHold {
 public:
  // Records what `work` launches on `stream`.
  template <typename Work>
  GraphHold(const Driver& driver, Stream stream, const Work& work) : driver_(driver), stream_(stream) {
    constexpr int kThreadLocal = 1;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    Graph graph = nullptr;
    driver_.check(driver_.capture_begin(stream, kThreadLocal), "recording a step");
    work();
    driver_.check(driver_.capture_end(stream, &graph), "recording a step");
    const int made = driver_.graph_instantiate(&exec_, graph, 0);
    driver_.graph_destroy(graph);
    driver_.check(made, "making a graph of a step");
  }
  ~GraphHold() { driver_.graph_exec_destroy(exec_); }
  GraphHold(const GraphHold&) = delete;
  GraphHold& operator=(const GraphHold&) = delete;

  void launch() const { driver_.check(driver_.graph_launch(exec_, stream_), "launching a step"); }

 private:
  const Driver& driver_;
  Stream stream_;
  GraphExec exec_ = nullptr;
};

class DeviceMemory {
 public:
  DeviceMemory(const Driver& driver, int64_t bytes) : driver_(driver), bytes_(bytes) {
    const int result = driver_.allocate(&at_, static_cast<size_t>(bytes > 0 ? bytes : 1));
    if (result == 0) return;
    size_t free = 0, total = 0;
    driver_.memory_info(&free, &total);
    const std::string what = "taking " + std::to_string(bytes >> 20) + " MiB of the GPU's memory, where " +
                             std::to_string(free >> 20) + " of " + std::to_string(total >> 20) + " MiB are free,";
    driver_.check(result, what.c_str());
  }
  ~DeviceMemory() { driver_.free(at_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  Pointer at() const { return at_; }
  int64_t bytes() const { return bytes_; }
  // As kernels see it.
  template <typename Type>
  Type* as() const {
    return reinterpret_cast<Type*>(static_cast<uintptr_t>(at_));
  }

 private:
  const Driver& driver_;
  int64_t bytes_;
  Pointer at_ = 0;
};

// Memory of the CPU that the GPU copies from and to by itself.
class PinnedMemory {
 public:
  PinnedMemory(const Driver& driver, int64_t bytes) : driver_(driver), bytes_(bytes) {
    driver_.check(driver_.allocate_pinned(&at_, static_cast<size_t>(bytes)), "taking memory for copies to the GPU");
  }
  ~PinnedMemory() { driver_.free_pinned(at_); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  uint8_t* data() const { return static_cast<uint8_t*>(at_); }
  int64_t bytes() const { return bytes_; }

 private:
  const Driver& driver_;
  int64_t bytes_;
  void* at_ = nullptr;
};

}  // namespace bn::cuda

// The few functions of NVIDIA's driver that the engine calls, from the library that comes with the driver: opened at run
// time, so that the engine is built, installed and used where there is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../engine/platform.h"

namespace bn::cuda {

using Device = int;
using Context = struct CUctx_st*;
using Module = struct CUmod_st*;
using Function = struct CUfunc_st*;
using Stream = struct CUstream_st*;
using Event = struct CUevent_st*;
using Graph = struct CUgraph_st*;
using GraphExec = struct CUgraphExec_st*;
using Pointer = uint64_t;

// CUlaunchAttribute and CUlaunchConfig of cuda.h.
struct LaunchAttribute {
  int id;
  int pad;
  union {
    char bytes[64];
    int flag;
  } value;
};
struct LaunchConfig {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  Stream stream;
  LaunchAttribute* attributes;
  unsigned attribute_count;
};

struct DeviceFacts {
  std::string name;
  int major, minor;  // compute capability
  int multiprocessors;
  int64_t memory;
  int64_t l2;  // bytes of its second-level cache
};

// The one of that number. Throws std::runtime_error that lists them where there is none.
const DeviceFacts& device_of(const std::vector<DeviceFacts>& devices, int index);

class Driver {
 public:
  // The driver, opened once in a process. Throws std::runtime_error that says why no GPU can be used.
  static const Driver& get();

  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // In the order in which `--device` counts them. Throws std::runtime_error where there is none.
  std::vector<DeviceFacts> devices() const;

  // What the driver's release has of CUDA: 1000 * major + 10 * minor.
  int release() const;

  // Throws std::runtime_error with the driver's own words where `result` is an error, and that the process is to be started
  // anew where nothing but that helps. `what` says what was tried.
  void check(int result, const char* what) const;

 private:
  Driver();

  SharedLibrary library_;

 public:
#define BN_CUDA_FUNCTIONS(X)                                                                          \
  X(init, "cuInit", (unsigned))                                                                       \
  X(error_name, "cuGetErrorName", (int, const char**))                                                \
  X(error_string, "cuGetErrorString", (int, const char**))                                            \
  X(release_of, "cuDriverGetVersion", (int*))                                                         \
  X(device_count, "cuDeviceGetCount", (int*))                                                         \
  X(device_get, "cuDeviceGet", (Device*, int))                                                        \
  X(device_name, "cuDeviceGetName", (char*, int, Device))                                             \
  X(device_attribute, "cuDeviceGetAttribute", (int*, int, Device))                                    \
  X(device_memory, "cuDeviceTotalMem_v2", (size_t*, Device))                                          \
  X(context_create, "cuCtxCreate_v2", (Context*, unsigned, Device))                                   \
  X(context_destroy, "cuCtxDestroy_v2", (Context))                                                    \
  X(context_wait, "cuCtxSynchronize", ())                                                             \
  X(primary_retain, "cuDevicePrimaryCtxRetain", (Context*, Device))                                   \
  X(primary_release, "cuDevicePrimaryCtxRelease_v2", (Device))                                        \
  X(context_set, "cuCtxSetCurrent", (Context))                                                        \
  X(memory_info, "cuMemGetInfo_v2", (size_t*, size_t*))                                               \
  X(allocate, "cuMemAlloc_v2", (Pointer*, size_t))                                                    \
  X(free, "cuMemFree_v2", (Pointer))                                                                  \
  X(allocate_pinned, "cuMemAllocHost_v2", (void**, size_t))                                           \
  X(free_pinned, "cuMemFreeHost", (void*))                                                            \
  X(to_device, "cuMemcpyHtoDAsync_v2", (Pointer, const void*, size_t, Stream))                        \
  X(to_host, "cuMemcpyDtoHAsync_v2", (void*, Pointer, size_t, Stream))                                \
  X(on_device, "cuMemcpyDtoDAsync_v2", (Pointer, Pointer, size_t, Stream))                            \
  X(fill, "cuMemsetD8Async", (Pointer, unsigned char, size_t, Stream))                                \
  X(stream_create, "cuStreamCreate", (Stream*, unsigned))                                             \
  X(stream_destroy, "cuStreamDestroy_v2", (Stream))                                                   \
  X(stream_wait, "cuStreamSynchronize", (Stream))                                                     \
  X(event_create, "cuEventCreate", (Event*, unsigned))                                                \
  X(event_destroy, "cuEventDestroy_v2", (Event))                                                      \
  X(event_record, "cuEventRecord", (Event, Stream))                                                   \
  X(event_wait, "cuEventSynchronize", (Event))                                                        \
  X(event_elapsed, "cuEventElapsedTime", (float*, Event, Event))                                      \
  X(module_load, "cuModuleLoadData", (Module*, const void*))                                          \
  X(module_unload, "cuModuleUnload", (Module))                                                        \
  X(module_function, "cuModuleGetFunction", (Function*, Module, const char*))                         \
  X(module_global, "cuModuleGetGlobal_v2", (Pointer*, size_t*, Module, const char*))                  \
  X(function_set, "cuFuncSetAttribute", (Function, int, int))                                         \
  X(launch, "cuLaunchKernelEx", (const LaunchConfig*, Function, void**, void**))                      \
  X(capture_begin, "cuStreamBeginCapture_v2", (Stream, int))                                          \
  X(capture_end, "cuStreamEndCapture", (Stream, Graph*))                                              \
  X(graph_instantiate, "cuGraphInstantiateWithFlags", (GraphExec*, Graph, unsigned long long))        \
  X(graph_destroy, "cuGraphDestroy", (Graph))                                                         \
  X(graph_exec_destroy, "cuGraphExecDestroy", (GraphExec))                                            \
  X(graph_launch, "cuGraphLaunch", (GraphExec, Stream))

#if defined(_WIN32)
#define BN_CUDA_CALL __stdcall
#else
#define BN_CUDA_CALL
#endif
#define BN_CUDA_POINTER(name, exported, types) int(BN_CUDA_CALL* name) types = nullptr;
  BN_CUDA_FUNCTIONS(BN_CUDA_POINTER)
#undef BN_CUDA_POINTER
};

}  // namespace bn::cuda

// What a machine does at best with the threads of a pool: the limits that speeds are shares of.
#pragma once

#include <cstdint>
#include <functional>

#include "artifact/abi.h"
#include "platform.h"
#include "pool.h"

namespace bn {

// Bytes that the last-level cache cannot help with, within a quarter of the memory.
int64_t beyond_caches();

// Bytes of `buffer` that are read in a second. It must have been written to.
double read_bytes_per_second(const bn_model_info& info, ThreadPool& pool, const Pages& buffer,
                             const std::function<bool()>& cancelled);

// int8 multiply-accumulates in a second.
double int8_macs_per_second(const bn_model_info& info, ThreadPool& pool, const std::function<bool()>& cancelled);

}  // namespace bn

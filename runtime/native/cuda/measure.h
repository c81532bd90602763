// What a GPU does at best.
#pragma once

#include <functional>

#include "../engine/executor.h"
#include "driver.h"
#include "program.h"

namespace bn::cuda {

// Reads and writes of a copy within the GPU's memory, and the program's own probe of the tensor cores; the best of some. The
// GPU's context must be the thread's.
MachineLimits measure(const Driver& driver, const DeviceFacts& device, const Program& program, Stream stream,
                      const std::function<bool()>& cancelled);

}  // namespace bn::cuda

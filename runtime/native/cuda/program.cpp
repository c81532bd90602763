#include "program.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace bn::cuda {
namespace {

constexpr int kMaxSharedBytes = 8;          // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
constexpr int kProgrammaticSerialization = 6;  // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
constexpr const char* kRecompile = "\nThe artifact is damaged or of another version: compile the model again.";

std::vector<char> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

// Of several cubins in a file, the one for the device, or null; of another file, all of it.
const char* image_of(const std::vector<char>& file, const DeviceFacts& device) {
  bn_cubins header{};
  if (file.size() < sizeof(header)) return file.data();
  std::memcpy(&header, file.data(), sizeof(header));
  if (std::memcmp(header.magic, BN_CUBINS_MAGIC, sizeof(header.magic)) != 0) return file.data();
  const char* found = nullptr;
  int capability = 0;
  const int64_t room = static_cast<int64_t>((file.size() - sizeof(header)) / sizeof(bn_cubin));
  for (int i = 0; i < std::min<int64_t>(header.count, room); ++i) {
    bn_cubin one;
    std::memcpy(&one, file.data() + sizeof(header) + i * sizeof(one), sizeof(one));
    const bool inside = one.offset >= 0 && one.bytes > 0 && one.offset + one.bytes <= static_cast<int64_t>(file.size());
    const bool suits = one.capability / 10 == device.major && one.capability % 10 <= device.minor;
    if (inside && suits && one.capability > capability) found = file.data() + one.offset, capability = one.capability;
  }
  return found;
}

int amount_of(int unit, const bn_cuda_args& args) {
  switch (unit) {
    case BN_CUDA_TOKENS: return args.token_count;
    case BN_CUDA_ROWS: return args.logits_count;
    case BN_CUDA_HIDDEN: return args.hidden_count;
    case BN_CUDA_RUNS: return args.run_count;
    case BN_CUDA_SINGLES: return args.single_count;
    case BN_CUDA_CHOSEN: return args.samplers ? 0 : args.logits_count;
    case BN_CUDA_DRAWN: return args.samplers ? args.logits_count : 0;
    default: return 1;
  }
}

}  // namespace

Program::Program(const Driver& driver, const DeviceFacts& device, const std::string& path, int kv_type,
                 const Clique* clique)
    : driver_(driver), device_(device), clique_(clique) {
  const std::vector<char> file = read(path);
  const char* image = image_of(file, device);
  constexpr int kNoImage = 209;  // CUDA_ERROR_NO_BINARY_FOR_GPU
  const int loaded = image ? driver_.module_load(&module_, image) : kNoImage;
  const std::string capability = std::to_string(device.major) + std::to_string(device.minor);
  if (loaded == kNoImage) {
    throw std::runtime_error(path + " holds no code for " + device.name + " (sm_" + capability + ")" +
                             "\nCompile the model again with --arch sm_" + capability + ".");
  }
  driver_.check(loaded, ("loading " + path).c_str());
  Pointer table = 0;
  size_t bytes = 0;
  if (driver_.module_global(&table, &bytes, module_, "bn_cuda") != 0) {
    throw std::runtime_error(path + " is not a compiled model: it has no table" + kRecompile);
  }
  uint32_t version = 0;
  const StreamHold stream(driver_);
  driver_.check(driver_.to_host(&version, table, sizeof(version), stream), "reading the model's table");
  stream.wait();
  if (version != BN_CUDA_VERSION || bytes != sizeof(model_)) {
    throw std::runtime_error(path + " is of version " + std::to_string(version) + ", this runtime needs " +
                             std::to_string(BN_CUDA_VERSION) + kRecompile);
  }
  driver_.check(driver_.to_host(&model_, table, sizeof(model_), stream), "reading the model's table");
  stream.wait();
  setup_ = find(model_.setup);
  for (int i = 0; i < model_.program_count; ++i) {
    if (model_.programs[i].kv_type == kv_type) programs_.push_back(find(model_.programs[i]));
  }
  for (int i = 0; i < model_.trial_count; ++i) {
    const bn_cuda_trial& trial = model_.trials[i];
    trials_.push_back({trial.kernel, trial.m, trial.tokens, find(trial.fill), find(trial.run)});
  }
  probe_ = find(model_.probe);
}

Program::~Program() { driver_.module_unload(module_); }

Launch Program::find(const bn_cuda_launch& of) {
  if (of.kernel[0] == 0) return {nullptr, of};
  Function function = nullptr;
  driver_.check(driver_.module_function(&function, module_, of.kernel),
                (std::string("finding the kernel ") + of.kernel).c_str());
  constexpr int kAlways = 48 << 10;
  if (of.shared_bytes > kAlways) {
    driver_.check(driver_.function_set(function, kMaxSharedBytes, of.shared_bytes),
                  (std::string("shared memory for the kernel ") + of.kernel).c_str());
  }
  return {function, of};
}

Steps Program::find(const bn_cuda_program& of) {
  Steps steps{of.max_tokens, {}, {}, {}};
  const bn_cuda_launch* next = of.launches;
  for (int i = 0; i < of.prologue; ++i) steps.prologue.push_back(find(*next++));
  for (int i = 0; i < of.layer; ++i) steps.layer.push_back(find(*next++));
  for (int i = 0; i < of.epilogue; ++i) steps.epilogue.push_back(find(*next++));
  return steps;
}

const Steps& Program::steps_for(int tokens) const {
  for (const Steps& steps : programs_) {
    if (tokens <= steps.max_tokens) return steps;
  }
  throw std::runtime_error("a step of " + std::to_string(tokens) + " tokens is too large");
}

void Program::set_up(bn_cuda_args args, Stream stream) const { run(setup_, args, stream); }

void Program::run(const Steps& steps, bn_cuda_args args, Stream stream) const {
  bool gathered = false;  // NCCL says nothing of what may begin before it has ended
  const auto run_one = [&](const Launch& one, int layer) {
    launch(one, args, layer, stream, !gathered);
    gathered = !one.function;
  };
  for (const Launch& one : steps.prologue) run_one(one, 0);
  for (int layer = 0; layer < model_.layers; ++layer) {
    for (const Launch& one : steps.layer) run_one(one, layer);
  }
  for (const Launch& one : steps.epilogue) run_one(one, 0);
}

void Program::run_ternary(const Steps& steps, bn_cuda_args args, Stream stream) const {
  const auto is_ternary = [&](const Launch& one) {
    return std::any_of(trials_.begin(), trials_.end(), [&](const Trial& trial) { return trial.run.function == one.function; });
  };
  for (int layer = 0; layer < model_.layers; ++layer) {
    for (const Launch& one : steps.layer) {
      if (is_ternary(one)) launch(one, args, layer, stream);
    }
  }
}

void Program::draw(const Steps& steps, bn_cuda_args args, Stream stream) const {
  for (const Launch& one : steps.prologue) launch(one, args, 0, stream);
  for (const Launch& one : steps.epilogue) {
    if (one.of.unit == BN_CUDA_DRAWN) launch(one, args, 0, stream);
  }
}

std::vector<Program::Timing> Program::profile(const Steps& steps, bn_cuda_args args, Stream stream) const {
  const EventHold begin(driver_), end(driver_);
  std::vector<Timing> timings;
  const auto time = [&](const Launch& one, int layer) {
    float milliseconds = 0;
    driver_.check(driver_.event_record(begin, stream), "timing a kernel");
    if (!launch(one, args, layer, stream)) return;
    driver_.check(driver_.event_record(end, stream), "timing a kernel");
    driver_.check(driver_.event_wait(end), "timing a kernel");
    driver_.check(driver_.event_elapsed(&milliseconds, begin, end), "timing a kernel");
    const std::string name = one.function ? one.of.kernel : "gathering";
    const auto is_it = [&](const Timing& timing) { return timing.kernel == name; };
    auto found = std::find_if(timings.begin(), timings.end(), is_it);
    if (found == timings.end()) found = timings.insert(found, Timing{name});
    ++found->launches;
    found->microseconds += 1e3 * milliseconds;
  };
  for (const Launch& one : steps.prologue) time(one, 0);
  for (int layer = 0; layer < model_.layers; ++layer) {
    for (const Launch& one : steps.layer) time(one, layer);
  }
  for (const Launch& one : steps.epilogue) time(one, 0);
  return timings;
}

void Program::gather(const bn_cuda_launch& of, const bn_cuda_args& args, Stream stream) const {
  const auto at = static_cast<Pointer>(reinterpret_cast<uintptr_t>(args.workspace + of.gathered));
  clique_->gather(args.gpu, at, int64_t{args.token_count} * of.part, stream);
}

bool Program::launch(const Launch& launch, bn_cuda_args args, int layer, Stream stream, bool overlaps) const {
  const bn_cuda_launch& of = launch.of;
  if (!launch.function) {
    gather(of, args, stream);
    return true;
  }
  const int amount = amount_of(of.unit, args);
  if (amount == 0 || (of.most > 0 && (amount <= of.above || amount > of.most))) return false;
  int x = of.x;
  if (of.each > 0) x = std::max(std::min(x, of.each * device_.multiprocessors), of.least);
  LaunchAttribute early{kProgrammaticSerialization, 0, {}};
  early.value.flag = 1;
  overlaps = overlaps && of.early && device_.major >= 9;
  const LaunchConfig config{static_cast<unsigned>(x),
                            static_cast<unsigned>((amount + of.per - 1) / of.per),
                            1,
                            static_cast<unsigned>(of.threads),
                            1,
                            1,
                            static_cast<unsigned>(of.shared_bytes),
                            stream,
                            &early,
                            overlaps ? 1u : 0u};
  void* parameters[] = {&args, &layer};
  driver_.check(driver_.launch(&config, launch.function, parameters, nullptr),
                (std::string("launching ") + of.kernel).c_str());
  return true;
}

}  // namespace bn::cuda

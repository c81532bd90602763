// Runs a compiled model, or one kernel of it, without Node: on targets of another CPU under an emulator, and for tests.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cuda/gpu_team.h"
#include "engine/executor.h"
#include "engine/library.h"

namespace {

constexpr const char* kUsage = R"(runner COMMAND ...
  list LIBRARY                              one JSON line per kernel
  selftest LIBRARY WEIGHTS                  one JSON line per kernel, with its checksum
  logits LIBRARY WEIGHTS --tokens 1,2,3 --out FILE [--kv f16|f32] [--threads N] [--chunk N] [--hidden FILE]
                                            float32, little-endian, [tokens][vocabulary]; what the head reads, likewise
  profile FATBIN WEIGHTS --tokens N --position P --sequences S [--devices 0,1]
                                            times the kernels of a step of N tokens in each of S sequences, one JSON line each
  gpus                                      one JSON line per GPU
  draw FATBIN WEIGHTS IN                    draws tokens on the GPU and by the CPU's sampler, from logits that are given:
                                            one JSON line says how many differ, which were drawn, and in what time
      IN   int32 sequences, steps; of each sequence: float64 temperature, top-k, top-p, min-p, repetition, presence and
           frequency penalty, last n; uint64 seed; int32 biases, and of each int32 id, float32 bias; int32 tokens, and
           each of them; then float32 logits [steps][sequences][vocabulary]
  kernel LIBRARY NAME IN OUT                runs one kernel between guard pages
      IN   int32 tokens, accumulate, group_begin, group_end, m, k (both padded to 16); packed weights [m * k / 4];
           float32 group scales [m / 16]; int8 q [tokens][k]; {float32, int32} quant [tokens]; float32 y [tokens][m]
      OUT  float32 y [tokens][m]
)";

using Arguments = std::vector<std::string>;

struct Usage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

int list(const Arguments& arguments) {
  const bn::ModelLibrary library(arguments.at(0));
  for (int i = 0; i < library.info().kernel_count; ++i) {
    const bn_kernel& kernel = library.info().kernels[i];
    std::printf("{\"name\":\"%s\",\"m\":%d,\"k\":%d,\"maxTokens\":%d,\"scratchBytes\":%d}\n", kernel.name, kernel.m,
                kernel.k, kernel.max_tokens, kernel.scratch_bytes);
  }
  return 0;
}

int self_test(const Arguments& arguments) {
  const bn::ModelLibrary library(arguments.at(0));
  const bn::MappedFile weights(arguments.at(1));
  for (const bn::KernelChecksum& kernel : library.self_test(weights)) {
    std::printf("{\"name\":\"%s\",\"checksum\":\"%s\"}\n", kernel.name.c_str(), bn::hex(kernel.value).c_str());
  }
  return 0;
}

std::map<std::string, std::string> options_of(const Arguments& arguments, size_t from) {
  std::map<std::string, std::string> options;
  for (size_t i = from; i < arguments.size(); i += 2) {
    if (i + 1 == arguments.size() || arguments[i].rfind("--", 0) != 0) throw Usage("unexpected " + arguments[i]);
    options[arguments[i].substr(2)] = arguments[i + 1];
  }
  return options;
}

// With commas.
std::vector<int32_t> numbers_of(const std::string& text) {
  std::vector<int32_t> numbers;
  std::istringstream list(text);
  for (std::string one; std::getline(list, one, ',');) numbers.push_back(std::stoi(one));
  return numbers;
}

void write_all(const std::string& path, const void* data, size_t bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
  if (!file.flush()) throw std::runtime_error(path + " cannot be written");
}

int logits(const Arguments& arguments) {
  auto options = options_of(arguments, 2);
  const std::vector<int32_t> ids = numbers_of(options["tokens"]);
  if (ids.empty() || options["out"].empty()) throw Usage("logits needs --tokens and --out");

  bn::ExecutorOptions executor_options;
  executor_options.library = arguments.at(0);
  executor_options.weights = arguments.at(1);
  executor_options.context = static_cast<int>(ids.size());
  executor_options.kv_type = options["kv"] == "f32" ? BN_KV_F32 : BN_KV_F16;
  executor_options.threads = options["threads"].empty() ? 1 : std::stoi(options["threads"]);
  const std::unique_ptr<bn::Executor> executor = bn::Executor::open(executor_options);
  const bn::ModelSizes& info = executor->sizes();
  const int chunk = options["chunk"].empty() ? info.max_tokens : std::min(std::stoi(options["chunk"]), info.max_tokens);

  const bool wants_hidden = !options["hidden"].empty();
  std::vector<float> rows(ids.size() * info.vocab), hidden(wants_hidden ? ids.size() * info.embedding : 0);
  std::vector<bn_token> batch;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= info.vocab) throw std::runtime_error("token " + std::to_string(ids[i]) + " is unknown");
    const int row = static_cast<int>(batch.size());
    batch.push_back({ids[i], static_cast<int32_t>(i), 0, row, wants_hidden ? row : -1});
    if (row + 1 < chunk && i + 1 < ids.size()) continue;
    executor->step(batch.data(), row + 1, rows.data() + (i - row) * info.vocab,
                  wants_hidden ? hidden.data() + (i - row) * info.embedding : nullptr);
    batch.clear();
  }
  write_all(options["out"], rows.data(), rows.size() * sizeof(float));
  if (wants_hidden) write_all(options["hidden"], hidden.data(), hidden.size() * sizeof(float));
  return 0;
}

// Times a step of so many tokens in each sequence, from `position` on.
template <typename Executor>
void profile(Executor&& executor, int tokens, int position, int sequences) {
  std::vector<bn_token> batch;
  for (int s = 0; s < sequences; ++s) {
    for (int i = 0; i < tokens; ++i) {
      const int32_t id = (s * 101 + i * 37) % executor.sizes().vocab;
      batch.push_back({id, position + i, s, i + 1 == tokens ? s : -1, -1});
    }
  }
  for (const auto& timing : executor.profile(batch.data(), static_cast<int>(batch.size()))) {
    std::printf("{\"kernel\":\"%s\",\"launches\":%d,\"microseconds\":%.2f}\n", timing.kernel.c_str(), timing.launches,
                timing.microseconds);
  }
}

int profile(const Arguments& arguments) {
  auto options = options_of(arguments, 2);
  const auto number = [&](const char* name, int otherwise) {
    return options[name].empty() ? otherwise : std::stoi(options[name]);
  };
  const int tokens = number("tokens", 1), position = number("position", 0), sequences = number("sequences", 1);
  bn::ExecutorOptions executor_options;
  executor_options.library = arguments.at(0);
  executor_options.weights = arguments.at(1);
  executor_options.context = position + tokens;
  executor_options.sequences = sequences;
  if (!options["devices"].empty()) executor_options.devices = numbers_of(options["devices"]);
  if (executor_options.devices.size() > 1) profile(bn::GpuTeam(executor_options), tokens, position, sequences);
  else profile(bn::CudaExecutor(executor_options), tokens, position, sequences);
  return 0;
}

// Hands out the parts of the input file in order, each in memory of its own between guard pages.
class Input {
 public:
  explicit Input(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + " cannot be read");
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
  }

  void read(void* to, int64_t bytes) {
    const int64_t left = static_cast<int64_t>(bytes_.size()) - at_;
    if (bytes < 0 || bytes > left) throw std::runtime_error("the input is too short");
    std::memcpy(to, bytes_.data() + at_, bytes);
    at_ += bytes;
  }

  void read(bn::GuardedPages& to) { read(to.data(), to.bytes()); }

  template <typename Value>
  Value next() {
    Value value;
    read(&value, sizeof(value));
    return value;
  }

  void expect_end() const {
    if (at_ != static_cast<int64_t>(bytes_.size())) throw std::runtime_error("the input is too long");
  }

 private:
  std::vector<char> bytes_;
  int64_t at_ = 0;
};

int draw(const Arguments& arguments) {
  Input input(arguments.at(2));
  struct Text {
    bn::Sampler sampler;
    std::vector<int32_t> tokens;
    size_t given;
  };
  std::vector<Text> texts;
  const auto integer = [&] { return input.next<int32_t>(); };
  const auto number = [&] { return input.next<double>(); };
  const int sequences = integer(), steps = integer();
  size_t longest = 0;
  for (int s = 0; s < sequences; ++s) {
    bn::SamplingOptions options;
    options.temperature = number();
    options.top_k = static_cast<int>(number());
    options.top_p = number();
    options.min_p = number();
    options.repetition_penalty = number();
    options.presence_penalty = number();
    options.frequency_penalty = number();
    options.penalty_last_n = static_cast<int>(number());
    options.seed = input.next<uint64_t>();
    for (int i = integer(); i > 0; --i) {
      const int32_t id = integer();
      options.logit_bias.emplace_back(id, input.next<float>());
    }
    std::vector<int32_t> tokens;
    for (int i = integer(); i > 0; --i) tokens.push_back(integer());
    if (tokens.empty()) throw std::runtime_error("a text has no tokens");
    longest = std::max(longest, tokens.size());
    texts.push_back({bn::Sampler(options), tokens, tokens.size()});
  }

  bn::ExecutorOptions executor_options;
  executor_options.library = arguments.at(0);
  executor_options.weights = arguments.at(1);
  executor_options.context = static_cast<int>(longest) + steps;
  executor_options.sequences = sequences;
  bn::CudaExecutor executor(executor_options);
  const int32_t vocab = executor.sizes().vocab;
  for (int s = 0; s < sequences; ++s) {
    Text& text = texts[s];
    const int last = static_cast<int>(text.tokens.size()) - 1;
    for (int i = 0; i <= last; ++i) {
      text.sampler.accept(text.tokens[i]);
      const bn_token token{text.tokens[i], i, s, -1, -1};
      if (i < last) executor.step(&token, 1, nullptr);
    }
    executor.draw_as(s, text.sampler, vocab, last);
  }
  std::vector<float> rows(static_cast<size_t>(sequences) * vocab);
  std::vector<int32_t> drawn(sequences);
  std::vector<double> times;
  int differ = 0;
  for (int step = 0; step < steps; ++step) {
    input.read(rows.data(), static_cast<int64_t>(rows.size() * sizeof(float)));
    std::vector<bn_token> batch;
    for (int s = 0; s < sequences; ++s) {
      const std::vector<int32_t>& tokens = texts[s].tokens;
      batch.push_back({tokens.back(), static_cast<int32_t>(tokens.size()) - 1, s, s, -1});
    }
    times.push_back(executor.draw_from(rows.data(), batch.data(), sequences, drawn.data()));
    for (int s = 0; s < sequences; ++s) {
      const int32_t id = texts[s].sampler.sample(rows.data() + static_cast<int64_t>(s) * vocab, vocab);
      differ += id != drawn[s];
      if (id < 0) texts[s].sampler.skip();  // a text would end here
      texts[s].tokens.push_back(std::max(id, 0));
      texts[s].sampler.accept(std::max(id, 0));
    }
  }
  input.expect_end();
  std::sort(times.begin(), times.end());
  std::printf("{\"drawn\":%d,\"differ\":%d,\"microseconds\":%.2f,\"texts\":[", sequences * steps, differ,
              times.empty() ? 0 : times[times.size() / 2]);
  for (const Text& text : texts) {
    std::printf(&text == texts.data() ? "[" : ",[");
    for (size_t i = text.given; i < text.tokens.size(); ++i) std::printf(i > text.given ? ",%d" : "%d", text.tokens[i]);
    std::printf("]");
  }
  std::printf("]}\n");
  return 0;
}

int gpus(const Arguments&) {
  const bn::cuda::Driver& driver = bn::cuda::Driver::get();
  const int release = driver.release();
  for (const bn::cuda::DeviceFacts& gpu : driver.devices()) {
    std::printf("{\"name\":\"%s\",\"capability\":%d,\"l2\":%lld,\"driver\":\"%d.%d\"}\n", gpu.name.c_str(),
                10 * gpu.major + gpu.minor, static_cast<long long>(gpu.l2), release / 1000, release % 1000 / 10);
  }
  return 0;
}

int kernel(const Arguments& arguments) {
  const bn::ModelLibrary library(arguments.at(0));
  const bn_kernel* kernel = library.kernel(arguments.at(1));
  if (!kernel) throw std::runtime_error(arguments.at(0) + " has no kernel " + arguments.at(1));

  Input input(arguments.at(2));
  struct Header {
    int32_t tokens, accumulate, group_begin, group_end, m, k;
  } header;
  input.read(&header, sizeof(header));
  const int64_t tokens = header.tokens, m = header.m, k = header.k;
  const bool valid = tokens > 0 && tokens <= kernel->max_tokens && m >= kernel->m && m % 16 == 0 && k >= kernel->k &&
                     k % 16 == 0 && header.group_begin >= 0 && header.group_begin <= header.group_end &&
                     header.group_end <= m / 16;
  if (!valid) throw std::runtime_error("the input's header does not suit kernel " + arguments.at(1));

  bn::GuardedPages weights(kernel->weight_bytes, 64), scales(m / 16 * 4, 4), q(tokens * k, 64), quant(tokens * 8, 4);
  bn::GuardedPages y(tokens * m * 4, 64), scratch(kernel->scratch_bytes, 64);
  input.read(weights);
  input.read(scales);
  input.read(q);
  input.read(quant);
  input.read(y);
  input.expect_end();

  bn_bitlinear_args args{};
  args.weights = weights.data();
  args.group_scales = reinterpret_cast<const float*>(scales.data());
  args.q = reinterpret_cast<const int8_t*>(q.data());
  args.quant = reinterpret_cast<const bn_quant*>(quant.data());
  args.y = reinterpret_cast<float*>(y.data());
  args.y_stride = m;
  args.tokens = header.tokens;
  args.accumulate = header.accumulate;
  args.scratch = scratch.data();
  const std::string fault = "runner: kernel " + arguments.at(1) + " touched memory outside its buffers\n";
  bn::exit_on_memory_fault(fault.c_str());
  kernel->run(&args, header.group_begin, header.group_end);

  const std::vector<std::pair<const char*, const bn::GuardedPages*>> buffers = {
      {"weights", &weights}, {"group_scales", &scales}, {"q", &q},
      {"quant", &quant},     {"y", &y},                 {"scratch", &scratch}};
  for (const auto& [name, pages] : buffers) {
    if (!pages->intact()) throw std::runtime_error("kernel " + arguments.at(1) + " wrote beside " + name);
  }
  write_all(arguments.at(3), y.data(), y.bytes());
  return 0;
}

int run(const Arguments& arguments) {
  struct Command {
    std::string name;
    size_t arguments;
    int (*run)(const Arguments&);
  };
  const std::vector<Command> commands = {
      {"list", 1, list},       {"selftest", 2, self_test}, {"logits", 2, logits},
      {"profile", 2, profile}, {"draw", 3, draw},          {"kernel", 4, kernel},   {"gpus", 0, gpus}};
  if (arguments.empty()) throw Usage("no command given");
  for (const Command& command : commands) {
    if (command.name != arguments[0]) continue;
    if (arguments.size() <= command.arguments) throw Usage(command.name + " needs more arguments");
    return command.run({arguments.begin() + 1, arguments.end()});
  }
  throw Usage("there is no command " + arguments[0]);
}

}  // namespace

int main(int count, char** values) {
  try {
    return run({values + 1, values + count});
  } catch (const Usage& error) {
    std::fprintf(stderr, "runner: %s\n%s", error.what(), kUsage);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "runner: %s\n", error.what());
    return 1;
  }
}

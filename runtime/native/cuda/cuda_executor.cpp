#include "cuda_executor.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "../engine/request.h"
#include "measure.h"

namespace bn {
namespace {

constexpr int64_t kStageBytes = int64_t{16} << 20;
constexpr int64_t kSpare = int64_t{64} << 20;  // of the GPU's memory, for what the driver takes beside: graphs, stacks
constexpr int64_t kLogitsBytes = int64_t{32} << 20;
constexpr int kGraphTokens = 64;    // steps of more are bound by arithmetic, not by launches
constexpr size_t kGraphs = 256;
constexpr int64_t kSequenceUnit = 256;
constexpr int kSteady = 4;          // steps of the same sequences before the next one is begun ahead

// Inputs of a step beside its activations, as they lie in `small_` and in the first bytes of pinned memory.
struct Small {
  bn_token tokens[4096];
  bn_cuda_run runs[4096];
  int32_t singles[4096];
  int32_t best[4096];
};

// As many as the engine gives one request, and one for each of the other sequences.
int rows_at_once(const bn_cuda_model& model, int sequences) {
  return static_cast<int>(std::clamp<int64_t>(kLogitsBytes / (int64_t{4} * model.vocab), 1, model.max_tokens)) + sequences;
}

// NCCL works in a GPU's primary context, and so must all that it gathers for.
std::shared_ptr<cuda::SharedContext> context_on(const cuda::Driver& driver, int device, bool shares) {
  return shares ? cuda::SharedContext::primary(driver, device) : cuda::SharedContext::on(driver, device);
}

std::string mebibytes(int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

void add(uint64_t& hash, const int32_t* values, int count) {  // FNV-1a, as compiler/kernels/self-test.ts has it
  for (int i = 0; i < count; ++i) hash = (hash ^ static_cast<uint32_t>(values[i])) * 0x100000001b3u;
}

}  // namespace

CudaExecutor::CudaExecutor(const ExecutorOptions& options, const Membership& membership)
    : driver_(cuda::Driver::get()),
      membership_(membership),
      device_(cuda::device_of(driver_.devices(), options.devices[membership.gpu])),
      context_(context_on(driver_, options.devices[membership.gpu], membership.clique != nullptr)),
      stream_(driver_),
      program_(driver_, device_, options.library, options.kv_type, membership.clique),
      kv_position_bytes_(program_.model().kv_position_bytes[options.kv_type]),
      sizes_{program_.model().vocab, program_.model().embedding, program_.model().max_tokens},
      context_positions_(options.context),
      sequences_(options.sequences),
      max_rows_(rows_at_once(program_.model(), options.sequences)),
      pool_(options.threads, options.pin) {
  const bn_cuda_model& model = program_.model();
  if (options.expected && options.expected->key != model.key) {
    throw std::runtime_error(options.library + " has the key " + model.key + ", the manifest says " +
                             options.expected->key + "\nThe artifact is damaged: compile the model again.");
  }
  if (model.gpus != static_cast<int>(options.devices.size())) {
    throw std::runtime_error(options.library + " is for " + std::to_string(model.gpus) +
                             " GPUs that share the model, and " + std::to_string(options.devices.size()) +
                             " were chosen\nChoose as many, or compile for as many.");
  }
  const MappedFile file(options.weights);
  if (options.expected && options.expected->weights_bytes != file.bytes()) {
    throw std::runtime_error("the weights file holds " + std::to_string(file.bytes()) + " bytes, the manifest says " +
                             std::to_string(options.expected->weights_bytes) +
                             "\nThe artifact is damaged: compile the model again.");
  }
  if (file.bytes() != model.shared_bytes + model.layers * model.file_layer_bytes) {
    throw std::runtime_error("the weights file holds " + std::to_string(file.bytes()) +
                             " bytes, its program is for others\nThe artifact is damaged: compile the model again.");
  }
  plan_ = plan_memory();
  check_room();
  const auto take = [&](int64_t bytes) { return std::make_unique<cuda::DeviceMemory>(driver_, bytes); };
  weights_ = take(plan_.weights);
  workspace_ = take(plan_.buffers);
  tables_ = take(plan_.tables);
  kv_ = take(plan_.kv);
  logits_ = take(plan_.logits);
  hidden_ = take(plan_.hidden);
  small_ = take(plan_.small);
  draws_ = take(plan_.draws);
  samplers_ = take(plan_.samplers);
  known_.resize(sequences_);
  pinned_ = std::make_unique<cuda::PinnedMemory>(driver_, 2 * kStageBytes);
  answer_ = std::make_unique<cuda::PinnedMemory>(driver_, 2 * kGraphTokens * sizeof(int32_t));
  answered_ = std::make_unique<cuda::EventHold>(driver_);
  upload(file, options.on_upload);
  driver_.check(driver_.fill(workspace_->at(), 0, static_cast<size_t>(workspace_->bytes()), stream_), "clearing memory");
  driver_.check(driver_.fill(kv_->at(), 0, static_cast<size_t>(kv_->bytes()), stream_), "clearing memory");
  bn_cuda_args args{};
  args.tables = tables_->as<uint8_t>();
  args.token_count = 1;
  program_.set_up(args, stream_);
  stream_.wait();
  if (options.expected) check_kernels(*options.expected);
}

CudaExecutor::~CudaExecutor() {
  try {
    context_->use();
    stream_.wait();
  } catch (const std::exception&) {
    // A device that is lost has nothing left to wait for.
  }
}

CudaExecutor::MemoryPlan CudaExecutor::plan_memory() const {
  const bn_cuda_model& model = program_.model();
  return {model.shared_bytes + model.layers * model.layer_bytes,
          sequence_bytes(context_positions_) * sequences_,
          model.workspace_bytes,
          model.table_bytes,
          int64_t{4} * model.vocab * max_rows_,
          int64_t{4} * model.embedding * model.max_tokens,
          static_cast<int64_t>(sizeof(Small)),
          model.draw_bytes * sequences_,
          static_cast<int64_t>(sizeof(bn_cuda_sampler)) * sequences_};
}

// Refuses what the device has no room for, before anything is taken; says how long a context it has room for.
void CudaExecutor::check_room() const {
  size_t free_bytes = 0, total = 0;
  driver_.check(driver_.memory_info(&free_bytes, &total), "asking the GPU for its memory");
  const int64_t free = static_cast<int64_t>(free_bytes) - kSpare;
  const int64_t fixed = plan_.weights + plan_.workspace();
  if (fixed + plan_.kv <= free) return;
  const int64_t positions = (free - fixed) / sequences_ / kSequenceUnit * kSequenceUnit / position_bytes();
  const std::string lower =
      positions > 0 ? "With " + std::to_string(sequences_) + " sequences, a contextLength of " +
                          std::to_string(positions) + " fits; fewer sequences have room for more."
                    : "Choose another GPU (--device), free memory of this one, or run a CPU target.";
  throw std::runtime_error("the model does not fit " + device_.name + ": weights " + mebibytes(plan_.weights) +
                           ", KV cache of " + std::to_string(sequences_) + " sequences of " +
                           std::to_string(context_positions_) + " positions " + mebibytes(plan_.kv) + ", workspace " +
                           mebibytes(plan_.workspace()) + "; free are " + mebibytes(std::max<int64_t>(free, 0)) + " of " +
                           mebibytes(static_cast<int64_t>(total)) + "\n" + lower);
}

// This GPU's slices of the file, through two stages by turns: one is filled while the other is copied.
void CudaExecutor::upload(const MappedFile& file, const std::function<void(double)>& on_upload) {
  const cuda::EventHold copied[2] = {cuda::EventHold(driver_), cuda::EventHold(driver_)};
  int turn = 0;
  int64_t filled = 0, done = 0;  // bytes of the stage, and of all
  const auto end_stage = [&] {
    driver_.check(driver_.event_record(copied[turn % 2], stream_), "copying weights to the GPU");
    ++turn;
    filled = 0;
    if (on_upload) on_upload(static_cast<double>(done) / static_cast<double>(plan_.weights));
    if (turn >= 2) driver_.check(driver_.event_wait(copied[turn % 2]), "copying weights to the GPU");
  };
  const auto copy = [&](int64_t from, int64_t to, int64_t bytes) {
    while (bytes > 0) {
      const int64_t part = std::min(kStageBytes - filled, bytes);
      uint8_t* stage = pinned_->data() + turn % 2 * kStageBytes + filled;
      std::memcpy(stage, file.data() + from, static_cast<size_t>(part));
      driver_.check(driver_.to_device(weights_->at() + to, stage, static_cast<size_t>(part), stream_),
                    "copying weights to the GPU");
      from += part, to += part, bytes -= part;
      filled += part, done += part;
      if (filled == kStageBytes) end_stage();
    }
  };
  const bn_cuda_model& model = program_.model();
  copy(0, 0, model.shared_bytes);
  for (int layer = 0; layer < model.layers; ++layer) {
    const int64_t from = model.shared_bytes + layer * model.file_layer_bytes;
    const int64_t to = model.shared_bytes + layer * model.layer_bytes;
    for (int i = 0; i < model.slice_count; ++i) {
      const bn_cuda_slice& slice = model.slices[i];
      copy(from + slice.from + membership_.gpu * slice.step, to + slice.to, slice.bytes);
    }
  }
  stream_.wait();
  if (on_upload && filled > 0) on_upload(1);
}

// Multiplies the activations of the trial with every matrix and compares what the manifest says of the sums.
void CudaExecutor::check_kernels(const Expected& expected) {
  std::map<std::string, uint64_t> hashes;
  int largest = 0;
  for (const cuda::Trial& trial : program_.trials()) largest = std::max(largest, trial.m * trial.tokens);
  const cuda::DeviceMemory sums(driver_, int64_t{4} * largest);
  std::vector<int32_t> values(largest);
  bn_cuda_args args{};
  args.weights = weights_->as<const uint8_t>();
  args.workspace = workspace_->as<uint8_t>();
  args.sums = sums.as<int32_t>();
  args.gpu = membership_.gpu;
  for (int layer = 0; layer < program_.model().layers; ++layer) {
    for (const cuda::Trial& trial : program_.trials()) {
      args.token_count = trial.tokens;
      program_.launch(trial.fill, args, layer, stream_);
      program_.launch(trial.run, args, layer, stream_);
      fetch(values.data(), sums.at(), int64_t{4} * trial.m * trial.tokens);
      uint64_t& hash = hashes.try_emplace(trial.kernel, 0xcbf29ce484222325u).first->second;
      for (int t = 0; t < trial.tokens; ++t) {
        const int32_t* row = values.data() + int64_t{t} * trial.m;
        add(hash, row, 16);
        add(hash, row + trial.m - 16, 16);
      }
    }
  }
  for (const auto& [kernel, hash] : hashes) {
    // Of GPUs that share a model, each has rows and sums of its own.
    const std::string entry = membership_.gpu == 0 ? kernel : kernel + "@" + std::to_string(membership_.gpu);
    const auto is_it = [&, name = entry](const KernelChecksum& one) { return one.name == name; };
    const auto found = std::find_if(expected.kernels.begin(), expected.kernels.end(), is_it);
    if (found != expected.kernels.end() && found->value == hash) continue;
    throw std::runtime_error("self-test failed: kernel " + kernel + " computed the checksum " + hex(hash) +
                             ", the manifest says " + (found == expected.kernels.end() ? "nothing" : hex(found->value)) +
                             ": it would give wrong results on " + device_.name + "\nCompile the model again.");
  }
}

Cache CudaExecutor::cache() const {
  return {kv_->as<uint8_t>(), sequence_bytes(context_positions_), context_positions_};
}

Cache CudaExecutor::part_of_cache(int sequence, int positions) const {
  const Cache whole = cache();
  return {whole.base + sequence * whole.sequence_bytes, sequence_bytes(positions), positions};
}

int64_t CudaExecutor::sequences_in_part(int positions) const {
  return sequence_bytes(context_positions_) / sequence_bytes(positions);
}

// In whole units of what the GPU reads at once.
int64_t CudaExecutor::sequence_bytes(int positions) const {
  return (position_bytes() * positions + kSequenceUnit - 1) / kSequenceUnit * kSequenceUnit;
}

CudaExecutor::Brought CudaExecutor::start(const bn_token* tokens, int count, const Choice& choice, const Cache& cache) {
  const bn_cuda_args args = prepare(tokens, count, choice, cache);
  run(args);
  return {args.logits_count, args.hidden_count};
}

// Copies the inputs of a step and says where they are.
bn_cuda_args CudaExecutor::prepare(const bn_token* tokens, int count, const Choice& choice, const Cache& cache) {
  context_->use();
  ahead_.clear();
  latest_.clear();
  steady_ = 0;
  auto* small = reinterpret_cast<Small*>(pinned_->data());
  const auto send = [&](size_t offset, size_t bytes) {
    if (bytes == 0) return;
    driver_.check(driver_.to_device(small_->at() + offset, pinned_->data() + offset, bytes, stream_), "copying tokens");
  };
  std::copy_n(tokens, count, small->tokens);
  bn_cuda_args args;
  std::memset(&args, 0, sizeof(args));  // its padding, too: it is a key
  for (int t = 0; t < count;) {
    int end = t + 1;
    while (end < count && end - t < BN_CUDA_RUN && tokens[end].sequence == tokens[t].sequence) ++end;
    const bool continues = t > 0 && tokens[t - 1].sequence == tokens[t].sequence;
    if (continues || end - t >= BN_CUDA_SHORTEST_RUN) {
      small->runs[args.run_count++] = {t, end - t};
    } else {
      for (int i = t; i < end; ++i) small->singles[args.single_count++] = i;
    }
    t = end;
  }
  for (int t = 0; t < count; ++t) {
    args.logits_count += tokens[t].logits_row >= 0;
    args.hidden_count += tokens[t].hidden_row >= 0;
  }
  if (args.logits_count > max_rows_) {
    throw std::runtime_error("a step may have " + std::to_string(max_rows_) + " rows of logits, not " +
                             std::to_string(args.logits_count));
  }
  send(offsetof(Small, tokens), count * sizeof(bn_token));
  send(offsetof(Small, runs), args.run_count * sizeof(bn_cuda_run));
  send(offsetof(Small, singles), args.single_count * sizeof(int32_t));
  auto* device_small = small_->as<Small>();
  args.weights = weights_->as<const uint8_t>();
  args.workspace = workspace_->as<uint8_t>();
  args.tables = tables_->as<uint8_t>();
  args.kv = cache.base;
  args.kv_sequence_bytes = cache.sequence_bytes;
  args.kv_capacity = cache.positions;
  args.token_count = count;
  args.choices = choice.choices;
  args.samplers = choice.samplers;
  args.draws = draws_->as<uint8_t>();
  args.gpu = membership_.gpu;
  args.tokens = device_small->tokens;
  args.runs = device_small->runs;
  args.singles = device_small->singles;
  args.logits = logits_->as<float>();
  args.hidden = hidden_->as<float>();
  args.best = device_small->best;
  return args;
}

// As a graph, where the same step has been seen before.
void CudaExecutor::run(const bn_cuda_args& args) {
  const cuda::Steps& steps = program_.steps_for(args.token_count);
  if (args.token_count > kGraphTokens) return program_.run(steps, args, stream_);
  const std::string key(reinterpret_cast<const char*>(&args), sizeof(args));
  auto found = graphs_.find(key);
  if (found == graphs_.end()) {
    if (seen_.insert(key).second) return program_.run(steps, args, stream_);
    if (graphs_.size() >= kGraphs) {
      stream_.wait();
      graphs_.clear();
      seen_.clear();
    }
    auto graph = std::make_unique<cuda::GraphHold>(driver_, stream_, [&] { program_.run(steps, args, stream_); });
    found = graphs_.emplace(key, std::move(graph)).first;
  }
  found->second->launch();
}

void CudaExecutor::step(const bn_token* tokens, int count, float* logits, float* hidden, const Cache& cache,
                        const bn_screen*) {
  const Brought brought = start(tokens, count, {sizes_.vocab, nullptr}, cache);
  if (logits) fetch(logits, logits_->at(), int64_t{4} * sizes_.vocab * brought.rows);
  if (hidden) fetch(hidden, hidden_->at(), int64_t{4} * sizes_.embedding * brought.hidden);
  stream_.wait();
}

void CudaExecutor::draw_as(int sequence, const Sampler& sampler, int32_t choices, int position) {
  context_->use();
  ahead_.clear();
  Draws& known = known_[sequence];
  known.greedy = sampler.greedy();
  known.choices = std::min(choices, sizes_.vocab);
  const auto send = [&](cuda::Pointer to, const void* from, size_t bytes) {
    driver_.check(driver_.to_device(to, from, bytes, stream_), "copying a sequence's settings");
  };
  const std::vector<bn_bias>& biases = sampler.biases();
  const size_t bias_bytes = biases.size() * sizeof(bn_bias);
  known.biases = bias_bytes > 0 ? std::make_unique<cuda::DeviceMemory>(driver_, bias_bytes) : nullptr;
  if (known.biases) send(known.biases->at(), biases.data(), bias_bytes);
  const bn_bias* at = known.biases ? known.biases->as<bn_bias>() : nullptr;
  const bn_cuda_sampler of{sampler.settings(), at, static_cast<int32_t>(biases.size()), known.choices, position,
                           sampler.random()};
  send(samplers_->at() + sequence * sizeof(of), &of, sizeof(of));
  stream_.wait();
}

// Where all tokens are those of the largest logits, the head finds them by itself.
CudaExecutor::Choice CudaExecutor::choice_of(const bn_token* tokens, int count) const {
  const Choice drawn{sizes_.vocab, samplers_->as<bn_cuda_sampler>()};
  int32_t choices = 0;
  for (int t = 0; t < count; ++t) {
    if (tokens[t].logits_row < 0) continue;
    const Draws& known = known_[tokens[t].sequence];
    if (!known.greedy || (choices > 0 && choices != known.choices)) return drawn;
    choices = known.choices;
  }
  return {choices, nullptr};
}

void CudaExecutor::draw(const bn_token* tokens, int count, int32_t* drawn) {
  const Choice choice = choice_of(tokens, count);
  bool decoding = count <= kGraphTokens;  // one token of each of some sequences
  for (int t = 0; t < count; ++t) decoding = decoding && tokens[t].logits_row == t;
  if (decoding) return draw_next(tokens, count, choice, drawn);
  const Brought brought = start(tokens, count, choice, cache());
  fetch(drawn, small_->at() + offsetof(Small, best), int64_t{4} * brought.rows);
  stream_.wait();  // also where there was nothing to fetch: the next step's inputs go to the same pinned memory
}

double CudaExecutor::draw_from(const float* rows, const bn_token* tokens, int count, int32_t* drawn) {
  const bn_cuda_args args = prepare(tokens, count, {sizes_.vocab, samplers_->as<bn_cuda_sampler>()}, cache());
  const cuda::Steps& steps = program_.steps_for(count);
  const cuda::EventHold begin(driver_), end(driver_);
  const size_t bytes = sizeof(float) * sizes_.vocab * count;
  driver_.check(driver_.to_device(logits_->at(), rows, bytes, stream_), "copying logits");
  driver_.check(driver_.event_record(begin, stream_), "timing a draw");
  program_.draw(steps, args, stream_);
  driver_.check(driver_.event_record(end, stream_), "timing a draw");
  fetch(drawn, small_->at() + offsetof(Small, best), int64_t{4} * count);
  float milliseconds = 0;
  driver_.check(driver_.event_elapsed(&milliseconds, begin, end), "timing a draw");
  return 1e3 * milliseconds;
}

// Decodes, and begins the step after it: the GPU knows the next tokens before anybody else. Whoever goes on otherwise finds
// the keys and values of the step ahead behind those of its sequence, where nobody looks.
void CudaExecutor::draw_next(const bn_token* tokens, int count, const Choice& choice, int32_t* drawn) {
  context_->use();
  const auto all = [&](const std::vector<bn_token>& known, const auto& fits) {
    return known.size() == static_cast<size_t>(count) && std::equal(tokens, tokens + count, known.begin(), fits);
  };
  const bool begun = ahead_choice_ == choice && all(ahead_, [](const bn_token& a, const bn_token& b) {
    return a.id == b.id && a.position == b.position && a.sequence == b.sequence;
  });
  const bool goes_on = begun || all(latest_, [](const bn_token& now, const bn_token& before) {
    return now.sequence == before.sequence && now.position == before.position + 1;
  });
  const int steady = goes_on ? steady_ + 1 : 0;
  const bn_cuda_args args = begun ? ahead_args_ : next_args(prepare(tokens, count, choice, cache()));
  steady_ = steady;
  latest_.assign(tokens, tokens + count);
  ahead_.clear();
  if (!begun) run(args);
  driver_.check(driver_.event_record(*answered_, stream_), "running on the GPU");
  // Of many sequences, one that ends makes the step ahead useless: only where none has for a while.
  const bool room = std::all_of(tokens, tokens + count,
                                [&](const bn_token& token) { return token.position + 1 < context_positions_; });
  const bool leads = room && steady_ >= (count == 1 ? 1 : kSteady);
  if (leads) run(ahead_args_ = next_args(args));
  driver_.check(driver_.event_wait(*answered_), "running on the GPU");
  std::copy_n(static_cast<const volatile int32_t*>(args.best), count, drawn);
  if (!leads) return;
  ahead_choice_ = choice;
  for (int t = 0; t < count; ++t) ahead_.push_back({drawn[t], tokens[t].position + 1, tokens[t].sequence, t, -1});
}

// The same step, its answer in the other of two places of the CPU's memory: the GPU may write one before the other is read.
bn_cuda_args CudaExecutor::next_args(bn_cuda_args args) {
  turn_ ^= 1;
  args.follow = 1;
  args.best = reinterpret_cast<int32_t*>(answer_->data()) + turn_ * kGraphTokens;
  return args;
}

void CudaExecutor::try_gathering() {
  context_->use();
  const int gpus = program_.model().gpus;
  const auto number = [](int gpu) { return 1.0f + static_cast<float>(gpu); };
  std::vector<float> all(gpus, 0);
  auto* mine = reinterpret_cast<float*>(pinned_->data());
  *mine = number(membership_.gpu);
  const cuda::Pointer at = workspace_->at();
  driver_.check(driver_.to_device(at + membership_.gpu * sizeof(float), mine, sizeof(float), stream_),
                "copying a number");
  membership_.clique->gather(membership_.gpu, at, 1, stream_);
  fetch(all.data(), at, gpus * static_cast<int64_t>(sizeof(float)));
  for (int gpu = 0; gpu < gpus; ++gpu) {
    if (all[gpu] == number(gpu)) continue;
    throw std::runtime_error("GPUs " + device_.name + " do not exchange what they compute: of number " +
                             std::to_string(gpu) + " something else arrived than it sent\nRun the model on one GPU.");
  }
}

// Through pinned memory, behind the step's inputs.
void CudaExecutor::fetch(void* to, cuda::Pointer from, int64_t bytes) {
  uint8_t* stage = pinned_->data() + kStageBytes;
  for (int64_t at = 0; at < bytes; at += kStageBytes) {
    const int64_t part = std::min(kStageBytes, bytes - at);
    driver_.check(driver_.to_host(stage, from + at, static_cast<size_t>(part), stream_), "copying from the GPU");
    stream_.wait();
    std::memcpy(static_cast<uint8_t*>(to) + at, stage, static_cast<size_t>(part));
  }
}

std::vector<cuda::Program::Timing> CudaExecutor::profile(const bn_token* tokens, int count) {
  constexpr int kRounds = 20;
  const bn_cuda_args args = prepare(tokens, count, {sizes_.vocab, nullptr}, cache());
  const cuda::Steps& steps = program_.steps_for(count);
  program_.profile(steps, args, stream_);
  std::vector<cuda::Program::Timing> timings = program_.profile(steps, args, stream_);
  const cuda::EventHold begin(driver_), end(driver_);
  const auto time = [&](const char* name, const auto& work) {
    work();
    work();  // what is recorded as a graph is so the second time
    driver_.check(driver_.event_record(begin, stream_), "timing a step");
    for (int round = 0; round < kRounds; ++round) work();
    float milliseconds = 0;
    driver_.check(driver_.event_record(end, stream_), "timing a step");
    driver_.check(driver_.event_wait(end), "timing a step");
    driver_.check(driver_.event_elapsed(&milliseconds, begin, end), "timing a step");
    timings.push_back({name, 1, 1e3 * milliseconds / kRounds});
  };
  time("step", [&] { run(args); });
  const cuda::GraphHold ternary(driver_, stream_, [&] { program_.run_ternary(steps, args, stream_); });
  time("ternary", [&] { ternary.launch(); });
  return timings;
}

MachineLimits CudaExecutor::measure(const std::function<bool()>& cancelled) {
  context_->use();
  return cuda::measure(driver_, device_, program_, stream_, cancelled);
}

}  // namespace bn

// Draws tokens by the kernels of templates/cuda/draw.cuh, run on this CPU, and by the engine's sampler, for
// sampling.test.ts: the same rows of logits, settings, texts and seeds.
//   arguments  vocabulary (one of those at the end), how many texts, seed
//   stdout     one JSON line: how many tokens were drawn, how many of them differ, and the first that does; without
//              arguments, how far weights are from what they stand for, in parts of it, where rounding down is forgiven
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/sampler.h"
#include "draw.cuh"

namespace {

constexpr int kRows = 3;       // of a step, each of a sequence of its own
constexpr int kPositions = 1200;
constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNone = std::numeric_limits<float>::quiet_NaN();

std::mt19937_64 generator;

int below(int count) { return static_cast<int>(generator() % static_cast<unsigned>(count)); }
double uniform() { return static_cast<double>(generator() >> 11) * 0x1p-53; }
template <class T>
T one_of(std::initializer_list<T> values) {
  return values.begin()[below(static_cast<int>(values.size()))];
}

bn::SamplingOptions some_options(int vocab) {
  bn::SamplingOptions options;
  options.temperature = one_of({0.0, 1.0, 0.7, 1.3, 1e-3, 1e-310, 100.0, 0.01 + 2 * uniform()});
  options.top_k = one_of({0, 0, 1, 2, 40, vocab - 1, vocab, 1 + below(vocab)});
  options.top_p = one_of({1.0, 1.0, 0.0, 0.5, 0.95, 1 - 0x1p-53, uniform()});
  options.min_p = one_of({0.0, 0.0, 0.05, 1.0, 1e-300, uniform()});
  if (below(2)) {
    options.repetition_penalty = one_of({1.0, 1.3, 0.01, 100.0});
    options.presence_penalty = one_of({0.0, 0.5, -2.0});
    options.frequency_penalty = one_of({0.0, 0.1, -100.0});
    options.penalty_last_n = one_of({0, 1, 5, 64, 1 << 20});
  }
  for (int i = one_of({0, 0, 1, 5, 1500}); i > 0; --i) {
    options.logit_bias.emplace_back(below(vocab), one_of<double>({-kInfinity, 100, -100, 0.1, 20 * uniform() - 10}));
  }
  options.seed = generator();
  return options;
}

// Logits as models have them, and as none should: equal ones, nearly equal ones, none that is a number.
std::vector<float> some_logits(int vocab) {
  std::vector<float> row(vocab);
  std::normal_distribution<float> normal;
  const float spread = one_of({2.5f, 2.5f, 1.0f, 0.2f, 1e-3f, 1e-7f, 0.0f, 30.0f, 1e30f});
  const float least = one_of({0.0f, 0.0f, 7.0f, -1e4f, 1e38f});
  const int step = one_of({0, 0, 0, 1, 64});
  for (float &logit : row) {
    logit = normal(generator) * spread + least;
    if (step > 0) logit = std::round(logit * static_cast<float>(step)) / static_cast<float>(step);
  }
  for (int i = one_of({0, 0, 1, 3, vocab / 2, vocab}); i > 0; --i) {
    row[below(vocab)] = one_of({kNone, kInfinity, -kInfinity, -kInfinity, -0.0f, 0.0f, 3.4e38f, -3.4e38f, 1e-45f});
  }
  if (below(40) == 0) row.assign(vocab, one_of({kNone, -kInfinity, kInfinity, 0.0f}));
  return row;
}

struct Text {
  bn::SamplingOptions options;
  bn::Sampler sampler;
  std::vector<int32_t> tokens;

  explicit Text(int vocab) : options(some_options(vocab)), sampler(options) {
    for (int i = one_of({1, 2, 1 + below(20), 1100}); i > 0; --i) push(below(std::min(vocab, 12)));
  }
  void push(int32_t token) {
    sampler.accept(token);
    tokens.push_back(token);
  }
};

// The launches of a step, over what the engine keeps in a GPU's memory.
template <int Vocab>
struct Device {
  bn_cuda_args args{};
  std::vector<uint8_t> kv;
  std::vector<bn_cuda_sampler> samplers{kRows};
  std::vector<Draw<Vocab>> draws = std::vector<Draw<Vocab>>(kRows);
  std::vector<bn_token> tokens;
  std::vector<float> logits;

  Device() {
    args.kv_capacity = kPositions;
    args.kv_sequence_bytes = 256 + kPositions * 4;
    kv.resize(kRows * args.kv_sequence_bytes);
    args.kv = kv.data();
    args.samplers = samplers.data();
    args.draws = reinterpret_cast<uint8_t *>(draws.data());
    for (Draw<Vocab> &draw : draws) std::fill_n(reinterpret_cast<uint8_t *>(&draw), sizeof(draw), 0xa5);
  }

  void begin(int sequence, const Text &text, int choices) {
    const std::vector<bn_bias> &biases = text.sampler.biases();
    samplers[sequence] = {text.sampler.settings(), biases.data(), static_cast<int32_t>(biases.size()), choices,
                          static_cast<int32_t>(text.tokens.size()) - 1, text.sampler.random()};
  }

  // Steps also hold tokens that want no logits.
  std::vector<int> step(const std::vector<Text> &texts, const std::vector<std::vector<float>> &rows) {
    tokens.clear();
    logits.clear();
    for (int r = 0; r < kRows; ++r) {
      const int sequence = kRows - 1 - r, count = static_cast<int>(texts[sequence].tokens.size());
      std::copy_n(texts[sequence].tokens.begin(), count, text_of(args, sequence));
      for (int i = max(0, count - 2); i < count; ++i) {
        tokens.push_back({texts[sequence].tokens[i], i, sequence, i + 1 == count ? r : -1, -1});
      }
      logits.insert(logits.end(), rows[sequence].begin(), rows[sequence].end());
    }
    args.tokens = tokens.data();
    args.token_count = static_cast<int32_t>(tokens.size());
    args.logits = logits.data();
    args.logits_count = kRows;
    constexpr int kSlices = Draw<Vocab>::kSlices;
    AdjustShared adjusting;
    WeighShared weighing;
    DrawShared drawing;
    std::vector<int> drawn(kRows);
    for (int r = 0; r < kRows; ++r) {
      for (int slice = kSlices; slice-- > 0;) adjust_logits<Vocab>(args, slice, r, adjusting);
      for (int slice = 0; slice < kSlices; ++slice) weigh_logits<Vocab>(args, slice, r, weighing);
      drawn[kRows - 1 - r] = Drawing<Vocab>(args, r, drawing).run();
    }
    return drawn;
  }
};

template <int Vocab>
void compare(int rounds) {
  int64_t drawn = 0, differ = 0;
  std::string first = "null";
  for (int round = 0; round < rounds; ++round) {
    std::vector<Text> texts;
    texts.reserve(kRows);  // samplers point into them
    Device<Vocab> device;
    const int choices = below(3) ? Vocab : 1 + below(Vocab);
    for (int sequence = 0; sequence < kRows; ++sequence) {
      texts.emplace_back(choices);
      device.begin(sequence, texts.back(), choices);
    }
    for (int step = 0; step < 4; ++step) {
      std::vector<std::vector<float>> rows;
      for (int r = 0; r < kRows; ++r) rows.push_back(some_logits(Vocab));
      device.step(texts, rows);
      const std::vector<int> ids = device.step(texts, rows);  // again: nothing may come of it
      for (int sequence = 0; sequence < kRows; ++sequence) {
        Text &text = texts[sequence];
        const int expected = text.sampler.sample(rows[sequence].data(), choices), id = ids[sequence];
        ++drawn;
        if (id != expected) {
          const bn::SamplingOptions &o = text.options;
          char line[400];
          std::snprintf(line, sizeof(line),
                        "\"%d for %d of %d at temperature %g, top-k %d, top-p %g, min-p %g, penalties %g %g %g of %d, %zu "
                        "biases\"",
                        id, expected, choices, o.temperature, o.top_k, o.top_p, o.min_p, o.repetition_penalty,
                        o.presence_penalty, o.frequency_penalty, o.penalty_last_n, o.logit_bias.size());
          if (differ++ == 0) first = line;
        }
        // A row without a number draws nothing on a CPU, and a text ends there; here it goes on.
        if (expected < 0) text.sampler.skip();
        text.push(max(expected, 0));
      }
    }
  }
  std::printf("{\"drawn\":%lld,\"differ\":%lld,\"first\":%s}\n", static_cast<long long>(drawn),
              static_cast<long long>(differ), first.c_str());
}

// Of one slice and of many, whole slices and not.
using Vocabularies = std::integer_sequence<int, 1, 7, 1000, 4096, 4097, 128256>;

template <int... Vocab>
void compare_one_of(std::integer_sequence<int, Vocab...>, int vocab, int rounds) {
  ((Vocab == vocab ? compare<Vocab>(rounds) : void()), ...);
}

double worst_weight() {
  double worst = 0;
  for (int i = 0; i < 1000000; ++i) {
    const float largest = static_cast<float>(40 * uniform() - 20);
    const float logit = largest - static_cast<float>(26 * uniform() * uniform());
    const double temperature = one_of({1.0, 0.7, 0.1, 1.5, 100.0});
    const double weight = static_cast<double>(bn_weight(logit, largest, BN_HALVINGS / temperature));
    const double exact = 0x1p36 * std::exp((static_cast<double>(logit) - largest) / temperature);
    worst = std::max(worst, (std::abs(weight - exact) - 1) / exact);
  }
  return worst;
}

}  // namespace

int main(int count, char **arguments) {
  if (count == 1) return std::printf("%g\n", worst_weight()), 0;
  generator.seed(static_cast<uint64_t>(std::atoll(arguments[3])));
  compare_one_of(Vocabularies(), std::atoi(arguments[1]), std::atoi(arguments[2]));
}

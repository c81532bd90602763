#include "embedding.h"

#include <algorithm>
#include <cmath>

namespace bn {

Embedding::Embedding(std::vector<int32_t> tokens, const std::vector<int32_t>& lengths, Pooling pooling,
                     std::function<void()> wake)
    : Request(std::move(wake)), tokens_(std::move(tokens)), pooling_(pooling) {
  int begin = 0;
  for (const int32_t length : lengths) {
    waiting_.push_back({static_cast<int>(waiting_.size()), begin, length});
    begin += length;
  }
}

bool Embedding::take(Output& output) {
  Request::End end;
  const bool something = take_from_box(end, [&] {
    output.texts.swap(box_texts_);
    output.rows.swap(box_rows_);
    return !output.texts.empty();
  });
  output.ending = end.ending;
  output.error = std::move(end.error);
  return something;
}

int Embedding::longest() const {
  int longest = 0;
  for (const Text& text : waiting_) longest = std::max(longest, text.length);
  return longest;
}

// The first text that waits, and those behind it that fit beside it whole.
std::vector<Embedding::Part> Embedding::choose(const Executor& executor, int chunk) const {
  const Text& first = waiting_.front();
  std::vector<Part> parts = {{first, done_, std::min(first.length - done_, chunk)}};
  if (first.length > chunk) return parts;
  int longest = first.length, room = chunk - first.length;
  for (size_t i = 1; i < waiting_.size() && room > 0; ++i) {
    const Text& text = waiting_[i];
    const int most = std::max(longest, text.length);
    if (text.length > room || executor.sequences_in_part(most) <= static_cast<int64_t>(parts.size())) continue;
    parts.push_back({text, 0, text.length});
    longest = most;
    room -= text.length;
  }
  return parts;
}

bool Embedding::step(Executor& executor, int slot, int chunk) {
  const std::vector<Part> parts = choose(executor, chunk);
  std::vector<bn_token> batch;
  int longest = 0, rows = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto& [text, first, count] = parts[i];
    longest = std::max(longest, text.length);
    for (int at = first; at < first + count; ++at) {
      const bool wanted = pooling_ == Pooling::mean || at == (pooling_ == Pooling::cls ? 0 : text.length - 1);
      batch.push_back({tokens_[text.begin + at], at, static_cast<int32_t>(i), -1, wanted ? rows++ : -1});
    }
  }
  const int size = executor.sizes().embedding;
  std::vector<float> hidden(static_cast<size_t>(rows) * size);
  executor.step(batch.data(), static_cast<int>(batch.size()), nullptr, hidden.data(),
                executor.part_of_cache(slot, longest));

  std::vector<int32_t> texts;
  std::vector<float> vectors;
  const float* row = hidden.data();
  size_t token = 0;
  for (const Part& part : parts) {
    const bool done = pool(part, row, size);
    for (int i = 0; i < part.count; ++i) row += batch[token++].hidden_row < 0 ? 0 : size;
    if (!done) continue;
    texts.push_back(part.text.number);
    vectors.insert(vectors.end(), pooled_.begin(), pooled_.end());
    std::erase_if(waiting_, [&](const Text& text) { return text.number == part.text.number; });
  }
  done_ = texts.empty() ? done_ + parts[0].count : 0;
  if (!std::all_of(vectors.begin(), vectors.end(), [](float value) { return std::isfinite(value); })) {
    end(Ending::error, "the model computed hidden states that are not numbers");
    return false;
  }
  publish([&] {
    box_texts_.insert(box_texts_.end(), texts.begin(), texts.end());
    box_rows_.insert(box_rows_.end(), vectors.begin(), vectors.end());
  });
  if (!waiting_.empty()) return true;
  end(Ending::done);
  return false;
}

// Float64, in order of the tokens: a mean does not depend on the steps that its text was cut into.
bool Embedding::pool(const Part& part, const float* hidden, int size) {
  if (part.first == 0) pooled_.assign(size, 0.0);
  const bool done = part.first + part.count == part.text.length;
  const bool here = pooling_ == Pooling::cls ? part.first == 0 : done;
  const int rows = pooling_ == Pooling::mean ? part.count : here ? 1 : 0;
  for (int row = 0; row < rows; ++row) {
    for (int i = 0; i < size; ++i) pooled_[i] += hidden[static_cast<size_t>(row) * size + i];
  }
  if (done && pooling_ == Pooling::mean) {
    for (double& value : pooled_) value /= part.text.length;
  }
  return done;
}

}  // namespace bn

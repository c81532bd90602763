#include "logits.h"

#include <algorithm>

namespace bn {
namespace {

// The reader copies a box on its event loop: small enough to take no more than a millisecond or so.
constexpr int64_t kBoxBytes = 4 << 20;

}  // namespace

bool Logits::take(Output& output) {
  Request::End end;
  const bool something = take_from_box(end, [&] {
    output.rows.swap(box_);
    return !output.rows.empty();
  });
  output.ending = end.ending;
  output.error = std::move(end.error);
  return something;
}

bool Logits::ready() const {
  const std::lock_guard lock(mutex_);
  return box_.empty();
}

int Logits::max_rows(int32_t vocab) const {
  return static_cast<int>(std::max<int64_t>(kBoxBytes / (static_cast<int64_t>(vocab) * 4), 1));
}

Next Logits::accept(const StepResult& result) {
  std::vector<float> rows(result.logits, result.logits + static_cast<int64_t>(result.count) * result.vocab);
  publish([&] { box_ = std::move(rows); });
  if (result.first + result.count < static_cast<int>(tokens_.size())) return Next::more;
  return finish(Ending::done);
}

}  // namespace bn

#include "slots.h"

#include <algorithm>

namespace bn {

int Slots::acquire(const std::vector<int32_t>& tokens, bool reuse) {
  const auto shared_prefix = [&](const Slot& slot) -> size_t {
    if (!reuse || tokens.empty()) return 0;
    const size_t limit = std::min(slot.cached.size(), tokens.size() - 1);
    const size_t length =
        std::mismatch(tokens.begin(), tokens.begin() + limit, slot.cached.begin()).first - tokens.begin();
    // One token is the BOS that all prompts start with: not worth the rest of somebody's cache.
    return length > 1 ? length : 0;
  };
  int best = -1;
  size_t longest = 0;
  for (int i = 0; i < static_cast<int>(slots_.size()); ++i) {
    if (!slots_[i].free) continue;
    const size_t length = shared_prefix(slots_[i]);
    if (best < 0 || length > longest || (length == longest && slots_[i].released < slots_[best].released)) {
      best = i;
      longest = length;
    }
  }
  if (best < 0) return -1;
  slots_[best].free = false;
  slots_[best].cached.resize(longest);
  return best;
}

void Slots::release(int slot) {
  slots_[slot].free = true;
  slots_[slot].released = ++clock_;
}

}  // namespace bn

// Which tokens each sequence of the KV cache holds, and who uses it.
#pragma once

#include <cstdint>
#include <vector>

namespace bn {

class Slots {
 public:
  explicit Slots(int count) : slots_(count) {}

  // Takes the free slot whose cached tokens share the longest prefix with `tokens`, cut to that prefix, though at
  // least one token is left to run. Without a prefix to share (or where `reuse` is false) it is the slot that has been
  // free for longest, emptied. Returns -1 where no slot is free.
  int acquire(const std::vector<int32_t>& tokens, bool reuse);
  void release(int slot);

  // The tokens whose keys and values slot `slot` holds.
  std::vector<int32_t>& cached(int slot) { return slots_[slot].cached; }

 private:
  struct Slot {
    std::vector<int32_t> cached;
    bool free = true;
    uint64_t released = 0;
  };

  std::vector<Slot> slots_;
  uint64_t clock_ = 0;
};

}  // namespace bn

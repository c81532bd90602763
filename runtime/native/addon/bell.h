// Wakes JavaScript from the engine thread. While somebody waits the event loop stays alive; otherwise it may end.
#pragma once

#include <napi.h>

#include <memory>
#include <set>

namespace bn {

class Bell {
 public:
  // `wake(id)` is called on the event loop, once for each ring().
  static std::shared_ptr<Bell> hang(Napi::Env env, const Napi::Function& wake);

  // Engine thread: calls wake(id). Never blocks.
  void ring(uint32_t id);

  // Event loop: `id` waits for a ring, or no longer does.
  void await(Napi::Env env, uint32_t id);
  void forget(Napi::Env env, uint32_t id);

  // Event loop, once nobody can ring any more. A second call does nothing.
  void close();

 private:
  using Context = std::shared_ptr<Bell>;
  static void on_ring(Napi::Env env, Napi::Function wake, Context* bell, void* id);
  using Function = Napi::TypedThreadSafeFunction<Context, void, on_ring>;

  Function function_;
  std::set<uint32_t> awaited_;
  bool closed_ = false;
};

}  // namespace bn

#include "bell.h"

namespace bn {

std::shared_ptr<Bell> Bell::hang(Napi::Env env, const Napi::Function& wake) {
  auto bell = std::make_shared<Bell>();
  // Rings may still be under way when the engine object is gone, so they hold the bell themselves.
  const auto forget = [](Napi::Env, void*, Context* context) { delete context; };
  bell->function_ =
      Function::New(env, wake, "bitnet", 0, 1, new Context(bell), forget, static_cast<void*>(nullptr));
  bell->function_.Unref(env);
  return bell;
}

void Bell::ring(uint32_t id) { function_.NonBlockingCall(reinterpret_cast<void*>(static_cast<uintptr_t>(id))); }

void Bell::await(Napi::Env env, uint32_t id) {
  if (closed_) return;
  if (awaited_.empty()) function_.Ref(env);
  awaited_.insert(id);
}

void Bell::forget(Napi::Env env, uint32_t id) {
  if (awaited_.erase(id) && awaited_.empty() && !closed_) function_.Unref(env);
}

void Bell::close() {
  if (closed_) return;
  closed_ = true;
  function_.Release();
}

void Bell::on_ring(Napi::Env env, Napi::Function wake, Context* bell, void* data) {
  const auto id = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(data));
  if (env == nullptr || wake.IsEmpty()) return;  // the environment is being torn down
  (*bell)->forget(env, id);
  wake.Call({Napi::Number::New(env, id)});
}

}  // namespace bn

// The engine as a Node addon. Thin: it converts arguments, keeps the requests under way by number, and does all that
// blocks (opening, shutting down) on a worker thread. runtime/src/addon.ts declares what it offers, with types.
#include <napi.h>

#include <functional>
#include <map>
#include <optional>
#include <stdexcept>

#include "../cuda/driver.h"
#include "../cuda/gpu_bench.h"
#include "../engine/measurement.h"
#include "../engine/embedding.h"
#include "../engine/engine.h"
#include "../engine/generation.h"
#include "../engine/kernel_bench.h"
#include "../engine/logits.h"
#include "../engine/score.h"
#include "bell.h"

namespace bn {
namespace {

struct Constructors {
  Napi::FunctionReference engine, kernel_bench, gpu_bench;
};

// --- JavaScript to C++ ---

std::string text(const Napi::Object& object, const char* key) { return object.Get(key).As<Napi::String>(); }
double number(const Napi::Object& object, const char* key) { return object.Get(key).As<Napi::Number>(); }
int integer(const Napi::Object& object, const char* key) { return object.Get(key).As<Napi::Number>(); }

std::vector<int32_t> ids(const Napi::Value& value) {
  const auto array = value.As<Napi::Int32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

EngineOptions engine_options(const Napi::Object& from) {
  EngineOptions options;
  options.chunk = integer(from, "chunk");
  options.executor.library = text(from, "library");
  options.executor.weights = text(from, "weights");
  options.executor.threads = integer(from, "threads");
  options.executor.pin = from.Get("pin").As<Napi::Boolean>();
  options.executor.context = integer(from, "context");
  options.executor.kv_type = text(from, "kv") == "f32" ? BN_KV_F32 : BN_KV_F16;
  options.executor.sequences = integer(from, "sequences");
  options.executor.devices = ids(from.Get("devices"));
  Expected expected{text(from, "key"), from.Get("weightsBytes").As<Napi::Number>().Int64Value(), {}};
  const auto kernels = from.Get("kernels").As<Napi::Array>();
  for (uint32_t i = 0; i < kernels.Length(); ++i) {
    const auto kernel = kernels.Get(i).As<Napi::Object>();
    expected.kernels.push_back({text(kernel, "name"), std::stoull(text(kernel, "checksum"), nullptr, 16)});
  }
  options.executor.expected = std::move(expected);
  return options;
}

GenerationOptions generation_options(const Napi::Object& from) {
  GenerationOptions options;
  options.max_tokens = from.Get("maxTokens").As<Napi::Number>().Int64Value();
  options.vocab = integer(from, "vocab");
  options.queue = integer(from, "queue");
  options.screen = from.Get("screen").As<Napi::Boolean>();
  options.stop_tokens = ids(from.Get("stopTokens"));
  SamplingOptions& sampling = options.sampling;
  sampling.temperature = number(from, "temperature");
  sampling.top_k = integer(from, "topK");
  sampling.top_p = number(from, "topP");
  sampling.min_p = number(from, "minP");
  sampling.repetition_penalty = number(from, "repetitionPenalty");
  sampling.presence_penalty = number(from, "presencePenalty");
  sampling.frequency_penalty = number(from, "frequencyPenalty");
  sampling.penalty_last_n = integer(from, "penaltyLastN");
  sampling.seed = static_cast<uint64_t>(from.Get("seed").As<Napi::Number>().Int64Value());
  const std::vector<int32_t> biased = ids(from.Get("biasTokens"));
  const auto biases = from.Get("biases").As<Napi::Float64Array>();
  for (size_t i = 0; i < biased.size(); ++i) sampling.logit_bias.emplace_back(biased[i], biases[i]);
  return options;
}

Pooling pooling(const std::string& name) {
  return name == "mean" ? Pooling::mean : name == "cls" ? Pooling::cls : Pooling::last;
}

// --- C++ to JavaScript ---

const char* name_of(Ending ending) {
  switch (ending) {
    case Ending::none: return "none";
    case Ending::done: return "done";
    case Ending::stop: return "stop";
    case Ending::length: return "length";
    case Ending::context: return "context";
    case Ending::cancelled: return "cancelled";
    case Ending::error: return "error";
  }
  return "error";
}

Napi::Int32Array to_js(Napi::Env env, const std::vector<int32_t>& values) {
  auto array = Napi::Int32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Float32Array to_js(Napi::Env env, const std::vector<float>& values) {
  auto array = Napi::Float32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Object to_js(Napi::Env env, const GenerationStats& stats) {
  auto object = Napi::Object::New(env);
  const auto set = [&](const char* key, int64_t value) { object.Set(key, static_cast<double>(value)); };
  set("promptTokens", stats.prompt_tokens);
  set("cachedTokens", stats.cached_tokens);
  set("prefillNs", stats.prefill_ns);
  set("firstTokenNs", stats.first_token_ns);
  set("decodeTokens", stats.decode_tokens);
  set("decodeNs", stats.decode_ns);
  auto counts = Napi::Object::New(env);
  const auto count = [&](const char* name, int64_t value) { counts.Set(name, static_cast<double>(value)); };
  count("steps", stats.counts.steps);
  count("zeros", stats.counts.zeros);
  count("zeroColumns", stats.counts.zero_columns);
  count("screened", stats.counts.screened);
  count("rows", stats.counts.rows);
  count("screenBytes", stats.counts.screen_bytes);
  count("headBytes", stats.counts.head_bytes);
  object.Set("counts", counts);
  return object;
}

void fill(Napi::Object& object, const Generation::Output& output) {
  object.Set("tokens", to_js(object.Env(), output.tokens));
  object.Set("stats", to_js(object.Env(), output.stats));
}

void fill(Napi::Object& object, const Logits::Output& output) { object.Set("rows", to_js(object.Env(), output.rows)); }

void fill(Napi::Object& object, const Embedding::Output& output) {
  object.Set("texts", to_js(object.Env(), output.texts));
  object.Set("rows", to_js(object.Env(), output.rows));
}

void fill(Napi::Object& object, const Score::Output& output) {
  object.Set("nll", output.nll);
  object.Set("tokens", static_cast<double>(output.tokens));
}

void fill(Napi::Object& object, const Measurement::Output& output) {
  object.Set("readBytesPerSecond", output.limits.read_bytes_per_second);
  object.Set("int8MacsPerSecond", output.limits.int8_macs_per_second);
}

class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  struct Opened {
    std::shared_ptr<Engine> engine;
    Napi::Function wake;
  };

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Engine",
                       {InstanceAccessor<&EngineObject::facts>("facts"),
                        InstanceMethod<&EngineObject::generate>("generate"),
                        InstanceMethod<&EngineObject::logits>("logits"),
                        InstanceMethod<&EngineObject::embed>("embed"),
                        InstanceMethod<&EngineObject::score>("score"),
                        InstanceMethod<&EngineObject::measure>("measure"),
                        InstanceMethod<&EngineObject::take>("take"),
                        InstanceMethod<&EngineObject::cancel>("cancel"),
                        InstanceMethod<&EngineObject::dispose>("dispose")});
  }

  // Made by OpenWorker only.
  explicit EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
    if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "an engine is made by open()");
    const auto* opened = info[0].As<Napi::External<Opened>>().Data();
    engine_ = opened->engine;
    bell_ = Bell::hang(info.Env(), opened->wake);
    // Runs before the environment tears the bell down, which was hung first.
    napi_add_env_cleanup_hook(info.Env(), on_environment_end, this);
  }

  ~EngineObject() override {
    if (!engine_) return;
    napi_remove_env_cleanup_hook(Env(), on_environment_end, this);
    close();
  }

 private:
  using AnyRequest = std::variant<std::shared_ptr<Generation>, std::shared_ptr<Logits>, std::shared_ptr<Embedding>,
                                  std::shared_ptr<Score>, std::shared_ptr<Measurement>>;

  class DisposeWorker : public Napi::AsyncWorker {
   public:
    DisposeWorker(Napi::Env env, std::shared_ptr<Engine> engine)
        : Napi::AsyncWorker(env, "bitnet.dispose"),
          engine_(std::move(engine)),
          done_(Napi::Promise::Deferred::New(env)) {}
    Napi::Promise promise() const { return done_.Promise(); }
    void Execute() override { engine_->shutdown(); }
    void OnOK() override { done_.Resolve(Env().Undefined()); }
    void OnError(const Napi::Error& error) override { done_.Reject(error.Value()); }

   private:
    std::shared_ptr<Engine> engine_;
    Napi::Promise::Deferred done_;
  };

  static void on_environment_end(void* self) {
    auto* object = static_cast<EngineObject*>(self);
    object->close();
    object->engine_ = nullptr;
  }

  void close() {
    engine_->shutdown();
    bell_->close();
  }

  Napi::Value facts(const Napi::CallbackInfo& info) {
    const Engine::Facts& facts = engine_->facts();
    auto object = Napi::Object::New(info.Env());
    object.Set("device", facts.device);
    object.Set("vocab", facts.vocab);
    object.Set("context", facts.context);
    object.Set("threads", facts.threads);
    object.Set("chunk", facts.chunk);
    object.Set("weightsBytes", static_cast<double>(facts.weights_bytes));
    object.Set("kvBytes", static_cast<double>(facts.kv_bytes));
    object.Set("workspaceBytes", static_cast<double>(facts.workspace_bytes));
    return object;
  }

  // Makes a request of that type with a number and a wake function of its own, and hands it to the engine.
  template <typename Type, typename... Arguments>
  Napi::Value submit(const Napi::CallbackInfo& info, Arguments&&... arguments) {
    const uint32_t id = ++last_id_;
    const auto wake = [bell = bell_, id] { bell->ring(id); };
    auto request = std::make_shared<Type>(std::forward<Arguments>(arguments)..., wake);
    engine_->submit(request);
    requests_.emplace(id, std::move(request));
    return Napi::Number::New(info.Env(), id);
  }

  Napi::Value generate(const Napi::CallbackInfo& info) {
    return submit<Generation>(info, ids(info[0]), generation_options(info[1].As<Napi::Object>()));
  }

  Napi::Value logits(const Napi::CallbackInfo& info) { return submit<Logits>(info, ids(info[0])); }

  Napi::Value embed(const Napi::CallbackInfo& info) {
    return submit<Embedding>(info, ids(info[0]), ids(info[1]), pooling(info[2].As<Napi::String>()));
  }

  Napi::Value score(const Napi::CallbackInfo& info) {
    return submit<Score>(info, ids(info[0]), info[1].As<Napi::Number>().Int32Value());
  }

  Napi::Value measure(const Napi::CallbackInfo& info) { return submit<Measurement>(info); }

  AnyRequest& request(uint32_t id) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) {
      throw std::invalid_argument("no request under way has the number " + std::to_string(id));
    }
    return found->second;
  }

  // What the request has brought since the last time, or undefined: then wake(id) is called when there is something.
  Napi::Value take(const Napi::CallbackInfo& info) {
    const uint32_t id = info[0].As<Napi::Number>();
    return std::visit([&](const auto& request) { return take(info.Env(), id, *request); }, request(id));
  }

  template <typename Type>
  Napi::Value take(Napi::Env env, uint32_t id, Type& request) {
    typename Type::Output output;
    if (!request.take(output)) {
      bell_->await(env, id);
      return env.Undefined();
    }
    auto object = Napi::Object::New(env);
    object.Set("ending", name_of(output.ending));
    object.Set("error", output.error);
    fill(object, output);
    if (output.ending != Ending::none) requests_.erase(id);
    else engine_->poke();
    return object;
  }

  // Cancels and forgets the request: there is nothing more to take. Returns the statistics of a generation.
  Napi::Value cancel(const Napi::CallbackInfo& info) {
    const uint32_t id = info[0].As<Napi::Number>();
    Napi::Value stats = info.Env().Undefined();
    std::visit([](const auto& request) { request->cancel(); }, request(id));
    if (const auto* generation = std::get_if<std::shared_ptr<Generation>>(&request(id))) {
      stats = to_js(info.Env(), (*generation)->stats());
    }
    requests_.erase(id);
    bell_->forget(info.Env(), id);
    engine_->poke();
    return stats;
  }

  // Ends all requests with an error and frees the model's memory. The promise resolves when that is done.
  Napi::Value dispose(const Napi::CallbackInfo& info) {
    auto* worker = new DisposeWorker(info.Env(), engine_);
    const Napi::Promise promise = worker->promise();
    worker->Queue();
    return promise;
  }

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Bell> bell_;
  std::map<uint32_t, AnyRequest> requests_;
  uint32_t last_id_ = 0;
};

class OpenWorker : public Napi::AsyncProgressWorker<double> {
 public:
  OpenWorker(Napi::Env env, EngineOptions options, const Napi::Function& wake, const Napi::Function& uploaded)
      : Napi::AsyncProgressWorker<double>(env, "bitnet.open"),
        options_(std::move(options)),
        wake_(Napi::Persistent(wake)),
        uploaded_(Napi::Persistent(uploaded)),
        done_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise promise() const { return done_.Promise(); }
  void Execute(const ExecutionProgress& progress) override {
    options_.executor.on_upload = [&](double share) { progress.Send(&share, 1); };
    engine_ = std::make_shared<Engine>(options_);
  }
  void OnProgress(const double* share, size_t count) override {
    if (count > 0) uploaded_.Call({Napi::Number::New(Env(), *share)});
  }
  void OnOK() override {
    EngineObject::Opened opened{std::move(engine_), wake_.Value()};
    const auto* constructors = Env().GetInstanceData<Constructors>();
    done_.Resolve(constructors->engine.New({Napi::External<EngineObject::Opened>::New(Env(), &opened)}));
  }
  void OnError(const Napi::Error& error) override { done_.Reject(error.Value()); }

 private:
  EngineOptions options_;
  Napi::FunctionReference wake_, uploaded_;
  Napi::Promise::Deferred done_;
  std::shared_ptr<Engine> engine_;
};

Napi::Value open(const Napi::CallbackInfo& info) {
  auto* worker = new OpenWorker(info.Env(), engine_options(info[0].As<Napi::Object>()), info[1].As<Napi::Function>(),
                                info[2].As<Napi::Function>());
  const Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

// Work of a bench on a worker thread; its result becomes what the promise resolves with.
template <typename Result>
class BenchWorker : public Napi::AsyncWorker {
 public:
  using Convert = Napi::Value (*)(Napi::Env env, const Result& result);

  BenchWorker(Napi::Env env, std::function<Result()> work, Convert convert)
      : Napi::AsyncWorker(env, "bitnet.bench"),
        work_(std::move(work)),
        convert_(convert),
        done_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise promise() const { return done_.Promise(); }
  void Execute() override { result_ = work_(); }
  void OnOK() override { done_.Resolve(convert_(Env(), *result_)); }
  void OnError(const Napi::Error& error) override { done_.Reject(error.Value()); }

 private:
  std::function<Result()> work_;
  Convert convert_;
  std::optional<Result> result_;
  Napi::Promise::Deferred done_;
};

template <typename Result>
Napi::Value later(Napi::Env env, std::function<Result()> work, typename BenchWorker<Result>::Convert convert) {
  auto* worker = new BenchWorker<Result>(env, std::move(work), convert);
  const Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

Napi::Value nanoseconds_to_js(Napi::Env env, const int64_t& nanoseconds) {
  return Napi::Number::New(env, static_cast<double>(nanoseconds));
}

Napi::Value limits_to_js(Napi::Env env, const KernelBench::Limits& limits) {
  auto object = Napi::Object::New(env);
  object.Set("readBytesPerSecond", limits.read_bytes_per_second);
  object.Set("int8MacsPerSecond", limits.int8_macs_per_second);
  return object;
}

class KernelBenchObject : public Napi::ObjectWrap<KernelBenchObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "KernelBench",
                       {InstanceMethod<&KernelBenchObject::open>("open"), InstanceMethod<&KernelBenchObject::run>("run"),
                        InstanceMethod<&KernelBenchObject::time>("time"),
                        InstanceMethod<&KernelBenchObject::limits>("limits")});
  }

  explicit KernelBenchObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<KernelBenchObject>(info),
        bench_(std::make_shared<KernelBench>(info[0].As<Napi::Number>().Int32Value())) {}

 private:
  Napi::Value open(const Napi::CallbackInfo& info) {
    const std::string library = info[0].As<Napi::String>();
    const auto open = [bench = bench_, library] {
      bench->open(library);
      return true;
    };
    return later<bool>(info.Env(), open, [](Napi::Env env, const bool&) { return env.Undefined(); });
  }

  Napi::Value run(const Napi::CallbackInfo& info) {
    const std::string name = info[0].As<Napi::String>();
    const int tokens = info[1].As<Napi::Number>(), groups = info[2].As<Napi::Number>();
    const auto weights = info[3].As<Napi::Uint8Array>();
    const auto q = info[4].As<Napi::Int8Array>();
    const auto run = [bench = bench_, name, tokens, groups,
                      codes = std::vector<uint8_t>(weights.Data(), weights.Data() + weights.ElementLength()),
                      activations = std::vector<int8_t>(q.Data(), q.Data() + q.ElementLength())] {
      return bench->run(name, tokens, groups, codes, activations);
    };
    return later<std::vector<float>>(info.Env(), run, [](Napi::Env env, const std::vector<float>& y) -> Napi::Value {
      return to_js(env, y);
    });
  }

  Napi::Value time(const Napi::CallbackInfo& info) {
    const std::string name = info[0].As<Napi::String>();
    const int tokens = info[1].As<Napi::Number>(), unit = info[2].As<Napi::Number>();
    const int64_t rounds = info[3].As<Napi::Number>();
    const auto time = [bench = bench_, name, tokens, unit, rounds] { return bench->time(name, tokens, unit, rounds); };
    return later<int64_t>(info.Env(), time, nanoseconds_to_js);
  }

  Napi::Value limits(const Napi::CallbackInfo& info) {
    const auto limits = [bench = bench_] { return bench->limits(); };
    return later<KernelBench::Limits>(info.Env(), limits, limits_to_js);
  }

  std::shared_ptr<KernelBench> bench_;
};

class GpuBenchObject : public Napi::ObjectWrap<GpuBenchObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "GpuBench",
                       {InstanceMethod<&GpuBenchObject::open>("open"), InstanceMethod<&GpuBenchObject::sums>("sums"),
                        InstanceMethod<&GpuBenchObject::time>("time"),
                        InstanceMethod<&GpuBenchObject::limits>("limits")});
  }

  explicit GpuBenchObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<GpuBenchObject>(info),
        bench_(std::make_shared<GpuBench>(info[0].As<Napi::Number>().Int32Value())) {}

 private:
  Napi::Value open(const Napi::CallbackInfo& info) {
    const std::string library = info[0].As<Napi::String>();
    const auto layer = info[1].As<Napi::Uint8Array>();
    const auto open = [bench = bench_, library,
                       bytes = std::vector<uint8_t>(layer.Data(), layer.Data() + layer.ElementLength())] {
      bench->open(library, bytes);
      return true;
    };
    return later<bool>(info.Env(), open, [](Napi::Env env, const bool&) { return env.Undefined(); });
  }

  Napi::Value sums(const Napi::CallbackInfo& info) {
    const std::string kernel = info[0].As<Napi::String>();
    const int tokens = info[1].As<Napi::Number>();
    const auto sums = [bench = bench_, kernel, tokens] { return bench->sums(kernel, tokens); };
    return later<std::vector<int32_t>>(
        info.Env(), sums, [](Napi::Env env, const std::vector<int32_t>& sums) -> Napi::Value { return to_js(env, sums); });
  }

  Napi::Value time(const Napi::CallbackInfo& info) {
    const std::string kernel = info[0].As<Napi::String>();
    const int tokens = info[1].As<Napi::Number>();
    const int64_t rounds = info[2].As<Napi::Number>();
    return later<int64_t>(info.Env(), [bench = bench_, kernel, tokens, rounds] { return bench->time(kernel, tokens, rounds); },
                          nanoseconds_to_js);
  }

  Napi::Value limits(const Napi::CallbackInfo& info) {
    const auto limits = [bench = bench_] {
      const MachineLimits found = bench->limits();
      return KernelBench::Limits{found.read_bytes_per_second, found.int8_macs_per_second};
    };
    return later<KernelBench::Limits>(info.Env(), limits, limits_to_js);
  }

  std::shared_ptr<GpuBench> bench_;
};

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Constructors{Napi::Persistent(EngineObject::define(env)),
                                       Napi::Persistent(KernelBenchObject::define(env)),
                                       Napi::Persistent(GpuBenchObject::define(env))});
  exports.Set("open", Napi::Function::New<open>(env, "open"));
  exports.Set("KernelBench", env.GetInstanceData<Constructors>()->kernel_bench.Value());
  exports.Set("GpuBench", env.GetInstanceData<Constructors>()->gpu_bench.Value());
  exports.Set("gpus", Napi::Function::New(env, [](const Napi::CallbackInfo& call) -> Napi::Value {
                const auto devices = cuda::Driver::get().devices();
                auto list = Napi::Array::New(call.Env(), devices.size());
                for (uint32_t i = 0; i < devices.size(); ++i) {
                  auto one = Napi::Object::New(call.Env());
                  one.Set("name", devices[i].name);
                  one.Set("capability", 10 * devices[i].major + devices[i].minor);
                  one.Set("memory", static_cast<double>(devices[i].memory));
                  list.Set(i, one);
                }
                return list;
              }, "gpus"));
  exports.Set("usableCores",
              Napi::Function::New(env, [](const Napi::CallbackInfo& call) -> Napi::Value {
                return Napi::Number::New(call.Env(), usable_cores());
              }, "usableCores"));
  return exports;
}

}  // namespace
}  // namespace bn

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return bn::initialise(env, exports); }

NODE_API_MODULE(bitnet, Init)

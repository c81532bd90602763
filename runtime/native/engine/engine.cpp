#include "engine.h"

#include <algorithm>
#include <exception>
#include <stdexcept>

namespace bn {
namespace {

constexpr int64_t kLogitsBytes = 32 << 20;
constexpr const char* kDisposed = "the model was disposed";

int rows_per_step(const ModelSizes& info) {
  return static_cast<int>(std::clamp<int64_t>(kLogitsBytes / (int64_t{4} * info.vocab), 1, info.max_tokens));
}

Engine::Facts facts_of(Executor& executor, int chunk) {
  const ModelSizes& info = executor.sizes();
  return {executor.device(),
          info.vocab,
          executor.context(),
          executor.pool().threads(),
          std::clamp(chunk, 1, info.max_tokens),
          executor.weights_bytes(),
          executor.kv_bytes(),
          executor.workspace_bytes()};
}

template <typename... Types>
Request& request_of(const std::variant<std::shared_ptr<Types>...>& waiting) {
  return std::visit([](const auto& request) -> Request& { return *request; }, waiting);
}

}  // namespace

Engine::Engine(const EngineOptions& options)
    : executor_(Executor::open(options.executor)),
      facts_(facts_of(*executor_, options.chunk)),
      slots_(executor_->sequences()),
      max_rows_(rows_per_step(executor_->sizes())),
      logits_(int64_t{4} * executor_->sizes().vocab * (max_rows_ + executor_->sequences())),
      thread_(&Engine::loop, this, options.executor.pin) {}

Engine::~Engine() { shutdown(); }

void Engine::submit(std::shared_ptr<SequenceRequest> request) {
  const size_t count = request->tokens().size();
  if (count == 0) throw std::invalid_argument("there are no tokens to run");
  if (count > static_cast<size_t>(facts_.context)) {
    throw std::invalid_argument(std::to_string(count) + " tokens do not fit a context of " +
                                std::to_string(facts_.context));
  }
  check_tokens(request->text());
  enqueue(std::move(request));
}

void Engine::submit(std::shared_ptr<Embedding> request) {
  if (request->tokens().empty()) throw std::invalid_argument("there are no tokens to run");
  if (request->longest() > facts_.context) {
    throw std::invalid_argument(std::to_string(request->longest()) + " tokens do not fit a context of " +
                                std::to_string(facts_.context));
  }
  check_tokens(request->tokens());
  enqueue(std::move(request));
}

void Engine::submit(std::shared_ptr<Task> task) { enqueue(std::move(task)); }

void Engine::check_tokens(const std::vector<int32_t>& tokens) const {
  const auto wrong = std::find_if(tokens.begin(), tokens.end(), [&](int32_t id) { return id < 0 || id >= facts_.vocab; });
  if (wrong == tokens.end()) return;
  throw std::invalid_argument("token " + std::to_string(*wrong) + " at index " +
                              std::to_string(wrong - tokens.begin()) + " is outside the vocabulary of " +
                              std::to_string(facts_.vocab));
}

void Engine::enqueue(Waiting request) {
  std::string failure;
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      inbox_.push_back(std::move(request));
      poked_ = true;
      signal_.notify_one();
      return;
    }
    failure = failure_;
  }
  request_of(request).end(Ending::error, failure.empty() ? kDisposed : failure);
}

void Engine::poke() {
  const std::lock_guard lock(mutex_);
  poked_ = true;
  signal_.notify_one();
}

void Engine::shutdown() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (task_) task_->cancel();
    signal_.notify_one();
  }
  const std::lock_guard lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
  executor_.reset();
}

void Engine::loop(bool pin) {
  name_this_thread("bitnet-0");
  if (pin) pin_this_thread(0);
  try {
    while (collect()) {
      drop_cancelled();
      admit();
      const bool stepped = step(), embedded = embed();
      if (stepped || embedded) continue;
      std::unique_lock lock(mutex_);
      signal_.wait(lock, [&] { return poked_ || stopping_; });
    }
    end_all(kDisposed);
  } catch (const std::exception& error) {
    std::string failure = std::string("the engine failed: ") + error.what();
    if (failure.find('\n') == std::string::npos) failure += "\nOpen the model again.";
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      failure_ = failure;
    }
    // What it holds of a GPU that has failed is in the way of whoever opens the model again.
    executor_.reset();
    end_all(failure);
  }
}

// Fetches new requests. False: the engine is to stop.
bool Engine::collect() {
  const std::lock_guard lock(mutex_);
  poked_ = false;
  std::move(inbox_.begin(), inbox_.end(), std::back_inserter(waiting_));
  inbox_.clear();
  return !stopping_;
}

void Engine::drop_cancelled() {
  std::erase_if(waiting_, [](const Waiting& waiting) {
    Request& request = request_of(waiting);
    if (request.cancelled()) request.end(Ending::cancelled);
    return request.cancelled();
  });
  for (size_t i = active_.size(); i-- > 0;) {
    if (!active_[i].request->cancelled()) continue;
    active_[i].request->end(Ending::cancelled);
    remove(i);
  }
  std::erase_if(embeddings_, [&](const Holding<Embedding>& embedding) {
    if (!embedding.request->cancelled()) return false;
    embedding.request->end(Ending::cancelled);
    slots_.release(embedding.slot);
    return true;
  });
}

// Gives slots to those who wait, in order; a task runs when all before it are done.
void Engine::admit() {
  while (!waiting_.empty()) {
    if (const auto* task = std::get_if<std::shared_ptr<Task>>(&waiting_.front())) {
      if (!active_.empty() || !embeddings_.empty()) return;
      const std::shared_ptr<Task> next = *task;
      waiting_.pop_front();
      run(next);
      continue;
    }
    if (const auto* embedding = std::get_if<std::shared_ptr<Embedding>>(&waiting_.front())) {
      const int slot = slots_.acquire({}, false);
      if (slot < 0) return;
      embeddings_.push_back({*embedding, slot});
      waiting_.pop_front();
      continue;
    }
    const auto& request = std::get<std::shared_ptr<SequenceRequest>>(waiting_.front());
    const int slot = slots_.acquire(request->tokens(), request->may_reuse_cache());
    if (slot < 0) return;
    if (const Sampler* sampler = request->sampler(); sampler && executor_->draws()) {
      const int last = static_cast<int>(request->tokens().size()) - 1;
      executor_->draw_as(slot, *sampler, request->choices(facts_.vocab), last);
    }
    request->started(static_cast<int>(slots_.cached(slot).size()));
    active_.push_back({request, slot});
    waiting_.pop_front();
  }
}

void Engine::run(const std::shared_ptr<Task>& task) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) task->cancel();
    task_ = task;
  }
  slots_.cached(0).clear();
  std::string error;
  try {
    task->run(*executor_);
  } catch (const std::exception& problem) {
    error = problem.what();
  }
  bool stopping;
  {
    const std::lock_guard lock(mutex_);
    task_ = nullptr;
    stopping = stopping_;
  }
  if (stopping) error = kDisposed;
  if (!error.empty()) task->end(Ending::error, error);
  else task->end(task->cancelled() ? Ending::cancelled : Ending::done);
}

// What of the batch's logits matters, row by row; empty where somebody needs all of a row.
std::vector<NeededLogits> Engine::needed_of(const std::vector<Part>& parts, int32_t vocab) {
  std::vector<NeededLogits> rows;
  for (const Part& part : parts) {
    if (part.rows == 0) continue;
    const std::optional<NeededLogits> needed = active_[part.index].request->needed(vocab);
    if (!needed || part.rows > 1) return {};
    rows.push_back(*needed);
  }
  return rows;
}

// Runs one batch. False: nobody has anything to run.
bool Engine::step() {
  const ModelSizes& info = executor_->sizes();
  std::vector<bn_token> batch;
  std::vector<Part> parts;
  int rows = 0;
  const auto add = [&](size_t index, int count) {
    const Active& active = active_[index];
    const int first = static_cast<int>(slots_.cached(active.slot).size());
    const int first_row = rows;
    for (int i = first; i < first + count; ++i) {
      const int row = active.request->wants_logits(i) ? rows++ : -1;
      batch.push_back({active.request->tokens()[i], i, active.slot, row, -1});
    }
    parts.push_back({index, first, count, first_row, rows - first_row});
  };
  const auto left = [&](size_t index) {
    return static_cast<int>(active_[index].request->tokens().size() - slots_.cached(active_[index].slot).size());
  };

  std::vector<size_t> order;
  for (size_t i = 0; i < active_.size(); ++i) {
    const size_t index = (turn_ + i) % active_.size();
    if (active_[index].request->ready()) order.push_back(index);
  }
  ++turn_;
  const auto room = [&] { return info.max_tokens - static_cast<int>(batch.size()); };
  for (const size_t index : order) {
    if (left(index) == 1 && room() > 0) add(index, 1);
  }
  const auto reading = std::find_if(order.begin(), order.end(), [&](size_t index) { return left(index) > 1; });
  if (reading != order.end() && room() > 0) {
    const SequenceRequest& request = *active_[*reading].request;
    int count = std::min({left(*reading), facts_.chunk, room()});
    if (request.wants_logits(static_cast<int>(slots_.cached(active_[*reading].slot).size()))) {
      count = std::min({count, max_rows_, request.max_rows(info.vocab)});
    }
    add(*reading, count);
  }
  if (batch.empty()) return false;

  const auto started = Clock::now();
  float* logits = reinterpret_cast<float*>(logits_.data());
  const auto may_be_drawn = [&](const Part& part) { return part.rows == 0 || active_[part.index].request->sampler(); };
  const bool draws = executor_->draws() && std::all_of(parts.begin(), parts.end(), may_be_drawn);
  std::vector<int32_t> drawn(draws ? rows : 0);
  std::vector<NeededLogits> needed;
  if (!draws) needed = needed_of(parts, info.vocab);
  std::vector<bn_screen> screens;
  for (const NeededLogits& row : needed) {
    screens.push_back({row.vocab, row.keep, row.margin, row.rows.data(), static_cast<int32_t>(row.rows.size())});
  }
  const int count = static_cast<int>(batch.size());
  if (draws) executor_->draw(batch.data(), count, drawn.data());
  else executor_->step(batch.data(), count, logits, nullptr, executor_->cache(), screens.empty() ? nullptr : screens.data());

  std::vector<size_t> ended;
  for (const Part& part : parts) {
    const Active& active = active_[part.index];
    std::vector<int32_t>& cached = slots_.cached(active.slot);
    const auto from = active.request->tokens().begin() + part.first;
    cached.insert(cached.end(), from, from + part.count);
    float* row = draws ? nullptr : logits + int64_t{part.row} * info.vocab;
    const int32_t* token = draws ? drawn.data() + part.row : nullptr;
    const Next next = active.request->accept(
        {part.first, part.count, row, token, info.vocab, executor_->context(), executor_->pool(), executor_->counts(),
         started});
    if (next == Next::restart) cached.clear();
    if (next == Next::ended) ended.push_back(part.index);
  }
  std::sort(ended.rbegin(), ended.rend());
  for (const size_t index : ended) remove(index);
  return true;
}

// Runs one step of texts to embed; requests take turns. False: there are none.
bool Engine::embed() {
  if (embeddings_.empty()) return false;
  const size_t index = turn_ % embeddings_.size();
  const auto [request, slot] = embeddings_[index];
  if (request->step(*executor_, slot, facts_.chunk)) return true;
  slots_.release(slot);
  embeddings_.erase(embeddings_.begin() + static_cast<std::ptrdiff_t>(index));
  return true;
}

void Engine::end_all(const std::string& error) {
  collect();
  for (const Waiting& waiting : waiting_) request_of(waiting).end(Ending::error, error);
  for (const Active& active : active_) active.request->end(Ending::error, error);
  for (const Holding<Embedding>& embedding : embeddings_) embedding.request->end(Ending::error, error);
  waiting_.clear();
  active_.clear();
  embeddings_.clear();
}

void Engine::remove(size_t index) {
  slots_.release(active_[index].slot);
  active_.erase(active_.begin() + index);
}

}  // namespace bn

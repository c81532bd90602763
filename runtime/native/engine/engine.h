// One model, one thread, any number of requests: continuous batching.
//
// Each step runs one token of every sequence that is decoding and a chunk of one that is still reading its prompt; they
// take turns at that. Texts to embed have steps of their own in between. Requests beyond the number of KV slots wait in order of arrival. The kernels compute each token
// independently of what else is in the step, so a result never depends on the company.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "embedding.h"
#include "executor.h"
#include "request.h"
#include "slots.h"

namespace bn {

struct EngineOptions {
  ExecutorOptions executor;
  int chunk = 128;  // prompt tokens of a step at most: what cancelling has to wait for
};

class Engine {
 public:
  // Opens the model and starts the engine thread. Throws std::runtime_error.
  explicit Engine(const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // What it has, in numbers that stay true after shutdown().
  struct Facts {
    std::string device;  // the GPU's name, where it is one
    int32_t vocab, context, threads, chunk;
    int64_t weights_bytes, kv_bytes, workspace_bytes;
  };
  const Facts& facts() const { return facts_; }

  // Any thread. After shutdown() a request ends with an error at once.
  // Throws std::invalid_argument where a token is outside the vocabulary or there are more of them than the context.
  void submit(std::shared_ptr<SequenceRequest> request);
  void submit(std::shared_ptr<Embedding> request);
  void submit(std::shared_ptr<Task> task);

  // Any thread. To be called after something was taken from a request's box, or the request was cancelled.
  void poke();

  // Any thread, any number of times: ends all requests with an error, joins the thread. Returns when that is done.
  void shutdown();

 private:
  using Waiting = std::variant<std::shared_ptr<SequenceRequest>, std::shared_ptr<Embedding>, std::shared_ptr<Task>>;
  template <typename Type>
  struct Holding {
    std::shared_ptr<Type> request;
    int slot;
  };
  using Active = Holding<SequenceRequest>;
  // What a batch has of a sequence: `count` tokens from its token `first`, and `rows` of the logits from `row`.
  struct Part {
    size_t index; // in active_
    int first, count, row, rows;
  };

  void check_tokens(const std::vector<int32_t>& tokens) const;
  void enqueue(Waiting request);
  void loop(bool pin);
  bool collect();
  void admit();
  void run(const std::shared_ptr<Task>& task);
  std::vector<NeededLogits> needed_of(const std::vector<Part>& parts, int32_t vocab);
  bool step();
  bool embed();
  void drop_cancelled();
  void end_all(const std::string& error);
  void remove(size_t index);

  std::unique_ptr<Executor> executor_;
  const Facts facts_;

  std::mutex mutex_;  // guards the next six
  std::condition_variable signal_;
  std::deque<Waiting> inbox_;
  bool poked_ = false;
  bool stopping_ = false;
  std::string failure_;  // what stopped it, where nobody asked for that
  std::shared_ptr<Task> task_;  // the running one

  // Engine thread only.
  Slots slots_;
  std::deque<Waiting> waiting_;
  std::vector<Active> active_;
  std::vector<Holding<Embedding>> embeddings_;
  size_t turn_ = 0;
  const int max_rows_;  // logits rows that one request may have in a step
  Pages logits_;

  std::mutex join_mutex_;
  std::thread thread_;
};

}  // namespace bn

// What a model makes of whole texts: the hidden states that it ends with, one vector for each text.
#pragma once

#include "request.h"

namespace bn {

// How the hidden states of a text's tokens become one vector: their mean, the first, or the last.
enum class Pooling { mean, cls, last };

// Runs many texts a step, in a KV slot that they share between them: short ones side by side, one that is longer than a
// step by itself. A text's vector does not depend on what it shares a step with. All but the box belongs to the engine
// thread.
class Embedding : public Request {
 public:
  struct Output {
    std::vector<int32_t> texts;  // numbers of the texts that are done
    std::vector<float> rows;     // their vectors, in that order
    Ending ending = Ending::none;
    std::string error;
  };

  // `tokens` are those of all texts in a row, `lengths` says how many each has: at least one.
  Embedding(std::vector<int32_t> tokens, const std::vector<int32_t>& lengths, Pooling pooling,
            std::function<void()> wake);

  // Any thread. False: nothing yet, wake() follows.
  bool take(Output& output);

  const std::vector<int32_t>& tokens() const { return tokens_; }
  int longest() const;

  // Runs one step of at most `chunk` tokens in that KV slot. False: it was the last.
  bool step(Executor& executor, int slot, int chunk);

 private:
  struct Text {
    int number, begin, length;
  };
  // Tokens [first, first + count) of a text.
  struct Part {
    Text text;
    int first, count;
  };

  std::vector<Part> choose(const Executor& executor, int chunk) const;
  // Takes a part's hidden states; true where its text is done.
  bool pool(const Part& part, const float* hidden, int size);

  const std::vector<int32_t> tokens_;
  const Pooling pooling_;
  std::vector<Text> waiting_;  // the first one may have been begun
  int done_ = 0;               // tokens of that one
  std::vector<double> pooled_;
  std::vector<int32_t> box_texts_;
  std::vector<float> box_rows_;
};

}  // namespace bn

// The next token drawn from a row of logits: what runtime/native/engine/sampler.cpp does, token for token.
//
// Three launches. The first two cut a row into slices, a block for each: `adjust` applies bias and penalties and finds the
// largest logit, `weigh` adds up weights. In `draw` one block has the row. Top-k, top-p and the draw ask it the same: with
// which candidate, in order of logits, does a running sum (of ones, of weights) reach a certain value? A histogram over the
// distance from the largest logit, which `weigh` made, says in which bin that is; then only the bin's candidates are looked
// at, in stretches of the row whose largest logit is not below that bin, and bins of too many are cut into finer ones. Where
// nothing but min-p cuts, tokens are drawn in order of their ids.
#pragma once

#include "block.cuh"
#include "candidate.cuh"
#include "cuda.h"
#include "text.cuh"

constexpr int kWarps = kBlockThreads / 32;
constexpr int kStretch = 4 * 32, kSlice = kWarps * kStretch;  // logits
constexpr int kBins = kBlockThreads;                          // of 1/32 each
constexpr int kFew = 1024;                                    // candidates that are compared with each other
constexpr int kNear = 512;                                    // stretches that are looked at alone
constexpr int kWindow = 1024;                                 // tokens of a text that penalties have at hand

// What the launches tell each other of one row: args.draws.
template <int Vocab>
struct Draw {
  static constexpr int kSlices = (Vocab + kSlice - 1) / kSlice, kStretches = kSlices * kWarps;
  static_assert(kSlices <= kBins);
  Sum counts[kBins];        // of candidates, by bin
  Sum plain[kBins];         // their weights at temperature 1, which top-p goes by
  Sum weights[kBins];       // and at the sequence's; or, where tokens are drawn in order of ids, that of each slice
  Sum largest[kStretches];  // candidate of each stretch
};

// The sequence that a row of logits belongs to.
template <int Vocab>
struct DrawnRow {
  static constexpr int kStretches = Draw<Vocab>::kStretches;
  int position = 0, choices = 0;
  bn_cuda_sampler *sampler = nullptr;
  bn_sampling settings = {};
  float *logits = nullptr;
  Draw<Vocab> &draw;

  __device__ DrawnRow(const bn_cuda_args &args, int row, int &found) : draw(reinterpret_cast<Draw<Vocab> *>(args.draws)[row]) {
    phase([&](int t) {
      for (int i = t; i < args.token_count; i += kBlockThreads) {
        if (fresh(&args.tokens[i].logits_row) == row) found = i;
      }
    });
    position = fresh(&args.tokens[found].position);
    sampler = args.samplers + fresh(&args.tokens[found].sequence);
    settings = sampler->settings;
    choices = sampler->choices;
    logits = args.logits + int64_t{row} * Vocab;
  }

  // Whether top-k or top-p cut: then candidates are in order of their logits.
  __device__ bool takes_top_k() const { return settings.top_k > 0 && settings.top_k < choices; }
  __device__ bool takes_top_p() const { return settings.top_p < 1; }
  __device__ bool sorted() const { return takes_top_k() || takes_top_p(); }
  __device__ float least(float largest) const { return settings.min_p > 0 ? -BN_LARGEST : largest + settings.min_p; }

  // The largest logit and its id; 0 where there is none. Every thread of the block knows it afterwards.
  __device__ Sum largest(Sum &shared) const {
    phase([&](int t) {
      if (t == 0) shared = 0;
    });
    phase([&](int t) {
      Sum largest = 0;
      for (int i = t; i < kStretches; i += kBlockThreads) {
        const Sum one = fresh(&draw.largest[i]);
        largest = one > largest ? one : largest;
      }
      raise_to(&shared, largest);
    });
    return shared;
  }

  // Calls see(id, logit) for those candidates of a stretch that are thread t's.
  template <class See>
  __device__ void each_of(int stretch, int t, See see) const {
    constexpr int kEach = kStretch / 32;
    const int first = stretch * kStretch + t % 32;
    float x[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) x[i] = first + 32 * i < choices ? fresh(logits + first + 32 * i) : forbidden();
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (bn_may_be_drawn(x[i])) see(first + 32 * i, bn_bounded(x[i]));
    }
  }
};

// A bin's number does not fall with the distance from the largest logit.
__device__ __forceinline__ int bin_of(float logit, float largest) {
  const float below = largest - logit;
  return below < kBins / 32 ? static_cast<int>(below * 32.0f) : kBins - 1;
}

// ---- bias, penalties, the largest logit --------------------------------------------------------------------------------

struct AdjustShared {
  int found;
  int window[kWindow];
  Sum largest[kWarps];
};

template <int Vocab>
__device__ __forceinline__ void adjust_logits(const bn_cuda_args &args, int slice, int row, AdjustShared &s) {
  const DrawnRow<Vocab> of(args, row, s.found);
  const int first = slice * kSlice, end = min(first + kSlice, of.choices);
  const auto is_here = [&](int id) { return first <= id && id < end; };
  const auto logit = [&](int id) {
    const float x = fresh(of.logits + id);
    return bn_may_be_drawn(x) ? bn_bounded(x) : forbidden();
  };
  // The last tokens, this one included; the latest of them are at hand.
  const int last = of.position + 1, begin = max(0, last - of.settings.penalty_last_n), cached = max(begin, last - kWindow);
  const int *text = text_of(args, static_cast<int>(of.sampler - args.samplers));
  const auto token = [&](int i) { return i >= cached ? s.window[i - cached] : fresh(text + i); };
  phase([&](int t) {
    if (t < kWarps) s.largest[t] = 0;
    if (cached + t < last) s.window[t] = fresh(text + cached + t);
    if (slice == 0) of.draw.counts[t] = of.draw.plain[t] = of.draw.weights[t] = 0;
    for (int i = t; i < of.sampler->bias_count; i += kBlockThreads) {
      const bn_bias bias = of.sampler->biases[i];
      if (is_here(bias.id)) of.logits[bias.id] = logit(bias.id) + bias.bias;
    }
  });
  // The first of equal tokens counts them all.
  phase([&](int t) {
    for (int i = begin + t; i < last; i += kBlockThreads) {
      const int id = token(i);
      if (!is_here(id)) continue;
      bool first_of_equals = true;
      for (int j = begin; j < i && first_of_equals; ++j) first_of_equals = token(j) != id;
      if (!first_of_equals) continue;
      int count = 1;
      for (int j = i + 1; j < last; ++j) count += token(j) == id;
      const float x = logit(id);
      if (bn_may_be_drawn(x)) of.logits[id] = bn_penalised(x, count, of.settings);
    }
  });
  phase([&](int t) {
    Sum largest = 0;
    of.each_of(slice * kWarps + t / 32, t, [&](int id, float x) {
      const Sum one = candidate(x, id);
      largest = one > largest ? one : largest;
    });
    raise_to(&s.largest[t / 32], largest);
  });
  phase([&](int t) {
    if (t < kWarps) of.draw.largest[slice * kWarps + t] = s.largest[t];
  });
}

// ---- weights -----------------------------------------------------------------------------------------------------------

struct WeighShared {
  int found;
  Sum largest, sum;
  // Sums of a slice's weights in two parts of 18 bits each, which 4096 of them do not overflow.
  unsigned counts[kBins], plain[2][kBins], weights[2][kBins];
};

template <int Vocab>
__device__ __forceinline__ void weigh_logits(const bn_cuda_args &args, int slice, int row, WeighShared &s) {
  const DrawnRow<Vocab> of(args, row, s.found);
  const Sum best = of.largest(s.largest);
  if (best == 0 || of.settings.rate == 0) return;
  const float largest = logit_of(best);
  if (!of.sorted()) {
    const float least = of.least(largest);
    phase([&](int t) {
      if (t == 0) s.sum = 0;
    });
    phase([&](int t) {
      Sum sum = 0;
      of.each_of(slice * kWarps + t / 32, t, [&](int, float x) {
        if (x >= least) sum += bn_weight(x, largest, of.settings.rate);
      });
      add_up(&s.sum, sum);
    });
    phase([&](int t) {
      if (t == 0) of.draw.weights[slice] = s.sum;
    });
    return;
  }
  constexpr int kBits = 18;
  const auto add = [](unsigned (&sums)[2][kBins], int bin, Sum weight) {
    add_to(&sums[0][bin], static_cast<unsigned>(weight & ((1u << kBits) - 1)));
    add_to(&sums[1][bin], static_cast<unsigned>(weight >> kBits));
  };
  phase([&](int t) { s.counts[t] = s.plain[0][t] = s.plain[1][t] = s.weights[0][t] = s.weights[1][t] = 0; });
  phase([&](int t) {
    of.each_of(slice * kWarps + t / 32, t, [&](int, float x) {
      const int bin = bin_of(x, largest);
      add_to(&s.counts[bin], 1u);
      if (of.takes_top_p()) add(s.plain, bin, bn_weight(x, largest, BN_HALVINGS));
      add(s.weights, bin, bn_weight(x, largest, of.settings.rate));
    });
  });
  phase([&](int t) {
    if (s.counts[t] == 0) return;
    const auto whole = [&](const unsigned(&sums)[2][kBins]) { return (static_cast<Sum>(sums[1][t]) << kBits) + sums[0][t]; };
    add_to(&of.draw.counts[t], static_cast<Sum>(s.counts[t]));
    add_to(&of.draw.plain[t], whole(s.plain));
    add_to(&of.draw.weights[t], whole(s.weights));
  });
}

// ---- the draw ----------------------------------------------------------------------------------------------------------

struct DrawShared {
  int found, bin;
  unsigned near, stretches[kNear];
  Sum largest, sum, before, low, high, answer;
  Sum running[2][kBins];
  Sum counts[kBins];
  unsigned listed;
  Sum few[kFew], weights[kFew];
};

template <int Vocab>
struct Drawing {
  DrawShared &s;
  const DrawnRow<Vocab> of;
  const Sum best;
  const float largest;
  int from = 0;  // which of s.running holds the sums

  __device__ Drawing(const bn_cuda_args &args, int row, DrawShared &s)
      : s(s), of(args, row, s.found), best(of.largest(s.largest)), largest(logit_of(best)) {}

  // Makes value(bin) of every bin running sums.
  template <class Value>
  __device__ void add_up_bins(Value value) {
    from = 0;
    phase([&](int t) { s.running[0][t] = value(t); });
    for (int d = 1; d < kBins; d *= 2) {
      phase([&](int t) { s.running[1 - from][t] = s.running[from][t] + (t >= d ? s.running[from][t - d] : 0); });
      from = 1 - from;
    }
  }
  __device__ Sum total() const { return s.running[from][kBins - 1]; }
  __device__ Sum before(int bin) const { return bin > 0 ? s.running[from][bin - 1] : 0; }

  // The bin in which the running sum reaches `wanted`, 1 <= wanted <= total(). What is wanted of the bin is what is left.
  __device__ int enter(Sum &wanted) {
    phase([&](int t) {
      if (before(t) < wanted && wanted <= s.running[from][t]) s.bin = t, s.before = before(t);
    });
    wanted -= s.before;
    const int bin = s.bin;
    meet();
    return bin;
  }

  // Finds the stretches that have candidates in a bin or in better ones.
  __device__ void look_near(int bin) {
    phase([&](int t) {
      if (t == 0) s.near = 0;
    });
    phase([&](int t) {
      for (unsigned i = t; i < of.kStretches; i += kBlockThreads) {
        const Sum one = fresh(&of.draw.largest[i]);
        if (one == 0 || bin_of(logit_of(one), largest) > bin) continue;
        const unsigned at = add_to(&s.near, 1u);
        if (at < kNear) s.stretches[at] = i;
      }
    });
  }
  // Calls see(id, logit) for those of their candidates that are thread t's, or of all where those are too many.
  template <class See>
  __device__ void each_near(int t, See see) const {
    const bool all = s.near > kNear;
    const unsigned count = all ? of.kStretches : s.near;
    for (unsigned i = t / 32; i < count; i += kWarps) of.each_of(all ? i : s.stretches[i], t, see);
  }

  // The candidate with which the running sum of weights reaches `wanted`; `bins` are their sums, as add_up_bins has them.
  template <class Weight>
  __device__ Sum find(Sum wanted, Weight weight) {
    const int bin = enter(wanted);
    look_near(bin);
    // Better candidates are smaller here: in low to high are those that may be it.
    Sum low = 0, high = ~Sum{0}, count = fresh(&of.draw.counts[bin]);
    const auto each = [&](int t, auto see) {
      each_near(t, [&](int id, float x) {
        const Sum place = ~candidate(x, id);
        if (bin_of(x, largest) == bin && low <= place && place <= high) see(place, x);
      });
    };
    if (count > kFew) {
      phase([&](int t) {
        if (t == 0) s.low = s.high = 0;
      });
      phase([&](int t) {
        Sum least = ~Sum{0}, most = 0;
        each(t, [&](Sum place, float) {
          least = place < least ? place : least;
          most = place > most ? place : most;
        });
        raise_to(&s.low, ~least);
        raise_to(&s.high, most);
      });
      low = ~s.low, high = s.high;
    }
    while (count > kFew) {
      const int bits = 64 - leading_zeros(high - low), shift = bits > 10 ? bits - 10 : 0;
      phase([&](int t) { s.running[0][t] = s.counts[t] = 0; });
      phase([&](int t) {
        each(t, [&](Sum place, float x) {
          add_to(&s.running[0][(place - low) >> shift], weight(x));
          add_to(&s.counts[(place - low) >> shift], Sum{1});
        });
      });
      add_up_bins([&](int t) { return s.running[0][t]; });
      const Sum part = enter(wanted);
      count = s.counts[part];
      meet();
      low += part << shift;
      const Sum end = low + ((Sum{1} << shift) - 1);
      high = end < high ? end : high;
    }
    phase([&](int t) {
      if (t == 0) s.listed = 0;
    });
    phase([&](int t) {
      each(t, [&](Sum place, float x) {
        const unsigned i = add_to(&s.listed, 1u);
        s.few[i] = place, s.weights[i] = weight(x);
      });
    });
    phase([&](int t) {
      for (unsigned i = t; i < s.listed; i += kBlockThreads) {
        Sum sum = 0;
        for (unsigned j = 0; j < s.listed; ++j) {
          if (s.few[j] < s.few[i]) sum += s.weights[j];
        }
        if (sum < wanted && wanted <= sum + s.weights[i]) s.answer = s.few[i];
      }
    });
    const Sum answer = s.answer;
    meet();
    return ~answer;
  }

  // The sum of the weights of `last` and of all that are better; `bins` as in find.
  template <class Weight>
  __device__ Sum sum_to(Sum last, Weight weight) {
    const int bin = bin_of(logit_of(last), largest);
    look_near(bin);
    phase([&](int t) {
      if (t == 0) s.sum = before(bin);
    });
    phase([&](int t) {
      Sum sum = 0;
      each_near(t, [&](int id, float x) {
        if (bin_of(x, largest) == bin && candidate(x, id) >= last) sum += weight(x);
      });
      add_up(&s.sum, sum);
    });
    return s.sum;
  }

  // Top-k, top-p, min-p; then one draw, in order of logits.
  __device__ int draw_sorted(Sum random) {
    Sum last = 0;
    const auto bins = [&](const Sum *sums) { add_up_bins([sums](int t) { return fresh(sums + t); }); };
    if (of.takes_top_k()) {
      bins(of.draw.counts);
      const Sum count = of.settings.top_k;
      last = find(count < total() ? count : total(), [](float) { return Sum{1}; });
    }
    if (of.takes_top_p()) {
      const auto plain = [&](float x) -> Sum { return bn_weight(x, largest, BN_HALVINGS); };
      bins(of.draw.plain);
      const Sum all = last > 0 ? sum_to(last, plain) : total();
      last = find(bn_nucleus(all, of.settings.top_p), plain);
    }
    const Sum least = static_cast<Sum>(order_of(of.least(largest))) << 32;
    last = least > last ? least : last;
    const auto weight = [&](float x) -> Sum { return bn_weight(x, largest, of.settings.rate); };
    bins(of.draw.weights);
    return id_of(find(bn_drawn(sum_to(last, weight), random), weight));
  }

  // One draw of what min-p leaves, in order of ids: four of them are a bin.
  __device__ int draw_by_ids(Sum random) {
    add_up_bins([&](int t) { return t < Draw<Vocab>::kSlices ? fresh(&of.draw.weights[t]) : 0; });
    Sum wanted = bn_drawn(total(), random);
    const int first = enter(wanted) * kSlice;
    const float least = of.least(largest);
    const auto weight = [&](int id) -> Sum {
      const float x = id < of.choices ? fresh(of.logits + id) : forbidden();
      return bn_may_be_drawn(x) && bn_bounded(x) >= least ? bn_weight(bn_bounded(x), largest, of.settings.rate) : 0;
    };
    add_up_bins([&](int t) {
      const int id = first + 4 * t;
      return weight(id) + weight(id + 1) + weight(id + 2) + weight(id + 3);
    });
    int id = first + 4 * enter(wanted);
    for (Sum sum = weight(id); sum < wanted; sum += weight(id)) ++id;
    return id;
  }

  // The token, or -1 where there is none; and the random numbers, which go on by one for each position.
  __device__ int run() {
    bn_random random;
    for (int i = 0; i < 4; ++i) random.words[i] = fresh(&of.sampler->random.words[i]);
    for (int i = fresh(&of.sampler->position); i < of.position; ++i) bn_random_advance(random);
    int id = id_of(best);
    if (best > 0 && of.settings.rate != 0) {
      const Sum value = bn_random_value(random);
      id = of.sorted() ? draw_sorted(value) : draw_by_ids(value);
    }
    phase([&](int t) {
      if (t != 0) return;
      of.sampler->random = random;
      of.sampler->position = of.position;
    });
    return id;
  }
};

// Rotary positions, the KV cache and causal grouped-query attention: 4 heads of 24 on 2 of keys and values.
//
// The cache of a sequence is cut into blocks of kBlock positions, so that what is used of it lies together, and huge pages
// take little more memory than that. In a block, for each layer and KV head: keys as [position / 16][dimension]
// [position % 16], so that one vector holds sixteen positions' worth of one dimension and scores need no horizontal sums;
// then values as [position][dimension].
// Written from templates/cpp/attention.cpp.hbs for target arm-neon.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "angles.h"
#include "attention.h"
#include "rows.h"
#include "team.h"

namespace {

constexpr int kHeads = 4;
constexpr int kKvHeads = 2;
constexpr int kGroup = kHeads / kKvHeads; // query heads that share a KV head
constexpr int kDim = 24;
constexpr int kRow = 32; // a head's floats, padded to whole vectors
constexpr int kQkv = 192, kKey = 96, kValue = 144; // floats: a token's q, k and v
constexpr int kOut = 96;
constexpr int kRotated = 24; // dimensions of a head that rotate
constexpr int kTokens = 8; // tokens of a sequence that share each key and value read
constexpr int kQueries = 4, kWide = 1; // in registers: queries x sixteens of positions or dimensions
constexpr int kRun = 64; // positions whose keys or values stay in the first cache
constexpr int kBlock = 128; // positions of a block of the KV cache
static_assert(kBlock % kRun == 0, "a run stays in its block");
constexpr float kEpsilon = 0.000009999999747378752f;

const double kFrequencies[kRotated / 2] = {
    1.0,
    0.4641588833612779,
    0.2154434690031884,
    0.1,
    0.046415888336127795,
    0.021544346900318832,
    0.01,
    0.004641588833612777,
    0.0021544346900318843,
    0.001,
    0.00046415888336127773,
    0.00021544346900318845,
};

// Of layers that attend to a window.
const double kLocalFrequencies[kRotated / 2] = {
    1.0,
    0.6812920690579612,
    0.4641588833612779,
    0.31622776601683794,
    0.2154434690031884,
    0.14677992676220694,
    0.1,
    0.06812920690579612,
    0.046415888336127795,
    0.03162277660168379,
    0.021544346900318832,
    0.014677992676220698,
};

inline void store(float *p, bn_f32 v) { bn_store(p, v); }
inline void store(uint16_t *p, bn_f32 v) { bn_store_f16(p, v); }

inline int64_t padded(int64_t positions) { return (positions + 15) / 16 * 16; }

// Positions of a block: a cache that is smaller than one is a smaller block.
inline int64_t block_positions(int32_t capacity) { return capacity < kBlock ? padded(capacity) : kBlock; }

// What a block holds of one layer and KV head, and of all of them.
inline int64_t head_values(int32_t capacity) { return block_positions(capacity) * (kDim + kRow); }
inline int64_t block_values(int32_t capacity) { return int64_t{2} * kKvHeads * head_values(capacity); }

// Where one layer's and KV head's keys and values stand in the cache: in its first block, and how far apart blocks are.
template <typename Cache>
struct Slot {
  Cache *first_keys, *first_values;
  int64_t stride;

  // Of sixteen positions, from the one that is asked for; the next ones follow, up to the end of its block.
  Cache *keys(int32_t position) const {
    return first_keys + position / kBlock * stride + position % kBlock / 16 * 16 * kDim + position % 16;
  }
  // Of one position, and so on.
  Cache *values(int32_t position) const {
    return first_values + position / kBlock * stride + position % kBlock * kRow;
  }
};

template <typename Cache>
inline Slot<Cache> slot(const bn_step_args *args, int32_t sequence, int32_t layer, int32_t head) {
  const int32_t capacity = args->kv_capacity;
  Cache *base = reinterpret_cast<Cache *>(args->kv + sequence * args->kv_sequence_bytes);
  base += (int64_t{layer} * kKvHeads + head) * head_values(capacity);
  return {base, base + block_positions(capacity) * kDim, block_values(capacity)};
}

// Where the run that a position is in ends, or `end` where that comes first.
inline int32_t run_end(int32_t position, int32_t end) {
  const int32_t next = (position / kRun + 1) * kRun;
  return next < end ? next : end;
}

// Rotates each dimension of the first half with its partner in the second: (i, i + 12).
inline void rotate(float *head, const float *angles) {
  const float *cosine = angles, *sine = angles + kRotated / 2;
  for (int i = 0; i < kRotated / 2; ++i) {
    const float a = head[i], b = head[i + kRotated / 2];
    head[i] = a * cosine[i] - b * sine[i];
    head[i + kRotated / 2] = b * cosine[i] + a * sine[i];
  }
}

inline void norm_head(float *head, const float *weight) {
  alignas(64) float row[kRow] = {};
  std::memcpy(row, head, sizeof(float) * kDim);
  bn_rms_norm<kRow>(row, row, weight, kDim, kEpsilon);
  std::memcpy(head, row, sizeof(float) * kDim);
}

template <typename Cache>
void store_kv(const bn_step_args *args, const bn_token &token, int32_t layer, int32_t head, float *qkv,
              const float *angles, const float *norm) {
  const Slot<Cache> cache = slot<Cache>(args, token.sequence, layer, head);
  float *key = qkv + kKey + head * kDim;
  norm_head(key, norm);
  rotate(key, angles);
  alignas(64) float row[kRow] = {};
  Cache converted[kRow];
  std::memcpy(row, key, sizeof(float) * kDim);
  for (int i = 0; i < kRow; i += BN_LANES) store(converted + i, bn_load(row + i));
  Cache *keys = cache.keys(token.position);
  for (int d = 0; d < kDim; ++d) keys[d * 16] = converted[d];

  std::memcpy(row, qkv + kValue + head * kDim, sizeof(float) * kDim);
  Cache *values = cache.values(token.position);
  for (int i = 0; i < kRow; i += BN_LANES) store(values + i, bn_load(row + i));
}

// Turns the scores of positions `first` to length - 1 into weights that add up to 1; zero before and behind, to `end`.
inline void softmax(float *scores, int32_t first, int32_t length, int32_t end) {
  for (int32_t i = 0; i < first; ++i) scores[i] = -INFINITY;
  for (int32_t i = length; i < end; ++i) scores[i] = -INFINITY;
  bn_f32 top = bn_set(-INFINITY);
  for (int32_t i = 0; i < end; i += BN_LANES) top = bn_max(top, bn_load(scores + i));
  const bn_f32 highest = bn_set(bn_reduce_max(top));
  for (int32_t i = 0; i < end; i += BN_LANES) bn_store(scores + i, bn_exp(bn_sub(bn_load(scores + i), highest)));
  for (int32_t i = 0; i < first; ++i) scores[i] = 0.0f;
  for (int32_t i = length; i < end; ++i) scores[i] = 0.0f;
  bn_f32x16 sum = bn_zero16();
  for (int32_t i = 0; i < end; i += 16) bn_add16(sum, bn_load16(scores + i));
  const bn_f32 scale = bn_set(1.0f / bn_total(sum));
  for (int32_t i = 0; i < end; i += BN_LANES) bn_store(scores + i, bn_mul(bn_load(scores + i), scale));
}

// Keys or values of a run of positions, as the tiles read them: what many queries share is made float32 once, and for few
// it is converted as it is loaded.
template <bool Shared, typename Cache>
inline auto run_of(const Cache *from, int64_t count, float *converted) {
  if constexpr (Shared && sizeof(Cache) != sizeof(float)) {
    for (int64_t i = 0; i < count; i += 16) bn_store16(converted + i, bn_load16_f16(from + i));
    return static_cast<const float *>(converted);
  } else {
    return from;
  }
}

inline bn_f32x16 load_16(const float *p) { return bn_load16(p); }
inline bn_f32x16 load_16(const uint16_t *p) { return bn_load16_f16(p); }

// sum += factor * values
inline void add_16(bn_f32x16 &sum, float factor, const bn_f32x16 &values) {
  BN_UNROLL for (int i = 0; i < 16 / BN_LANES; ++i) {
    sum.part[i] = bn_fma(bn_set(factor), values.part[i], sum.part[i]);
  }
}

// Fetches what comes next, unless what is read now had to be converted first: then it is there already.
template <typename Value, typename Cache>
inline void fetch(const Cache *p) {
  if constexpr (std::is_same_v<Value, Cache>) bn_prefetch(p);
}

// Scores of Several queries at Wide times sixteen positions. Meanwhile as many keys at `next` are fetched. A function of its
// own, as is the next one: inlined, compilers keep part of a tile in memory.
template <int Several, int Wide, typename Value, typename Cache>
[[gnu::noinline]] void score(float *scores, int64_t stride, const float *query, const Value *keys, const Cache *next) {
  bn_f32x16 sum[Several][Wide];
  BN_UNROLL for (int i = 0; i < Several; ++i) {
    BN_UNROLL for (int w = 0; w < Wide; ++w) sum[i][w] = bn_zero16();
  }
  for (int d = 0; d < kDim; ++d) {
    bn_f32x16 key[Wide];
    BN_UNROLL for (int w = 0; w < Wide; ++w) {
      key[w] = load_16(keys + (w * kDim + d) * 16);
      fetch<Value>(next + (w * kDim + d) * 16);
    }
    BN_UNROLL for (int i = 0; i < Several; ++i) {
      BN_UNROLL for (int w = 0; w < Wide; ++w) add_16(sum[i][w], query[i * kRow + d], key[w]);
    }
  }
  BN_UNROLL for (int i = 0; i < Several; ++i) {
    BN_UNROLL for (int w = 0; w < Wide; ++w) {
      BN_UNROLL for (int l = 0; l < 16; l += BN_LANES) {
        bn_store(scores + i * stride + w * 16 + l, bn_mul(sum[i][w].part[l / BN_LANES], bn_set(0.20412415266036987f)));
      }
    }
  }
}

// Adds values, weighted, to what Several queries have mixed from the positions before, of the dimensions from `first` to
// `last`. Meanwhile as many values at `next` are fetched. Weights of a query are kRun apart.
template <int Several, typename Value, typename Cache>
[[gnu::noinline]] void mix(float *mixed, const float *weights, const Value *values, const Cache *next, int32_t positions,
                           int first, int last) {
  for (int d = first; d < last; d += kWide * 16) {
    bn_f32x16 sum[Several][kWide];
    BN_UNROLL for (int i = 0; i < Several; ++i) {
      BN_UNROLL for (int w = 0; w < kWide; ++w) sum[i][w] = bn_load16(mixed + i * kRow + d + w * 16);
    }
    for (int32_t position = 0; position < positions; ++position) {
      bn_f32x16 value[kWide];
      BN_UNROLL for (int w = 0; w < kWide; ++w) value[w] = load_16(values + position * kRow + d + w * 16);
      fetch<Value>(next + position * kRow + d);
      BN_UNROLL for (int i = 0; i < Several; ++i) {
        BN_UNROLL for (int w = 0; w < kWide; ++w) add_16(sum[i][w], weights[i * kRun + position], value[w]);
      }
    }
    BN_UNROLL for (int i = 0; i < Several; ++i) {
      BN_UNROLL for (int w = 0; w < kWide; ++w) bn_store16(mixed + i * kRow + d + w * 16, sum[i][w]);
    }
  }
}

// A token's queries of one KV head.
inline void copy_queries(float *queries, const float *qkv, int32_t head) {
  for (int i = 0; i < kGroup; ++i) {
    std::memcpy(queries + i * kRow, qkv + (head * kGroup + i) * kDim, sizeof(float) * kDim);
  }
}

// Queries of one KV head: Count of them, which share each key and value that is read. Every query adds up in the same
// order, whatever it shares the work with.
template <int Count, typename Cache>
struct Queries {
  static constexpr int kWhole = Count / kQueries * kQueries, kRest = Count - kWhole;
  static constexpr bool kShared = Count > kQueries;

  const Slot<Cache> cache;
  const float *query; // [Count][kRow]
  float *rows; // of each query: scores of the positions, later their weights
  int64_t stride;
  float *converted; // room for a run

  // Scores of the positions `begin` to `end`: whole sixteens.
  void score_all(int32_t begin, int32_t end) const {
    for (int32_t from = begin; from < end; from = run_end(from, end)) {
      const int32_t to = run_end(from, end);
      const auto *keys = run_of<kShared>(cache.keys(from), int64_t{to - from} * kDim, converted);
      const auto at = [&](int32_t position, auto wide) {
        constexpr int kWidth = decltype(wide)::value;
        float *scores = rows + position;
        const auto *block = keys + int64_t{position - from} * kDim;
        const Cache *next = cache.keys(position + kWidth * 16);
        for (int i = 0; i < kWhole; i += kQueries) {
          score<kQueries, kWidth>(scores + i * stride, stride, query + i * kRow, block, next);
        }
        if constexpr (kRest > 0) {
          score<kRest, kWidth>(scores + kWhole * stride, stride, query + kWhole * kRow, block, next);
        }
      };
      int32_t position = from;
      for (; position + kWide * 16 <= to; position += kWide * 16) at(position, std::integral_constant<int, kWide>());
      for (; position < to; position += 16) at(position, std::integral_constant<int, 1>());
    }
  }

  // mixed[query][dimension] = weighted values of the positions `begin` to `end`, of some dimensions.
  void mix_all(float *mixed, int32_t begin, int32_t end, int first, int last) const {
    for (int i = 0; i < Count; ++i) std::memset(mixed + i * kRow + first, 0, sizeof(float) * (last - first));
    for (int32_t from = begin; from < end; from = run_end(from, end)) {
      const int32_t to = run_end(from, end);
      const auto *values = run_of<kShared>(cache.values(from), int64_t{to - from} * kRow, converted);
      const Cache *next = cache.values(to);
      alignas(64) float weights[kQueries * kRun];
      const auto gather = [&](int begin, int count) {
        for (int i = 0; i < count; ++i) {
          std::memcpy(weights + i * kRun, rows + (begin + i) * stride + from, sizeof(float) * (to - from));
        }
      };
      for (int i = 0; i < kWhole; i += kQueries) {
        gather(i, kQueries);
        mix<kQueries>(mixed + i * kRow, weights, values, next, to - from, first, last);
      }
      if constexpr (kRest > 0) {
        gather(kWhole, kRest);
        mix<kRest>(mixed + kWhole * kRow, weights, values, next, to - from, first, last);
      }
    }
  }
};

// The first position of a token's window.
inline int32_t window_begin(int32_t position, int32_t window) { return position < window ? 0 : position - window + 1; }

// Attention of `Tokens` consecutive tokens of a sequence, for the query heads of one KV head.
template <typename Cache, int Tokens>
void attend(const Slot<Cache> cache, int32_t head, int32_t first_position, int32_t window, const float *qkv, float *out,
            float *scratch) {
  constexpr int kCount = Tokens * kGroup;
  const int32_t length = first_position + Tokens; // of the last token
  const int32_t end = static_cast<int32_t>(padded(length));
  // From a whole block of sixteen positions: those before a query's window get weights of zero, which change no sum.
  const int32_t begin = window_begin(first_position, window) / 16 * 16;
  float *mixed = scratch + kRun * kRow, *query = mixed + kCount * kRow, *rows = query + kCount * kRow;
  const Queries<kCount, Cache> queries = {cache, query, rows, end, scratch};
  for (int t = 0; t < Tokens; ++t) copy_queries(query + t * kGroup * kRow, qkv + int64_t{t} * kQkv, head);
  queries.score_all(begin, end);
  for (int i = 0; i < kCount; ++i) {
    const int32_t position = first_position + i / kGroup;
    softmax(rows + int64_t{i} * end + begin, window_begin(position, window) - begin, position + 1 - begin, end - begin);
  }
  queries.mix_all(mixed, begin, length, 0, kRow);
  for (int i = 0; i < kCount; ++i) {
    std::memcpy(out + int64_t{i / kGroup} * kOut + (head * kGroup + i % kGroup) * kDim, mixed + i * kRow,
                sizeof(float) * kDim);
  }
}

// Attention of one token, where threads would have unequal numbers of KV heads: they share the positions of all heads as
// they score, and then the dimensions of all heads as they mix. Scores lie in what `shared` points to.
template <typename Cache>
void attend_evenly(const bn_step_args *args, int32_t layer, int32_t window, const float *qkv, float *out,
                   float *scratch, float *shared, const bn_worker &me) {
  const bn_token &token = args->tokens[0];
  const int32_t length = token.position + 1, end = static_cast<int32_t>(padded(length));
  const int32_t begin = window_begin(token.position, window) / 16 * 16;
  float *mixed = scratch + kRun * kRow, *query = mixed + kGroup * kRow, *weights = query + kGroup * kRow;
  const auto queries_of = [&](int32_t head) {
    copy_queries(query, qkv, head);
    float *rows = shared + int64_t{head} * kGroup * end;
    return Queries<kGroup, Cache>{slot<Cache>(args, token.sequence, layer, head), query, rows, end, scratch};
  };

  // In units of sixteen positions, head after head.
  const int32_t units = (end - begin) / 16;
  const bn_range scored = bn_share(kKvHeads * units, 1, me.thread, me.threads);
  for (int32_t unit = scored.begin; unit < scored.end;) {
    const int32_t head = unit / units, first = unit % units;
    const int32_t last = scored.end - unit < units - first ? first + scored.end - unit : units;
    queries_of(head).score_all(begin + first * 16, begin + last * 16);
    unit += last - first;
  }
  bn_barrier(args->team);

  // In units of a few dimensions.
  constexpr int kUnit = kWide * 16, kUnits = kRow / kUnit;
  const bn_range mine = bn_share(kKvHeads * kUnits, 1, me.thread, me.threads);
  for (int32_t unit = mine.begin; unit < mine.end;) {
    const int32_t head = unit / kUnits, first = unit % kUnits;
    const int32_t last = mine.end - unit < kUnits - first ? first + mine.end - unit : kUnits;
    Queries<kGroup, Cache> queries = queries_of(head);
    std::memcpy(weights, queries.rows, sizeof(float) * kGroup * end);
    queries.rows = weights;
    for (int i = 0; i < kGroup; ++i) {
      softmax(weights + int64_t{i} * end + begin, window_begin(token.position, window) - begin, length - begin, end - begin);
    }
    queries.mix_all(mixed, begin, length, first * kUnit, last * kUnit);
    const int width = last * kUnit < kDim ? last * kUnit - first * kUnit : kDim - first * kUnit;
    for (int i = 0; i < kGroup; ++i) {
      std::memcpy(out + (head * kGroup + i) * kDim + first * kUnit, mixed + i * kRow + first * kUnit,
                  sizeof(float) * width);
    }
    unit += last - first;
  }
}

// Cosines and sines of a position.
inline void turn(float *angles, int32_t position, const double *frequencies) {
  for (int i = 0; i < kRotated / 2; ++i) {
    const bn_sine_cosine pair = bn_turn(position * frequencies[i]);
    angles[i] = static_cast<float>(pair.cosine);
    angles[kRotated / 2 + i] = static_cast<float>(pair.sine);
  }
}

// Whether the next kTokens tokens of the batch belong to one sequence.
inline bool same_sequence(const bn_step_args *args, int32_t token) {
  return token + kTokens <= args->token_count &&
         args->tokens[token].sequence == args->tokens[token + kTokens - 1].sequence;
}

// Tokens that are attended to together are a block. Of the first `most` blocks: how many there are, and their tokens.
struct Blocks {
  int32_t count, tokens;
};

inline Blocks first_blocks(const bn_step_args *args, int32_t most) {
  Blocks blocks = {0, 0};
  for (; blocks.count < most && blocks.tokens < args->token_count; ++blocks.count) {
    blocks.tokens += same_sequence(args, blocks.tokens) ? kTokens : 1;
  }
  return blocks;
}

template <typename Cache>
void attend_all(const bn_step_args *args, int32_t layer, int32_t window, const float *qkv, float *out, float *scratch,
                float *shared, bn_worker &me) {
  if (args->token_count == 1 && kKvHeads % args->team->threads != 0) {
    attend_evenly<Cache>(args, layer, window, qkv, out, scratch, shared, me);
    return;
  }
  // In blocks of tokens, head after head: a thread meets the keys and values of few heads.
  const int32_t blocks = first_blocks(args, args->token_count).count;
  bn_share_out(me, kKvHeads * blocks, 1, [&](bn_range task) {
    const int32_t head = task.begin / blocks, token = first_blocks(args, task.begin % blocks).tokens;
    const bn_token &first = args->tokens[token];
    const Slot<Cache> cache = slot<Cache>(args, first.sequence, layer, head);
    const float *token_qkv = qkv + int64_t{token} * kQkv;
    float *token_out = out + int64_t{token} * kOut;
    if (same_sequence(args, token)) {
      attend<Cache, kTokens>(cache, head, first.position, window, token_qkv, token_out, scratch);
    } else {
      attend<Cache, 1>(cache, head, first.position, window, token_qkv, token_out, scratch);
    }
  });
}

} // namespace

int64_t bn_kv_bytes(int32_t kv_type, int32_t kv_capacity) {
  const int64_t positions = block_positions(kv_capacity);
  const int64_t values = (kv_capacity + positions - 1) / positions * block_values(kv_capacity);
  return (values * (kv_type == BN_KV_F16 ? 2 : 4) + 63) / 64 * 64;
}

void bn_rope_angles(float *angles, int32_t position) { turn(angles, position, kFrequencies); }

void bn_local_rope_angles(float *angles, int32_t position) { turn(angles, position, kLocalFrequencies); }

void bn_rope_store(const bn_step_args *args, int32_t layer, float *qkv, const float *angles, const float *query_norm,
                   const float *key_norm, int32_t thread) {
  constexpr int kItems = kHeads + kKvHeads;
  const int32_t threads = static_cast<int32_t>(args->team->threads);
  const bn_range mine = bn_share(args->token_count * kItems, 1, thread, threads);
  for (int32_t item = mine.begin; item < mine.end; ++item) {
    const int32_t t = item / kItems, head = item % kItems;
    float *token_qkv = qkv + int64_t{t} * kQkv;
    const float *token_angles = angles + int64_t{t} * 32;
    if (head < kHeads) {
      norm_head(token_qkv + head * kDim, query_norm);
      rotate(token_qkv + head * kDim, token_angles);
    } else if (args->kv_type == BN_KV_F16) {
      store_kv<uint16_t>(args, args->tokens[t], layer, head - kHeads, token_qkv, token_angles, key_norm);
    } else {
      store_kv<float>(args, args->tokens[t], layer, head - kHeads, token_qkv, token_angles, key_norm);
    }
  }
}

void bn_attention(const bn_step_args *args, int32_t layer, int32_t window, const float *qkv, float *out, float *scratch,
                  float *shared, bn_worker &me) {
  if (args->kv_type == BN_KV_F16) {
    attend_all<uint16_t>(args, layer, window, qkv, out, scratch, shared, me);
  } else {
    attend_all<float>(args, layer, window, qkv, out, scratch, shared, me);
  }
}

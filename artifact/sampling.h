/* How the next token is drawn from logits: the settings of a sequence, and the arithmetic that CPUs and GPUs share, so that
 * both draw the same token from the same logits. runtime/native/engine/sampler.h says in which steps.
 *
 * Weights (what a softmax exponentiates to) are integers: their sums do not depend on the order of addition. What is in
 * float or double is one operation a statement, which every compiler rounds as IEEE 754 has it: nothing may be contracted to
 * a fused multiply-add.
 */
#ifndef BN_SAMPLING_H
#define BN_SAMPLING_H

#include "abi.h"

#ifdef __CUDACC__
#define BN_SHARED __host__ __device__ inline
#else
#define BN_SHARED inline
#endif

/* The largest float. Logits beyond it count as equal to it; what is below -BN_LARGEST, or no number, is never drawn. */
#define BN_LARGEST 3.402823466e38f

typedef struct bn_sampling {
  double rate; /* log2(e) / temperature: how often a weight is halved for each 1 that a logit lies below the largest; 0: the
                  largest logit is taken */
  double top_p;              /* 1: all */
  double repetition_penalty; /* 1: none */
  double presence_penalty, frequency_penalty;
  float min_p;            /* log(min-p), what is added to the largest logit for the least one; above 0: all */
  int32_t top_k;          /* 0: all */
  int32_t penalty_last_n; /* how many of the last tokens are penalised; 0: none are */
} bn_sampling;

/* What is added to the logit of a token; of each token there is one at most. */
typedef struct bn_bias {
  int32_t id;
  float bias;
} bn_bias;

BN_SHARED bool bn_may_be_drawn(float logit) { return logit >= -BN_LARGEST; }
BN_SHARED float bn_bounded(float logit) { return logit < BN_LARGEST ? logit : BN_LARGEST; }

/* Of a logit that may be drawn, and of a token that is `count` times among those that are penalised. */
BN_SHARED float bn_penalised(float logit, int32_t count, const bn_sampling &of) {
  const double value = logit;
  const double repeated = value > 0 ? value / of.repetition_penalty : value * of.repetition_penalty;
  const double frequent = count * of.frequency_penalty;
  const double less = repeated - frequent;
  return static_cast<float>(less - of.presence_penalty);
}

/* A weight: 2^36 e^((logit - largest) / temperature), within 2^-29 of it and rounded down. */
constexpr uint64_t BN_LARGEST_WEIGHT = uint64_t{1} << 36;
BN_SHARED uint64_t bn_weight(float logit, float largest, double rate) {
  if (logit == largest) return BN_LARGEST_WEIGHT;
  const double below = static_cast<double>(largest) - logit;
  const double halvings = below * rate;
  if (!(halvings < 37)) return 0;
  const uint64_t fixed = static_cast<uint64_t>(static_cast<int64_t>(halvings * 4294967296.0));
  // 2^-f = 1 - f (c1 - f (c2 - ...)), 32 bits behind the point: the polynomial that meets it in the zeros of Chebyshev's.
  const uint64_t f = fixed & 0xffffffff;
  uint64_t sum = 0x9c200 - (f * 0xbda6 >> 32);
  sum = 0x5728b0 - (f * sum >> 32);
  sum = 0x27641a9 - (f * sum >> 32);
  sum = 0xe358127 - (f * sum >> 32);
  sum = 0x3d7f7bcb - (f * sum >> 32);
  sum = 0xb17217f7 - (f * sum >> 32);
  sum = 0x100000000 - (f * sum >> 32);
  return sum << 4 >> (fixed >> 32);
}

/* log2(e) */
constexpr double BN_HALVINGS = 1.4426950408889634;

/* Of a sum of weights, in their order, what has to be reached for top-p: at least 1. */
BN_SHARED uint64_t bn_nucleus(uint64_t total, double top_p) {
  const double share = top_p * static_cast<double>(total);
  uint64_t least = static_cast<uint64_t>(share);
  if (static_cast<double>(least) < share) ++least;
  if (least > total) least = total;
  return least > 0 ? least : 1;
}

/* xoshiro256++ of Blackman and Vigna. */
typedef struct bn_random {
  uint64_t words[4];
} bn_random;

BN_SHARED uint64_t bn_rotated(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

/* The number that a state gives. */
BN_SHARED uint64_t bn_random_value(const bn_random &state) {
  return bn_rotated(state.words[0] + state.words[3], 23) + state.words[0];
}

BN_SHARED void bn_random_advance(bn_random &state) {
  uint64_t *words = state.words;
  const uint64_t shifted = words[1] << 17;
  words[2] ^= words[0];
  words[3] ^= words[1];
  words[1] ^= words[2];
  words[0] ^= words[3];
  words[2] ^= shifted;
  words[3] = bn_rotated(words[3], 45);
}

/* Of a sum of weights, in their order, what has to be reached for the token that a random number draws: from 1 to total,
 * 1 + floor(u total), where u has the upper 53 bits of the number behind the point. */
BN_SHARED uint64_t bn_drawn(uint64_t total, uint64_t random) {
  const uint64_t u = random >> 11, high = u >> 32, low = u & 0xffffffff;
  const uint64_t total_high = total >> 32, total_low = total & 0xffffffff;
  const uint64_t middle = high * total_low + (low * total_low >> 32);
  const uint64_t other = low * total_high + (middle & 0xffffffff);
  const uint64_t upper = high * total_high + (middle >> 32) + (other >> 32), lower = other & 0xffffffff;
  // (upper * 2^64 + lower * 2^32 + ...) / 2^53
  return 1 + (upper << 11 | lower >> 21);
}

#endif

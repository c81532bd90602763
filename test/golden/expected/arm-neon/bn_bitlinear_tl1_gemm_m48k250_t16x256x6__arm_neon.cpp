// bn_bitlinear_tl1_gemm_m48k250_t16x256x6__arm_neon
// y[t][m] = (sum over k of (code[m][k] - 1) * q[t][k]) * group_scale[m / 16] * inverse_scale[t], for many tokens.
//
// Weights, as row groups of 16 rows, each a run of 256-byte blocks of 64 columns: four lanes j, four steps s in each.
//
//   byte 64s + 16j + r    bits 7..4                 bits 3..0
//   row r, columns        16j + 4s + 2, 3           16j + 4s + 0, 1            weights (a, b) as 3 (a + 1) + (b + 1)
//
// The groups of a tile are unpacked to a panel of bytes, [column / 4][group][row][column % 4], code = weight + 1, which the
// caches hold while all tokens pass over it.
//
// Tile: 16 rows x 6 tokens. Bounds: 256 * 256 <= 2147483647 (int32).
// Written from templates/cpp/bitlinear_tl1_gemm.cpp.hbs for target arm-neon.
#include "kernels.h"
#include "rows.h"

namespace {

constexpr int32_t kBlocks = 4; // of 64 columns: K = 250, padded
constexpr int32_t kQuads = 64; // of columns, those that there are activations for
constexpr int32_t kTokens = 6; // tokens in registers
constexpr int64_t kGroupBytes = int64_t{kBlocks} * 256;

template <int Groups>
inline void unpack(uint8_t *panel, const uint8_t *weights) {
  for (int32_t block = 0; block < kBlocks; ++block) {
    for (int g = 0; g < Groups; ++g) {
      bn_tl1_unpack(panel + (int64_t{block} * 16 * Groups + g) * 64, Groups * 64,
                    weights + g * kGroupBytes + int64_t{block} * 256);
    }
  }
}

template <int Groups, int Tokens>
inline void tile(const bn_bitlinear_args *args, int32_t group, int32_t token) {
  const uint8_t *panel = args->scratch;
  const int8_t *q = args->q + int64_t{token} * kQuads * 4;
    bn_dot_sum sum[Groups][Tokens];
    BN_UNROLL for (int g = 0; g < Groups; ++g) {
      BN_UNROLL for (int t = 0; t < Tokens; ++t) sum[g][t] = bn_dot_zero();
    }
    for (int32_t quad = 0; quad < kQuads; ++quad) {
      bn_u8x64 codes[Groups];
      BN_UNROLL for (int g = 0; g < Groups; ++g) codes[g] = bn_load_panel(panel + (int64_t{quad} * Groups + g) * 64);
      BN_UNROLL for (int t = 0; t < Tokens; ++t) {
        const bn_quad x = bn_load_quad(q + int64_t{t} * kQuads * 4 + quad * 4);
        BN_UNROLL for (int g = 0; g < Groups; ++g) bn_dot_add(sum[g][t], codes[g], x);
      }
    }
  BN_UNROLL for (int t = 0; t < Tokens; ++t) {
    const bn_quant quant = args->quant[token + t];
    float *y = args->y + (token + t) * args->y_stride + int64_t{group} * 16;
    BN_UNROLL for (int g = 0; g < Groups; ++g) {
      const float scale = args->group_scales[group + g] * quant.inverse_scale;
      const bn_i32x16 sums = bn_dot_total(sum[g][t]);
      if (args->accumulate) {
        bn_add_rows(y + g * 16, sums, quant.sum, scale);
      } else {
        bn_store_rows(y + g * 16, sums, quant.sum, scale);
      }
    }
  }
}

template <int Groups>
void rows(const bn_bitlinear_args *args, int32_t group) {
  unpack<Groups>(args->scratch, args->weights + group * kGroupBytes);
  int32_t token = 0;
  for (; token + kTokens <= args->tokens; token += kTokens) tile<Groups, kTokens>(args, group, token);
  for (; token + 4 <= args->tokens; token += 4) tile<Groups, 4>(args, group, token);
  for (; token < args->tokens; ++token) tile<Groups, 1>(args, group, token);
}

} // namespace

void bn_bitlinear_tl1_gemm_m48k250_t16x256x6__arm_neon(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  int32_t group = group_begin;
  for (; group < group_end; ++group) rows<1>(args, group);
}

// bn_bitlinear_i2_gemm_m64k400_t32x64x12__x86_avx512vnni
// y[t][m] = (sum over k of (code[m][k] - 1) * q[t][k]) * group_scale[m / 16] * inverse_scale[t], for many tokens.
//
// Weights, as row groups of 16 rows, each a run of 64-byte blocks of 16 columns:
//
//   byte 4r + j of a block    bits 7..6       5..4       3..2       1..0
//   row r, column             12 + j          8 + j      4 + j      j          code = weight + 1
//
// The groups of a tile are unpacked to a panel of bytes, [column / 4][group][row][column % 4], code = weight + 1, which the
// caches hold while all tokens pass over it.
//
// Tile: 32 rows x 12 tokens, running sums widened every 64 columns. Bounds: 256 * 400 <= 2147483647 (int32).
// Written from templates/cpp/bitlinear_i2_gemm.cpp.hbs for target x86-avx512vnni.
#include "kernels.h"
#include "rows.h"

namespace {

constexpr int32_t kBlocks = 25; // of 16 columns: K = 400
constexpr int32_t kQuads = 100; // of columns, those that there are activations for
constexpr int32_t kChunk = 16; // quads that a running sum may take before it is widened
constexpr int32_t kTile = 2; // row groups in registers
constexpr int32_t kTokens = 12; // tokens in registers
constexpr int64_t kGroupBytes = int64_t{kBlocks} * 64;

template <int Groups>
inline void unpack(uint8_t *panel, const uint8_t *weights) {
  for (int32_t block = 0; block < kBlocks; ++block) {
    for (int g = 0; g < Groups; ++g) {
      bn_i2_unpack(panel + (int64_t{block} * 4 * Groups + g) * 64, Groups * 64,
                    weights + g * kGroupBytes + int64_t{block} * 64);
    }
  }
}

template <int Groups, int Tokens>
inline void tile(const bn_bitlinear_args *args, int32_t group, int32_t token) {
  const uint8_t *panel = args->scratch;
  const int8_t *q = args->q + int64_t{token} * kQuads * 4;
  bn_i32x16 total[Groups][Tokens];
  for (int g = 0; g < Groups; ++g) {
    for (int t = 0; t < Tokens; ++t) total[g][t] = bn_i32x16_zero();
  }
  for (int32_t first = 0; first < kQuads; first += kChunk) {
    const int32_t last = first + kChunk < kQuads ? first + kChunk : kQuads;
    bn_dot_sum sum[Groups][Tokens];
    BN_UNROLL for (int g = 0; g < Groups; ++g) {
      BN_UNROLL for (int t = 0; t < Tokens; ++t) sum[g][t] = bn_dot_zero();
    }
    for (int32_t quad = first; quad < last; ++quad) {
      bn_u8x64 codes[Groups];
      BN_UNROLL for (int g = 0; g < Groups; ++g) codes[g] = bn_load_panel(panel + (int64_t{quad} * Groups + g) * 64);
      BN_UNROLL for (int t = 0; t < Tokens; ++t) {
        const bn_quad x = bn_load_quad(q + int64_t{t} * kQuads * 4 + quad * 4);
        BN_UNROLL for (int g = 0; g < Groups; ++g) bn_dot_add(sum[g][t], codes[g], x);
      }
    }
    for (int g = 0; g < Groups; ++g) {
      for (int t = 0; t < Tokens; ++t) total[g][t] = bn_i32x16_add(total[g][t], bn_dot_total(sum[g][t]));
    }
  }
  BN_UNROLL for (int t = 0; t < Tokens; ++t) {
    const bn_quant quant = args->quant[token + t];
    float *y = args->y + (token + t) * args->y_stride + int64_t{group} * 16;
    BN_UNROLL for (int g = 0; g < Groups; ++g) {
      const float scale = args->group_scales[group + g] * quant.inverse_scale;
      const bn_i32x16 sums = total[g][t];
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

void bn_bitlinear_i2_gemm_m64k400_t32x64x12__x86_avx512vnni(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  int32_t group = group_begin;
  for (; group + kTile <= group_end; group += kTile) rows<kTile>(args, group);
  for (; group < group_end; ++group) rows<1>(args, group);
}

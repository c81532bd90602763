// bn_bitlinear_tl2_gemm_m48k250_t32x256x12__x86_avx512vnni
// y[t][m] = (sum over k of (code[m][k] - 1) * q[t][k]) * group_scale[m / 16] * inverse_scale[t], for many tokens.
//
// Weights, as row groups of 16 rows, each a run of 320-byte blocks of 96 columns: four lanes j, four steps s in each.
//
//   byte 64s + 16j + r    bits 7..4                 bits 3..0
//   row r, columns        24j + 6s + 3, 4, 5        24j + 6s + 0, 1, 2         weights (a, b, c) as |n|, n = 9a + 3b + c
//
//   byte 256 + 16j + r    bit i
//   row r, columns        24j + 3i + 0, 1, 2        1 where n < 0
//
// The groups of a tile are unpacked to a panel of bytes, [column / 4][group][row][column % 4], code = weight + 1, which the
// caches hold while all tokens pass over it. For no more tokens than a tile has, a block is unpacked as it is multiplied.
//
// Tile: 32 rows x 12 tokens. Bounds: 256 * 256 <= 2147483647 (int32).
// Written from templates/cpp/bitlinear_tl2_gemm.cpp.hbs for target x86-avx512vnni.
#include "kernels.h"
#include "rows.h"

namespace {

constexpr int32_t kBlocks = 3; // of 96 columns: K = 250, padded
constexpr int32_t kBlockSteps = 6; // of 16 columns
constexpr int32_t kSteps = 16; // those that there are activations for
constexpr int32_t kTile = 2; // row groups in registers
constexpr int32_t kTokens = 12; // tokens in registers

constexpr int64_t kGroupBytes = int64_t{kBlocks} * 320;

// Unpacks one block of each row group, as [column / 4][group][row][column % 4].
template <int Groups>
inline void unpack(uint8_t *panel, const uint8_t *weights, int32_t group, int32_t block) {
  weights += group * kGroupBytes + int64_t{block} * 320;
  BN_UNROLL for (int g = 0; g < Groups; ++g) {
    bn_tl2_unpack(panel + g * 64, Groups * 64, weights + g * kGroupBytes);
  }
}

// Whether the codes come from the panel of all columns. If not, each block is unpacked where it is multiplied: a compiler
// keeps small ones in registers.
enum class Codes { in_panel, in_place };

template <int Groups, int Tokens, Codes codes>
inline void tile(const bn_bitlinear_args *args, [[maybe_unused]] const uint8_t *panels, int32_t group, int32_t token) {
  const int8_t *q = args->q + int64_t{token} * kSteps * 16;
  [[maybe_unused]] alignas(64) uint8_t block[codes == Codes::in_place ? 24 * Groups * 64 : 1];
  const uint8_t *weights = args->weights + group * kGroupBytes;
  // What the next rows' panel is unpacked from: each tile of tokens fetches a part of it.
  [[maybe_unused]] const uint8_t *ahead = weights + (Groups + token / kTokens % Groups) * kGroupBytes;
    bn_dot_sum sum[Groups][Tokens];
    BN_UNROLL for (int g = 0; g < Groups; ++g) {
      BN_UNROLL for (int t = 0; t < Tokens; ++t) sum[g][t] = bn_dot_zero();
    }
    for (int32_t step = 0; step < kSteps; ++step) {
      const uint8_t *panel;
      if constexpr (codes == Codes::in_panel) {
        panel = panels + int64_t{step} * 4 * Groups * 64;
        bn_prefetch(ahead + int64_t{step} * 64);
      } else {
        if (step % kBlockSteps == 0) {
          const int32_t at = step / kBlockSteps;
          BN_UNROLL for (int g = 0; g < Groups; ++g) {
            BN_UNROLL for (int line = 0; line < 320; line += 64) {
              bn_prefetch_rows<Groups>(weights + g * kGroupBytes, int64_t{at} * 320 + line, kGroupBytes);
            }
          }
          unpack<Groups>(block, args->weights, group, at);
        }
        panel = block + step % kBlockSteps * 4 * Groups * 64;
      }
      BN_QUADS for (int quad = 0; quad < 4; ++quad) {
        bn_u8x64 weight[Groups];
        BN_UNROLL for (int g = 0; g < Groups; ++g) weight[g] = bn_load_panel(panel + (quad * Groups + g) * 64);
        BN_UNROLL for (int t = 0; t < Tokens; ++t) {
          const bn_quad x = bn_load_quad(q + (int64_t{t} * kSteps + step) * 16 + quad * 4);
          BN_UNROLL for (int g = 0; g < Groups; ++g) bn_dot_add(sum[g][t], weight[g], x);
        }
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

// All tokens, in tiles of kTokens, and smaller ones for what is left.
template <int Groups, Codes codes>
inline void tiles(const bn_bitlinear_args *args, const uint8_t *panels, int32_t group) {
  int32_t token = 0;
  for (; token + kTokens <= args->tokens; token += kTokens) tile<Groups, kTokens, codes>(args, panels, group, token);
  for (; token + 8 <= args->tokens; token += 8) tile<Groups, 8, codes>(args, panels, group, token);
  for (; token + 4 <= args->tokens; token += 4) tile<Groups, 4, codes>(args, panels, group, token);
  for (; token + 2 <= args->tokens; token += 2) tile<Groups, 2, codes>(args, panels, group, token);
  for (; token + 1 <= args->tokens; token += 1) tile<Groups, 1, codes>(args, panels, group, token);
}

template <int Groups>
void rows(const bn_bitlinear_args *args, int32_t group) {
  if (args->tokens <= kTokens) {
    tiles<Groups, Codes::in_place>(args, nullptr, group);
    return;
  }
  for (int32_t block = 0; block < kBlocks; ++block) {
    unpack<Groups>(args->scratch + int64_t{block} * 24 * Groups * 64, args->weights, group, block);
  }
  tiles<Groups, Codes::in_panel>(args, args->scratch, group);
}

} // namespace

void bn_bitlinear_tl2_gemm_m48k250_t32x256x12__x86_avx512vnni(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  int32_t group = group_begin;
  for (; group + kTile <= group_end; group += kTile) rows<kTile>(args, group);
  for (; group < group_end; ++group) rows<1>(args, group);
}

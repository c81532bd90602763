// bn_bitlinear_i2_columns_gemm_m48k250_t16x240x4__x86_avx2
// y[t][m] = (sum over k of (code[m][k] - 1) * q[t][k]) * group_scale[m / 16] * inverse_scale[t], for many tokens.
//
// Weights, column after column, each a run of 64-byte blocks of 256 rows, 16 row groups of 16:
//
//   byte 16L + 4h + d         bits 7..6       5..4       3..2       1..0
//   row 4L + d of row group   4h + 3          4h + 2     4h + 1     4h         code = weight + 1
//
// The groups of a tile are unpacked to a panel of bytes, [column / 4][group][row][column % 4], code = weight + 1, which the
// caches hold while all tokens pass over it.
//
// Tile: 16 rows x 4 tokens, running sums widened every 240 columns. Bounds: 512 * 240 / 4 <= 32767 (int16).
// Written from templates/cpp/bitlinear_i2_columns_gemm.cpp.hbs for target x86-avx2.
#include "rows.h"
#include "skip.h"

namespace {

constexpr int32_t kBlocks = 16; // of 16 columns: K = 250, padded
constexpr int32_t kBlockSteps = 1; // of 16 columns
constexpr int32_t kSteps = 16; // those that there are activations for
constexpr int32_t kChunk = 15; // steps that a running sum may take before it is widened
constexpr int32_t kTile = 1; // row groups in registers
constexpr int32_t kTokens = 4; // tokens in registers
constexpr int32_t kPanels = 4; // tiles of rows that are unpacked together
constexpr int64_t kPanelBytes = int64_t{kBlocks} * 4 * kTile * 64;

constexpr int32_t kQuads = 63; // of columns
constexpr int64_t kColumnBytes = 64; // 48 codes, padded

// Unpacks sixteen columns of the row groups of several panels, each as [column / 4][group][row][column % 4]. Four row
// groups share bytes.
template <int Groups, int Panels>
inline void unpack(uint8_t *panel, const uint8_t *weights, int32_t group, int32_t block) {
  const int32_t quads = kQuads - 4 * block < 4 ? kQuads - 4 * block : 4;
  weights += block * 16 * kColumnBytes;
  for (int32_t g = 0; g < Groups * Panels;) {
    const int32_t at = group + g, left = Groups * Panels - g, count = left < 4 - at % 4 ? left : 4 - at % 4;
    uint8_t *out[4];
    for (int32_t i = 0; i < count; ++i, ++g) out[i] = panel + g / Groups * kPanelBytes + g % Groups * 64;
    bn_i2_columns_unpack(out, Groups * 64, weights + at / 16 * 64, kColumnBytes, quads, at % 16, count);
  }
}

// Codes of the panel of all columns. Each tile of tokens fetches a part of what the next rows' panel is unpacked from: of
// each sixteen columns one, and each panel begins with others.
template <int Groups>
class InPanel {
public:
  InPanel(const bn_bitlinear_args *args, const uint8_t *panel, int32_t group, int32_t token)
      : panel_(panel), ahead_(args->weights + (group + kPanels * Groups) / 16 * 64) {
    ahead_ += (token / kTokens + group / Groups % kPanels * (16 / kPanels)) % 16 * kColumnBytes;
  }

  const uint8_t *at(int32_t step) const {
    bn_prefetch_far(ahead_ + int64_t{step} * 16 * kColumnBytes);
    return panel_ + int64_t{step} * 4 * Groups * 64;
  }

private:
  const uint8_t *panel_, *ahead_;
};

// sum += codes · q over sixteen columns
template <int Groups, int Tokens>
inline void multiply(bn_dot_sum (&sum)[Groups][Tokens], const uint8_t *panel, const int8_t *q) {
  BN_QUADS for (int quad = 0; quad < 4; ++quad) {
    bn_u8x64 weight[Groups];
    BN_UNROLL for (int g = 0; g < Groups; ++g) weight[g] = bn_load_panel(panel + (quad * Groups + g) * 64);
    BN_UNROLL for (int t = 0; t < Tokens; ++t) {
      const bn_quad x = bn_load_quad(q + int64_t{t} * kSteps * 16 + quad * 4);
      BN_UNROLL for (int g = 0; g < Groups; ++g) bn_dot_add(sum[g][t], weight[g], x);
    }
  }
}

template <int Groups, int Tokens, template <int> class Codes>
inline void tile(const bn_bitlinear_args *args, [[maybe_unused]] const uint8_t *panel, int32_t group, int32_t token) {
  const int8_t *q = args->q + int64_t{token} * kSteps * 16;
  float *const y = args->y + token * args->y_stride + int64_t{group} * 16;
  // Lines that are written at the end, all at once, would be waited for.
  BN_UNROLL for (int t = 0; t < Tokens; ++t) {
    BN_UNROLL for (int g = 0; g < Groups; ++g) bn_prefetch_write(y + t * args->y_stride + g * 16);
  }

  Codes<Groups> codes(args, panel, group, token);
  bn_i32x16 total[Groups][Tokens];
  for (int g = 0; g < Groups; ++g) {
    for (int t = 0; t < Tokens; ++t) total[g][t] = bn_i32x16_zero();
  }
  for (int32_t first = 0; first < kSteps; first += kChunk) {
    const int32_t last = first + kChunk < kSteps ? first + kChunk : kSteps;
    bn_dot_sum sum[Groups][Tokens];
    BN_UNROLL for (int g = 0; g < Groups; ++g) {
      BN_UNROLL for (int t = 0; t < Tokens; ++t) sum[g][t] = bn_dot_zero();
    }
    for (int32_t step = first; step < last; ++step) multiply<Groups, Tokens>(sum, codes.at(step), q + step * 16);
    for (int g = 0; g < Groups; ++g) {
      for (int t = 0; t < Tokens; ++t) total[g][t] = bn_i32x16_add(total[g][t], bn_dot_total(sum[g][t]));
    }
  }

  BN_UNROLL for (int t = 0; t < Tokens; ++t) {
    const bn_quant quant = args->quant[token + t];
    BN_UNROLL for (int g = 0; g < Groups; ++g) {
      const float scale = args->group_scales[group + g] * quant.inverse_scale;
      const bn_i32x16 sums = total[g][t];
      if (args->accumulate) {
        bn_add_rows(y + t * args->y_stride + g * 16, sums, quant.sum, scale);
      } else {
        bn_store_rows(y + t * args->y_stride + g * 16, sums, quant.sum, scale);
      }
    }
  }
}

// All tokens, in tiles of kTokens, and smaller ones for what is left.
template <int Groups, template <int> class Codes>
inline void tiles(const bn_bitlinear_args *args, const uint8_t *panel, int32_t group) {
  int32_t token = 0;
  for (; token + kTokens <= args->tokens; token += kTokens) tile<Groups, kTokens, Codes>(args, panel, group, token);
  for (; token + 2 <= args->tokens; token += 2) tile<Groups, 2, Codes>(args, panel, group, token);
  for (; token + 1 <= args->tokens; token += 1) tile<Groups, 1, Codes>(args, panel, group, token);
}

template <int Groups, int Panels>
void rows(const bn_bitlinear_args *args, int32_t group) {
  for (int32_t block = 0; block < kBlocks; ++block) {
    unpack<Groups, Panels>(args->scratch + int64_t{block} * 4 * Groups * 64, args->weights, group, block);
  }
  for (int p = 0; p < Panels; ++p) tiles<Groups, InPanel>(args, args->scratch + p * kPanelBytes, group + p * Groups);
}

} // namespace

void bn_bitlinear_i2_columns_gemm_m48k250_t16x240x4__x86_avx2(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  int32_t group = group_begin;
  for (; group + kPanels * kTile <= group_end; group += kPanels * kTile) rows<kTile, kPanels>(args, group);
  for (; group < group_end; ++group) rows<1, 1>(args, group);
}

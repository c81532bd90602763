// bn_bitlinear_tl1_gemm_m64k400_t32x64x12__x86_avx512vnni
// y[t][m] = (sum over k of (code[m][k] - 1) * q[t][k]) * group_scale[m / 16] * inverse_scale[t], for many tokens.
//
// Weights, as row groups of 16 rows, each a run of 256-byte blocks of 64 columns: four lanes j, four steps s in each.
//
//   byte 64s + 16j + r    bits 7..4                 bits 3..0
//   row r, columns        16j + 4s + 2, 3           16j + 4s + 0, 1            weights (a, b) as 3 (a + 1) + (b + 1)
//
// The groups of a tile are unpacked to a panel of bytes, [column / 4][group][row][column % 4], code = weight + 1, which the
// caches hold while all tokens pass over it. For no more tokens than a tile has, a block is unpacked as it is multiplied.
//
// Tile: 32 rows x 12 tokens, running sums widened every 64 columns. Bounds: 256 * 400 <= 2147483647 (int32).
// Written from templates/cpp/bitlinear_tl1_gemm.cpp.hbs for target x86-avx512vnni.
#include "rows.h"

namespace {

constexpr int32_t kBlocks = 7; // of 64 columns: K = 400, padded
constexpr int32_t kBlockSteps = 4; // of 16 columns
constexpr int32_t kSteps = 25; // those that there are activations for
constexpr int32_t kChunk = 4; // steps that a running sum may take before it is widened
constexpr int32_t kTile = 2; // row groups in registers
constexpr int32_t kTokens = 12; // tokens in registers

constexpr int64_t kGroupBytes = int64_t{kBlocks} * 256;

// Unpacks one block of each row group, as [column / 4][group][row][column % 4].
template <int Groups>
inline void unpack(uint8_t *panel, const uint8_t *weights, int32_t group, int32_t block) {
  weights += group * kGroupBytes + int64_t{block} * 256;
  BN_UNROLL for (int g = 0; g < Groups; ++g) {
    bn_tl1_unpack(panel + g * 64, Groups * 64, weights + g * kGroupBytes);
  }
}

// Codes of the panel of all columns. Each tile of tokens fetches a part of what the next rows' panel is unpacked from.
template <int Groups>
class InPanel {
public:
  InPanel(const bn_bitlinear_args *args, const uint8_t *panel, int32_t group, int32_t token)
      : panel_(panel), ahead_(args->weights + (group + Groups + token / kTokens % Groups) * kGroupBytes) {}

  const uint8_t *at(int32_t step) const {
    bn_prefetch(ahead_ + int64_t{step} * 64);
    return panel_ + int64_t{step} * 4 * Groups * 64;
  }

private:
  const uint8_t *panel_, *ahead_;
};

// Codes that are unpacked where they are multiplied, block by block: a compiler keeps small ones in registers.
template <int Groups>
class InPlace {
public:
  InPlace(const bn_bitlinear_args *args, const uint8_t *, int32_t group, int32_t) : weights_(args->weights), group_(group) {}

  const uint8_t *at(int32_t step) {
    if (step % kBlockSteps == 0) unpack_block(step / kBlockSteps);
    return block_ + step % kBlockSteps * 4 * Groups * 64;
  }

private:
  void unpack_block(int32_t at) {
    BN_UNROLL for (int g = 0; g < Groups; ++g) {
      BN_UNROLL for (int line = 0; line < 256; line += 64) {
        bn_prefetch_rows<Groups>(weights_ + (group_ + g) * kGroupBytes, int64_t{at} * 256 + line, kGroupBytes);
      }
    }
    unpack<Groups>(block_, weights_, group_, at);
  }

  const uint8_t *weights_;
  int32_t group_;
  alignas(64) uint8_t block_[16 * Groups * 64];
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
  for (; token + 8 <= args->tokens; token += 8) tile<Groups, 8, Codes>(args, panel, group, token);
  for (; token + 4 <= args->tokens; token += 4) tile<Groups, 4, Codes>(args, panel, group, token);
  for (; token + 2 <= args->tokens; token += 2) tile<Groups, 2, Codes>(args, panel, group, token);
  for (; token + 1 <= args->tokens; token += 1) tile<Groups, 1, Codes>(args, panel, group, token);
}

template <int Groups>
void rows(const bn_bitlinear_args *args, int32_t group) {
  if (args->tokens <= kTokens) {
    tiles<Groups, InPlace>(args, nullptr, group);
    return;
  }
  for (int32_t block = 0; block < kBlocks; ++block) {
    unpack<Groups>(args->scratch + int64_t{block} * 16 * Groups * 64, args->weights, group, block);
  }
  tiles<Groups, InPanel>(args, args->scratch, group);
}

} // namespace

void bn_bitlinear_tl1_gemm_m64k400_t32x64x12__x86_avx512vnni(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  int32_t group = group_begin;
  for (; group + kTile <= group_end; group += kTile) rows<kTile>(args, group);
  for (; group < group_end; ++group) rows<1>(args, group);
}

// The model as one step function, its table of kernels and its self-test: llama, 2 layers.
// Written from templates/cpp/model.cpp.hbs for target ref.
#include <cstring>

#include "attention.h"
#include "kernels.h"
#include "rows.h"
#include "tables.h"
#include "team.h"

namespace {

constexpr int32_t kLayers = 2;
constexpr float kEpsilon = 0.000009999999747378752f;

// The weights file: tables first, then one stretch of kLayerBytes for each layer.
constexpr int64_t kLayerBase = 58752, kLayerBytes = 18176;

// The workspace: buffers of a step of n tokens start at n times these offsets; scratch of each thread comes after, and
// in the end what threads share.
constexpr int64_t kTokenBytes = 1984, kScratchBytes = 12288, kSharedBytes = 768;
constexpr int64_t kX = 0;
constexpr int64_t kAngles = 448;
constexpr int64_t kQ = 512;
constexpr int64_t kQuant = 640;
constexpr int64_t kQkv = 704;
constexpr int64_t kAttended = 1664;
constexpr int64_t kGateUp = 704;
constexpr int64_t kHidden = 512;

inline const float *floats(const uint8_t *p) { return reinterpret_cast<const float *>(p); }

int64_t workspace_bytes(int32_t tokens, int32_t threads) {
  return tokens * kTokenBytes + threads * (kScratchBytes + int64_t{sizeof(bn_work)}) + kSharedBytes;
}

void step(const bn_step_args *args, int32_t thread) {
  const int32_t count = args->token_count;
  const int32_t threads = static_cast<int32_t>(args->team->threads);
  const bn_range mine = bn_share(count, 1, thread, threads); // tokens whose row-wise work this thread does
  const uint8_t *weights = args->weights;
  if (args->counts != nullptr && count <= 16 && thread == 0) ++args->counts->steps;

  float *x = reinterpret_cast<float *>(args->workspace + count * kX);
  float *angles = reinterpret_cast<float *>(args->workspace + count * kAngles);
  int8_t *q = reinterpret_cast<int8_t *>(args->workspace + count * kQ);
  bn_quant *quant = reinterpret_cast<bn_quant *>(args->workspace + count * kQuant);
  float *qkv = reinterpret_cast<float *>(args->workspace + count * kQkv);
  float *attended = reinterpret_cast<float *>(args->workspace + count * kAttended);
  float *gate_up = reinterpret_cast<float *>(args->workspace + count * kGateUp);
  float *hidden = reinterpret_cast<float *>(args->workspace + count * kHidden);
  uint8_t *scratch = args->workspace + count * kTokenBytes + thread * kScratchBytes;
  float *row = reinterpret_cast<float *>(scratch);
  bn_work *work = reinterpret_cast<bn_work *>(args->workspace + count * kTokenBytes + threads * kScratchBytes);
  float *shared = reinterpret_cast<float *>(work + threads);
  bn_worker me = {work, thread, threads, 0};
  work[thread].left = 0;

  // x = embedding of each token, and the angles of its position
  for (int32_t t = mine.begin; t < mine.end; ++t) {
    bn_embed(x + int64_t{t} * 112, weights + 0, args->tokens[t].id);
    bn_rope_angles(angles + int64_t{t} * 16, args->tokens[t].position);
  }
  bn_barrier(args->team);

  for (int32_t layer = 0; layer < kLayers; ++layer) {
    const uint8_t *layer_weights = weights + kLayerBase + layer * kLayerBytes;

    // attn_norm of x, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = x + int64_t{t} * 112;
      bn_rms_norm<112>(row, token, floats(layer_weights + 0), 100, kEpsilon);
      bn_quantise_row<112>(q + int64_t{t} * 112, &quant[t], row);
    }
    bn_barrier(args->team);

    // qkv = qkv weights · q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 512, floats(layer_weights + 448), q, quant,
          qkv, 240, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 15, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m240k100_t16x112x1__ref(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 15, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m240k100_t16x112x4__ref(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // rotate queries and keys; keys and values to the cache
    bn_rope_store(args, layer, qkv, angles, thread);
    bn_barrier(args->team);

    // attended = attention of the queries over the cache
    bn_attention(args, layer, qkv, attended, row, shared, me);
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      for (int i = 72; i < 80; ++i) attended[int64_t{t} * 80 + i] = 0.0f;
    }
    bn_barrier(args->team);

    // attended, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = attended + int64_t{t} * 80;
      bn_quantise_row<80>(q + int64_t{t} * 80, &quant[t], token);
    }
    bn_barrier(args->team);

    // x += attn_output weights · q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 7296, floats(layer_weights + 7232), q, quant,
          x, 112, count, 1, scratch};
      if (count == 1) {
        bn_share_out(me, 7, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m112k72_t16x80x1__ref(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 7, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m112k72_t16x80x4__ref(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // ffn_norm of x, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = x + int64_t{t} * 112;
      bn_rms_norm<112>(row, token, floats(layer_weights + 9536), 100, kEpsilon);
      bn_quantise_row<112>(q + int64_t{t} * 112, &quant[t], row);
    }
    bn_barrier(args->team);

    // gate_up = gate_up weights · q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 10048, floats(layer_weights + 9984), q, quant,
          gate_up, 192, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 12, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m192k100_t16x112x1__ref(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 12, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m192k100_t16x112x4__ref(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // silu(gate) * up, to int8
    bn_share_out(me, count, 1, [&](bn_range tokens) {
      const int32_t t = tokens.begin;
      const float *gate = gate_up + int64_t{t} * 192;
      bn_silu_gate<96>(row, gate, gate + 96);
      bn_quantise_row<96>(q + int64_t{t} * 96, &quant[t], row);
    });
    bn_barrier(args->team);

    // x += down weights · q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 15488, floats(layer_weights + 15424), q, quant,
          x, 112, count, 1, scratch};
      if (count == 1) {
        bn_share_out(me, 7, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m112k90_t16x96x1__ref(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 7, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m112k90_t16x96x4__ref(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);
  }

  // hidden = output_norm of x, for the tokens that want logits or their hidden state
  for (int32_t t = mine.begin; t < mine.end; ++t) {
    const bn_token &token = args->tokens[t];
    if (token.logits_row < 0 && token.hidden_row < 0) continue;
    float *normed = token.logits_row < 0 ? row : hidden + int64_t{token.logits_row} * 112;
    const float *values = x + int64_t{t} * 112;
    bn_rms_norm<112>(normed, values, floats(weights + 58304), 100, kEpsilon);
    if (token.hidden_row < 0) continue;
    std::memcpy(args->hidden + int64_t{token.hidden_row} * 100, normed, 100 * sizeof(float));
  }
  bn_barrier(args->team);

  // logits = head · hidden
  if (args->logits_count > 0) {
    bn_share_out(me, 97, 16, [&](bn_range rows) {
      bn_head(args->logits, weights + 19456, hidden, args->logits_count, rows.begin, rows.end, row);
    });
  }
  bn_barrier(args->team);
}

// One matrix that a kernel is tried on.
struct Use {
  int64_t offset; // of its codes in a layer
  int32_t kernel, columns, groups;
};

constexpr Use kUses[] = {
    {512, 0, 100, 15},
    {512, 1, 100, 15},
    {7296, 2, 72, 7},
    {7296, 3, 72, 7},
    {10048, 4, 100, 12},
    {10048, 5, 100, 12},
    {15488, 6, 90, 7},
    {15488, 7, 90, 7},
};

constexpr bn_kernel kKernels[] = {
    {"bn_bitlinear_i2_gemv_m240k100_t16x112x1__ref", 240, 100, 1, 0, 6720, bn_bitlinear_i2_gemv_m240k100_t16x112x1__ref},
    {"bn_bitlinear_i2_gemm_m240k100_t16x112x4__ref", 240, 100, 256, 1792, 6720, bn_bitlinear_i2_gemm_m240k100_t16x112x4__ref},
    {"bn_bitlinear_i2_gemv_m112k72_t16x80x1__ref", 112, 72, 1, 0, 2240, bn_bitlinear_i2_gemv_m112k72_t16x80x1__ref},
    {"bn_bitlinear_i2_gemm_m112k72_t16x80x4__ref", 112, 72, 256, 1280, 2240, bn_bitlinear_i2_gemm_m112k72_t16x80x4__ref},
    {"bn_bitlinear_i2_gemv_m192k100_t16x112x1__ref", 192, 100, 1, 0, 5376, bn_bitlinear_i2_gemv_m192k100_t16x112x1__ref},
    {"bn_bitlinear_i2_gemm_m192k100_t16x112x4__ref", 192, 100, 256, 1792, 5376, bn_bitlinear_i2_gemm_m192k100_t16x112x4__ref},
    {"bn_bitlinear_i2_gemv_m112k90_t16x96x1__ref", 112, 90, 1, 0, 2688, bn_bitlinear_i2_gemv_m112k90_t16x96x1__ref},
    {"bn_bitlinear_i2_gemm_m112k90_t16x96x4__ref", 112, 90, 256, 1536, 2688, bn_bitlinear_i2_gemm_m112k90_t16x96x4__ref},
};

// Tokens of a GEMM's trial: whole tiles, and what is left of one.
constexpr int32_t kTrialTokens = 13;
// Of a kernel for few tokens: as many as it multiplies at once, in each of its ways.
constexpr int32_t kFewTrialTokens = 7;

inline void mix(uint64_t &hash, int32_t value) {
  hash = (hash ^ static_cast<uint32_t>(value)) * 0x100000001b3u;
}

void self_test(const uint8_t *weights, uint8_t *workspace, uint64_t *checksums) {
  int8_t *q = reinterpret_cast<int8_t *>(workspace);
  float *y = reinterpret_cast<float *>(workspace + 1472);
  float *ones = reinterpret_cast<float *>(workspace + 13952);
  uint8_t *scratch = workspace + 14016;
  for (int32_t g = 0; g < 15; ++g) ones[g] = 1.0f;
  for (int32_t k = 0; k < 8; ++k) checksums[k] = 0xcbf29ce484222325u;

  for (int32_t layer = 0; layer < kLayers; ++layer) {
    for (const Use &use : kUses) {
      const bn_kernel &kernel = kKernels[use.kernel];
      const int32_t tokens = kernel.max_tokens == 1 ? 1 : kernel.max_tokens <= 16 ? kFewTrialTokens : kTrialTokens;
      const int32_t stride = (use.columns + 15) / 16 * 16;
      bn_quant quant[kTrialTokens];
      for (int32_t t = 0; t < tokens; ++t) {
        quant[t] = {1.0f, 0};
        for (int32_t k = 0; k < stride; ++k) {
          const int32_t value = k < use.columns ? (k * 37 + t * 101 + 11) % 255 - 127 : 0;
          q[t * stride + k] = static_cast<int8_t>(value);
          quant[t].sum += value;
        }
      }
      const uint8_t *codes = weights + kLayerBase + layer * kLayerBytes + use.offset;
      const bn_bitlinear_args args = {codes, ones, q, quant, y, use.groups * 16, tokens, 0, scratch};
      kernel.run(&args, 0, 1);
      kernel.run(&args, use.groups - 1, use.groups);
      for (int32_t t = 0; t < tokens; ++t) {
        const float *token_y = y + int64_t{t} * use.groups * 16;
        for (int32_t r = 0; r < 16; ++r) mix(checksums[use.kernel], static_cast<int32_t>(token_y[r]));
        for (int32_t r = 0; r < 16; ++r) {
          mix(checksums[use.kernel], static_cast<int32_t>(token_y[(use.groups - 1) * 16 + r]));
        }
      }
    }
  }
}

constexpr bn_model_info kInfo = {
    .abi_version = BN_ABI_VERSION,
    .key = BN_MODEL_KEY,
    .target = "ref",
    .vocab = 97,
    .context = 64,
    .embedding = 100,
    .max_tokens = 256,
    .kernel_count = 8,
    .kernels = kKernels,
    .workspace_bytes = workspace_bytes,
    .kv_bytes = bn_kv_bytes,
    .step = step,
    .self_test = self_test,
    .probe_read = bn_probe_read,
    .probe_dot = bn_probe_dot,
};

} // namespace

const bn_model_info *bn_model(void) { return &kInfo; }

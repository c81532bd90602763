// The model as one step function, its table of kernels and its self-test: gemma3, 2 layers.
// Written from templates/cpp/model.cpp.hbs for target x86-avx2.
#include <cstring>

#include "attention.h"
#include "kernels.h"
#include "rows.h"
#include "tables.h"
#include "team.h"

namespace {

constexpr int32_t kLayers = 2;
constexpr float kEpsilon = 0.000009999999747378752f;
constexpr bool kLocal[kLayers] = {true, false}; // layers that attend to a window

// The weights file: tables first, then one stretch of kLayerBytes for each layer.
constexpr int64_t kLayerBase = 14144, kLayerBytes = 15872;

// The workspace: buffers of a step of n tokens start at n times these offsets; scratch of each thread comes after, and
// in the end what threads share.
constexpr int64_t kTokenBytes = 2560, kScratchBytes = 16384, kSharedBytes = 1024;
constexpr int64_t kX = 0;
constexpr int64_t kAngles = 320;
constexpr int64_t kLocalAngles = 448;
constexpr int64_t kNormed = 576;
constexpr int64_t kQueryQ = 896;
constexpr int64_t kQueryQuant = 1024;
constexpr int64_t kKeyQ = 1088;
constexpr int64_t kKeyQuant = 1216;
constexpr int64_t kValueQ = 1280;
constexpr int64_t kValueQuant = 1408;
constexpr int64_t kQkv = 1472;
constexpr int64_t kAttended = 896;
constexpr int64_t kQ = 1280;
constexpr int64_t kQuant = 1408;
constexpr int64_t kProjected = 896;
constexpr int64_t kGateQ = 1472;
constexpr int64_t kGateQuant = 1216;
constexpr int64_t kUpQ = 1600;
constexpr int64_t kUpQuant = 1728;
constexpr int64_t kGateUp = 1792;
constexpr int64_t kHidden = 576;

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
  float *local_angles = reinterpret_cast<float *>(args->workspace + count * kLocalAngles);
  float *normed = reinterpret_cast<float *>(args->workspace + count * kNormed);
  int8_t *query_q = reinterpret_cast<int8_t *>(args->workspace + count * kQueryQ);
  bn_quant *query_quant = reinterpret_cast<bn_quant *>(args->workspace + count * kQueryQuant);
  int8_t *key_q = reinterpret_cast<int8_t *>(args->workspace + count * kKeyQ);
  bn_quant *key_quant = reinterpret_cast<bn_quant *>(args->workspace + count * kKeyQuant);
  int8_t *value_q = reinterpret_cast<int8_t *>(args->workspace + count * kValueQ);
  bn_quant *value_quant = reinterpret_cast<bn_quant *>(args->workspace + count * kValueQuant);
  float *qkv = reinterpret_cast<float *>(args->workspace + count * kQkv);
  float *attended = reinterpret_cast<float *>(args->workspace + count * kAttended);
  int8_t *q = reinterpret_cast<int8_t *>(args->workspace + count * kQ);
  bn_quant *quant = reinterpret_cast<bn_quant *>(args->workspace + count * kQuant);
  float *projected = reinterpret_cast<float *>(args->workspace + count * kProjected);
  int8_t *gate_q = reinterpret_cast<int8_t *>(args->workspace + count * kGateQ);
  bn_quant *gate_quant = reinterpret_cast<bn_quant *>(args->workspace + count * kGateQuant);
  int8_t *up_q = reinterpret_cast<int8_t *>(args->workspace + count * kUpQ);
  bn_quant *up_quant = reinterpret_cast<bn_quant *>(args->workspace + count * kUpQuant);
  float *gate_up = reinterpret_cast<float *>(args->workspace + count * kGateUp);
  float *hidden = reinterpret_cast<float *>(args->workspace + count * kHidden);
  uint8_t *scratch = args->workspace + count * kTokenBytes + thread * kScratchBytes;
  float *row = reinterpret_cast<float *>(scratch);
  bn_work *work = reinterpret_cast<bn_work *>(args->workspace + count * kTokenBytes + threads * kScratchBytes);
  float *shared = reinterpret_cast<float *>(work + threads);
  bn_worker me = {work, thread, threads, 0};
  work[thread].left = 0;

  // x = embedding of each token * 8.485280990600586f, and the angles of its position
  for (int32_t t = mine.begin; t < mine.end; ++t) {
    bn_embed(x + int64_t{t} * 80, weights + 0, args->tokens[t].id);
    bn_scale_row<80>(x + int64_t{t} * 80, 8.485280990600586f);
    bn_rope_angles(angles + int64_t{t} * 32, args->tokens[t].position);
    bn_local_rope_angles(local_angles + int64_t{t} * 32, args->tokens[t].position);
  }
  bn_barrier(args->team);

  for (int32_t layer = 0; layer < kLayers; ++layer) {
    const uint8_t *layer_weights = weights + kLayerBase + layer * kLayerBytes;

    // normed = attn_norm of x
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = x + int64_t{t} * 80;
      bn_rms_norm<80>(normed + int64_t{t} * 80, token, floats(layer_weights + 0), 72, kEpsilon);
    }

    // attn_q_norm_in of normed, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = normed + int64_t{t} * 80;
      bn_rms_norm<80>(row, token, floats(layer_weights + 320), 72, kEpsilon);
      bn_quantise_row<80>(query_q + int64_t{t} * 80, &query_quant[t], row);
    }

    // attn_k_norm_in of normed, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = normed + int64_t{t} * 80;
      bn_rms_norm<80>(row, token, floats(layer_weights + 640), 72, kEpsilon);
      bn_quantise_row<80>(key_q + int64_t{t} * 80, &key_quant[t], row);
    }

    // attn_v_norm_in of normed, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = normed + int64_t{t} * 80;
      bn_rms_norm<80>(row, token, floats(layer_weights + 960), 72, kEpsilon);
      bn_quantise_row<80>(value_q + int64_t{t} * 80, &value_quant[t], row);
    }
    bn_barrier(args->team);

    // qkv = query weights · query_q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 1344, floats(layer_weights + 1280), query_q, query_quant,
          qkv, 192, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 6, 2, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m96k72_t32x80x1__x86_avx2(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 6, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m96k72_t16x80x4__x86_avx2(&linear, groups.begin, groups.end);
        });
      }
    }

    // qkv = key weights · key_q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 3328, floats(layer_weights + 3264), key_q, key_quant,
          qkv + 96, 192, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 3, 2, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m48k72_t32x80x1__x86_avx2(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 3, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m48k72_t16x80x4__x86_avx2(&linear, groups.begin, groups.end);
        });
      }
    }

    // qkv = value weights · value_q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 4352, floats(layer_weights + 4288), value_q, value_quant,
          qkv + 144, 192, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 3, 2, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m48k72_t32x80x1__x86_avx2(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 3, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m48k72_t16x80x4__x86_avx2(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // attn_q_norm and attn_k_norm of the heads; rotate queries and keys; keys and values to the cache
    bn_rope_store(args, layer, qkv, kLocal[layer] ? local_angles : angles, floats(layer_weights + 5312),
                  floats(layer_weights + 5440), thread);
    bn_barrier(args->team);

    // attended = attention of the queries over the cache
    bn_attention(args, layer, kLocal[layer] ? 20 : INT32_MAX, qkv, attended, row, shared, me);
    bn_barrier(args->team);

    // attn_output_norm_in of attended, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = attended + int64_t{t} * 96;
      bn_rms_norm<96>(row, token, floats(layer_weights + 5568), 96, kEpsilon);
      bn_quantise_row<96>(q + int64_t{t} * 96, &quant[t], row);
    }
    bn_barrier(args->team);

    // projected = attn_output weights · q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 6016, floats(layer_weights + 5952), q, quant,
          projected, 80, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 5, 2, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m80k96_t32x96x1__x86_avx2(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 5, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m80k96_t16x96x4__x86_avx2(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // x += post_attention_norm of projected
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = projected + int64_t{t} * 80;
      bn_rms_norm<80>(row, token, floats(layer_weights + 7936), 72, kEpsilon);
      bn_add_row<80>(x + int64_t{t} * 80, row);
    }

    // normed = ffn_norm of x
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = x + int64_t{t} * 80;
      bn_rms_norm<80>(normed + int64_t{t} * 80, token, floats(layer_weights + 8256), 72, kEpsilon);
    }

    // ffn_gate_norm_in of normed, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = normed + int64_t{t} * 80;
      bn_rms_norm<80>(row, token, floats(layer_weights + 8576), 72, kEpsilon);
      bn_quantise_row<80>(gate_q + int64_t{t} * 80, &gate_quant[t], row);
    }

    // ffn_up_norm_in of normed, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = normed + int64_t{t} * 80;
      bn_rms_norm<80>(row, token, floats(layer_weights + 8896), 72, kEpsilon);
      bn_quantise_row<80>(up_q + int64_t{t} * 80, &up_quant[t], row);
    }
    bn_barrier(args->team);

    // gate_up = gate weights · gate_q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 9280, floats(layer_weights + 9216), gate_q, gate_quant,
          gate_up, 192, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 6, 2, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m96k72_t32x80x1__x86_avx2(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 6, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m96k72_t16x80x4__x86_avx2(&linear, groups.begin, groups.end);
        });
      }
    }

    // gate_up = up weights · up_q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 11264, floats(layer_weights + 11200), up_q, up_quant,
          gate_up + 96, 192, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 6, 2, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m96k72_t32x80x1__x86_avx2(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 6, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m96k72_t16x80x4__x86_avx2(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // gelu(gate) * up, ffn_down_norm_in, to int8
    bn_share_out(me, count, 1, [&](bn_range tokens) {
      const int32_t t = tokens.begin;
      const float *gate = gate_up + int64_t{t} * 192;
      bn_gelu_gate<96>(row, gate, gate + 96);
      bn_rms_norm<96>(row, row, floats(layer_weights + 13184), 90, kEpsilon);
      bn_quantise_row<96>(q + int64_t{t} * 96, &quant[t], row);
    });
    bn_barrier(args->team);

    // projected = down weights · q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 13632, floats(layer_weights + 13568), q, quant,
          projected, 80, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 5, 2, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m80k90_t32x96x1__x86_avx2(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 5, 1, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m80k90_t16x96x4__x86_avx2(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // x += post_ffw_norm of projected
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = projected + int64_t{t} * 80;
      bn_rms_norm<80>(row, token, floats(layer_weights + 15552), 72, kEpsilon);
      bn_add_row<80>(x + int64_t{t} * 80, row);
    }
    bn_barrier(args->team);
  }

  // hidden = output_norm of x, for the tokens that want logits or their hidden state
  for (int32_t t = mine.begin; t < mine.end; ++t) {
    const bn_token &token = args->tokens[t];
    if (token.logits_row < 0 && token.hidden_row < 0) continue;
    float *normed = token.logits_row < 0 ? row : hidden + int64_t{token.logits_row} * 80;
    const float *values = x + int64_t{t} * 80;
    bn_rms_norm<80>(normed, values, floats(weights + 13824), 72, kEpsilon);
    if (token.hidden_row < 0) continue;
    std::memcpy(args->hidden + int64_t{token.hidden_row} * 72, normed, 72 * sizeof(float));
  }
  bn_barrier(args->team);

  // logits = head · hidden
  if (args->logits_count > 0) {
    bn_share_out(me, 96, 16, [&](bn_range rows) {
      bn_head(args->logits, weights + 0, hidden, args->logits_count, rows.begin, rows.end, row);
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
    {1344, 0, 72, 6},
    {1344, 1, 72, 6},
    {3328, 2, 72, 3},
    {3328, 3, 72, 3},
    {4352, 2, 72, 3},
    {4352, 3, 72, 3},
    {6016, 4, 96, 5},
    {6016, 5, 96, 5},
    {9280, 0, 72, 6},
    {9280, 1, 72, 6},
    {11264, 0, 72, 6},
    {11264, 1, 72, 6},
    {13632, 6, 90, 5},
    {13632, 7, 90, 5},
};

constexpr bn_kernel kKernels[] = {
    {"bn_bitlinear_i2_gemv_m96k72_t32x80x1__x86_avx2", 96, 72, 1, 0, 1920, bn_bitlinear_i2_gemv_m96k72_t32x80x1__x86_avx2},
    {"bn_bitlinear_i2_gemm_m96k72_t16x80x4__x86_avx2", 96, 72, 256, 1280, 1920, bn_bitlinear_i2_gemm_m96k72_t16x80x4__x86_avx2},
    {"bn_bitlinear_i2_gemv_m48k72_t32x80x1__x86_avx2", 48, 72, 1, 0, 960, bn_bitlinear_i2_gemv_m48k72_t32x80x1__x86_avx2},
    {"bn_bitlinear_i2_gemm_m48k72_t16x80x4__x86_avx2", 48, 72, 256, 1280, 960, bn_bitlinear_i2_gemm_m48k72_t16x80x4__x86_avx2},
    {"bn_bitlinear_i2_gemv_m80k96_t32x96x1__x86_avx2", 80, 96, 1, 0, 1920, bn_bitlinear_i2_gemv_m80k96_t32x96x1__x86_avx2},
    {"bn_bitlinear_i2_gemm_m80k96_t16x96x4__x86_avx2", 80, 96, 256, 1536, 1920, bn_bitlinear_i2_gemm_m80k96_t16x96x4__x86_avx2},
    {"bn_bitlinear_i2_gemv_m80k90_t32x96x1__x86_avx2", 80, 90, 1, 0, 1920, bn_bitlinear_i2_gemv_m80k90_t32x96x1__x86_avx2},
    {"bn_bitlinear_i2_gemm_m80k90_t16x96x4__x86_avx2", 80, 90, 256, 1536, 1920, bn_bitlinear_i2_gemm_m80k90_t16x96x4__x86_avx2},
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
  float *y = reinterpret_cast<float *>(workspace + 1280);
  float *ones = reinterpret_cast<float *>(workspace + 6272);
  uint8_t *scratch = workspace + 6336;
  for (int32_t g = 0; g < 6; ++g) ones[g] = 1.0f;
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
    .target = "x86-avx2",
    .vocab = 96,
    .context = 64,
    .embedding = 72,
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

// The model as one step function, its table of kernels and its self-test: bitnet-b1.58, 2 layers.
// Written from templates/cpp/model.cpp.hbs for target x86-avx512vnni.
#include <cstring>

#include "attention.h"
#include "kernels.h"
#include "lists.h"
#include "rows.h"
#include "tables.h"
#include "team.h"

namespace {

constexpr int32_t kLayers = 2;
constexpr float kEpsilon = 0.000009999999747378752f;

// The weights file: tables first, then one stretch of kLayerBytes for each layer.
constexpr int64_t kLayerBase = 25088, kLayerBytes = 54080;

// The workspace: buffers of a step of n tokens start at n times these offsets; scratch of each thread comes after, and
// in the end what threads share.
constexpr int64_t kTokenBytes = 2944, kScratchBytes = 17472, kSharedBytes = 2048;
constexpr int64_t kX = 0;
constexpr int64_t kAngles = 512;
constexpr int64_t kQ = 576;
constexpr int64_t kQuant = 832;
constexpr int64_t kQkv = 896;
constexpr int64_t kAttended = 1664;
constexpr int64_t kGateUp = 896;
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
    bn_embed(x + int64_t{t} * 128, weights + 0, args->tokens[t].id);
    bn_rope_angles(angles + int64_t{t} * 16, args->tokens[t].position);
  }
  bn_barrier(args->team);

  for (int32_t layer = 0; layer < kLayers; ++layer) {
    const uint8_t *layer_weights = weights + kLayerBase + layer * kLayerBytes;

    // attn_norm of x, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = x + int64_t{t} * 128;
      bn_rms_norm<128>(row, token, floats(layer_weights + 0), 128, kEpsilon);
      bn_quantise_row<128>(q + int64_t{t} * 128, &quant[t], row);
    }
    bn_barrier(args->team);

    // qkv = qkv weights · q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 576, floats(layer_weights + 512), q, quant,
          qkv, 192, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 12, 4, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m192k128_t64x128x1__x86_avx512vnni(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 12, 2, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m192k128_t32x128x12__x86_avx512vnni(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // rotate queries and keys; keys and values to the cache
    bn_rope_store(args, layer, qkv, angles, thread);
    bn_barrier(args->team);

    // attended = attention of the queries over the cache
    bn_attention(args, layer, qkv, attended, row, shared, me);
    bn_barrier(args->team);

    // attn_sub_norm of attended, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = attended + int64_t{t} * 128;
      bn_rms_norm<128>(row, token, floats(layer_weights + 6720), 128, kEpsilon);
      bn_quantise_row<128>(q + int64_t{t} * 128, &quant[t], row);
    }
    bn_barrier(args->team);

    // x += attn_output weights · q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 7296, floats(layer_weights + 7232), q, quant,
          x, 128, count, 1, scratch};
      if (count == 1) {
        bn_share_out(me, 8, 4, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m128k128_t64x128x1__x86_avx512vnni(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 8, 2, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m128k128_t32x128x12__x86_avx512vnni(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // ffn_norm of x, to int8
    for (int32_t t = mine.begin; t < mine.end; ++t) {
      const float *token = x + int64_t{t} * 128;
      bn_rms_norm<128>(row, token, floats(layer_weights + 11392), 128, kEpsilon);
      bn_quantise_row<128>(q + int64_t{t} * 128, &quant[t], row);
    }
    bn_barrier(args->team);

    // gate_up = gate weights · q
    {
      const bn_bitlinear_args linear = {
          layer_weights + 11968, floats(layer_weights + 11904), q, quant,
          gate_up, 512, count, 0, scratch};
      if (count == 1) {
        bn_share_out(me, 16, 4, [&](bn_range groups) {
          bn_bitlinear_i2_gemv_m256k128_t64x128x1__x86_avx512vnni(&linear, groups.begin, groups.end);
        });
      } else {
        bn_share_out(me, 16, 2, [&](bn_range groups) {
          bn_bitlinear_i2_gemm_m256k128_t32x128x12__x86_avx512vnni(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // gate_up = up weights · q; of few tokens, those rows only that the gate lets through
    {
      const bn_bitlinear_args linear = {
          layer_weights + 20224, floats(layer_weights + 20160), q, quant,
          gate_up + 256, 512, count, 0, scratch};
      if (count <= 16) {
        int32_t *rows = reinterpret_cast<int32_t *>(scratch + 4096);
        const int32_t active = bn_list_rows<256>(rows, gate_up, 512, linear.group_scales, quant, count);
        bn_share_out(me, active + 1, 32, [&](bn_range taken) { // with the end of the list
          for (int32_t t = 0; t < count; ++t) bn_clear_rows(linear.y + t * linear.y_stride, rows, taken);
          const int32_t end = taken.end < active ? taken.end : active;
          bn_bitlinear_i2_rows_gemv_m256k128_t16x128x1__x86_avx512vnni_listed(&linear, rows + taken.begin, end - taken.begin, active - taken.begin);
        });
        if (args->counts != nullptr && thread == 0 && active < 256) args->counts->zeros += 256 - active;
      } else {
        bn_share_out(me, 16, 2, [&](bn_range groups) {
          bn_bitlinear_i2_rows_gemm_m256k128_t32x128x12__x86_avx512vnni(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);

    // relu2(gate) * up, ffn_sub_norm, to int8
    bn_share_out(me, count, 1, [&](bn_range tokens) {
      const int32_t t = tokens.begin;
      const float *gate = gate_up + int64_t{t} * 512;
      bn_relu2_gate<256>(row, gate, gate + 256);
      bn_rms_norm<256>(row, row, floats(layer_weights + 36608), 256, kEpsilon);
      bn_quantise_row<256>(q + int64_t{t} * 256, &quant[t], row);
    });
    bn_barrier(args->team);

    // x += down weights · q; of few tokens, without the columns that meet zeros
    {
      const bn_bitlinear_args linear = {
          layer_weights + 37696, floats(layer_weights + 37632), q, quant,
          x, 128, count, 1, scratch};
      if (count <= 16) {
        int32_t *columns = reinterpret_cast<int32_t *>(scratch + 16384);
        const int32_t active = bn_list_columns<256>(columns, q, count);
        int32_t *sums = reinterpret_cast<int32_t *>(scratch);
        std::memset(sums, 0, count * 1024);
        bn_share_out(me, active, 32, [&](bn_range taken) {
          bn_bitlinear_i2_columns_gemv_m128k256_t16x4x1__x86_avx512vnni_sums(sums, &linear, columns + taken.begin, taken.end - taken.begin, active - taken.begin);
        });
        if (args->counts != nullptr && thread == 0) args->counts->zero_columns += 256 - active;
        bn_barrier(args->team);
        const bn_range groups = bn_share(8, 1, thread, threads);
        bn_bitlinear_i2_columns_gemv_m128k256_t16x4x1__x86_avx512vnni_total(&linear, args->workspace + count * kTokenBytes, kScratchBytes, threads, groups.begin, groups.end);
      } else {
        bn_share_out(me, 8, 4, [&](bn_range groups) {
          bn_bitlinear_i2_columns_gemm_m128k256_t32x256x12__x86_avx512vnni(&linear, groups.begin, groups.end);
        });
      }
    }
    bn_barrier(args->team);
  }

  // hidden = output_norm of x, for the tokens that want logits or their hidden state
  for (int32_t t = mine.begin; t < mine.end; ++t) {
    const bn_token &token = args->tokens[t];
    if (token.logits_row < 0 && token.hidden_row < 0) continue;
    float *normed = token.logits_row < 0 ? row : hidden + int64_t{token.logits_row} * 128;
    const float *values = x + int64_t{t} * 128;
    bn_rms_norm<128>(normed, values, floats(weights + 24576), 128, kEpsilon);
    if (token.hidden_row < 0) continue;
    std::memcpy(args->hidden + int64_t{token.hidden_row} * 128, normed, 128 * sizeof(float));
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
    {576, 0, 128, 12},
    {576, 1, 128, 12},
    {7296, 2, 128, 8},
    {7296, 3, 128, 8},
    {11968, 4, 128, 16},
    {11968, 5, 128, 16},
    {20224, 6, 128, 16},
    {20224, 7, 128, 16},
    {37696, 8, 256, 8},
    {37696, 9, 256, 8},
};

constexpr bn_kernel kKernels[] = {
    {"bn_bitlinear_i2_gemv_m192k128_t64x128x1__x86_avx512vnni", 192, 128, 1, 0, 6144, bn_bitlinear_i2_gemv_m192k128_t64x128x1__x86_avx512vnni},
    {"bn_bitlinear_i2_gemm_m192k128_t32x128x12__x86_avx512vnni", 192, 128, 256, 4096, 6144, bn_bitlinear_i2_gemm_m192k128_t32x128x12__x86_avx512vnni},
    {"bn_bitlinear_i2_gemv_m128k128_t64x128x1__x86_avx512vnni", 128, 128, 1, 0, 4096, bn_bitlinear_i2_gemv_m128k128_t64x128x1__x86_avx512vnni},
    {"bn_bitlinear_i2_gemm_m128k128_t32x128x12__x86_avx512vnni", 128, 128, 256, 4096, 4096, bn_bitlinear_i2_gemm_m128k128_t32x128x12__x86_avx512vnni},
    {"bn_bitlinear_i2_gemv_m256k128_t64x128x1__x86_avx512vnni", 256, 128, 1, 0, 8192, bn_bitlinear_i2_gemv_m256k128_t64x128x1__x86_avx512vnni},
    {"bn_bitlinear_i2_gemm_m256k128_t32x128x12__x86_avx512vnni", 256, 128, 256, 4096, 8192, bn_bitlinear_i2_gemm_m256k128_t32x128x12__x86_avx512vnni},
    {"bn_bitlinear_i2_rows_gemv_m256k128_t16x128x1__x86_avx512vnni", 256, 128, 16, 5184, 16384, bn_bitlinear_i2_rows_gemv_m256k128_t16x128x1__x86_avx512vnni},
    {"bn_bitlinear_i2_rows_gemm_m256k128_t32x128x12__x86_avx512vnni", 256, 128, 256, 8192, 16384, bn_bitlinear_i2_rows_gemm_m256k128_t32x128x12__x86_avx512vnni},
    {"bn_bitlinear_i2_columns_gemv_m128k256_t16x4x1__x86_avx512vnni", 128, 256, 16, 17472, 16384, bn_bitlinear_i2_columns_gemv_m128k256_t16x4x1__x86_avx512vnni},
    {"bn_bitlinear_i2_columns_gemm_m128k256_t32x256x12__x86_avx512vnni", 128, 256, 256, 16384, 16384, bn_bitlinear_i2_columns_gemm_m128k256_t32x256x12__x86_avx512vnni},
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
  float *y = reinterpret_cast<float *>(workspace + 3328);
  float *ones = reinterpret_cast<float *>(workspace + 16640);
  uint8_t *scratch = workspace + 16704;
  for (int32_t g = 0; g < 16; ++g) ones[g] = 1.0f;
  for (int32_t k = 0; k < 10; ++k) checksums[k] = 0xcbf29ce484222325u;

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
    .target = "x86-avx512vnni",
    .vocab = 96,
    .context = 64,
    .embedding = 128,
    .max_tokens = 256,
    .kernel_count = 10,
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

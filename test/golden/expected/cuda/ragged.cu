// llama: 2 layers, 100 wide.
// Written from templates/cuda/model.cu.hbs for target cuda.
#include "attention.cuh"
#include "cuda.h"
#include "decode.cuh"
#include "flash.cuh"
#include "gemm.cuh"
#include "head.cuh"
#include "launches.cuh"
#include "rows.cuh"
#include "sample.cuh"
#include "tables.cuh"

constexpr int64_t kLayerBase = 58752, kLayerBytes = 22272;

__device__ __forceinline__ const uint8_t *layer_weights(const bn_cuda_args &args, int layer) {
  return args.weights + kLayerBase + layer * kLayerBytes;
}

// ---- before the first step ------------------------------------------------------------------------------------------

__constant__ double kFrequencies[8] = {
    0.25,
    0.07905694150420949,
    0.025,
    0.007905694150420948,
    0.0025,
    0.0007905694150420948,
    0.00025,
    0.00007905694150420948,
};

STEP(rope_angles, 256, 1) {
  fill_angles(reinterpret_cast<float2 *>(args.tables), kFrequencies, 8, 64);
}

// ---- before the layers ----------------------------------------------------------------------------------------------

// embedding of each token
struct embedding {
  using Table = Bf16Table<100>;
  static constexpr int size = 100, out_stride = 112, out_parts = 1;
  static constexpr int64_t table = 0, out = 0;
  static constexpr float scale = 1.0f;
};
STEP(embedding_rows, 256, 1) { embed<embedding>(args); }

// ---- each layer -----------------------------------------------------------------------------------------------------

// q_of_attn_norm, as int8
struct q_of_attn_norm {
  static constexpr int size = 100, threads = 64, stride = 112, parts = 1;
  static constexpr int64_t input = 0, norm = 0, q = 8650752, quant = 8912896;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(q_of_attn_norm_rows, 64, 1) { norm_quantise<q_of_attn_norm>(args, layer_weights(args, layer)); }

// qkv: 240 rows of 100
struct qkv {
  static constexpr int rows = 240, columns = 128, size = 100, up_offset = 0;
  static constexpr int out_stride = 240, out_parts = 1, stride = 112, parts = 1;
  static constexpr int64_t codes = 576, scales = 448;
  static constexpr int64_t q = 8650752, quant = 8912896, out = 1835008;
  static constexpr int64_t input = 0, norm = 0;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = false, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {1, 8, 1, 3};
  static constexpr Cut some = {1, 8, 1, 3};
};
STEP(qkv_gemv, Gemv<qkv>::kThreads, 2) { gemv<qkv>(args, layer_weights(args, layer)); }
STEP(qkv_16, (Skinny<qkv, 16>::kThreads), 1) { gemm_skinny<qkv, 16>(args, layer_weights(args, layer)); }
STEP(qkv_64, (Skinny<qkv, 64>::kThreads), 1) { gemm_skinny<qkv, 64>(args, layer_weights(args, layer)); }
#ifdef WGMMA
STEP(qkv_wgmma_128, 384, 1) { gemm_wgmma<qkv, 128, 4>(args, layer_weights(args, layer)); }
#else
STEP(qkv_mma, 256, 1) { gemm_mma<qkv>(args, layer_weights(args, layer)); }
#endif
STEP(qkv_trial, 256, 1) { fill_trial<qkv>(args); }

// Queries rotate, keys and values go to the cache
struct rope {
  using Cell = Half;
  static constexpr int dim = 24, heads = 3, kv_heads = 3, stride = 240;
  static constexpr int key = 80, value = 160, rotated = 16;
  static constexpr int64_t qkv = 1835008, angles = 0, local_angles = 0;
  static constexpr int64_t query_norm = -1, key_norm = -1;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr bool interleaved = true;
  static __device__ __forceinline__ bool local([[maybe_unused]] int layer) { return false; }
};
struct rope_f32 : rope {
  using Cell = float;
};
STEP(rope_store, 128, 1) { rope_store<rope>(args, layer_weights(args, layer), layer); }
STEP(rope_store_f32, 128, 1) { rope_store<rope_f32>(args, layer_weights(args, layer), layer); }

// Attention of the queries over the cache
struct attended {
  using Cell = Half;
  static constexpr int dim = 24, heads = 3, kv_heads = 3, context = 64;
  static constexpr int stride = 240, key = 80, value = 160, out_stride = 80, out_parts = 1;
  static constexpr int64_t qkv = 1835008, angles = 0, out = 3801088;
  static constexpr float scale = 0.20412415266036987f;
  static __device__ __forceinline__ int window([[maybe_unused]] int layer) { return 0x7fffffff; }
};
struct attended_f32 : attended {
  using Cell = float;
};
STEP(attended_tokens, 128, 1) { attention<attended>(args, layer); }
STEP(attended_tokens_f32, 128, 1) { attention<attended_f32>(args, layer); }

// q_of_attended, as int8
struct q_of_attended {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1;
  static constexpr int64_t input = 3801088, norm = -1, q = 8650752, quant = 8912896;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(q_of_attended_rows, 64, 1) { norm_quantise<q_of_attended>(args, layer_weights(args, layer)); }

// attn_output: 112 rows of 72
struct attn_output {
  static constexpr int rows = 112, columns = 128, size = 72, up_offset = 0;
  static constexpr int out_stride = 112, out_parts = 1, stride = 80, parts = 1;
  static constexpr int64_t codes = 8320, scales = 8256;
  static constexpr int64_t q = 8650752, quant = 8912896, out = 0;
  static constexpr int64_t input = 3801088, norm = -1;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = true, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {1, 8, 1, 3};
  static constexpr Cut some = {1, 8, 1, 3};
};
STEP(attn_output_gemv, Gemv<attn_output>::kThreads, 2) { gemv<attn_output>(args, layer_weights(args, layer)); }
STEP(attn_output_16, (Skinny<attn_output, 16>::kThreads), 1) { gemm_skinny<attn_output, 16>(args, layer_weights(args, layer)); }
STEP(attn_output_64, (Skinny<attn_output, 64>::kThreads), 1) { gemm_skinny<attn_output, 64>(args, layer_weights(args, layer)); }
#ifdef WGMMA
STEP(attn_output_wgmma_128, 384, 1) { gemm_wgmma<attn_output, 128, 4>(args, layer_weights(args, layer)); }
#else
STEP(attn_output_mma, 256, 1) { gemm_mma<attn_output>(args, layer_weights(args, layer)); }
#endif
STEP(attn_output_trial, 256, 1) { fill_trial<attn_output>(args); }

// q_of_ffn_norm, as int8
struct q_of_ffn_norm {
  static constexpr int size = 100, threads = 64, stride = 112, parts = 1;
  static constexpr int64_t input = 0, norm = 11904, q = 8650752, quant = 8912896;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(q_of_ffn_norm_rows, 64, 1) { norm_quantise<q_of_ffn_norm>(args, layer_weights(args, layer)); }

// gate_up: 192 rows of 100
struct gate_up {
  static constexpr int rows = 192, columns = 128, size = 100, up_offset = 0;
  static constexpr int out_stride = 96, out_parts = 1, stride = 112, parts = 1;
  static constexpr int64_t codes = 12480, scales = 12352;
  static constexpr int64_t q = 8650752, quant = 8912896, out = 6946816;
  static constexpr int64_t input = 0, norm = 11904;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::silu, input_gate = Activation::none;
  static constexpr bool accumulate = false, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {2, 8, 1, 3};
  static constexpr Cut some = {2, 8, 1, 3};
};
STEP(gate_up_gemv, Gemv<gate_up>::kThreads, 2) { gemv<gate_up>(args, layer_weights(args, layer)); }
STEP(gate_up_16, (Skinny<gate_up, 16>::kThreads), 1) { gemm_skinny<gate_up, 16>(args, layer_weights(args, layer)); }
STEP(gate_up_64, (Skinny<gate_up, 64>::kThreads), 1) { gemm_skinny<gate_up, 64>(args, layer_weights(args, layer)); }
#ifdef WGMMA
STEP(gate_up_wgmma_128, 384, 1) { gemm_wgmma<gate_up, 128, 4>(args, layer_weights(args, layer)); }
#else
STEP(gate_up_mma, 256, 1) { gemm_mma<gate_up>(args, layer_weights(args, layer)); }
#endif
STEP(gate_up_trial, 256, 1) { fill_trial<gate_up>(args); }

// q_of_gated, as int8
struct q_of_gated {
  static constexpr int size = 90, threads = 64, stride = 96, parts = 1;
  static constexpr int64_t input = 6946816, norm = -1, q = 8650752, quant = 8912896;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(q_of_gated_rows, 64, 1) { norm_quantise<q_of_gated>(args, layer_weights(args, layer)); }

// down: 112 rows of 90
struct down {
  static constexpr int rows = 112, columns = 128, size = 90, up_offset = 0;
  static constexpr int out_stride = 112, out_parts = 1, stride = 96, parts = 1;
  static constexpr int64_t codes = 18688, scales = 18624;
  static constexpr int64_t q = 8650752, quant = 8912896, out = 0;
  static constexpr int64_t input = 6946816, norm = -1;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = true, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {1, 8, 1, 3};
  static constexpr Cut some = {1, 8, 1, 3};
};
STEP(down_gemv, Gemv<down>::kThreads, 2) { gemv<down>(args, layer_weights(args, layer)); }
STEP(down_16, (Skinny<down, 16>::kThreads), 1) { gemm_skinny<down, 16>(args, layer_weights(args, layer)); }
STEP(down_64, (Skinny<down, 64>::kThreads), 1) { gemm_skinny<down, 64>(args, layer_weights(args, layer)); }
#ifdef WGMMA
STEP(down_wgmma_128, 384, 1) { gemm_wgmma<down, 128, 4>(args, layer_weights(args, layer)); }
#else
STEP(down_mma, 256, 1) { gemm_mma<down>(args, layer_weights(args, layer)); }
#endif
STEP(down_trial, 256, 1) { fill_trial<down>(args); }

// ---- after the layers -----------------------------------------------------------------------------------------------

// The last norm
struct output_norm {
  static constexpr int size = 100, threads = 64, stride = 112, parts = 1, out_stride = 112;
  static constexpr int64_t input = 0, norm = 58304, out = 7733248;
  static constexpr float epsilon = 0.000009999999747378752f;
  static __device__ __forceinline__ void put(float *row, int quad, const float4 &v) {
    reinterpret_cast<float4 *>(row)[quad] = v;
  }
};
STEP(output_norm_rows, 64, 1) { final_norm<output_norm>(args); }

// The head, 97 rows, and the largest logit
struct logits {
  using Table = F32Table<100>;
  static constexpr int rows = 97, size = 100, stride = 112, batch = 8;
  static constexpr int64_t table = 19456, hidden = 7733248;
};
STEP(logits_head, 256, 1) { head<logits>(args); }
STEP(logits_best, 1024, 1) { choose<logits>(args); }
STEP(logits_adjust, kBlockThreads, 1) { adjust_slice<logits>(args); }
STEP(logits_weigh, kBlockThreads, 1) { weigh_slice<logits>(args); }
STEP(logits_draw, kBlockThreads, 1) { draw<logits>(args); }

STEP(probe, kProbeThreads, 1) { probe_products(args); }

// ---- what the engine reads ------------------------------------------------------------------------------------------

extern "C" __device__ bn_cuda_model bn_cuda;
__device__ bn_cuda_model bn_cuda = {
    BN_CUDA_VERSION, BN_MODEL_KEY, 97, 64, 100, 2, 2048, 1, 1,
    8929344, 4096, {1152, 576 }, sizeof(Draw<97>),
    // Slices of the weights.
    58752, 22272, 22272,
    {
        {0, 0, 0, 22272},
    },
    // Before the first step.
    {BN_KV_F16, 1, 1, 0, 0, {{"rope_angles", 256, 0, 256, 0, 0, BN_CUDA_ONCE, 1, 0, 0, 0}} },
    8,
    {
        // one token
        {BN_KV_F16, 1, 1, 6, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            GEMV(qkv),
            {"rope_store", 128, 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            GEMV(attn_output),
            GEMV(gate_up),
            GEMV(down),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 13, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // a few
        {BN_KV_F16, 16, 1, 10, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(qkv, 16),
            {"rope_store", 128, 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attended_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 16),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate_up, 16),
            {"q_of_gated_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 16),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 13, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // some
        {BN_KV_F16, 64, 1, 10, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(qkv, 64),
            {"rope_store", 128, 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attended_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 64),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate_up, 64),
            {"q_of_gated_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 64),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 13, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // many
        {BN_KV_F16, 2048, 1, 10, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(qkv, 128, 4), MMA(qkv)),
            {"rope_store", 128, 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attended_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(attn_output, 128, 4), MMA(attn_output)),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(gate_up, 128, 4), MMA(gate_up)),
            {"q_of_gated_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(down, 128, 4), MMA(down)),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 13, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // one token, float32 cache
        {BN_KV_F32, 1, 1, 6, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            GEMV(qkv),
            {"rope_store_f32", 128, 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            GEMV(attn_output),
            GEMV(gate_up),
            GEMV(down),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 13, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // a few, float32 cache
        {BN_KV_F32, 16, 1, 10, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(qkv, 16),
            {"rope_store_f32", 128, 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attended_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 16),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate_up, 16),
            {"q_of_gated_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 16),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 13, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // some, float32 cache
        {BN_KV_F32, 64, 1, 10, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(qkv, 64),
            {"rope_store_f32", 128, 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attended_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 64),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate_up, 64),
            {"q_of_gated_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 64),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 13, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // many, float32 cache
        {BN_KV_F32, 2048, 1, 10, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(qkv, 128, 4), MMA(qkv)),
            {"rope_store_f32", 128, 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 3, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attended_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(attn_output, 128, 4), MMA(attn_output)),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(gate_up, 128, 4), MMA(gate_up)),
            {"q_of_gated_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(down, 128, 4), MMA(down)),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 13, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
    },
    16,
    {
        {"bn_bitlinear_t16_gemv_m240k100_t16x112x1w8s4n5__cuda", 240, 1, FILL(qkv), GEMV(qkv) },
        {"bn_bitlinear_t16_skinny_m240k100_t16x112x16w8s1n3__cuda", 240, BN_CUDA_TRIAL_TOKENS, FILL(qkv), SKINNY(qkv, 16) },
        {"bn_bitlinear_t16_skinny_m240k100_t16x112x64w8s1n3__cuda", 240, BN_CUDA_TRIAL_TOKENS, FILL(qkv), SKINNY(qkv, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m240k100_t128x112x128w8s1n5__cuda", 240, BN_CUDA_TRIAL_TOKENS, FILL(qkv), MMA(qkv) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m240k100_t128x112x128w8s1n4__cuda", 240, BN_CUDA_TRIAL_TOKENS, FILL(qkv), GEMM(qkv, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m112k72_t16x80x1w8s4n5__cuda", 112, 1, FILL(attn_output), GEMV(attn_output) },
        {"bn_bitlinear_t16_skinny_m112k72_t16x80x16w8s1n3__cuda", 112, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), SKINNY(attn_output, 16) },
        {"bn_bitlinear_t16_skinny_m112k72_t16x80x64w8s1n3__cuda", 112, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), SKINNY(attn_output, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m112k72_t128x80x128w8s1n5__cuda", 112, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), MMA(attn_output) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m112k72_t128x80x128w8s1n4__cuda", 112, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), GEMM(attn_output, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m192k100_t16x112x1w8s4n5__cuda", 192, 1, FILL(gate_up), GEMV(gate_up) },
        {"bn_bitlinear_t16_skinny_m192k100_t32x112x16w8s1n3__cuda", 192, BN_CUDA_TRIAL_TOKENS, FILL(gate_up), SKINNY(gate_up, 16) },
        {"bn_bitlinear_t16_skinny_m192k100_t32x112x64w8s1n3__cuda", 192, BN_CUDA_TRIAL_TOKENS, FILL(gate_up), SKINNY(gate_up, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m192k100_t128x112x128w8s1n5__cuda", 192, BN_CUDA_TRIAL_TOKENS, FILL(gate_up), MMA(gate_up) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m192k100_t128x112x128w8s1n4__cuda", 192, BN_CUDA_TRIAL_TOKENS, FILL(gate_up), GEMM(gate_up, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m112k90_t16x96x1w8s4n5__cuda", 112, 1, FILL(down), GEMV(down) },
        {"bn_bitlinear_t16_skinny_m112k90_t16x96x16w8s1n3__cuda", 112, BN_CUDA_TRIAL_TOKENS, FILL(down), SKINNY(down, 16) },
        {"bn_bitlinear_t16_skinny_m112k90_t16x96x64w8s1n3__cuda", 112, BN_CUDA_TRIAL_TOKENS, FILL(down), SKINNY(down, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m112k90_t128x96x128w8s1n5__cuda", 112, BN_CUDA_TRIAL_TOKENS, FILL(down), MMA(down) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m112k90_t128x96x128w8s1n4__cuda", 112, BN_CUDA_TRIAL_TOKENS, FILL(down), GEMM(down, 128, 4) },
#endif
    },
    {"probe", kProbeThreads, kProbeShared, 0x7fffffff, 1, 1, BN_CUDA_ONCE, 1, 0, 0, 0},
    kProbeMacs,
};

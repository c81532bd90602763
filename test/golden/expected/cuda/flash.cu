// bitnet-b1.58: 2 layers, 256 wide.
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

constexpr int64_t kLayerBase = 21376, kLayerBytes = 178816;

__device__ __forceinline__ const uint8_t *layer_weights(const bn_cuda_args &args, int layer) {
  return args.weights + kLayerBase + layer * kLayerBytes;
}

// ---- before the first step ------------------------------------------------------------------------------------------

__constant__ double kFrequencies[64] = {
    1.0,
    0.8659643233600653,
    0.7498942093324559,
    0.6493816315762113,
    0.5623413251903491,
    0.4869675251658631,
    0.4216965034285822,
    0.36517412725483767,
    0.31622776601683794,
    0.27384196342643613,
    0.23713737056616552,
    0.2053525026457146,
    0.17782794100389226,
    0.1539926526059492,
    0.1333521432163324,
    0.11547819846894582,
    0.1,
    0.08659643233600653,
    0.07498942093324558,
    0.06493816315762113,
    0.056234132519034905,
    0.04869675251658631,
    0.042169650342858224,
    0.03651741272548377,
    0.03162277660168379,
    0.027384196342643614,
    0.02371373705661655,
    0.02053525026457146,
    0.01778279410038923,
    0.01539926526059492,
    0.01333521432163324,
    0.011547819846894581,
    0.01,
    0.008659643233600654,
    0.007498942093324558,
    0.006493816315762113,
    0.005623413251903491,
    0.004869675251658631,
    0.004216965034285823,
    0.003651741272548377,
    0.0031622776601683794,
    0.0027384196342643613,
    0.0023713737056616554,
    0.002053525026457146,
    0.0017782794100389228,
    0.001539926526059492,
    0.001333521432163324,
    0.0011547819846894581,
    0.001,
    0.0008659643233600654,
    0.0007498942093324557,
    0.0006493816315762113,
    0.0005623413251903491,
    0.0004869675251658631,
    0.00042169650342858224,
    0.0003651741272548377,
    0.00031622776601683794,
    0.0002738419634264361,
    0.00023713737056616554,
    0.0002053525026457146,
    0.0001778279410038923,
    0.0001539926526059492,
    0.0001333521432163324,
    0.00011547819846894582,
};

STEP(rope_angles, 256, 1) {
  fill_angles(reinterpret_cast<float2 *>(args.tables), kFrequencies, 64, 64);
}

// ---- before the layers ----------------------------------------------------------------------------------------------

// embedding of each token
struct embedding {
  using Table = Q6_KTiles<256>;
  static constexpr int size = 256, out_stride = 256, out_parts = 1;
  static constexpr int64_t table = 0, out = 0;
  static constexpr float scale = 1.0f;
};
STEP(embedding_rows, 256, 1) { embed<embedding>(args); }

// ---- each layer -----------------------------------------------------------------------------------------------------

// q_of_attn_norm, as int8
struct q_of_attn_norm {
  static constexpr int size = 256, threads = 64, stride = 256, parts = 1;
  static constexpr int64_t input = 0, norm = 0, q = 30408704, quant = 31457280;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(q_of_attn_norm_rows, 64, 1) { norm_quantise<q_of_attn_norm>(args, layer_weights(args, layer)); }

// qkv: 1024 rows of 256
struct qkv {
  static constexpr int rows = 1024, columns = 256, size = 256, up_offset = 0;
  static constexpr int out_stride = 1024, out_parts = 1, stride = 256, parts = 1;
  static constexpr int64_t codes = 1536, scales = 1024;
  static constexpr int64_t q = 30408704, quant = 31457280, out = 4194304;
  static constexpr int64_t input = 0, norm = 0;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = false, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {2, 8, 1, 3};
  static constexpr Cut some = {2, 8, 1, 3};
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
  static constexpr int dim = 128, heads = 4, kv_heads = 2, stride = 1024;
  static constexpr int key = 512, value = 768, rotated = 128;
  static constexpr int64_t qkv = 4194304, angles = 0, local_angles = 0;
  static constexpr int64_t query_norm = -1, key_norm = -1;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr bool interleaved = false;
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
  static constexpr int dim = 128, heads = 4, kv_heads = 2, context = 64;
  static constexpr int stride = 1024, key = 512, value = 768, out_stride = 512, out_parts = 1;
  static constexpr int64_t qkv = 4194304, angles = 0, out = 12582912;
  static constexpr float scale = 0.0883883461356163f;
  static constexpr int splits = 32;
  static constexpr int64_t shares = 31473728;
  static __device__ __forceinline__ int window([[maybe_unused]] int layer) { return 0x7fffffff; }
};
struct attended_f32 : attended {
  using Cell = float;
};
STEP(attended_one, OneToken<attended>::kThreads, 1) { attend_one<attended>(args, layer); }
STEP(attended_runs, 256, 1) { attend_run<attended>(args, layer); }
STEP(attended_singles, 128, 3) { attend_single<attended>(args, layer); }
STEP(attended_tokens_f32, 128, 1) { attention<attended_f32>(args, layer); }

// q_of_attn_sub_norm, as int8
struct q_of_attn_sub_norm {
  static constexpr int size = 512, threads = 64, stride = 512, parts = 1;
  static constexpr int64_t input = 12582912, norm = 67072, q = 30408704, quant = 31457280;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(q_of_attn_sub_norm_rows, 64, 1) { norm_quantise<q_of_attn_sub_norm>(args, layer_weights(args, layer)); }

// attn_output: 256 rows of 512
struct attn_output {
  static constexpr int rows = 256, columns = 512, size = 512, up_offset = 0;
  static constexpr int out_stride = 256, out_parts = 1, stride = 512, parts = 1;
  static constexpr int64_t codes = 69248, scales = 69120;
  static constexpr int64_t q = 30408704, quant = 31457280, out = 0;
  static constexpr int64_t input = 12582912, norm = 67072;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = true, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {2, 8, 1, 3};
  static constexpr Cut some = {2, 8, 1, 3};
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
  static constexpr int size = 256, threads = 64, stride = 256, parts = 1;
  static constexpr int64_t input = 0, norm = 102016, q = 30408704, quant = 31457280;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(q_of_ffn_norm_rows, 64, 1) { norm_quantise<q_of_ffn_norm>(args, layer_weights(args, layer)); }

// gate_up: 768 rows of 256
struct gate_up {
  static constexpr int rows = 768, columns = 256, size = 256, up_offset = 0;
  static constexpr int out_stride = 384, out_parts = 1, stride = 256, parts = 1;
  static constexpr int64_t codes = 103424, scales = 103040;
  static constexpr int64_t q = 30408704, quant = 31457280, out = 25165824;
  static constexpr int64_t input = 0, norm = 102016;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::relu2, input_gate = Activation::none;
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

// q_of_ffn_sub_norm, as int8
struct q_of_ffn_sub_norm {
  static constexpr int size = 384, threads = 64, stride = 384, parts = 1;
  static constexpr int64_t input = 25165824, norm = 152576, q = 30408704, quant = 31457280;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(q_of_ffn_sub_norm_rows, 64, 1) { norm_quantise<q_of_ffn_sub_norm>(args, layer_weights(args, layer)); }

// down: 256 rows of 384
struct down {
  static constexpr int rows = 256, columns = 384, size = 384, up_offset = 0;
  static constexpr int out_stride = 256, out_parts = 1, stride = 384, parts = 1;
  static constexpr int64_t codes = 154240, scales = 154112;
  static constexpr int64_t q = 30408704, quant = 31457280, out = 0;
  static constexpr int64_t input = 25165824, norm = 152576;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = true, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {2, 8, 1, 3};
  static constexpr Cut some = {2, 8, 1, 3};
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
  static constexpr int size = 256, threads = 64, stride = 256, parts = 1, out_stride = 256;
  static constexpr int64_t input = 0, norm = 20352, out = 28311552;
  static constexpr float epsilon = 0.000009999999747378752f;
  static __device__ __forceinline__ void put(float *row, int quad, const float4 &v) {
    split_hidden<Q6_KTiles<256>>(reinterpret_cast<uint8_t *>(row), size, quad, v);
  }
};
STEP(output_norm_rows, 64, 1) { final_norm<output_norm>(args); }

// The head, 96 rows, and the largest logit
struct logits {
  using Tiles = Q6_KTiles<256>;
  static constexpr int rows = 96, size = 256, stride = 256, batch = 8;
  static constexpr int64_t table = 0, hidden = 28311552;
  // Of one token, the last norm is computed with it.
  static constexpr int64_t input = 0, norm = 20352, found = 31473664;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(logits_one, OneHead<logits>::kThreads, 2) { head_one<logits>(args); }
STEP(logits_16, 256, 1) { head_many<logits, 16>(args); }
STEP(logits_64, 256, 1) { head_many<logits, 64>(args); }
STEP(logits_best, 1024, 1) { choose<logits>(args); }
STEP(logits_adjust, kBlockThreads, 1) { adjust_slice<logits>(args); }
STEP(logits_weigh, kBlockThreads, 1) { weigh_slice<logits>(args); }
STEP(logits_draw, kBlockThreads, 1) { draw<logits>(args); }

STEP(probe, kProbeThreads, 1) { probe_products(args); }

// ---- what the engine reads ------------------------------------------------------------------------------------------

extern "C" __device__ bn_cuda_model bn_cuda;
__device__ bn_cuda_model bn_cuda = {
    BN_CUDA_VERSION, BN_MODEL_KEY, 96, 64, 256, 2, 2048, 1, 1,
    31540544, 32768, {4096, 2048 }, sizeof(Draw<96>),
    // Slices of the weights.
    21376, 178816, 178816,
    {
        {0, 0, 0, 178816},
    },
    // Before the first step.
    {BN_KV_F16, 1, 1, 0, 0, {{"rope_angles", 256, 0, 256, 0, 0, BN_CUDA_ONCE, 1, 0, 0, 0}} },
    8,
    {
        // one token
        {BN_KV_F16, 1, 1, 5, 5, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            GEMV(qkv),
            ONE_TOKEN(attended),
            GEMV(attn_output),
            GEMV(gate_up),
            GEMV(down),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_HIDDEN, 1, 0, 0, 1},
            ONE_HEAD(logits),
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // a few
        {BN_KV_F16, 16, 1, 11, 7, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(qkv, 16),
            {"rope_store", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_runs", 256, kFlashShared, 4, 0, 0, BN_CUDA_RUNS, 1, 0, 0, 1},
            {"attended_singles", 128, 0, 2, 0, 0, BN_CUDA_SINGLES, 1, 0, 0, 1},
            {"q_of_attn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 16),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate_up, 16),
            {"q_of_ffn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 16),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_16", 256, kHeadShared<16>, 1, 0, 0, BN_CUDA_ROWS, 16, 0, 16, 1},
            {"logits_64", 256, kHeadShared<64>, 1, 0, 0, BN_CUDA_ROWS, 64, 16, 2048, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // some
        {BN_KV_F16, 64, 1, 11, 7, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(qkv, 64),
            {"rope_store", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_runs", 256, kFlashShared, 4, 0, 0, BN_CUDA_RUNS, 1, 0, 0, 1},
            {"attended_singles", 128, 0, 2, 0, 0, BN_CUDA_SINGLES, 1, 0, 0, 1},
            {"q_of_attn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 64),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate_up, 64),
            {"q_of_ffn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 64),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_16", 256, kHeadShared<16>, 1, 0, 0, BN_CUDA_ROWS, 16, 0, 16, 1},
            {"logits_64", 256, kHeadShared<64>, 1, 0, 0, BN_CUDA_ROWS, 64, 16, 2048, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // many
        {BN_KV_F16, 2048, 1, 11, 7, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(qkv, 128, 4), MMA(qkv)),
            {"rope_store", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_runs", 256, kFlashShared, 4, 0, 0, BN_CUDA_RUNS, 1, 0, 0, 1},
            {"attended_singles", 128, 0, 2, 0, 0, BN_CUDA_SINGLES, 1, 0, 0, 1},
            {"q_of_attn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(attn_output, 128, 4), MMA(attn_output)),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(gate_up, 128, 4), MMA(gate_up)),
            {"q_of_ffn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(down, 128, 4), MMA(down)),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_16", 256, kHeadShared<16>, 1, 0, 0, BN_CUDA_ROWS, 16, 0, 16, 1},
            {"logits_64", 256, kHeadShared<64>, 1, 0, 0, BN_CUDA_ROWS, 64, 16, 2048, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // one token, float32 cache
        {BN_KV_F32, 1, 1, 6, 5, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            GEMV(qkv),
            {"rope_store_f32", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            GEMV(attn_output),
            GEMV(gate_up),
            GEMV(down),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_HIDDEN, 1, 0, 0, 1},
            ONE_HEAD(logits),
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // a few, float32 cache
        {BN_KV_F32, 16, 1, 10, 7, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(qkv, 16),
            {"rope_store_f32", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 16),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate_up, 16),
            {"q_of_ffn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 16),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_16", 256, kHeadShared<16>, 1, 0, 0, BN_CUDA_ROWS, 16, 0, 16, 1},
            {"logits_64", 256, kHeadShared<64>, 1, 0, 0, BN_CUDA_ROWS, 64, 16, 2048, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // some, float32 cache
        {BN_KV_F32, 64, 1, 10, 7, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(qkv, 64),
            {"rope_store_f32", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 64),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate_up, 64),
            {"q_of_ffn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 64),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_16", 256, kHeadShared<16>, 1, 0, 0, BN_CUDA_ROWS, 16, 0, 16, 1},
            {"logits_64", 256, kHeadShared<64>, 1, 0, 0, BN_CUDA_ROWS, 64, 16, 2048, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // many, float32 cache
        {BN_KV_F32, 2048, 1, 10, 7, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"q_of_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(qkv, 128, 4), MMA(qkv)),
            {"rope_store_f32", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(attn_output, 128, 4), MMA(attn_output)),
            {"q_of_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(gate_up, 128, 4), MMA(gate_up)),
            {"q_of_ffn_sub_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(down, 128, 4), MMA(down)),
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_16", 256, kHeadShared<16>, 1, 0, 0, BN_CUDA_ROWS, 16, 0, 16, 1},
            {"logits_64", 256, kHeadShared<64>, 1, 0, 0, BN_CUDA_ROWS, 64, 16, 2048, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
    },
    16,
    {
        {"bn_bitlinear_t16_gemv_m1024k256_t16x256x1w8s4n5__cuda", 1024, 1, FILL(qkv), GEMV(qkv) },
        {"bn_bitlinear_t16_skinny_m1024k256_t32x256x16w8s1n3__cuda", 1024, BN_CUDA_TRIAL_TOKENS, FILL(qkv), SKINNY(qkv, 16) },
        {"bn_bitlinear_t16_skinny_m1024k256_t32x256x64w8s1n3__cuda", 1024, BN_CUDA_TRIAL_TOKENS, FILL(qkv), SKINNY(qkv, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m1024k256_t128x256x128w8s1n5__cuda", 1024, BN_CUDA_TRIAL_TOKENS, FILL(qkv), MMA(qkv) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m1024k256_t128x256x128w8s1n4__cuda", 1024, BN_CUDA_TRIAL_TOKENS, FILL(qkv), GEMM(qkv, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m256k512_t16x512x1w8s4n5__cuda", 256, 1, FILL(attn_output), GEMV(attn_output) },
        {"bn_bitlinear_t16_skinny_m256k512_t32x512x16w8s1n3__cuda", 256, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), SKINNY(attn_output, 16) },
        {"bn_bitlinear_t16_skinny_m256k512_t32x512x64w8s1n3__cuda", 256, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), SKINNY(attn_output, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m256k512_t128x512x128w8s1n5__cuda", 256, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), MMA(attn_output) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m256k512_t128x512x128w8s1n4__cuda", 256, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), GEMM(attn_output, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m768k256_t16x256x1w8s4n5__cuda", 768, 1, FILL(gate_up), GEMV(gate_up) },
        {"bn_bitlinear_t16_skinny_m768k256_t32x256x16w8s1n3__cuda", 768, BN_CUDA_TRIAL_TOKENS, FILL(gate_up), SKINNY(gate_up, 16) },
        {"bn_bitlinear_t16_skinny_m768k256_t32x256x64w8s1n3__cuda", 768, BN_CUDA_TRIAL_TOKENS, FILL(gate_up), SKINNY(gate_up, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m768k256_t128x256x128w8s1n5__cuda", 768, BN_CUDA_TRIAL_TOKENS, FILL(gate_up), MMA(gate_up) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m768k256_t128x256x128w8s1n4__cuda", 768, BN_CUDA_TRIAL_TOKENS, FILL(gate_up), GEMM(gate_up, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m256k384_t16x384x1w8s4n5__cuda", 256, 1, FILL(down), GEMV(down) },
        {"bn_bitlinear_t16_skinny_m256k384_t32x384x16w8s1n3__cuda", 256, BN_CUDA_TRIAL_TOKENS, FILL(down), SKINNY(down, 16) },
        {"bn_bitlinear_t16_skinny_m256k384_t32x384x64w8s1n3__cuda", 256, BN_CUDA_TRIAL_TOKENS, FILL(down), SKINNY(down, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m256k384_t128x384x128w8s1n5__cuda", 256, BN_CUDA_TRIAL_TOKENS, FILL(down), MMA(down) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m256k384_t128x384x128w8s1n4__cuda", 256, BN_CUDA_TRIAL_TOKENS, FILL(down), GEMM(down, 128, 4) },
#endif
    },
    {"probe", kProbeThreads, kProbeShared, 0x7fffffff, 1, 1, BN_CUDA_ONCE, 1, 0, 0, 0},
    kProbeMacs,
};

// gemma3: 2 layers, 72 wide.
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

constexpr int64_t kLayerBase = 14144, kLayerBytes = 21760;

__device__ __forceinline__ const uint8_t *layer_weights(const bn_cuda_args &args, int layer) {
  return args.weights + kLayerBase + layer * kLayerBytes;
}

__constant__ bool kLocal[2] = {true, false};

// ---- before the first step ------------------------------------------------------------------------------------------

__constant__ double kFrequencies[12] = {
    1.0,
    0.4641588833612779,
    0.2154434690031884,
    0.1,
    0.046415888336127795,
    0.021544346900318832,
    0.01,
    0.004641588833612777,
    0.0021544346900318843,
    0.001,
    0.00046415888336127773,
    0.00021544346900318845,
};

// Of layers that attend to a window.
__constant__ double kLocalFrequencies[12] = {
    1.0,
    0.6812920690579612,
    0.4641588833612779,
    0.31622776601683794,
    0.2154434690031884,
    0.14677992676220694,
    0.1,
    0.06812920690579612,
    0.046415888336127795,
    0.03162277660168379,
    0.021544346900318832,
    0.014677992676220698,
};

STEP(rope_angles, 256, 1) {
  fill_angles(reinterpret_cast<float2 *>(args.tables), kFrequencies, 12, 64);
  fill_angles(reinterpret_cast<float2 *>(args.tables) + 12 * 64, kLocalFrequencies, 12, 64);
}

// ---- before the layers ----------------------------------------------------------------------------------------------

// embedding of each token
struct embedding {
  using Table = F16Table<72>;
  static constexpr int size = 72, out_stride = 80, out_parts = 1;
  static constexpr int64_t table = 0, out = 0;
  static constexpr float scale = 8.485280990600586f;
};
STEP(embedding_rows, 256, 1) { embed<embedding>(args); }

// ---- each layer -----------------------------------------------------------------------------------------------------

// norm_attn_norm of each token
struct norm_attn_norm {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1, out_stride = 80;
  static constexpr int64_t input = 0, norm = 0, out = 655360;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr bool accumulate = false;
};
STEP(norm_attn_norm_rows, 64, 1) { norm<norm_attn_norm>(args, layer_weights(args, layer)); }

// query_q_of_attn_q_norm_in, as int8
struct query_q_of_attn_q_norm_in {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1;
  static constexpr int64_t input = 655360, norm = 320, q = 7340032, quant = 7602176;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(query_q_of_attn_q_norm_in_rows, 64, 1) { norm_quantise<query_q_of_attn_q_norm_in>(args, layer_weights(args, layer)); }

// key_q_of_attn_k_norm_in, as int8
struct key_q_of_attn_k_norm_in {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1;
  static constexpr int64_t input = 655360, norm = 640, q = 7618560, quant = 7880704;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(key_q_of_attn_k_norm_in_rows, 64, 1) { norm_quantise<key_q_of_attn_k_norm_in>(args, layer_weights(args, layer)); }

// value_q_of_attn_v_norm_in, as int8
struct value_q_of_attn_v_norm_in {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1;
  static constexpr int64_t input = 655360, norm = 960, q = 7897088, quant = 8159232;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(value_q_of_attn_v_norm_in_rows, 64, 1) { norm_quantise<value_q_of_attn_v_norm_in>(args, layer_weights(args, layer)); }

// query: 96 rows of 72
struct query {
  static constexpr int rows = 96, columns = 128, size = 72, up_offset = 0;
  static constexpr int out_stride = 192, out_parts = 1, stride = 80, parts = 1;
  static constexpr int64_t codes = 1344, scales = 1280;
  static constexpr int64_t q = 7340032, quant = 7602176, out = 1310720;
  static constexpr int64_t input = 655360, norm = 320;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = false, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {2, 8, 1, 3};
  static constexpr Cut some = {2, 8, 1, 3};
};
STEP(query_gemv, Gemv<query>::kThreads, 2) { gemv<query>(args, layer_weights(args, layer)); }
STEP(query_16, (Skinny<query, 16>::kThreads), 1) { gemm_skinny<query, 16>(args, layer_weights(args, layer)); }
STEP(query_64, (Skinny<query, 64>::kThreads), 1) { gemm_skinny<query, 64>(args, layer_weights(args, layer)); }
#ifdef WGMMA
STEP(query_wgmma_128, 384, 1) { gemm_wgmma<query, 128, 4>(args, layer_weights(args, layer)); }
#else
STEP(query_mma, 256, 1) { gemm_mma<query>(args, layer_weights(args, layer)); }
#endif
STEP(query_trial, 256, 1) { fill_trial<query>(args); }

// key: 48 rows of 72
struct key {
  static constexpr int rows = 48, columns = 128, size = 72, up_offset = 0;
  static constexpr int out_stride = 192, out_parts = 1, stride = 80, parts = 1;
  static constexpr int64_t codes = 4480, scales = 4416;
  static constexpr int64_t q = 7618560, quant = 7880704, out = 1311104;
  static constexpr int64_t input = 655360, norm = 640;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = false, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {1, 8, 1, 3};
  static constexpr Cut some = {1, 8, 1, 3};
};
STEP(key_gemv, Gemv<key>::kThreads, 2) { gemv<key>(args, layer_weights(args, layer)); }
STEP(key_16, (Skinny<key, 16>::kThreads), 1) { gemm_skinny<key, 16>(args, layer_weights(args, layer)); }
STEP(key_64, (Skinny<key, 64>::kThreads), 1) { gemm_skinny<key, 64>(args, layer_weights(args, layer)); }
#ifdef WGMMA
STEP(key_wgmma_128, 384, 1) { gemm_wgmma<key, 128, 4>(args, layer_weights(args, layer)); }
#else
STEP(key_mma, 256, 1) { gemm_mma<key>(args, layer_weights(args, layer)); }
#endif
STEP(key_trial, 256, 1) { fill_trial<key>(args); }

// value: 48 rows of 72
struct value {
  static constexpr int rows = 48, columns = 128, size = 72, up_offset = 0;
  static constexpr int out_stride = 192, out_parts = 1, stride = 80, parts = 1;
  static constexpr int64_t codes = 6080, scales = 6016;
  static constexpr int64_t q = 7897088, quant = 8159232, out = 1311296;
  static constexpr int64_t input = 655360, norm = 960;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = false, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {1, 8, 1, 3};
  static constexpr Cut some = {1, 8, 1, 3};
};
STEP(value_gemv, Gemv<value>::kThreads, 2) { gemv<value>(args, layer_weights(args, layer)); }
STEP(value_16, (Skinny<value, 16>::kThreads), 1) { gemm_skinny<value, 16>(args, layer_weights(args, layer)); }
STEP(value_64, (Skinny<value, 64>::kThreads), 1) { gemm_skinny<value, 64>(args, layer_weights(args, layer)); }
#ifdef WGMMA
STEP(value_wgmma_128, 384, 1) { gemm_wgmma<value, 128, 4>(args, layer_weights(args, layer)); }
#else
STEP(value_mma, 256, 1) { gemm_mma<value>(args, layer_weights(args, layer)); }
#endif
STEP(value_trial, 256, 1) { fill_trial<value>(args); }

// Queries rotate, keys and values go to the cache
struct rope {
  using Cell = Half;
  static constexpr int dim = 24, heads = 4, kv_heads = 2, stride = 192;
  static constexpr int key = 96, value = 144, rotated = 24;
  static constexpr int64_t qkv = 1310720, angles = 0, local_angles = 6144;
  static constexpr int64_t query_norm = 7616, key_norm = 7744;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr bool interleaved = false;
  static __device__ __forceinline__ bool local([[maybe_unused]] int layer) { return kLocal[layer]; }
};
struct rope_f32 : rope {
  using Cell = float;
};
STEP(rope_store, 128, 1) { rope_store<rope>(args, layer_weights(args, layer), layer); }
STEP(rope_store_f32, 128, 1) { rope_store<rope_f32>(args, layer_weights(args, layer), layer); }

// Attention of the queries over the cache
struct attended {
  using Cell = Half;
  static constexpr int dim = 24, heads = 4, kv_heads = 2, context = 64;
  static constexpr int stride = 192, key = 96, value = 144, out_stride = 96, out_parts = 1;
  static constexpr int64_t qkv = 1310720, angles = 0, out = 2883584;
  static constexpr float scale = 0.20412415266036987f;
  static __device__ __forceinline__ int window([[maybe_unused]] int layer) { return kLocal[layer] ? 20 : 0x7fffffff; }
};
struct attended_f32 : attended {
  using Cell = float;
};
STEP(attended_tokens, 128, 1) { attention<attended>(args, layer); }
STEP(attended_tokens_f32, 128, 1) { attention<attended_f32>(args, layer); }

// q_of_attn_output_norm_in, as int8
struct q_of_attn_output_norm_in {
  static constexpr int size = 96, threads = 64, stride = 96, parts = 1;
  static constexpr int64_t input = 2883584, norm = 7872, q = 8175616, quant = 8437760;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(q_of_attn_output_norm_in_rows, 64, 1) { norm_quantise<q_of_attn_output_norm_in>(args, layer_weights(args, layer)); }

// attn_output: 80 rows of 96
struct attn_output {
  static constexpr int rows = 80, columns = 128, size = 96, up_offset = 0;
  static constexpr int out_stride = 80, out_parts = 1, stride = 96, parts = 1;
  static constexpr int64_t codes = 8320, scales = 8256;
  static constexpr int64_t q = 8175616, quant = 8437760, out = 3670016;
  static constexpr int64_t input = 2883584, norm = 7872;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = false, fused = true;
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

// adds norm_post_attention_norm of each token
struct norm_post_attention_norm {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1, out_stride = 80;
  static constexpr int64_t input = 3670016, norm = 10880, out = 0;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr bool accumulate = true;
};
STEP(norm_post_attention_norm_rows, 64, 1) { norm<norm_post_attention_norm>(args, layer_weights(args, layer)); }

// norm_ffn_norm of each token
struct norm_ffn_norm {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1, out_stride = 80;
  static constexpr int64_t input = 0, norm = 11200, out = 655360;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr bool accumulate = false;
};
STEP(norm_ffn_norm_rows, 64, 1) { norm<norm_ffn_norm>(args, layer_weights(args, layer)); }

// gate_q_of_ffn_gate_norm_in, as int8
struct gate_q_of_ffn_gate_norm_in {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1;
  static constexpr int64_t input = 655360, norm = 11520, q = 8454144, quant = 8716288;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(gate_q_of_ffn_gate_norm_in_rows, 64, 1) { norm_quantise<gate_q_of_ffn_gate_norm_in>(args, layer_weights(args, layer)); }

// up_q_of_ffn_up_norm_in, as int8
struct up_q_of_ffn_up_norm_in {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1;
  static constexpr int64_t input = 655360, norm = 11840, q = 8732672, quant = 8994816;
  static constexpr float epsilon = 0.000009999999747378752f;
};
STEP(up_q_of_ffn_up_norm_in_rows, 64, 1) { norm_quantise<up_q_of_ffn_up_norm_in>(args, layer_weights(args, layer)); }

// gate: 96 rows of 72
struct gate {
  static constexpr int rows = 96, columns = 128, size = 72, up_offset = 0;
  static constexpr int out_stride = 192, out_parts = 1, stride = 80, parts = 1;
  static constexpr int64_t codes = 12224, scales = 12160;
  static constexpr int64_t q = 8454144, quant = 8716288, out = 4325376;
  static constexpr int64_t input = 655360, norm = 11520;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = false, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {2, 8, 1, 3};
  static constexpr Cut some = {2, 8, 1, 3};
};
STEP(gate_gemv, Gemv<gate>::kThreads, 2) { gemv<gate>(args, layer_weights(args, layer)); }
STEP(gate_16, (Skinny<gate, 16>::kThreads), 1) { gemm_skinny<gate, 16>(args, layer_weights(args, layer)); }
STEP(gate_64, (Skinny<gate, 64>::kThreads), 1) { gemm_skinny<gate, 64>(args, layer_weights(args, layer)); }
#ifdef WGMMA
STEP(gate_wgmma_128, 384, 1) { gemm_wgmma<gate, 128, 4>(args, layer_weights(args, layer)); }
#else
STEP(gate_mma, 256, 1) { gemm_mma<gate>(args, layer_weights(args, layer)); }
#endif
STEP(gate_trial, 256, 1) { fill_trial<gate>(args); }

// up: 96 rows of 72
struct up {
  static constexpr int rows = 96, columns = 128, size = 72, up_offset = 0;
  static constexpr int out_stride = 192, out_parts = 1, stride = 80, parts = 1;
  static constexpr int64_t codes = 15360, scales = 15296;
  static constexpr int64_t q = 8732672, quant = 8994816, out = 4325760;
  static constexpr int64_t input = 655360, norm = 11840;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::none;
  static constexpr bool accumulate = false, fused = true;
  static constexpr Cut one = {1, 8, 4, 5};
  static constexpr Cut few = {2, 8, 1, 3};
  static constexpr Cut some = {2, 8, 1, 3};
};
STEP(up_gemv, Gemv<up>::kThreads, 2) { gemv<up>(args, layer_weights(args, layer)); }
STEP(up_16, (Skinny<up, 16>::kThreads), 1) { gemm_skinny<up, 16>(args, layer_weights(args, layer)); }
STEP(up_64, (Skinny<up, 64>::kThreads), 1) { gemm_skinny<up, 64>(args, layer_weights(args, layer)); }
#ifdef WGMMA
STEP(up_wgmma_128, 384, 1) { gemm_wgmma<up, 128, 4>(args, layer_weights(args, layer)); }
#else
STEP(up_mma, 256, 1) { gemm_mma<up>(args, layer_weights(args, layer)); }
#endif
STEP(up_trial, 256, 1) { fill_trial<up>(args); }

// q_of_ffn_down_norm_in of gelu(gate) * up, as int8
struct q_of_ffn_down_norm_in {
  static constexpr int size = 90, threads = 64, stride = 192, parts = 1, up_offset = 96;
  static constexpr int64_t input = 4325376, norm = 18432, q = 8175616, quant = 8437760;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::gelu;
};
STEP(q_of_ffn_down_norm_in_rows, 64, 1) { gated_quantise<q_of_ffn_down_norm_in>(args, layer_weights(args, layer)); }

// down: 80 rows of 90
struct down {
  static constexpr int rows = 80, columns = 128, size = 90, up_offset = 96;
  static constexpr int out_stride = 80, out_parts = 1, stride = 192, parts = 1;
  static constexpr int64_t codes = 18880, scales = 18816;
  static constexpr int64_t q = 8175616, quant = 8437760, out = 3670016;
  static constexpr int64_t input = 4325376, norm = 18432;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr Activation activation = Activation::none, input_gate = Activation::gelu;
  static constexpr bool accumulate = false, fused = true;
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

// adds norm_post_ffw_norm of each token
struct norm_post_ffw_norm {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1, out_stride = 80;
  static constexpr int64_t input = 3670016, norm = 21440, out = 0;
  static constexpr float epsilon = 0.000009999999747378752f;
  static constexpr bool accumulate = true;
};
STEP(norm_post_ffw_norm_rows, 64, 1) { norm<norm_post_ffw_norm>(args, layer_weights(args, layer)); }

// ---- after the layers -----------------------------------------------------------------------------------------------

// The last norm
struct output_norm {
  static constexpr int size = 72, threads = 64, stride = 80, parts = 1, out_stride = 80;
  static constexpr int64_t input = 0, norm = 13824, out = 6684672;
  static constexpr float epsilon = 0.000009999999747378752f;
  static __device__ __forceinline__ void put(float *row, int quad, const float4 &v) {
    reinterpret_cast<float4 *>(row)[quad] = v;
  }
};
STEP(output_norm_rows, 64, 1) { final_norm<output_norm>(args); }

// The head, 96 rows, and the largest logit
struct logits {
  using Table = F16Table<72>;
  static constexpr int rows = 96, size = 72, stride = 80, batch = 8;
  static constexpr int64_t table = 0, hidden = 6684672;
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
    BN_CUDA_VERSION, BN_MODEL_KEY, 96, 64, 72, 2, 2048, 1, 1,
    9011264, 12288, {768, 384 }, sizeof(Draw<96>),
    // Slices of the weights.
    14144, 21760, 21760,
    {
        {0, 0, 0, 21760},
    },
    // Before the first step.
    {BN_KV_F16, 1, 1, 0, 0, {{"rope_angles", 256, 0, 256, 0, 0, BN_CUDA_ONCE, 1, 0, 0, 0}} },
    8,
    {
        // one token
        {BN_KV_F16, 1, 1, 13, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"norm_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            GEMV(query),
            GEMV(key),
            GEMV(value),
            {"rope_store", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            GEMV(attn_output),
            {"norm_post_attention_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"norm_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            GEMV(gate),
            GEMV(up),
            GEMV(down),
            {"norm_post_ffw_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 12, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // a few
        {BN_KV_F16, 16, 1, 20, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"norm_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"query_q_of_attn_q_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"key_q_of_attn_k_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"value_q_of_attn_v_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(query, 16),
            SKINNY(key, 16),
            SKINNY(value, 16),
            {"rope_store", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attn_output_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 16),
            {"norm_post_attention_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"norm_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"gate_q_of_ffn_gate_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"up_q_of_ffn_up_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate, 16),
            SKINNY(up, 16),
            {"q_of_ffn_down_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 16),
            {"norm_post_ffw_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 12, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // some
        {BN_KV_F16, 64, 1, 20, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"norm_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"query_q_of_attn_q_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"key_q_of_attn_k_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"value_q_of_attn_v_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(query, 64),
            SKINNY(key, 64),
            SKINNY(value, 64),
            {"rope_store", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attn_output_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 64),
            {"norm_post_attention_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"norm_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"gate_q_of_ffn_gate_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"up_q_of_ffn_up_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate, 64),
            SKINNY(up, 64),
            {"q_of_ffn_down_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 64),
            {"norm_post_ffw_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 12, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // many
        {BN_KV_F16, 2048, 1, 20, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"norm_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"query_q_of_attn_q_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"key_q_of_attn_k_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"value_q_of_attn_v_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(query, 128, 4), MMA(query)),
            WGMMA_OR(GEMM(key, 128, 4), MMA(key)),
            WGMMA_OR(GEMM(value, 128, 4), MMA(value)),
            {"rope_store", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attn_output_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(attn_output, 128, 4), MMA(attn_output)),
            {"norm_post_attention_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"norm_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"gate_q_of_ffn_gate_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"up_q_of_ffn_up_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(gate, 128, 4), MMA(gate)),
            WGMMA_OR(GEMM(up, 128, 4), MMA(up)),
            {"q_of_ffn_down_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(down, 128, 4), MMA(down)),
            {"norm_post_ffw_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 12, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // one token, float32 cache
        {BN_KV_F32, 1, 1, 13, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"norm_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            GEMV(query),
            GEMV(key),
            GEMV(value),
            {"rope_store_f32", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            GEMV(attn_output),
            {"norm_post_attention_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"norm_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            GEMV(gate),
            GEMV(up),
            GEMV(down),
            {"norm_post_ffw_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 12, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // a few, float32 cache
        {BN_KV_F32, 16, 1, 20, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"norm_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"query_q_of_attn_q_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"key_q_of_attn_k_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"value_q_of_attn_v_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(query, 16),
            SKINNY(key, 16),
            SKINNY(value, 16),
            {"rope_store_f32", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attn_output_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 16),
            {"norm_post_attention_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"norm_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"gate_q_of_ffn_gate_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"up_q_of_ffn_up_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate, 16),
            SKINNY(up, 16),
            {"q_of_ffn_down_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 16),
            {"norm_post_ffw_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 12, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // some, float32 cache
        {BN_KV_F32, 64, 1, 20, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"norm_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"query_q_of_attn_q_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"key_q_of_attn_k_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"value_q_of_attn_v_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(query, 64),
            SKINNY(key, 64),
            SKINNY(value, 64),
            {"rope_store_f32", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attn_output_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(attn_output, 64),
            {"norm_post_attention_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"norm_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"gate_q_of_ffn_gate_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"up_q_of_ffn_up_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(gate, 64),
            SKINNY(up, 64),
            {"q_of_ffn_down_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            SKINNY(down, 64),
            {"norm_post_ffw_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 12, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
        // many, float32 cache
        {BN_KV_F32, 2048, 1, 20, 6, {
            {"embedding_rows", 256, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0},
            {"norm_attn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"query_q_of_attn_q_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"key_q_of_attn_k_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"value_q_of_attn_v_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(query, 128, 4), MMA(query)),
            WGMMA_OR(GEMM(key, 128, 4), MMA(key)),
            WGMMA_OR(GEMM(value, 128, 4), MMA(value)),
            {"rope_store_f32", 128, 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"attended_tokens_f32", 128, kScoresFit<attended> ? kScoreBytes<attended> : 0, 2, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"q_of_attn_output_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(attn_output, 128, 4), MMA(attn_output)),
            {"norm_post_attention_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"norm_ffn_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"gate_q_of_ffn_gate_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"up_q_of_ffn_up_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(gate, 128, 4), MMA(gate)),
            WGMMA_OR(GEMM(up, 128, 4), MMA(up)),
            {"q_of_ffn_down_norm_in_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            WGMMA_OR(GEMM(down, 128, 4), MMA(down)),
            {"norm_post_ffw_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"output_norm_rows", 64, 0, 1, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 1},
            {"logits_head", 256, 0, 12, 0, 0, BN_CUDA_ROWS, 8, 0, 0, 1},
            {"logits_best", 1024, 0, 1, 0, 0, BN_CUDA_CHOSEN, 1, 0, 0, 1},
            {"logits_adjust", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_weigh", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
            {"logits_draw", 1024, 0, 1, 0, 0, BN_CUDA_DRAWN, 1, 0, 0, 1},
        }},
    },
    28,
    {
        {"bn_bitlinear_t16_gemv_m96k72_t16x80x1w8s4n5__cuda", 96, 1, FILL(query), GEMV(query) },
        {"bn_bitlinear_t16_skinny_m96k72_t32x80x16w8s1n3__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(query), SKINNY(query, 16) },
        {"bn_bitlinear_t16_skinny_m96k72_t32x80x64w8s1n3__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(query), SKINNY(query, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m96k72_t128x80x128w8s1n5__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(query), MMA(query) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m96k72_t128x80x128w8s1n4__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(query), GEMM(query, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m48k72_t16x80x1w8s4n5__cuda", 48, 1, FILL(key), GEMV(key) },
        {"bn_bitlinear_t16_skinny_m48k72_t16x80x16w8s1n3__cuda", 48, BN_CUDA_TRIAL_TOKENS, FILL(key), SKINNY(key, 16) },
        {"bn_bitlinear_t16_skinny_m48k72_t16x80x64w8s1n3__cuda", 48, BN_CUDA_TRIAL_TOKENS, FILL(key), SKINNY(key, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m48k72_t128x80x128w8s1n5__cuda", 48, BN_CUDA_TRIAL_TOKENS, FILL(key), MMA(key) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m48k72_t128x80x128w8s1n4__cuda", 48, BN_CUDA_TRIAL_TOKENS, FILL(key), GEMM(key, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m48k72_t16x80x1w8s4n5__cuda", 48, 1, FILL(value), GEMV(value) },
        {"bn_bitlinear_t16_skinny_m48k72_t16x80x16w8s1n3__cuda", 48, BN_CUDA_TRIAL_TOKENS, FILL(value), SKINNY(value, 16) },
        {"bn_bitlinear_t16_skinny_m48k72_t16x80x64w8s1n3__cuda", 48, BN_CUDA_TRIAL_TOKENS, FILL(value), SKINNY(value, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m48k72_t128x80x128w8s1n5__cuda", 48, BN_CUDA_TRIAL_TOKENS, FILL(value), MMA(value) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m48k72_t128x80x128w8s1n4__cuda", 48, BN_CUDA_TRIAL_TOKENS, FILL(value), GEMM(value, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m80k96_t16x96x1w8s4n5__cuda", 80, 1, FILL(attn_output), GEMV(attn_output) },
        {"bn_bitlinear_t16_skinny_m80k96_t16x96x16w8s1n3__cuda", 80, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), SKINNY(attn_output, 16) },
        {"bn_bitlinear_t16_skinny_m80k96_t16x96x64w8s1n3__cuda", 80, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), SKINNY(attn_output, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m80k96_t128x96x128w8s1n5__cuda", 80, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), MMA(attn_output) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m80k96_t128x96x128w8s1n4__cuda", 80, BN_CUDA_TRIAL_TOKENS, FILL(attn_output), GEMM(attn_output, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m96k72_t16x80x1w8s4n5__cuda", 96, 1, FILL(gate), GEMV(gate) },
        {"bn_bitlinear_t16_skinny_m96k72_t32x80x16w8s1n3__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(gate), SKINNY(gate, 16) },
        {"bn_bitlinear_t16_skinny_m96k72_t32x80x64w8s1n3__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(gate), SKINNY(gate, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m96k72_t128x80x128w8s1n5__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(gate), MMA(gate) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m96k72_t128x80x128w8s1n4__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(gate), GEMM(gate, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m96k72_t16x80x1w8s4n5__cuda", 96, 1, FILL(up), GEMV(up) },
        {"bn_bitlinear_t16_skinny_m96k72_t32x80x16w8s1n3__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(up), SKINNY(up, 16) },
        {"bn_bitlinear_t16_skinny_m96k72_t32x80x64w8s1n3__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(up), SKINNY(up, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m96k72_t128x80x128w8s1n5__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(up), MMA(up) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m96k72_t128x80x128w8s1n4__cuda", 96, BN_CUDA_TRIAL_TOKENS, FILL(up), GEMM(up, 128, 4) },
#endif
        {"bn_bitlinear_t16_gemv_m80k90_t16x96x1w8s4n5__cuda", 80, 1, FILL(down), GEMV(down) },
        {"bn_bitlinear_t16_skinny_m80k90_t16x96x16w8s1n3__cuda", 80, BN_CUDA_TRIAL_TOKENS, FILL(down), SKINNY(down, 16) },
        {"bn_bitlinear_t16_skinny_m80k90_t16x96x64w8s1n3__cuda", 80, BN_CUDA_TRIAL_TOKENS, FILL(down), SKINNY(down, 64) },
#ifndef WGMMA
        {"bn_bitlinear_t16_mma_m80k90_t128x96x128w8s1n5__cuda", 80, BN_CUDA_TRIAL_TOKENS, FILL(down), MMA(down) },
#endif
#ifdef WGMMA
        {"bn_bitlinear_t16_wgmma_m80k90_t128x96x128w8s1n4__cuda", 80, BN_CUDA_TRIAL_TOKENS, FILL(down), GEMM(down, 128, 4) },
#endif
    },
    {"probe", kProbeThreads, kProbeShared, 0x7fffffff, 1, 1, BN_CUDA_ONCE, 1, 0, 0, 0},
    kProbeMacs,
};

// Everything the model's step calls. Written from templates/cpp/kernels.h.hbs.
#pragma once

#include <cstdint>

#include "abi.h"

struct bn_worker; // team.h

// Ternary kernels. A GEMV takes one token, a GEMM any number. Some GEMVs compute listed rows only, or add listed columns to
// sums that are totalled over `threads` threads, `stride` bytes apart: the first `count` of a list that has `left` entries. Those
// that look sums up make tables in a thread's scratch before it computes rows.
void bn_bitlinear_i2_gemv_m240k100_t64x112x1__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m240k100_t16x112x2__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemv_m112k72_t64x80x1__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m112k72_t16x80x2__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemv_m192k100_t64x112x1__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m192k100_t16x112x2__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemv_m112k90_t64x96x1__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m112k90_t16x96x2__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);

// embedding.cpp: x = row `id` of the embedding table
void bn_embed(float *x, const uint8_t *table, int32_t id);

// attention.cpp; `shared` is room for what all threads see
int64_t bn_kv_bytes(int32_t kv_type, int32_t kv_capacity);
void bn_rope_angles(float *angles, int32_t position);
void bn_rope_store(const bn_step_args *args, int32_t layer, float *qkv, const float *angles, int32_t thread);
void bn_attention(const bn_step_args *args, int32_t layer, const float *qkv, float *out, float *scratch, float *shared,
                  bn_worker &me);

// head.cpp: logits[t][row] = head[row] . hidden[t] for rows row_begin to row_end
void bn_head(float *logits, const uint8_t *table, const float *hidden, int32_t tokens, int32_t row_begin,
             int32_t row_end, float *scratch);
// and for one token in single rows: logits[r] = head[r] . hidden for each r of rows[count], bit for bit what bn_head gives
void bn_head_rows(float *logits, const uint8_t *table, const float *hidden, const int32_t *rows, int32_t count);

// probe.cpp: the machine's limits
uint64_t bn_probe_read(const uint8_t *data, int64_t bytes);
int64_t bn_probe_dot(int64_t rounds, int32_t *sink);

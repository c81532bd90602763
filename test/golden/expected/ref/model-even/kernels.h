// The ternary kernels, and what finds the machine's limits. Written from templates/cpp/kernels.h.hbs.
#pragma once

#include <cstdint>

#include "abi.h"

// A GEMV takes one token, a GEMM any number. Some GEMVs compute listed rows only, or add listed columns to
// sums that are totalled over `threads` threads, `stride` bytes apart: the first `count` of a list that has `left` entries. Those
// that look sums up make tables in a thread's scratch before it computes rows.
void bn_bitlinear_i2_gemv_m192k128_t16x128x1__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m192k128_t16x128x4__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemv_m128k128_t16x128x1__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m128k128_t16x128x4__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemv_m256k128_t16x128x1__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m256k128_t16x128x4__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_rows_gemv_m256k128_t16x128x1__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_rows_gemv_m256k128_t16x128x1__ref_listed(const bn_bitlinear_args *args, const int32_t *rows, int32_t count, int32_t left);
void bn_bitlinear_i2_rows_gemm_m256k128_t16x128x4__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_columns_gemv_m128k256_t16x4x1__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_columns_gemv_m128k256_t16x4x1__ref_sums(int32_t *sums, const bn_bitlinear_args *args, const int32_t *columns, int32_t count,
    int32_t left);
void bn_bitlinear_i2_columns_gemv_m128k256_t16x4x1__ref_total(const bn_bitlinear_args *args, const uint8_t *sums, int64_t stride, int32_t threads,
    int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_columns_gemm_m128k256_t16x256x4__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);

// probe.cpp: the machine's limits
uint64_t bn_probe_read(const uint8_t *data, int64_t bytes);
int64_t bn_probe_dot(int64_t rounds, int32_t *sink);

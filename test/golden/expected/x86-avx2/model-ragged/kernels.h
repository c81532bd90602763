// The ternary kernels, and what finds the machine's limits. Written from templates/cpp/kernels.h.hbs.
#pragma once

#include <cstdint>

#include "abi.h"

// A GEMV takes one token, a GEMM any number. Some GEMVs compute listed rows only, or add listed columns to
// sums that are totalled over `threads` threads, `stride` bytes apart: the first `count` of a list that has `left` entries. Those
// that look sums up make tables in a thread's scratch before it computes rows.
void bn_bitlinear_i2_gemv_m240k100_t32x112x1__x86_avx2(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m240k100_t16x112x4__x86_avx2(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemv_m112k72_t32x80x1__x86_avx2(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m112k72_t16x80x4__x86_avx2(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemv_m192k100_t32x112x1__x86_avx2(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m192k100_t16x112x4__x86_avx2(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemv_m112k90_t32x96x1__x86_avx2(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);
void bn_bitlinear_i2_gemm_m112k90_t16x96x4__x86_avx2(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);

// probe.cpp: the machine's limits
uint64_t bn_probe_read(const uint8_t *data, int64_t bytes);
int64_t bn_probe_dot(int64_t rounds, int32_t *sink);

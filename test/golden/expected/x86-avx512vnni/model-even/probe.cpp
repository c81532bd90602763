// What this machine can do at best with this target's instructions, to compare kernels with.
// Written from templates/cpp/probe.cpp.hbs for target x86-avx512vnni.
#include "rows.h"

uint64_t bn_probe_read(const uint8_t *data, int64_t bytes) {
  bn_fold fold[4] = {bn_fold_zero(), bn_fold_zero(), bn_fold_zero(), bn_fold_zero()};
  for (int64_t at = 0; at < bytes; at += 256) {
    for (int i = 0; i < 4; ++i) {
      bn_prefetch(data + at + i * 64 + BN_AHEAD);
      bn_fold_add(fold[i], data + at + i * 64);
    }
  }
  return bn_fold_value(fold[0]) ^ bn_fold_value(fold[1]) ^ bn_fold_value(fold[2]) ^ bn_fold_value(fold[3]);
}

int64_t bn_probe_dot(int64_t rounds, int32_t *sink) {
  constexpr int kSums = 24; // independent, enough to hide the latency of one
  constexpr int kInner = 60; // dot products before a sum is widened
  alignas(64) uint8_t codes[128];
  alignas(64) int8_t q[4 * kInner];
  for (int i = 0; i < 128; ++i) codes[i] = static_cast<uint8_t>(i % 3);
  for (int i = 0; i < 4 * kInner; ++i) q[i] = static_cast<int8_t>(i % 5 - 2);

  bn_i32x16 total = bn_i32x16_zero();
  const bn_u8x64 even = bn_load_panel(codes), odd = bn_load_panel(codes + 64);
  for (int64_t round = 0; round < rounds; ++round) {
    bn_dot_sum sum[kSums];
    BN_UNROLL for (int i = 0; i < kSums; ++i) {
      sum[i] = bn_dot_zero();
      bn_dot_add(sum[i], even, bn_load_quad(q + 4 * i)); // each its own, or the compiler would compute one for all
    }
    for (int inner = 0; inner < kInner; ++inner) {
      const bn_quad x = bn_load_quad(q + 4 * inner);
      BN_UNROLL for (int i = 0; i < kSums; i += 2) {
        bn_dot_add(sum[i], even, x);
        bn_dot_add(sum[i + 1], odd, x);
      }
    }
    BN_UNROLL for (int i = 0; i < kSums; ++i) total = bn_i32x16_add(total, bn_dot_total(sum[i]));
  }
  float rows[16];
  bn_store_rows(rows, total, 0, 1.0f);
  for (int i = 0; i < 16; ++i) *sink += static_cast<int32_t>(rows[i]) & 0xff;
  return rounds * kInner * kSums * BN_DOT_MACS;
}

// attention.cpp: keys and values, and who attends to them. Written from templates/cpp/attention.h.hbs.
#pragma once

#include <cstdint>

#include "abi.h"

struct bn_worker; // team.h

int64_t bn_kv_bytes(int32_t kv_type, int32_t kv_capacity);
void bn_rope_angles(float *angles, int32_t position);
void bn_local_rope_angles(float *angles, int32_t position);
void bn_rope_store(const bn_step_args *args, int32_t layer, float *qkv, const float *angles, const float *query_norm,
                   const float *key_norm, int32_t thread);
// `shared` is room for what all threads see
void bn_attention(const bn_step_args *args, int32_t layer, int32_t window, const float *qkv, float *out, float *scratch,
                  float *shared, bn_worker &me);

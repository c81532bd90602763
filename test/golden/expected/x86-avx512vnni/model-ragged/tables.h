// Tables with a row for each token: the embedding and the head. Written from templates/cpp/tables.h.hbs.
#pragma once

#include <cstdint>

#include "abi.h"

// embedding.cpp: x = row `id` of the embedding table
void bn_embed(float *x, const uint8_t *table, int32_t id);

// head.cpp: logits[t][row] = head[row] . hidden[t] for rows row_begin to row_end
void bn_head(float *logits, const uint8_t *table, const float *hidden, int32_t tokens, int32_t row_begin,
             int32_t row_end, float *scratch);
// and for one token in single rows: logits[r] = head[r] . hidden for each r of rows[count], bit for bit what bn_head gives
void bn_head_rows(float *logits, const uint8_t *table, const float *hidden, const int32_t *rows, int32_t count);

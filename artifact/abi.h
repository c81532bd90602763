/* The contract between a compiled model and whatever runs it: a plain C ABI, free of Node and of C++.
 *
 * A model is one shared library per target. It exports a single symbol, bn_model(), which returns a constant table of
 * sizes and functions. The caller owns all memory and all threads: the library allocates nothing, starts nothing and
 * keeps no state, so any number of callers may use it at once.
 */
#ifndef BN_ABI_H
#define BN_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BN_ABI_VERSION 3

/* How keys and values are stored in the cache. */
enum { BN_KV_F32 = 0, BN_KV_F16 = 1 };

/* The barrier that the threads of one step meet at. Zero it once, set `threads`, and share it between them.
 * The two counters live on cache lines of their own: everybody spins on `phase`, everybody adds to `arrived`. */
typedef struct bn_team {
  uint32_t threads;
  uint8_t pad0[60];
  uint32_t arrived;
  uint8_t pad1[60];
  uint32_t phase;
  uint32_t sleepers; /* those that sleep until `phase` changes, where they have to be woken */
  uint8_t pad2[56];
} bn_team;

/* One token to process. Tokens of one sequence appear in order of position; their positions follow on without a gap
 * from what the cache already holds of that sequence. */
typedef struct bn_token {
  int32_t id;         /* 0 <= id < vocab */
  int32_t position;   /* 0 <= position < kv_capacity */
  int32_t sequence;   /* which KV slot */
  int32_t logits_row; /* where its logits go (0, 1, ... in order of the tokens that want them), or -1 */
  int32_t hidden_row; /* where its hidden state goes, likewise, or -1 */
} bn_token;

/* What the next token is chosen from, where that is less than all logits: of the first `vocab` rows the `keep` largest,
 * those not below the keep-th largest less `margin` (in float32), and some more rows. */
typedef struct bn_screen {
  int32_t vocab;       /* 1 <= vocab <= that of the model: rows from here on are left out */
  int32_t keep;        /* 1 <= keep <= BN_SCREEN_KEEP */
  float margin;        /* >= 0 */
  const int32_t *rows; /* [row_count], 0 <= row < vocab */
  int32_t row_count;
} bn_screen;

#define BN_SCREEN_KEEP 256

/* What a step of few tokens left unread: its thread 0 adds to them. */
typedef struct bn_counts {
  int64_t steps;        /* those of few tokens */
  int64_t zeros;        /* of the gated hidden values, those that were known to be zero, for all tokens, before `up` was read */
  int64_t zero_columns; /* of the gated hidden values, those that are zero, for all tokens, as `down` meets them */
  int64_t screened;     /* times that a head was screened */
  int64_t rows;         /* of a screened head, rows that were read in full */
  int64_t screen_bytes; /* that those times read */
  int64_t head_bytes;   /* that the whole head would have read instead */
} bn_counts;

/* Arguments of one step, read-only and shared by all its threads. */
typedef struct bn_step_args {
  const uint8_t *weights;    /* the packed weights file, mapped; 64-byte aligned */
  uint8_t *workspace;        /* workspace_bytes(token_count, team->threads) bytes, 64-byte aligned */
  uint8_t *kv;               /* the KV cache: sequence s starts at kv + s * kv_sequence_bytes; 64-byte aligned */
  int64_t kv_sequence_bytes; /* bytes between sequences: kv_bytes(kv_type, kv_capacity) or more */
  int32_t kv_capacity;       /* positions that each sequence has room for */
  int32_t kv_type;           /* BN_KV_F32 or BN_KV_F16 */
  const bn_token *tokens;    /* [token_count] */
  int32_t token_count;       /* 1 <= token_count <= max_tokens */
  int32_t logits_count;      /* how many of them have logits_row >= 0 */
  float *logits;             /* [logits_count][vocab]; not touched where nobody wants them */
  float *hidden;             /* [tokens with hidden_row >= 0][embedding]: what the head reads, after the last norm */
  /* Null, or [logits_count], each asking for less than all logits of its row. The row then holds what the full head gives,
   * bit for bit, in all places that were asked for, and -infinity in the others; or, of a model that has no coarse copy of
   * its head, where the rows are many, and where a hidden state defies bounds, all that the full head gives. */
  const bn_screen *screen;
  bn_counts *counts; /* null, or where to count */
  bn_team *team;
} bn_step_args;

/* What quantising a token's activations left behind: multiply an integer sum by `inverse_scale` (= max|x| / 127) to
 * come back to real units; `sum` is the sum of the token's int8 values. */
typedef struct bn_quant {
  float inverse_scale;
  int32_t sum;
} bn_quant;

/* A ternary linear over `tokens` quantised activations: y[t][m] (+)= sum_k w[m][k] q[t][k] * group_scale * inverse_scale.
 * Rows come in groups of 16; the call computes groups group_begin (inclusive) to group_end (exclusive). */
typedef struct bn_bitlinear_args {
  const uint8_t *weights;    /* packed codes of the whole matrix, 64-byte aligned */
  const float *group_scales; /* [m / 16], the weight scale of each row group */
  const int8_t *q;           /* [tokens][k padded to 16], zero in the padding, 64-byte aligned */
  const bn_quant *quant;     /* [tokens] */
  float *y;                  /* [tokens][y_stride], m padded to 16 of each */
  int64_t y_stride;          /* floats from one token's rows to the next's */
  int32_t tokens;
  int32_t accumulate;        /* 0: y = ..., 1: y += ... */
  uint8_t *scratch;          /* scratch_bytes of this kernel, one per thread, 64-byte aligned */
} bn_bitlinear_args;

typedef void (*bn_bitlinear_fn)(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end);

/* One ternary kernel of the library, for tests and benches. `m` and `k` are the logical sizes. */
typedef struct bn_kernel {
  const char *name;
  int32_t m, k;
  int32_t max_tokens; /* 1: a GEMV, which takes exactly one token; otherwise any number up to this */
  int32_t scratch_bytes;
  int64_t weight_bytes; /* packed codes of the whole matrix */
  bn_bitlinear_fn run;
} bn_kernel;

/* The table of one compiled model on one target. */
typedef struct bn_model_info {
  uint32_t abi_version;    /* BN_ABI_VERSION */
  const char *key;         /* equals targets[id].key in the manifest: library and manifest belong together */
  const char *target;
  int32_t vocab, context, embedding, max_tokens;
  int32_t kernel_count;
  const bn_kernel *kernels;

  /* Bytes of workspace for a step of that many tokens on that many threads. */
  int64_t (*workspace_bytes)(int32_t tokens, int32_t threads);
  /* Bytes of KV cache of one sequence with room for that many positions. */
  int64_t (*kv_bytes)(int32_t kv_type, int32_t kv_capacity);

  /* Runs one step. Every thread of the team calls it with the same args and its own index, 0 <= thread < team->threads.
   * When the last one returns, args->logits and args->hidden are complete. */
  void (*step)(const bn_step_args *args, int32_t thread);

  /* Runs each ternary kernel on the first and last row group of every matrix that uses it, with fixed activations, and
   * writes one checksum per kernel: checksums[kernel_count]. They must equal the manifest's. `workspace` is as for a
   * step of max_tokens tokens on one thread. */
  void (*self_test)(const uint8_t *weights, uint8_t *workspace, uint64_t *checksums);

  /* What this machine can do at best, for ratios: reads `bytes` bytes (a multiple of 4096) as wide as the target loads
   * go and returns a value that depends on all of them; and runs `rounds` rounds of independent int8 dot products in
   * registers, returning how many multiply-accumulates that was (`sink` keeps the result alive). */
  uint64_t (*probe_read)(const uint8_t *data, int64_t bytes);
  int64_t (*probe_dot)(int64_t rounds, int32_t *sink);
} bn_model_info;

#if defined(__CUDACC__)
#define BN_EXPORT /* code for a GPU exports nothing */
#elif defined(_WIN32)
#define BN_EXPORT __declspec(dllexport)
#else
#define BN_EXPORT __attribute__((visibility("default")))
#endif

/* The only exported symbol. */
BN_EXPORT const bn_model_info *bn_model(void);

#ifdef __cplusplus
}
#endif
#endif

/* The contract between a model compiled for NVIDIA GPUs and the engine that launches it.
 *
 * Such a model is one file of machine code (a fatbin, or bn_cubins): kernels, and one constant table of this header's types, `bn_cuda_model`, that says how large
 * things are and which kernels make a step. No host code is compiled with a model, and the engine knows no model's shape:
 * it copies the table, allocates, and launches what the table lists. Every kernel takes a bn_cuda_args by value, and the
 * layer that it is to work on.
 */
#ifndef BN_CUDA_H
#define BN_CUDA_H

#include "abi.h"
#include "sampling.h"

#define BN_CUDA_VERSION 2

enum {
  BN_CUDA_NAME = 96,     /* bytes of a name, with its zero */
  BN_CUDA_LAUNCHES = 48, /* of a program */
  BN_CUDA_PROGRAMS = 8,
  BN_CUDA_TRIALS = 48,
  BN_CUDA_SLICES = 48,
  BN_CUDA_GPUS = 8, /* that share a model, at most */
  BN_CUDA_RUN = 128,        /* tokens of a run at most */
  BN_CUDA_SHORTEST_RUN = 8, /* fewer tokens of a sequence in a step are singles */
  BN_CUDA_TRIAL_TOKENS = 13 /* TRIAL_TOKENS of compiler/kernels/self-test.ts */
};

/* What a grid grows with. A launch whose amount is zero is left out. */
enum {
  BN_CUDA_ONCE = 0, /* 1 */
  BN_CUDA_TOKENS,   /* token_count */
  BN_CUDA_ROWS,     /* logits_count */
  BN_CUDA_HIDDEN,   /* hidden_count */
  BN_CUDA_RUNS,     /* run_count */
  BN_CUDA_SINGLES,  /* single_count */
  BN_CUDA_CHOSEN,   /* logits_count, where there are no samplers */
  BN_CUDA_DRAWN     /* logits_count, where there are */
};

/* Tokens that follow each other in one sequence: attention takes them together. */
typedef struct bn_cuda_run {
  int32_t first, count;
} bn_cuda_run;

/* How tokens of one sequence are drawn. */
typedef struct bn_cuda_sampler {
  bn_sampling settings;
  const bn_bias *biases; /* [bias_count] */
  int32_t bias_count;
  int32_t choices;   /* ids below this may be drawn */
  int32_t position;  /* `random` is for the logits of the token there; those of the tokens behind it take the numbers that
                        follow: a step that is run again draws the same */
  bn_random random;
} bn_cuda_sampler;

/* All pointers are the device's. */
typedef struct bn_cuda_args {
  const uint8_t *weights; /* the packed weights file; of GPUs that share a model, the slices of this one */
  uint8_t *workspace;     /* workspace_bytes */
  uint8_t *tables;        /* table_bytes: written by the setup launches, constant from then on */
  uint8_t *kv;            /* sequence s starts at kv + s * kv_sequence_bytes: keys and values, kv_position_bytes for each
                             position; at its end, the ids of its tokens, int32 [kv_capacity] */
  int64_t kv_sequence_bytes;
  int32_t kv_capacity;       /* positions that each sequence has room for */
  int32_t token_count;       /* 1 <= token_count <= max_tokens of the program */
  int32_t logits_count;      /* how many of them have logits_row >= 0 */
  int32_t hidden_count;      /* how many have hidden_row >= 0 */
  int32_t run_count;         /* the tokens in runs */
  int32_t single_count;      /* and the others */
  int32_t choices;           /* ids below this may be chosen, where there are no samplers */
  int32_t follow;            /* not 0: token t, whose logits are row t, becomes the next one, a position further on */
  bn_token *tokens;          /* [token_count] */
  const bn_cuda_run *runs;   /* [run_count] */
  const int32_t *singles;    /* [single_count], indices of tokens */
  float *logits;             /* [logits_count][vocab] */
  float *hidden;             /* [tokens with hidden_row >= 0][embedding] */
  int32_t *best;             /* [logits_count]: the id of the next token; -1: no logit is a number */
  bn_cuda_sampler *samplers; /* by sequence: they draw the next tokens. Null: the largest logit is taken, of equals the
                                lowest id */
  uint8_t *draws;            /* [logits_count][draw_bytes], where there are samplers */
  int32_t gpu;               /* which of the GPUs that share the model this is, from 0 */
  int32_t *sums;             /* of a trial: a ternary kernel writes its integer sums here, [token][m], and nothing else */
} bn_cuda_args;

typedef struct bn_cuda_launch {
  char kernel[BN_CUDA_NAME];
  int32_t threads, shared_bytes;
  /* Blocks along x: `x` of them, or, where `each` is not zero, so many for each multiprocessor, but no more than `x` and no
   * fewer than `least`. */
  int32_t x, each, least;
  /* Blocks along y: the amount of `unit`, divided by `per` and rounded up. Where `most` is not zero: for amounts greater
   * than `above` and up to `most` only. */
  int32_t unit, per, above, most;
  /* May begin while the one before it still runs: it waits itself for what that one writes. */
  int32_t early;
  /* Without a kernel it is a gathering: of the rows that lie in the workspace at `gathered`, [gpu][token][part], this GPU
   * has written its own `part` floats of each token, and gets those of the others. */
  int32_t part;
  int64_t gathered;
} bn_cuda_launch;

/* What of the weights file a GPU has: `bytes` from `from` + gpu * `step` on go to `to`. */
typedef struct bn_cuda_slice {
  int64_t from, step, to, bytes;
} bn_cuda_slice;

/* The launches of a step of 1 to max_tokens tokens: `prologue` of them once, then `layer` for each layer, then
 * `epilogue`. */
typedef struct bn_cuda_program {
  int32_t kv_type; /* BN_KV_*, which its cache is of */
  int32_t max_tokens, prologue, layer, epilogue;
  bn_cuda_launch launches[BN_CUDA_LAUNCHES];
} bn_cuda_program;

/* How a ternary kernel is tried on one matrix: `fill` writes the activations of a trial, `run` multiplies them. */
typedef struct bn_cuda_trial {
  char kernel[BN_CUDA_NAME]; /* the manifest's name of it */
  int32_t m;
  int32_t tokens; /* 1 or BN_CUDA_TRIAL_TOKENS */
  bn_cuda_launch fill, run;
} bn_cuda_trial;

typedef struct bn_cuda_model {
  uint32_t version; /* BN_CUDA_VERSION */
  char key[BN_CUDA_NAME];
  int32_t vocab, context, embedding, layers, max_tokens;
  int32_t gpus; /* that share the model; each runs this program, on its slices of the weights */
  int32_t slice_count;
  int64_t workspace_bytes, table_bytes;
  int64_t kv_position_bytes[2]; /* of one sequence, by BN_KV_*; a cache of n positions takes n times as much, and n ids */
  int64_t draw_bytes;           /* that drawing from one row of logits works with */
  /* The weights file: what every GPU has whole, then the layers, of which a GPU has slices, counted from a layer's start.
   * In a GPU's memory a layer takes `layer_bytes`. */
  int64_t shared_bytes, file_layer_bytes, layer_bytes;
  bn_cuda_slice slices[BN_CUDA_SLICES];
  bn_cuda_program setup;     /* once, before anything else */
  int32_t program_count;     /* a step takes the first one of its cache that has room for its tokens */
  bn_cuda_program programs[BN_CUDA_PROGRAMS];
  int32_t trial_count;
  bn_cuda_trial trials[BN_CUDA_TRIALS];
  /* int8 products in registers and shared memory, as many as the tensor cores can do: `choices` of the arguments is how
   * many rounds, each of `probe_macs` multiply-accumulates a block, one block for each multiprocessor. */
  bn_cuda_launch probe;
  int64_t probe_macs;
} bn_cuda_model;

/* Machine code for several architectures in one file, where the compiler makes no fatbin: this header, `count` entries, and
 * the cubins where those say. A device takes the one of the highest capability that is not above its own, of the same
 * major number. */
#define BN_CUBINS_MAGIC "bncubins"

typedef struct bn_cubins {
  char magic[8];
  int32_t count;
  int32_t pad;
} bn_cubins;

typedef struct bn_cubin {
  int32_t capability; /* 10 * major + minor */
  int32_t pad;
  int64_t offset, bytes; /* in the file */
} bn_cubin;

#endif

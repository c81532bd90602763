// Applies one primitive of a target to values from stdin and writes the results to stdout, for primitives.test.ts.
// decoders.h is written by the test: a namespace with bn_embed for each kind of table, and kDecoders, the list of them.
#include <cstdio>
#include <cstring>
#include <iterator>
#include <string>
#include <vector>

#include "blocks.h"
#include "rows.h"
#include "decoders.h"

namespace {

constexpr int kRow = 64; // floats in the rows that row-wise functions are tried on

template <typename T>
std::vector<T> read_all() {
  std::vector<T> values;
  T buffer[4096];
  while (const size_t count = std::fread(buffer, sizeof(T), std::size(buffer), stdin)) {
    values.insert(values.end(), buffer, buffer + count);
  }
  return values;
}

template <typename T>
void write_all(const std::vector<T> &values) {
  std::fwrite(values.data(), sizeof(T), values.size(), stdout);
}

// Vector by vector; the values are a multiple of 16.
template <typename In, typename Out, typename Function>
void each_vector(Function function) {
  const std::vector<In> in = read_all<In>();
  std::vector<Out> out(in.size());
  for (size_t i = 0; i < in.size(); i += BN_LANES) function(&out[i], &in[i]);
  write_all(out);
}

// Row by row of kRow floats.
template <typename Function>
void each_row(Function function) {
  const std::vector<float> in = read_all<float>();
  std::vector<float> out(in.size());
  for (size_t i = 0; i < in.size(); i += kRow) function(&out[i], &in[i]);
  write_all(out);
}

// The integers that quantising returns, and then the bytes it stored, as int32 both.
void quantise() {
  const std::vector<float> in = read_all<float>();
  std::vector<int8_t> q(in.size());
  std::vector<int32_t> out;
  for (size_t i = 0; i < in.size(); i += BN_LANES) out.push_back(bn_i32_reduce_add(bn_quantise(&q[i], bn_load(&in[i]))));
  out.insert(out.end(), q.begin(), q.end());
  write_all(out);
}

void quantise_rows() {
  const std::vector<float> in = read_all<float>();
  std::vector<uint8_t> out;
  for (size_t i = 0; i < in.size(); i += kRow) {
    struct {
      int8_t q[kRow];
      bn_quant quant;
    } row;
    bn_quantise_row<kRow>(row.q, &row.quant, &in[i]);
    const uint8_t *bytes = reinterpret_cast<const uint8_t *>(&row);
    out.insert(out.end(), bytes, bytes + sizeof row);
  }
  write_all(out);
}

void decode(const Decoder &decoder) {
  const std::vector<uint8_t> table = read_all<uint8_t>();
  std::vector<float> row(decoder.padded), out;
  for (size_t id = 0; id < table.size() / decoder.row_bytes; ++id) {
    decoder.embed(row.data(), table.data(), static_cast<int32_t>(id));
    out.insert(out.end(), row.begin(), row.end());
  }
  write_all(out);
}

// Blocks of one row group, each with its activations before it: the 16 sums of every block, and its codes quad by quad.
template <int Columns, int Bytes, int Table, typename Tables, typename Add, typename Unpack>
void look_up(Tables tables, Add add, Unpack unpack) {
  constexpr int kRecord = Columns + Bytes;
  const std::vector<uint8_t> in = read_all<uint8_t>();
  std::vector<int32_t> out;
  for (size_t at = 0; at < in.size(); at += kRecord) {
    alignas(64) uint8_t table[Table], block[Bytes], panel[Columns * 16];
    std::memcpy(block, &in[at + Columns], Bytes);
    tables(table, reinterpret_cast<const int8_t *>(&in[at]));
    bn_table_sum sum = bn_table_zero();
    add(sum, block, table);
    float rows[16];
    bn_store_rows(rows, bn_table_total(sum), 0, 1.0f);
    out.insert(out.end(), rows, rows + 16);
    unpack(panel, 64, block);
    out.insert(out.end(), panel, panel + sizeof panel);
  }
  write_all(out);
}

// Of three rows of 16 each: a * b + c.
void fused() {
  const std::vector<float> in = read_all<float>();
  std::vector<float> out;
  for (size_t at = 0; at < in.size(); at += 48) {
    float row[16];
    for (int i = 0; i < 16; i += BN_LANES) {
      const float *a = &in[at + i];
      bn_store(row + i, bn_fma(bn_load(a), bn_load(a + 16), bn_load(a + 32)));
    }
    out.insert(out.end(), row, row + 16);
  }
  write_all(out);
}

int run(const std::string &name) {
  if (name == "exp") {
    each_vector<float, float>([](float *y, const float *x) { bn_store(y, bn_exp(bn_load(x))); });
  } else if (name == "fma") {
    fused();
  } else if (name == "round") {
    each_vector<float, float>([](float *y, const float *x) { bn_store(y, bn_round(bn_load(x))); });
  } else if (name == "reduce_add") {
    each_vector<float, float>([](float *y, const float *x) { *y = bn_reduce_add(bn_load(x)); });
  } else if (name == "reduce_max") {
    each_vector<float, float>([](float *y, const float *x) { *y = bn_reduce_max(bn_load(x)); });
  } else if (name == "load_f16") {
    each_vector<uint16_t, float>([](float *y, const uint16_t *x) { bn_store(y, bn_load_f16(x)); });
  } else if (name == "f16_value") {
    each_vector<uint16_t, float>([](float *y, const uint16_t *x) {
      for (int i = 0; i < BN_LANES; ++i) y[i] = bn_f16_value(reinterpret_cast<const uint8_t *>(x + i));
    });
  } else if (name == "store_f16") {
    each_vector<float, uint16_t>([](uint16_t *y, const float *x) { bn_store_f16(y, bn_load(x)); });
  } else if (name == "load_bf16") {
    each_vector<uint16_t, float>([](float *y, const uint16_t *x) { bn_store(y, bn_load_bf16(x)); });
  } else if (name == "load_i8") {
    each_vector<int8_t, float>([](float *y, const int8_t *x) { bn_store(y, bn_load_i8(x)); });
  } else if (name == "quantise") {
    quantise();
  } else if (name == "quantise_row") {
    quantise_rows();
  } else if (name == "tl1") {
    look_up<64, 256, BN_TL1_TABLE>(bn_tl1_tables, bn_tl1_add, bn_tl1_unpack);
  } else if (name == "tl2") {
    look_up<96, 320, BN_TL2_TABLE>(bn_tl2_tables, bn_tl2_add, bn_tl2_unpack);
  } else if (name == "rms_norm") {
    each_row([](float *y, const float *x) {
      float weight[kRow];
      for (int i = 0; i < kRow; ++i) weight[i] = static_cast<float>(i) / 8.0f;
      bn_rms_norm<kRow>(y, x, weight, kRow, 0.5f);
    });
  } else if (name == "relu2_gate") {
    each_row([](float *y, const float *x) {
      float up[kRow];
      for (int i = 0; i < kRow; ++i) up[i] = static_cast<float>(i - 32);
      bn_relu2_gate<kRow>(y, x, up);
    });
  } else if (name == "silu_gate") {
    each_row([](float *y, const float *x) {
      float up[kRow];
      for (int i = 0; i < kRow; ++i) up[i] = static_cast<float>(i - 32);
      bn_silu_gate<kRow>(y, x, up);
    });
  } else if (name == "gelu_gate") {
    each_row([](float *y, const float *x) {
      float up[kRow];
      for (int i = 0; i < kRow; ++i) up[i] = static_cast<float>(i - 32);
      bn_gelu_gate<kRow>(y, x, up);
    });
  } else {
    for (const Decoder &decoder : kDecoders) {
      if (name != decoder.name) continue;
      decode(decoder);
      return 0;
    }
    std::fprintf(stderr, "there is no primitive %s\n", name.c_str());
    return 2;
  }
  return 0;
}

} // namespace

int main(int count, char **values) { return run(count == 2 ? values[1] : ""); }

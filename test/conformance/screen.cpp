// Tries the screened head of one table against the whole head, for screen.test.ts: every position with a hidden state of
// its own, several screens each. It is screen.cpp itself, so that its bounds can be looked at, too.
//   stdin   int32 positions, given, seed; the table; its coarse copy; given x hidden states to begin with
//   stdout  one JSON line
// COLUMNS of the table without padding, COARSE_BYTES and, where the copy has five bits, FIFTH are defined by the test.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "screen.cpp"

namespace {

constexpr int kWhole = COLUMNS; // without padding
constexpr int64_t kCoarseBytes = COARSE_BYTES;

template <typename T>
std::vector<T> read(int64_t count) {
  std::vector<T> values(count);
  if (std::fread(values.data(), sizeof(T), count, stdin) != static_cast<size_t>(count)) std::exit(3);
  return values;
}

struct Tally {
  int64_t positions = 0, whole = 0, wrong = 0, loose = 0, uneven = 0, rows = 0;
};

struct Case {
  bn_screen screen;
  std::vector<int32_t> rows;
};

std::vector<uint8_t> table, coarse;
std::vector<float> scratch;

// The row as the contract has it, from all logits.
std::vector<float> expected_row(const std::vector<float> &full, const bn_screen &screen) {
  std::vector<float> sorted;
  for (int32_t i = 0; i < screen.vocab; ++i) {
    if (full[i] == full[i]) sorted.push_back(std::min(full[i], FLT_MAX));
  }
  std::sort(sorted.rbegin(), sorted.rend());
  const bool enough = static_cast<int32_t>(sorted.size()) >= screen.keep;
  const float least = enough ? sorted[screen.keep - 1] - screen.margin : kNone;
  std::vector<float> row(kRows, kNone);
  for (int32_t i = 0; i < screen.vocab; ++i) {
    if (full[i] >= least) row[i] = full[i];
  }
  for (int32_t i = 0; i < screen.row_count; ++i) row[screen.rows[i]] = full[screen.rows[i]];
  return row;
}

std::vector<float> screened(const float *hidden, const bn_screen &screen, int threads, bn_counts &counts) {
  constexpr int64_t kScratch = (sizeof(Work) + 63) / 64 * 64;
  static std::vector<uint8_t> memory(4 * kScratch + 64);
  uint8_t *aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  std::vector<float> row(kRows);
  bn_team team{};
  team.threads = threads;
  bn_step_args args{};
  args.logits = row.data();
  args.logits_count = 1;
  args.screen = &screen;
  args.counts = &counts;
  args.team = &team;
  const auto work = [&](int thread) {
    bn_screened_head(&args, table.data(), coarse.data(), hidden, aligned, kScratch, thread);
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  work(0);
  for (std::thread &other : others) other.join();
  return row;
}

// Whether every bound is one.
bool sound(const float *hidden, const std::vector<float> &full) {
  static Query query;
  if (!make_query(query, hidden)) return true;
  float bounds[16 * kTile];
  for (int32_t row = 0; row < kRows; ++row) {
    const int32_t group = row / 16;
    if (row % (16 * kTile) == 0 && group + kTile <= kGroups) {
      bounds_of<kTile>(bounds, group_of(coarse.data(), group), query);
    } else if (row % 16 == 0 && group - group % kTile + kTile > kGroups) {
      bounds_of<1>(bounds + group % kTile * 16, group_of(coarse.data(), group), query);
    }
    const float bound = bounds[row % (16 * kTile)];
    if (bound < full[row]) return false;
#ifdef FIFTH
    if (closer_bound(bound, record_of(coarse.data(), row), query) < full[row]) return false;
#endif
  }
  return true;
}

// A hidden state of one of many kinds.
void invent(std::vector<float> &hidden, std::mt19937 &random, int64_t position) {
  std::normal_distribution<float> normal;
  std::fill(hidden.begin(), hidden.end(), 0.0f);
  const auto any = [&](int count) { return static_cast<int>(random() % count); };
  for (int i = 0; i < kWhole; ++i) hidden[i] = normal(random);
  switch (position % 10) {
    case 0: // outliers
      for (int i = 0; i < 3; ++i) hidden[any(kWhole)] *= 300.0f;
      break;
    case 1: // few values
      for (int i = 0; i < kWhole; ++i) hidden[i] = any(16) ? 0.0f : hidden[i];
      break;
    case 2: // all alike
      std::fill_n(hidden.begin(), kWhole, hidden[0]);
      break;
    case 3: { // of any magnitude
      const float scale = std::ldexp(1.0f, any(120) - 60);
      for (int i = 0; i < kWhole; ++i) hidden[i] *= scale;
      break;
    }
    case 4: // of every magnitude
      for (int i = 0; i < kWhole; ++i) hidden[i] = std::ldexp(hidden[i], -any(140));
      break;
    default:
      break;
  }
  if (position % 97 == 0) std::fill(hidden.begin(), hidden.end(), 0.0f);
  if (position % 101 == 0) hidden[any(kWhole)] = std::numeric_limits<float>::quiet_NaN();
  if (position % 103 == 0) hidden[any(kWhole)] = std::numeric_limits<float>::infinity();
  if (position % 107 == 0) hidden[any(kWhole)] = 3e38f;
}

bool same(const std::vector<float> &a, const std::vector<float> &b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void try_position(const float *hidden, int64_t position, std::mt19937 &random, Tally &tally) {
  std::vector<float> full(kRows);
  bn_head(full.data(), table.data(), hidden, 1, 0, kRows, scratch.data());
  const auto row = [&] { return static_cast<int32_t>(random() % kRows); };
  const int32_t some[3] = {row(), row(), row()};
  const bn_screen screens[4] = {
      {kRows, 1, 0.0f, nullptr, 0},
      {kRows, 1, 3.0f, some, 1},
      {kRows - 5, 40, 0.0f, some, 3},
      {std::max(1, row()), 1 + static_cast<int32_t>(random() % BN_SCREEN_KEEP), 0.5f, some, 2},
  };
  bn_counts counts{};
  const bn_screen &screen = screens[position % 4];
  const std::vector<float> found = screened(hidden, screen, 1, counts);
  ++tally.positions;
  tally.rows += counts.rows;
  if (counts.screened == 0) {
    ++tally.whole;
    tally.wrong += !same(found, full);
  } else {
    tally.wrong += !same(found, expected_row(full, screen));
  }
  tally.loose += !sound(hidden, full);
  if (position % 64 != 0) return;
  for (int threads = 2; threads <= 4; ++threads) {
    tally.uneven += !same(found, screened(hidden, screen, threads, counts));
  }
}

} // namespace

int main() {
  const std::vector<int32_t> header = read<int32_t>(3);
  const int32_t positions = header[0], given = header[1];
  table = read<uint8_t>(kRows * kRowBytes);
  table.resize(table.size() + 4096); // prefetches run ahead
  coarse = read<uint8_t>(kCoarseBytes);
  scratch.resize(4 * kCols);
  std::mt19937 random(header[2]);
  Tally tally;
  std::vector<float> hidden(kCols);
  for (int32_t i = 0; i < given; ++i) {
    const std::vector<float> values = read<float>(kWhole);
    std::copy(values.begin(), values.end(), hidden.begin());
    try_position(hidden.data(), 4 * i, random, tally);
  }
  for (int32_t position = 0; position < positions; ++position) {
    invent(hidden, random, position);
    try_position(hidden.data(), position, random, tally);
  }
  std::printf("{\"positions\":%lld,\"whole\":%lld,\"wrong\":%lld,\"loose\":%lld,\"uneven\":%lld,\"rows\":%lld}\n",
              static_cast<long long>(tally.positions), static_cast<long long>(tally.whole),
              static_cast<long long>(tally.wrong), static_cast<long long>(tally.loose),
              static_cast<long long>(tally.uneven), static_cast<long long>(tally.rows));
  return 0;
}

// Tries the screened head of one table against the whole head, for screen.test.ts: every position with a hidden state of
// its own, several screens each. It is screen.cpp itself, so that its bounds can be looked at, too.
//   stdin   int32 positions, given, seed; the table; its coarse copy; given x hidden states to begin with
//   stdout  one JSON line
// COLUMNS of the table without padding, COARSE_BYTES and, where the copy has five bits, FIFTH are defined by the test.
#include <cstdio>
#include <cstdlib>
#include <random>
#if !defined(__wasm__) // WASI has no threads
#include <thread>
#endif
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
  int64_t positions = 0, whole = 0, wrong = 0, loose = 0, uneven = 0, apart = 0, rows = 0;
};

// A position that was tried, to be tried again together with others.
struct Tried {
  std::vector<float> hidden;
  std::vector<int32_t> rows;
  bn_screen screen;
  std::vector<float> full, found;
  bool whole;
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

// The logits of `count` hidden states, row after row.
std::vector<float> screened(const float *hidden, const bn_screen *screens, int count, int threads, bn_counts &counts) {
  constexpr int64_t kScratch = (sizeof(Work) + 63) / 64 * 64;
  static std::vector<uint8_t> memory(4 * kScratch + 64);
  uint8_t *aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  std::vector<float> rows(int64_t{count} * kRows);
  bn_team team{};
  team.threads = threads;
  bn_step_args args{};
  args.logits = rows.data();
  args.logits_count = count;
  args.screen = screens;
  args.counts = &counts;
  args.team = &team;
  bn_work left[4] = {};
  const auto work = [&](int thread) {
    bn_worker me = {left, thread, threads, 0};
    bn_screened_head(&args, table.data(), coarse.data(), hidden, aligned, kScratch, me);
  };
#if !defined(__wasm__)
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  work(0);
  for (std::thread &other : others) other.join();
#else
  work(0);
#endif
  return rows;
}

// Whether every bound is one.
bool sound(const float *hidden, const std::vector<float> &full) {
  static Query query;
  if (!make_query(query, hidden)) return true;
  float bounds[16 * kTile];
  for (int32_t row = 0; row < kRows; ++row) {
    const int32_t group = row / 16;
    if (row % (16 * kTile) == 0 && group + kTile <= kGroups) {
      bounds_of<kTile, 1>(bounds, group_of(coarse.data(), group), &query);
    } else if (row % 16 == 0 && group - group % kTile + kTile > kGroups) {
      bounds_of<1, 1>(bounds + group % kTile * 16, group_of(coarse.data(), group), &query);
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

// The same, where two values that are no numbers are alike: which of them a sum gives is not said.
bool alike(const float *a, const std::vector<float> &b) {
  return std::equal(b.begin(), b.end(), a, [](float x, float y) { return x == y || (x != x && y != y); });
}

// Several positions in one call must come out as each did by itself, or all of them whole.
void try_together(std::vector<Tried> &tried, int threads, Tally &tally) {
  std::vector<float> hidden;
  std::vector<bn_screen> screens;
  for (Tried &one : tried) {
    hidden.insert(hidden.end(), one.hidden.begin(), one.hidden.end());
    one.screen.rows = one.rows.data();
    screens.push_back(one.screen);
  }
  bn_counts counts{};
  const int count = static_cast<int>(tried.size());
  const std::vector<float> rows = screened(hidden.data(), screens.data(), count, threads, counts);
  for (int i = 0; i < count; ++i) {
    const std::vector<float> &expected = counts.screened == 0 ? tried[i].full : tried[i].found;
    tally.apart += !alike(rows.data() + int64_t{i} * kRows, expected) || (counts.screened != 0 && tried[i].whole);
  }
  tried.clear();
}

void try_position(const std::vector<float> &hidden, int64_t position, std::mt19937 &random, Tally &tally) {
  static std::vector<Tried> tried;
  std::vector<float> full(kRows);
  bn_head(full.data(), table.data(), hidden.data(), 1, 0, kRows, scratch.data());
  const auto row = [&] { return static_cast<int32_t>(random() % kRows); };
  const std::vector<int32_t> some = {row(), row(), row()};
  const bn_screen screens[4] = {
      {kRows, 1, 0.0f, nullptr, 0},
      {kRows, 1, 3.0f, some.data(), 1},
      {kRows - 5, 40, 0.0f, some.data(), 3},
      {std::max(1, row()), 1 + static_cast<int32_t>(random() % BN_SCREEN_KEEP), 0.5f, some.data(), 2},
  };
  bn_counts counts{};
  const bn_screen &screen = screens[position % 4];
  const std::vector<float> found = screened(hidden.data(), &screen, 1, 1, counts);
  ++tally.positions;
  tally.rows += counts.rows;
  const bool whole = counts.screened == 0;
  tally.whole += whole;
  tally.wrong += !same(found, whole ? full : expected_row(full, screen));
  tally.loose += !sound(hidden.data(), full);
  tried.push_back({hidden, some, screen, full, found, whole});
#if defined(__wasm__)
  constexpr int kMostThreads = 1;
#else
  constexpr int kMostThreads = 4;
#endif
  if (tried.size() > random() % kMost) try_together(tried, 1 + static_cast<int>(random() % kMostThreads), tally);
  if (position % 64 != 0) return;
  for (int threads = 2; threads <= kMostThreads; ++threads) {
    tally.uneven += !same(found, screened(hidden.data(), &screen, 1, threads, counts));
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
    try_position(hidden, 4 * i, random, tally);
  }
  for (int32_t position = 0; position < positions; ++position) {
    invent(hidden, random, position);
    try_position(hidden, position, random, tally);
  }
  std::printf("{\"positions\":%lld,\"whole\":%lld,\"wrong\":%lld,\"loose\":%lld,\"uneven\":%lld,\"apart\":%lld,"
              "\"rows\":%lld}\n",
              static_cast<long long>(tally.positions), static_cast<long long>(tally.whole),
              static_cast<long long>(tally.wrong), static_cast<long long>(tally.loose),
              static_cast<long long>(tally.uneven), static_cast<long long>(tally.apart),
              static_cast<long long>(tally.rows));
  return 0;
}

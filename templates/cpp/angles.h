// Sine and cosine of the angles that positions are rotated by: sums and products of float64 alone, which every target
// rounds alike, where the mathematical libraries of the machines differ in the last bits.
#pragma once

#include <cstdint>

struct bn_sine_cosine {
  double sine, cosine;
};

// To within a unit or two in the last place, for angles from 0 to 2^20 or so: less is left of one from there on.
// The quarter turns are taken off in two parts, the first short enough for a product with their number to be exact; then
// Taylor's series on |r| <= pi / 4, to r^17 and r^18.
static inline bn_sine_cosine bn_turn(double angle) {
  constexpr double kQuarter = 0x1.921fb544p+0, kRest = 0x1.0b4611a626331p-34; // pi / 2
  const int64_t turns = static_cast<int64_t>(angle * 0x1.45f306dc9c883p-1 + 0.5);
  const double n = static_cast<double>(turns);
  const double r = (angle - n * kQuarter) - n * kRest;
  const double square = r * r;
  double sine = 1.0 / 355687428096000.0;
  sine = sine * square - 1.0 / 1307674368000.0;
  sine = sine * square + 1.0 / 6227020800.0;
  sine = sine * square - 1.0 / 39916800.0;
  sine = sine * square + 1.0 / 362880.0;
  sine = sine * square - 1.0 / 5040.0;
  sine = sine * square + 1.0 / 120.0;
  sine = sine * square - 1.0 / 6.0;
  sine = sine * square * r + r;
  double cosine = -1.0 / 6402373705728000.0;
  cosine = cosine * square + 1.0 / 20922789888000.0;
  cosine = cosine * square - 1.0 / 87178291200.0;
  cosine = cosine * square + 1.0 / 479001600.0;
  cosine = cosine * square - 1.0 / 3628800.0;
  cosine = cosine * square + 1.0 / 40320.0;
  cosine = cosine * square - 1.0 / 720.0;
  cosine = cosine * square + 1.0 / 24.0;
  cosine = cosine * square - 0.5;
  cosine = cosine * square + 1.0;
  switch (turns & 3) {
    case 0: return {sine, cosine};
    case 1: return {cosine, -sine};
    case 2: return {-sine, -cosine};
    default: return {-cosine, sine};
  }
}

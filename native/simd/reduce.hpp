// Sums across the lanes of vectors, and what is true of all numbers of a row.
#pragma once

#include "simd/for_vectors.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <int value>
struct Constant {
  constexpr operator int() const { return value; }
};

// In groups of `half` lanes: x's first group plus its second, then the same of y, and so on in turns.
template <class Real, int half, int... l>
OSTINATO_INLINE Vec<Real> fold(Vec<Real> x, Vec<Real> y, Sequence<l...>) {
  constexpr int n = lanes<Real>;
  return __builtin_shufflevector(x, y, ((l / half) % 2 ? n + l - half : l)...) +
         __builtin_shufflevector(x, y, ((l / half) % 2 ? n + l : l + half)...);
}

template <class Real, int half>
OSTINATO_INLINE void fold_all(Vec<Real>* v) {
  if constexpr (half > 0) {
    for (int k = 0; k < half; ++k) v[k] = fold<Real, half>(v[k], v[k + half], FirstIntegers<lanes<Real>>{});
    fold_all<Real, half / 2>(v);
  }
}

// Lane k is the sum of the lanes of v[k], for as many vectors as there are lanes; v is used up.
template <class Real>
OSTINATO_INLINE Vec<Real> sums_of(Vec<Real>* v) {
  fold_all<Real, lanes<Real> / 2>(v);
  return v[0];
}

template <class Real>
bool all_finite(const Real* x, Index count) {
  Vec<Real> wrong{};
  for_vectors<Real>(count, [&](Index i, auto lanes_used) {
    using Lanes = decltype(lanes_used);
    wrong += Lanes::get(lanes_used, x + i) * Real(0);  // infinity and NaN times zero are NaN
  });
  for (int k = 0; k < lanes<Real>; ++k)
    if (wrong[k] != Real(0)) return false;
  return true;
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

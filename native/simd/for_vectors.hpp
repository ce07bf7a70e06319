// Rows of any length, a vector at a time.
#pragma once

#include "simd/simd.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// A whole vector, or the first few lanes of one at the end of a row.
struct Whole {
  template <class Real>
  OSTINATO_INLINE static Vec<Real> get(const Whole&, const Real* from) {
    return load(from);
  }
  template <class Real>
  OSTINATO_INLINE static void put(const Whole&, Real* to, Vec<Real> value) {
    store(to, value);
  }
};

struct Part {
  int count;
  template <class Real>
  OSTINATO_INLINE static Vec<Real> get(const Part& part, const Real* from) {
    return load_first(from, part.count);
  }
  template <class Real>
  OSTINATO_INLINE static void put(const Part& part, Real* to, Vec<Real> value) {
    store_first(to, value, part.count);
  }
};

// body(column, which lanes of a vector) for the vectors that cover [0, count).
template <class Real, class Body>
OSTINATO_INLINE void for_vectors(Index count, const Body& body) {
  Index c = 0;
  for (; c + lanes<Real> <= count; c += lanes<Real>) body(c, Whole{});
  if (c < count) body(c, Part{static_cast<int>(count - c)});
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

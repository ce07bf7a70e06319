// Transposition: of a square of vectors in registers, and of a matrix by such squares.
#pragma once

#include "simd/simd.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// out[i][j] = in[j][i], by merging the first half of the rows with the second, element by element, as often as it takes
// to come back to the start with the index bits rotated half way.
template <class Real, int... i>
OSTINATO_INLINE void transpose(Vec<Real> (&square)[lanes<Real>], Sequence<i...>) {
  constexpr int n = lanes<Real>;
#pragma GCC unroll 8
  for (int stage = 1; stage < n; stage *= 2) {
    Vec<Real> merged[n];
#pragma GCC unroll 16
    for (int r = 0; r < n / 2; ++r) {
      merged[2 * r] = __builtin_shufflevector(square[r], square[r + n / 2], (i / 2 + (i % 2) * n)...);
      merged[2 * r + 1] = __builtin_shufflevector(square[r], square[r + n / 2], (n / 2 + i / 2 + (i % 2) * n)...);
    }
#pragma GCC unroll 16
    for (int r = 0; r < n; ++r) square[r] = merged[r];
  }
}

// to (columns, rows) = from (rows, columns) transposed; consecutive rows are a stride apart.
template <class Real>
void transpose_matrix(Real* to, Index to_stride, const Real* from, Index from_stride, Index rows, Index columns) {
  constexpr Index n = lanes<Real>;
  const Index whole_rows = rows / n * n, whole_columns = columns / n * n;
  for (Index r = 0; r < whole_rows; r += n)
    for (Index c = 0; c < whole_columns; c += n) {
      Vec<Real> square[n];
#pragma GCC unroll 16
      for (Index i = 0; i < n; ++i) square[i] = load(from + (r + i) * from_stride + c);
      transpose<Real>(square, FirstIntegers<n>{});
#pragma GCC unroll 16
      for (Index i = 0; i < n; ++i) store(to + (c + i) * to_stride + r, square[i]);
    }
  for (Index r = 0; r < rows; ++r)
    for (Index c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      to[c * to_stride + r] = from[r * from_stride + c];
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

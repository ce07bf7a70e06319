// Which inputs are not zero, for linear maps of inputs that mostly are, piano-rolls above all.
#pragma once

#include "linear/frames.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// Where one input in four is not zero, a dense product is as fast.
constexpr Index densest = 4;

// Inputs that are not zero, with room for `spare` more than there are.
template <class Real>
struct Nonzeros {
  int* columns;
  Real* values;
  static constexpr Index spare = 16;
};

// The inputs of one frame that are not zero, put after the first `n` found ones; returns how many there are then.
// Without branches: which ones they are cannot be foretold.
#if defined(__AVX512F__)
OSTINATO_INLINE __m512 load_inputs(const float* x, __mmask16 there) { return _mm512_maskz_loadu_ps(there, x); }
OSTINATO_INLINE __m512 load_inputs(const unsigned char* x, __mmask16 there) {
  return _mm512_maskz_cvtepi32_ps(there, _mm512_maskz_cvtepu8_epi32(there, _mm_maskz_loadu_epi8(there, x)));
}

template <class Number>
OSTINATO_INLINE Index find_nonzeros(const Number* x, Index count, const Nonzeros<float>& found, Index n) {
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (Index v = 0; v < count; v += 16) {
    const auto there = static_cast<__mmask16>(count - v < 16 ? (1u << (count - v)) - 1 : 0xffffu);
    const __m512 inputs = load_inputs(x + v, there);
    const __mmask16 nonzero = _mm512_cmp_ps_mask(inputs, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    const __m512i columns = _mm512_add_epi32(first, _mm512_set1_epi32(static_cast<int>(v)));
    _mm512_storeu_si512(found.columns + n, _mm512_maskz_compress_epi32(nonzero, columns));
    _mm512_storeu_ps(found.values + n, _mm512_maskz_compress_ps(nonzero, inputs));
    n += __builtin_popcount(nonzero);
  }
  return n;
}
#endif

template <class Real, class Number>
OSTINATO_INLINE Index find_nonzeros(const Number* x, Index count, const Nonzeros<Real>& found, Index n) {
  constexpr Index group = 8;
  const auto take = [&](Index i) {
    found.columns[n] = static_cast<int>(i);
    found.values[n] = static_cast<Real>(x[i]);
    n += x[i] != Number(0);
  };
  Index v = 0;
  for (; v + group <= count; v += group) {  // most groups of eight are zeros
    unsigned long long words[sizeof(Number)], any = 0;
    __builtin_memcpy(words, x + v, sizeof(words));
#pragma GCC unroll 8
    for (const auto word : words) any |= word;
    if (!any) continue;
#pragma GCC unroll 8
    for (Index i = v; i < v + group; ++i) take(i);
  }
  for (; v < count; ++v) take(v);
  return n;
}

// Whether few inputs are not zero, judged by at most 256 frames from everywhere.
template <class Number>
bool are_sparse(const Number* x, Index inputs, Index frames) {
  constexpr Index most = 256;
  const Index looked_at = frames < most ? frames : most;
  Index nonzeros = 0;
  for (Index i = 0; i < looked_at; ++i) {
    const Number* from = x + cut(frames, looked_at, i) * inputs;
    for (Index v = 0; v < inputs; ++v) nonzeros += from[v] != Number(0);
  }
  return nonzeros <= looked_at * inputs / densest;
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

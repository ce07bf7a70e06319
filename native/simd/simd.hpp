// Vectors of OSTINATO_VECTOR_BYTES as GCC and Clang know them, and the few operations the kernels need on them.
//
// Everything in this header and in those that include it sits in a namespace named after the instruction set and inside
// an unnamed one: the same source is compiled several times, and no two builds may share a function.
#pragma once

#include "simd/types.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define OSTINATO_INLINE __attribute__((always_inline)) inline

namespace ostinato::OSTINATO_ISA {
namespace {

// Numbers in a line of the cache.
template <class Number>
constexpr Index line_length = 64 / static_cast<Index>(sizeof(Number));

// Room for `count` numbers and a few more, in whole lines.
constexpr Index roomy(Index count) { return count / 64 * 64 + 64; }

// Whether a product's last columns are worth half a vector of their own: with 512-bit vectors, of which many processors
// do half at a time, 200 units are then 12 and a half vectors' work, not 13.
constexpr bool halves = OSTINATO_VECTOR_BYTES == 64;
constexpr int half_bytes = halves ? OSTINATO_VECTOR_BYTES / 2 : OSTINATO_VECTOR_BYTES;  // or a whole one, never used

template <class Real>
struct Types;

template <>
struct Types<float> {
  typedef float Vec __attribute__((vector_size(OSTINATO_VECTOR_BYTES)));
  typedef float Unaligned __attribute__((vector_size(OSTINATO_VECTOR_BYTES), aligned(4), may_alias));
  typedef float Half __attribute__((vector_size(half_bytes)));
  typedef float UnalignedHalf __attribute__((vector_size(half_bytes), aligned(4), may_alias));
  typedef unsigned Bits __attribute__((vector_size(OSTINATO_VECTOR_BYTES)));
};

template <>
struct Types<double> {
  typedef double Vec __attribute__((vector_size(OSTINATO_VECTOR_BYTES)));
  typedef double Unaligned __attribute__((vector_size(OSTINATO_VECTOR_BYTES), aligned(8), may_alias));
  typedef double Half __attribute__((vector_size(half_bytes)));
  typedef double UnalignedHalf __attribute__((vector_size(half_bytes), aligned(8), may_alias));
  typedef unsigned long long Bits __attribute__((vector_size(OSTINATO_VECTOR_BYTES)));
};

template <class Real>
using Vec = typename Types<Real>::Vec;

template <class Real>
constexpr int lanes = OSTINATO_VECTOR_BYTES / static_cast<int>(sizeof(Real));

template <class Real>
OSTINATO_INLINE Vec<Real> splat(Real value) {
  return value - Vec<Real>{};
}

template <class Real>
OSTINATO_INLINE Vec<Real> load(const Real* from) {
  return *reinterpret_cast<const typename Types<Real>::Unaligned*>(from);
}

template <class Real>
OSTINATO_INLINE void store(Real* to, Vec<Real> value) {
  *reinterpret_cast<typename Types<Real>::Unaligned*>(to) = value;
}

// 0, 1, ..., n - 1 as template arguments: the constant indices of a shuffle.
template <int... i>
struct Sequence {};

template <int n, int... i>
struct CountTo : CountTo<n - 1, n - 1, i...> {};

template <int... i>
struct CountTo<0, i...> {
  using type = Sequence<i...>;
};

template <int n>
using FirstIntegers = typename CountTo<n>::type;

// Some vectors' worth of consecutive elements in registers, the last of them half a vector where `halved`.
template <class Real, int vectors, bool halved>
struct Strip {
  static constexpr int whole = halved ? vectors - 1 : vectors;
  static constexpr int width = whole * lanes<Real> + (halved ? lanes<Real> / 2 : 0);
  using Half = typename Types<Real>::Half;
  using UnalignedHalf = typename Types<Real>::UnalignedHalf;

  Vec<Real> at[whole > 0 ? whole : 1];
  Half rest;

  template <int... i>
  OSTINATO_INLINE static Half first_half(Vec<Real> v, Sequence<i...>) {
    return __builtin_shufflevector(v, v, i...);
  }

  OSTINATO_INLINE void clear() {
#pragma GCC unroll 16
    for (int j = 0; j < whole; ++j) at[j] = Vec<Real>{};
    if constexpr (halved) rest = Half{};
  }

  OSTINATO_INLINE void load_from(const Real* from) {
#pragma GCC unroll 16
    for (int j = 0; j < whole; ++j) at[j] = load(from + j * lanes<Real>);
    if constexpr (halved) rest = *reinterpret_cast<const UnalignedHalf*>(from + whole * lanes<Real>);
  }

  OSTINATO_INLINE void add_product(Real element, const Strip& row) {
    const Vec<Real> elements = splat<Real>(element);
#pragma GCC unroll 16
    for (int j = 0; j < whole; ++j) at[j] += elements * row.at[j];
    if constexpr (halved) rest += first_half(elements, FirstIntegers<lanes<Real> / 2>{}) * row.rest;
  }

  // The same for a row in memory: one vector of it at a time needs a register.
  OSTINATO_INLINE void add_product(Real element, const Real* row) {
    static_assert(!halved);
    const Vec<Real> elements = splat<Real>(element);
#pragma GCC unroll 16
    for (int j = 0; j < whole; ++j) at[j] += elements * load(row + j * lanes<Real>);
  }

  OSTINATO_INLINE void add_from(const Real* from) {
    Strip other;
    other.load_from(from);
    add(other);
  }

  OSTINATO_INLINE void add(const Strip& other) {
#pragma GCC unroll 16
    for (int j = 0; j < whole; ++j) at[j] += other.at[j];
    if constexpr (halved) rest += other.rest;
  }

  OSTINATO_INLINE void store_to(Real* to) const {
#pragma GCC unroll 16
    for (int j = 0; j < whole; ++j) store(to + j * lanes<Real>, at[j]);
    if constexpr (halved) *reinterpret_cast<UnalignedHalf*>(to + whole * lanes<Real>) = rest;
  }
};

// The first `count` lanes (0 < count < lanes); the others read as zero and are not written. The generic form goes
// through a buffer, since nothing past the caller's array may be touched.
template <class Real>
OSTINATO_INLINE Vec<Real> load_first(const Real* from, int count) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4)
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
  else
    return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), from);
#else
  alignas(OSTINATO_VECTOR_BYTES) Real buffer[lanes<Real>] = {};
  for (int i = 0; i < count; ++i) buffer[i] = from[i];
  return load(buffer);
#endif
}

template <class Real>
OSTINATO_INLINE void store_first(Real* to, Vec<Real> value, int count) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4)
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), value);
  else
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << count) - 1), value);
#else
  alignas(OSTINATO_VECTOR_BYTES) Real buffer[lanes<Real>];
  store(buffer, value);
  for (int i = 0; i < count; ++i) to[i] = buffer[i];
#endif
}

// A strip of fewer elements than a vector has, at the end of a row.
template <class Real>
struct EndStrip {
  int count = 1;
  Vec<Real> at{};

  OSTINATO_INLINE void clear() { at = Vec<Real>{}; }
  OSTINATO_INLINE void load_from(const Real* from) { at = load_first(from, count); }
  OSTINATO_INLINE void add_product(Real element, const Real* row) { at += element * load_first(row, count); }
  OSTINATO_INLINE void add_from(const Real* from) { at += load_first(from, count); }
  OSTINATO_INLINE void store_to(Real* to) const { store_first(to, at, count); }
};

// body(column, a strip) for strips that cover [first, last), the widest first.
template <class Real, class Body>
OSTINATO_INLINE void for_strips(Index first, Index last, const Body& body) {
  Index c = first;
  for (; c + 8 * lanes<Real> <= last; c += 8 * lanes<Real>) body(c, Strip<Real, 8, false>{});
  if (c + 4 * lanes<Real> <= last) body(c, Strip<Real, 4, false>{}), c += 4 * lanes<Real>;
  for (; c + lanes<Real> <= last; c += lanes<Real>) body(c, Strip<Real, 1, false>{});
  if (c < last) body(c, EndStrip<Real>{static_cast<int>(last - c)});
}

// Denormals cost a hundred cycles each and vanishing gradients are full of them: zero them while the kernels run,
// in this thread, and put the thread's mode back afterwards.
struct FlushDenormals {
#if defined(__x86_64__) || defined(__i386__)
  unsigned before = __builtin_ia32_stmxcsr();
  FlushDenormals() { __builtin_ia32_ldmxcsr(before | 0x8040u); }
  ~FlushDenormals() { __builtin_ia32_ldmxcsr(before); }
#elif defined(__aarch64__)
  unsigned long before;
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before));
    asm volatile("msr fpcr, %0" ::"r"(before | (1ul << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before)); }
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

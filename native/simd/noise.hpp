// Standard normal numbers that are a function of where they stand: Philox-4x32-10 (Salmon et al. 2011, "Parallel random
// numbers: as easy as 1, 2, 3") of a key and of the place, and the transform of Box and Muller. No state, so any thread
// makes those it needs, in any order, and makes them again.
//
// A row's numbers come in blocks of 64: number 16 w + j of block k is made of word w of counter (16 k + j, row, step, 0),
// two words w and w + 1, w even, making two numbers: r cos(a) and r sin(a), r^2 = -2 log((v + 1/2) / 2^31) with v the
// first word's upper 31 bits, a = 2 pi / 2^32 times the second word.
#pragma once

#include "simd/nonlinearity.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

constexpr Index noise_block = 64;
constexpr int noise_counters = 16;  // of a block

// The words of some counters in lanes of 64 bits, of which the upper half is of no account.
using Words = typename Types<double>::Bits;
using PackedWords = typename Types<float>::Bits;

// The products of the lanes' lower halves.
OSTINATO_INLINE Words multiply_words(Words a, Words b) {
#if defined(__AVX512F__)  // masked with all lanes: GCC 12 warns of the plain form's own undefined lanes
  return reinterpret_cast<Words>(_mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<Words>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  constexpr unsigned long long low = 0xffffffffu;
  return (a & low) * (b & low);
#endif
}

OSTINATO_INLINE Words exclusive_or(Words a, Words b, Words c) {
#if defined(__AVX512F__)  // in one instruction, which GCC 12 does not find
  return reinterpret_cast<Words>(_mm512_ternarylogic_epi64(
      reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b), reinterpret_cast<__m512i>(c), 0x96));
#else
  return a ^ b ^ c;
#endif
}

// A vector's lanes of 32 bits from the lower halves of two vectors' lanes.
template <int... i>
OSTINATO_INLINE PackedWords lower_halves(Words a, Words b, Sequence<i...>) {
  return __builtin_shufflevector(reinterpret_cast<PackedWords>(a), reinterpret_cast<PackedWords>(b), (2 * i)...);
}

struct Philox {
  static constexpr int rounds = 10;
  unsigned long long first[rounds], second[rounds];  // the rounds' keys

  explicit Philox(unsigned long long key) {
    auto k = static_cast<unsigned>(key), l = static_cast<unsigned>(key >> 32);
    for (int i = 0; i < rounds; ++i, k += 0x9E3779B9u, l += 0xBB67AE85u) first[i] = k, second[i] = l;
  }

  // The words of the counters (column..., row, step, 0), as many as `vectors` vectors have lanes of 64 bits. Some vectors
  // at once: one's rounds wait for each other.
  template <int vectors>
  OSTINATO_INLINE void words(const Words (&column)[vectors], unsigned long long row, unsigned long long step,
                             Words (&out)[4][vectors]) const {
    const Words zero{};
    Words(&x)[vectors] = out[0], (&y)[vectors] = out[1], (&z)[vectors] = out[2], (&w)[vectors] = out[3];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) x[v] = column[v], y[v] = zero + row, z[v] = zero + step, w[v] = zero;
    for (int i = 0; i < rounds; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        const Words p = multiply_words(x[v], zero + 0xD2511F53u), q = multiply_words(z[v], zero + 0xCD9E8D57u);
        x[v] = exclusive_or(q >> 32, y[v], zero + first[i]);
        y[v] = q;
        z[v] = exclusive_or(p >> 32, w[v], zero + second[i]);
        w[v] = p;
      }
  }
};

template <class Real>
OSTINATO_INLINE Vec<Real> square_root(Vec<Real> x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4)
    return _mm512_maskz_sqrt_ps(0xffff, x);
  else
    return _mm512_maskz_sqrt_pd(0xff, x);
#elif defined(__AVX2__)
  if constexpr (sizeof(Real) == 4)
    return _mm256_sqrt_ps(x);
  else
    return _mm256_sqrt_pd(x);
#else
  for (int i = 0; i < lanes<Real>; ++i) x[i] = sizeof(Real) == 4 ? __builtin_sqrtf(x[i]) : __builtin_sqrt(x[i]);
  return x;
#endif
}

// As many words of 32 bits as a vector has numbers.
template <class Real>
struct WordsOf {
  typedef unsigned Bits __attribute__((vector_size(lanes<Real> * 4)));
  typedef int Signed __attribute__((vector_size(lanes<Real> * 4)));
};

template <class Real>
OSTINATO_INLINE Vec<Real> to_real(typename WordsOf<Real>::Bits words) {
  return __builtin_convertvector(reinterpret_cast<typename WordsOf<Real>::Signed>(words), Vec<Real>);
}

// Two numbers of two words.
template <class Real>
OSTINATO_INLINE void box_muller(typename WordsOf<Real>::Bits first, typename WordsOf<Real>::Bits second,
                                Vec<Real>& one, Vec<Real>& other) {
  using Bits = typename Types<Real>::Bits;
  constexpr int terms = sizeof(Real) == 4 ? 4 : 8, top = 8 * static_cast<int>(sizeof(Real)) - 1;
  const Vec<Real> v = (to_real<Real>(first >> 1) + Real(0.5)) * Real(0x1p-31);
  const Vec<Real> r = square_root<Real>(log<Real>(v) * Real(-2));
  // The angle is some quarters of a turn, and between -1/8 and 1/8 of one.
  const Bits quarters = __builtin_convertvector((second + (1u << 29)) >> 30, Bits);
  const Vec<Real> a = to_real<Real>(second << 2) * static_cast<Real>(0x1.921fb54442d18p-32), square = a * a;
  Vec<Real> cos = splat<Real>(static_cast<Real>(inverse_factorials.at[2 * terms]));
  Vec<Real> sin = splat<Real>(static_cast<Real>(inverse_factorials.at[2 * terms + 1]));
#pragma GCC unroll 8
  for (int k = terms - 1; k >= 0; --k) {
    cos = static_cast<Real>(inverse_factorials.at[2 * k]) - cos * square;
    sin = static_cast<Real>(inverse_factorials.at[2 * k + 1]) - sin * square;
  }
  sin *= a;
  const auto odd = (quarters & 1) != 0;
  const Vec<Real> across = r * (odd ? sin : cos), up = r * (odd ? cos : sin);
  one = reinterpret_cast<Vec<Real>>(reinterpret_cast<Bits>(across) ^ ((quarters + 1) >> 1 << top));
  other = reinterpret_cast<Vec<Real>>(reinterpret_cast<Bits>(up) ^ (quarters >> 1 << top));
}

// The numbers of two words' vectors, at `one` and `other`.
template <class Real>
OSTINATO_INLINE void put_normals(PackedWords first, PackedWords second, Real* one, Real* other) {
  constexpr int n = lanes<Real>;
  using Bits = typename WordsOf<Real>::Bits;
#pragma GCC unroll 2
  for (int i = 0; i < lanes<float>; i += n) {
    Bits radius, angle;
    __builtin_memcpy(&radius, reinterpret_cast<const char*>(&first) + 4 * i, sizeof(Bits));
    __builtin_memcpy(&angle, reinterpret_cast<const char*>(&second) + 4 * i, sizeof(Bits));
    Vec<Real> x, y;
    box_muller<Real>(radius, angle, x, y);
    store(one + i, x);
    store(other + i, y);
  }
}

// So many blocks from block k on are made at once, where registers are many: half as long again as one by one.
#if defined(__AVX512F__)
constexpr int noise_blocks = 2;
#else
constexpr int noise_blocks = 1;
#endif

// Blocks k and the next ones, `blocks` of them, of a row at a step.
template <class Real, int blocks>
OSTINATO_INLINE void fill_noise(const Philox& philox, Index step, Index row, Index k, Real* out) {
  constexpr int wide = lanes<float>, half = lanes<double>;
  Words ramp;
  for (int i = 0; i < half; ++i) ramp[i] = static_cast<unsigned long long>(i);
  for (int j = 0; j < noise_counters; j += wide) {
    Words columns[2 * blocks], made[4][2 * blocks];
    for (int v = 0; v < 2 * blocks; ++v)
      columns[v] = ramp + static_cast<unsigned long long>(noise_counters * (k + v / 2) + j + v % 2 * half);
    philox.words(columns, static_cast<unsigned long long>(row), static_cast<unsigned long long>(step), made);
#pragma GCC unroll 2
    for (int b = 0; b < blocks; ++b) {
      PackedWords words[4];
      for (int w = 0; w < 4; ++w) words[w] = lower_halves(made[w][2 * b], made[w][2 * b + 1], FirstIntegers<wide>{});
      Real* to = out + b * noise_block + j;
      for (int w = 0; w < 4; w += 2)
        put_normals<Real>(words[w], words[w + 1], to + w * noise_counters, to + (w + 1) * noise_counters);
    }
  }
}

// The blocks that hold numbers [first, last) of a row, from the one that `first` is in, and at most `noise_blocks`.
template <class Real>
OSTINATO_INLINE void fill_noise(const Philox& philox, Index step, Index row, Index first, Index last,
                                Real (&out)[noise_blocks * noise_block]) {
  const Index k = first / noise_block;
  if (last > (k + 1) * noise_block)
    fill_noise<Real, noise_blocks>(philox, step, row, k, out);
  else
    fill_noise<Real, 1>(philox, step, row, k, out);
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

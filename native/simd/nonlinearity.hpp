// The nonlinearities and their slopes on vectors: f(z) and f'(z) in one go.
//
// Both exponential ones rest on one reduction: y = n ln 2 + r with |r| <= (ln 2)/2, so that
// e^y - 1 = 2^n (e^r - 1) + (2^n - 1), with e^r - 1 from a polynomial. For n = 0 the second term is zero, which keeps
// full relative accuracy around the origin. NaN passes through every step.
#pragma once

#include "simd/simd.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

constexpr double inverse_factorial(int n) { return n < 2 ? 1.0 : inverse_factorial(n - 1) / n; }

template <class Real>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
  static constexpr int mantissa = 23, degree = 6;
  static constexpr unsigned bias = 127;
  static constexpr float tanh_limit = 20.0f;  // tanh(10) rounds to 1
  static constexpr float exp_limit = 87.0f;   // 2^n stays a normal number

  // Of r^k. The largest relative error of e^r - 1, 1.3e-8, is the smallest that this degree allows (found by Lawson's
  // algorithm); the Taylor series needs two terms more for that.
  static constexpr float coefficient(int k) {
    constexpr float from_two[] = {0x1.fffffep-2f, 0x1.5554bp-3f, 0x1.555674p-5f, 0x1.122776p-7f, 0x1.6bec06p-10f};
    return from_two[k - 2];
  }
};

template <>
struct ExpConstants<double> {
  static constexpr double rounder = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr int mantissa = 52, degree = 14;
  static constexpr unsigned long long bias = 1023;
  static constexpr double tanh_limit = 40.0;
  static constexpr double exp_limit = 700.0;

  static constexpr double coefficient(int k) { return inverse_factorial(k); }
};

// limit(y, m): y held within [-m, m]. Written so that a NaN fails both comparisons and stays.
template <class Real>
OSTINATO_INLINE Vec<Real> limit(Vec<Real> y, Real bound) {
  const Vec<Real> high = splat<Real>(bound), low = splat<Real>(-bound);
  y = high < y ? high : y;
  return low > y ? low : y;
}

// scale = 2^n and part = e^r - 1.
template <class Real>
OSTINATO_INLINE void split_exp(Vec<Real> y, Vec<Real>& scale, Vec<Real>& part) {
  using C = ExpConstants<Real>;
  using Bits = typename Types<Real>::Bits;
  const Vec<Real> shifted = y * static_cast<Real>(1.4426950408889634074) + C::rounder;
  const Vec<Real> n = shifted - C::rounder;
  const Vec<Real> r = (y - n * C::ln2_high) - n * C::ln2_low;
  Vec<Real> series = splat<Real>(C::coefficient(C::degree));
#pragma GCC unroll 16
  for (int k = C::degree - 1; k >= 2; --k) series = series * r + C::coefficient(k);
  part = series * (r * r) + r;
  // The low bits of `shifted` hold n; moved to the exponent's place they make 2^n.
  const Bits exponent = (reinterpret_cast<Bits>(shifted) << C::mantissa) + (C::bias << C::mantissa);
  scale = reinterpret_cast<Vec<Real>>(exponent);
}

template <Nonlinearity f>
struct Activation;

template <>
struct Activation<Nonlinearity::tanh> {
  // tanh z = (e^{2z} - 1) / (e^{2z} + 1)
  template <class Real>
  OSTINATO_INLINE static void apply(Vec<Real> z, Vec<Real>& value, Vec<Real>& slope) {
    Vec<Real> scale, part;
    split_exp<Real>(limit<Real>(z + z, ExpConstants<Real>::tanh_limit), scale, part);
    const Vec<Real> expm1 = scale * part + (scale - Real(1));
    value = expm1 / (expm1 + Real(2));
    slope = Real(1) - value * value;
  }
};

template <>
struct Activation<Nonlinearity::sigmoid> {
  template <class Real>
  OSTINATO_INLINE static void apply(Vec<Real> z, Vec<Real>& value, Vec<Real>& slope) {
    Vec<Real> scale, part;
    split_exp<Real>(limit<Real>(-z, ExpConstants<Real>::exp_limit), scale, part);
    const Vec<Real> exp = scale * part + scale;
    value = Real(1) / (Real(1) + exp);
    slope = (exp * value) * value;  // value (1 - value), without the cancellation for large z
  }
};

template <>
struct Activation<Nonlinearity::relu> {
  template <class Real>
  OSTINATO_INLINE static void apply(Vec<Real> z, Vec<Real>& value, Vec<Real>& slope) {
    const Vec<Real> zero{};
    value = z <= zero ? zero : z;
    slope = z > zero ? splat<Real>(1) : zero;  // 0 at the kink and for NaN, as in PyTorch
  }
};

template <>
struct Activation<Nonlinearity::identity> {
  template <class Real>
  OSTINATO_INLINE static void apply(Vec<Real> z, Vec<Real>& value, Vec<Real>& slope) {
    value = z;
    slope = splat<Real>(1);
  }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

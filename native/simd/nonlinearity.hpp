// The nonlinearities and their slopes on vectors: f(z) and f'(z) in one go.
//
// Both exponential ones rest on one reduction: y = n ln 2 + r with |r| <= (ln 2)/2, so that
// e^y - 1 = 2^n (e^r - 1) + (2^n - 1), with e^r - 1 from a polynomial. For n = 0 the second term is zero, which keeps
// full relative accuracy around the origin. NaN passes through every step.
#pragma once

#include "simd/simd.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// 1 / n!. A table: a function of n the compiler calls where it has not unrolled the loop yet, with its divisions.
struct InverseFactorials {
  double at[18];
  constexpr InverseFactorials() : at{1} {
    for (int n = 1; n < 18; ++n) at[n] = at[n - 1] / n;
  }
};
constexpr InverseFactorials inverse_factorials;

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

  static constexpr double coefficient(int k) { return inverse_factorials.at[k]; }
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

// 2 (s + s^3 / 3 + s^5 / 5 + ...) = log((1 + s) / (1 - s)), with `terms` terms after the first.
template <class Real, int terms>
OSTINATO_INLINE Vec<Real> twice_atanh(Vec<Real> s) {
  const Vec<Real> square = s * s;
  Vec<Real> series = splat<Real>(Real(2) / (2 * terms + 1));
#pragma GCC unroll 16
  for (int k = terms - 1; k >= 1; --k) series = series * square + Real(2) / (2 * k + 1);
  return (series * square) * s + Real(2) * s;
}

// log(1 + u) for 0 <= u <= 1, in full relative accuracy: s = u / (2 + u) is at most a third.
template <class Real>
OSTINATO_INLINE Vec<Real> log1p_of_unit(Vec<Real> u) {
  return twice_atanh<Real, sizeof(Real) == 4 ? 8 : 16>(u / (u + Real(2)));
}

// log x of positive normal numbers, as its high part n ln 2 and the rest: x = 2^n m with m within sqrt(2) of 1.
template <class Real>
OSTINATO_INLINE Vec<Real> log(Vec<Real> x) {
  using C = ExpConstants<Real>;
  using Bits = typename Types<Real>::Bits;
  using Bit = decltype(C::bias);
  constexpr Bit one = 1, fraction = (one << C::mantissa) - 1;
  constexpr Bit shifter = (C::bias + C::mantissa) << C::mantissa;  // 2^mantissa: what is or'ed to it is added
  const Bits bits = reinterpret_cast<Bits>(x);
  Vec<Real> m = reinterpret_cast<Vec<Real>>((bits & fraction) | (C::bias << C::mantissa));
  Vec<Real> n = reinterpret_cast<Vec<Real>>((bits >> C::mantissa) | shifter) -
                (static_cast<Real>(one << C::mantissa) + static_cast<Real>(C::bias));
  const Vec<Real> root = splat<Real>(Real(1.4142135623730951)), half = m * Real(0.5), next = n + Real(1);
  n = m > root ? next : n;
  m = m > root ? half : m;
  const Vec<Real> rest = twice_atanh<Real, sizeof(Real) == 4 ? 5 : 11>((m - Real(1)) / (m + Real(1)));
  return n * C::ln2_high + (n * C::ln2_low + rest);
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

// Any of them, chosen at run time, with the parameter that some have.
template <class Number>
struct AnyActivation {
  Nonlinearity nonlinearity;
  Number parameter;

  template <class Real>
  OSTINATO_INLINE void apply(Vec<Real> z, Vec<Real>& value, Vec<Real>& slope) const {
    switch (nonlinearity) {
      case Nonlinearity::tanh: return Activation<Nonlinearity::tanh>::template apply<Real>(z, value, slope);
      case Nonlinearity::relu: return Activation<Nonlinearity::relu>::template apply<Real>(z, value, slope);
      case Nonlinearity::sigmoid: return Activation<Nonlinearity::sigmoid>::template apply<Real>(z, value, slope);
      case Nonlinearity::softplus: return softplus(z, value, slope);
      case Nonlinearity::elu: return elu(z, value, slope);
      case Nonlinearity::leaky_relu: return leaky_relu(z, value, slope);
      case Nonlinearity::retanh: return retanh(z, value, slope);
      case Nonlinearity::power: return power(z, value, slope);
      default: return Activation<Nonlinearity::identity>::template apply<Real>(z, value, slope);
    }
  }

 private:
  using Vector = Vec<Number>;

  // max(z, 0) + log(1 + e^-|z|), and the sigmoid
  OSTINATO_INLINE void softplus(Vector z, Vector& value, Vector& slope) const {
    const Vector zero{};
    Vector scale, part;
    const Vector down = z > zero ? -z : z;
    split_exp<Number>(limit<Number>(down, ExpConstants<Number>::exp_limit), scale, part);
    const Vector exp = scale * part + scale, share = Number(1) / (exp + Number(1));
    const Vector up = z <= zero ? zero : z;
    value = up + log1p_of_unit<Number>(exp);
    slope = z > zero ? share : exp * share;
  }

  OSTINATO_INLINE void elu(Vector z, Vector& value, Vector& slope) const {
    const Vector zero{};
    Vector scale, part;
    split_exp<Number>(limit<Number>(z > zero ? zero : z, ExpConstants<Number>::exp_limit), scale, part);
    const Vector below = (scale * part + (scale - Number(1))) * parameter, falls = (scale * part + scale) * parameter;
    value = z > zero ? z : below;
    slope = z > zero ? splat<Number>(1) : falls;
  }

  OSTINATO_INLINE void leaky_relu(Vector z, Vector& value, Vector& slope) const {
    const Vector zero{}, below = z * parameter;
    value = z > zero ? z : below;
    slope = z > zero ? splat<Number>(1) : splat<Number>(parameter);
  }

  OSTINATO_INLINE void retanh(Vector z, Vector& value, Vector& slope) const {
    const Vector zero{};
    Vector tanh, rise;
    Activation<Nonlinearity::tanh>::template apply<Number>(z, tanh, rise);
    value = z <= zero ? zero : tanh;
    slope = z > zero ? rise : zero;
  }

  // max(z, 0)^p = e^(p log z); what is beyond the exponential's range is infinite. NaN passes.
  OSTINATO_INLINE void power(Vector z, Vector& value, Vector& slope) const {
    const Vector zero{};
    const Vector up = z <= zero ? zero : z;
    if (parameter == Number(2)) {
      value = up * up;
      slope = z > zero ? up + up : zero;
      return;
    }
    const Vector safe = z > zero ? z : splat<Number>(1), y = log<Number>(safe) * parameter;
    Vector scale, part;
    split_exp<Number>(limit<Number>(y, ExpConstants<Number>::exp_limit), scale, part);
    const Vector bound = splat<Number>(ExpConstants<Number>::exp_limit);
    const Vector infinite = splat<Number>(static_cast<Number>(__builtin_inf())), exp = scale * part + scale;
    const Vector rise = exp * parameter / safe, inside = y > bound ? infinite : exp;
    value = z > zero ? inside : up;
    slope = z > zero ? (y > bound ? infinite : rise) : zero;
  }
};

// body(f), where the commonest two have code of their own.
template <class Real, class Body>
bool with_activation(Nonlinearity nonlinearity, Real parameter, const Body& body) {
  switch (nonlinearity) {
    case Nonlinearity::tanh: return body(Activation<Nonlinearity::tanh>{});
    case Nonlinearity::relu: return body(Activation<Nonlinearity::relu>{});
    default: return body(AnyActivation<Real>{nonlinearity, parameter});
  }
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

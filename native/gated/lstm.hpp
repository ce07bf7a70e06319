// An LSTM's pointwise part. What each function is for says gated/scan.hpp.
#pragma once

#include "simd/nonlinearity.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

struct Lstm {
  static constexpr int gates = 4, drives = 4, saved = 5, coefficients = 6, deltas = 4;
  static constexpr int delta_of_gate[gates] = {0, 1, 2, 3};
  static constexpr int delta_of_drive = 0;
  static constexpr bool has_cell = true;

  // saved: i, f, g, o, tanh c
  template <class Real>
  OSTINATO_INLINE static void forward(const Vec<Real>* x, const Vec<Real>* u, Vec<Real> a, Vec<Real>& h, Vec<Real>& c,
                                      Vec<Real>* saved) {
    Vec<Real> slope;
    Activation<Nonlinearity::sigmoid>::apply<Real>(x[0] + u[0], saved[0], slope);
    Activation<Nonlinearity::sigmoid>::apply<Real>(x[1] + u[1], saved[1], slope);
    Activation<Nonlinearity::tanh>::apply<Real>(x[2] + u[2], saved[2], slope);
    Activation<Nonlinearity::sigmoid>::apply<Real>(x[3] + u[3], saved[3], slope);
    const Vec<Real> step = saved[1] * c + saved[0] * saved[2];
    c = step + a * (c - step);
    Activation<Nonlinearity::tanh>::apply<Real>(c, saved[4], slope);
    h = saved[3] * saved[4];
  }

  // dc by u_i, u_f and u_g; dh by u_o and c; dc by cp
  template <class Real>
  OSTINATO_INLINE static void linearize(const Vec<Real>* saved, Vec<Real> a, Vec<Real>, Vec<Real> c, Vec<Real>* by) {
    const Vec<Real> i = saved[0], f = saved[1], g = saved[2], o = saved[3], squashed = saved[4];
    const Vec<Real> rest = Real(1) - a, shut = Real(1) - f;
    by[0] = rest * g * (i * (Real(1) - i));
    by[1] = rest * c * (f * shut);
    by[2] = rest * i * (Real(1) - g * g);
    by[3] = squashed * (o * (Real(1) - o));
    by[4] = o * (Real(1) - squashed * squashed);
    by[5] = f + a * shut;
  }

  template <class Real>
  OSTINATO_INLINE static void adjoint(const Vec<Real>* by, Vec<Real> h, Vec<Real>& c, Vec<Real>* deltas,
                                      Vec<Real>& carried) {
    c += by[4] * h;
    deltas[0] = by[0] * c;
    deltas[1] = by[1] * c;
    deltas[2] = by[2] * c;
    deltas[3] = by[3] * h;
    carried = by[5] * c;
  }

  template <class Real>
  OSTINATO_INLINE static void tangent(const Vec<Real>* by, const Vec<Real>* u, Vec<Real> force_h, Vec<Real> force_c,
                                      Vec<Real>& h, Vec<Real>& c) {
    c = force_c + by[5] * c + by[0] * u[0] + by[1] * u[1] + by[2] * u[2];
    h = force_h + by[4] * c + by[3] * u[3];
  }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

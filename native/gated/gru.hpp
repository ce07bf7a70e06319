// A GRU's pointwise part. What each function is for says gated/scan.hpp.
#pragma once

#include "simd/nonlinearity.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

struct Gru {
  static constexpr int gates = 3, drives = 3, saved = 4, coefficients = 5, deltas = 4;
  static constexpr int delta_of_gate[gates] = {1, 2, 0};
  static constexpr int delta_of_drive = 1;
  static constexpr bool has_cell = false;

  // saved: r, z, n, u_n
  template <class Real>
  OSTINATO_INLINE static void forward(const Vec<Real>* x, const Vec<Real>* u, Vec<Real> a, Vec<Real>& h, Vec<Real>&,
                                      Vec<Real>* saved) {
    Vec<Real> slope;
    Activation<Nonlinearity::sigmoid>::apply<Real>(x[0] + u[0], saved[0], slope);
    Activation<Nonlinearity::sigmoid>::apply<Real>(x[1] + u[1], saved[1], slope);
    Activation<Nonlinearity::tanh>::apply<Real>(x[2] + saved[0] * u[2], saved[2], slope);
    saved[3] = u[2];
    const Vec<Real> kept = saved[1] + a * (Real(1) - saved[1]);
    h = saved[2] + kept * (h - saved[2]);
  }

  // dh by u_r, u_z, u_n, x_n and hp
  template <class Real>
  OSTINATO_INLINE static void linearize(const Vec<Real>* saved, Vec<Real> a, Vec<Real> h, Vec<Real>, Vec<Real>* by) {
    const Vec<Real> r = saved[0], z = saved[1], n = saved[2], u = saved[3];
    const Vec<Real> rest = Real(1) - a, shut = Real(1) - z;
    by[3] = rest * shut * (Real(1) - n * n);
    by[0] = by[3] * u * (r * (Real(1) - r));
    by[1] = rest * (h - n) * (z * shut);
    by[2] = by[3] * r;
    by[4] = z + a * shut;
  }

  // deltas: of u_n, and of x_r, x_z and x_n, which lie together; u_r and u_z have those of x_r and x_z
  template <class Real>
  OSTINATO_INLINE static void adjoint(const Vec<Real>* by, Vec<Real> h, Vec<Real>&, Vec<Real>* deltas,
                                      Vec<Real>& carried) {
    deltas[0] = by[2] * h;
    deltas[1] = by[0] * h;
    deltas[2] = by[1] * h;
    deltas[3] = by[3] * h;
    carried = by[4] * h;
  }

  template <class Real>
  OSTINATO_INLINE static void tangent(const Vec<Real>* by, const Vec<Real>* u, Vec<Real> force, Vec<Real>,
                                      Vec<Real>& h, Vec<Real>&) {
    h = force + by[4] * h + by[0] * u[0] + by[1] * u[1] + by[2] * u[2];
  }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

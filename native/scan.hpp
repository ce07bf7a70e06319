// The three scans: forward, adjoint and tangent. Each step is one product and an elementwise part behind each tile.
#pragma once

#include "grid.hpp"
#include "nonlinearity.hpp"

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

template <class Real, class Body>
OSTINATO_INLINE void for_vectors(Index count, const Body& body) {
  Index c = 0;
  for (; c + lanes<Real> <= count; c += lanes<Real>) body(c, Whole{});
  if (c < count) body(c, Part{static_cast<int>(count - c)});
}

OSTINATO_INLINE bool is_start(const unsigned char* starts, const Shape& shape, Index t, Index row) {
  return starts && starts[t * shape.streams + row];
}

// What makes a share of a step's drive just before the step; null where it is there already.
template <class Real>
struct DriveMaker {
  void (*make)(const void* self, Index step, const Share<Real>& share) = nullptr;
  const void* self = nullptr;
  Preparation preparation;
};

template <class Real, Nonlinearity f, bool leaky>
bool forward_with(const ForwardArgs<Real>& args, const DriveMaker<Real>& maker) {
  const auto steps = [&args, &maker](Share<Real>& share) {
    const Index step = args.shape.streams * args.shape.hidden;
    const Real* previous = args.h0;
    for (Index t = 0; t < args.shape.steps; ++t) {
      Real* states = args.states + t * step;
      if (maker.make) maker.make(maker.self, t, share);
      const auto after = [&](const Real* sums, Index row, Index column, Index count) {
        const Index at = row * args.shape.hidden + column;
        const bool start = is_start(args.starts, args.shape, t, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index i = at + c;
          Vec<Real> z = Lanes::get(lanes_used, args.drive + t * step + i), value, slope;
          if (!start) z += load(sums + c);
          Activation<f>::template apply<Real>(z, value, slope);
          if constexpr (leaky) {
            const Vec<Real> a = Lanes::get(lanes_used, args.leak + column + c), rest = Real(1) - a;
            value *= rest;
            slope *= rest;
            if (!start) value += a * Lanes::get(lanes_used, previous + i);
          }
          Lanes::put(lanes_used, states + i, value);
          Lanes::put(lanes_used, args.slopes + t * step + i, slope);
        });
      };
      share.step(previous, {{args.drive + t * step}, {states, args.slopes + t * step}}, after);
      previous = states;
    }
  };
  return run_scan<Real>(args.shape, args.weight, true, args.threads, steps, nullptr, maker.preparation);
}

template <class Real, Nonlinearity f>
bool forward_of(const ForwardArgs<Real>& args, const DriveMaker<Real>& maker) {
  return args.leak ? forward_with<Real, f, true>(args, maker) : forward_with<Real, f, false>(args, maker);
}

template <class Real>
bool forward_from(const ForwardArgs<Real>& args, const DriveMaker<Real>& maker) {
  switch (args.nonlinearity) {
    case Nonlinearity::tanh: return forward_of<Real, Nonlinearity::tanh>(args, maker);
    case Nonlinearity::relu: return forward_of<Real, Nonlinearity::relu>(args, maker);
    case Nonlinearity::sigmoid: return forward_of<Real, Nonlinearity::sigmoid>(args, maker);
    default: return forward_of<Real, Nonlinearity::identity>(args, maker);
  }
}

template <class Real>
bool forward(const ForwardArgs<Real>& args) {
  return forward_from(args, DriveMaker<Real>{});
}

// `carried` holds g of step t + 1 when it is needed there: in adjoint_states when those are wanted, otherwise in one
// (B, H) buffer that every step reads and then overwrites in place.
template <class Real, bool leaky>
void adjoint_steps(const AdjointArgs<Real>& args, Real* buffer, Share<Real>& share) {
  const Shape& shape = args.shape;
  const Index step = shape.streams * shape.hidden;
  const Real *delta_next = nullptr, *carried = nullptr;
  for (Index t = shape.steps - 1; t >= -1; --t) {
    Real* keep = t >= 0 && args.adjoint_states ? args.adjoint_states + t * step : buffer;
    const auto after = [&](const Real* sums, Index row, Index column, Index count) {
      const Index at = row * shape.hidden + column;
      const bool cleared = t + 1 < shape.steps && is_start(args.starts, shape, t + 1, row);
      for_vectors<Real>(count, [&](Index c, auto lanes_used) {
        using Lanes = decltype(lanes_used);
        const Index i = at + c;
        Vec<Real> g{};
        if (!cleared) {
          g = load(sums + c);
          if constexpr (leaky)
            if (carried) g += Lanes::get(lanes_used, args.leak + column + c) * Lanes::get(lanes_used, carried + i);
        }
        if (t < 0) {
          Lanes::put(lanes_used, args.grad_h0 + i, g);
          return;
        }
        g += Lanes::get(lanes_used, args.grad_states + t * step + i);
        if (keep) Lanes::put(lanes_used, keep + i, g);
        Lanes::put(lanes_used, args.delta + t * step + i, g * Lanes::get(lanes_used, args.slopes + t * step + i));
      });
    };
    Upcoming<Real> upcoming{};
    if (t >= 0)
      upcoming = {{args.grad_states + t * step, args.slopes + t * step},
                  {args.delta + t * step, args.adjoint_states ? keep : nullptr}};
    share.step(delta_next, upcoming, after);
    delta_next = t >= 0 ? args.delta + t * step : nullptr;
    carried = keep;
  }
}

template <class Real>
bool adjoint(const AdjointArgs<Real>& args) {
  const Index size = args.shape.streams * args.shape.hidden;
  Real* buffer = nullptr;
  if (args.leak && !args.adjoint_states) {
    buffer = static_cast<Real*>(allocate(static_cast<unsigned long>(size) * sizeof(Real)));
    if (!buffer) return false;
  }
  const bool done =
      args.leak ? run_scan(args.shape, args.weight, false, args.threads,
                           [&](Share<Real>& share) { adjoint_steps<Real, true>(args, buffer, share); })
                : run_scan(args.shape, args.weight, false, args.threads,
                           [&](Share<Real>& share) { adjoint_steps<Real, false>(args, buffer, share); });
  release(buffer);
  return done;
}

template <class Real, bool leaky>
bool tangent_with(const TangentArgs<Real>& args) {
  const auto steps = [&args](Share<Real>& share) {
    const Index step = args.shape.streams * args.shape.hidden;
    const Real* previous = args.h0_tangent;
    for (Index t = 0; t < args.shape.steps; ++t) {
      Real* tangents = args.tangents + t * step;
      const auto after = [&](const Real* sums, Index row, Index column, Index count) {
        const Index at = row * args.shape.hidden + column;
        const bool start = is_start(args.starts, args.shape, t, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index i = at + c;
          Vec<Real> s = Lanes::get(lanes_used, args.force + t * step + i);
          if (!start) {
            s += load(sums + c) * Lanes::get(lanes_used, args.slopes + t * step + i);
            if constexpr (leaky)
              s += Lanes::get(lanes_used, args.leak + column + c) * Lanes::get(lanes_used, previous + i);
          }
          Lanes::put(lanes_used, tangents + i, s);
        });
      };
      share.step(previous, {{args.force + t * step, args.slopes + t * step}, {tangents}}, after);
      previous = tangents;
    }
  };
  return run_scan(args.shape, args.weight, true, args.threads, steps);
}

template <class Real>
bool tangent(const TangentArgs<Real>& args) {
  return args.leak ? tangent_with<Real, true>(args) : tangent_with<Real, false>(args);
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

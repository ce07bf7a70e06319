// Where a scan puts what its next step multiplies, and where its sequences start.
#pragma once

#include "simd/for_vectors.hpp"
#include "team/grid.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

OSTINATO_INLINE bool is_start(const unsigned char* starts, const Shape& shape, Index t, Index row) {
  return starts && starts[t * shape.streams + row];
}

// Where a scan puts the rows that its next step multiplies. Groups that run side by side put them in rows of their own
// and copy them to the caller's array when a step is done: see linear/frames.hpp.
template <class Real>
class Trail {
 public:
  // To out (T, B, H).
  Trail(const Share<Real>& share, const Shape& shape, Real* out)
      : share_(share), order_(Order::by_step(shape)), array_(out), out_(out),
        takes_turns_(share.groups > 1 && share.members == 1), copies_(takes_turns_) {}

  // To parts (T, B, H), part by part, and to out as well if there is one. With a `ring`, parts have so many steps, which
  // take turns.
  Trail(const Share<Real>& share, const Shape& shape, Real* parts, Real* out, Index ring = 0)
      : share_(share), order_(Order::by_part({ring ? ring : shape.steps, shape.streams, shape.hidden})), array_(parts),
        out_(out), takes_turns_(false), copies_(out), ring_(ring), behind_(ring ? ring - shape.steps % ring : 0) {}

  // Where step t is in a ring.
  static Index in_ring(Index t, Index steps, Index ring) { return (t + ring - steps % ring) % ring; }

  // Those of step t; and those that are not in the first-level cache anyway.
  Rows<Real> rows(Index t) const {
    return takes_turns_ ? share_.own_rows(t % 2) : share_.rows(order_, array_, ring_ ? (t + behind_) % ring_ : t);
  }
  Rows<Real> far_rows(Index t) const { return takes_turns_ ? Rows<Real>{} : rows(t); }

  void finish(Index t) const {
    if (!copies_) return;
    const Index first = share_.first_column(), count = share_.last_column() - first, hidden = share_.hidden;
    const Index begin = share_.row_begin, rows_here = share_.row_end - begin;
    Real* to = out_ + (t * order_.shape.streams + begin) * hidden + first;
    const Real* from = rows(t).at(begin * hidden + first);
    const bool whole = count == hidden;  // all rows at once
    const Index length = whole ? rows_here * hidden : count;
    // Not memcpy, which uses string instructions for a few KiB (measured: 1 % of a scan on two threads).
    for (Index i = 0; i < (whole ? 1 : rows_here); ++i, to += hidden, from += hidden)
      for_vectors<Real>(length, [to, from](Index c, auto lanes_used) {
        using Lanes = decltype(lanes_used);
        Lanes::put(lanes_used, to + c, Lanes::get(lanes_used, from + c));
      });
  }

 private:
  const Share<Real>& share_;
  Order order_;
  Real *array_, *out_;
  bool takes_turns_, copies_;
  Index ring_ = 0, behind_ = 0;
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

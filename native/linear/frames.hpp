// In what order the frames of a sequence lie in an array, and how its streams are cut in parts.
//
// Callers' arrays go step by step: the rows (streams) of one step, then those of the next. Two threads that own half of
// the rows each then meet twice in every step, where the last row of one lies beside the first of the other, and the
// processor, which fetches the lines around those it is asked for, takes them out of the cache of the core that is
// about to write them. That made a scan on two cores of one cache 10 % slower, and one on two cores without a common
// cache twice as slow as half of it on one. So what only the kernels read goes part by part instead: all frames of the
// first half of the streams, then all of the second.
#pragma once

#include "linear/types.hpp"
#include "simd/simd.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// of a thread; fewer leave a product bound by reading the matrix from cache
constexpr Index fewest_rows = 4;

// part i of `total` cut in `parts` nearly equal pieces starts here
OSTINATO_INLINE Index cut(Index total, Index parts, Index i) { return total * i / parts; }

// How many parts the streams of this shape have, for any number of threads.
OSTINATO_INLINE Index parts_of(const Shape& shape) { return shape.streams < 2 * fewest_rows ? 1 : 2; }

// The rows of one step in an array, or nothing: element c of row r is at(r * hidden + c), for rows of one part only.
template <class Real>
struct Rows {
  Real* array = nullptr;
  Index shift = 0;

  Rows() = default;
  Rows(Real* array, Index shift) : array(array), shift(shift) {}
  template <class Writable>
  Rows(const Rows<Writable>& other) : array(other.array), shift(other.shift) {}

  explicit operator bool() const { return array; }
  Real* at(Index i) const { return array + (shift + i); }
  Real* find(Index i) const { return array ? at(i) : nullptr; }
};

// Step by step, or part by part.
struct Order {
  Shape shape;
  Index split;  // the first stream of the second part; all streams where there is one

  static Order by_step(const Shape& shape) { return {shape, shape.streams}; }
  static Order by_part(const Shape& shape) { return {shape, cut(shape.streams, parts_of(shape), 1)}; }
  static Order of(const Shape& shape, bool in_parts) { return in_parts ? by_part(shape) : by_step(shape); }

  // Those of the part that `row` is in.
  template <class Real>
  OSTINATO_INLINE Rows<Real> rows(Real* array, Index t, Index row) const {
    const Index above = shape.streams - split;
    const Index frames = row < split ? t * split : (shape.steps - 1) * split + t * above;
    return {array, frames * shape.hidden};
  }
};

// The frames of some streams, counted step by step.
struct StreamPart {
  Index streams, first, last, frames;  // of all streams, these; and how many frames they have

  static StreamPart of(const Shape& shape, Index index) {
    const Index parts = parts_of(shape);
    const Index first = cut(shape.streams, parts, index), last = cut(shape.streams, parts, index + 1);
    return {shape.streams, first, last, shape.steps * (last - first)};
  }

  // The same frames in an array that goes part by part, of all steps or of so many.
  StreamPart in_parts(Index steps = 0) const {
    const Index width = last - first, before = (steps ? steps : frames / width) * first;
    return {width, before, before + width, frames};
  }

  // body(n) for the part's frames [begin, end), n counting the frames of the whole array.
  template <class Body>
  OSTINATO_INLINE void visit(Index begin, Index end, const Body& body) const {
    const Index width = last - first;
    Index stream = begin % width, n = begin / width * streams + first + stream;
    for (Index m = begin; m < end; ++m, ++n) {
      body(n);
      if (++stream == width) {
        stream = 0;
        n += streams - width;
      }
    }
  }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

// How a team of threads shares the rows and columns of a scan, and one member's share of a step.
#pragma once

#include "linear/product.hpp"
#include "linear/sparse_product.hpp"
#include "team/progress.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// `groups` groups own rows of their own and never wait for each other after packing; the `members` of one group share
// its rows and own columns of their own, so every step needs what the others made in the one before. Few rows per
// thread leave the product bound by reading the matrix from cache, which splitting its columns halves; many rows make
// it bound by arithmetic.
struct Grid {
  int groups, members;

  // Whether the rows are too few to be shared out, for any number of threads. Where they are not, a row's sums are the
  // same to the last bit in whatever group it is.
  static bool keeps_rows_together(const Shape& shape) { return parts_of(shape) == 1; }

  static Index most_groups(const Shape& shape, int threads) {
    const Index groups = shape.streams / fewest_rows;
    return groups < 1 ? 1 : groups > threads ? threads : groups;
  }

  template <class Real>
  static Grid choose(const Shape& shape, int threads) {
    constexpr Index vectors_per_member = 2;
    const Index vectors = (shape.hidden + lanes<Real> - 1) / lanes<Real>;
    const Index groups = most_groups(shape, threads);
    Index members = threads / groups;
    const Index most = vectors / vectors_per_member;
    members = members > most ? most : members;
    return {static_cast<int>(groups), static_cast<int>(members < 1 ? 1 : members)};
  }
};

// What the elementwise part of a step will touch; see `Upcoming`.
template <class Real>
struct UpcomingRows {
  Rows<const Real> read[2], written[2];

  OSTINATO_INLINE Upcoming<Real> at(Index i, Index columns) const {
    return {{read[0].find(i), read[1].find(i)}, {written[0].find(i), written[1].find(i)}, columns, {}, {}};
  }
};

// The same of a step of several products: arrays of some blocks of H numbers for every frame, of which each product asks
// for its share.
template <class Real>
class UpcomingBlocks {
 public:
  explicit UpcomingBlocks(Index hidden) : hidden_(hidden) {}

  // All blocks of an array; or as many as there is room for, since to ask is of use but no duty.
  void read(const Rows<const Real>& rows, int blocks) { add(read_, reads_, rows, blocks); }
  void write(const Rows<const Real>& rows, int blocks) { add(written_, writes_, rows, blocks); }

  template <int gates>
  OSTINATO_INLINE Upcoming<Real> at(int gate, Index row, Index column) const {
    Upcoming<Real> found{{}, {}, hidden_ - column, {}, {}};
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const int i = gate + k * gates;
      if (i < reads_) found.read[k] = read_[i].at(row, column), found.read_apart[k] = read_[i].apart;
      if (i < writes_) found.written[k] = written_[i].at(row, column), found.written_apart[k] = written_[i].apart;
    }
    return found;
  }

 private:
  static constexpr int most = 8;
  struct Block {
    Rows<const Real> rows;
    Index apart, first;
    const Real* at(Index row, Index column) const { return rows.at(row * apart + first + column); }
  };

  void add(Block (&to)[most], int& count, const Rows<const Real>& rows, int blocks) const {
    for (int b = 0; rows && b < blocks && count < most; ++b) to[count++] = {rows, blocks * hidden_, b * hidden_};
  }

  Index hidden_;
  Block read_[most], written_[most];
  int reads_ = 0, writes_ = 0;
};

// What one member computes at every step, and with what.
template <class Real>
struct Share {
  const Real *packed, *second, *prepared;  // the matrix, maybe another one, and what else was made
  Index hidden, vectors;
  Index row_begin, row_end;
  Columns columns;
  Progress* group;  // one per member
  int groups, members, member;
  int rank;         // in the whole team
  Real* kept;       // of this group: see own_rows
  Index kept_size;  // of a block
  bool turns;       // whether steps and their products go back and forth; the order of sums is then theirs
  Walk walk = Walk::forwards;  // of the next product
  Index steps_done = 0;
  Index matrix = 0;  // numbers between one gate's matrix and the next
  SparseProduct<Real>* sparse = nullptr;  // in place of the packed matrix; or null

  Index first_column() const { return columns.first * lanes<Real>; }
  Index last_column() const { return columns.last * lanes<Real> < hidden ? columns.last * lanes<Real> : hidden; }

  // The rows of a step in an array of all frames.
  template <class Number>
  Rows<Number> rows(const Order& order, Number* array, Index t) const {
    return order.rows(array, t, row_begin);
  }

  // Room for this group's rows that no other group touches, `kept_blocks` times.
  static constexpr Index kept_blocks = 4;
  Rows<Real> own_rows(Index block) const { return {kept, block * kept_size - row_begin * hidden}; }
  static Index block_size(Index rows, Index hidden) {
    return (rows * hidden + line_length<Real> - 1) / line_length<Real> * line_length<Real>;
  }

  // For every row and every panel of this share: after(sums, row, column, count), where sums[0..count) are
  // (a @ packed + b @ second)[row, column..column+count). No `a` or `b` adds nothing; nobody waits for `b`. `product`
  // makes a @ packed where this member has all columns: as TiledProduct does, maybe with other work in between. A sparse
  // matrix goes by blocks of rows.
  template <class After, class Product = TiledProduct>
  OSTINATO_INLINE void step(const Rows<const Real>& a, const UpcomingRows<Real>& upcoming, const After& after,
                            const Rows<const Real>& b = {}, const Product& product = {}) {
    alignas(64) Real sums[tile_sums * lanes<Real>];
    const Index panels = columns.panels(), blocks = sparse && a ? sparse->blocks(row_end - row_begin) : 1;
    for (Index block = 0; block < blocks; ++block) {
      const Index first_row = row_begin + cut(row_end - row_begin, blocks, block);
      const Index block_rows = row_begin + cut(row_end - row_begin, blocks, block + 1) - first_row;
      const Index row_tiles = (block_rows + tile_rows - 1) / tile_rows;
      if (sparse && a) turn_block(a, first_row, block_rows);
      for (Index turn = 0; turn < panels; ++turn) {
        const Index p = turns && steps_done % 2 ? panels - 1 - turn : turn;
        const Index v = columns.start(p), column = v * lanes<Real>;
        const Index width = panel_width<Real>(v, columns.start(p + 1) - v, hidden);
        const Index count = column + width > hidden ? hidden - column : width;
        const Index apart = sparse && a ? whole_vectors(width) : width;
        const Real* made = sums;
        if (sparse && a) {
          const Upcoming<Real> next = upcoming.at(first_row * hidden + column, hidden - column);
          made = sparse->multiply(column, count, apart, {next, block_rows, hidden, count});
        }
        for (Index i = 0; i < row_tiles; ++i) {
          const Index row = first_row + cut(block_rows, row_tiles, i);
          const Index rows = first_row + cut(block_rows, row_tiles, i + 1) - row;
          if (!a)
            __builtin_memset(sums, 0, sizeof(sums));
          else if (!sparse)
            sum_over_members(a.at(row * hidden), packed + column * hidden, rows, width, sums,
                             upcoming.at(row * hidden + column, hidden - column), product);
          if (b)
            add_products(b.at(row * hidden), hidden, second + column * hidden, rows, width, 0, hidden, sums, false,
                         Walk::forwards, Upcoming<Real>{});
          const Real* const of_rows = sparse && a ? made + (row - first_row) * apart : sums;
          for (Index r = 0; r < rows; ++r) after(of_rows + r * apart, row + r, column, count);
        }
      }
    }
    finish_step();
  }

  // The same with a matrix for each of `gates`, and the element c of gate k at sums[k * apart + c): after(sums, apart,
  // row, column, count). Where `joined`, a row of `a` has blocks of H numbers, of which gate k's product takes blocks[k],
  // and there is one sum of all products. The rows of `a` are `stride` numbers apart.
  template <int gates, bool joined, class After>
  OSTINATO_INLINE void step_of_gates(const Rows<const Real>& a, Index stride, const int* blocks,
                                     const UpcomingBlocks<Real>& upcoming, const After& after) {
    alignas(64) Real sums[(joined ? 1 : gates) * tile_sums * lanes<Real>];
    const Index row_tiles = (row_end - row_begin + tile_rows - 1) / tile_rows, panels = columns.panels();
    for (Index p = 0; p < panels; ++p) {
      const Index v = columns.start(p), column = v * lanes<Real>;
      const Index width = panel_width<Real>(v, columns.start(p + 1) - v, hidden);
      const Index count = column + width > hidden ? hidden - column : width;
      for (Index i = 0; i < row_tiles; ++i) {
        const Index row = row_begin + cut(row_end - row_begin, row_tiles, i);
        const Index rows = row_begin + cut(row_end - row_begin, row_tiles, i + 1) - row;
        const Index apart = joined ? 0 : rows * width;
        if (a)
          for_parts([&](Index begin, Index end, bool begins) {
            for (int g = 0; g < gates; ++g)
              add_products(a.at(row * stride) + (joined ? blocks[g] * hidden : 0), stride,
                           packed + g * matrix + column * hidden, rows, width, begin, end, sums + g * apart,
                           begins && !(joined && g > 0), Walk::forwards,
                           begins ? upcoming.template at<gates>(g, row, column) : Upcoming<Real>{});
          });
        else
          __builtin_memset(sums, 0, sizeof(sums));
        for (Index r = 0; r < rows; ++r) after(sums + r * width, apart, row + r, column, count);
      }
    }
    finish_step();
  }

 private:
  static Index whole_vectors(Index width) { return (width + lanes<Real> - 1) / lanes<Real> * lanes<Real>; }

  // Every member turns all columns of a block, so the others' have to be there.
  void turn_block(const Rows<const Real>& a, Index row, Index rows) const {
    for (int m = 0; m < members; ++m)
      if (m != member) group[m].await(steps_done);
    sparse->turn(a.at(row * hidden), rows);
  }

  OSTINATO_INLINE void finish_step() {
    ++steps_done;
    if (members > 1) group[member].finish(steps_done);
  }

  // add(begin, end, whether they are the first) for all columns, one's own first, the others' when they are there.
  template <class Add>
  OSTINATO_INLINE void for_parts(const Add& add) const {
    if (members == 1) return add(0, hidden, true);
    add(first_column(), last_column(), true);
    for (int turn = 1; turn < members; ++turn) {
      const int m = member + turn < members ? member + turn : member + turn - members;
      const Index begin = cut(vectors, members, m) * lanes<Real>, end = cut(vectors, members, m + 1) * lanes<Real>;
      group[m].await(steps_done);
      add(begin, end < hidden ? end : hidden, false);
    }
  }

  // The part of the sum over this member's own columns needs no waiting, and hides that for the others'. What the
  // others wrote comes from their caches, a hundred nanoseconds a line when asked for one after the other: all lines
  // are asked for at once, half way through the own part, when the others have most likely written them.
  template <class Product>
  OSTINATO_INLINE void sum_over_members(const Real* a, const Real* panel, Index rows, Index width, Real* sums,
                                        const Upcoming<Real>& upcoming, const Product& product) {
    if (members == 1) {
      product(a, hidden, panel, rows, width, sums, walk, upcoming);
      if (turns) walk = turned(walk);
      return;
    }
    const auto add = [&](Index begin, Index end, bool begins, const Upcoming<Real>& next) {
      add_products(a, hidden, panel, rows, width, begin, end, sums, begins, walk, next);
    };
    const Index first = first_column(), last = last_column();
    const Index middle = first + (last - first) / 2;
    add(first, middle, true, upcoming);
    fetch_others(a, rows, first, last);
    add(middle, last, false, {});
    for (int turn = 1; turn < members; ++turn) {
      const int m = member + turn < members ? member + turn : member + turn - members;
      const Index begin = cut(vectors, members, m) * lanes<Real>, end = cut(vectors, members, m + 1) * lanes<Real>;
      group[m].await(steps_done);
      add(begin, end < hidden ? end : hidden, false, {});
    }
  }

  OSTINATO_INLINE void fetch_others(const Real* a, Index rows, Index first, Index last) const {
    for (int m = 0; m < members; ++m)
      if (m != member) __builtin_prefetch(&group[m]);
    for (Index r = 0; r < rows; ++r, a += hidden) {
      for (Index c = 0; c < first; c += line_length<Real>) __builtin_prefetch(a + c);
      for (Index c = last; c < hidden; c += line_length<Real>) __builtin_prefetch(a + c);
    }
  }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

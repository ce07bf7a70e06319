// What a sequence's arrays are like. Letters: T steps, B streams (rows), H units (columns), N frames, I inputs. All
// arrays are C-contiguous.
#pragma once

#include "simd/types.hpp"

namespace ostinato {

struct Shape {
  Index steps, streams, hidden;  // T, B, H
};

// The inputs of a layer, (N, I): one of the two pointers, or neither for no inputs.
template <class Real>
struct Input {
  Index size;  // I
  const unsigned char* binary;
  const Real* real;
};

}  // namespace ostinato

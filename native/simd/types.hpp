// The plain types at the bottom: they have no code, and mean the same in every build.
#pragma once

#include <cstddef>

namespace ostinato {

using Index = std::ptrdiff_t;

// Up to the identity each has scans of its own; all others share one, which asks at every vector.
enum class Nonlinearity : int {
  tanh = 0,
  relu = 1,
  sigmoid = 2,
  identity = 3,
  softplus = 4,
  elu = 5,
  leaky_relu = 6,
  retanh = 7,
  power = 8
};

}  // namespace ostinato

// The plain types at the bottom: they have no code, and mean the same in every build.
#pragma once

#include <cstddef>

namespace ostinato {

using Index = std::ptrdiff_t;

enum class Nonlinearity : int { tanh = 0, relu = 1, sigmoid = 2, identity = 3 };

}  // namespace ostinato

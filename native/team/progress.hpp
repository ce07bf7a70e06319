// How the members of a team wait for each other.
#pragma once

#include <sched.h>

#include "simd/simd.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

OSTINATO_INLINE void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How many steps a thread has finished, on a line of its own. Waiting spins while the other is surely running
// (microseconds), then gives the core away: two trainings on the same cores slow each other down but do not stall.
struct alignas(128) Progress {  // as `allocate` aligns
  Index finished = 0;

  void finish(Index steps) { __atomic_store_n(&finished, steps, __ATOMIC_RELEASE); }

  void await(Index steps) const {
    for (int spins = 0; __atomic_load_n(&finished, __ATOMIC_ACQUIRE) < steps;) {
      if (++spins < 512)
        pause();
      else
        sched_yield();
    }
  }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA

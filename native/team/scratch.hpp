// Memory that a call needs while it runs, or until the way back.
#pragma once

#include "simd/types.hpp"

namespace ostinato {

// 128-byte aligned, null on failure. Asks for huge pages when large. What is given back is kept for later calls, up to
// 128 MiB in all: a recurrent layer asks for the same blocks at every step of training, and memory that the C library
// has returned to the system costs a page fault per 4 KiB, which can double a scan's time. Safe from any thread.
void* allocate(unsigned long bytes);
void release(void* memory);  // null is nothing

template <class Number>
__attribute__((always_inline)) inline Number* allocate_numbers(Index count) {
  return static_cast<Number*>(allocate(static_cast<unsigned long>(count) * sizeof(Number)));
}

// Ask for 2 MiB pages under a large fresh buffer: its first touch is then one fault per 2 MiB, not per 4 KiB.
void prefer_huge_pages(void* memory, unsigned long bytes);

}  // namespace ostinato

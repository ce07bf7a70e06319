#include "team/scratch.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ostinato {
namespace {

constexpr unsigned long alignment = 128, page = 4096;

// Nobody waits for the lock: whoever finds it taken, by another thread or for ever by one that a fork left behind,
// does without.
class KeptBlocks {
 public:
  // A block of at least `bytes` and at most twice as many, whose size goes to `bytes`; null where there is none.
  char* take(unsigned long& bytes) {
    if (lock_.test_and_set(std::memory_order_acquire)) return nullptr;
    Block* best = nullptr;
    for (Block& block : blocks_)
      if (block.memory && block.bytes >= bytes && block.bytes <= 2 * bytes && (!best || block.bytes < best->bytes))
        best = &block;
    char* memory = nullptr;
    if (best) {
      memory = best->memory;
      bytes = best->bytes;
      forget(*best);
    }
    lock_.clear(std::memory_order_release);
    return memory;
  }

  // False where the block is not kept. The oldest ones make room.
  bool keep(char* memory, unsigned long bytes) {
    if (bytes > most_bytes || lock_.test_and_set(std::memory_order_acquire)) return false;
    Block* free = find_free();
    while (!free || total_ + bytes > most_bytes) {
      Block* oldest = nullptr;
      for (Block& block : blocks_)
        if (block.memory && (!oldest || block.since < oldest->since)) oldest = &block;
      std::free(oldest->memory);
      forget(*oldest);
      free = find_free();
    }
    *free = {memory, bytes, ++clock_};
    total_ += bytes;
    lock_.clear(std::memory_order_release);
    return true;
  }

 private:
  struct Block {
    char* memory = nullptr;
    unsigned long bytes = 0, since = 0;
  };
  static constexpr unsigned long most_bytes = 128ul << 20;

  Block* find_free() {
    for (Block& block : blocks_)
      if (!block.memory) return &block;
    return nullptr;
  }

  void forget(Block& block) {
    total_ -= block.bytes;
    block = {};
  }

  std::atomic_flag lock_ = ATOMIC_FLAG_INIT;
  Block blocks_[16];
  unsigned long total_ = 0, clock_ = 0;
};

KeptBlocks kept;

}  // namespace

void prefer_huge_pages(void* memory, unsigned long bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t huge = 2ul << 20;
  if (bytes < 2 * huge) return;
  const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) & ~(page - 1);
  const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) & ~(page - 1);
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a hint: failure changes nothing
#else
  (void)memory, (void)bytes;
#endif
}

// In front of what the caller gets, one alignment's worth holds the block's size.
void* allocate(unsigned long bytes) {
#if defined(OSTINATO_KEEP_NO_SCRATCH)
  unsigned long whole = (bytes + 2 * alignment - 1) / alignment * alignment;
  char* memory = nullptr;
#else
  unsigned long whole = (bytes + alignment + page - 1) / page * page;
  char* memory = kept.take(whole);
#endif
  if (!memory) {
    memory = static_cast<char*>(std::aligned_alloc(alignment, whole));
    if (!memory) return nullptr;
    prefer_huge_pages(memory, whole);
  }
  *reinterpret_cast<unsigned long*>(memory) = whole;
  return memory + alignment;
}

void release(void* memory) {
  if (!memory) return;
  char* block = static_cast<char*>(memory) - alignment;
#if !defined(OSTINATO_KEEP_NO_SCRATCH)
  if (kept.keep(block, *reinterpret_cast<unsigned long*>(block))) return;
#endif
  std::free(block);
}

}  // namespace ostinato

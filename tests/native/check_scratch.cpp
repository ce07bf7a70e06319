// Takes and gives back scratch memory from several threads at once, and looks whether any of it changed hands meanwhile.
// Built with AddressSanitizer or ThreadSanitizer. Exits with 1 at the first difference.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "team/scratch.hpp"

using namespace ostinato;

namespace {

struct Held {
  unsigned char* memory;
  unsigned long bytes;
  unsigned char mark;
};

void give_back(const Held& held) {
  for (const unsigned long i : {0ul, held.bytes / 2, held.bytes - 1})
    if (held.memory[i] != held.mark) std::printf("memory in use was given to another\n"), std::exit(1);
  release(held.memory);
}

void work(unsigned seed) {
  std::mt19937 draw(seed);
  std::vector<Held> held;
  for (int turn = 0; turn < 5000; ++turn) {
    const unsigned long bytes = 1 + draw() % (draw() % 10 ? 1ul << 16 : 20ul << 20);
    auto* memory = static_cast<unsigned char*>(allocate(bytes));
    if (!memory || reinterpret_cast<std::uintptr_t>(memory) % 128) std::printf("no aligned memory\n"), std::exit(1);
    const auto mark = static_cast<unsigned char>(draw());
    for (const unsigned long i : {0ul, bytes / 2, bytes - 1}) memory[i] = mark;
    held.push_back({memory, bytes, mark});
    while (held.size() > draw() % 6) {
      std::swap(held[draw() % held.size()], held.back());
      give_back(held.back());
      held.pop_back();
    }
  }
  for (const Held& rest : held) give_back(rest);
}

}  // namespace

int main() {
  void* first = allocate(300000);
  release(first);
  void* second = allocate(290000);
  if (second != first) std::printf("a block given back was not kept\n"), std::exit(1);
  release(second);
  release(nullptr);
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) threads.emplace_back(work, seed);
  for (std::thread& thread : threads) thread.join();
  std::printf("right\n");
}

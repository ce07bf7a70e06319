// What one core can do: multiply-adds a second, and bytes a second from its second-level cache.
#include <chrono>
#include <cstddef>
#include <vector>

#if defined(__AVX512F__)
constexpr int bytes = 64;
#elif defined(__AVX__)
constexpr int bytes = 32;
#else
constexpr int bytes = 16;
#endif
typedef float Vec __attribute__((vector_size(bytes)));

namespace {

template <class Body>
double best_seconds(const Body& body) {
  double best = 1e9;
  for (int round = 0; round < 30; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (took.count() < best) best = took.count();
  }
  return best;
}

}  // namespace

extern "C" {

// Floating-point operations a second: chains of multiply-adds enough to hide one's latency.
double peak_flops() {
  constexpr int chains = 12, rounds = 200000;
  Vec a = {}, b = {}, all = {};
  for (int i = 0; i < bytes / 4; ++i) a[i] = 0.999f, b[i] = 1e-3f;
  const double seconds = best_seconds([&] {
    Vec sum[chains];  // here, to live in registers; each another, or the compiler makes one of them
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) asm volatile("" : "=x"(sum[c]) : "0"(b * static_cast<float>(c + 1)));
    for (int r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
      for (int c = 0; c < chains; ++c) sum[c] = sum[c] * a + b;
    }
    for (const Vec& s : sum) all += s;
  });
  asm volatile("" : : "m"(all));
  return 2.0 * chains * rounds * (bytes / 4) / seconds;
}

// Bytes a second from `kilobytes` read over and over.
double read_bandwidth(int kilobytes) {
  const size_t count = static_cast<size_t>(kilobytes) * 1024 / bytes;
  std::vector<float> memory(count * bytes / 4 + 16, 1.0f);
  const char* begin = reinterpret_cast<const char*>(memory.data());
  begin += (64 - reinterpret_cast<size_t>(begin) % 64) % 64;
  const Vec* rows = reinterpret_cast<const Vec*>(begin);
  constexpr int rounds = 100;
  const double seconds = best_seconds([&] {
    Vec sum[8] = {};
    for (int r = 0; r < rounds; ++r)
      for (size_t i = 0; i + 8 <= count; i += 8)
#pragma GCC unroll 8
        for (int c = 0; c < 8; ++c) sum[c] += rows[i + c];
    Vec all = {};
    for (const Vec& s : sum) all += s;
    asm volatile("" : : "m"(all));
  });
  return static_cast<double>(rounds) * static_cast<double>(count / 8 * 8) * bytes / seconds;
}
}

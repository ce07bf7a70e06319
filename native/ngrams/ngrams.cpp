// Windows of a table: rows of numbers that begin anywhere in it, and may overlap. What hashed n-grams add to the
// logits of a class is a window of the table for each context, and what they learn goes back to the same places.
//
//     out_i     += sum_o table[p_io ... p_io + W)
//     table[p_io ... p_io + W) -= rate * residual_i        for every i and o, one after the other
//     table[p_io ... p_io + W) *= exp(-rate * (now - then)) for every i and o, once for each `then`
//
// `then`, when a window was used last, stands in a cell that the windows which begin within GRAIN numbers share.
// Only what the windows touch is read or written. Tensors come as addresses; ostinato/nn/kernels/ngrams.py is the only
// caller, and checks device, type, layout and shape. Places are checked here: they are data, not shapes.
#include <nanobind/nanobind.h>

#include <cmath>
#include <cstdint>

// One body for every instruction set of the machine, chosen when the module is loaded.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define FOR_EVERY_MACHINE __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define FOR_EVERY_MACHINE
#endif

namespace nb = nanobind;

namespace {

using Address = std::uintptr_t;
using Long = std::int64_t;

constexpr Long GRAIN = 16;

bool inside(const Long* places, Long count, Long width, Long size) {
  for (Long k = 0; k < count; ++k)
    if (places[k] < 0 || places[k] > size - width) return false;
  return true;
}

#define WINDOWS(T, SUFFIX)                                                                                        \
  FOR_EVERY_MACHINE void add_##SUFFIX(const T* table, const Long* places, Long rows, Long contexts, Long width,   \
                                      T* out) {                                                                   \
    for (Long i = 0; i < rows; ++i) {                                                                             \
      T* row = out + i * width;                                                                                   \
      for (Long o = 0; o < contexts; ++o) {                                                                       \
        const T* window = table + places[i * contexts + o];                                                       \
        for (Long j = 0; j < width; ++j) row[j] += window[j];                                                     \
      }                                                                                                           \
    }                                                                                                             \
  }                                                                                                               \
  FOR_EVERY_MACHINE void learn_##SUFFIX(T* table, const Long* places, Long rows, Long contexts, Long width,       \
                                        const T* residual, T rate) {                                              \
    for (Long i = 0; i < rows; ++i) {                                                                             \
      const T* row = residual + i * width;                                                                        \
      for (Long o = 0; o < contexts; ++o) {                                                                       \
        T* window = table + places[i * contexts + o];                                                             \
        for (Long j = 0; j < width; ++j) window[j] -= rate * row[j];                                              \
      }                                                                                                           \
    }                                                                                                             \
  }                                                                                                               \
  FOR_EVERY_MACHINE void decay_##SUFFIX(T* table, const Long* places, Long count, Long width, Long* cells,        \
                                        Long now, double rate) {                                                  \
    for (Long k = 0; k < count; ++k) {                                                                            \
      Long& then = cells[places[k] / GRAIN];                                                                      \
      if (then == now) continue;                                                                                  \
      const T kept = static_cast<T>(std::exp(-rate * static_cast<double>(now - then)));                           \
      then = now;                                                                                                 \
      T* window = table + places[k];                                                                              \
      for (Long j = 0; j < width; ++j) window[j] *= kept;                                                         \
    }                                                                                                             \
  }

WINDOWS(float, float)
WINDOWS(double, double)

}  // namespace

NB_MODULE(_ngrams, module) {
  module.def("add", [](bool wide, Address table, Long size, Address places, Long rows, Long contexts, Long width,
                       Address out) {
    auto* at = reinterpret_cast<const Long*>(places);
    if (!inside(at, rows * contexts, width, size)) return false;
    if (wide)
      add_double(reinterpret_cast<const double*>(table), at, rows, contexts, width, reinterpret_cast<double*>(out));
    else
      add_float(reinterpret_cast<const float*>(table), at, rows, contexts, width, reinterpret_cast<float*>(out));
    return true;
  });
  module.def("learn", [](bool wide, Address table, Long size, Address places, Long rows, Long contexts, Long width,
                         Address residual, double rate) {
    auto* at = reinterpret_cast<const Long*>(places);
    if (!inside(at, rows * contexts, width, size)) return false;
    if (wide)
      learn_double(reinterpret_cast<double*>(table), at, rows, contexts, width,
                   reinterpret_cast<const double*>(residual), rate);
    else
      learn_float(reinterpret_cast<float*>(table), at, rows, contexts, width,
                  reinterpret_cast<const float*>(residual), static_cast<float>(rate));
    return true;
  });
  module.attr("grain") = GRAIN;
  module.def("decay", [](bool wide, Address table, Long size, Address places, Long count, Long width, Address cells,
                         Long now, double rate) {
    auto* at = reinterpret_cast<const Long*>(places);
    auto* then = reinterpret_cast<Long*>(cells);
    if (!inside(at, count, width, size)) return false;
    if (wide)
      decay_double(reinterpret_cast<double*>(table), at, count, width, then, now, rate);
    else
      decay_float(reinterpret_cast<float*>(table), at, count, width, then, now, rate);
    return true;
  });
}

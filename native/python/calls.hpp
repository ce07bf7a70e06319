// What every call from Python needs: arrays by their addresses, memory, and one instruction set's kernels.
//
// Tensors come as addresses: at B = 1 a scan lasts about 100 microseconds, and seven conversions through DLPack would
// add a third to that. Whoever calls has checked device, type, layout and shape: `ostinato/nn/kernels/cpu.py` and what
// is built on it, which are the only callers.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>

#include "kernels.hpp"
#include "team/scratch.hpp"

namespace ostinato::python {

namespace nb = nanobind;

using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

// Memory of our own, null for no bytes.
struct Scratch {
  void* memory;
  unsigned long bytes;
  explicit Scratch(unsigned long bytes) : memory(bytes ? allocate(bytes) : nullptr), bytes(bytes) {
    if (bytes && !memory) throw std::bad_alloc();
  }
  ~Scratch() { release(memory); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

// Python's buffer protocol, through which a tensor can lie in a Scratch.
inline int fill_buffer(PyObject* self, Py_buffer* view, int flags) {
  const Scratch* scratch = nb::inst_ptr<Scratch>(self);
  return PyBuffer_FillInfo(view, self, scratch->memory, static_cast<Py_ssize_t>(scratch->bytes), 0, flags);
}

inline PyType_Slot scratch_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(fill_buffer)}, {0, nullptr}};

// One instruction set's kernels. Immutable: shared by threads freely.
class NativeKernels {
 public:
  explicit NativeKernels(const KernelTable* table) : table_(table) {}

  // body(kernels), of the type that is asked for.
  template <class Body>
  auto call(bool float64, const Body& body) const {
    return float64 ? body(table_->float64) : body(table_->float32);
  }

 private:
  const KernelTable* table_;
};

template <class Real>
Input<Real> input_at(Index size, Address binary, Address real) {
  return {size, at<const unsigned char>(binary), at<const Real>(real)};
}

template <class Real>
void prefer_huge_pages_for(Address memory, Index steps, const Shape& s) {
  prefer_huge_pages(at<void>(memory), static_cast<unsigned long>(steps * s.streams * s.hidden) * sizeof(Real));
}

// Without slopes there is no way back, and no further pass that finds the huge pages of this one again. Where others'
// pages lie between, to make a large array's takes several times as long as small ones.
template <class Real>
void prefer_huge_pages_for_states(Address states, const Shape& s, Address slopes) {
  constexpr Index most = 128 << 20;
  if (slopes || s.steps * s.streams * s.hidden * static_cast<Index>(sizeof(Real)) <= most)
    prefer_huge_pages_for<Real>(states, s.steps, s);
}

inline Shape to_shape(const nb::tuple& sizes) {
  return {nb::cast<Index>(sizes[0]), nb::cast<Index>(sizes[1]), nb::cast<Index>(sizes[2])};
}

template <class Args>
void run(bool (*kernel)(const Args&), const Args& args) {
  const nb::gil_scoped_release unlocked;
  if (!kernel(args)) throw std::bad_alloc();
}

}  // namespace ostinato::python

// The Python side of the kernels: which instruction sets this machine runs, and one object per set.
//
// Tensors come as addresses: at B = 1 a scan lasts about 100 microseconds, and seven conversions through DLPack would
// add a third to that. ostinato/nn/kernels/cpu.py is the only caller and checks device, type, layout and shape.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.hpp"
#include "team/scratch.hpp"
#include "team/team.hpp"

namespace nb = nanobind;
using namespace ostinato;

namespace {

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
int fill_buffer(PyObject* self, Py_buffer* view, int flags) {
  const Scratch* scratch = nb::inst_ptr<Scratch>(self);
  return PyBuffer_FillInfo(view, self, scratch->memory, static_cast<Py_ssize_t>(scratch->bytes), 0, flags);
}

PyType_Slot scratch_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(fill_buffer)}, {0, nullptr}};

struct InstructionSet {
  const char* name;
  const KernelTable* table;
  bool (*runs_here)();
};

// Best first.
const InstructionSet built[] = {
#if defined(OSTINATO_X86_64)
    {"avx512", &avx512::table,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
     }},
    {"avx2", &avx2::table, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
    {"baseline", &baseline::table, [] { return true; }},
};

// One instruction set's kernels. Immutable: shared by threads freely.
class NativeKernels {
 public:
  explicit NativeKernels(const std::string& name) {
    for (const InstructionSet& set : built)
      if (name == set.name && set.runs_here()) table_ = set.table;
    if (!table_) throw std::invalid_argument("this machine or this build has no instruction set '" + name + "'");
  }

  void forward(bool float64, nb::tuple shape, Address drive, Address weight, Address leak, Address h0, Address starts,
               Address states, Address slopes, int nonlinearity, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.forward, ForwardArgs<Real>{s, at<const Real>(drive), at<const Real>(weight), at<const Real>(leak),
                                             at<const Real>(h0), at<const unsigned char>(starts), at<Real>(states),
                                             at<Real>(slopes), static_cast<Nonlinearity>(nonlinearity), threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  // A rate network's layer. Its slopes go part by part, and are not kept without an address for them; with an r0 its rates
  // are fed back, and written where else the states are.
  void rate_forward(bool float64, nb::tuple shape, Index inputs, Address input, Address weight_ih, Address bias,
                    Address second_bias, Address drive, Address noise_scale, Address draws, unsigned long long key,
                    bool noise_at_state, Address weight, Address leak, Address h0, Address r0, Address starts,
                    Address states, Address last, Address slopes, int nonlinearity, double parameter,
                    bool may_be_sparse, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      prefer_huge_pages_for_states<Real>(states, s, slopes);
      const ForwardArgs<Real> scan{s, at<const Real>(drive), at<const Real>(weight), at<const Real>(leak),
                                   at<const Real>(h0), at<const unsigned char>(starts), at<Real>(states),
                                   at<Real>(slopes), static_cast<Nonlinearity>(nonlinearity), threads, true,
                                   static_cast<Real>(parameter), nullptr, may_be_sparse};
      run(kernels.rate_forward,
          RateForwardArgs<Real>{scan, inputs, at<const Real>(input), at<const Real>(weight_ih), at<const Real>(bias),
                                at<const Real>(second_bias),
                                {at<const Real>(noise_scale), at<const Real>(draws), key, noise_at_state},
                                at<const Real>(r0), at<Real>(last)});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  // The way back through a rate network's layer. Slopes go part by part; delta, which is g where rates are fed back, lives
  // in scratch memory, and at `delta` as well if there is such an address. `first` is the gradient of the initial state,
  // or where rates are fed back g of the first step.
  void rate_backward(bool float64, nb::tuple shape, bool feeds_back, Index inputs, Address input, Address grad_rates,
                     Address slopes, Address rates, Address start, Address weight, Address leak, Address starts,
                     Address delta, Address first, Address grad_hh, Address grad_ih, Address grad_bias,
                     Address second_grad_bias, bool may_be_sparse, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      const Scratch scratch(static_cast<unsigned long>(s.steps * s.streams * s.hidden) * sizeof(Real));
      Real* parts = static_cast<Real*>(scratch.memory);
      if (delta) prefer_huge_pages_for<Real>(delta, s.steps, s);
      const auto* begins = at<const unsigned char>(starts);
      const AdjointArgs<Real> scan{s, at<const Real>(grad_rates), at<const Real>(slopes), at<const Real>(weight),
                                   at<const Real>(leak), begins, at<Real>(delta), at<Real>(first), nullptr, threads,
                                   true, parts, may_be_sparse};
      const FedBackAdjointArgs<Real> fed_back{s, scan.grad_states, nullptr, scan.slopes, scan.weight, scan.leak, begins,
                                              scan.delta, threads, true, parts, scan.grad_h0,
                                              may_be_sparse};
      const bool sums = grad_hh || grad_ih || grad_bias || second_grad_bias;
      if (!sums && feeds_back) return run(kernels.fed_back_adjoint, fed_back);
      if (!sums) return run(kernels.adjoint, scan);
      const LayerBackwardArgs<Real> layer{scan, at<const Real>(rates), at<const Real>(start),
                                          input_at<Real>(inputs, 0, input), false, at<Real>(grad_hh), at<Real>(grad_ih),
                                          at<Real>(grad_bias), at<Real>(second_grad_bias),
                                          // sums and matrix then share the second-level cache; one stream has another way
                                          2 * s.hidden * s.hidden * static_cast<Index>(sizeof(Real)) <= (1 << 19) && s.streams > 1};
      feeds_back ? run(kernels.fed_back_backward, FedBackBackwardArgs<Real>{fed_back, layer})
                 : run(kernels.layer_backward, layer);
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  // How many weights of a matrix (H, H) are not zero where a layer of so many streams multiplies these alone, or -1.
  Index sparse_count(bool float64, Index hidden, Index streams, Address weight) const {
    return float64 ? table_->float64.sparse_count(at<const double>(weight), hidden, streams)
                   : table_->float32.sparse_count(at<const float>(weight), hidden, streams);
  }

  void noise(bool float64, nb::tuple shape, unsigned long long key, Address out, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      prefer_huge_pages_for<Real>(out, s.steps, s);
      run(kernels.noise, NoiseArgs<Real>{s, key, at<Real>(out), threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  void adjoint(bool float64, nb::tuple shape, Address grad_states, Address slopes, Address weight, Address leak,
               Address starts, Address delta, Address grad_h0, Address adjoint_states, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.adjoint,
          AdjointArgs<Real>{s, at<const Real>(grad_states), at<const Real>(slopes), at<const Real>(weight),
                            at<const Real>(leak), at<const unsigned char>(starts), at<Real>(delta),
                            at<Real>(grad_h0), at<Real>(adjoint_states), threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  void tangent(bool float64, nb::tuple shape, Address force, Address slopes, Address weight, Address leak,
               Address h0_tangent, Address starts, Address tangents, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.tangent,
          TangentArgs<Real>{s, at<const Real>(force), at<const Real>(slopes), at<const Real>(weight),
                            at<const Real>(leak), at<const Real>(h0_tangent), at<const unsigned char>(starts),
                            at<Real>(tangents), threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  // The forward scan with what only some have: a nonlinearity with a parameter, and a push.
  void forward_further(bool float64, nb::tuple shape, Address drive, Address weight, Address leak, Address push,
                       Address h0, Address starts, Address states, Address slopes, int nonlinearity, double parameter,
                       int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.forward, ForwardArgs<Real>{s, at<const Real>(drive), at<const Real>(weight), at<const Real>(leak),
                                             at<const Real>(h0), at<const unsigned char>(starts), at<Real>(states),
                                             at<Real>(slopes), static_cast<Nonlinearity>(nonlinearity), threads, false,
                                             static_cast<Real>(parameter), at<const Real>(push)});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  void fed_back(bool float64, nb::tuple shape, Address drive, Address weight, Address leak, Address h0, Address r0,
                Address starts, Address rates, Address states, Address slopes, int nonlinearity, double parameter,
                int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.fed_back,
          FedBackArgs<Real>{s, at<const Real>(drive), at<const Real>(weight), at<const Real>(leak), at<const Real>(h0),
                            at<const Real>(r0), at<const unsigned char>(starts), at<Real>(rates), at<Real>(states),
                            at<Real>(slopes), static_cast<Nonlinearity>(nonlinearity), static_cast<Real>(parameter),
                            threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  void fed_back_adjoint(bool float64, nb::tuple shape, Address grad_rates, Address force, Address slopes,
                        Address weight, Address leak, Address starts, Address adjoint, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.fed_back_adjoint,
          FedBackAdjointArgs<Real>{s, at<const Real>(grad_rates), at<const Real>(force), at<const Real>(slopes),
                                   at<const Real>(weight), at<const Real>(leak), at<const unsigned char>(starts),
                                   at<Real>(adjoint), threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  // False where the inputs are too dense, or the weights not finite, and they are not a few for a sparse matrix: the
  // caller then makes the drive. Slopes go part by part; without an address for them they are not kept.
  bool layer_forward(bool float64, nb::tuple shape, Index inputs, Address binary, Address real, Address weight_ih,
                     Address bias, Address second_bias, Address weight, Address leak, Address h0, Address starts,
                     Address states, Address last, Address slopes, int nonlinearity, bool may_be_sparse,
                     int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      const ForwardArgs<Real> scan{s, nullptr, at<const Real>(weight), at<const Real>(leak), at<const Real>(h0),
                                   at<const unsigned char>(starts), at<Real>(states), at<Real>(slopes),
                                   static_cast<Nonlinearity>(nonlinearity), threads, true, 0, nullptr, may_be_sparse};
      const nb::gil_scoped_release unlocked;
      prefer_huge_pages_for_states<Real>(states, s, slopes);
      return kernels.layer_forward({scan, input_at<Real>(inputs, binary, real), at<const Real>(weight_ih),
                                    at<const Real>(bias), at<const Real>(second_bias), at<Real>(last)});
    };
    return float64 ? call(table_->float64) : call(table_->float32);
  }

  // False where the inputs are too dense, or the weights' change not finite.
  bool layer_tangent(bool float64, nb::tuple shape, Index inputs, Address binary, Address real, Address states,
                     Address slopes, bool by_part, Address h0, Address weight, Address leak, Address starts,
                     Address change_ih, Address change_hh, Address change_bias, Address second_change_bias,
                     Address tangents, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      const nb::gil_scoped_release unlocked;
      return kernels.layer_tangent({s, input_at<Real>(inputs, binary, real), at<const Real>(states),
                                    at<const Real>(slopes), at<const Real>(h0), at<const Real>(weight), at<const Real>(leak),
                                    at<const unsigned char>(starts), at<const Real>(change_ih),
                                    at<const Real>(change_hh), at<const Real>(change_bias),
                                    at<const Real>(second_change_bias), at<Real>(tangents), threads, by_part});
    };
    return float64 ? call(table_->float64) : call(table_->float32);
  }

  // Where it goes by part, or without an address for it, delta lives in scratch memory.
  void layer_backward(bool float64, nb::tuple shape, Index inputs, Address binary, Address real, bool sparse,
                      Address grad_states, Address slopes, bool by_part, Address states, Address h0, Address weight,
                      Address leak, Address starts, Address delta, Address grad_h0, Address grad_hh, Address grad_ih,
                      Address grad_bias, Address second_grad_bias, bool may_be_sparse, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      const auto bytes = static_cast<unsigned long>(s.steps * s.streams * s.hidden) * sizeof(Real);
      const Scratch scratch(delta && !by_part ? 0 : bytes);
      Real* own = static_cast<Real*>(scratch.memory);
      Real* deltas = own ? own : at<Real>(delta);
      if (delta) prefer_huge_pages_for<Real>(delta, s.steps, s);
      const AdjointArgs<Real> scan{s, at<const Real>(grad_states), at<const Real>(slopes), at<const Real>(weight),
                                   at<const Real>(leak), at<const unsigned char>(starts),
                                   by_part ? at<Real>(delta) : deltas, at<Real>(grad_h0), nullptr, threads, by_part,
                                   by_part ? own : nullptr, may_be_sparse};
      if (grad_hh || grad_ih || grad_bias || second_grad_bias)
        run(kernels.layer_backward,
            LayerBackwardArgs<Real>{scan, at<const Real>(states), at<const Real>(h0),
                                    input_at<Real>(inputs, binary, real), sparse, at<Real>(grad_hh),
                                    at<Real>(grad_ih), at<Real>(grad_bias), at<Real>(second_grad_bias)});
      else
        run(kernels.adjoint, scan);
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  void gated_forward(int cell, bool float64, nb::tuple shape, Address drive, Address weight, Address bias, Address leak,
                     Address h0, Address c0, Address starts, Address states, Address cells, Address saved,
                     int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.gated_forward,
          GatedForwardArgs<Real>{static_cast<Cell>(cell), s, at<const Real>(drive), at<const Real>(weight),
                                 at<const Real>(bias), at<const Real>(leak), at<const Real>(h0), at<const Real>(c0),
                                 at<const unsigned char>(starts), at<Real>(states), at<Real>(cells), at<Real>(saved),
                                 threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  // `linearized` has the addresses of LinearizedArgs, in their order.
  void gated_adjoint(int cell, bool float64, nb::tuple shape, nb::tuple linearized, Address grad_states,
                     Address grad_cells, Address weight, Address starts, Address deltas,
                     Address total_states, Address total_cells, Address grad_h0, Address grad_c0, Address grad_weight,
                     Address grad_bias, Address inputs, Index input_size, Address grad_input_weight,
                     Address grad_input_bias, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      const auto point = [&linearized](int i) { return at<const Real>(nb::cast<Address>(linearized[i])); };
      run(kernels.gated_adjoint,
          GatedAdjointArgs<Real>{static_cast<Cell>(cell), s,
                                 LinearizedArgs<Real>{point(0), point(1), point(2), point(3), point(4), point(5), point(6)},
                                 at<const Real>(grad_states), at<const Real>(grad_cells), at<const Real>(weight),
                                 at<const unsigned char>(starts), at<Real>(deltas), at<Real>(total_states),
                                 at<Real>(total_cells), at<Real>(grad_h0), at<Real>(grad_c0),
                                 at<Real>(grad_weight), at<Real>(grad_bias), at<const Real>(inputs), input_size,
                                 at<Real>(grad_input_weight), at<Real>(grad_input_bias), threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  void gated_tangent(int cell, bool float64, nb::tuple shape, Address coefficients, Address force_states,
                     Address force_cells, Address weight, Address h0_tangent, Address c0_tangent, Address starts,
                     Address states, Address cells, int threads) const {
    const Shape s = to_shape(shape);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.gated_tangent,
          GatedTangentArgs<Real>{static_cast<Cell>(cell), s, at<const Real>(coefficients), at<const Real>(force_states),
                                 at<const Real>(force_cells), at<const Real>(weight), at<const Real>(h0_tangent),
                                 at<const Real>(c0_tangent), at<const unsigned char>(starts), at<Real>(states),
                                 at<Real>(cells), threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  // out (frames, outputs) = x U' + b + b2; sizes are those of `ProjectArgs`.
  void project(bool float64, nb::tuple sizes, Address x, Address weight, Address bias, Address second_bias, Address out,
               int threads) const {
    const Shape s = to_shape(sizes);
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.project,
          ProjectArgs<Real>{s.steps, s.streams, s.hidden, at<const Real>(x), at<const Real>(weight),
                            at<const Real>(bias), at<const Real>(second_bias), at<Real>(out), threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  void nade(bool float64, nb::tuple sizes, Address v, Address biases, Address encoder, Address decoder, Address weights,
            Address log_prob, Address grad_biases, Address grad_encoder, Address grad_decoder, int threads) const {
    const Shape s = to_shape(sizes);  // (N, V, J)
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.nade,
          NadeArgs<Real>{s.steps, s.streams, s.hidden, at<const unsigned char>(v), at<const Real>(biases),
                         at<const Real>(encoder), at<const Real>(decoder), at<const Real>(weights),
                         at<Real>(log_prob), at<Real>(grad_biases), at<Real>(grad_encoder), at<Real>(grad_decoder),
                         threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  void nade_curvature(bool float64, nb::tuple sizes, Address v, Address biases, Address encoder, Address decoder,
                      Address variance, Address change_biases, Address change_encoder, Address change_decoder,
                      Address out_biases, Address out_encoder, Address out_decoder, int threads) const {
    const Shape s = to_shape(sizes);  // (N, V, J)
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      const NadeArgs<Real> point{s.steps, s.streams, s.hidden, at<const unsigned char>(v), at<const Real>(biases),
                                 at<const Real>(encoder), at<const Real>(decoder), nullptr, nullptr,
                                 at<Real>(out_biases), at<Real>(out_encoder), at<Real>(out_decoder), threads};
      run(kernels.nade_curvature,
          NadeCurvatureArgs<Real>{point, at<const Real>(variance), at<const Real>(change_biases),
                                  at<const Real>(change_encoder), at<const Real>(change_decoder)});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

  void nade_sample(bool float64, nb::tuple sizes, Address biases, Address encoder, Address decoder, Address uniform,
                   Address fixed, Address v, Address log_weight, Address conditional, int threads) const {
    const Shape s = to_shape(sizes);  // (N, V, J)
    const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
      run(kernels.nade_sample,
          NadeSampleArgs<Real>{s.steps, s.streams, s.hidden, at<const Real>(biases), at<const Real>(encoder),
                               at<const Real>(decoder), at<const Real>(uniform), at<const unsigned char>(fixed),
                               at<unsigned char>(v), at<Real>(log_weight), at<Real>(conditional), threads});
    };
    float64 ? call(table_->float64) : call(table_->float32);
  }

 private:
  template <class Real>
  static Input<Real> input_at(Index size, Address binary, Address real) {
    return {size, at<const unsigned char>(binary), at<const Real>(real)};
  }

  template <class Real>
  static void prefer_huge_pages_for(Address memory, Index steps, const Shape& s) {
    prefer_huge_pages(at<void>(memory), static_cast<unsigned long>(steps * s.streams * s.hidden) * sizeof(Real));
  }

  // Without slopes there is no way back, and no further pass that finds the huge pages of this one again. Where others'
  // pages lie between, to make a large array's takes several times as long as small ones.
  template <class Real>
  static void prefer_huge_pages_for_states(Address states, const Shape& s, Address slopes) {
    constexpr Index most = 128 << 20;
    if (slopes || s.steps * s.streams * s.hidden * static_cast<Index>(sizeof(Real)) <= most)
      prefer_huge_pages_for<Real>(states, s.steps, s);
  }

  static Shape to_shape(const nb::tuple& sizes) {
    return {nb::cast<Index>(sizes[0]), nb::cast<Index>(sizes[1]), nb::cast<Index>(sizes[2])};
  }

  template <class Args>
  static void run(bool (*kernel)(const Args&), const Args& args) {
    const nb::gil_scoped_release unlocked;
    if (!kernel(args)) throw std::bad_alloc();
  }

  const KernelTable* table_ = nullptr;
};

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet& set : built)
    if (set.runs_here()) names.emplace_back(set.name);
  return names;
}

}  // namespace

NB_MODULE(_native, m) {
  // The chosen kernels live as long as the process: at exit that is no leak to report.
  nb::set_leak_warnings(false);
  find_thread_pool();
  m.def("instruction_sets", &instruction_sets, "Instruction sets built in and supported by this machine, best first.");
  m.def("thread_pool", &thread_pool_path, "Path of the OpenMP runtime shared with PyTorch; empty: one thread.");
  m.def("prefer_huge_pages", [](Address memory, unsigned long bytes) { prefer_huge_pages(at<void>(memory), bytes); });
  nb::class_<Scratch>(m, "Scratch", nb::type_slots(scratch_slots)).def(nb::init<unsigned long>());
  nb::class_<NativeKernels>(m, "Kernels")
      .def(nb::init<const std::string&>())
      .def("forward", &NativeKernels::forward)
      .def("adjoint", &NativeKernels::adjoint)
      .def("tangent", &NativeKernels::tangent)
      .def("layer_forward", &NativeKernels::layer_forward)
      .def("layer_tangent", &NativeKernels::layer_tangent)
      .def("layer_backward", &NativeKernels::layer_backward)
      .def("forward_further", &NativeKernels::forward_further)
      .def("fed_back", &NativeKernels::fed_back)
      .def("fed_back_adjoint", &NativeKernels::fed_back_adjoint)
      .def("rate_forward", &NativeKernels::rate_forward)
      .def("rate_backward", &NativeKernels::rate_backward)
      .def("sparse_count", &NativeKernels::sparse_count)
      .def("noise", &NativeKernels::noise)
      .def("gated_forward", &NativeKernels::gated_forward)
      .def("gated_adjoint", &NativeKernels::gated_adjoint)
      .def("gated_tangent", &NativeKernels::gated_tangent)
      .def("project", &NativeKernels::project)
      .def("nade", &NativeKernels::nade)
      .def("nade_curvature", &NativeKernels::nade_curvature)
      .def("nade_sample", &NativeKernels::nade_sample);
}

// The Python side of the kernels: which instruction sets this machine runs, and one object per set.
#include <nanobind/stl/vector.h>

#include <vector>

#include "python/gated.hpp"
#include "python/nade.hpp"
#include "python/recurrent.hpp"
#include "team/team.hpp"

using namespace ostinato;
using namespace ostinato::python;

namespace {

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

// The table of the set of this name.
const KernelTable* find(const std::string& name) {
  for (const InstructionSet& set : built)
    if (name == set.name && set.runs_here()) return set.table;
  throw std::invalid_argument("this machine or this build has no instruction set '" + name + "'");
}

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
  nb::class_<NativeKernels> kernels(m, "Kernels");
  kernels.def("__init__", [](NativeKernels* made, const std::string& name) { new (made) NativeKernels(find(name)); });
  add_recurrent(kernels);
  add_gated(kernels);
  add_nade(kernels);
}

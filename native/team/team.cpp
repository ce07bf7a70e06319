// The OpenMP runtime is looked up in what PyTorch has loaded, not linked: a `-lgomp` of our own could bring a
// second runtime with a second pool (PyTorch's wheels carry a private copy, sometimes under a hashed name), and
// two pools on one machine spin against each other. GOMP_parallel is the entry GCC compiles `omp parallel` to; the
// LLVM and Intel runtimes export it as well on Linux.
#include "team/team.hpp"

#include <cstring>

#if defined(__linux__)
#include <dlfcn.h>
#include <link.h>
#include <unistd.h>
#endif

namespace ostinato {
namespace {

struct Pool {
  void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
  int (*rank)() = nullptr;
  int (*size)() = nullptr;
  long owner = 0;  // the process whose threads these are
  const char* path = "";
};

Pool pool;  // written once by find_thread_pool, only read afterwards

struct Call {
  void (*body)(void*, int, int);
  void* context;
};

void member(void* data) {
  const Call* call = static_cast<const Call*>(data);
  call->body(call->context, pool.rank(), pool.size());
}

#if defined(__linux__)
int match_torch(struct dl_phdr_info* info, size_t, void* found) {
  const char* name = info->dlpi_name ? std::strrchr(info->dlpi_name, '/') : nullptr;
  if (!name || std::strcmp(name, "/libtorch_cpu.so") != 0) return 0;
  *static_cast<const char**>(found) = info->dlpi_name;
  return 1;
}
#endif

}  // namespace

void find_thread_pool() {
#if defined(__linux__)
  const char* torch = nullptr;
  dl_iterate_phdr(match_torch, &torch);
  // A lookup through torch's own handle searches torch and what it depends on: its runtime and no other,
  // even where everything was loaded RTLD_LOCAL. Without torch (the native tests): whatever the program has.
  void* scope = torch ? dlopen(torch, RTLD_LAZY | RTLD_NOLOAD) : RTLD_DEFAULT;
  if (torch && !scope) return;
  Pool found;
  *reinterpret_cast<void**>(&found.parallel) = dlsym(scope, "GOMP_parallel");
  *reinterpret_cast<void**>(&found.rank) = dlsym(scope, "omp_get_thread_num");
  *reinterpret_cast<void**>(&found.size) = dlsym(scope, "omp_get_num_threads");
  if (!found.parallel || !found.rank || !found.size) return;
  Dl_info where;
  if (dladdr(reinterpret_cast<void*>(found.parallel), &where) && where.dli_fname) found.path = where.dli_fname;
  found.owner = getpid();
  pool = found;
#endif
}

const char* thread_pool_path() { return pool.path; }

void run_team(int threads, void (*body)(void*, int, int), void* context) {
#if defined(__linux__)
  if (threads > 1 && pool.parallel && pool.owner == getpid()) {
    Call call{body, context};
    pool.parallel(member, &call, static_cast<unsigned>(threads), 0);
    return;
  }
#endif
  body(context, 0, 1);
}

}  // namespace ostinato

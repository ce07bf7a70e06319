// A team of threads borrowed from the OpenMP runtime that PyTorch has already loaded.
#pragma once

namespace ostinato {

// Calls body(context, rank, size) once per member; size may be below what was asked for.
// Runs on the calling thread alone when threads < 2, when no OpenMP runtime is shared with PyTorch,
// or in a process forked after the library was loaded (whose pool of threads did not survive).
void run_team(int threads, void (*body)(void*, int rank, int size), void* context);

// Finds the runtime; called once, when the extension is loaded, after torch.
void find_thread_pool();

// Path of the OpenMP runtime in use, or "" when there is none.
const char* thread_pool_path();

}  // namespace ostinato

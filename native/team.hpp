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

// Scratch: 128-byte aligned, null on failure. Asks for huge pages when large.
void* allocate(unsigned long bytes);
void release(void* memory);

// Ask for 2 MiB pages under a large fresh buffer: its first touch is then one fault per 2 MiB, not per 4 KiB.
void prefer_huge_pages(void* memory, unsigned long bytes);

}  // namespace ostinato

// What kernel code reaches the emulator by. Included into every kernel file, which is compiled with a hook in front of each
// load and store; the functions behind this header are not.
#pragma once
#include <cstddef>
#include <cstdint>

namespace emulator {

// A place in a kernel's source. As a default argument it is where the call stands.
struct Where {
  const char* file;
  int line;
  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// The calling thread's lane in its warp.
int lane();

// Ends the kernel with a report, in the name of the calling thread.
[[noreturn]] void fault(int code, Where where, const char* format, ...) __attribute__((format(printf, 3, 4)));

// Synchronisation. Only these order memory.
void sync_block(Where where);
void sync_warp(unsigned mask, Where where);

// A warp's collective: each lane of `mask` brings a record, the last to come runs `run` over all 32; records of lanes that are
// not in the mask are null.
using Collective = void (*)(void** records, unsigned mask, Where where);
void collective(const char* name, unsigned mask, void* record, Collective run, Where where);

// Brackets the accesses of an atomic operation: they race with ordinary ones only.
void atomic_begin(const void* address, size_t bytes, Where where);
void atomic_end();

// Shared memory. Addresses are 32-bit, as on the device: offsets into the block's window.
unsigned char* dynamic_shared();
uint32_t shared_address(const void* pointer);
void copy_async(uint32_t to, const void* from, int bytes, Where where);
void copy_async_commit();
void copy_async_wait(int pending);

// Matrices: four 8x8 of 16-bit elements, and a 16x8 += 16x16 by 16x8 product.
void load_matrices(uint32_t (&out)[4], uint32_t address, bool transpose, Where where);
using Widen = float (*)(uint16_t bits);
float widen_f16(uint16_t bits);
float widen_bf16(uint16_t bits);
void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Widen widen, Where where);

// A kernel as the launcher knows it: how to call it, and the sizes of its parameters.
using Invoke = void (*)(void* const* arguments);
void register_kernel(const char* name, Invoke invoke, const size_t* sizes, size_t count);

}  // namespace emulator
